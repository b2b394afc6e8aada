"""Are ranks uniform? The empirical distribution function against simultaneous bands, exactly.

See docs/statistics.md, section 7.

Säilynoja, Bürkner & Vehtari 2022, Stat. Comput. 32:32 (arXiv 2103.10522): at points z the number of n uniform values
below z is Binomial(n, z); the band takes the same pointwise tail probability gamma / 2 on each side at every z, gamma
such that the whole path stays inside with the probability wanted. Their recursion over the counts is replaced by an
equivalent one that is a convolution: a path of uniform counts is a path of a Poisson process given its total n
(Moscovich & Nadler 2017, Stat. Probab. Lett. 123). Nothing is simulated.
"""

import numpy as np
from scipy.special import gammaln
from scipy.stats import binom


def tail(counts: np.ndarray, n: int, z: np.ndarray) -> np.ndarray:
    """Twice the smaller tail probability of each count, 2 min(P(N <= c), P(N >= c)), N ~ Binomial(n, z).

    Parameters
    ----------
    counts : (K,) int array
        Number of values below each point.
    n : int
        Number of values.
    z : (K,) array
        Points, ascending, inside (0, 1).

    Returns
    -------
    (K,) array
        At most 2.
    """
    return 2 * np.minimum(binom.cdf(counts, n, z), binom.sf(np.asarray(counts) - 1, n, z))


def band(n: int, z: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest counts at each z whose `tail` exceeds gamma.

    Parameters
    ----------
    n : int
        Values.
    z : (K,) array
        Points, ascending, inside (0, 1).
    gamma : float
        In (0, 1).

    Returns
    -------
    (K,), (K,) int arrays
    """
    return _lowest(n, z, gamma), n - _lowest(n, 1 - z, gamma)


def _lowest(n: int, z: np.ndarray, gamma: float) -> np.ndarray:
    lowest = np.maximum(binom.ppf(gamma / 2, n, z), 0).astype(int)
    # ppf gives the first count with P(N <= c) >= gamma / 2; equality, up to rounding, is not inside
    return lowest + (binom.cdf(lowest, n, z) <= gamma / 2 * (1 + 1e-9))


def inside(n: int, z: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Probability that n uniform values have between low and high (inclusive) values below every point of z.

    With f_k(y) the weight of paths that were inside up to z_k and have y values below it, f_k is f_(k-1) convolved
    with Poisson(n (z_k - z_(k-1))) and cut to the band; divided by P(Poisson(n) = n) at the end.

    Parameters
    ----------
    n : int
        Number of values.
    z : (K,) array
        Points, ascending, inside (0, 1).
    low : (K,) int array
        Smallest counts inside.
    high : (K,) int array
        Largest counts inside.

    Returns
    -------
    float
    """
    steps = np.diff(np.concatenate([[0.0], z, [1.0]]))
    lows, highs = np.append(low, n), np.append(high, n)
    if np.any(lows > highs):
        return 0.0
    weights, start = np.ones(1), 0
    for step, first, last in zip(steps, lows, highs, strict=True):
        k = np.arange(last - start + 1)
        if not len(k):
            return 0.0
        poisson = np.exp(k * np.log(n * step) - n * step - gammaln(k + 1))
        path = np.convolve(weights, poisson)[: last - start + 1]
        skip = max(first - start, 0)
        weights, start = path[skip:], start + skip
    return float(min(weights.sum() / np.exp(n * np.log(n) - n - gammaln(n + 1)), 1.0))


def adjusted_gamma(n: int, z: np.ndarray, level: float) -> float:
    """The largest gamma whose `band` holds a uniform path with probability at least `level`.

    Found by bisection between Bonferroni's value, which is always small enough, and the pointwise one.

    Parameters
    ----------
    n : int
        Number of values.
    z : (K,) array
        Points, ascending, inside (0, 1).
    level : float
        Probability wanted.

    Returns
    -------
    float
    """
    low, high = (1 - level) / len(z), 1 - level
    if inside(n, z, *band(n, z, high)) >= level:
        return high
    for _ in range(40):  # to 1e-12 of the interval; the probability is a step function of gamma
        middle = np.sqrt(low * high)
        if inside(n, z, *band(n, z, middle)) >= level:
            low = middle
        else:
            high = middle
        if high / low < 1 + 1e-6:
            break
    return float(low)


def simultaneous(n: int, z: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Simultaneous band for the ECDF at z: lowest and highest share of values below it.

    Parameters
    ----------
    n : int
        Number of values.
    z : (K,) array
        Points, ascending, inside (0, 1).
    level : float
        Probability that uniform values stay inside.

    Returns
    -------
    (K,), (K,) arrays
    """
    low, high = band(n, z, adjusted_gamma(n, z, level))
    return low / n, high / n


def p_value(counts: np.ndarray, n: int, z: np.ndarray) -> tuple[float, float]:
    """Exact test of uniformity by the smallest tail probability over all points.

    Parameters
    ----------
    counts : (K,) int array
        Number of values below each point.
    n : int
        Number of values.
    z : (K,) array
        Points, ascending, inside (0, 1).

    Returns
    -------
    gamma : float
        min over z of `tail`.
    p : float
        Probability that uniform values have a gamma as small: the band that just excludes the observed path is left
        with this probability. Accurate to about 1e-12.
    """
    gamma = float(tail(counts, n, z).min())
    if gamma >= 1:
        return gamma, 1.0
    return gamma, max(1.0 - inside(n, z, *band(n, z, gamma)), 0.0)
