"""Random effects given the variances: Gaussian conditionals, exactly (statistics.md, section 2).

    u_j | D, sigma, y ~ N(V_j (c_j - B_j beta_hat) / s2, V_j + K_j R_X^-1 K_j'),
    V_j = L M_j^-1 L',  K_j = V_j B_j / s2,

with beta integrated out; V_j alone (beta taken as known) is lme4's condVar.
"""

from typing import NamedTuple

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.grouped import reml_terms
from lmm.likelihood.problem import Problem


class Conditional(NamedTuple):
    """Means and variances of the random effects, in original units.

    Attributes
    ----------
    mean : (J, q) array
        BLUPs: E[u_j | D, sigma, y].
    variance : (J, q) array
        Prediction error variances, beta's uncertainty included.
    cond_variance : (J, q) array
        lme4's condVar: beta taken as known.
    """

    mean: np.ndarray
    variance: np.ndarray
    cond_variance: np.ndarray


@kernel
def _fill(gram, factor, to_user, beta, root, mean, variance, cond_variance):
    """Fill the arrays of `Conditional`, (J, q), variances relative to sigma^2; `to_user` is z_map @ factor."""
    _, q, width, lanes = gram.shape
    p = width - q - 1
    left, chol = np.empty((q, q)), np.empty((q, q))
    half = np.empty((q, q))  # C^-1 Lambda' z_map', C the Cholesky factor of M_j
    given = np.empty((q, p + 1))  # C^-1 Lambda' [B_j  c_j - B_j beta]
    spread = np.empty(p)  # a row of K_j R_X^-1
    for j in range(len(mean)):
        block, lane = j // lanes, j % lanes
        for a in range(q):
            for b in range(q):
                s = 0.0
                for k in range(q):
                    s += factor[k, a] * gram[block, k, b, lane]
                left[a, b] = s
        for a in range(q):
            for b in range(a + 1):
                s = 1.0 if a == b else 0.0
                for k in range(q):
                    s += left[a, k] * factor[k, b]
                for k in range(b):
                    s -= chol[a, k] * chol[b, k]
                chol[a, b] = np.sqrt(s) if a == b else s / chol[b, b]
            for b in range(q):
                s = to_user[b, a]
                for k in range(a):
                    s -= chol[a, k] * half[k, b]
                half[a, b] = s / chol[a, a]
            for b in range(p + 1):
                s = 0.0
                for k in range(q):
                    e = gram[block, k, q + b, lane]
                    if b == p:
                        for m in range(p):
                            e -= gram[block, k, q + m, lane] * beta[m]
                    s += factor[k, a] * e
                for k in range(a):
                    s -= chol[a, k] * given[k, b]
                given[a, b] = s / chol[a, a]
        for k in range(q):
            mean[j, k] = 0.0
            cond_variance[j, k] = 0.0
            for a in range(q):
                mean[j, k] += half[a, k] * given[a, p]
                cond_variance[j, k] += half[a, k] * half[a, k]
            variance[j, k] = cond_variance[j, k]
            for b in range(p):
                s = 0.0
                for a in range(q):
                    s += half[a, k] * given[a, b]
                for m in range(b):
                    s -= spread[m] * root[b, m]
                spread[b] = s / root[b, b]
                variance[j, k] += spread[b] * spread[b]


def conditional(problem: Problem, factor: np.ndarray, sigma: float) -> Conditional:
    """Distribution of every group's random effects given D and sigma.

    Parameters
    ----------
    problem : Problem
    factor : (q, q) array
        Lambda = L / sigma in the kernel's coordinates.
    sigma : float
        In the kernel's units.
    """
    ridge = np.zeros_like(problem.total)
    _, _, beta, root, _, _ = reml_terms(problem.gram, problem.total, factor, ridge, False)
    found = Conditional(*(np.empty((problem.n_groups, problem.q)) for _ in range(3)))
    factor = np.ascontiguousarray(factor)
    _fill(problem.gram, factor, problem.z_map @ factor, beta, root, *found)
    return Conditional(found.mean, *(sigma * sigma * variance for variance in found[1:]))
