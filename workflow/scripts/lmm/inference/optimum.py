"""The exact REML optimum over moments, certified to second order."""

from dataclasses import dataclass

import numpy as np

from lmm.core.progress import Progress
from lmm.inference.newton import newton, resume
from lmm.likelihood.grouped import reml_terms
from lmm.likelihood.problem import Problem, Structure

GRID = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # Lambda = c I, in the kernel's units, where columns have unit scale
SINGULAR = 1e-5  # smallest diagonal element of the relative factor, cf. lme4's isSingular (1e-4)
# An sd below this, relative to sigma in standardised columns, is 0: its correlations are undefined.
ZERO = 1e-8
PLAIN = -1  # no correlation among the coordinates
FREE = -1  # no coordinate held
ITERATIONS = 200  # of Newton's method, at most
WATCHED = 1_000_000  # groups x q^2 from which an optimum takes seconds


@dataclass(frozen=True)
class Optimum:
    """The REML optimum in original units.

    Attributes
    ----------
    root : (q, q) array
        Lower triangular L with a non-negative diagonal, D = L L'.
    sigma : float
    beta, cov_beta : (p,), (p, p) arrays
        GLS estimates and their covariance.
    criterion : float
        -2 log L_REML, with lme4's constants.
    singular : bool
        D has no full rank in some block (to `SINGULAR`, relative to sigma in standardised columns).
    certified : bool
        Gradient zero, Hessian without a negative eigenvalue, and the derivative in D positive semidefinite
        (KKT for D >= 0): a minimum, not a saddle or a stop at a bound.
    phi : (t + 1,) array
        Free elements of L and log sigma in the kernel's coordinates.
    """

    root: np.ndarray
    sigma: float
    beta: np.ndarray
    cov_beta: np.ndarray
    criterion: float
    singular: bool
    certified: bool
    phi: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """D, (q, q)."""
        return self.root @ self.root.T


def lower(matrix: np.ndarray) -> np.ndarray:
    """The lower triangular L with L L' = matrix matrix' and a non-negative diagonal, by QR.

    Parameters
    ----------
    matrix : (q, m) array
        A root of D; m >= q columns.

    Returns
    -------
    (q, q) array
    """
    root = np.linalg.qr(matrix.T, mode="r").T
    return root * np.where(np.diag(root) < 0.0, -1.0, 1.0)


def fill(structure: Structure, phi: np.ndarray) -> np.ndarray:
    """L from its free elements.

    Parameters
    ----------
    structure : Structure
        The random effects, and which elements of L are free.
    phi : (t,) or (t + 1,) array
        The free elements, and whatever follows them.

    Returns
    -------
    (q, q) array
        L, zeros elsewhere.
    """
    out = np.zeros((len(structure.random), len(structure.random)))
    out[structure.rows, structure.cols] = phi[: len(structure.rows)]
    return out


def _blocks_lower(structure: Structure, matrix: np.ndarray) -> np.ndarray:
    """`lower` of each diagonal block."""
    out = np.zeros_like(matrix)
    for start, stop in structure.blocks:
        out[start:stop, start:stop] = lower(matrix[start:stop, start:stop])
    return out


def _scale_start(problem: Problem, factor: np.ndarray) -> tuple[float, np.ndarray]:
    """Profiled criterion and phi at a relative factor: sigma has a closed form there."""
    ridge = np.zeros_like(problem.total)
    logdet, rss, *_ = reml_terms(problem.gram, problem.total, factor, ridge, False, problem.ml)
    df = problem.df
    if not (np.isfinite(logdet) and rss > 0.0):
        return np.inf, np.zeros(0)
    sigma = np.sqrt(rss / df)
    free = factor[problem.structure.rows, problem.structure.cols] * sigma
    return logdet + 2.0 * df * np.log(sigma), np.append(free, np.log(sigma))


def _newton(problem: Problem, phi: np.ndarray, model: tuple) -> tuple:
    """`newton` with all coordinates free; with very many groups step by step, so that it can be seen going on.

    A step takes up where the one before ended, to the bit, at the price of one more evaluation.
    """
    if problem.n_groups * problem.q**2 < WATCHED:
        return newton(phi, FREE, PLAIN, *model, ITERATIONS)
    with Progress("REML optimum, Newton iterations", None) as progress:
        curvature, before = np.zeros((len(phi), len(phi))), np.inf
        for _ in range(ITERATIONS):
            found = resume(phi, curvature, before, FREE, PLAIN, *model, 1)
            progress.advance()
            if found[4] or np.array_equal(found[0], phi):
                break
            phi, curvature, before = found[0], found[3], found[5]
    return found


def _minimise(problem: Problem, phi: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """Newton from phi, then out of any saddle at the boundary that the gradient in L cannot see.

    Where D is singular, the derivative in L vanishes in the directions that D lacks whatever the data say; the
    derivative in D does not. If it has a negative eigenvalue there, the criterion falls along it.
    """
    structure, ridge = problem.structure, np.zeros_like(problem.total)
    model = problem.model(np.eye(problem.q))
    certified = False
    for _ in range(20):
        phi, value, slope, _, converged, _ = _newton(problem, phi, model)
        factor = fill(structure, phi) / np.exp(phi[-1])
        d_logdet = reml_terms(problem.gram, problem.total, factor, ridge, True, problem.ml)[4]
        tolerance = 1e-7 * max(np.abs(d_logdet).max(), 1e-3 * problem.n_groups)
        worst, place, direction = -tolerance, None, None
        for start, stop in structure.blocks:
            values, vectors = np.linalg.eigh(slope[start:stop, start:stop])
            if values[0] < worst:
                worst, place, direction = values[0], slice(start, stop), vectors[:, 0]
        if place is None or not converged:
            certified = converged and place is None
            break
        best = (value, phi)
        for step in 10.0 ** np.arange(-4.0, 2.0):  # grow D along the direction and keep the best
            grown = factor.copy()
            widened = np.column_stack([factor[place, place], np.sqrt(step) * direction])
            grown[place, place] = lower(widened)
            _, trial = _scale_start(problem, grown)
            if len(trial):
                trial_value = newton(trial, FREE, PLAIN, *model, 0)[1]
                best = min(best, (trial_value, trial), key=lambda pair: pair[0])
        if best[1] is phi:
            break
        phi = best[1]
    return phi, value, certified


def optimum(problem: Problem, starts: list[np.ndarray] | None = None) -> Optimum:
    """Minimise the REML criterion (Bates et al. 2015, eq. 39-42) over D >= 0 and sigma.

    Parameters
    ----------
    problem : Problem
        The model over moments, in the kernel's coordinates.
    starts : list of (q, q) arrays, optional
        Relative factors in the kernel's coordinates. By default the best of a grid of multiples of the
        identity; where that ends at the boundary or uncertified, every point of the grid is tried as well.

    Returns
    -------
    Optimum
        The best stop found; `certified` tells whether it is a minimum to second order.

    References
    ----------
    docs/statistics.md, section 3: no bound on the diagonal of L, second-order test, escape along negative curvature.
    """
    structure = problem.structure
    if starts is None:
        grid = [_scale_start(problem, c * np.eye(problem.q)) for c in GRID]
        first = min(range(len(grid)), key=lambda k: grid[k][0])
        points = [grid[first][1]] + [phi for k, (_, phi) in enumerate(grid) if k != first and len(phi)]
    else:
        points = [_scale_start(problem, start)[1] for start in starts]
    found: list[tuple[np.ndarray, float, bool]] = []
    for phi in points:
        found.append(_minimise(problem, phi))
        relative = _blocks_lower(structure, fill(structure, found[-1][0])) / np.exp(found[-1][0][-1])
        singular = bool(np.diag(relative).min() < SINGULAR)
        if found[-1][2] and not singular:
            break
    phi, value, certified = min(found, key=lambda stop: (not stop[2], stop[1]))
    sigma = np.exp(phi[-1])
    factor = _blocks_lower(structure, fill(structure, phi)) / sigma
    _, _, gamma, root_x, _, _ = reml_terms(
        problem.gram, problem.total, factor, np.zeros_like(problem.total), False
    )
    half = np.linalg.solve(root_x, problem.x_map.T)
    root = _blocks_lower(structure, problem.z_map @ factor * sigma)
    root[np.sqrt((root**2).sum(axis=1)) < ZERO * sigma * np.abs(np.diag(problem.z_map))] = 0.0
    return Optimum(
        root=root,
        sigma=float(sigma * problem.y_scale),
        beta=problem.x_map @ gamma + problem.offset,
        cov_beta=sigma**2 * half.T @ half,
        criterion=float(value + problem.constant),
        singular=bool(np.diag(factor).min() < SINGULAR),
        certified=certified,
        phi=np.append(factor[structure.rows, structure.cols] * sigma, phi[-1]),
    )
