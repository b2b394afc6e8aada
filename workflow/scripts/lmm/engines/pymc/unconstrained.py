"""Unconstrained coordinates of the variance parameters, of one grouping factor or several, with their prior.

Per factor a coordinate for each sd and each correlation within a block; the residual sd's is last. The likelihood is
flat in an sd below some scale c, and in correlations close to 1. Logarithms and logits would have long tails there;
these coordinates x have short ones, so that a multivariate t covers the posterior. With Phi and phi the standard
normal distribution function and density, g(t) = t Phi(t) + phi(t) (about t above 0, and 0 below) and DELTA = 0.1,

    sd = c (exp(DELTA g(x / DELTA)) - 1),

which is linear up to about c, logarithmic above, and 0 only in the limit; under uniform(low, high) this is y in sd =
low + (high - low) (1 - exp(-y / (high - low))). With the correlation matrix of a block C C', C lower triangular, row
m of C is made of partial correlations p_mk = 2 Phi(x) - 1: C_mk = p_mk prod_{l < k} sqrt(1 - p_ml^2). Under LKJ(eta)
the p_mk are independent, beta on (-1, 1) with both shapes eta + (size - 2 - k) / 2 (Lewandowski, Kurowicka & Joe
2009, J. Multivar. Anal. 100).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from lmm.likelihood.problem import Structure
from lmm.model.priors import Prior

DELTA = 0.1
EDGE = 1e-2  # a start's distance from sd's of 0 in units of c, from correlations of 1 and an interval's upper end
STEPS = 50


class Factor(NamedTuple):
    """A factor's random effects and the priors of their sd's and correlations.

    Attributes
    ----------
    structure : Structure
    sds : tuple of Prior
    scales : (q,) array
        c of each sd.
    eta : float
        LKJ's argument.
    """

    structure: Structure
    sds: tuple[Prior, ...]
    scales: np.ndarray
    eta: float

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return len(self.sds) + len(self.structure.correlations)

    @property
    def partial(self) -> list[tuple[int, int, float]]:
        """Row and column in C of each correlation, and both shapes of its partial correlation's prior."""
        return [
            (m, k, self.eta + 0.5 * (stop - start - 2 - (k - start)))
            for start, stop in self.structure.blocks
            for k in range(start, stop)
            for m in range(k + 1, stop)
        ]


@dataclass(frozen=True)
class Space:
    """Coordinates of all variance parameters.

    Attributes
    ----------
    factors : tuple of Factor
    sigma : Prior
    scale : float
        c of sigma.
    """

    factors: tuple[Factor, ...]
    sigma: Prior
    scale: float

    def _parts(self, points: np.ndarray) -> list[tuple[Factor, np.ndarray, np.ndarray]]:
        """Each factor with what belongs to its sd's and to its correlations."""
        out, at = [], 0
        for factor in self.factors:
            q = len(factor.sds)
            out.append((factor, points[..., at : at + q], points[..., at + q : at + factor.size]))
            at += factor.size
        return out

    def evaluated(self, points: np.ndarray) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Lower triangular roots of each D, sigma, and the log prior density of the coordinates up to a constant.

        Parameters
        ----------
        points : (N, d) array
            Coordinates.

        Returns
        -------
        list of (N, q_k, q_k) arrays, (N,) array, (N,) array
        """
        soft, roots = _soft(points), []
        density = _log_density(self.sigma, self.scale, points[:, -1], soft[:, -1])
        for (factor, own, angles), (_, above, _) in zip(self._parts(points), self._parts(soft), strict=True):
            root = _correlation_root(factor, angles)
            for k, prior in enumerate(factor.sds):
                root[:, k] *= _sd(prior, factor.scales[k], above[:, k])[:, None]
                density += _log_density(prior, factor.scales[k], own[:, k], above[:, k])
            for x, (_, _, shape) in zip(angles.T, factor.partial, strict=True):
                density += (shape - 1.0) * (log_ndtr(x) + log_ndtr(-x)) - 0.5 * x * x
            roots.append(root)
        return roots, _sd(self.sigma, self.scale, soft[:, -1]), density

    def values(self, points: np.ndarray) -> np.ndarray:
        """Standard deviations and correlations of each factor, and sigma.

        Parameters
        ----------
        points : (N, d) array
            Coordinates.

        Returns
        -------
        (d, N) array
        """
        out, soft = [], _soft(points)
        for (factor, _, angles), (_, own, _) in zip(self._parts(points), self._parts(soft), strict=True):
            root = _correlation_root(factor, angles)
            out += [_sd(prior, factor.scales[k], own[:, k]) for k, prior in enumerate(factor.sds)]
            pairs = factor.structure.correlations
            out += [np.einsum("sc,sc->s", root[:, k], root[:, m]) for k, m in pairs]
        return np.array([*out, _sd(self.sigma, self.scale, soft[:, -1])])

    def point(self, values: np.ndarray) -> np.ndarray:
        """The coordinates of `values`, moved off the edges.

        Parameters
        ----------
        values : (d,) array
            In the order of `values`.

        Returns
        -------
        (d,) array
        """
        out = []
        for factor, sds, correlations in self._parts(values):
            out += [_coordinate(*own) for own in zip(factor.sds, factor.scales, sds, strict=True)]
            corr = np.eye(len(sds))
            for (k, m), r in zip(factor.structure.correlations, correlations, strict=True):
                corr[k, m] = corr[m, k] = r * (1.0 - EDGE)  # a matrix of rank 1 stays positive definite
            root = np.linalg.cholesky(corr)
            for m, k, _ in factor.partial:
                left = np.sqrt(np.sum(root[m, k : m + 1] ** 2))
                out.append(ndtri(0.5 + 0.5 * root[m, k] / left))
        return np.array([*out, _coordinate(self.sigma, self.scale, values[-1])])

    def gradients(
        self,
        points: np.ndarray,
        roots: Sequence[np.ndarray],
        d_roots: Sequence[np.ndarray],
        d_sigma: np.ndarray,
    ) -> np.ndarray:
        """Derivatives of the log posterior in the coordinates, from those of the log likelihood.

        Parameters
        ----------
        points : (N, d) array
            Coordinates.
        roots : sequence of (N, q_k, q_k) arrays
            From `evaluated`.
        d_roots : sequence of (N, q_k, q_k) arrays
            Derivatives of the log likelihood in the elements of each root.
        d_sigma : (N,) array
            In sigma.

        Returns
        -------
        (N, d) array
        """
        out = []
        for (factor, own, angles), root, slope in zip(self._parts(points), roots, d_roots, strict=True):
            products = root * slope
            for k, prior in enumerate(factor.sds):
                along = products[:, k, : k + 1].sum(axis=1)  # times the sd, the derivative in it
                out.append(_chain(prior, factor.scales[k], own[:, k], along, times=True))
            for x, (m, c, shape) in zip(angles.T, factor.partial, strict=True):
                left = np.sqrt(np.sum(root[:, m, c : m + 1] ** 2, axis=1))  # sd prod_{l < c} sqrt(1 - p_l^2)
                turn = 0.5 * (_mills(x) - _mills(-x))  # of log sqrt(1 - p^2)
                moved = 2.0 * left * _normal(x) * slope[:, m, c]
                moved += turn * products[:, m, c + 1 : m + 1].sum(axis=1)
                out.append(moved + 2.0 * (shape - 1.0) * turn - x)
        out.append(_chain(self.sigma, self.scale, points[:, -1], d_sigma))
        return np.column_stack(out)


def _normal(x):
    """The standard normal density."""
    return np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)


def _mills(x):
    """Derivative of log Phi(x)."""
    return np.exp(-0.5 * x * x - log_ndtr(x)) / np.sqrt(2.0 * np.pi)


def _correlation_root(factor: Factor, angles: np.ndarray) -> np.ndarray:
    """C at each point, (N, q, q)."""
    q = len(factor.sds)
    out, rest = np.zeros((len(angles), q, q)), np.ones((len(angles), q))
    for k, (m, c, _) in enumerate(factor.partial):  # ascending columns of each row
        below, above = ndtr(angles[:, k]), ndtr(-angles[:, k])
        out[:, m, c] = (below - above) * rest[:, m]
        rest[:, m] *= 2.0 * np.sqrt(below * above)
    out[:, np.arange(q), np.arange(q)] = rest
    return out


def _soft(x: Any) -> Any:
    """DELTA g(x / DELTA)."""
    return x * ndtr(x / DELTA) + DELTA * _normal(x / DELTA)


def _sd(prior: Prior, scale: float, soft: Any) -> Any:
    """A standard deviation at `_soft` of its coordinate."""
    y = scale * np.expm1(soft)
    if prior.name != "uniform":
        return y
    low, high = prior.args
    return low - (high - low) * np.expm1(-y / (high - low))


def _coordinate(prior: Prior, scale: float, sd: float) -> float:
    """The inverse of `_sd`, off 0 and off the ends of an interval."""
    y = sd
    if prior.name == "uniform":
        low, high = prior.args
        y = -(high - low) * np.log1p(-np.clip((sd - low) / (high - low), 0.0, 1.0 - EDGE))
    target = np.log1p(max(y / scale, EDGE))
    x = target
    for _ in range(STEPS):  # Newton from above; the function is convex
        step = (_soft(x) - target) / ndtr(x / DELTA)
        x -= step
        if abs(step) < 1e-9:  # of a coordinate of order 1; the next step is of the order of the square
            break
    return float(x)


def _log_density(prior: Prior, scale: float, x: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """Log prior density of an sd's coordinate, up to a constant; `soft`: `_soft` of it."""
    change = soft + log_ndtr(x / DELTA)
    if prior.name == "uniform":
        return change - scale / (prior.args[1] - prior.args[0]) * np.expm1(soft)
    return change + prior.logpdf(scale * np.expm1(soft))


def _chain(prior: Prior, scale: float, x: np.ndarray, slope: np.ndarray, times: bool = False) -> np.ndarray:
    """Derivative of the log posterior in an sd's coordinate, from that of the log likelihood in the sd.

    `times`: the latter comes multiplied by the sd.
    """
    soft, share = _soft(x), ndtr(x / DELTA)
    y, moved = scale * np.expm1(soft), scale * np.exp(soft) * share  # and the derivative of y
    out = share + _mills(x / DELTA) / DELTA
    if prior.name == "uniform":
        low, width = prior.args[0], prior.args[1] - prior.args[0]
        fall = np.expm1(-y / width)
        own = slope / (low - width * fall) if times else slope
        return out - moved / width + own * (1.0 + fall) * moved
    own = slope / y if times else slope
    return out + (own + prior.density(y)[1]) * moved
