"""The criterion's terms and average information over a dense remainder, by LAPACK."""

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.lapack import factorise, invert, solve_rows, symmetrise
from lmm.likelihood.leading import eliminate, errors, scaled_cells, subtract_quadratic
from lmm.likelihood.remainder import (
    Terms,
    scaled_rows,
    solve_border,
    subtract_fixed,
    subtract_leading_fixed,
    unscaled_rows,
)


@kernel
def _band(layout, lams, transposed, R):
    """The diagonals of Lambda (or Lambda'): (row Lambda)[c] = sum_d row[c + d - m + 1] band[d, c], (2 m - 1, R).

    A product by diagonals is a loop that the compiler turns into vector instructions.
    """
    m = lams.shape[1]
    band = np.zeros((2 * m - 1, R))
    for level in range(len(layout.factor)):
        k, at = layout.factor[level], layout.start[level]
        for a in range(layout.q[k]):
            for b in range(layout.q[k]):
                band[a - b + m - 1, at + b] = lams[k, b, a] if transposed else lams[k, a, b]
    return band


@kernel
def _times_band(row, band, used, end, out):
    """out[:end] = (row Lambda)[:end]; `used` says which diagonals have elements."""
    middle = len(used) // 2
    for c in range(end):
        out[c] = row[c] * band[middle, c]
    for d in range(len(used)):
        shift = d - middle
        if d != middle and used[d]:
            for c in range(max(0, -shift), min(end, len(row) - shift)):
                out[c] += row[c + shift] * band[d, c]


@kernel
def _used(band):
    """Which diagonals of a band have elements that are not 0."""
    out = np.zeros(len(band), np.bool_)
    for d in range(len(band)):
        out[d] = np.any(band[d] != 0.0)
    return out


@kernel
def _scaled(layout, lams, S, H):
    """Lower triangle of H = I + Lambda'S Lambda; S is symmetric and full."""
    R = len(S)
    band = _band(layout, lams, False, R)
    used = _used(band)
    row = np.empty(R)
    for level in range(len(layout.factor)):
        k, at = layout.factor[level], layout.start[level]
        q = layout.q[k]
        end = at + q
        for b in range(q):
            f = lams[k, 0, b]
            for c in range(end):
                row[c] = f * S[at, c]
            for a in range(1, q):
                f = lams[k, a, b]
                if f != 0.0:
                    for c in range(end):
                        row[c] += f * S[at + a, c]
            _times_band(row[:end], band, used, end, H[at + b])
            H[at + b, at + b] += 1.0


@kernel
def _traces(layout, lams, S, inverse, slopes):
    """Add T_k lambda_k = sum of the diagonal blocks of S Lambda H^-1 to the slopes of the remainder's factors."""
    R = len(S)
    band = _band(layout, lams, True, R)
    used = _used(band)
    row = np.empty(R)
    for level in range(len(layout.factor)):
        k, at = layout.factor[level], layout.start[level]
        for b in range(layout.q[k]):
            _times_band(inverse[at + b], band, used, R, row)
            for a in range(layout.q[k]):
                slopes[k, a, b] += np.dot(S[at + a], row)


@kernel
def _tall_quadratic(layout, lams, lead, F, root, slope):
    """Subtract sum_j F_j Lambda H^-1 Lambda'F_j' from `slope` with C formed densely, H = root root'."""
    J, q, R = len(lead.ptr) - 1, F.shape[1], len(root)
    tall, row = np.zeros((J * q, R)), np.zeros(R)
    band = _band(layout, lams, False, R)
    used = _used(band)
    for j in range(J):
        for a in range(q):
            row[:] = 0.0
            for c in range(lead.ptr[j], lead.ptr[j + 1]):
                row[lead.cols[c]] = F[c, a]
            _times_band(row, band, used, R, tall[j * q + a])
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
        Moments of the leading factor.
    layout : Layout
        Where the factors' columns are.
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
    """S values, (R, m).

    Parameters
    ----------
    S : (R * R,) array
        From `Terms`.
    values : (R, m) array
        Columns over the remainder's random effects.

    Returns
    -------
    (R, m) array
    """
    R = len(values)
    return S.reshape((R, R)) @ values


@kernel
def dense_solve(terms, values):
    """H^-1 values, (R, m); after derivatives.

    Parameters
    ----------
    terms : Terms
        Names of the columns of X and Z, and of the grouping factor.
    values : (R, m) array
        Columns over the remainder's random effects.

    Returns
    -------
    (R, m) array
    """
    R = len(values)
    return terms.inverse.reshape((R, R)) @ values
