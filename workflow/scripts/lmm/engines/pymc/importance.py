"""Importance sampling of a posterior of few parameters: mode, curvature, Student-t proposals, PSIS.

Proposals come in stages: a multivariate t at the mode with the curvature there, then t's with the weighted mean and
covariance of all points so far. A point's weight is the posterior over the mixture of all proposals by the number of
their points (deterministic mixture; Cornuet, Marin, Mira & Robert 2012, Scand. J. Stat. 39), Pareto smoothed
(Vehtari, Simpson, Gelman, Yao & Gabry 2024, JMLR 25(72)); see docs/statistics.md, section 10.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy import optimize

from lmm.engines.pymc.gates import PARETO_K
from lmm.engines.pymc.pareto import smoothed
from lmm.engines.pymc.unconstrained import Space

DF = 7.0  # of the t's: their tails are heavier than the exponential ones of a log sd
SHARES = (0.15, 0.25, 0.6)  # of the points, per stage
MORE, ROUNDS = 0.25, 4  # points of each further stage, as a share, and the number of these stages
STEP = 1e-4  # of differences of the gradient, in coordinates of order 1
NEAR = 0.1  # Newton decrement up to which one step from the start finds the mode: the density rises by half of it
FLATTEST = 0.1  # of the curvature of the first proposal: an sd of 3 in the logarithm of an sd
NEAR_MODE = 1e-2  # gradient at which the search for the mode ends: the proposals need not more
FLATTER = 5  # square roots of the weights that are tried
WIDER = 1.1  # of an adapted proposal's covariance


class Slope(Protocol):
    """A log density and its gradient, of which `laplace` finds the mode."""

    def slopes(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """At some points.

        Parameters
        ----------
        points : (N, d) array
            Coordinates.

        Returns
        -------
        (N,), (N, d) arrays
        """
        ...


@dataclass(frozen=True)
class Target:
    """The log posterior in the unconstrained coordinates of all variance parameters.

    Attributes
    ----------
    space : Space
        The coordinates.
    p : int
        Number of fixed effects.
    given : callable
        Roots of each factor's D, (N, q_k, q_k), sigmas (N,) and noise (N, p) to what is known there of the
        fixed effects, arrays of N, and at last the log likelihood with them integrated out.
    density : callable
        Roots of each factor's D, (q_k, q_k), and sigma to that log likelihood and its derivatives.
    rng : Generator
        For the fixed effects, which are drawn with each point.
    """

    space: Space
    p: int
    given: Callable[[Sequence[np.ndarray], np.ndarray, np.ndarray], tuple[np.ndarray, ...]]
    density: Callable[[Sequence[np.ndarray], float], tuple[float, list[np.ndarray], float]]
    rng: np.random.Generator

    def evaluate(self, points: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Log posterior at points, and what is known of the fixed effects there.

        Parameters
        ----------
        points : (N, d) array
            Coordinates.

        Returns
        -------
        (N,) array, tuple of arrays of N
        """
        roots, sigmas, prior = self.space.evaluated(points)
        *given, value = self.given(roots, sigmas, self.rng.standard_normal((len(points), self.p)))
        return value + prior, tuple(given)

    def slopes(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log posterior and gradient at some points.

        Parameters
        ----------
        points : (N, d) array
            Coordinates.

        Returns
        -------
        (N,), (N, d) arrays
        """
        with np.errstate(all="ignore"):  # far away sds are 0 or infinite, and what comes of it is not finite
            roots, sigmas, prior = self.space.evaluated(points)
            found = [self.density(own, sigma) for *own, sigma in zip(*roots, sigmas, strict=True)]
            values, slopes, d_sigma = zip(*found, strict=True)
            d_roots = [np.array(own) for own in zip(*slopes, strict=True)]
            gradients = self.space.gradients(points, roots, d_roots, np.array(d_sigma))
            return np.array(values) + prior, gradients


class Proposal(NamedTuple):
    """A multivariate t: its centre (d,), a lower triangular root of its scale matrix, its number of points."""

    centre: np.ndarray
    root: np.ndarray
    size: int

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Its points.

        Parameters
        ----------
        rng : Generator
            Source of the random numbers.

        Returns
        -------
        (size, d) array
        """
        normal = rng.standard_normal((self.size, len(self.centre)))
        radius = np.sqrt(DF / rng.chisquare(DF, self.size))
        return self.centre + radius[:, None] * (normal @ self.root.T)

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Up to a constant that all proposals share.

        Parameters
        ----------
        points : (N, d) array
            Coordinates.

        Returns
        -------
        (N,) array
        """
        away = (points - self.centre) @ np.linalg.inv(self.root).T
        reach = np.einsum("sd,sd->s", away, away)
        size = len(self.centre)
        return -0.5 * (DF + size) * np.log1p(reach / DF) - np.log(np.diag(self.root)).sum()


@dataclass(frozen=True)
class Sample:
    """Weighted points.

    Attributes
    ----------
    points : (N, d) array
    log_density : (N,) array
        Of the posterior, up to its constant.
    given : tuple of arrays of N
        What the target found beside it.
    weights : (N,) array
        Smoothed, with sum 1.
    k : float
        The Pareto k of the raw weights.
    evaluations : int
        Gradients of the search for the mode.
    """

    points: np.ndarray
    log_density: np.ndarray
    given: tuple[np.ndarray, ...]
    weights: np.ndarray
    k: float
    evaluations: int

    @property
    def ess(self) -> float:
        """Effective sample size of the weights."""
        return float(1.0 / np.sum(self.weights**2))

    def resampled(self, rng: np.random.Generator) -> np.ndarray:
        """Positions of N draws of equal weight in random order: systematic resampling.

        Parameters
        ----------
        rng : Generator
            Source of the random numbers.

        Returns
        -------
        (N,) int array
        """
        count = len(self.weights)
        ends = np.cumsum(self.weights)
        at = np.searchsorted(ends, (np.arange(count) + rng.random()) / count * ends[-1])
        return rng.permutation(np.minimum(at, count - 1))


def sample(target: Target, start: np.ndarray, count: int, rng: np.random.Generator) -> Sample:
    """Draw weighted points: `count` of them, and up to `ROUNDS` more parts of it while k is above its limit.

    Parameters
    ----------
    target : Target
        The posterior.
    start : (d,) array
        Where the search for the mode starts.
    count : int
        Points in all stages together.
    rng : Generator
        Source of the random numbers.

    Returns
    -------
    Sample
        Its k is infinite where the points so far lead to no further proposal.
    """
    mode, root, evaluations = laplace(target, start)
    ends = np.round(count * np.cumsum((0.0, *SHARES))).astype(int)
    first, *others = np.diff(ends).tolist()
    pool = _Pool(target, rng, len(start))
    pool.add(mode, root, first)
    try:
        for size in others:
            pool.add(*adapted(pool.points, pool.weights), size)
        for _ in range(ROUNDS):
            if pool.k < PARETO_K:
                break
            # where the weights are above their mean, the proposals so far are too low
            excess = np.maximum(pool.weights - 1.0 / len(pool.weights), 0.0)
            pool.add(*adapted(pool.points, excess / excess.sum()), int(MORE * count))
    except np.linalg.LinAlgError:  # the points have no finite covariance: no proposal covers this posterior
        pool.k = np.inf
    given = tuple(np.concatenate(parts) for parts in zip(*pool.given, strict=True))
    return Sample(pool.points, pool.density, given, pool.weights, pool.k, evaluations)


class _Pool:
    """Points of all proposals so far, with their weights and the Pareto k of these."""

    def __init__(self, target: Target, rng: np.random.Generator, size: int):
        self.target, self.rng = target, rng
        self.proposals: list[Proposal] = []
        self.points, self.density = np.empty((0, size)), np.empty(0)
        self.given: list[tuple[np.ndarray, ...]] = []
        self.weights, self.k = np.empty(0), np.inf

    def add(self, centre: np.ndarray, root: np.ndarray, count: int) -> None:
        """Draw from another proposal, and weight all points anew.

        Parameters
        ----------
        centre, root : (d,) array, (d, d) array
            Of the t.
        count : int
            Its number of points.
        """
        self.proposals.append(Proposal(centre, root, count))
        new = self.proposals[-1].draw(self.rng)
        value, found = self.target.evaluate(new)
        self.points, self.density = np.concatenate([self.points, new]), np.append(self.density, value)
        self.given.append(found)
        self.weights, self.k = smoothed(self.density - mixture(self.proposals, self.points))


def laplace(target: Slope, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The mode and a root of the inverse of minus the Hessian there, not narrower than the density allows.

    Parameters
    ----------
    target : Slope
        The posterior.
    start : (d,) array
        Where the search starts.

    Returns
    -------
    (d,) array, (d, d) array, int
        The mode, a lower triangular root of a covariance matrix, and the number of gradients.
    """
    calls, size = 0, len(start)

    def minus(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal calls
        calls += len(points)
        values, gradients = target.slopes(points)
        finite = np.isfinite(values) & np.isfinite(gradients).all(axis=1)
        return np.where(finite, -values, np.inf), np.where(finite[:, None], -gradients, 0.0)

    def around(point: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Minus the log posterior and its gradient at a point, and the covariance matrix there."""
        values, gradients = minus(point + np.vstack([np.zeros(size), STEP * np.eye(size)]))
        hessian = (gradients[1:] - gradients[0]) / STEP
        bends, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
        return values[0], gradients[0], (vectors / np.maximum(bends, FLATTEST)) @ vectors.T

    value, gradient, covariance = around(start)
    step = covariance @ gradient
    if np.isfinite(value) and gradient @ step < NEAR:
        return start - step, np.linalg.cholesky(covariance), calls

    def one(point: np.ndarray) -> tuple[float, np.ndarray]:
        values, gradients = minus(point[None])
        return values[0], gradients[0]

    found: Any = optimize.minimize(one, start, jac=True, method="BFGS", options={"gtol": NEAR_MODE})
    return found.x, np.linalg.cholesky(around(found.x)[2]), calls


def mixture(proposals: list[Proposal], points: np.ndarray) -> np.ndarray:
    """Log density of the proposals' mixture, up to a constant.

    Parameters
    ----------
    proposals : list of Proposal
        Each weighs as many as its points.
    points : (N, d) array
        Coordinates.

    Returns
    -------
    (N,) array
    """
    total = sum(proposal.size for proposal in proposals)
    parts = [np.log(own.size / total) + own.log_density(points) for own in proposals]
    most = np.maximum.reduce(parts)
    return most + np.log(sum(np.exp(part - most) for part in parts))


def adapted(points: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and root of the next proposal: weighted mean, and covariance somewhat widened.

    Where few points carry the weight, the weights are flattened until several per coordinate do.

    Parameters
    ----------
    points : (N, d) array
        Coordinates.
    weights : (N,) array
        With sum 1.

    Returns
    -------
    (d,) array, (d, d) array
    """
    need = 5.0 * (points.shape[1] + 1)
    for _ in range(FLATTER):
        if 1.0 / np.sum(weights**2) >= need:
            break
        weights = np.sqrt(weights)
        weights = weights / weights.sum()
    centre = weights @ points
    away = points - centre
    covariance = (away * weights[:, None]).T @ away
    scale = np.trace(covariance) / len(covariance)
    return centre, np.linalg.cholesky(WIDER * covariance + 1e-8 * scale * np.eye(len(covariance)))
