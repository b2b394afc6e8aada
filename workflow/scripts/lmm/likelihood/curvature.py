"""Second derivatives of the REML and ML criteria in D, exact, from moments, for one grouping factor.

With K_j = Z_j'V_j^-1 Z_j, F_j = Z_j'V_j^-1 X_j and e_j = Z_j'P y of each group, in units of sigma, Phi = S_X^-1 and
E_i the symmetric matrix with ones at (a, b) and (b, a), a >= b (docs/statistics.md, section 11):

    d2 log|.| = -sum_j tr(E_i K_j E_k K_j) + 2 sum_j tr(Phi F_j'E_i K_j E_k F_j) - tr(Phi G_i Phi G_k),
    d2 rss = 2 sum_j e_j'E_i K_j E_k e_j - 2 w_i'Phi w_k,    G_i = sum_j F_j'E_i F_j,   w_i = sum_j F_j'E_i e_j.

One pass over the groups, in lanes; nothing is kept of a group.
"""

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.curvature_pairs import assembled, second_pairs
from lmm.likelihood.elimination import factorise, project, solve_lower
from lmm.likelihood.grouped_pairs import in_pairs
from lmm.likelihood.lanes import add_up, subtract_before


@kernel
def second_terms(gram, factor, beta, root, ml):
    """Second derivatives of `reml_terms`' values in the elements of D / sigma^2.

    Parameters
    ----------
    gram : packed (blocks, q, q + p + 1, lanes) array
        A_j, B_j and c_j of each group, by `lanes.pack`; kernel's coordinates.
    factor : (q, q) array
        Lambda = L / sigma, kernel's coordinates.
    beta, root : (p,), (p, p) arrays
        From `reml_terms` at the same factor.
    ml : bool
        The log determinant of maximum likelihood: without log|S_X|.

    Returns
    -------
    d2_logdet, d2_rss : (m, m) arrays
        m = q (q + 1) / 2 elements (a, b), a >= b, row after row; an element below the diagonal stands for both.
    pulls : (m, p, p) array
        root^-1 G_i root^-T: the derivative of (root root')^-1 is root^-T pulls root^-1.
    """
    n_blocks, q, width, n = gram.shape
    p, m = width - q - 1, q * (q + 1) // 2
    if in_pairs(q, p + 1):
        return second_pairs(gram, factor, beta, root, ml)
    chol, half = np.empty((q, q, n)), np.empty((q, width, n))
    product = np.empty(n)
    own = np.empty((q, q, n))  # K
    left = np.empty((q, q, n))  # K - 2 F Phi F', or K for ML
    solved = np.empty((q, p, n))  # F root^-T
    e = np.empty((q, n))
    lanes_logdet, lanes_rss = np.zeros((m, m, n)), np.zeros((m, m, n))
    lanes_pulls, lanes_moved = np.zeros((m, p, p, n)), np.zeros((m, p, n))
    for block in range(n_blocks):
        product[:] = 1.0
        project(factor, gram[block], half)
        factorise(factor, half, chol, product)
        solve_lower(chol, half)
        for a in range(q):
            for b in range(a + 1):
                for j in range(n):
                    own[a, b, j] = gram[block, a, b, j] - half[0, a, j] * half[0, b, j]
                for k in range(1, q):
                    for j in range(n):
                        own[a, b, j] -= half[k, a, j] * half[k, b, j]
                own[b, a] = own[a, b]
            for j in range(n):
                e[a, j] = gram[block, a, q + p, j]
            for k in range(q):
                for j in range(n):
                    e[a, j] -= half[k, a, j] * half[k, q + p, j]
            for b in range(p):
                f, scale = beta[b], 1.0 / root[b, b]
                for j in range(n):
                    solved[a, b, j] = gram[block, a, q + b, j]
                for k in range(q):
                    for j in range(n):
                        solved[a, b, j] -= half[k, a, j] * half[k, q + b, j]
                for j in range(n):
                    e[a, j] -= solved[a, b, j] * f
                for j in range(n):
                    solved[a, b, j] *= scale
                subtract_before(solved[a], b, root[b], scale, n)
        for a in range(q):
            for b in range(a + 1):
                for j in range(n):
                    left[a, b, j] = own[a, b, j]
                for s in range(0 if ml else p):
                    for j in range(n):
                        left[a, b, j] -= 2.0 * solved[a, s, j] * solved[b, s, j]
                left[b, a] = left[a, b]
        i = 0
        for a in range(q):
            for b in range(a + 1):
                _linear(solved, e, a, b, lanes_pulls[i], lanes_moved[i])
                k = 0
                for c in range(a + 1):
                    for d in range(c + 1):
                        if k <= i:
                            _quadratic(own, left, e, a, b, c, d, lanes_logdet[i, k], lanes_rss[i, k])
                        k += 1
                i += 1
    pulls, moved = np.empty((m, p, p)), np.empty((m, p))
    for i in range(m):
        for s in range(p):
            moved[i, s] = add_up(lanes_moved[i, s])
            for t in range(s + 1):
                pulls[i, s, t] = pulls[i, t, s] = add_up(lanes_pulls[i, s, t])
    logdet, rss, at = np.empty(m * (m + 1) // 2), np.empty(m * (m + 1) // 2), 0
    for i in range(m):
        for k in range(i + 1):
            logdet[at], rss[at] = -add_up(lanes_logdet[i, k]), add_up(lanes_rss[i, k])
            at += 1
    d2_logdet, d2_rss = assembled(logdet, rss, moved, pulls, ml)
    return d2_logdet, d2_rss, pulls


@kernel
def _linear(solved, e, a, b, pulls, moved):
    """Add the lanes' solved F'E F and F'E e of the element (a, b)."""
    p, n = len(moved), e.shape[1]
    twice = a != b
    for s in range(p):
        for j in range(n):
            moved[s, j] += solved[a, s, j] * e[b, j]
        for j in range(n if twice else 0):
            moved[s, j] += solved[b, s, j] * e[a, j]
        for t in range(s + 1):
            for j in range(n):
                pulls[s, t, j] += solved[a, s, j] * solved[b, t, j]
            for j in range(n if twice else 0):
                pulls[s, t, j] += solved[b, s, j] * solved[a, t, j]


@kernel
def _quadratic(own, left, e, a, b, c, d, logdet, rss):
    """Add the lanes' tr(E_i K E_k left) and e'E_i K E_k e of the elements (a, b) and (c, d)."""
    n = len(logdet)
    weight = (1.0 if a != b else 0.5) * (1.0 if c != d else 0.5)
    bc, bd, ac, ad = own[b, c], own[b, d], own[a, c], own[a, d]
    for j in range(n):
        logdet[j] += weight * (
            (bc[j] * left[a, d, j] + bd[j] * left[a, c, j]) + (ac[j] * left[b, d, j] + ad[j] * left[b, c, j])
        )
    for j in range(n):
        rss[j] += weight * (
            (bc[j] * e[d, j] + bd[j] * e[c, j]) * e[a, j] + (ac[j] * e[d, j] + ad[j] * e[c, j]) * e[b, j]
        )
