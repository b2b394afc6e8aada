"""`curvature.second_terms` where each group has two random effects; closed forms of `grouped_pairs`."""

import numpy as np

from lmm.core.compiled import kernel, summed
from lmm.likelihood.grouped_pairs import errors_in, invert, solve_column, square_of


@summed
def _shrink(first, cross, second, square, inverse, left, right):
    """Replace (left, right) by (I - A_j V_j) (left, right)."""
    d0, d1, d2, _ = square
    for j in range(len(first)):
        a, b, c, x, y = first[j], cross[j], second[j], left[j], right[j]
        left[j] = ((1.0 + (b * d1 + c * d2)) * x - (a * d1 + b * d2) * y) * inverse[j]
        right[j] = ((1.0 + (a * d0 + b * d1)) * y - (b * d0 + c * d1) * x) * inverse[j]


@summed
def _rest(first, cross, second, square, inverse, out):
    """Fill the rows of `out` with elements (0, 0), (1, 0) and (1, 1) of K_j = A_j - A_j V_j A_j."""
    d0, d1, d2, _ = square
    k0, k1, k2 = out[0], out[1], out[2]
    for j in range(len(first)):
        size = first[j] * second[j] - cross[j] * cross[j]
        k0[j] = (first[j] + size * d2) * inverse[j]
        k1[j] = (cross[j] - size * d1) * inverse[j]
        k2[j] = (second[j] + size * d0) * inverse[j]


@summed
def _traces(k0, k1, k2):
    """Sums over the lanes of tr(E_i K E_k K), in the order of `_quadratic`."""
    s0, s1, s2, s3, s4, s5 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(len(k0)):
        a, b, c = k0[j], k1[j], k2[j]
        s0 += a * a
        s1 += 2.0 * a * b
        s2 += 2.0 * (b * b + a * c)
        s3 += b * b
        s4 += 2.0 * b * c
        s5 += c * c
    return s0, s1, s2, s3, s4, s5


@summed
def _quadratic(k0, k1, k2, left, right):
    """Sums over the lanes of v'E_i K E_k v, v = (left, right), for i = 0, 1, 2 and k <= i, i by i."""
    s0, s1, s2, s3, s4, s5 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(len(k0)):
        a, b, c = k0[j], k1[j], k2[j]
        xx, xy, yy = left[j] * left[j], left[j] * right[j], right[j] * right[j]
        s0 += a * xx
        s1 += a * xy + b * xx
        s2 += 2.0 * b * xy + (a * yy + c * xx)
        s3 += b * xy
        s4 += c * xy + b * yy
        s5 += c * yy
    return s0, s1, s2, s3, s4, s5


@summed
def _linear(left, right, x, y):
    """Sums over the lanes of v'E_i w, v = (left, right) and w = (x, y): i = 0, 1, 2."""
    s0, s1, s2 = 0.0, 0.0, 0.0
    for j in range(len(x)):
        s0 += left[j] * x[j]
        s1 += right[j] * x[j] + left[j] * y[j]
        s2 += right[j] * y[j]
    return s0, s1, s2


@kernel
def second_pairs(gram, factor, beta, root, ml):
    """`curvature.second_terms` for q = 2.

    Parameters
    ----------
    gram, factor, beta, root, ml : arrays and bool
        See there.

    Returns
    -------
    d2_logdet, d2_rss, pulls : (3, 3), (3, 3), (3, p, p) arrays
    """
    n_blocks, _, width, n = gram.shape
    p, square = width - 3, square_of(factor)
    lanes = np.empty((7 + 2 * p, n))
    product, inverse, rest, left, right, solved = (
        lanes[0],
        lanes[1],
        lanes[2:5],
        lanes[5],
        lanes[6],
        lanes[7:],
    )
    logdet, rss, moved, pulls = np.zeros(6), np.zeros(6), np.zeros((3, p)), np.zeros((3, p, p))
    for block in range(n_blocks):
        own = gram[block]
        first, cross, second = own[0, 0], own[0, 1], own[1, 1]
        for j in range(n):
            product[j] = 1.0
        invert(first, cross, second, square, product, inverse)
        _rest(first, cross, second, square, inverse, rest)
        _add(logdet, -1.0, _traces(rest[0], rest[1], rest[2]))
        errors_in(own, beta, left, right)
        _shrink(first, cross, second, square, inverse, left, right)
        _add(rss, 1.0, _quadratic(rest[0], rest[1], rest[2], left, right))
        for s in range(p):
            solve_column(own, root, s, solved)
        for s in range(p):
            x, y = solved[2 * s], solved[2 * s + 1]
            _shrink(first, cross, second, square, inverse, x, y)
            if not ml:
                _add(logdet, 2.0, _quadratic(rest[0], rest[1], rest[2], x, y))
            _add(moved[:, s], 1.0, _linear(x, y, left, right))
            for t in range(s + 1):
                _add(pulls[:, s, t], 1.0, _linear(x, y, solved[2 * t], solved[2 * t + 1]))
    for i in range(3):
        for s in range(p):
            for t in range(s):
                pulls[i, t, s] = pulls[i, s, t]
    d2_logdet, d2_rss = assembled(logdet, rss, moved, pulls, ml)
    return d2_logdet, d2_rss, pulls


@kernel
def assembled(logdet, rss, moved, pulls, ml):
    """Second derivatives from sums over the groups: what the fixed effects' estimation takes away is subtracted.

    Parameters
    ----------
    logdet, rss : (m (m + 1) / 2,) arrays
        Of the elements i and k <= i, i by i.
    moved, pulls : (m, p), (m, p, p) arrays
        Sums of the solved F'E e and F'E F.
    ml : bool
        The criterion of maximum likelihood instead of REML's.

    Returns
    -------
    d2_logdet, d2_rss : (m, m) arrays
    """
    m, p = moved.shape
    d2_logdet, d2_rss = np.empty((m, m)), np.empty((m, m))
    at = 0
    for i in range(m):
        for k in range(i + 1):
            own_logdet, own_rss = logdet[at], rss[at]
            for s in range(p):
                own_rss -= moved[i, s] * moved[k, s]
                for t in range(0 if ml else p):
                    own_logdet -= pulls[i, s, t] * pulls[k, s, t]
            d2_logdet[i, k] = d2_logdet[k, i] = own_logdet
            d2_rss[i, k] = d2_rss[k, i] = 2.0 * own_rss
            at += 1
    return d2_logdet, d2_rss


@kernel
def _add(sums, sign, found):
    """Add sign times the numbers found."""
    for i in range(len(found)):
        sums[i] += sign * found[i]
