"""The one likelihood kernel: REML terms and their derivatives from moments.

`reml` minimises it, `bayes` samples it. Everything is per group, because there is one grouping factor,
and in the relative factor Lambda = L / sigma (D = L L'), which stays finite at the boundary.
"""

import numba
import numpy as np

LARGE = 1e120


@numba.njit(cache=True, nogil=True, error_model="numpy")
def reml_terms(gram, total, n_fixed, factor, ridge):
    """Log determinant, penalised residual sum of squares and their derivatives in D / sigma^2.

    Bates, Mächler, Bolker & Walker 2015 (J. Stat. Softw. 67(1), section 3), written per group:
    M_j = I + Lambda' A_j Lambda,  S = [X y]'[X y] - sum_j [B_j c_j]' Lambda M_j^-1 Lambda' [B_j c_j].

    Parameters
    ----------
    gram : (J, q, q + p + 1) array
        A_j = Z_j'Z_j, B_j = Z_j'X_j and c_j = Z_j'y_j of each group, side by side.
    total : (p + 1, p + 1) array
        Gram matrix of [X y] over all rows.
    n_fixed : int
        p, the columns of X.
    factor : (q, q) array
        Lambda; any square root of D / sigma^2, singular ones included.
    ridge : (p + 1, p + 1) array
        sigma^2 times the Gram matrix of a normal prior on beta (zeros: flat).

    Returns
    -------
    value : (2,) array
        sum_j log|M_j| + log|S_X|, and the residual sum of squares y'y - ... at beta_hat; NaN where
        S_X is not positive definite.
    beta : (p,) array
        beta_hat, the GLS estimate (posterior mean of beta under the ridge).
    root : (p, p) array
        lower Cholesky factor of S_X; cov(beta_hat) = sigma^2 S_X^-1.
    d_logdet, d_rss : (q, q) arrays
        Derivatives of the two values with respect to the symmetric matrix D / sigma^2 (the derivative
        with respect to Lambda is twice that times Lambda).
    """
    n_groups, q, _ = gram.shape
    p = n_fixed
    w = p + 1
    schur = total + ridge
    d_logdet = np.zeros((q, q))
    d_rss = np.zeros((q, q))
    rest = np.empty((n_groups, q, w))
    left = np.empty((q, q))  # Lambda' A
    chol = np.empty((q, q))
    half = np.empty((q, q + w))  # C^-1 Lambda' [A B c]
    logdet = 0.0
    product = 1.0
    for j in range(n_groups):
        g = gram[j]
        for a in range(q):
            for b in range(q):
                s = 0.0
                for k in range(q):
                    s += factor[k, a] * g[k, b]
                left[a, b] = s
        for a in range(q):
            for b in range(a + 1):
                s = 1.0 if a == b else 0.0
                for k in range(q):
                    s += left[a, k] * factor[k, b]
                for k in range(b):
                    s -= chol[a, k] * chol[b, k]
                if a == b:
                    product *= s
                    chol[a, a] = 1.0 / np.sqrt(s)
                else:
                    chol[a, b] = s * chol[b, b]
        if product > LARGE:
            logdet += np.log(product)
            product = 1.0
        for a in range(q):
            for b in range(q + w):
                if b < q:
                    s = left[a, b]
                else:
                    s = 0.0
                    for k in range(q):
                        s += factor[k, a] * g[k, b]
                for k in range(a):
                    s -= chol[a, k] * half[k, b]
                half[a, b] = s * chol[a, a]
        for a in range(w):
            for b in range(a + 1):
                s = 0.0
                for k in range(q):
                    s += half[k, q + a] * half[k, q + b]
                schur[a, b] -= s
        for a in range(q):
            for b in range(q + w):
                s = g[a, b]
                for k in range(q):
                    s -= half[k, a] * half[k, b]
                if b >= q:
                    rest[j, a, b - q] = s
                elif b <= a:
                    d_logdet[a, b] += s
    logdet += np.log(product)

    # Cholesky of [S_X s; s' s_yy]: the last pivot is the residual sum of squares
    value = np.empty(2)
    root = np.zeros((p, p))
    beta = np.zeros(p)
    z = np.empty(p)
    rss = schur[p, p]
    for a in range(w):
        for b in range(min(a + 1, p)):
            s = schur[a, b]
            for k in range(b):
                s -= (root[a, k] if a < p else z[k]) * root[b, k]
            if a == b:
                if not s > 0.0:
                    value[:] = np.nan
                    return value, beta, root, d_logdet, d_rss
                logdet += np.log(s)
                root[a, a] = np.sqrt(s)
            elif a < p:
                root[a, b] = s / root[b, b]
            else:
                z[b] = s / root[b, b]
                rss -= z[b] * z[b]
    for a in range(p - 1, -1, -1):
        s = z[a]
        for k in range(a + 1, p):
            s -= root[k, a] * beta[k]
        beta[a] = s / root[a, a]
    value[0] = logdet
    value[1] = rss

    # derivatives: sum_j [A - A Lambda M^-1 Lambda' A] - sum_j F_j S_X^-1 F_j'  and  -sum_j e_j e_j'
    solved = np.empty((q, p))  # F_j root^-T
    e = np.empty(q)
    for j in range(n_groups):
        for a in range(q):
            s = rest[j, a, p]
            for k in range(p):
                s -= rest[j, a, k] * beta[k]
            e[a] = s
            for b in range(p):
                s = rest[j, a, b]
                for k in range(b):
                    s -= solved[a, k] * root[b, k]
                solved[a, b] = s / root[b, b]
        for a in range(q):
            for b in range(a + 1):
                s = 0.0
                for k in range(p):
                    s += solved[a, k] * solved[b, k]
                d_logdet[a, b] -= s
                d_rss[a, b] -= e[a] * e[b]
    for a in range(q):
        for b in range(a):
            d_logdet[b, a] = d_logdet[a, b]
            d_rss[b, a] = d_rss[a, b]
    return value, beta, root, d_logdet, d_rss
