"""The likelihood kernel's two passes over the groups where each has two random effects, as in `(x | g)`.

The same terms as `grouped.eliminate` and `grouped.differentiate`, with the inverses of a group's 2 x 2 matrices in
closed form. With D' = D / sigma^2 and m_j = |M_j| = 1 + tr(A_j D') + |A_j| |D'|,

    V_j = (D' + |D'| adj A_j) / m_j,    I - A_j V_j = (I + adj(A_j D')) / m_j,
    A_j - A_j V_j A_j = (A_j + |A_j| adj D') / m_j.

No root is taken and one division per group is left; sums are `summed`: half the time of the general passes.
"""

from lmm.core.compiled import kernel, summed
from lmm.likelihood.lanes import WIDE, logs_of_large, sum_of_logs


@kernel
def in_pairs(q, w):
    """Whether these passes are taken: with many columns of [X y] the general ones are as fast.

    Parameters
    ----------
    q, w : int
        Random effects per group, and columns of [X y].

    Returns
    -------
    bool
    """
    return q == 2 and w <= WIDE


@kernel
def lanes_of_pairs(p):
    """Number of rows of lanes that the two passes write to.

    Parameters
    ----------
    p : int
        Fixed effects.

    Returns
    -------
    int
    """
    return 3 + 2 * p


@kernel
def square_of(factor):
    """Elements (0, 0), (1, 0) and (1, 1) of D / sigma^2, and its determinant.

    Parameters
    ----------
    factor : (2, 2) array
        Lambda = L / sigma.

    Returns
    -------
    tuple of float
    """
    a, b, c, d = factor[0, 0], factor[0, 1], factor[1, 0], factor[1, 1]
    return a * a + b * b, a * c + b * d, c * c + d * d, (a * d - b * c) ** 2


@summed
def invert(first, cross, second, square, product, inverse):
    """Multiply `product` by the lanes' |M_j|, and fill `inverse` with their reciprocals.

    Parameters
    ----------
    first, cross, second : (n,) arrays
        Elements of A_j.
    square : tuple
        From `square_of`.
    product, inverse : (n,) arrays
        Written to.
    """
    d0, d1, d2, size = square
    for j in range(len(first)):
        a, b, c = first[j], cross[j], second[j]
        det = 1.0 + (a * d0 + 2.0 * b * d1 + c * d2) + (a * c - b * b) * size
        product[j] *= det
        inverse[j] = 1.0 / det


@summed
def _covered(first, cross, second, square, inverse, x, y, left, right):
    """Fill `left` and `right` with V_j (x, y)."""
    d0, d1, d2, size = square
    for j in range(len(first)):
        middle = d1 - cross[j] * size
        left[j] = ((d0 + second[j] * size) * x[j] + middle * y[j]) * inverse[j]
        right[j] = (middle * x[j] + (d2 + first[j] * size) * y[j]) * inverse[j]


@summed
def _dot(x, y, left, right):
    """Sum over the lanes of x left + y right."""
    total = 0.0
    for j in range(len(x)):
        total += x[j] * left[j] + y[j] * right[j]
    return total


@summed
def _subtract(left, right, f, x, y):
    """Subtract f (x, y) from (left, right)."""
    for j in range(len(x)):
        left[j] -= f * x[j]
        right[j] -= f * y[j]


@kernel
def errors_in(gram, beta, left, right):
    """Fill (left, right) with c_j - B_j beta of a block.

    Parameters
    ----------
    gram : (2, p + 3, n) array
        A_j, B_j and c_j.
    beta : (p,) array
        GLS estimate.
    left, right : (n,) arrays
        Written to.
    """
    p = len(beta)
    for j in range(len(left)):
        left[j] = gram[0, 2 + p, j]
        right[j] = gram[1, 2 + p, j]
    for b in range(p):
        _subtract(left, right, beta[b], gram[0, 2 + b], gram[1, 2 + b])


@kernel
def solve_column(gram, root, b, solved):
    """Fill rows 2 b and 2 b + 1 of `solved` with column b of B_j root^-T; the columns before it are there.

    Parameters
    ----------
    gram : (2, p + 3, n) array
        A_j, B_j and c_j.
    root : (p, p) array
        Lower Cholesky factor of S_X.
    b : int
        The column.
    solved : (2 p, n) array
        Written to.
    """
    x, y, left, right = gram[0, 2 + b], gram[1, 2 + b], solved[2 * b], solved[2 * b + 1]
    scale = 1.0 / root[b, b]
    for j in range(len(x)):
        left[j] = scale * x[j]
        right[j] = scale * y[j]
    for k in range(b):
        _subtract(left, right, root[b, k] * scale, solved[2 * k], solved[2 * k + 1])


@summed
def _rests(first, cross, second, square, inverse):
    """Sums over the lanes of A_j - A_j V_j A_j: elements (0, 0), (1, 0), (1, 1)."""
    d0, d1, d2, _ = square
    s0, s1, s2 = 0.0, 0.0, 0.0
    for j in range(len(first)):
        size = first[j] * second[j] - cross[j] * cross[j]
        s0 += (first[j] + size * d2) * inverse[j]
        s1 += (cross[j] - size * d1) * inverse[j]
        s2 += (second[j] + size * d0) * inverse[j]
    return s0, s1, s2


@summed
def _squares(first, cross, second, square, inverse, left, right):
    """Sums over the lanes of v v' with v = (I - A_j V_j) (left, right): elements (0, 0), (1, 0), (1, 1)."""
    d0, d1, d2, _ = square
    s0, s1, s2 = 0.0, 0.0, 0.0
    for j in range(len(first)):
        a, b, c, x, y = first[j], cross[j], second[j], left[j], right[j]
        u = ((1.0 + (b * d1 + c * d2)) * x - (a * d1 + b * d2) * y) * inverse[j]
        v = ((1.0 + (a * d0 + b * d1)) * y - (b * d0 + c * d1) * x) * inverse[j]
        s0 += u * u
        s1 += u * v
        s2 += v * v
    return s0, s1, s2


@kernel
def eliminate_pairs(gram, factor, schur, inverses, lanes):
    """First pass, as `grouped.eliminate` without derivatives.

    Parameters
    ----------
    gram : packed (blocks, 2, p + 3, n) array
        A_j, B_j and c_j of each group, by `lanes.pack`; kernel's coordinates.
    factor : (2, 2) array
        Lambda = L / sigma, kernel's coordinates.
    schur : (p + 1, p + 1) array
        Gram matrix of [X y]; the groups' part is subtracted (lower triangle).
    inverses : (blocks or 1, n) array
        Gets 1 / |M_j| of each block, or of the last one.
    lanes : (at least 3, n) array
        Written to.

    Returns
    -------
    float
        sum_j log|M_j|.
    """
    square, w = square_of(factor), len(schur)
    product, left, right = lanes[0], lanes[1], lanes[2]
    for j in range(len(product)):
        product[j] = 1.0
    logdet = 0.0
    for block in range(len(gram)):
        own, inverse = gram[block], inverses[block % len(inverses)]
        first, cross, second = own[0, 0], own[0, 1], own[1, 1]
        invert(first, cross, second, square, product, inverse)
        logdet += logs_of_large(product)
        for b in range(w):
            _covered(first, cross, second, square, inverse, own[0, 2 + b], own[1, 2 + b], left, right)
            for a in range(b + 1):
                schur[b, a] -= _dot(own[0, 2 + a], own[1, 2 + a], left, right)
    return logdet + sum_of_logs(product)


@kernel
def differentiate_pairs(gram, factor, root, beta, ml, inverses, lanes, d_logdet, d_rss):
    """Second pass: adds what `grouped.eliminate` and `grouped.differentiate` do to `d_logdet` and `d_rss`.

    Parameters
    ----------
    gram, factor : arrays
        See `eliminate_pairs`.
    root : (p, p) array
        Lower Cholesky factor of S_X.
    beta : (p,) array
        GLS estimate.
    ml : bool
        The criterion of maximum likelihood instead of REML's.
    inverses : (blocks, n) array
        From `eliminate_pairs`.
    lanes : (at least 2 p + 2, n) array
        Written to.
    d_logdet : (2, 2) array
        Gets sum_j A - A V A, less sum_j F_j S_X^-1 F_j' except for ML.
    d_rss : (2, 2) array
        sum_j e_j e_j' is subtracted.
    """
    square, p = square_of(factor), len(beta)
    left, right, solved = lanes[0], lanes[1], lanes[2:]
    for block in range(len(gram)):
        own, inverse = gram[block], inverses[block]
        first, cross, second = own[0, 0], own[0, 1], own[1, 1]
        errors_in(own, beta, left, right)
        _add(d_rss, -1.0, _squares(first, cross, second, square, inverse, left, right))
        _add(d_logdet, 1.0, _rests(first, cross, second, square, inverse))
        for b in range(0 if ml else p):
            solve_column(own, root, b, solved)
            found = _squares(first, cross, second, square, inverse, solved[2 * b], solved[2 * b + 1])
            _add(d_logdet, -1.0, found)


@kernel
def _add(matrix, sign, found):
    """Add elements (0, 0), (1, 0) and (1, 1) to the lower triangle."""
    matrix[0, 0] += sign * found[0]
    matrix[1, 0] += sign * found[1]
    matrix[1, 1] += sign * found[2]
