"""Sparse Cholesky factor, triangular solves and selected inverse on a given pattern.

Matrices are the lower triangle by columns (indptr, rows, values), the diagonal first, rows ascending.
"""

import numpy as np

from lmm.core.compiled import kernel


@kernel
def factorise(indptr, rows, values, least):
    """Replace a matrix by its Cholesky factor, column after column; whether it is positive definite.

    Of a matrix that is positive semidefinite, columns that are combinations of those before them become 0.

    Columns wait in linked lists, each at the row in which its next element stands, so that a column finds those
    that update it.

    Parameters
    ----------
    indptr : (n + 1,) int array
        Where each column's elements begin.
    rows : (places,) int array
        Rows of the elements, column after column.
    values : (places,) array
        The lower triangle; read and written.
    least : (n,) array
        Squared pivots that count as 0, at most; empty where the matrix has to be positive definite.

    Returns
    -------
    bool
        Whether it is positive definite; True, whatever it is, with `least`.
    """
    n = len(indptr) - 1
    head, after, place = np.full(n, -1), np.full(n, -1), np.zeros(n, np.int64)
    work = np.zeros(n)
    for k in range(n):
        start, stop = indptr[k], indptr[k + 1]
        for at in range(start, stop):
            work[rows[at]] = values[at]
        column = head[k]
        while column >= 0:
            following, at = after[column], place[column]
            factor = values[at]
            for t in range(at, indptr[column + 1]):
                work[rows[t]] -= factor * values[t]
            if at + 1 < indptr[column + 1]:
                place[column], row = at + 1, rows[at + 1]
                after[column], head[row] = head[row], column
            column = following
        if len(least) > 0 and work[k] <= least[k]:
            values[start:stop] = 0.0
            continue
        if not work[k] > 0.0:
            return False
        pivot = np.sqrt(work[k])
        values[start] = pivot
        for at in range(start + 1, stop):
            values[at] = work[rows[at]] / pivot
        if start + 1 < stop:
            place[k], row = start + 1, rows[start + 1]
            after[k], head[row] = head[row], k
    return True


@kernel
def solve(indptr, rows, root, values):
    """root^-T root^-1 values, (n, m), for the Cholesky factor `root`.

    Parameters
    ----------
    indptr : (n + 1,) int array
        Where each column's elements begin.
    rows : (places,) int array
        Rows of the elements, column after column.
    root : (places,) array
        The Cholesky factor.
    values : (n, m) array
        Right-hand sides.

    Returns
    -------
    (n, m) array
    """
    out = values.copy()
    n, m = out.shape
    for k in range(n):
        for b in range(m):
            out[k, b] /= root[indptr[k]]
        for at in range(indptr[k] + 1, indptr[k + 1]):
            for b in range(m):
                out[rows[at], b] -= root[at] * out[k, b]
    for k in range(n - 1, -1, -1):
        for at in range(indptr[k] + 1, indptr[k + 1]):
            for b in range(m):
                out[k, b] -= root[at] * out[rows[at], b]
        for b in range(m):
            out[k, b] /= root[indptr[k]]
    return out


@kernel
def solve_transposed(indptr, rows, root, values):
    """root^-T values, (n,), for the Cholesky factor `root`.

    Parameters
    ----------
    indptr : (n + 1,) int array
        Where each column's elements begin.
    rows : (places,) int array
        Rows of the elements, column after column.
    root : (places,) array
        The Cholesky factor.
    values : (n,) array
        Right-hand side.

    Returns
    -------
    (n,) array
    """
    out = values.copy()
    for k in range(len(out) - 1, -1, -1):
        for at in range(indptr[k] + 1, indptr[k + 1]):
            out[k] -= root[at] * out[rows[at]]
        out[k] /= root[indptr[k]]
    return out


@kernel
def selected_inverse(indptr, rows, root):
    """The elements of (root root')^-1 on the factor's pattern (Takahashi, Fagan & Chin 1973).

    With Z the inverse, the columns from the last to the first: Z_ij = -sum_k Z_ik L_kj / L_jj over k below j, and
    Z_jj = 1 / L_jj^2 - sum_k Z_kj L_kj / L_jj; all Z_ik that this needs are on the pattern.

    Parameters
    ----------
    indptr : (n + 1,) int array
        Where each column's elements begin.
    rows : (places,) int array
        Rows of the elements, column after column.
    root : (places,) array
        The Cholesky factor.

    Returns
    -------
    (places,) array
    """
    n = len(indptr) - 1
    out = np.zeros(len(root))
    place = np.full(n, -1)
    for j in range(n - 1, -1, -1):
        start, stop = indptr[j], indptr[j + 1]
        for at in range(start + 1, stop):
            place[rows[at]] = at
        for at in range(start + 1, stop):
            k, factor, s = rows[at], root[at], root[at] * out[indptr[rows[at]]]
            for t in range(indptr[k] + 1, indptr[k + 1]):
                to = place[rows[t]]
                if to >= 0:
                    out[to] -= factor * out[t]
                    s += root[to] * out[t]
            out[at] -= s
        s = 1.0 / root[start]
        for at in range(start + 1, stop):
            place[rows[at]] = -1
            out[at] /= root[start]
            s -= root[at] * out[at]
        out[start] = s / root[start]
    return out


@kernel
def product(indptr, rows, matrix, values):
    """The symmetric matrix times values, (n, m).

    Parameters
    ----------
    indptr : (n + 1,) int array
        Where each column's elements begin.
    rows : (places,) int array
        Rows of the elements, column after column.
    matrix : (places,) array
        Its lower triangle.
    values : (n, m) array
        Columns.

    Returns
    -------
    (n, m) array
    """
    n, m = values.shape
    out = np.zeros((n, m))
    for k in range(n):
        for b in range(m):
            out[k, b] += matrix[indptr[k]] * values[k, b]
        for at in range(indptr[k] + 1, indptr[k + 1]):
            row = rows[at]
            for b in range(m):
                out[row, b] += matrix[at] * values[k, b]
                out[k, b] += matrix[at] * values[row, b]
    return out
