"""The studentized range distribution, for many statistics at a time.

scipy's takes up to 0.3 s for one quantile, and the contrasts of unbalanced data have degrees of freedom each of their
own: 11,175 contrasts of 150 levels would take an hour.
"""

from functools import lru_cache

import numpy as np
from scipy import special, stats
from scipy.interpolate import CubicSpline

WIDEST = 20.0  # of a range of standard normals; a wider one has a probability below 1e-40
KNOTS = 4001  # relative error of the spline about 1e-11
REACH = 20.0  # of a standard normal: the largest of a range of WIDEST is near 10
STEP = 0.05
NODES = 201
TAIL = 1e-15  # probability of the scales that are left out at either end
CHUNK = 5_000  # statistics at a time
ROUNDS = 45  # halvings of a bracket, to rounding


@lru_cache(maxsize=8)
def _of_normals(means: int) -> CubicSpline:
    """Logarithm of the probability that the range of `means` standard normals is larger.

    k times the integral of phi(z) (Phi(z)^(k - 1) - (Phi(z) - Phi(z - w))^(k - 1)), z the largest, by the trapezoidal
    rule, which is exact to rounding for what vanishes at both ends; the difference without loss of digits.
    """
    z = np.arange(-REACH, REACH + STEP / 2, STEP)
    w = np.linspace(0.0, WIDEST, KNOTS)
    inside = special.log_ndtr(z)
    outside = np.exp(np.minimum(special.log_ndtr(z - w[:, None]) - inside, 0.0))
    with np.errstate(divide="ignore"):  # a range of 0
        share = -np.expm1((means - 1) * np.log1p(-outside))
    density = np.exp(-0.5 * z * z + (means - 1) * inside) / np.sqrt(2.0 * np.pi)
    return CubicSpline(w, np.log(means * STEP * (share @ density)))


def _scales(df: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights, (n, NODES), of sqrt(chi2 / df): the trapezoidal rule in its logarithm."""
    low, high = (np.log(stats.chi2.ppf(p, df) / df) / 2 for p in (TAIL, 1.0 - TAIL))
    at = np.linspace(low, high, NODES, axis=1)
    # the density of log s: 2 f(df s^2) df s^2, f that of chi2
    square = df[:, None] * np.exp(2.0 * at)
    weights = 2.0 * square * stats.chi2.pdf(square, df[:, None])
    return np.exp(at), weights / weights.sum(axis=1, keepdims=True)


def _larger(q: np.ndarray, means: int, nodes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Probability of a larger range than q, (n,), given the nodes of the scales."""
    at = np.minimum(q[:, None] * nodes, WIDEST)
    return np.einsum("ij,ij->i", np.exp(_of_normals(means)(at)), weights)


def _known(df: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`_scales` where normal statistics (infinite df) have a scale of 1."""
    finite = np.isfinite(df)
    nodes, weights = np.ones((len(df), NODES)), np.full((len(df), NODES), 1.0 / NODES)
    if finite.any():
        nodes[finite], weights[finite] = _scales(df[finite])
    return nodes, weights


def survival(q: np.ndarray, means: int, df: np.ndarray) -> np.ndarray:
    """Probability of a larger studentized range; NaN where a statistic or its degrees of freedom are.

    Parameters
    ----------
    q, df : (n,) arrays
        Statistics and their degrees of freedom, infinite ones for normal statistics.
    means : int
        Number of means.

    Returns
    -------
    (n,) array
        Correct to about 1e-10, relative to the probability down to 1e-12; of two means, t's to rounding.
    """
    if means == 2:
        return 2.0 * stats.t.sf(q / np.sqrt(2.0), df)
    out = np.full(len(q), np.nan)
    there = np.flatnonzero(~(np.isnan(q) | np.isnan(df)))
    for at in np.array_split(there, max(1, len(there) // CHUNK)):
        out[at] = _larger(q[at], means, *_known(df[at])) if len(at) else []
    return out


def quantile(level: float, means: int, df: np.ndarray) -> np.ndarray:
    """The studentized range that is not exceeded with probability `level`.

    By bisection, in which one distribution function serves all equal degrees of freedom.

    Parameters
    ----------
    level : float
        Between 0 and 1.
    means : int
        Number of means.
    df : (n,) array
        Degrees of freedom, infinite ones for normal statistics.

    Returns
    -------
    (n,) array
        NaN where the degrees of freedom are.
    """
    different, back = np.unique(df, return_inverse=True)
    out = np.full(len(different), np.nan)
    there = np.flatnonzero(~np.isnan(different))
    for at in np.array_split(there, max(1, len(there) // CHUNK)):
        nodes, weights = _known(different[at])
        low, high = np.zeros(len(at)), np.full(len(at), 1.0)
        while len(at) and (short := _larger(high, means, nodes, weights) > 1.0 - level).any():
            high[short] *= 2.0
        for _ in range(ROUNDS):
            middle = 0.5 * (low + high)
            below = _larger(middle, means, nodes, weights) > 1.0 - level
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        out[at] = 0.5 * (low + high)
    return out[back]
