"""Profiles of the REML criterion: how far one parameter can go until the criterion has risen by a given amount."""

import numpy as np

from lmm.core.compiled import kernel
from lmm.inference.newton import SAFE, WALL, cholesky_of, criterion, newton, solve

INNER = np.int64(50)  # steps of Newton's method at one value of the parameter, at most


@kernel
def profile_limit(best, value, at, edge, target, pair, rows, cols, transform, gram, total, df, ml):
    """Where the profile of one coordinate rises `target` above the minimum, on the side of `edge`.

    The signed root of the rise is nearly linear in the coordinate (Bates et al. 2015, section 5.1), so Newton's
    method on it, kept inside a bracket, takes few steps; each begins on the tangent of the other coordinates' path.

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
    if abs(edge - best[at]) <= 1e-9:
        return edge, True
    full = criterion(best, pair, rows, cols, transform, gram, total, df, ml)[3]
    path, bend = _path(full, at)
    step = np.sqrt(2.0 * target / bend) if bend > 1e-12 else 1.0
    if at == pair and 1.0 - abs(best[at]) < WALL:  # no derivatives at the edge
        path[:] = 0.0
        step = 0.5
    else:
        start = best + path * (direction * step)
        start[at] = best[at] + direction * step
        model = (pair, rows, cols, transform, gram, total, df, ml)
        limit, found = _all_at_once(start, value, at, edge, target, direction, *model)
        if found:
            return limit, True

    low = best[at]  # nearer the optimum: rise below the target
    high, high_rise = edge, np.inf
    phi = best.copy()
    current = best[at] + direction * step
    ok = True
    for _ in range(40):
        beyond = direction * (current - high) >= 0.0
        if beyond:  # the edge itself, unless it is known to be too far
            current = 0.5 * (low + high) if np.isfinite(high_rise) or not np.isfinite(high) else high
        start = phi + path * (current - phi[at])
        if at == pair and min(start[pair - 1], start[pair + 1]) <= 0.0:
            start = phi.copy()
        start[at] = current
        found = newton(start, at, pair, rows, cols, transform, gram, total, df, ml, INNER)
        ok = found[4] or abs(found[1] - value - target) > 0.1 * target
        rise = max(found[1] - value, 0.0)
        # a correlation's search that stopped at the wall of a zero sd would begin the next one there
        inside = at != pair or min(found[0][pair - 1], found[0][pair + 1]) > 1e-9
        if inside and (found[4] or (at != pair and np.isfinite(rise))):
            phi = found[0]
            path, _ = _path(found[3], at)
        if current == edge and rise <= target:
            return edge, ok
        if rise > target:
            high, high_rise = current, rise
        else:
            low = current
        if abs(rise - target) < 1e-9 * target or abs(high - low) < 1e-12 * max(1.0, abs(low)):
            return current, ok
        # the profile's derivative is the criterion's in the coordinate: Newton's step on the root of the rise
        ahead = 0.5 * found[5][at] / np.sqrt(rise) if rise > 0.0 else 0.0
        if np.isfinite(rise) and direction * ahead > 1e-14:
            following = current + (np.sqrt(target) - np.sqrt(rise)) / ahead
        else:
            following = 0.5 * (low + high)
        if direction * (following - low) <= 0.0:
            following = 0.5 * (low + high) if np.isfinite(high) else low + 2.0 * (low - best[at])
        elif np.isfinite(high) and direction * (high - following) <= 0.0 and np.isfinite(high_rise):
            following = 0.5 * (low + high)
        current = following
    return current, False


@kernel
def _all_at_once(phi, value, at, edge, target, direction, pair, rows, cols, transform, gram, total, df, ml):
    """Where the criterion has risen by `target` and its gradient in all other coordinates is 0, by Newton's method.

    Returns the limit and whether it was found; not where the others' Hessian has no Cholesky factor, the profile
    falls or the edge is crossed. Source: Venzon & Moolgavkar 1988, Appl. Stat. 37, 87-94, on the root of the rise.
    """
    n = len(phi)
    rest = np.array([k for k in range(n) if k != at])
    inner, cross, slope = np.empty((n - 1, n - 1)), np.empty(n - 1), np.empty(n - 1)
    for _ in range(10):
        now, gradient, _, hessian = criterion(phi, pair, rows, cols, transform, gram, total, df, ml)
        if not np.isfinite(now) or not direction * (edge - phi[at]) > 0.0:
            break
        for a in range(n - 1):
            slope[a], cross[a] = gradient[rest[a]], hessian[rest[a], at]
            for b in range(n - 1):
                inner[a, b] = hessian[rest[a], rest[b]]
        root, scale, positive = cholesky_of(inner, SAFE)
        if not positive:
            break
        toward, along = solve(root, scale, slope), solve(root, scale, cross)
        left = toward @ slope  # twice what the others can still take off
        rise, ahead = now - value - 0.5 * left, gradient[at] - along @ slope
        if not (rise > 0.0 and direction * ahead > 0.0):
            break
        size = np.sqrt(rise)
        step = 2.0 * size * (np.sqrt(target) - size) / ahead
        if (
            abs(rise - target) < 1e-6 * target and left < 1e-6 * target
        ):  # its error is of the order of the square
            return phi[at] + step, True
        phi[at] += step
        for a in range(n - 1):
            phi[rest[a]] -= toward[a] + along[a] * step
    return edge, False


@kernel
def _path(hessian, at):
    """Change of the other coordinates' best values with one of them, (t + 1,), and the curvature of its profile."""
    m = len(hessian)
    rest = np.array([k for k in range(m) if k != at])
    inner, cross = np.empty((m - 1, m - 1)), np.empty(m - 1)
    for a in range(m - 1):
        cross[a] = hessian[rest[a], at]
        for b in range(m - 1):
            inner[a, b] = hessian[rest[a], rest[b]]
    roots, vectors = np.linalg.eigh(inner)
    path, bend = np.zeros(m), hessian[at, at]
    for k in range(m - 1):
        if roots[k] > 1e-7 * roots[-1]:
            along = (vectors[:, k] @ cross) / roots[k]
            bend -= along * (vectors[:, k] @ cross)
            for a in range(m - 1):
                path[rest[a]] -= vectors[a, k] * along
    return path, bend
