"""The likelihood kernel's two passes over the groups where each has two random effects, as in `(x | g)`.

The same algebra as `likelihood.eliminate` and `differentiate`, with a group's 2 x 2 matrices in registers instead
of in loops over their elements: two thirds of the time of the commonest model. Each loop is over lanes, and stores to
few arrays: with more of them the compiler gives up on proving that they do not overlap, and on vector instructions.
"""

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.lanes import add_up, logs_of_large, sum_of_logs


@kernel
def eliminate_pairs(gram, factor, schur, d_logdet, rest):
    """First pass, as `likelihood.eliminate`.

    Parameters
    ----------
    gram : packed (blocks, q, q + p + 1, lanes) array
        A_j, B_j and c_j of each group, by `lanes.pack`; kernel's coordinates.
    factor : (q, q) array
        Lambda = L / sigma, kernel's coordinates.
    schur : (p + 1, p + 1) array
        Gram matrix of [X y]; the groups' part is subtracted (lower triangle).
    d_logdet : (q, q) array
        Gets sum_j A - A Lambda M^-1 Lambda'A (lower triangle), with `rest`.
    rest : (blocks or 0, q, p + 1, lanes) array
        Gets [B c] - A Lambda M^-1 Lambda'[B c]; of length 0: no derivatives are wanted.

    Returns
    -------
    float
        sum_j log|M_j|.
    """
    n_blocks, _, width, n = gram.shape
    w, derive = width - 2, len(rest) > 0
    f00, f01, f10, f11 = factor[0, 0], factor[0, 1], factor[1, 0], factor[1, 1]
    chol = np.empty((3, n))  # of M: reciprocal diagonal, element (1, 0), reciprocal diagonal
    own = np.empty((4, n))  # C^-1 Lambda' A, column by column
    half = np.empty((2, w, n))  # C^-1 Lambda' [B c]
    lanes_schur, lanes_logdet = np.zeros((w, w, n)), np.zeros((3, n))
    product = np.ones(n)
    logdet = 0.0
    for block in range(n_blocks):
        first, cross, second = gram[block, 0, 0], gram[block, 0, 1], gram[block, 1, 1]
        for j in range(n):
            l00, l01 = f00 * first[j] + f10 * cross[j], f00 * cross[j] + f10 * second[j]
            l10, l11 = f01 * first[j] + f11 * cross[j], f01 * cross[j] + f11 * second[j]
            m00, m10 = 1.0 + (l00 * f00 + l01 * f10), l10 * f00 + l11 * f10
            r0 = 1.0 / np.sqrt(m00)
            t = m10 * r0
            pivot = 1.0 + (l10 * f01 + l11 * f11) - t * t
            chol[0, j], chol[1, j], chol[2, j] = r0, t, 1.0 / np.sqrt(pivot)
            product[j] *= m00 * pivot
        logdet += logs_of_large(product)
        for j in range(n if derive else 0):
            r0, t, r1 = chol[0, j], chol[1, j], chol[2, j]
            h00 = (f00 * first[j] + f10 * cross[j]) * r0
            h01 = (f00 * cross[j] + f10 * second[j]) * r0
            h10 = (f01 * first[j] + f11 * cross[j] - t * h00) * r1
            h11 = (f01 * cross[j] + f11 * second[j] - t * h01) * r1
            own[0, j], own[1, j], own[2, j], own[3, j] = h00, h10, h01, h11
            lanes_logdet[0, j] += first[j] - (h00 * h00 + h10 * h10)
            lanes_logdet[1, j] += cross[j] - (h01 * h00 + h11 * h10)
            lanes_logdet[2, j] += second[j] - (h01 * h01 + h11 * h11)
        for b in range(w):
            x, y = gram[block, 0, 2 + b], gram[block, 1, 2 + b]
            for j in range(n):
                h0 = (f00 * x[j] + f10 * y[j]) * chol[0, j]
                half[0, b, j] = h0
                half[1, b, j] = (f01 * x[j] + f11 * y[j] - chol[1, j] * h0) * chol[2, j]
            for j in range(n if derive else 0):
                rest[block, 0, b, j] = x[j] - (own[0, j] * half[0, b, j] + own[1, j] * half[1, b, j])
            for j in range(n if derive else 0):
                rest[block, 1, b, j] = y[j] - (own[2, j] * half[0, b, j] + own[3, j] * half[1, b, j])
            for a in range(b + 1):
                for j in range(n):
                    lanes_schur[b, a, j] += half[0, a, j] * half[0, b, j] + half[1, a, j] * half[1, b, j]
    for a in range(w):
        for b in range(a + 1):
            schur[a, b] -= add_up(lanes_schur[a, b])
    d_logdet[0, 0] += add_up(lanes_logdet[0])
    d_logdet[1, 0] += add_up(lanes_logdet[1])
    d_logdet[1, 1] += add_up(lanes_logdet[2])
    return logdet + sum_of_logs(product)


@kernel
def differentiate_pairs(rest, root, beta, ml, d_logdet, d_rss):
    """Second pass, as `likelihood.differentiate`.

    Parameters
    ----------
    rest : (blocks, q, p + 1, lanes) array
        From `eliminate`.
    root : (p, p) array
        Lower Cholesky factor of S_X.
    beta : (p,) array
        GLS estimate.
    ml : bool
        The criterion of maximum likelihood instead of REML's.
    d_logdet : (q, q) array
        sum_j F_j S_X^-1 F_j' is subtracted, except for ML.
    d_rss : (q, q) array
        sum_j e_j e_j' is subtracted.
    """
    n_blocks, _, w, n = rest.shape
    p = w - 1
    solved, e = np.empty((2, p, n)), np.empty((2, n))
    lanes_logdet, lanes_rss = np.zeros((3, n)), np.zeros((3, n))
    for block in range(n_blocks):
        for i in range(2):
            for j in range(n):
                e[i, j] = rest[block, i, p, j]
            for b in range(p):
                f, scale = beta[b], 1.0 / root[b, b]
                for j in range(n):
                    e[i, j] -= rest[block, i, b, j] * f
                for j in range(n):
                    solved[i, b, j] = rest[block, i, b, j] * scale
                for k in range(b):
                    g = root[b, k] * scale
                    for j in range(n):
                        solved[i, b, j] -= solved[i, k, j] * g
        for b in range(0 if ml else p):
            for j in range(n):
                x, y = solved[0, b, j], solved[1, b, j]
                lanes_logdet[0, j] += x * x
                lanes_logdet[1, j] += x * y
                lanes_logdet[2, j] += y * y
        for j in range(n):
            x, y = e[0, j], e[1, j]
            lanes_rss[0, j] += x * x
            lanes_rss[1, j] += x * y
            lanes_rss[2, j] += y * y
    for k, (a, b) in enumerate(((0, 0), (1, 0), (1, 1))):
        d_logdet[a, b] -= add_up(lanes_logdet[k])
        d_rss[a, b] -= add_up(lanes_rss[k])
