"""Newton's method on the REML criterion, free and with one parameter held: the optimiser behind `reml`.

The coordinates phi are the free elements of L (a root of D, rows scaled and permuted as the caller likes) and
log sigma, both in the kernel's units. No element is bounded: the criterion is even in the columns of L, and a
bound at 0 creates stops that are no optima (Orthodont, docs/statistics.md, section 3).
"""

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.curvature import second_terms
from lmm.likelihood.grouped import reml_terms
from lmm.likelihood.whitened import without_floor

# numbers of a NumPy type: numba compiles a function once more for each Python number that it is given as a constant
NONE = np.int64(-1)  # no coordinate
ROUND = 1e-13  # relative rounding error of the criterion
WALL = 2e-5  # a correlation this near to +-1 is at the edge, where its derivatives are infinite
SAFE = 1e-7  # pivots of the scaled Hessian above which its Cholesky factor gives the step


@kernel
def criterion(phi, pair, rows, cols, transform, gram, total, df, ml):
    """REML (or ML) criterion, gradient and Hessian at phi; also the derivative in D (relative to sigma^2).

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
    transform : (q, q) or (q, q + k) array
        A root of D / sigma^2 is transform[:, :q] @ L / sigma in the kernel's coordinates. Behind it a root of the
        floor, which is subtracted from D / sigma^2 in the kernel's Lambda (`likelihood.whitened`).
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
    hessian : (t + 1, t + 1) array
        In phi; the row and column of a correlation of +-1 are 0.
    """
    q, t = transform.shape[0], len(rows)
    gradient, slope, hessian = np.zeros(t + 1), np.zeros((q, q)), np.zeros((t + 1, t + 1))
    elements = phi[:t].copy()
    shrink = 1.0
    if pair >= 0:
        r = phi[pair]
        if not abs(r) <= 1.0 or phi[pair - 1] < 0.0 or phi[pair + 1] < 0.0:
            return np.inf, gradient, slope, hessian
        shrink = np.sqrt(1.0 - r * r)
        elements[pair] = phi[pair + 1] * r
        elements[pair + 1] = phi[pair + 1] * shrink
    sigma = np.exp(phi[t])
    factor = np.zeros((q, q))
    for e in range(t):
        for a in range(q):
            factor[a, cols[e]] += transform[a, rows[e]] * elements[e] / sigma
    own = factor
    if transform.shape[1] > q:
        own, found = without_floor(factor, np.ascontiguousarray(transform[:, q:]))
        if not found:
            return np.inf, gradient, slope, hessian
    logdet, rss, beta, root, d_logdet, d_rss = reml_terms(gram, total, own, np.zeros_like(total), True, ml)
    s2 = sigma * sigma
    value = df * np.log(2.0 * np.pi * s2) + logdet + rss / s2
    if not np.isfinite(value):
        return np.inf, gradient, slope, hessian
    slope += d_logdet + d_rss / s2
    d2_logdet, d2_rss, _ = second_terms(gram, own, beta, root, ml)
    _chain(elements, rows, cols, transform, factor, sigma, slope, d2_logdet + d2_rss / s2, gradient, hessian)
    for e in range(t + 1):  # sigma beside D / sigma^2: df log sigma^2 + rss / sigma^2
        moved = _along(e, rows, cols, transform, factor, sigma)
        mixed = -2.0 * np.sum(d_rss * moved) / s2
        hessian[e, t] += mixed
        hessian[t, e] += mixed
    gradient[t] += 2.0 * df - 2.0 * rss / s2
    hessian[t, t] += 4.0 * rss / s2
    if pair >= 0:
        _turn(phi[pair], phi[pair + 1], shrink, pair, gradient, hessian)
    return value, gradient, slope, hessian


@kernel
def _along(e, rows, cols, transform, factor, sigma):
    """Derivative of D / sigma^2 in an element of L, or (e = t) in log sigma: (q, q)."""
    q = len(factor)
    out = np.empty((q, q))
    for a in range(q):
        for b in range(q):
            if e == len(rows):
                s = 0.0
                for k in range(q):
                    s += factor[a, k] * factor[b, k]
                out[a, b] = -2.0 * s
            else:
                first = transform[a, rows[e]] * factor[b, cols[e]]
                out[a, b] = (first + transform[b, rows[e]] * factor[a, cols[e]]) / sigma
    return out


@kernel
def _chain(elements, rows, cols, transform, factor, sigma, slope, bend, gradient, hessian):
    """Add the derivatives in phi of a function of D / sigma^2: `slope` (q, q) and `bend` (m, m) are those in it."""
    q, t = len(factor), len(rows)
    m = len(bend)
    moves = np.empty((t + 1, m))
    for e in range(t + 1):
        moved = _along(e, rows, cols, transform, factor, sigma)
        gradient[e] += np.sum(slope * moved)
        i = 0
        for a in range(q):
            for b in range(a + 1):
                moves[e, i] = moved[a, b]
                i += 1
    through = transform.T @ slope @ transform
    for e in range(t + 1):
        for f in range(e + 1):
            s = 0.0
            for i in range(m):
                for k in range(m):
                    s += moves[e, i] * bend[i, k] * moves[f, k]
            if e < t and cols[e] == cols[f]:
                s += 2.0 * through[rows[e], rows[f]] / sigma**2
            elif e == t:  # D / sigma^2 falls with sigma^2, whatever moves D
                s -= 2.0 * gradient[f]
            hessian[e, f] += s
            if f < e:
                hessian[f, e] += s


@kernel
def _turn(r, s, shrink, pair, gradient, hessian):
    """From the elements s r and s sqrt(1 - r^2) of L to r and s, in place."""
    along, across = gradient[pair], gradient[pair + 1]
    edge = 1.0 - abs(r) < WALL
    tilt = 0.0 if edge else r / shrink
    # rows: derivatives of the two elements in r and s
    first, second = (0.0 if edge else s), -s * tilt
    gradient[pair] = along * s - (0.0 if shrink == 0.0 else across * s * r / shrink)
    gradient[pair + 1] = along * r + across * shrink
    for e in range(len(gradient)):
        x, y = hessian[pair, e], hessian[pair + 1, e]
        hessian[pair, e], hessian[pair + 1, e] = x * first + y * second, x * r + y * shrink
    for e in range(len(gradient)):
        x, y = hessian[e, pair], hessian[e, pair + 1]
        hessian[e, pair], hessian[e, pair + 1] = x * first + y * second, x * r + y * shrink
    if not edge:
        hessian[pair, pair] -= across * s / shrink**3
        hessian[pair, pair + 1] += along - across * tilt
        hessian[pair + 1, pair] += along - across * tilt


@kernel
def cholesky_of(matrix, least):
    """Lower Cholesky factor of a symmetric matrix scaled to a unit diagonal, the scale, and whether there is one.

    Parameters
    ----------
    matrix : (n, n) array
        Symmetric.
    least : float
        Pivots of the scaled matrix that count as positive.

    Returns
    -------
    root : (n, n) array
    scale : (n,) array
        matrix = scale root root' scale.
    positive : bool
    """
    n = len(matrix)
    root, scale = np.zeros((n, n)), np.empty(n)
    for a in range(n):
        if not matrix[a, a] > 0.0:
            return root, scale, False
        scale[a] = np.sqrt(matrix[a, a])
        for b in range(a + 1):
            s = matrix[a, b] / (scale[a] * scale[b])
            for k in range(b):
                s -= root[a, k] * root[b, k]
            if a == b:
                if not s > least:
                    return root, scale, False
                root[a, a] = np.sqrt(s)
            else:
                root[a, b] = s / root[b, b]
    return root, scale, True


@kernel
def solve(root, scale, right):
    """The solution of matrix x = right, (n,), from `cholesky_of` matrix.

    Parameters
    ----------
    root, scale : (n, n), (n,) arrays
        From `cholesky_of`.
    right : (n,) array
        Right-hand side.

    Returns
    -------
    (n,) array
    """
    n = len(right)
    x = np.empty(n)
    for a in range(n):
        s = right[a] / scale[a]
        for k in range(a):
            s -= root[a, k] * x[k]
        x[a] = s / root[a, a]
    for a in range(n - 1, -1, -1):
        s = x[a]
        for k in range(a + 1, n):
            s -= root[k, a] * x[k]
        x[a] = s / root[a, a]
    return x / scale


@kernel
def _step(gradient, hessian, held):
    """Newton's step, twice the fall that it promises, and whether the Hessian has a negative eigenvalue.

    Where the Hessian is not safely positive definite, a step along the absolute values of its eigenvalues that
    leaves a stationary point along the steepest negative bend.
    """
    n = len(gradient)
    free = np.array([k for k in range(n) if k != held])
    m = len(free)
    inner, slope, move = np.empty((m, m)), np.empty(m), np.zeros(n)
    for a in range(m):
        slope[a] = gradient[free[a]]
        for b in range(m):
            inner[a, b] = hessian[free[a], free[b]]
    root, scale, positive = cholesky_of(inner, SAFE)
    if positive:
        solved = solve(root, scale, slope)
        decrement = 0.0
        for a in range(m):
            move[free[a]] = -solved[a]
            decrement += solved[a] * slope[a]
        return move, decrement, False
    values, vectors = np.linalg.eigh(inner)
    along = vectors.T @ slope
    size = max(np.abs(values).max(), 1e-300)
    step, decrement = np.zeros(m), 0.0
    for k in range(m):
        bend = max(abs(values[k]), 1e-9 * size)
        step -= vectors[:, k] * along[k] / bend
        decrement += along[k] ** 2 / bend
    saddle = values[0] < -1e-7 * size
    if saddle and decrement < 1e-8:  # a stationary point that is no minimum: leave along the steepest bend
        step += (-0.5 if along[0] > 0.0 else 0.5) * vectors[:, 0]
    for a in range(m):
        move[free[a]] = step[a]
    return move, decrement, saddle


@kernel
def newton(phi, held, pair, rows, cols, transform, gram, total, df, ml, iterations):
    """Minimise the criterion over all coordinates but `held`, leaving saddles along negative curvature.

    Begun again where it ended after fewer iterations, it goes on as if it had not been interrupted.

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
    phi : (t + 1,) array
    value : float
    slope : (q, q) array
        Derivative in D (relative to sigma^2) there.
    hessian : (t + 1, t + 1) array
        There.
    converged : bool
        The gradient is zero to rounding and the Hessian has no negative eigenvalue.
    gradient : (t + 1,) array
        There.
    """
    phi = phi.copy()
    value, gradient, slope, hessian = criterion(phi, pair, rows, cols, transform, gram, total, df, ml)
    converged = False
    if not np.isfinite(value):
        return phi, value, slope, hessian, converged, gradient
    for _ in range(iterations):
        move, decrement, saddle = _step(gradient, hessian, held)
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
        phi = trial
        value, gradient, slope, hessian = new
        if not saddle and (decrement < 1e-15 * max(1.0, df * 1e-3) or step < 1e-13):
            converged = True
            break
    return phi, value, slope, hessian, converged, gradient
