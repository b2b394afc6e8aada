"""The leading factor, eliminated level by level: what several factors share with one.

See docs/statistics.md, section 10.

Level j of the leading factor has A_j = Z_j'Z_j and meets some columns of the remainder, the random effects of all
other factors: C_j = Z_j'Z_rest is a row of a sparse matrix (ptr, cols, vals), and Z_j'[X y] its edge. With the
relative factor lambda, D = sigma^2 lambda lambda', and M_j = I + lambda'A_j lambda,

    S = G_rest - sum_j C_j'V_j C_j,   V_j = lambda M_j^-1 lambda',   F_j = (I - A_j V_j) C_j.

S is kept in a flat array: all of a square matrix where it is dense, else the places of a sparse Cholesky factor,
which `pairs` lists for every pair of columns that a level meets.
"""

from typing import NamedTuple

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.elimination import factorise, project, solve_lower
from lmm.likelihood.lanes import LANES, VECTOR, logs_of_large, sum_of_logs
from lmm.likelihood.lapack import subtract_gram


class Leading(NamedTuple):
    """Moments of the leading factor in the kernel's coordinates.

    Attributes
    ----------
    A : (J, q, q) array
    edge : (J, q, p + 1) array
        Z_j'[X y].
    ptr : (J + 1,), cols : (c,), vals : (c, q) arrays
        Row j of C has vals[ptr[j]:ptr[j + 1]] in the remainder's columns `cols`, which ascend.
    pairs : (...) int array
        Sparse remainder: the place in S of each pair (c, d <= c) of the columns that a level meets, level by level;
        empty for a dense one.
    tall : int
        1 where C is formed densely and multiplied by BLAS, which pays off where levels meet many columns.
    """

    A: np.ndarray
    edge: np.ndarray
    ptr: np.ndarray
    cols: np.ndarray
    vals: np.ndarray
    pairs: np.ndarray
    tall: int


@kernel
def most_met(ptr):
    """The largest number of columns that a level meets.

    Parameters
    ----------
    ptr : (J + 1,) int array
        See `Leading`.

    Returns
    -------
    int
        At least 1.
    """
    most = 1
    for j in range(len(ptr) - 1):
        most = max(most, ptr[j + 1] - ptr[j])
    return most


@kernel
def _half(vector, factor, chol, lane, out):
    """out = C_j^-1 lambda' vector, (q,), C_j in a lane of `chol` with reciprocals on its diagonal."""
    q = len(factor)
    for a in range(q):
        s = 0.0
        for k in range(q):
            s += factor[k, a] * vector[k]
        for k in range(a):
            s -= chol[a, k, lane] * out[k]
        out[a] = s * chol[a, a, lane]


@kernel
def eliminate(lead, factor, dense, derive, S, S_edge, S_total, kept, F, F_edge):
    """Subtract sum_j [C_j edge_j]'V_j [C_j edge_j] from [S S_edge; . S_total]; returns sum_j log|M_j|.

    Parameters
    ----------
    lead : Leading
        Moments of the leading factor.
    factor : (q, q) array
        lambda of the leading factor.
    dense : bool
        Whether S is a square matrix; its lower triangle is filled.
    derive : bool
        Whether to fill kept (J, q, q) with A_j - A_j V_j A_j, F (c, q) and F_edge (J, q, p + 1) with
        (I - A_j V_j) [C_j edge_j].
    S : (R * R,) or (places,) array
        Gram matrix of the remainder; written.
    S_edge : (R, p + 1) array
        Its products with [X y]; written.
    S_total : (p + 1, p + 1) array
        Gram matrix of [X y]; written.
    kept : (J, q, q) array
        Gets A_j - A_j V_j A_j.
    F : (c, q) array
        Gets (I - A_j V_j) C_j.
    F_edge : (J, q, p + 1) array
        Gets (I - A_j V_j) edge_j.

    Returns
    -------
    float
        sum_j log|M_j|.
    """
    J, q, w = lead.edge.shape
    R = len(S_edge)
    most = most_met(lead.ptr)
    lanes = VECTOR * -(-min(J, LANES) // VECTOR)
    blocks, own, chol = np.zeros((q, q, lanes)), np.empty((q, q, lanes)), np.empty((q, q, lanes))
    product = np.ones(lanes)
    half, half_edge, column = np.empty((most, q)), np.empty((w, q)), np.empty(q)
    tall = np.zeros((J * q, R)) if lead.tall == 1 else np.zeros((0, 0))
    logdet, pair = 0.0, 0
    for j in range(J):
        lane = j % lanes
        if lane == 0:
            for i in range(lanes):
                for a in range(q):
                    for b in range(q):
                        blocks[a, b, i] = lead.A[j + i, a, b] if j + i < J else 0.0
            project(factor, blocks, own)
            factorise(factor, own, chol, product)
            solve_lower(chol, own)
            logdet += logs_of_large(product)
        first, met = lead.ptr[j], lead.ptr[j + 1] - lead.ptr[j]
        for c in range(met):
            _half(lead.vals[first + c], factor, chol, lane, half[c])
        for b in range(w):
            for a in range(q):
                column[a] = lead.edge[j, a, b]
            _half(column, factor, chol, lane, half_edge[b])
        if derive:
            for a in range(q):
                for b in range(q):
                    s = lead.A[j, a, b]
                    for k in range(q):
                        s -= own[k, a, lane] * own[k, b, lane]
                    kept[j, a, b] = s
                for c in range(met):
                    s = lead.vals[first + c, a]
                    for k in range(q):
                        s -= own[k, a, lane] * half[c, k]
                    F[first + c, a] = s
                for b in range(w):
                    s = lead.edge[j, a, b]
                    for k in range(q):
                        s -= own[k, a, lane] * half_edge[b, k]
                    F_edge[j, a, b] = s
        for a in range(w):
            for b in range(w):
                for k in range(q):
                    S_total[a, b] -= half_edge[a, k] * half_edge[b, k]
        for c in range(met):
            row = lead.cols[first + c]
            for b in range(w):
                for k in range(q):
                    S_edge[row, b] -= half[c, k] * half_edge[b, k]
        if lead.tall == 1:
            for c in range(met):
                for k in range(q):
                    tall[j * q + k, lead.cols[first + c]] = half[c, k]
            continue
        for c in range(met):
            start = lead.cols[first + c] * R
            for d in range(c + 1):
                s = half[c, 0] * half[d, 0]
                for k in range(1, q):
                    s += half[c, k] * half[d, k]
                if dense:
                    S[start + lead.cols[first + d]] -= s
                else:
                    S[lead.pairs[pair]] -= s
                    pair += 1
    if lead.tall == 1:
        subtract_gram(tall, S.reshape((R, R)))
    return logdet + sum_of_logs(product)


@kernel
def errors(lead, F_edge, FL, u, beta, fixed, e):
    """Fill e, (J, q), with Z_j'P y and fixed, (J, q, p), with Z_j'V^-1 X.

    FL is F Lambda (`scaled_cells`); u is (R, p + 1), H^-1 Lambda'S_edge with its last column less the others' at
    beta.

    Parameters
    ----------
    lead : Leading
        Moments of the leading factor.
    F_edge : (J, q, p + 1) array
        From `eliminate`.
    FL : (c, q) array
        F Lambda, from `scaled_cells`.
    u : (R, p + 1) array
        H^-1 Lambda'S_edge, its last column less the others' at beta.
    beta : (p,) array
        GLS estimate.
    fixed : (J, q, p) array
        Gets Z_j'V^-1 X.
    e : (J, q) array
        Gets Z_j'P y.
    """
    J, q, w = F_edge.shape
    p = w - 1
    for j in range(J):
        for a in range(q):
            s = F_edge[j, a, p]
            for b in range(p):
                s -= F_edge[j, a, b] * beta[b]
                fixed[j, a, b] = F_edge[j, a, b]
            e[j, a] = s
        for c in range(lead.ptr[j], lead.ptr[j + 1]):
            col = lead.cols[c]
            for a in range(q):
                f = FL[c, a]
                e[j, a] -= f * u[col, p]
                for b in range(p):
                    fixed[j, a, b] -= f * u[col, b]


@kernel
def scaled_cells(cols, vals, factor_of, q, lams):
    """vals Lambda, (c, q0): the cells of one level stand in consecutive columns.

    Parameters
    ----------
    cols : (c,) int array
        The remainder's column of each cell.
    vals : (c, q0) array
        The cells.
    factor_of : (R,) int array
        The factor of each column.
    q : (K,) int array
        Random effects per level of each factor.
    lams : (K, m, m) array
        lambda_k in the first q_k rows and columns, the leading factor's first; from `SeveralProblem.packed`.

    Returns
    -------
    (c, q0) array
    """
    out = np.empty_like(vals)
    c, width = 0, vals.shape[1]
    while c < len(cols):
        k = factor_of[cols[c]]
        for b in range(q[k]):
            for a in range(width):
                s = 0.0
                for d in range(q[k]):
                    s += vals[c + d, a] * lams[k, d, b]
                out[c + b, a] = s
        c += q[k]
    return out


@kernel
def subtract_quadratic(lead, FL, inverse, dense, R, out):
    """Subtract FL_j inverse FL_j' of every level from out, (J, q, q), or summed over levels from out, (1, q, q).

    `inverse` is symmetric: square and full where `dense`, else the places of `pairs`.

    Parameters
    ----------
    lead : Leading
        Moments of the leading factor.
    FL : (c, q) array
        F Lambda, from `scaled_cells`.
    inverse : (R * R,) or (places,) array
        Symmetric: all of it where `dense`, else the places of `pairs`.
    dense : bool
        Whether `inverse` is a square matrix.
    R : int
        Columns of the remainder.
    out : (J, q, q) or (1, q, q) array
        Subtracted from, per level or summed over levels.
    """
    J, q = len(lead.ptr) - 1, FL.shape[1]
    pair = 0
    right = np.empty(q)
    for j in range(J):
        at = j if len(out) > 1 else 0
        first, met = lead.ptr[j], lead.ptr[j + 1] - lead.ptr[j]
        for c in range(met):
            start = lead.cols[first + c] * R
            right[:] = 0.0
            for d in range(c):
                z = inverse[start + lead.cols[first + d]] if dense else inverse[lead.pairs[pair + d]]
                for a in range(q):
                    right[a] += z * FL[first + d, a]
            own = inverse[start + lead.cols[first + c]] if dense else inverse[lead.pairs[pair + c]]
            pair += c + 1
            for a in range(q):
                for b in range(q):
                    f = FL[first + c, a] * right[b] + FL[first + c, b] * right[a]
                    out[at, a, b] -= f + FL[first + c, a] * own * FL[first + c, b]


@kernel
def cells_times(lead, F, values):
    """F values, (J, q, m), for values (R, m).

    Parameters
    ----------
    lead : Leading
        Moments of the leading factor.
    F : (c, q) array
        One row per cell.
    values : (R, m) array
        Columns over the remainder's random effects.

    Returns
    -------
    (J, q, m) array
    """
    J, q, m = len(lead.ptr) - 1, F.shape[1], values.shape[1]
    out = np.zeros((J, q, m))
    for j in range(J):
        for c in range(lead.ptr[j], lead.ptr[j + 1]):
            for a in range(q):
                for b in range(m):
                    out[j, a, b] += F[c, a] * values[lead.cols[c], b]
    return out


@kernel
def transposed_times(lead, F, values, R):
    """F'values, (R, m), for values (J, q, m).

    Parameters
    ----------
    lead : Leading
        Moments of the leading factor.
    F : (c, q) array
        One row per cell.
    values : (J, q, m) array
        Per level of the leading factor.
    R : int
        Columns of the remainder.

    Returns
    -------
    (R, m) array
    """
    J, q, m = values.shape
    out = np.zeros((R, m))
    for j in range(J):
        for c in range(lead.ptr[j], lead.ptr[j + 1]):
            for a in range(q):
                for b in range(m):
                    out[lead.cols[c], b] += F[c, a] * values[j, a, b]
    return out
