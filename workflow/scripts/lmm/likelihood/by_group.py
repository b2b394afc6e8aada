"""Each group's whole Gram matrix, and log densities of whole groups from it: what leave-one-group-out work needs."""

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.problem import Problem


@kernel
def _densities(gram, rows, factors, gamma, sigmas):
    """See `log_densities`; everything in the kernel's coordinates and units."""
    n_groups, n_draws = len(gram), len(sigmas)
    q, p = factors.shape[1], gamma.shape[1]
    out = np.empty((n_draws, n_groups))
    left, chol, half = np.empty((q, q)), np.empty((q, q)), np.empty(q)
    for j in range(n_groups):
        own = gram[j]
        for s in range(n_draws):
            factor, beta = factors[s], gamma[s]
            square = own[q + p, q + p]
            for a in range(p):
                part = -2.0 * own[q + a, q + p]
                for b in range(p):
                    part += own[q + a, q + b] * beta[b]
                square += part * beta[a]
            logdet = 0.0
            for a in range(q):
                for b in range(q):
                    value = 0.0
                    for k in range(q):
                        value += factor[k, a] * own[k, b]
                    left[a, b] = value
            for a in range(q):
                for b in range(a + 1):
                    value = 1.0 if a == b else 0.0
                    for k in range(q):
                        value += left[a, k] * factor[k, b]
                    for k in range(b):
                        value -= chol[a, k] * chol[b, k]
                    if a == b:
                        logdet += np.log(value)
                        chol[a, a] = np.sqrt(value)
                    else:
                        chol[a, b] = value / chol[b, b]
                value = 0.0
                for k in range(q):
                    error = own[k, q + p]
                    for b in range(p):
                        error -= own[k, q + b] * beta[b]
                    value += factor[k, a] * error
                for b in range(a):
                    value -= chol[a, b] * half[b]
                half[a] = value / chol[a, a]
                square -= half[a] * half[a]
            s2 = sigmas[s] * sigmas[s]
            out[s, j] = -0.5 * (rows[j] * np.log(2.0 * np.pi * s2) + logdet + square / s2)
    return out


def log_densities(
    problem: Problem,
    gram: np.ndarray,
    rows: np.ndarray,
    beta: np.ndarray,
    roots: np.ndarray,
    sigmas: np.ndarray,
) -> np.ndarray:
    """log p(y_j | beta, D, sigma) of every group, its random effects integrated out, at each set of parameters.

    With e_j = y_j - X_j beta and M_j = I + L'Z_j'Z_j L / sigma^2 (statistics.md, section 2)

        -2 log p = n_j log(2 pi sigma^2) + log|M_j| + (e_j'e_j - e_j'Z_j L M_j^-1 L'Z_j'e_j / sigma^2) / sigma^2.

    Parameters
    ----------
    problem : Problem
    gram : (J, q + p + 1, q + p + 1) array
        From `by_group`.
    rows : (J,) array
        n_j.
    beta, roots, sigmas : (S, p), (S, q, q), (S,) arrays
        In original units; D = root root'.

    Returns
    -------
    (S, J) array
        In original units.
    """
    gamma = np.linalg.solve(problem.x_map, (beta - problem.offset).T).T
    own = np.asarray(sigmas, dtype=float) / problem.y_scale
    factors = np.linalg.solve(problem.z_map, roots) / own[:, None, None]
    rows = np.asarray(rows, dtype=float)
    found = _densities(gram, rows, np.ascontiguousarray(factors), np.ascontiguousarray(gamma), own)
    found -= rows * np.log(problem.y_scale)
    return found
