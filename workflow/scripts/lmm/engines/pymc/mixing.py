"""How well chains mix: rank-normalised split R-hat and effective sample sizes, of all quantities at once.

Vehtari, Gelman, Simpson, Carpenter & Buerkner 2021, Bayesian Analysis 16(2). The same numbers as ArviZ's in a fifth
of its time, which a replicate of a recovery study would notice: ArviZ takes quantities one by one and computes
autocovariances at all lags, of which the first few are used.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.special import ndtri

from lmm.core.compiled import kernel
from lmm.engines.pymc.order import quantiles

FEWEST = 4  # draws of each chain


def split(draws: np.ndarray) -> np.ndarray:
    """Halves of chains as chains; an odd draw in the middle is left out.

    Parameters
    ----------
    draws : (k, chains, draws) array
        Draws of k quantities.

    Returns
    -------
    (k, 2 chains, draws // 2) array
    """
    half = draws.shape[2] // 2
    return np.concatenate([draws[:, :, :half], draws[:, :, -half:]], axis=1)


def scores(values: np.ndarray) -> np.ndarray:
    """Normal scores of ranks (Blom's) among all draws of a quantity, ties their average.

    Parameters
    ----------
    values : (k, ...) array
        Draws of k quantities.

    Returns
    -------
    (k, ...) array
    """
    flat = np.ascontiguousarray(values.reshape(len(values), -1))
    ranks = _ranks(flat, np.argsort(flat, axis=1))
    return ndtri((ranks - 0.375) / (flat.shape[1] + 0.25)).reshape(values.shape)


@kernel
def _ranks(values, order):
    """Ranks from 1 of each row, (k, n), in the order that sorts it; ties their average."""
    count, n = values.shape
    out = np.empty((count, n))
    for at in range(count):
        first = 0
        while first < n:
            last = first
            while last + 1 < n and values[at, order[at, last + 1]] == values[at, order[at, first]]:
                last += 1
            for k in range(first, last + 1):
                out[at, order[at, k]] = 0.5 * (first + last) + 1.0
            first = last + 1
    return out


def r_hat(draws: np.ndarray) -> np.ndarray:
    """Rank-normalised split R-hat: the larger of the draws' and of their distances' from the median.

    Parameters
    ----------
    draws : (k, chains, draws) array
        Draws of k quantities.

    Returns
    -------
    (k,) array
        NaN for one chain, or chains of fewer than `FEWEST` draws.
    """
    if draws.shape[1] < 2 or draws.shape[2] < FEWEST:
        return np.full(len(draws), np.nan)
    halves = split(draws)
    folded = np.abs(halves - np.median(halves, axis=(1, 2), keepdims=True))
    with np.errstate(invalid="ignore"):  # what does not vary has no R-hat
        return np.fmax(_r_hat(scores(halves)), _r_hat(scores(folded)))


def _r_hat(chains: np.ndarray) -> np.ndarray:
    """R-hat of (k, chains, n) as they are."""
    n = chains.shape[2]
    within = chains.var(axis=2, ddof=1).mean(axis=1)
    between = n * chains.mean(axis=2).var(axis=1, ddof=1)
    return np.sqrt((between / within + n - 1) / n)


def bulk(draws: np.ndarray) -> np.ndarray:
    """Effective sample size of the ranks' normal scores.

    Parameters
    ----------
    draws : (k, chains, draws) array
        Draws of k quantities.

    Returns
    -------
    (k,) array
    """
    return _of(draws, lambda: scores(split(draws)))


def tail(draws: np.ndarray, probs: tuple[float, float]) -> np.ndarray:
    """The smaller of the effective sample sizes of two quantiles.

    Parameters
    ----------
    draws : (k, chains, draws) array
        Draws of k quantities.
    probs : (float, float)
        Probabilities below the quantiles.

    Returns
    -------
    (k,) array
    """
    ends = quantiles(draws.reshape(len(draws), -1), probs)[:, :, None, None]
    return np.minimum(*(_of(draws, partial(_below, draws, end)) for end in ends))


def _below(draws: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Whether draws are below the ends, of halves of chains."""
    return split((draws <= ends).astype(float))


def mean(draws: np.ndarray) -> np.ndarray:
    """Effective sample size of the mean.

    Parameters
    ----------
    draws : (k, chains, draws) array
        Draws of k quantities.

    Returns
    -------
    (k,) array
    """
    return _of(draws, lambda: split(draws))


def _of(draws: np.ndarray, chains: Callable[[], np.ndarray]) -> np.ndarray:
    """`effective` of what `chains` makes of the draws; NaN where there are too few, or some are no numbers."""
    if draws.shape[2] < FEWEST:
        return np.full(len(draws), np.nan)
    known = np.isfinite(draws).all(axis=(1, 2))
    return np.where(known, effective(np.ascontiguousarray(chains())), np.nan)


@kernel
def effective(chains):
    """Effective sample size of the mean of chains, by Geyer's initial monotone sequence.

    Autocorrelations at lags 2t and 2t + 1 are added up in pairs, none larger than the one before, while their sum is
    positive (Geyer 1992, Stat. Sci. 7(4)).

    Parameters
    ----------
    chains : (k, chains, n) array
        Draws of k quantities, of halves of chains.

    Returns
    -------
    (k,) array
        Number of draws for what does not vary.
    """
    count, m, n = chains.shape
    out = np.empty(count)
    away, means = np.empty((m, n)), np.empty(m)
    for at in range(count):
        low, high = chains[at].min(), chains[at].max()
        if high - low < 1e-15:
            out[at] = m * n
            continue
        for c in range(m):
            means[c] = chains[at, c].mean()
            for i in range(n):
                away[c, i] = chains[at, c, i] - means[c]
        own = _covariance(away, 0)
        within = own * n / (n - 1.0)
        total = own
        if m > 1:
            total += means.var() * m / (m - 1.0)
        time, before, lag = -1.0, np.inf, 1
        even, odd = 1.0, 1.0 - (within - _covariance(away, 1)) / total
        while lag < n - 3 and even + odd > 0.0:
            before = min(before, even + odd)
            time += 2.0 * before
            even = 1.0 - (within - _covariance(away, lag + 1)) / total
            odd = 1.0 - (within - _covariance(away, lag + 2)) / total
            lag += 2
        time += max(even, 0.0)
        out[at] = m * n / max(time, 1.0 / np.log10(m * n))  # the limit for draws that repel one another
    return out


@kernel
def _covariance(away, lag):
    """Mean over chains of the autocovariance at a lag, divisor n."""
    m, n = away.shape
    total = 0.0
    for c in range(m):
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0  # each addition waits for the last: four sums abreast
        stop = n - lag
        whole = stop - stop % 4
        for i in range(0, whole, 4):
            s0 += away[c, i] * away[c, i + lag]
            s1 += away[c, i + 1] * away[c, i + 1 + lag]
            s2 += away[c, i + 2] * away[c, i + 2 + lag]
            s3 += away[c, i + 3] * away[c, i + 3 + lag]
        for i in range(whole, stop):
            s0 += away[c, i] * away[c, i + lag]
        total += (s0 + s1) + (s2 + s3)
    return total / (m * n)
