"""The exact (RE)ML optimum of a model with several factors, certified to second order."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmm.core.progress import Progress
from lmm.inference.descent import DIGITS
from lmm.inference.optimum import SINGULAR, ZERO, lower
from lmm.inference.several_newton import Objective, Point, Stop, free, minimise, relative
from lmm.likelihood.problem import Structure
from lmm.likelihood.several_information import Information, lifted
from lmm.likelihood.several_problem import SeveralProblem

# Starts beside moment estimates where these end at the boundary or uncertified: multiples of the identity.
STARTS = (1.0, 0.1)
# What steps of their searches promise at the end, before it is looked at whether they lead anywhere else.
COARSE = 1e-2
SMALLEST = 0.05  # of a start's relative sd, in standardised columns: at 0 the search would not move
GROWTH = 10.0 ** np.arange(-4.0, 2.0)  # variances tried along a direction in which the criterion falls
# Relative error of an sd over `Point.noise`, at most: 30 in balanced and unbalanced crossed designs.
GAIN = 40.0
WATCHED = 3e7  # elements of the remainder's matrix, or cells, from which an optimum takes seconds


@dataclass(frozen=True)
class SeveralOptimum:
    """The optimum in original units; factors in the formula's order.

    Attributes
    ----------
    roots : tuple of (q_k, q_k) arrays
        Lower triangular L_k with a non-negative diagonal, D_k = L_k L_k'.
    sigma : float
    beta, cov_beta : (p,), (p, p) arrays
        GLS estimates and their covariance.
    criterion : float
        -2 log L, of REML or ML, with lme4's constants.
    reml : bool
    singular : bool
        Some D_k has no full rank in some block (to `SINGULAR`, relative to sigma in standardised columns).
    certified : bool
        Gradient zero, Hessian without a negative eigenvalue, and the derivatives in D_k positive semidefinite (KKT
        for D_k >= 0); and `exact`.
    exact : bool
        Sums of squares have digits enough: rounding changes sd's by less than `DIGITS`.
    point : Point
        In the coordinates `several_newton.relative`, lower triangular factors with a non-negative diagonal.
    """

    roots: tuple[np.ndarray, ...]
    sigma: float
    beta: np.ndarray
    cov_beta: np.ndarray
    criterion: float
    reml: bool
    singular: bool
    certified: bool
    exact: bool
    point: Point

    @property
    def information(self) -> Information:
        """V^-1 at the optimum, in the kernel's coordinates."""
        return self.point.information

    @property
    def factors(self) -> tuple[np.ndarray, ...]:
        """lambda_k in the kernel's coordinates."""
        return self.point.information.factors

    @property
    def own_sigma(self) -> float:
        """sigma in the kernel's units."""
        return float(np.sqrt(self.point.s2))

    @cached_property
    def hessian(self) -> np.ndarray:
        """Hessian of -2 log L in (free elements of all lambda_k, log sigma), by central differences.

        With sigma^2 profiled out the criterion's Hessian is H; with it, cross derivatives are c = -2 (d rss /
        d theta) / sigma^2 and the last diagonal element 4 df, so that the elements of H gain c c' / (4 df).
        """
        point, problem = self.point, self.information.problem
        n = len(point.phi)
        H = Objective(problem, self.reml, relative(problem)).hessian(point, central=True)
        cross = np.zeros(n)
        for k, own in enumerate(point.place.directions):
            e = self.information.errors(k)
            slope = -2.0 * e.T @ e @ point.place.factors[k]
            cross -= 2.0 / point.s2 * np.einsum("ab,nab->n", slope, own)
        out = np.empty((n + 1, n + 1))
        out[:n, :n] = H + np.outer(cross, cross) / (4.0 * point.df)
        out[n, :n] = out[:n, n] = cross
        out[n, n] = 4.0 * point.df
        return out


def blocks_lower(structure: Structure, matrix: np.ndarray) -> np.ndarray:
    """The lower triangular root with a non-negative diagonal of each diagonal block of matrix matrix'.

    Parameters
    ----------
    structure : Structure
        Its blocks.
    matrix : (q, m) array
        A root of D.

    Returns
    -------
    (q, q) array
    """
    out = np.zeros_like(matrix)
    for start, stop in structure.blocks:
        out[start:stop, start:stop] = lower(matrix[start:stop, start:stop])
    return out


def moment_start(problem: SeveralProblem) -> list[np.ndarray]:
    """Diagonal relative factors from each factor's sums of residuals, as if it were the only one.

    With r the residuals of least squares (the pilot fit's, to rounding of a sample) and z_j the column of a random
    effect in level j, E (z_j'r)^2 = (z_j'z_j)^2 d + z_j'z_j s^2.
    """
    total = problem.total[-1, -1] / problem.n_rows
    out, explained = [], 0.0
    for k, structure in enumerate(problem.structures):
        size, score = level_sums(problem, k)
        d = ((score**2).sum(axis=0) - size.sum(axis=0) * total) / (size**2).sum(axis=0)
        d = np.clip(d, 0.0, total)
        mean = size.sum(axis=0) / problem.n_rows
        explained += float(d @ mean)
        out.append(np.diag(d) if len(structure.random) else np.zeros((0, 0)))
    left = max(total - explained, 0.2 * total)
    return [np.sqrt(np.maximum(d / left, SMALLEST**2 * np.eye(len(d)))) * np.eye(len(d)) for d in out]


def level_sums(problem: SeveralProblem, k: int) -> tuple[np.ndarray, np.ndarray]:
    """z_j'z_j and z_j'y* of every level and random effect of factor k, (J_k, q_k) each."""
    if k == problem.order[0]:
        return np.einsum("jaa->ja", problem.lead.A), problem.lead.edge[:, :, -1]
    place = problem.places[k]
    at = place * (problem.columns + 1) if problem.pattern is None else problem.pattern.indptr[place]
    return problem.rest[at], problem.rest_edge[place, -1]


def _singular(problem: SeveralProblem, factors: Sequence[np.ndarray]) -> bool:
    """Whether some block of some D_k lacks full rank."""
    return any(
        bool(np.diag(blocks_lower(structure, factor)).min() < SINGULAR)
        for structure, factor in zip(problem.structures, factors, strict=True)
    )


def _falls(objective: Objective, stop: Stop) -> tuple[int, slice, np.ndarray] | None:
    """A factor, a block and a direction in which D may grow and the criterion falls; None at a minimum.

    Where D_k is singular the gradient in lambda_k vanishes in the directions that it lacks whatever the data say; the
    derivative in D_k, evaluated at D_k raised a little, does not.
    """
    problem, factors = objective.problem, stop.point.information.factors
    if not _singular(problem, factors):
        return None
    information = Information.at(problem, lifted(factors), objective.reml)
    s2 = information.terms.rss / stop.point.df
    worst, found = 0.0, None
    for k, structure in enumerate(problem.structures):
        e, trace = information.errors(k), information.trace(k)
        slope = trace - e.T @ e / s2
        tolerance = 1e-6 * max(np.abs(trace).max(), 1e-3 * len(e))
        for start, stop_at in structure.blocks:
            values, vectors = np.linalg.eigh(slope[start:stop_at, start:stop_at])
            if values[0] < min(worst, -tolerance):
                worst, found = values[0], (k, slice(start, stop_at), vectors[:, 0])
    return found


def _grown(objective: Objective, stop: Stop, k: int, block: slice, direction: np.ndarray) -> Point | None:
    """The best of several points along a direction in which the criterion falls."""
    problem = objective.problem
    best = None
    for growth in GROWTH:
        factors = [factor.copy() for factor in stop.point.information.factors]
        widened = np.column_stack([factors[k][block, block], np.sqrt(growth) * direction])
        factors[k][block, block] = lower(widened)
        trial = objective.at(free(problem, factors))
        if trial is not None and trial.value < (best or stop.point).value:
            best = trial
    return best


def _search(
    objective: Objective, start: Sequence[np.ndarray], best: Point | None
) -> tuple[Point, bool] | None:
    """Newton from a start, then out of any saddle at the boundary that the gradient cannot see.

    Where `best` is a certified stop, the search ends early unless it comes below it.
    """
    problem = objective.problem
    point = objective.at(free(problem, start))
    if point is not None and best is not None:
        point = minimise(objective, point, enough=COARSE).point
        if point.value > best.value - COARSE:
            return None
    if point is None:
        return None
    for _ in range(20):
        stop = minimise(objective, point)
        falls = _falls(objective, stop)
        if falls is None or not stop.converged:
            return stop.point, stop.converged and falls is None
        grown = _grown(objective, stop, *falls)
        if grown is None:
            break
        point = grown
    return stop.point, False


def optimum(
    problem: SeveralProblem, reml: bool = True, starts: Sequence[Sequence[np.ndarray]] | None = None
) -> SeveralOptimum:
    """Minimise the (RE)ML criterion (Bates et al. 2015, eq. 34-42) over all D_k >= 0 and sigma.

    Parameters
    ----------
    problem : SeveralProblem
        The model over moments, in the kernels' coordinates.
    reml : bool
        Whether beta is integrated out; else it is profiled out (ML).
    starts : sequence of lists of (q_k, q_k) arrays, optional
        Relative factors in the kernel's coordinates. By default moment estimates; where these end at the boundary
        or uncertified, multiples of the identity as well.

    Returns
    -------
    SeveralOptimum
        The best stop found; `certified` says whether it is a minimum to second order.
    """
    objective = Objective(problem, reml, relative(problem))
    if starts is None:
        sizes = [len(structure.random) for structure in problem.structures]
        starts = [moment_start(problem), *([c * np.eye(q) for q in sizes] for c in STARTS)]
    found: list[tuple[Point, bool]] = []
    with Progress("optimum of several factors", len(starts)) as progress:
        for start in starts:
            best = min((point for point, sure in found if sure), key=lambda point: point.value, default=None)
            if (stop := _search(objective, start, best)) is not None:
                found.append(stop)
                if stop[1] and not _singular(problem, stop[0].information.factors):
                    break
            progress.advance()
    point, certified = min(found, key=lambda stop: (not stop[1], stop[0].value))
    return _in_original_units(objective, point, certified)


def _in_original_units(objective: Objective, point: Point, certified: bool) -> SeveralOptimum:
    """The result at a stop, with the factors' columns in their normal signs."""
    problem = objective.problem
    factors = [
        blocks_lower(structure, factor)
        for structure, factor in zip(problem.structures, point.information.factors, strict=True)
    ]
    point = objective.at(free(problem, factors)) or point
    sigma = float(np.sqrt(point.s2))
    roots = []
    for structure, factor, z_map in zip(problem.structures, factors, problem.z_maps, strict=True):
        root = blocks_lower(structure, z_map @ factor * sigma)
        root[np.sqrt((root**2).sum(axis=1)) < ZERO * sigma * np.abs(np.diag(z_map))] = 0.0
        roots.append(root)
    terms = point.information.terms
    exact = GAIN * point.noise <= DIGITS
    return SeveralOptimum(
        roots=tuple(roots),
        sigma=sigma * problem.y_scale,
        beta=problem.x_map @ terms.beta + problem.offset,
        cov_beta=sigma**2 * problem.x_map @ terms.phi @ problem.x_map.T,
        criterion=point.value + problem.constant(objective.reml),
        reml=objective.reml,
        singular=_singular(problem, factors),
        certified=certified and exact,
        exact=exact,
        point=point,
    )
