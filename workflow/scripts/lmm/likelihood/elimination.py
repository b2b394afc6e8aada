"""Elimination of each group's random effects: the Cholesky factor of M_j = I + Lambda'A_j Lambda.

All kernels that integrate or condition on random effects take their steps from here (docs/statistics.md, section 2).
Arrays have the groups of a block in their last axis, one lane per group (`lanes`); Lambda is the same for all.
"""

import numpy as np

from lmm.core.compiled import kernel


@kernel
def project(factor, columns, out):
    """Fill `out` (q, c, n) with Lambda' times `columns` (q, c, n) in each lane.

    Parameters
    ----------
    factor : (q, q) array
        Lambda, the same for all groups.
    columns : (q, c, n) array
        Of n groups: A_j, [B_j c_j] or the like.
    out : (q, c, n) array
        Written to.
    """
    q, width, n = columns.shape
    for a in range(q):
        for b in range(width):
            f = factor[0, a]
            for j in range(n):
                out[a, b, j] = f * columns[0, b, j]
            for k in range(1, q):
                f = factor[k, a]
                if f != 0.0:
                    for j in range(n):
                        out[a, b, j] += f * columns[k, b, j]


@kernel
def factorise(factor, left, chol, product):
    """Fill `chol` (q, q, n) with the Cholesky factor of M and multiply `product` (n,) by |M|.

    `left` (q, at least q, n) begins with Lambda'A. The diagonal of `chol` holds reciprocals.

    Parameters
    ----------
    factor : (q, q) array
        Lambda, the same for all groups.
    left : (q, at least q, n) array
        Begins with Lambda'A, from `project`.
    chol : (q, q, n) array
        Gets the lower Cholesky factor of M, its diagonal as reciprocals.
    product : (n,) array
        Multiplied by |M|.
    """
    q, n = len(factor), len(product)
    for a in range(q):
        for b in range(a + 1):
            one, f = (1.0 if a == b else 0.0), factor[0, b]
            for j in range(n):
                chol[a, b, j] = one + left[a, 0, j] * f
            for k in range(1, q):
                f = factor[k, b]
                if f != 0.0:
                    for j in range(n):
                        chol[a, b, j] += left[a, k, j] * f
            for k in range(b):
                for j in range(n):
                    chol[a, b, j] -= chol[a, k, j] * chol[b, k, j]
            if a == b:
                for j in range(n):
                    product[j] *= chol[a, a, j]
                    chol[a, a, j] = 1.0 / np.sqrt(chol[a, a, j])
            else:
                for j in range(n):
                    chol[a, b, j] *= chol[b, b, j]


@kernel
def solve_lower(chol, columns):
    """Replace `columns` (q, c, n) by C^-1 times them, C the Cholesky factor from `factorise`.

    Parameters
    ----------
    chol : (q, q, n) array
        From `factorise`.
    columns : (q, c, n) array
        Replaced by C^-1 times itself.
    """
    q, width, n = columns.shape
    for b in range(width):
        for j in range(n):
            columns[0, b, j] *= chol[0, 0, j]
        for a in range(1, q):
            for k in range(a):
                for j in range(n):
                    columns[a, b, j] -= chol[a, k, j] * columns[k, b, j]
            for j in range(n):
                columns[a, b, j] *= chol[a, a, j]
