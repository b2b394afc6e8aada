"""The criterion's terms and average information over a dense remainder, by LAPACK."""

import numpy as np

from lmm.compiled import kernel
from lmm.lapack import factorise, invert, solve_rows, symmetrise
from lmm.leading import eliminate, errors, scaled_cells, subtract_quadratic
from lmm.remainder import (
    Terms,
    scaled_rows,
    solve_border,
    subtract_fixed,
    subtract_leading_fixed,
    unscaled_rows,
)


@kernel
def _scaled(layout, lams, S, H):
    """Lower triangle of H = I + Lambda'S Lambda; S is symmetric and full."""
    R = len(S)
    row = np.empty(R)
    for level in range(len(layout.factor)):
        k, at = layout.factor[level], layout.start[level]
        q = layout.q[k]
        for b in range(q):
            end = at + q
            f = lams[k, 0, b]
            for c in range(end):
                row[c] = f * S[at, c]
            for a in range(1, q):
                f = lams[k, a, b]
                if f != 0.0:
                    for c in range(end):
                        row[c] += f * S[at + a, c]
            _scale(layout, lams, row, level + 1, H[at + b])
            H[at + b, at + b] += 1.0


@kernel
def _scale(layout, lams, row, levels, out):
    """out = row Lambda, over the first `levels` levels."""
    for other in range(levels):
        m, o = layout.factor[other], layout.start[other]
        if layout.q[m] == 1:
            out[o] = row[o] * lams[m, 0, 0]
            continue
        for d in range(layout.q[m]):
            s = 0.0
            for c in range(layout.q[m]):
                s += row[o + c] * lams[m, c, d]
            out[o + d] = s


@kernel
def _scale_back(layout, lams, row, out):
    """out = row Lambda'."""
    for other in range(len(layout.factor)):
        m, o = layout.factor[other], layout.start[other]
        if layout.q[m] == 1:
            out[o] = row[o] * lams[m, 0, 0]
            continue
        for c in range(layout.q[m]):
            s = 0.0
            for d in range(layout.q[m]):
                s += row[o + d] * lams[m, c, d]
            out[o + c] = s


@kernel
def _traces(layout, lams, S, inverse, slopes):
    """Add T_k lambda_k = sum of the diagonal blocks of S Lambda H^-1 to the slopes of the remainder's factors."""
    row = np.empty(len(S))
    for level in range(len(layout.factor)):
        k, at = layout.factor[level], layout.start[level]
        for b in range(layout.q[k]):
            _scale_back(layout, lams, inverse[at + b], row)
            for a in range(layout.q[k]):
                slopes[k, a, b] += np.dot(S[at + a], row)


@kernel
def _tall_quadratic(layout, lams, lead, F, root, slope):
    """Subtract sum_j F_j Lambda H^-1 Lambda'F_j' from `slope` with C formed densely, H = root root'."""
    J, q, R = len(lead.ptr) - 1, F.shape[1], len(root)
    tall, row = np.zeros((J * q, R)), np.zeros(R)
    for j in range(J):
        for a in range(q):
            row[:] = 0.0
            for c in range(lead.ptr[j], lead.ptr[j + 1]):
                row[lead.cols[c]] = F[c, a]
            _scale(layout, lams, row, len(layout.factor), tall[j * q + a])
    solve_rows(root, tall, False)
    for j in range(J):
        for a in range(q):
            for b in range(q):
                slope[a, b] -= np.dot(tall[j * q + a], tall[j * q + b])


@kernel
def dense_terms(lead, layout, rest, rest_edge, total, lams, ridge, reml, derive):
    """Terms of the (RE)ML criterion, and their derivatives where `derive`.

    Parameters
    ----------
    lead : Leading
    layout : Layout
    rest : (R * R,) array
        Gram matrix of the remainder's random effects; the lower triangle counts.
    rest_edge, total : (R, p + 1), (p + 1, p + 1) arrays
        Their products with [X y], and the Gram matrix of [X y].
    lams : (K, m, m) array
        lambda_k, any square root of D_k / sigma^2, in the first q_k rows and columns; the leading factor's first.
    ridge : (p + 1, p + 1) array
        sigma^2 times the Gram matrix of a normal prior on beta (zeros: flat).
    reml : bool
        Whether beta is integrated out; else it is profiled out (ML).
    derive : bool

    Returns
    -------
    Terms
    """
    K, m = lams.shape[0], lams.shape[1]
    R, w = rest_edge.shape
    p = w - 1
    J, q = lead.edge.shape[0], lead.edge.shape[1]
    S, S_edge, S_total = rest.copy(), rest_edge.copy(), total + ridge
    size = len(lead.cols) if derive else 0
    levels = J if derive else 0
    kept, F, F_edge = np.empty((levels, q, q)), np.empty((size, q)), np.empty((levels, q, w))
    factor = np.ascontiguousarray(lams[0, :q, :q])
    logdet = eliminate(lead, factor, True, derive, S, S_edge, S_total, kept, F, F_edge)
    square = S.reshape((R, R))
    symmetrise(square)
    H = np.empty((R, R))
    _scaled(layout, lams, square, H)
    slopes = np.zeros((K, m, m))
    FL, empty = np.empty((0, q)), np.zeros(0)
    e0, fixed0 = np.empty((levels, q)), np.empty((levels, q, p))
    fixed, e = np.empty((0, p)), np.empty(0)
    beta, phi, u = np.zeros(p), np.zeros((p, p)), np.zeros((R, w))
    rss = np.nan
    if factorise(H):
        for r in range(R):
            logdet += 2.0 * np.log(H[r, r])
        rhs = scaled_rows(layout, lams, S_edge)
        rows = np.ascontiguousarray(rhs.T)
        solve_rows(H, rows, False)
        solve_rows(H, rows, True)
        u = np.ascontiguousarray(rows.T)
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
        if lead.tall == 1:
            _tall_quadratic(layout, lams, lead, F, H, slopes[0, :q, :q])
        invert(H)
        symmetrise(H)
        if lead.tall != 1:
            subtract_quadratic(lead, FL, H.reshape(R * R), True, R, slopes[:1, :q, :q])
        _traces(layout, lams, square, H, slopes)
        S_edge[:, p] -= np.ascontiguousarray(S_edge[:, :p]) @ beta
        S_edge -= square @ unscaled_rows(layout, lams, u)
        e, fixed = S_edge[:, p].copy(), np.ascontiguousarray(S_edge[:, :p])
        errors(lead, F_edge, FL, u, beta, fixed0, e0)
        if reml:
            subtract_fixed(layout, lams, fixed, phi, slopes)
            subtract_leading_fixed(fixed0, phi, slopes[0, :q, :q])
    return Terms(
        logdet, rss, beta, phi, u, slopes, kept, F, FL, e0, fixed0, e, fixed, S, H.reshape(R * R), empty
    )  # fmt: skip


@kernel
def dense_product(S, values):
    """S values, (R, m)."""
    R = len(values)
    return S.reshape((R, R)) @ values


@kernel
def dense_solve(terms, values):
    """H^-1 values, (R, m); after derivatives."""
    R = len(values)
    return terms.inverse.reshape((R, R)) @ values
