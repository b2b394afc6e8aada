"""Cross-products in triangular form, in which no digit is lost however much groups differ.

Rows of a group are turned (orthogonally) until all but the first few of them are 0 in the random effects' columns:
E_j = Q_j T_j, T_j upper triangular, so that E_j'E_j = T_j'T_j. What is left of X and y below the random effects'
rows is within-group variation. Taken from sums of squares it is a difference of numbers that may be 1e16 times
as large; kept as rows of T_j it has digits of its own (Golub & Van Loan 2013, Matrix Computations, section 5.3).
"""

import numpy as np

from lmm.core.compiled import kernel

# A column's remainder below this share of its square is what rounding leaves of a combination of the columns before:
# sums of 10^8 products carry relative errors up to 1e-12.
PIVOT = 1e-12
# The same of columns that are taken about their group's own centre, where only the rounding of values is left.
PIVOT_CENTRED = 1e-30
# Of columns that are triangular already; a turn rounds by some eps of the column's length.
PIVOT_TURNED = 1e-14


@kernel
def triangles(gram, n, share, size):
    """Triangular factors of the groups' Gram matrices.

    Parameters
    ----------
    gram : (J, r, c) array
        The first r rows of each group's Gram matrix of c columns.
    n : (J,) int array
        Rows of each group; no factor has more rows than that.
    share : float
        A pivot up to this share of `size` counts as 0: its row of the factor is 0.
    size : (J, r) array
        Squares that pivots are compared with.

    Returns
    -------
    (J, r, c) array
        The first r rows of each T_j, zeros below the diagonal.
    """
    n_groups, rows, width = gram.shape
    out = np.zeros((n_groups, rows, width))
    for j in range(n_groups):
        used = 0
        for a in range(rows):
            s = gram[j, a, a]
            for k in range(a):
                s -= out[j, k, a] * out[j, k, a]
            if used >= n[j] or not s > share * size[j, a]:
                continue
            used += 1
            pivot = np.sqrt(s)
            out[j, a, a] = pivot
            for b in range(a + 1, width):
                s = gram[j, a, b]
                for k in range(a):
                    s -= out[j, k, a] * out[j, k, b]
                out[j, a, b] = s / pivot
    return out


@kernel
def turned(stack, rows):
    """Groups' rows turned into triangular form in their first `rows` columns, by Householder reflections.

    Parameters
    ----------
    stack : (J, s, c) array
        Any rows; overwritten.
    rows : int
        Columns that are made triangular.

    Returns
    -------
    top : (J, rows, c) array
        Row a is 0 left of column a, and all of it is where column a depends on those before it.
    rest : (c, c) array
        Gram matrix of the rows that are left, summed over groups: 0 in the first `rows` columns.
    """
    n_groups, height, width = stack.shape
    top, rest = np.zeros((n_groups, rows, width)), np.zeros((width, width))
    length = np.empty(height)
    for j in range(n_groups):
        own = stack[j]
        at = 0
        for a in range(rows):
            whole, below = 0.0, 0.0
            for i in range(height):
                square = own[i, a] * own[i, a]
                whole += square
                if i >= at:
                    below += square
            if at == height or not below > PIVOT_TURNED * PIVOT_TURNED * whole:
                for i in range(at, height):
                    own[i, a] = 0.0
                continue
            norm = np.sqrt(below) if own[at, a] <= 0.0 else -np.sqrt(below)
            for i in range(at, height):
                length[i] = own[i, a]
            length[at] -= norm
            scale = 1.0 / (below - own[at, a] * norm)
            for b in range(a, width):
                s = 0.0
                for i in range(at, height):
                    s += length[i] * own[i, b]
                s *= scale
                for i in range(at, height):
                    own[i, b] -= s * length[i]
            for i in range(at + 1, height):
                own[i, a] = 0.0
            sign = 1.0 if norm > 0.0 else -1.0  # a positive diagonal, as Cholesky's
            for b in range(a, width):
                top[j, a, b] = sign * own[at, b]
            at += 1
        for a in range(rows, width):
            for b in range(a, width):
                for i in range(at, height):
                    rest[a, b] += own[i, a] * own[i, b]
    for a in range(width):
        for b in range(a):
            rest[a, b] = rest[b, a]
    return top, rest
