"""What follows from draws of (D, sigma) exactly: fixed effects and random effects, Rao-Blackwellised.

Given D and sigma both are Gaussian (docs/statistics.md, section 2), so their posterior moments are averages of
conditional moments over the draws, beta integrated out as well; averaging *drawn* effects instead would add Monte
Carlo error for nothing. Groups stream: memory does not grow with groups x draws unless draws are asked for.
"""

import math
from typing import NamedTuple

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.conditional import block_like, condition, half_of, read_block, spread
from lmm.likelihood.marginal import log_density_of, terms_at, views


@kernel
def given_draws(data, roots, sigmas, noise, keep):
    """GLS estimates of beta at each draw, and draws around them.

    Parameters
    ----------
    data : (n,) array
        From `density.pack_problem`.
    roots, sigmas : (S, q, q), (S,) arrays
        Draws of L (in the coordinates that `data` takes it in) and sigma, original units.
    noise : (S, p) array
        Standard normals.
    keep : (S,) array of bool
        Draws whose covariance matrices are wanted.

    Returns
    -------
    beta : (S, p) array
        E[beta | D, sigma, y] in the kernel's coordinates.
    away : (S, p) array
        The noise with the covariance matrix of beta, given D, sigma and y, in the kernel's coordinates.
    half : (kept, p, p) array
        sigma root_x^-T: a square root of cov(beta | D, sigma, y) in the kernel's coordinates and units.
    factors : (S, q, q) array
        Lambda in the kernel's coordinates.
    density : (S,) array
        log p(y | D, sigma), beta integrated out; NaN where it cannot be evaluated.
    """
    n, q, p = len(sigmas), int(data[0]), int(data[1])
    beta, away, half = np.empty((n, p)), np.empty((n, p)), np.empty((keep.sum(), p, p))
    factors, density = np.empty((n, q, q)), np.empty(n)
    transform, total, prior, _, gram, floor, _ = views(data)
    at = 0
    for s in range(n):
        terms, factor, own = terms_at(
            transform, total, prior, gram, floor, data[4], roots[s], sigmas[s], False
        )
        beta[s], factors[s] = terms[2], factor
        density[s] = log_density_of(terms[0], terms[1], own, data[3], data[5])
        root = terms[3]
        for a in range(p - 1, -1, -1):
            value = own * noise[s, a]
            for k in range(a + 1, p):
                value -= root[k, a] * away[s, k]
            away[s, a] = value / root[a, a]
        if keep[s]:
            half[at] = half_of(root, own)
            at += 1
    return beta, away, half, factors, density


@kernel
def summarise_groups(data, z_map, beta, half, factors, sigmas, mixture, tail, keep, first, last):
    """Posterior summaries of the random effects of some blocks of groups, padding included.

    Parameters
    ----------
    data : (n,) array
        From `likelihood.marginal.pack_problem`.
    z_map : (q, q) array
        To original units.
    beta : (S, p) array
        From `given_draws`.
    half : (S, p, p) array
        From `given_draws`.
    factors : (S, q, q) array
        From `given_draws`.
    sigmas : (S,) array
        In original units.
    mixture : int
        Number of draws (evenly spaced) that the quantiles use.
    tail : float
        Probability below the lower quantile, e.g. 0.025.
    keep : bool
        Whether to return the conditional means of all draws.
    first, last : int
        The blocks of the packed moments, `last` excluded.

    Returns
    -------
    mean, variance, cond_variance, spread, low, high : (J, q) arrays
        E[u_j], var(u_j), E[V_j], variance of the conditional means over the draws, and the quantiles of u_j; J
        counts the groups of these blocks with the padding of the last.
    means : (J, q, S) array
        Conditional means, with `keep`; else empty.
    """
    gram = views(data)[6]
    lanes, q, n = gram.shape[3], factors.shape[1], len(sigmas)
    n_groups = (last - first) * lanes
    out = np.zeros((6, n_groups, q))
    means = np.empty((n_groups if keep else 0, q, n))
    at = block_like(gram)
    sums = np.empty((5, q, lanes))
    start = np.empty((q, lanes))
    mix_mean, mix_sd = np.empty((q, lanes, mixture)), np.empty((q, lanes, mixture))
    z = mixture_quantile(np.zeros(1), np.ones(1), tail, -12.0, 12.0, -1.0)
    for block in range(first, last):
        read_block(gram, block, at)
        sums[:] = 0.0
        taken, group = 0, (block - first) * lanes
        for s in range(n):
            condition(factors[s], z_map, beta[s], at)
            spread(factors[s], half[s], sigmas[s] / data[4], at)
            if s == 0:
                start[:] = at.mean
            for i in range(q):
                for j in range(lanes):
                    sums[0, i, j] += at.mean[i, j]
                    sums[1, i, j] += at.variance[i, j]
                    sums[2, i, j] += at.cond_variance[i, j]
                for j in range(lanes):  # about the first draw's, from which the others differ little
                    d = at.mean[i, j] - start[i, j]
                    sums[3, i, j] += d
                    sums[4, i, j] += d * d
            if keep:
                for j in range(lanes):
                    for i in range(q):
                        means[group + j, i, s] = at.mean[i, j]
            if taken < mixture and s == (taken * n) // mixture:
                for i in range(q):
                    for j in range(lanes):
                        mix_mean[i, j, taken] = at.mean[i, j]
                        mix_sd[i, j, taken] = math.sqrt(at.variance[i, j])
                taken += 1
        for j in range(lanes):
            for i in range(q):
                mean = sums[0, i, j] / n
                between = max(sums[4, i, j] - sums[3, i, j] * sums[3, i, j] / n, 0.0) / n
                sd = math.sqrt(sums[1, i, j] / n + between)
                reach = 12.0 * sd + 1e-300
                low, high = mean - reach, mean + reach
                row = out[:, group + j, i]
                row[0], row[1], row[2], row[3] = mean, sd * sd, sums[2, i, j] / n, between
                centres, sds = mix_mean[i, j], mix_sd[i, j]
                row[4] = mixture_quantile(centres, sds, tail, low, high, expanded(centres, sds, z))
                row[5] = mixture_quantile(centres, sds, 1.0 - tail, low, high, expanded(centres, sds, -z))
    return out[0], out[1], out[2], out[3], out[4], out[5], means


@kernel
def draw_groups(data, z_map, n_groups, beta, factors, sigmas, noise):
    """Random effects drawn from their conditionals given drawn beta: (S, J, q), original units.

    Parameters
    ----------
    data : (n,) array
        From `likelihood.marginal.pack_problem`.
    z_map : (q, q) array
        To original units.
    n_groups : int
        J.
    beta : (S, p) array
        Draws in the kernel's coordinates.
    factors : (S, q, q) array
        See `given_draws`.
    sigmas : (S,) array
        In original units.
    noise : (S, J, q) array
        Standard normals.

    Returns
    -------
    (S, J, q) array
        Draws of u_j, original units.
    """
    gram = views(data)[6]
    lanes, q, n = gram.shape[3], factors.shape[1], len(sigmas)
    out = np.empty((n, n_groups, q))
    at = block_like(gram)
    for block in range(len(gram)):
        read_block(gram, block, at)
        group = block * lanes
        for s in range(n):
            own = sigmas[s] / data[4]
            condition(factors[s], z_map, beta[s], at)
            for j in range(min(lanes, n_groups - group)):
                for i in range(q):  # own half' is a root of V_j
                    value = 0.0
                    for k in range(q):
                        value += at.half[k, i, j] * noise[s, group + j, k]
                    out[s, group + j, i] = at.mean[i, j] + own * value
    return out


class FixedDraws(NamedTuple):
    """Fixed effects: conditional means at each draw and exact draws, (S, p), original units."""

    mean: np.ndarray
    covariance: np.ndarray
    draws: np.ndarray


def fixed_draws(problem, beta: np.ndarray, away: np.ndarray, half: np.ndarray) -> FixedDraws:
    """Fixed effects in original units.

    Parameters
    ----------
    problem : Problem
        The model over moments, in the kernel's coordinates.
    beta, away : (S, p) arrays
        From `given_draws`.
    half : (S, p, p) array
        From `given_draws`.

    Returns
    -------
    FixedDraws
        `covariance` is E[cov(beta | D, sigma, y)] + cov(E[beta | D, sigma, y]), (p, p): Rao-Blackwellised.
    """
    mean = beta @ problem.x_map.T + problem.offset
    inner = np.einsum("sab,scb->ac", half, half, optimize=True) / len(half)
    between = np.cov(mean, rowvar=False, ddof=0).reshape(len(problem.fixed), -1)
    covariance = problem.x_map @ inner @ problem.x_map.T + between
    return FixedDraws(mean, covariance, (beta + away) @ problem.x_map.T + problem.offset)


@kernel
def expanded(means, sds, z):
    """About the quantile of an equal mixture of normals: Cornish and Fisher's expansion from its first four moments.

    Parameters
    ----------
    means, sds : (S,) arrays
        Of the normals.
    z : float
        The quantile of the standard normal.

    Returns
    -------
    float
    """
    n = len(means)
    centre = 0.0
    for mean in means:
        centre += mean / n
    second, third, fourth = 1e-300, 0.0, 0.0
    for s in range(n):
        d, v = means[s] - centre, sds[s] * sds[s]
        square = d * d
        second += (square + v) / n
        third += d * (square + 3.0 * v) / n
        fourth += (square * (square + 6.0 * v) + 3.0 * v * v) / n
    skew, excess = third / (second * math.sqrt(second)), fourth / (second * second) - 3.0
    bend = (z * z - 1.0) * skew / 6.0 + (z**3 - 3.0 * z) * excess / 24.0
    return centre + math.sqrt(second) * (z + bend - (2.0 * z**3 - 5.0 * z) * skew * skew / 36.0)


@kernel
def mixture_quantile(means, sds, prob, low, high, x):
    """Quantile of an equal mixture of normals, by bisection safeguarded steps of Halley's from x.

    The error after a step h is at most about h^3 / (2 sd^2) of the normals (their sd's being alike), so that the last
    step may be 2e-3 sd for an error of 4e-9 sd.

    Parameters
    ----------
    means : (S,) array
        Means of the normals.
    sds : (S,) array
        Their standard deviations; 0: a point.
    prob : float
        Probability below the quantile.
    low : float
        Below the quantile.
    high : float
        Above the quantile.
    x : float
        Where the search starts.

    Returns
    -------
    float
        To about 1e-8 of the normals' sd.
    """
    narrow = np.inf
    for sd in sds:
        if sd > 0.0:
            narrow = min(narrow, sd)
    for _ in range(60):
        cdf, pdf, slope = 0.0, 0.0, 0.0
        for s in range(len(means)):
            if sds[s] > 0.0:
                z = (x - means[s]) / sds[s]
                cdf += 0.5 * math.erfc(-z / math.sqrt(2.0))
                density = math.exp(-0.5 * z * z) / (sds[s] * math.sqrt(2.0 * math.pi))
                pdf += density
                slope -= z * density / sds[s]
            elif x >= means[s]:
                cdf += 1.0
        error = cdf / len(means) - prob
        if error > 0.0:
            high = x
        else:
            low = x
        step = error * len(means) / pdf if pdf > 0.0 else np.inf
        bend = 1.0 - 0.5 * step * slope / pdf if pdf > 0.0 else 1.0
        if bend > 0.5:
            step /= bend
        following = x - step
        if not low < following < high:
            following = 0.5 * (low + high)
        elif abs(step) <= 2e-3 * narrow:
            return following
        if high - low <= 1e-12 * abs(x):
            return following
        x = following
    return x
