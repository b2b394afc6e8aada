"""Newton's method on the REML criterion, free and with one parameter held: the optimiser behind `reml`.

The coordinates phi are the free elements of L (a root of D, rows scaled and permuted as the caller likes) and
log sigma, both in the kernel's units. No element is bounded: the criterion is even in the columns of L, and a
bound at 0 creates stops that are no optima (Orthodont, docs/statistics.md, section 3).
"""

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.grouped import reml_terms

ROUND = 1e-13  # relative rounding error of the criterion
# Of the differences of the analytic gradient: error of order STEP^2, STEP where they are one-sided.
STEP = 1e-5
# No gradient beside: central differences. For callers; in a kernel a global array would be of a read-only type.
CENTRAL = np.zeros(0)
# Twice the fall of the criterion that a Newton step promises: above FAR a curvature to five digits does as well;
# below NEAR the same one serves the next step, while that promises at most SLOW of what the last one did.
FAR, NEAR, SLOW = 10.0, 1e-3, 1e-3


@kernel
def criterion(phi, pair, rows, cols, transform, gram, total, df, ml):
    """REML (or ML) criterion and gradient at phi; also the derivative in D (kernel's units, relative to sigma^2).

    Parameters
    ----------
    phi : (t + 1,) array
        Free elements of the (t free elements) lower triangular L, then log sigma.
    pair : int
        -1, or the index in phi of a correlation: phi[pair] = r and phi[pair + 1] = s stand for
        L[l, k] = s r and L[l, l] = s sqrt(1 - r^2). Neither s nor phi[pair - 1], the other sd, may be
        negative then (the criterion is infinite): with one of them below 0 the correlation is -r.
    rows, cols : (t,) int arrays
        Places of the free elements.
    transform : (q, q) array
        The kernel's Lambda is transform @ L / sigma.
    gram : packed (blocks, q, q + p + 1, lanes) array
        A_j, B_j and c_j of each group, by `lanes.pack`; kernel's coordinates.
    total : (p + 1, p + 1) array
        Gram matrix of [X y] over all rows, kernel's coordinates.
    df : int
        N - p for REML, N for maximum likelihood.
    ml : bool
        The criterion of maximum likelihood instead of REML's.

    Returns
    -------
    value : float
        Criterion without the problem's constant; inf where it has no value.
    gradient : (t + 1,) array
        In phi.
    slope : (q, q) array
        Derivative in D, relative to sigma^2.
    """
    q = transform.shape[0]
    t = len(rows)
    elements = phi[:t].copy()
    shrink = 1.0
    if pair >= 0:
        r = phi[pair]
        if not abs(r) <= 1.0 or phi[pair - 1] < 0.0 or phi[pair + 1] < 0.0:
            return np.inf, np.zeros(t + 1), np.zeros((q, q))
        shrink = np.sqrt(1.0 - r * r)
        elements[pair] = phi[pair + 1] * r
        elements[pair + 1] = phi[pair + 1] * shrink
    sigma = np.exp(phi[t])
    factor = np.zeros((q, q))
    for e in range(t):
        for a in range(q):
            factor[a, cols[e]] += transform[a, rows[e]] * elements[e] / sigma
    ridge = np.zeros_like(total)
    logdet, rss, _, _, d_logdet, d_rss = reml_terms(gram, total, factor, ridge, True, ml)
    s2 = sigma * sigma
    value = df * np.log(2.0 * np.pi * s2) + logdet + rss / s2
    slope = d_logdet + d_rss / s2
    d_factor = np.zeros((q, q))
    scale_slope = 0.0
    for a in range(q):
        for b in range(q):
            s = 0.0
            for k in range(q):
                s += slope[a, k] * factor[k, b]
            d_factor[a, b] = 2.0 * s
            scale_slope += 2.0 * s * factor[a, b]
    gradient = np.zeros(t + 1)
    for e in range(t):
        s = 0.0
        for a in range(q):
            s += transform[a, rows[e]] * d_factor[a, cols[e]]
        gradient[e] = s / sigma
    if pair >= 0:
        along, across = gradient[pair], gradient[pair + 1]
        gradient[pair + 1] = along * r + across * shrink
        tilt = 0.0 if shrink == 0.0 else across * r / shrink
        gradient[pair] = phi[pair + 1] * (along - tilt)
    gradient[t] = 2.0 * df - 2.0 * rss / s2 - scale_slope
    if not np.isfinite(value):
        return np.inf, gradient, slope
    return value, gradient, slope


@kernel
def hessian(phi, beside, held, pair, rows, cols, transform, gram, total, df, ml):
    """Hessian of the criterion by differences of its analytic gradient, (t + 1, t + 1).

    `beside` is the gradient at phi for one-sided differences, at half the price, and empty for central ones.
    Rows and columns of the `held` coordinate (-1: none) are left 0.

    Parameters
    ----------
    phi : (t + 1,) array
        Free elements of L and log sigma.
    beside : (t + 1,) array
        Gradient at phi for one-sided differences, at half the price; empty: central ones.
    held : int
        The coordinate that is not moved; -1: none.
    pair, rows, cols, transform, gram, total, df, ml : numbers and arrays
        See `criterion`.

    Returns
    -------
    (t + 1, t + 1) array
        Symmetric; rows and columns of the held coordinate are 0.
    """
    m = len(phi)
    out = np.zeros((m, m))
    for a in range(m):
        if a == held:
            continue
        h = STEP * max(1.0, abs(phi[a]))
        there = phi.copy()
        there[a] = phi[a] + h
        up = criterion(there, pair, rows, cols, transform, gram, total, df, ml)
        if len(beside) > 0:
            if np.isfinite(up[0]):
                out[a] = (up[1] - beside) / h
            continue
        there[a] = phi[a] - h
        down = criterion(there, pair, rows, cols, transform, gram, total, df, ml)
        if np.isfinite(up[0]) and np.isfinite(down[0]):
            out[a] = (up[1] - down[1]) / (2.0 * h)
    out = 0.5 * (out + out.T)
    if held >= 0:
        out[held, :] = 0.0
        out[:, held] = 0.0
    return out


@kernel
def newton(phi, held, pair, rows, cols, transform, gram, total, df, ml, iterations):
    """Minimise the criterion over all coordinates but `held`: `resume` from nothing known.

    Parameters
    ----------
    phi : (t + 1,) array
        Free elements of L and log sigma.
    held : int
        The coordinate that is not moved; -1: none.
    pair, rows, cols, transform, gram, total, df, ml : numbers and arrays
        See `criterion`.
    iterations : int
        At most so many steps.

    Returns
    -------
    tuple
        See `resume`.
    """
    unknown = np.zeros((len(phi), len(phi)))
    return resume(phi, unknown, np.inf, held, pair, rows, cols, transform, gram, total, df, ml, iterations)


@kernel
def resume(phi, curvature, before, held, pair, rows, cols, transform, gram, total, df, ml, iterations):
    """Minimise the criterion over all coordinates but `held`, leaving saddles along negative curvature.

    `curvature` and `before` are an earlier call's, which this one carries on to the bit; zeros and inf: none.

    Parameters
    ----------
    phi : (t + 1,) array
        Free elements of L and log sigma.
    curvature : (t + 1, t + 1) array
        An earlier call's Hessian; zeros: none.
    before : float
        What its last step promised; inf: nothing known.
    held : int
        The coordinate that is not moved; -1: none.
    pair, rows, cols, transform, gram, total, df, ml : numbers and arrays
        See `criterion`.
    iterations : int
        At most so many steps.

    Returns
    -------
    phi : (t + 1,) array
    value : float
    slope : (q, q) array
        Derivative in D (relative to sigma^2) there.
    curvature : (t + 1, t + 1) array
        Hessian of the last iteration that made one.
    converged : bool
        The gradient is zero to rounding and the Hessian has no negative eigenvalue.
    before : float
        What the last step promised: with phi and curvature all that the next iterations depend on.
    """
    phi = phi.copy()
    value, gradient, slope = criterion(phi, pair, rows, cols, transform, gram, total, df, ml)
    converged = False
    if not np.isfinite(value):
        return phi, value, slope, curvature, converged, before
    for _ in range(iterations):
        if held >= 0:
            gradient[held] = 0.0
        roots, vectors = np.linalg.eigh(curvature)
        bends_up = np.sum(roots > 1e-6 * np.abs(roots).max()) + (1 if held >= 0 else 0) == len(phi)
        # not for a correlation: central differences leave out a coordinate at its wall
        crude, kept = before > FAR and pair < 0, before < NEAR and bends_up
        while True:
            if not kept:
                beside = gradient if crude else np.zeros(0)
                curvature = hessian(phi, beside, held, pair, rows, cols, transform, gram, total, df, ml)
                roots, vectors = np.linalg.eigh(curvature)
            along = vectors.T @ gradient
            size = max(np.abs(roots).max(), 1e-300)
            move = np.zeros(len(phi))
            decrement = 0.0
            for k in range(len(phi)):
                bend = max(abs(roots[k]), 1e-9 * size)
                move -= vectors[:, k] * along[k] / bend
                decrement += along[k] ** 2 / bend
            if kept and decrement > SLOW * before:
                kept = False
            elif crude and decrement < NEAR:
                crude = False
            else:
                break
        before = decrement
        saddle = roots[0] < -1e-7 * size
        flat = decrement < 1e-8
        if saddle and flat:  # a stationary point that is no minimum: leave along the steepest bend
            sign = -1.0 if along[0] > 0.0 else 1.0
            move += sign * 0.5 * vectors[:, 0]
        longest = np.abs(move).max()
        if longest > 5.0:
            move *= 5.0 / longest
        slack = ROUND * (abs(value) + df)
        accepted, reach = False, 1.0
        for _ in range(40):
            trial = phi + reach * move
            new = criterion(trial, pair, rows, cols, transform, gram, total, df, ml)
            if new[0] <= value + slack and (new[0] < value or not saddle):
                accepted = True
                break
            reach *= 0.4
        if not accepted:
            converged = decrement < 1e-9 and not saddle
            break
        step = np.abs(reach * move).max()
        phi, value, gradient, slope = trial, new[0], new[1], new[2]
        if not saddle and decrement < 1e-15 * max(1.0, df * 1e-3):
            converged = True
            break
        if not saddle and step < 1e-13:
            converged = True
            break
    return phi, value, slope, curvature, converged, before


@kernel
def profile_limit(best, value, at, edge, target, pair, rows, cols, transform, gram, total, df, ml):
    """Where the profile of one coordinate rises `target` above the minimum, on the side of `edge`.

    The signed root of the rise is nearly linear in the coordinate (Bates et al. 2015, section 5.1), so a secant
    on it, kept inside a bracket, takes few steps.

    Parameters
    ----------
    best : (t + 1,) array
        The optimum.
    value : float
        Its criterion.
    at : int
        The coordinate.
    edge : float
        Where the parameter space ends on this side (inf: nowhere).
    target : float
        Rise of the criterion, e.g. the chi-square quantile.
    pair, rows, cols, transform, gram, total, df, ml : numbers and arrays
        See `criterion`.

    Returns
    -------
    limit : float
        `edge` where the profile never rises that high before it.
    ok : bool
        Every inner minimisation converged.
    """
    direction = 1.0 if edge > best[at] else -1.0
    m = len(best)
    if abs(edge - best[at]) <= 1e-9:
        return edge, True
    full = hessian(best, np.zeros(0), -1, pair, rows, cols, transform, gram, total, df, ml)
    # the nuisance coordinates' path to first order, and the curvature of the profile
    rest = np.array([k for k in range(m) if k != at])
    inner = np.empty((m - 1, m - 1))
    cross = np.empty(m - 1)
    for a in range(m - 1):
        cross[a] = full[rest[a], at]
        for b in range(m - 1):
            inner[a, b] = full[rest[a], rest[b]]
    roots, vectors = np.linalg.eigh(inner)
    slope = np.zeros(m - 1)
    for k in range(m - 1):
        if roots[k] > 1e-7 * roots[-1]:
            slope -= vectors[:, k] * (vectors[:, k] @ cross) / roots[k]
    bend = full[at, at] + cross @ slope
    step = np.sqrt(2.0 * target / bend) if bend > 1e-12 else 1.0
    if at == pair and 1.0 - abs(best[at]) < 2.0 * STEP:  # no differences across the edge
        slope[:] = 0.0
        step = 0.5

    low = best[at]  # nearer the optimum: rise below the target
    high, high_rise = edge, np.inf
    phi = best.copy()
    previous, current = best[at], best[at] + direction * step
    rise_before, ok = 0.0, True
    for _ in range(40):
        beyond = direction * (current - high) >= 0.0
        if beyond:  # the edge itself, unless it is known to be too far
            current = 0.5 * (low + high) if np.isfinite(high_rise) or not np.isfinite(high) else high
        start = phi.copy()
        start[rest] += slope * (current - phi[at])
        if at == pair and min(start[pair - 1], start[pair + 1]) <= 0.0:
            start = phi.copy()
        start[at] = current
        found = newton(start, at, pair, rows, cols, transform, gram, total, df, ml, 50)
        ok = found[4] or abs(found[1] - value - target) > 0.1 * target
        rise = max(found[1] - value, 0.0)
        # a correlation's search that stopped at the wall of a zero sd would begin the next one there
        if found[4] or (at != pair and np.isfinite(rise)):
            phi = found[0]
        if current == edge and rise <= target:
            return edge, ok
        if rise > target:
            high, high_rise = current, rise
        else:
            low = current
        if abs(rise - target) < 1e-9 * target or abs(high - low) < 1e-12 * max(1.0, abs(low)):
            return current, ok
        root, root_before = np.sqrt(rise), np.sqrt(rise_before)
        ahead = root - root_before
        if np.isfinite(rise) and abs(ahead) > 1e-14:
            following = current + (np.sqrt(target) - root) * (current - previous) / ahead
        else:
            following = 0.5 * (low + high)
        previous, rise_before = current, rise
        if direction * (following - low) <= 0.0:
            following = 0.5 * (low + high) if np.isfinite(high) else low + 2.0 * (low - best[at])
        elif np.isfinite(high) and direction * (high - following) <= 0.0 and np.isfinite(high_rise):
            following = 0.5 * (low + high)
        current = following
    return current, False
