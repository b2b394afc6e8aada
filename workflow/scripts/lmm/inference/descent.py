"""From starting values to a stop of the optimiser that is certified to second order, in one compiled piece.

Where D is singular, the derivative in L vanishes in the directions that D lacks whatever the data say; the derivative
in D does not. A stop is certified if the gradient is zero, the Hessian has no negative eigenvalue and the derivative
in D is positive semidefinite in every block (docs/statistics.md, section 3).
"""

import numpy as np

from lmm.core.compiled import kernel
from lmm.inference.newton import NONE, newton
from lmm.likelihood.grouped import reml_terms

SINGULAR = 1e-5  # smallest diagonal element of the relative factor, cf. lme4's isSingular (1e-4)
GRID = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # Lambda = c I, in the kernel's units, where columns have unit scale
ITERATIONS = np.int64(200)  # of Newton's method, at most
ROUNDS = 20  # of Newton's method and escapes from a saddle, at most
GOING_ON, CERTIFIED, GIVEN_UP = 0, 1, 2
ROUNDING = 8 * np.finfo(float).eps  # of a sum of squares, relative; errors of its terms largely cancel
DIGITS = 1e-4  # of the residual sd, relative: what rounding may change it by


@kernel
def relative_factor(phi, rows, cols, q):
    """L / sigma, (q, q), from its free elements and log sigma.

    Parameters
    ----------
    phi : (t + 1,) array
        Free elements of L and log sigma.
    rows, cols : (t,) int arrays
        Places of the free elements.
    q : int
        Random effects per group.

    Returns
    -------
    (q, q) array
    """
    t = len(rows)
    factor = np.zeros((q, q))
    for e in range(t):
        factor[rows[e], cols[e]] = phi[e] / np.exp(phi[t])
    return factor


@kernel
def profiled(factor, rows, cols, gram, total, df, ml):
    """The criterion at a relative factor with the best sigma, which has a closed form, and phi there.

    Parameters
    ----------
    factor : (q, q) array
        Lower triangular L / sigma.
    rows, cols, gram, total, df, ml : numbers and arrays
        See `newton.criterion`.

    Returns
    -------
    value : float
        Without the problem's constant; inf where the criterion has no value.
    phi : (t + 1,) array
    """
    t = len(rows)
    phi = np.zeros(t + 1)
    logdet, rss, _, _, _, _ = reml_terms(gram, total, factor, np.zeros_like(total), False, ml)
    if not (np.isfinite(logdet) and rss > 0.0):
        return np.inf, phi
    sigma = np.sqrt(rss / df)
    for e in range(t):
        phi[e] = factor[rows[e], cols[e]] * sigma
    phi[t] = np.log(sigma)
    return logdet + df * (np.log(2.0 * np.pi * sigma * sigma) + 1.0), phi


@kernel
def grid_of_starts(rows, cols, gram, total, df, ml):
    """phi at the points of `GRID` at which the criterion has a value, the best of them first, (n, t + 1).

    Parameters
    ----------
    rows, cols, gram, total, df, ml : numbers and arrays
        See `newton.criterion`.

    Returns
    -------
    (n, t + 1) array
        All points where there is no value anywhere.
    """
    q = gram.shape[1]
    found, values = np.zeros((len(GRID), len(rows) + 1)), np.full(len(GRID), np.inf)
    for k in range(len(GRID)):
        values[k], found[k] = profiled(GRID[k] * np.eye(q), rows, cols, gram, total, df, ml)
    best = int(np.argmin(values))
    if not np.isfinite(values[best]):
        return found
    others = np.isfinite(values)
    others[best] = False
    return np.concatenate((found[best : best + 1], found[others]))


@kernel
def _lower(matrix):
    """The lower triangular L with L L' = matrix matrix' and a non-negative diagonal."""
    root = np.linalg.qr(np.ascontiguousarray(matrix.T))[1].T.copy()
    for k in range(len(root)):
        if root[k, k] < 0.0:
            root[:, k] *= -1.0
    return root


@kernel
def advance(phi, iterations, spans, rows, cols, gram, total, df, ml):
    """Newton's method from phi and, where it ends at a saddle at the boundary, the way out of it.

    Parameters
    ----------
    phi : (t + 1,) array
        Free elements of L and log sigma.
    iterations : int
        Of Newton's method, at most.
    spans : (blocks, 2) int array
        First row of each block of random effects, and the one after its last.
    rows, cols, gram, total, df, ml : numbers and arrays
        See `newton.criterion`.

    Returns
    -------
    phi : (t + 1,) array
    value : float
        The criterion there, without the problem's constant.
    hessian : (t + 1, t + 1) array
        Of the criterion at the end of Newton's method.
    state : int
        `GOING_ON`, `CERTIFIED` or `GIVEN_UP`.
    """
    q = gram.shape[1]
    found, value, slope, hessian, converged, _ = newton(
        phi, NONE, NONE, rows, cols, np.eye(q), gram, total, df, ml, iterations
    )
    if not converged:
        moved = iterations < ITERATIONS and np.any(found != phi)
        return found, value, hessian, GOING_ON if moved else GIVEN_UP
    factor = relative_factor(found, rows, cols, q)
    d_logdet = reml_terms(gram, total, factor, np.zeros_like(total), True, ml)[4]
    worst = -1e-7 * max(np.abs(d_logdet).max(), 1e-3 * gram.shape[0] * gram.shape[3])
    place, direction = -1, np.zeros(0)
    for block in range(len(spans)):
        start, stop = spans[block]
        values, vectors = np.linalg.eigh(slope[start:stop, start:stop])
        if values[0] < worst:
            worst, place, direction = values[0], block, vectors[:, 0].copy()
    if place < 0:
        return found, value, hessian, CERTIFIED
    start, stop = spans[place]
    best, after, state = value, found, GIVEN_UP
    for power in range(-4, 2):  # grow D along the direction and keep the best
        widened = np.zeros((stop - start, stop - start + 1))
        widened[:, :-1] = factor[start:stop, start:stop]
        widened[:, -1] = 10.0 ** (0.5 * power) * direction
        grown = factor.copy()
        grown[start:stop, start:stop] = _lower(widened)
        trial, there = profiled(grown, rows, cols, gram, total, df, ml)
        if trial < best:
            best, after, state = trial, there, GOING_ON
    return after, best, hessian, state


@kernel
def is_singular(phi, rows, cols):
    """Whether D has no full rank in some block: a diagonal element of the relative factor is below `SINGULAR`.

    Parameters
    ----------
    phi : (t + 1,) array
        Free elements of L and log sigma.
    rows, cols : (t,) int arrays
        Places of the free elements.

    Returns
    -------
    bool
    """
    t = len(rows)
    least = np.inf
    for e in range(t):
        if rows[e] == cols[e]:
            least = min(least, abs(phi[e]))
    return least < SINGULAR * np.exp(phi[t])


@kernel
def best_stop(starts, spans, rows, cols, gram, total, df, ml):
    """The first stop that is certified and not singular or, of all starts, the best certified one, else the best.

    Parameters
    ----------
    starts : (n, t + 1) array
        Free elements of L and log sigma.
    spans, rows, cols, gram, total, df, ml : numbers and arrays
        See `advance`.

    Returns
    -------
    phi : (t + 1,) array
    value : float
        The criterion there, without the problem's constant.
    hessian : (t + 1, t + 1) array
    certified : bool
    """
    kept = (starts[0], np.inf, np.zeros((starts.shape[1], starts.shape[1])), False)
    for k in range(len(starts)):
        phi, state = starts[k], GOING_ON
        value, hessian = np.inf, kept[2]
        for _ in range(ROUNDS):
            phi, value, hessian, state = advance(phi, ITERATIONS, spans, rows, cols, gram, total, df, ml)
            if state != GOING_ON:
                break
        certified = state == CERTIFIED
        if k == 0 or (certified and not kept[3]) or (certified == kept[3] and value < kept[1]):
            kept = (phi, value, hessian, certified)
        if certified and not is_singular(phi, rows, cols):
            break
    return kept
