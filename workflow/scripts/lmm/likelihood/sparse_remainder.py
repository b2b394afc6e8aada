"""The criterion's terms over a sparse remainder: nested factors, or crossed ones that meet locally."""

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.leading import eliminate, errors, scaled_cells, subtract_quadratic
from lmm.likelihood.remainder import (
    Terms,
    scaled_rows,
    solve_border,
    subtract_fixed,
    subtract_leading_fixed,
    unscaled_rows,
)
from lmm.likelihood.sparse_cholesky import factorise, product, selected_inverse, solve


@kernel
def _scaled(layout, lams, indptr, rows, S, H):
    """H = I + Lambda'S Lambda on the pattern, in blocks of two levels."""
    m = lams.shape[1]
    block = np.empty((m, m))
    for level in range(len(layout.factor)):
        k, s = layout.factor[level], layout.start[level]
        q = layout.q[k]
        for b in range(q):
            for a in range(b, q):
                total = 1.0 if a == b else 0.0
                for x in range(q):
                    for y in range(q):
                        high, low = max(x, y), min(x, y)
                        total += lams[k, x, a] * S[indptr[s + low] + high - low] * lams[k, y, b]
                H[indptr[s + b] + a - b] = total
        t, below = 0, indptr[s + 1] - indptr[s] - q
        while t < below:
            other = layout.factor_of[rows[indptr[s] + q + t]]
            r = layout.q[other]
            for a in range(r):
                for b in range(q):
                    total = 0.0
                    for x in range(q):
                        total += S[indptr[s + x] + q - x + t + a] * lams[k, x, b]
                    block[a, b] = total
            for a in range(r):
                for b in range(q):
                    total = 0.0
                    for x in range(r):
                        total += lams[other, x, a] * block[x, b]
                    H[indptr[s + b] + q - b + t + a] = total
            t += r


@kernel
def _traces(layout, lams, indptr, rows, S, inverse, slopes):
    """Add T_k lambda_k = sum of the diagonal blocks of S Lambda H^-1 to the slopes of the remainder's factors."""
    for level in range(len(layout.factor)):
        k, s = layout.factor[level], layout.start[level]
        q = layout.q[k]
        for x in range(q):
            for b in range(q):
                z = 0.0  # (lambda_k Z_JJ)[x, b]
                for y in range(q):
                    high, low = max(y, b), min(y, b)
                    z += lams[k, x, y] * inverse[indptr[s + low] + high - low]
                for a in range(q):
                    high, low = max(x, a), min(x, a)
                    slopes[k, a, b] += S[indptr[s + low] + high - low] * z
        t, below = 0, indptr[s + 1] - indptr[s] - q
        while t < below:
            other = layout.factor_of[rows[indptr[s] + q + t]]
            r = layout.q[other]
            for x in range(r):
                for b in range(q):
                    z = 0.0  # (lambda_other Z_IJ)[x, b]
                    for y in range(r):
                        z += lams[other, x, y] * inverse[indptr[s + b] + q - b + t + y]
                    for a in range(q):
                        slopes[k, a, b] += S[indptr[s + a] + q - a + t + x] * z
            for x in range(q):
                for b in range(r):
                    z = 0.0  # (lambda_k Z_IJ')[x, b]
                    for y in range(q):
                        z += lams[k, x, y] * inverse[indptr[s + y] + q - y + t + b]
                    for a in range(r):
                        slopes[other, a, b] += S[indptr[s + x] + q - x + t + a] * z
            t += r


@kernel
def sparse_terms(lead, layout, indptr, rows, rest, rest_edge, total, lams, ridge, reml, derive):
    """As `dense_remainder.dense_terms`, with the remainder on the pattern (indptr, rows).

    Parameters
    ----------
    lead : Leading
        Moments of the leading factor.
    layout : Layout
        Where the factors' columns are.
    indptr : (n + 1,) int array
        Where each column's elements begin.
    rows : (places,) int array
        Rows of the pattern's elements.
    rest : (places,) array
        Gram matrix of the remainder on the pattern.
    rest_edge : (R, p + 1) array
        Its products with [X y].
    total : (p + 1, p + 1) array
        Gram matrix of [X y].
    lams : (K, m, m) array
        lambda_k in the first q_k rows and columns, the leading factor's first; from `SeveralProblem.packed`.
    ridge : (p + 1, p + 1) array
        sigma^2 times the Gram matrix of a normal prior on beta.
    reml : bool
        Whether beta is integrated out; else it is profiled out (ML).
    derive : bool
        Whether derivatives are wanted.

    Returns
    -------
    Terms
    """
    K, m = lams.shape[0], lams.shape[1]
    R, w = rest_edge.shape
    p = w - 1
    J, q = lead.edge.shape[0], lead.edge.shape[1]
    S, S_edge, S_total = rest.copy(), rest_edge.copy(), total + ridge
    size, levels = (len(lead.cols), J) if derive else (0, 0)
    kept, F, F_edge = np.empty((levels, q, q)), np.empty((size, q)), np.empty((levels, q, w))
    factor = np.ascontiguousarray(lams[0, :q, :q])
    logdet = eliminate(lead, factor, False, derive, S, S_edge, S_total, kept, F, F_edge)
    root = np.empty(len(rows))
    _scaled(layout, lams, indptr, rows, S, root)
    slopes = np.zeros((K, m, m))
    FL, inverse = np.empty((0, q)), np.zeros(0)
    e0, fixed0 = np.empty((levels, q)), np.empty((levels, q, p))
    fixed, e = np.empty((0, p)), np.empty(0)
    beta, phi, u = np.zeros(p), np.zeros((p, p)), np.zeros((R, w))
    rss = np.nan
    if factorise(indptr, rows, root, np.zeros(0)):
        for r in range(R):
            logdet += 2.0 * np.log(root[indptr[r]])
        rhs = scaled_rows(layout, lams, S_edge)
        u = solve(indptr, rows, root, rhs)
        logdet_x, rss, beta, phi = solve_border(S_total, rhs, u)
        u[:, p] -= np.ascontiguousarray(u[:, :p]) @ beta
        if reml:
            logdet += logdet_x
    if not np.isfinite(rss):
        logdet = np.nan
    elif derive:
        for j in range(J):
            slopes[0, :q, :q] += kept[j]
        FL = scaled_cells(lead.cols, F, layout.factor_of, layout.q, lams)
        inverse = selected_inverse(indptr, rows, root)
        subtract_quadratic(lead, FL, inverse, False, R, slopes[:1, :q, :q])
        _traces(layout, lams, indptr, rows, S, inverse, slopes)
        S_edge[:, p] -= np.ascontiguousarray(S_edge[:, :p]) @ beta
        S_edge -= product(indptr, rows, S, unscaled_rows(layout, lams, u))
        e, fixed = S_edge[:, p].copy(), np.ascontiguousarray(S_edge[:, :p])
        errors(lead, F_edge, FL, u, beta, fixed0, e0)
        if reml:
            subtract_fixed(layout, lams, fixed, phi, slopes)
            subtract_leading_fixed(fixed0, phi, slopes[0, :q, :q])
    return Terms(logdet, rss, beta, phi, u, slopes, kept, F, FL, e0, fixed0, e, fixed, S, inverse, root)


@kernel
def sparse_product(indptr, rows, S, values):
    """S values, (R, m).

    Parameters
    ----------
    indptr : (n + 1,) int array
        Where each column's elements begin.
    rows : (places,) int array
        Rows of the pattern's elements.
    S : (places,) array
        From `Terms`.
    values : (R, m) array
        Columns over the remainder's random effects.

    Returns
    -------
    (R, m) array
    """
    return product(indptr, rows, S, values)


@kernel
def sparse_solve(indptr, rows, root, values):
    """H^-1 values, (R, m).

    Parameters
    ----------
    indptr : (n + 1,) int array
        Where each column's elements begin.
    rows : (places,) int array
        Rows of the pattern's elements.
    root : (places,) array
        From `Terms`.
    values : (R, m) array
        Columns over the remainder's random effects.

    Returns
    -------
    (R, m) array
    """
    return solve(indptr, rows, root, values)
