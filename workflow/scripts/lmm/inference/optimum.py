"""The exact REML optimum over moments, certified to second order."""

from dataclasses import dataclass

import numpy as np

from lmm.core.progress import Progress
from lmm.inference.descent import (
    CERTIFIED,
    DIGITS,
    GOING_ON,
    ITERATIONS,
    ROUNDING,
    ROUNDS,
    SINGULAR,
    advance,
    best_stop,
    grid_of_starts,
    is_singular,
    profiled,
)
from lmm.inference.wald import ZERO
from lmm.likelihood.grouped import reml_terms
from lmm.likelihood.problem import Problem, Structure

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
        (KKT for D >= 0): a minimum, not a saddle or a stop at a bound; and `exact`.
    exact : bool
        Sums of squares have digits enough for the residual sd: rounding changes it by less than `DIGITS`.
    phi : (t + 1,) array
        Free elements of L and log sigma in the kernel's coordinates; L L' = D, whatever its floor.
    """

    root: np.ndarray
    sigma: float
    beta: np.ndarray
    cov_beta: np.ndarray
    criterion: float
    singular: bool
    certified: bool
    exact: bool
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
    if len(matrix) == 1:
        return np.sqrt(np.sum(matrix**2, keepdims=True))
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


def _blocks_lower(structure: Structure, matrix: np.ndarray, floor: np.ndarray | None = None) -> np.ndarray:
    """`lower` of each diagonal block, or of the root of its square plus a floor's, (q, k)."""
    out, beside = np.zeros_like(matrix), np.zeros((len(matrix), 0)) if floor is None else floor
    for start, stop in structure.blocks:
        own = slice(start, stop)
        out[own, own] = lower(np.hstack([matrix[own, own], beside[own]]))
    return out


def starting_points(problem: Problem, starts: list[np.ndarray] | None = None) -> np.ndarray:
    """phi at relative factors with the best sigma there, (n, t + 1); by default those of `grid_of_starts`.

    Where D / sigma^2 has a floor, phi is of what is above it.

    Parameters
    ----------
    problem : Problem
        The model over moments, in the kernel's coordinates.
    starts : list of (q, q) arrays, optional
        Relative factors.

    Returns
    -------
    (n, t + 1) array
    """
    data = (problem.structure.rows, problem.structure.cols, *problem.sums, problem.df, problem.ml)
    if starts is None:
        return grid_of_starts(*data)
    return np.array([profiled(problem.reduced(factor), *data)[1] for factor in starts])


def _best_stop(starts: np.ndarray, *model) -> tuple[np.ndarray, float, np.ndarray, bool]:
    """`best_stop` step by step, so that progress can be shown: with very many groups a step takes seconds.

    A step takes up where the one before ended, to the bit, at the price of one more evaluation.
    """
    found = []
    with Progress("REML optimum, Newton iterations", None) as progress:
        for phi in starts:
            for _ in range(ITERATIONS * ROUNDS):
                phi, value, hessian, state = advance(phi, 1, *model)
                progress.advance()
                if state != GOING_ON:
                    break
            found.append((phi, value, hessian, state == CERTIFIED))
            if found[-1][3] and not is_singular(phi, *model[1:3]):
                break
    return min(found, key=lambda stop: (not stop[3], stop[1]))


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
    rows, cols, _, *data = problem.model(np.eye(problem.q))
    model = (np.array(structure.blocks), rows, cols, *data)
    search = best_stop if problem.n_groups * problem.q**2 < WATCHED else _best_stop
    phi, value, _, certified = search(starting_points(problem, starts), *model)
    sigma = np.exp(phi[-1])
    own = _blocks_lower(structure, fill(structure, phi)) / sigma
    gram, total = problem.sums
    _, _, gamma, root_x, _, _ = reml_terms(gram, total, own, np.zeros_like(total), False)
    half = np.linalg.solve(root_x, problem.x_map.T)
    exact = bool(ROUNDING * total[-1, -1] <= 2.0 * DIGITS * sigma**2 * problem.df)
    factor = own if problem.white is None else _blocks_lower(structure, own, problem.white.floor)
    root = _blocks_lower(structure, problem.z_map @ factor * sigma)
    root[np.sqrt((root**2).sum(axis=1)) < ZERO * sigma * np.abs(np.diag(problem.z_map))] = 0.0
    return Optimum(
        root=root,
        sigma=float(sigma * problem.y_scale),
        beta=problem.x_map @ gamma + problem.offset,
        cov_beta=sigma**2 * half.T @ half,
        criterion=float(value + problem.constant),
        singular=bool(np.diag(own).min() < SINGULAR),
        certified=bool(certified) and exact,
        exact=exact,
        phi=np.append(factor[structure.rows, structure.cols] * sigma, phi[-1]),
    )
