"""What follows from draws of (D, sigma) exactly: fixed effects and random effects, Rao-Blackwellised.

Given D and sigma both are Gaussian (statistics.md, section 2), so their posterior moments are averages of
conditional moments over the draws, beta integrated out as well; averaging *drawn* effects instead would add Monte
Carlo error for nothing. Groups stream: memory does not grow with groups x draws unless draws are asked for.
"""

import math
from typing import NamedTuple

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.marginal import terms_at, views


@kernel
def given_draws(data, roots, sigmas):
    """GLS estimates of beta at each draw.

    Parameters
    ----------
    data : (n,) array
        From `density.pack_problem`.
    roots, sigmas : (S, q, q), (S,) arrays
        Draws of L and sigma, original units.

    Returns
    -------
    beta : (S, p) array
        E[beta | D, sigma, y] in the kernel's coordinates.
    half : (S, p, p) array
        sigma root_x^-T: a square root of cov(beta | D, sigma, y) in the kernel's coordinates and units.
    factors : (S, q, q) array
        Lambda in the kernel's coordinates.
    """
    n, p = len(sigmas), int(data[1])
    q = int(data[0])
    beta, half = np.empty((n, p)), np.zeros((n, p, p))
    factors = np.empty((n, q, q))
    transform, total, prior, gram = views(data)
    for s in range(n):
        terms, factor, own = terms_at(transform, total, prior, gram, data[4], roots[s], sigmas[s], False)
        beta[s], factors[s] = terms[2], factor
        root = terms[3]
        for b in range(p):  # columns of root^-T, an upper triangle, by back substitution
            for a in range(b, -1, -1):
                value = own if a == b else 0.0
                for k in range(a + 1, b + 1):
                    value -= root[k, a] * half[s, k, b]
                half[s, a, b] = value / root[a, a]
    return beta, half, factors


@kernel
def _read_group(gram, j, a, b, c):
    """A_j (q, q), B_j (q, p) and c_j (q,) of group j out of the packed array."""
    q, p = b.shape
    block, lane = j // gram.shape[3], j % gram.shape[3]
    for i in range(q):
        for k in range(q):
            a[i, k] = gram[block, i, k, lane]
        for k in range(p):
            b[i, k] = gram[block, i, q + k, lane]
        c[i] = gram[block, i, q + p, lane]


@kernel
def _group_moments(a, b, c, factor, beta, half, own, mean, variance, cond, work):
    """Conditional mean and covariances of one group's v_j (kernel's units) at one draw.

    `work` (q, 2 q + p) is scratch. `half` has the factor sigma in it, so K_j R_X^-1 K_j' is
    (V_j / s2) B_j half half' B_j' (V_j / s2).
    """
    q, p = b.shape
    s2 = own * own
    # chol(M), M = I + Lambda' A Lambda; left = A Lambda in work[:, :q]
    for i in range(q):
        for k in range(q):
            value = 0.0
            for m in range(q):
                value += a[i, m] * factor[m, k]
            work[i, k] = value
    for i in range(q):
        for k in range(i + 1):
            value = 1.0 if i == k else 0.0
            for m in range(q):
                value += factor[m, i] * work[m, k]
            for m in range(k):
                value -= variance[i, m] * variance[k, m]
            variance[i, k] = math.sqrt(value) if i == k else value / variance[k, k]
    # rows of C^-1 Lambda' in work[:, q : 2 q]
    for i in range(q):
        for k in range(q):
            value = factor[k, i]
            for m in range(i):
                value -= variance[i, m] * work[m, q + k]
            work[i, q + k] = value / variance[i, i]
    for i in range(q):
        for k in range(q):
            value = 0.0
            for m in range(q):
                value += work[m, q + i] * work[m, q + k]
            cond[i, k] = value  # V_j / s2
    for i in range(q):
        value = c[i]
        for k in range(p):
            value -= b[i, k] * beta[k]
        work[i, 0] = value
    for i in range(q):
        value = 0.0
        for k in range(q):
            value += cond[i, k] * work[k, 0]
        mean[i] = value
        for k in range(q):
            variance[i, k] = s2 * cond[i, k]
    if p > 0:
        for i in range(q):
            for k in range(p):
                value = 0.0
                for m in range(q):
                    value += cond[i, m] * b[m, k]
                work[i, 2 * q + k] = value
        for col in range(p):
            for i in range(q):
                value = 0.0
                for k in range(col + 1):
                    value += work[i, 2 * q + k] * half[k, col]
                work[i, 0] = value
            for i in range(q):
                for k in range(q):
                    variance[i, k] += work[i, 0] * work[k, 0]
    for i in range(q):
        for k in range(q):
            cond[i, k] *= s2


@kernel
def summarise_groups(data, z_map, n_groups, beta, half, factors, sigmas, mixture, tail, keep, first=0):
    """Posterior summaries of every group's random effects, group after group.

    Parameters
    ----------
    data, beta, half, factors : see `given_draws`
    z_map : (q, q) array
        To original units.
    sigmas : (S,) array
        In original units.
    mixture : int
        How many of the draws (evenly spaced) the quantiles use.
    tail : float
        Probability below the lower quantile, e.g. 0.025.
    keep : bool
        Whether to return the conditional means of all draws.
    first : int
        The first of the `n_groups` groups that are looked at.

    Returns
    -------
    mean, variance, cond_variance, spread, low, high : (J, q) arrays
        E[u_j], var(u_j), E[V_j], variance of the conditional means over the draws, and the quantiles of u_j.
    means : (J, q, S) array
        Conditional means, with `keep`; else empty.
    """
    _, _, _, gram = views(data)
    q, p, n = factors.shape[1], beta.shape[1], len(sigmas)
    out = np.zeros((6, n_groups, q))
    means = np.empty((n_groups if keep else 0, q, n))
    own_mean, own_var, own_cond = np.empty(q), np.empty((q, q)), np.empty((q, q))
    work = np.empty((q, 2 * q + p))
    a, b, c = np.empty((q, q)), np.empty((q, p)), np.empty(q)
    mix_mean, mix_sd = np.empty((q, mixture)), np.empty((q, mixture))
    series = np.empty((q, n))
    # a normal of the mixture's mean and sd is where the search for its quantiles starts
    z = mixture_quantile(np.zeros(1), np.ones(1), tail, -12.0, 12.0, -1.0)
    for j in range(n_groups):
        _read_group(gram, first + j, a, b, c)
        taken = 0
        for s in range(n):
            own = sigmas[s] / data[4]
            _group_moments(a, b, c, factors[s], beta[s], half[s], own, own_mean, own_var, own_cond, work)
            take = taken < mixture and s == (taken * n) // mixture
            for i in range(q):
                value, spread, cond = 0.0, 0.0, 0.0
                for k in range(q):
                    value += z_map[i, k] * own_mean[k]
                    for m in range(q):
                        spread += z_map[i, k] * own_var[k, m] * z_map[i, m]
                        cond += z_map[i, k] * own_cond[k, m] * z_map[i, m]
                series[i, s] = value
                out[0, j, i] += value / n
                out[1, j, i] += spread / n
                out[2, j, i] += cond / n
                if take:
                    mix_mean[i, taken], mix_sd[i, taken] = value, math.sqrt(max(spread, 0.0))
            if take:
                taken += 1
        for i in range(q):
            for s in range(n):
                out[3, j, i] += (series[i, s] - out[0, j, i]) ** 2 / n
                if keep:
                    means[j, i, s] = series[i, s]
            out[1, j, i] += out[3, j, i]
            reach = 12.0 * math.sqrt(out[1, j, i]) + 1e-300
            low, high = out[0, j, i] - reach, out[0, j, i] + reach
            step = z * math.sqrt(out[1, j, i])
            low_start, high_start = out[0, j, i] + step, out[0, j, i] - step
            out[4, j, i] = mixture_quantile(mix_mean[i], mix_sd[i], tail, low, high, low_start)
            out[5, j, i] = mixture_quantile(mix_mean[i], mix_sd[i], 1.0 - tail, low, high, high_start)
    return out[0], out[1], out[2], out[3], out[4], out[5], means


@kernel
def draw_groups(data, z_map, n_groups, beta, factors, sigmas, noise):
    """Random effects drawn from their conditionals given drawn beta: (S, J, q), original units.

    `beta` (S, p) holds draws in the kernel's coordinates, `noise` (S, J, q) standard normals.
    """
    _, _, _, gram = views(data)
    q, p, n = factors.shape[1], beta.shape[1], len(sigmas)
    out = np.empty((n, n_groups, q))
    none = np.zeros((p, p))
    mean, variance, cond = np.empty(q), np.empty((q, q)), np.empty((q, q))
    work = np.empty((q, 2 * q + p))
    a, b, c = np.empty((q, q)), np.empty((q, p)), np.empty(q)
    for j in range(n_groups):
        _read_group(gram, j, a, b, c)
        for s in range(n):
            own = sigmas[s] / data[4]
            _group_moments(a, b, c, factors[s], beta[s], none, own, mean, variance, cond, work)
            # work[:, q : 2 q] = C^-1 Lambda', so its transpose is a root of V_j / s2
            for i in range(q):
                for k in range(q):
                    mean[i] += own * work[k, q + i] * noise[s, j, k]
            for i in range(q):
                value = 0.0
                for k in range(q):
                    value += z_map[i, k] * mean[k]
                out[s, j, i] = value
    return out


class FixedDraws(NamedTuple):
    """Fixed effects: conditional means at each draw and exact draws, (S, p), original units."""

    mean: np.ndarray
    covariance: np.ndarray
    draws: np.ndarray


def fixed_draws(problem, beta: np.ndarray, half: np.ndarray, rng: np.random.Generator) -> FixedDraws:
    """Draw beta from its Gaussian conditional at each draw of (D, sigma).

    Parameters
    ----------
    problem : Problem
    beta, half : from `given_draws`
    rng : Generator

    Returns
    -------
    FixedDraws
        `covariance` is E[cov(beta | D, sigma, y)] + cov(E[beta | D, sigma, y]), (p, p): Rao-Blackwellised.
    """
    mean = beta @ problem.x_map.T + problem.offset
    noise = np.einsum("sab,sb->sa", half, rng.standard_normal(beta.shape))
    inner = np.einsum("sab,scb->ac", half, half, optimize=True) / len(beta)
    between = np.cov(mean, rowvar=False, ddof=0).reshape(len(problem.fixed), -1)
    covariance = problem.x_map @ inner @ problem.x_map.T + between
    return FixedDraws(mean, covariance, (beta + noise) @ problem.x_map.T + problem.offset)


@kernel
def mixture_quantile(means, sds, prob, low, high, x):
    """Quantile of an equal mixture of normals, by bisection safeguarded Newton steps from x.

    A Newton step's own error is of the order of its square, so the last one is as small as half of the digits
    wanted: 1e-4 sd (the bracket is 24 sd wide) leaves 1e-8 sd.
    """
    small = 1e-4 / 24.0 * (high - low)
    for _ in range(60):
        cdf, pdf = 0.0, 0.0
        for s in range(len(means)):
            if sds[s] > 0.0:
                z = (x - means[s]) / sds[s]
                cdf += 0.5 * math.erfc(-z / math.sqrt(2.0))
                pdf += math.exp(-0.5 * z * z) / (sds[s] * math.sqrt(2.0 * math.pi))
            elif x >= means[s]:
                cdf += 1.0
        error = cdf / len(means) - prob
        if error > 0.0:
            high = x
        else:
            low = x
        step = error * len(means) / pdf if pdf > 0.0 else np.inf
        following = x - step
        if not low < following < high:
            following = 0.5 * (low + high)
        elif abs(step) <= small:
            return following
        if high - low <= 1e-12 * abs(x):
            return following
        x = following
    return x
