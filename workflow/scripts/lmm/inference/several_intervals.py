"""Uncertainty of the variance parameters of several factors: observed information and profile likelihood."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from lmm.core.progress import Progress
from lmm.core.tidy import RESIDUAL
from lmm.inference.intervals import SMALL, not_found, variance_values
from lmm.inference.optimum import SINGULAR
from lmm.inference.several_newton import Objective, Place, Point, minimise
from lmm.inference.several_optimum import SeveralOptimum, blocks_lower
from lmm.inference.wald import spread_of
from lmm.likelihood.several_problem import SeveralProblem

DIFFERENCE = 1e-6  # of Jacobians: error of order 1e-12, relative
CLOSE = 1e-9  # of the criterion's rise, relative to its target
TRIES = 40
# Where a random effect has no variance of its own left, the gradient in its diagonal element of L is 0 for any data:
# below HIDDEN of its size such elements are searched from RAISED as well.
HIDDEN, RAISED = 0.05, 0.5


def names(problem: SeveralProblem) -> list[tuple[str, str]]:
    """Group and tidy term of each variance parameter: per factor sd's, then correlations; the residual sd last."""
    out = [
        (group, term)
        for group, structure in zip(problem.groups, problem.structures, strict=True)
        for term in structure.terms[:-1]
    ]
    return [*out, ("Residual", RESIDUAL)]


def values(problem: SeveralProblem, roots: Sequence[np.ndarray], sigma: float) -> np.ndarray:
    """The variance parameters in the order of `names`, from roots of all D_k in original units.

    Parameters
    ----------
    problem : SeveralProblem
        Its structures and groups.
    roots : sequence of (q_k, q_k) arrays
        Any root of each D_k.
    sigma : float
        Residual sd.

    Returns
    -------
    (k,) array
    """
    parts = [
        variance_values(root, sigma, structure.correlations)[:-1]
        for root, structure in zip(roots, problem.structures, strict=True)
    ]
    return np.append(np.concatenate(parts), sigma)


def standard_errors(problem: SeveralProblem, best: SeveralOptimum) -> np.ndarray:
    """From the observed information of the criterion, by the delta method; in the order of `names`.

    A factor whose D_k is singular is held where it is and its parameters have none (NaN): a quadratic approximation
    says nothing at the boundary.
    """
    phi, place = best.point.phi, best.point.place
    whole = np.append(phi, np.log(best.own_sigma))
    starts = np.cumsum([0, *(len(structure.rows) for structure in problem.structures)])
    used, shown = np.ones(len(whole), dtype=bool), []
    for k, (structure, factor) in enumerate(zip(problem.structures, best.factors, strict=True)):
        regular = np.diag(factor).min() >= SINGULAR
        used[starts[k] : starts[k + 1]] = regular
        shown += [regular] * (len(structure.terms) - 1)
    shown.append(True)

    def at(point: np.ndarray) -> np.ndarray:
        sigma = np.exp(point[-1])
        roots = [
            z_map @ np.tensordot(point[:-1], own, 1) * sigma
            for z_map, own in zip(problem.z_maps, place.directions, strict=True)
        ]
        return values(problem, roots, problem.y_scale * sigma)

    jacobian = np.empty((len(shown), len(whole)))
    for c in range(len(whole)):
        step = DIFFERENCE * max(1.0, abs(whole[c])) * np.eye(len(whole))[c]
        jacobian[:, c] = (at(whole + step) - at(whole - step)) / (2.0 * step[c])
    covariance = spread_of(np.ascontiguousarray(best.hessian[np.ix_(used, used)]))
    out = np.full(len(shown), np.nan)
    rows = jacobian[np.ix_(shown, used)]
    out[shown] = np.sqrt(np.maximum(np.einsum("ak,kl,al->a", rows, covariance, rows), 0.0))
    return out


@dataclass(frozen=True)
class _Coordinates:
    """Original units, with one parameter as a coordinate of its own.

    The rows of L_k are in units of their own size and in an order that puts the parameter's random effects first in
    their block; the last coordinate is log sigma in the kernel's units. With `pair` set, phi[pair] = r and phi[pair +
    1] = s stand for L[l, k] = s r and L[l, l] = s sqrt(1 - r^2).
    """

    transforms: list[np.ndarray]  # lambda_k = transform @ L_k / sigma
    elements: list[np.ndarray]  # (n, q_k, q_k): where each coordinate stands in L_k
    pair: int | None

    def __call__(self, phi: np.ndarray) -> Place | None:
        sigma, change = np.exp(phi[-1]), np.eye(2)
        plain = phi[:-1].copy()
        if self.pair is not None:
            at, r, s = self.pair, phi[self.pair], phi[self.pair + 1]
            if not abs(r) <= 1.0 or phi[at - 1] < 0.0 or s < 0.0:
                return None
            shrink = np.sqrt(1.0 - r * r)
            plain[at], plain[at + 1] = s * r, s * shrink
            tilt = 0.0 if shrink == 0.0 else r / shrink
            change = np.array([[s, -s * tilt], [r, shrink]])
        factors, directions = [], []
        for transform, elements in zip(self.transforms, self.elements, strict=True):
            factor = transform @ np.tensordot(plain, elements, 1) / sigma
            own = transform @ elements / sigma
            if self.pair is not None:
                both = slice(self.pair, self.pair + 2)
                own[both] = np.tensordot(change, own[both], 1)
            factors.append(factor)
            directions.append(np.concatenate([own, -factor[None]]))
        log_s2 = np.zeros(len(phi))
        log_s2[-1] = 2.0
        return Place(factors, sigma * sigma, directions, log_s2)


def _coordinates(
    problem: SeveralProblem, best: SeveralOptimum, factor: int | None, first: tuple[int, ...]
) -> tuple[_Coordinates, np.ndarray, int, float, list[int]]:
    """Coordinates for one parameter, the optimum in them, its index, the unit of its value, and diagonal elements.

    `factor` None is the residual sd; `first` has one random effect of the factor for its sd, two of a block for their
    correlation.
    """
    transforms, phi, index, unit_of = [], [], len(best.point.phi), problem.y_scale
    pair, start_of = None, 0
    for k, (structure, root, z_map) in enumerate(
        zip(problem.structures, best.roots, problem.z_maps, strict=True)
    ):
        floor = np.abs(np.diag(z_map)) * best.own_sigma
        sds = np.sqrt((root**2).sum(axis=1))
        unit = np.where(sds > SMALL * floor, sds, floor)
        order = np.arange(len(unit))
        if k == factor:
            start, stop = next(span for span in structure.blocks if span[0] <= first[0] < span[1])
            order[start:stop] = [*first, *(c for c in range(start, stop) if c not in first)]
            here = int(np.flatnonzero((structure.rows == start) & (structure.cols == start))[0])
            index, unit_of = start_of + here, unit[first[0]]
            pair = index + 1 if len(first) == 2 else None
        scaled = blocks_lower(structure, (root / unit[:, None])[order])
        transforms.append((np.linalg.inv(z_map) * unit)[:, order])
        phi.append(scaled[structure.rows, structure.cols])
        start_of += len(structure.rows)
    elements = best.point.place.directions
    flat = np.append(np.concatenate(phi), np.log(best.own_sigma))
    if pair is not None:
        size = np.hypot(flat[pair], flat[pair + 1])
        flat[pair], flat[pair + 1] = (flat[pair] / size if size > 0.0 else 0.0), size
        index = pair
    on_diagonal = np.concatenate([own.rows == own.cols for own in problem.structures])
    diagonals = [
        int(k) for k in np.flatnonzero(on_diagonal) if k not in (index, None if pair is None else pair + 1)
    ]
    return _Coordinates(transforms, elements, pair), flat, index, unit_of, diagonals


def profile_limit(
    objective: Objective,
    best: Point,
    at: int,
    edge: float,
    target: float,
    wall: bool = False,
    diagonals: Sequence[int] = (),
) -> tuple[float, bool]:
    """Where the profile of one coordinate rises `target` above the minimum, on the side of `edge`.

    The root of the rise is nearly linear in the coordinate (Bates et al. 2015, section 5.1), so secants on it, kept
    in a bracket, take few steps.

    Parameters
    ----------
    objective : Objective
        The criterion in some coordinates.
    best : Point
        The optimum.
    at : int
        The coordinate.
    edge : float
        Where the parameter space ends on this side.
    target : float
        Rise of the criterion, e.g. the chi-square quantile.
    wall : bool
        The coordinate is a correlation: searches start from the optimum where a zero sd stopped one.
    diagonals : sequence of int
        Coordinates in which the gradient vanishes at 0 whatever the data.

    Returns
    -------
    limit : float
        `edge` where the profile never rises that high before it.
    found : bool
    """
    side = 1.0 if edge > best.phi[at] else -1.0
    if abs(edge - best.phi[at]) <= 1e-9:
        return edge, True
    rest = np.array([k for k in range(len(best.phi)) if k != at])
    matrix = best.average
    roots, vectors = np.linalg.eigh(matrix[np.ix_(rest, rest)])
    kept = roots > 1e-7 * roots[-1]
    path = -(vectors[:, kept] / roots[kept]) @ (vectors[:, kept].T @ matrix[rest, at])
    bend = matrix[at, at] + matrix[rest, at] @ path
    step = np.sqrt(2.0 * target / bend) if bend > 1e-12 else 1.0
    low, high, high_known = best.phi[at], edge, False
    before, root_before, now = best.phi[at], 0.0, best.phi[at] + side * step
    nearest = best
    for _ in range(TRIES):
        if side * (now - high) >= 0.0:
            now = 0.5 * (low + high) if high_known or not np.isfinite(high) else high
        start = None
        for origin, slope in ((nearest, path), (nearest, 0.0 * path), (best, 0.0 * path)):
            phi = origin.phi.copy()
            phi[rest] += slope * (now - phi[at])
            phi[at] = now
            if (start := objective.at(phi)) is not None:
                break
        if start is None:
            return now, False
        stop = minimise(objective, start, at, enough=CLOSE * target)
        if hidden := [k for k in diagonals if abs(stop.point.phi[k]) < HIDDEN]:
            phi = stop.point.phi.copy()
            phi[hidden] = RAISED
            if (raised := objective.at(phi)) is not None:
                other = minimise(objective, raised, at, enough=CLOSE * target)
                stop = other if other.point.value < stop.point.value else stop
        rise = max(stop.point.value - best.value, 0.0)
        if stop.converged or not wall:
            nearest = stop.point
        if now == edge and rise <= target:
            return edge, stop.converged or target - rise > 0.1 * target
        if rise > target:
            high, high_known = now, True
        else:
            low = now
        if abs(rise - target) < CLOSE * target or abs(high - low) < 1e-12 * max(1.0, abs(low)):
            return now, stop.converged
        root = np.sqrt(rise)
        ahead = root - root_before
        following = side * np.inf
        if abs(ahead) > 1e-14:
            following = now + (np.sqrt(target) - root) * (now - before) / ahead
        before, root_before = now, root
        inside = side * (following - low) > 0.0 and (not high_known or side * (high - following) > 0.0)
        if not inside:
            following = 0.5 * (low + high) if np.isfinite(high) else low + 2.0 * (low - best.phi[at])
        now = following
    return now, False


def profile_intervals(
    problem: SeveralProblem, best: SeveralOptimum, level: float
) -> tuple[np.ndarray, list[str]]:
    """Profile-likelihood intervals of all sd's, correlations and sigma.

    Parameters
    ----------
    problem : SeveralProblem
        The model over moments, in the kernels' coordinates.
    best : SeveralOptimum
        The optimum of the same problem.
    level : float
        Confidence level.

    Returns
    -------
    (n, 2) array
        In the order of `names`; 0 and +-1 are limits where the criterion does not rise that far before the edge of
        the parameter space. Where an sd may be 0, every correlation with it is possible: [-1, 1].
    list of str
        One message per limit that was not found.
    """
    target = float(2.0 * special.gammaincinv(0.5, level))
    count = len(names(problem))

    def limits(factor: int | None, first: tuple[int, ...], edges: tuple, final: Callable) -> list[float]:
        place, phi, at, unit, diagonals = _coordinates(problem, best, factor, first)
        objective = Objective(problem, best.reml, place)
        point, ends = objective.at(phi), []
        assert point is not None, "the criterion is finite at its optimum"
        for edge in edges:
            limit, found = profile_limit(objective, point, at, edge, target, len(first) == 2, diagonals)
            progress.advance()
            ends.append(final(limit, unit) if found else np.nan)
        return ends

    out: list[list[float]] = []
    with Progress("profile likelihood of several factors", 2 * count) as progress:
        for k, structure in enumerate(problem.structures):
            sds = [
                limits(k, (c,), (0.0, np.inf), lambda end, unit: end * unit)
                for c in range(len(structure.random))
            ]
            out += sds
            for a, b in structure.correlations:
                possible = 0.0 in (sds[a][0], sds[b][0])
                out.append([-1.0, 1.0] if possible else limits(k, (a, b), (-1.0, 1.0), lambda end, _: end))
        out.append(limits(None, (), (-np.inf, np.inf), lambda end, unit: float(np.exp(end)) * unit))
    messages = [
        not_found(f"{term} of {group}", ends)
        for (group, term), ends in zip(names(problem), out, strict=True)
        if not np.all(np.isfinite(ends))
    ]
    return np.array(out), messages
