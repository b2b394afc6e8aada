"""What the dense and the sparse remainder share: fixed effects as a border, scaling, and the results.

The remainder holds the random effects of all factors but the leading one, R columns. With Lambda the block diagonal
matrix of their relative factors, H = I + Lambda'S Lambda, and the fixed effects a border of H, everything comes from
U = H^-1 Lambda'S_edge (docs/statistics.md, section 10, where H includes the border).
"""

from typing import NamedTuple

import numpy as np

from lmm.core.compiled import kernel


class Layout(NamedTuple):
    """Where the factors' columns are; the leading factor is number 0.

    Attributes
    ----------
    q : (K,) int array
        Random effects per level.
    start : (n + 1,) int array
        First column of each level in the remainder, level after level as they stand there; then R.
    factor : (n,) int array
        The factor of each of these levels.
    factor_of : (R,) int array
        The factor of each column.
    """

    q: np.ndarray
    start: np.ndarray
    factor: np.ndarray
    factor_of: np.ndarray


class Terms(NamedTuple):
    """The criterion's terms at one Lambda, and what derivatives and random effects need; all relative to sigma^2.

    Attributes
    ----------
    logdet, rss : float
        log|V / sigma^2|, with log|X'V^-1 X| for REML, and y'P y; NaN where X'V^-1 X is not positive definite.
    beta : (p,) array
        GLS estimate.
    phi : (p, p) array
        (X'V^-1 X)^-1.
    u : (R, p + 1) array
        H^-1 Lambda'Z_rest'V_0^-1 [X, y - X beta], V_0 the leading factor's V.
    slopes : (K, m, m) array
        T_k lambda_k, derivatives of logdet in D_k times lambda_k; T_0 itself for the leading factor.
    kept : (J, q, q) array
        A_j - A_j V_j A_j.
    F, FL : (c, q) arrays
        (I - A_j V_j) C_j, and times Lambda.
    e0, fixed0 : (J, q), (J, q, p) arrays
        Z_j'P y and Z_j'V^-1 X of the leading factor.
    e, fixed : (R,), (R, p) arrays
        The same of the remainder's columns.
    S, inverse : flat arrays
        S, and H^-1 (on the pattern of its Cholesky factor where sparse).
    root : flat array
        Sparse: the Cholesky factor of H; empty where dense.
    """

    logdet: float
    rss: float
    beta: np.ndarray
    phi: np.ndarray
    u: np.ndarray
    slopes: np.ndarray
    kept: np.ndarray
    F: np.ndarray
    FL: np.ndarray
    e0: np.ndarray
    fixed0: np.ndarray
    e: np.ndarray
    fixed: np.ndarray
    S: np.ndarray
    inverse: np.ndarray
    root: np.ndarray


@kernel
def scaled_rows(layout, lams, values):
    """Lambda'values, (R, m), for values (R, m).

    Parameters
    ----------
    layout : Layout
        Where the factors' columns are.
    lams : (K, m, m) array
        lambda_k in the first q_k rows and columns, the leading factor's first; from `SeveralProblem.packed`.
    values : (R, m) array
        Columns over the remainder's random effects.

    Returns
    -------
    (R, m) array
    """
    out = np.empty_like(values)
    for level in range(len(layout.factor)):
        k, at = layout.factor[level], layout.start[level]
        for b in range(layout.q[k]):
            for m in range(values.shape[1]):
                s = 0.0
                for a in range(layout.q[k]):
                    s += lams[k, a, b] * values[at + a, m]
                out[at + b, m] = s
    return out


@kernel
def unscaled_rows(layout, lams, values):
    """Lambda values, (R, m), for values (R, m).

    Parameters
    ----------
    layout : Layout
        Where the factors' columns are.
    lams : (K, m, m) array
        lambda_k in the first q_k rows and columns, the leading factor's first; from `SeveralProblem.packed`.
    values : (R, m) array
        Columns over the remainder's random effects.

    Returns
    -------
    (R, m) array
    """
    out = np.empty_like(values)
    for level in range(len(layout.factor)):
        k, at = layout.factor[level], layout.start[level]
        for a in range(layout.q[k]):
            for m in range(values.shape[1]):
                s = 0.0
                for b in range(layout.q[k]):
                    s += lams[k, a, b] * values[at + b, m]
                out[at + a, m] = s
    return out


@kernel
def solve_border(total, rhs, u):
    """GLS from the border: subtracts rhs'u from `total` = S_total and solves.

    Parameters
    ----------
    total : (p + 1, p + 1) array
        S_total.
    rhs, u : (R, p + 1) arrays
        Lambda'S_edge and H^-1 Lambda'S_edge.

    Returns
    -------
    logdet : float
        log|X'V^-1 X|; NaN where it is not positive definite.
    rss : float
    beta, phi : (p,), (p, p) arrays
    """
    w = len(total)
    p = w - 1
    schur = total - rhs.T @ u
    root, z = np.zeros((p, p)), np.zeros(p)
    beta, phi = np.zeros(p), np.zeros((p, p))
    rss, logdet = schur[p, p], 0.0
    for a in range(p):
        for b in range(a + 1):
            s = schur[a, b]
            for k in range(b):
                s -= root[a, k] * root[b, k]
            if a == b:
                if not s > 0.0:
                    return np.nan, np.nan, beta, phi
                logdet += np.log(s)
                root[a, a] = np.sqrt(s)
            else:
                root[a, b] = s / root[b, b]
        s = schur[p, a]
        for k in range(a):
            s -= z[k] * root[a, k]
        z[a] = s / root[a, a]
        rss -= z[a] * z[a]
    for column in range(p + 1):  # root^-T root^-1 of the unit vectors, and root^-T z
        x = z.copy()
        if column < p:
            x[:] = 0.0
            for a in range(column, p):
                s = 1.0 if a == column else 0.0
                for k in range(column, a):
                    s -= root[a, k] * x[k]
                x[a] = s / root[a, a]
        for a in range(p - 1, -1, -1):
            s = x[a]
            for k in range(a + 1, p):
                s -= root[k, a] * x[k]
            x[a] = s / root[a, a]
        if column < p:
            phi[:, column] = x
        else:
            beta[:] = x
    return logdet, rss, beta, phi


@kernel
def subtract_fixed(layout, lams, fixed, phi, slopes):
    """REML: subtract sum_i fixed_i phi fixed_i' lambda_k from the slopes of the remainder's factors.

    Parameters
    ----------
    layout : Layout
        Where the factors' columns are.
    lams : (K, m, m) array
        lambda_k in the first q_k rows and columns, the leading factor's first; from `SeveralProblem.packed`.
    fixed : (R, p) array
        Z'V^-1 X of the remainder's columns.
    phi : (p, p) array
        (X'V^-1 X)^-1.
    slopes : (K, m, m) array
        Subtracted from.
    """
    p = len(phi)
    for level in range(len(layout.factor)):
        k, at = layout.factor[level], layout.start[level]
        q = layout.q[k]
        for b in range(q):
            for s in range(p):
                g = 0.0  # (lambda_k' fixed_i) phi
                for a in range(q):
                    for t in range(p):
                        g += lams[k, a, b] * fixed[at + a, t] * phi[t, s]
                for a in range(q):
                    slopes[k, a, b] -= fixed[at + a, s] * g


@kernel
def subtract_leading_fixed(fixed, phi, slope):
    """REML: subtract sum_j fixed_j phi fixed_j' from the leading factor's T_0.

    Parameters
    ----------
    fixed : (J, q, p) array
        Z_j'V^-1 X of the leading factor.
    phi : (p, p) array
        (X'V^-1 X)^-1.
    slope : (q, q) array
        Subtracted from.
    """
    J, q, p = fixed.shape
    for j in range(J):
        for b in range(q):
            for s in range(p):
                g = 0.0
                for t in range(p):
                    g += fixed[j, b, t] * phi[t, s]
                for a in range(q):
                    slope[a, b] -= fixed[j, a, s] * g
