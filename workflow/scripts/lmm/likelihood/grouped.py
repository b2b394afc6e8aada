"""The one likelihood kernel: REML terms and their derivatives from moments.

`reml` minimises it, `bayes` samples it. Everything is per group, because there is one grouping factor,
and in the relative factor Lambda = L / sigma (D = L L'), which stays finite at the boundary.

Groups are packed abreast in lanes (`lanes.pack`), so that each scalar operation of the algebra becomes a loop over
lanes. Two random effects a group, the commonest case, have passes of their own (`grouped_pairs`).
"""

from typing import Any

import llvmlite.binding
import numba
import numpy as np

from lmm.core.compiled import c_function, digest_of, kernel
from lmm.likelihood.elimination import factorise, project, solve_lower
from lmm.likelihood.grouped_pairs import differentiate_pairs, eliminate_pairs, in_pairs, lanes_of_pairs
from lmm.likelihood.lanes import (
    VECTOR,
    WIDE,
    add_up,
    logs_of_large,
    subtract_before,
    subtract_products,
    sum_of_logs,
)

SYMBOL = f"lmm_reml_terms_{digest_of(__file__)}"

_pointer = numba.types.CPointer(numba.types.double)
_size = numba.types.int64
_SIGNATURE = numba.types.void(*[_size] * 6, *[_pointer] * 8)


@kernel
def eliminate(gram, factor, schur, d_logdet, rest):
    """First pass over the groups; returns sum_j log|M_j|.

    Subtracts sum_j [B c]'Lambda M^-1 Lambda'[B c] from `schur`, fills `d_logdet` with
    sum_j A - A Lambda M^-1 Lambda'A (lower triangle) and `rest` with [B c] - A Lambda M^-1 Lambda'[B c];
    the last two only if `rest` is non-empty.

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
    n_blocks, q, width, n = gram.shape
    w = width - q
    chol = np.empty((q, q, n))
    half = np.empty((q, width, n))  # C^-1 Lambda' [A B c], C the Cholesky factor of M
    narrow = w <= WIDE
    lanes_schur = np.zeros((w * narrow, w, n))
    lanes_logdet = np.zeros((q, q, n))
    product = np.ones(n)
    logdet = 0.0
    for block in range(n_blocks):
        project(factor, gram[block], half)
        factorise(factor, half, chol, product)
        logdet += logs_of_large(product)
        solve_lower(chol, half)
        for a in range(w * narrow):
            for b in range(a + 1):
                for k in range(q):
                    for j in range(n):
                        lanes_schur[a, b, j] += half[k, q + a, j] * half[k, q + b, j]
        if not narrow:
            subtract_products(half, q, schur)
        for a in range(q if len(rest) > 0 else 0):
            for b in range(a + 1):
                for j in range(n):
                    lanes_logdet[a, b, j] += gram[block, a, b, j] - half[0, a, j] * half[0, b, j]
                for k in range(1, q):
                    for j in range(n):
                        lanes_logdet[a, b, j] -= half[k, a, j] * half[k, b, j]
            for b in range(w):
                for j in range(n):
                    rest[block, a, b, j] = gram[block, a, q + b, j] - half[0, a, j] * half[0, q + b, j]
                for k in range(1, q):
                    for j in range(n):
                        rest[block, a, b, j] -= half[k, a, j] * half[k, q + b, j]
    for a in range(w * narrow):
        for b in range(a + 1):
            schur[a, b] -= add_up(lanes_schur[a, b])
    for a in range(q):
        for b in range(a + 1):
            d_logdet[a, b] += add_up(lanes_logdet[a, b])
    return logdet + sum_of_logs(product)


@kernel
def _solve(schur, root, beta):
    """Cholesky of [S_X s; s' s_yy]: fills `root` and `beta`; log|S_X| and the last pivot, the RSS.

    NaN where S_X is not positive definite.
    """
    p = len(beta)
    z = np.empty(p)
    for a in range(p):
        z[a] = schur[p, a]
        for b in range(a + 1):
            root[a, b] = schur[a, b]
    rss, logdet = schur[p, p], 0.0
    panel = np.zeros((VECTOR, p))  # columns of the root, then subtracted from all rows below at a time
    for start in range(0, p, VECTOR):
        stop = min(start + VECTOR, p)
        for k in range(start, stop):
            own = panel[k - start]
            for a in range(k, p):
                s = root[a, k]
                for m in range(k - start):
                    s -= panel[m, a] * panel[m, k]
                own[a] = s
            if not own[k] > 0.0:
                return np.nan, np.nan
            logdet += np.log(own[k])
            own[k] = np.sqrt(own[k])
            root[k, k] = own[k]
            z[k] /= own[k]
            rss -= z[k] * z[k]
            for a in range(k + 1, p):
                own[a] /= own[k]
                root[a, k] = own[a]
                z[a] -= z[k] * own[a]
        c0, c1, c2, c3 = panel[0, stop:], panel[1, stop:], panel[2, stop:], panel[3, stop:]
        for a in range(p - stop):
            row, f0, f1, f2, f3 = root[stop + a, stop:], c0[a], c1[a], c2[a], c3[a]
            for b in range(a + 1):
                row[b] -= (f0 * c0[b] + f1 * c1[b]) + (f2 * c2[b] + f3 * c3[b])
    for a in range(p - 1, -1, -1):
        s = z[a]
        for k in range(a + 1, p):
            s -= root[k, a] * beta[k]
        beta[a] = s / root[a, a]
    return logdet, rss


@kernel
def solve_triangle(root, right):
    """root^-1 @ right, both lower triangular, in place of `right`.

    Parameters
    ----------
    root : array
        Lower Cholesky factor.
    right : array
        Right-hand side, replaced by the solution.
    """
    for a in range(len(root)):
        subtract_before(right, a, root[a], 1.0, a)
        for c in range(a + 1):
            right[a, c] /= root[a, a]


@kernel
def differentiate(rest, root, beta, ml, d_logdet, d_rss):
    """Second pass: subtracts sum_j F_j S_X^-1 F_j' from `d_logdet` (not for ML) and sum_j e_j e_j' from `d_rss`.

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
    n_blocks, q, w, n = rest.shape
    p = w - 1
    solved = np.empty((q, p, n))  # F_j root^-T
    e = np.empty((q, n))
    lanes_logdet = np.zeros((q, q, n))
    lanes_rss = np.zeros((q, q, n))
    for block in range(n_blocks):
        for a in range(q):
            for j in range(n):
                e[a, j] = rest[block, a, p, j]
            for b in range(p):
                f = beta[b]
                scale = 1.0 / root[b, b]
                for j in range(n):
                    e[a, j] -= rest[block, a, b, j] * f
                for j in range(n):
                    solved[a, b, j] = rest[block, a, b, j] * scale
                subtract_before(solved[a], b, root[b], scale, n)
        for a in range(q):
            for b in range(a + 1):
                for k in range(0 if ml else p):
                    for j in range(n):
                        lanes_logdet[a, b, j] += solved[a, k, j] * solved[b, k, j]
                for j in range(n):
                    lanes_rss[a, b, j] += e[a, j] * e[b, j]
    for a in range(q):
        for b in range(a + 1):
            d_logdet[a, b] -= add_up(lanes_logdet[a, b])
            d_rss[a, b] -= add_up(lanes_rss[a, b])


@c_function(_SIGNATURE)
def _terms(
    derive,
    ml,
    n_blocks,
    lanes,
    q,
    p,
    gram_,
    total_,
    factor_,
    ridge_,
    solution_,
    slopes_,
    room_,
    values_,
):
    """`reml_terms` behind a C signature; `solution` and `slopes` come zeroed."""
    w = p + 1
    gram = numba.carray(gram_, (n_blocks, q, q + w, lanes))
    total, ridge, factor = (
        numba.carray(total_, (w, w)),
        numba.carray(ridge_, (w, w)),
        numba.carray(factor_, (q, q)),
    )
    solution, slopes = numba.carray(solution_, (w, p)), numba.carray(slopes_, (2, q, q))
    schur, values = numba.carray(values_, (w, w)), numba.carray(values_, (w * w + 2,))
    root, beta, d_logdet, d_rss = solution[:p], solution[p], slopes[0], slopes[1]
    for a in range(w):
        for b in range(a + 1):
            schur[a, b] = total[a, b] + ridge[a, b]
    kept = n_blocks if derive else 1
    if in_pairs(q, w):
        room = numba.carray(room_, (kept + lanes_of_pairs(p), lanes))
        logdet_z = eliminate_pairs(gram, factor, schur, room[:kept], room[kept:])
        logdet_x, rss = _solve(schur, root, beta)
        if derive and np.isfinite(logdet_x):
            differentiate_pairs(gram, factor, root, beta, ml, room[:kept], room[kept:], d_logdet, d_rss)
    else:
        rest = np.empty((n_blocks * derive, q, w, lanes))
        logdet_z = eliminate(gram, factor, schur, d_logdet, rest)
        logdet_x, rss = _solve(schur, root, beta)
        if derive and np.isfinite(logdet_x):
            differentiate(rest, root, beta, ml, d_logdet, d_rss)
    for a in range(q):
        for b in range(a):
            d_logdet[b, a] = d_logdet[a, b]
            d_rss[b, a] = d_rss[a, b]
    values[w * w] = logdet_z + (0.0 * logdet_x if ml else logdet_x)  # NaN stays NaN
    values[w * w + 1] = rss


# Callers reach the kernel through a symbol, so that each of them compiles a call and not the kernel once more
# (numba would link the whole of it into every caller and optimise it again: seconds, in every new process
# where nutpie compiles its wrapper).
llvmlite.binding.add_symbol(SYMBOL, _terms.address)
_call: Any = numba.types.ExternalFunction(SYMBOL, _SIGNATURE)


@kernel
def reml_terms(gram, total, factor, ridge, derive=True, ml=False):
    """Log determinant, penalised residual sum of squares and their derivatives in D / sigma^2.

    Bates, Mächler, Bolker & Walker 2015 (J. Stat. Softw. 67(1), section 3), written per group:
    M_j = I + Lambda' A_j Lambda,  S = [X y]'[X y] - sum_j [B_j c_j]' Lambda M_j^-1 Lambda' [B_j c_j].

    Parameters
    ----------
    gram : (blocks, q, q + p + 1, lanes) array
        A_j = Z_j'Z_j, B_j = Z_j'X_j and c_j = Z_j'y_j of each group, by `pack`.
    total : (p + 1, p + 1) array
        Gram matrix of [X y] over all rows.
    factor : (q, q) array
        Lambda; any square root of D / sigma^2, singular ones included.
    ridge : (p + 1, p + 1) array
        sigma^2 times the Gram matrix of a normal prior on beta (zeros: flat).
    derive : bool
        Whether the derivatives are wanted: without them (zeros then) it takes about half the time.
    ml : bool
        The log determinant of maximum likelihood: without log|S_X|.

    Returns
    -------
    logdet, rss : float
        sum_j log|M_j| + log|S_X|, and the residual sum of squares y'y - ... at beta_hat; NaN where S_X is
        not positive definite.
    beta : (p,) array
        beta_hat, the GLS estimate (posterior mean of beta under the ridge).
    root : (p, p) array
        Lower Cholesky factor of S_X; cov(beta_hat) = sigma^2 S_X^-1.
    d_logdet, d_rss : (q, q) arrays
        Derivatives of the two values with respect to the symmetric matrix D / sigma^2 (the derivative with
        respect to Lambda is twice that times Lambda).
    """
    n_blocks, q, width, lanes = gram.shape
    p = width - q - 1
    w = p + 1
    # few arrays, and no others in `_terms` for pairs: an allocation takes as long as a loop over the lanes
    solution, slopes = np.zeros((w, p)), np.zeros((2, q, q))
    rows = (n_blocks if derive else 1) + lanes_of_pairs(p) if in_pairs(q, w) else 0
    room, values = np.empty(rows * lanes), np.empty(w * w + 2)
    _call(
        1 if derive else 0, 1 if ml else 0, n_blocks, lanes, q, p, gram.ctypes, total.ctypes,
        factor.ctypes, ridge.ctypes, solution.ctypes, slopes.ctypes, room.ctypes, values.ctypes,
    )  # fmt: skip
    return values[w * w], values[w * w + 1], solution[p], solution[:p], slopes[0], slopes[1]
