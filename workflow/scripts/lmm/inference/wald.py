"""Standard errors of variance parameters and Satterthwaite's degrees of freedom from the criterion's Hessian.

Both by the delta method at a stop of the optimiser, in its own coordinates phi: the covariance matrix of phi is twice
the inverse of the Hessian of -2 log L (docs/statistics.md, sections 2 and 11).
"""

import numpy as np

from lmm.core.compiled import kernel
from lmm.inference.descent import relative_factor
from lmm.inference.newton import cholesky_of, solve
from lmm.likelihood.curvature import second_terms
from lmm.likelihood.grouped import reml_terms

# Directions of the Hessian, scaled to a unit diagonal, that count as flat (a rotation of L at a singular fit).
FLAT = 1e-9
# An sd below this, relative to sigma in standardised columns, is 0: its correlations are undefined.
ZERO = 1e-8


@kernel
def values_at(phi, rows, cols, pairs, z_map, y_scale):
    """sd's, correlations and the residual sd in original units, and their derivatives in phi.

    Parameters
    ----------
    phi : (t + 1,) array
        Free elements of L and log sigma, kernel's units.
    rows, cols : (t,) int arrays
        Places of the free elements.
    pairs : (c, 2) int array
        Effects whose correlation is a parameter.
    z_map : (q, q) array
        L in original units is z_map @ L.
    y_scale : float
        Of sigma.

    Returns
    -------
    values : (q + c + 1,) array
        In the order of `Structure.terms`; a correlation with an sd of 0 is NaN.
    jacobian : (q + c + 1, t + 1) array
        NaN where an sd is 0.
    """
    q, t, c = len(z_map), len(rows), len(pairs)
    root = np.zeros((q, q))
    for e in range(t):
        for a in range(q):
            root[a, cols[e]] += z_map[a, rows[e]] * phi[e]
    values, jacobian = np.empty(q + c + 1), np.zeros((q + c + 1, t + 1))
    sigma = np.exp(phi[t])
    for a in range(q):
        values[a] = np.sqrt(np.sum(root[a] ** 2))
        if values[a] < ZERO * sigma * abs(z_map[a, a]):
            values[a] = 0.0
        for e in range(t):
            jacobian[a, e] = z_map[a, rows[e]] * root[a, cols[e]] / values[a]
    for i in range(c):
        a, b = pairs[i]
        size = values[a] * values[b]
        values[q + i] = np.sum(root[a] * root[b]) / size if size > 0.0 else np.nan
        for e in range(t):
            moved = z_map[a, rows[e]] * root[b, cols[e]] + root[a, cols[e]] * z_map[b, rows[e]]
            jacobian[q + i, e] = moved / size - values[q + i] * (
                jacobian[a, e] / values[a] + jacobian[b, e] / values[b]
            )
    values[q + c] = jacobian[q + c, t] = y_scale * sigma
    return values, jacobian


@kernel
def spread_of(hessian):
    """Covariance matrix of phi, (t + 1, t + 1): twice the inverse Hessian, without its flat directions.

    Parameters
    ----------
    hessian : (t + 1, t + 1) array
        Of -2 log L.

    Returns
    -------
    (t + 1, t + 1) array
    """
    n = len(hessian)
    out = np.zeros((n, n))
    root, scale, positive = cholesky_of(hessian, 1e3 * FLAT)
    if positive:
        unit = np.zeros(n)
        for a in range(n):
            unit[:] = 0.0
            unit[a] = 2.0
            out[a] = solve(root, scale, unit)
        return out
    unit = np.zeros(n)
    for a in range(n):
        unit[a] = 1.0 / np.sqrt(hessian[a, a]) if hessian[a, a] > 0.0 else 0.0
    values, vectors = np.linalg.eigh(hessian * np.outer(unit, unit))
    for k in range(n):
        if values[k] > FLAT:
            scaled = vectors[:, k] * unit
            out += np.outer(scaled, scaled) * (2.0 / values[k])
    return out


@kernel
def errors_at(hessian, singular, jacobian):
    """Of the variance parameters; NaN for every parameter of D at a singular fit, where sigma's holds D fixed.

    Parameters
    ----------
    hessian : (t + 1, t + 1) array
        Of -2 log L.
    singular : bool
        D has no full rank.
    jacobian : (k, t + 1) array
        From `values_at`.

    Returns
    -------
    (k,) array
    """
    k = len(jacobian)
    out = np.full(k, np.nan)
    if singular:
        out[-1] = jacobian[-1, -1] * np.sqrt(2.0 / hessian[-1, -1])
        return out
    spread = spread_of(hessian)
    for a in range(k):
        out[a] = np.sqrt(max(np.sum(np.outer(jacobian[a], jacobian[a]) * spread), 0.0))
    return out


@kernel
def fixed_effects_at(phi, hessian, rows, cols, gram, total, x_map, ml):
    """GLS estimates, their standard errors and Satterthwaite's degrees of freedom, one by one.

    Parameters
    ----------
    phi : (t + 1,) array
        The optimum.
    hessian : (t + 1, t + 1) array
        Of -2 log L there.
    rows, cols, gram, total, ml : numbers and arrays
        See `newton.criterion`.
    x_map : (p, p) array
        beta = x_map @ (beta in the kernel's coordinates), an offset apart.

    Returns
    -------
    beta, errors, df : (p,) arrays
        beta without the offset; df inf where the variance depends on no parameter.
    """
    q, p, t = gram.shape[1], len(x_map), len(rows)
    sigma = np.exp(phi[t])
    factor = relative_factor(phi, rows, cols, q)
    _, _, gamma, root, _, _ = reml_terms(gram, total, factor, np.zeros_like(total), False, ml)
    _, _, pulls = second_terms(gram, factor, gamma, root, ml)
    spread = spread_of(hessian)
    errors, df = np.empty(p), np.empty(p)
    u, gradient = np.empty(p), np.empty(t + 1)
    for k in range(p):
        for a in range(p):
            s = x_map[k, a]
            for b in range(a):
                s -= root[a, b] * u[b]
            u[a] = s / root[a, a]
        variance = np.sum(u * u)
        gradient[t] = 2.0 * variance
        for e in range(t):
            gradient[e] = 0.0
        i = 0
        for a in range(q):
            for b in range(a + 1):
                pull = u @ (pulls[i] @ u)
                for e in range(t):  # of D / sigma^2 in an element of L
                    if rows[e] == a:
                        gradient[e] += pull * factor[b, cols[e]] / sigma
                    if rows[e] == b:
                        gradient[e] += pull * factor[a, cols[e]] / sigma
                    gradient[t] -= 2.0 * pull * factor[a, cols[e]] * factor[b, cols[e]] * (rows[e] == a)
                i += 1
        errors[k] = sigma * np.sqrt(variance)
        df[k] = 2.0 * variance**2 / (gradient @ (spread @ gradient))
    return x_map @ gamma, errors, df
