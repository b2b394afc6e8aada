"""Each group's whole Gram matrix, and log densities of whole groups from it: what leave-one-group-out work needs."""

import numpy as np

from lmm.compiled import kernel
from lmm.moments import Moments
from lmm.problem import Problem


def by_group(
    moments: Moments, fixed: tuple[str, ...], blocks: tuple[tuple[str, ...], ...]
) -> np.ndarray | None:
    """Gram matrix of [Z X y] of every group in the coordinates of `moments.problem(fixed, blocks)`.

    Returns
    -------
    (J, q + p + 1, q + p + 1) array or None
        None where moments do not hold each group's whole Gram matrix (`Moments.whole`).
    """
    if not moments.whole:
        return None
    parts = [moments.basis.stable(names)[0] for names in (*blocks, fixed)]
    columns = np.zeros((len(moments.total), sum(part.shape[1] for part in parts) + 1))
    columns[:-1, :-1], columns[-1, -1] = np.hstack(parts), 1.0
    return columns.T @ moments.gram @ columns


@kernel
def _densities(own, rows, factors, errors, squares, sigmas):
    """One group's log density at each draw; everything in the kernel's coordinates and units.

    own : (q, q) Z_j'Z_j; errors : (S, q) Z_j'e_j; squares : (S,) e_j'e_j
    """
    n_draws, q = errors.shape
    out = np.empty(n_draws)
    left, chol, half = np.empty((q, q)), np.empty((q, q)), np.empty(q)
    for s in range(n_draws):
        factor, square, logdet = factors[s], squares[s], 0.0
        for a in range(q):
            for b in range(q):
                value = 0.0
                for k in range(q):
                    value += factor[k, a] * own[k, b]
                left[a, b] = value
        for a in range(q):
            for b in range(a + 1):
                value = 1.0 if a == b else 0.0
                for k in range(q):
                    value += left[a, k] * factor[k, b]
                for k in range(b):
                    value -= chol[a, k] * chol[b, k]
                if a == b:
                    logdet += np.log(value)
                    chol[a, a] = np.sqrt(value)
                else:
                    chol[a, b] = value / chol[b, b]
            value = 0.0
            for k in range(q):
                value += factor[k, a] * errors[s, k]
            for b in range(a):
                value -= chol[a, b] * half[b]
            half[a] = value / chol[a, a]
            square -= half[a] * half[a]
        s2 = sigmas[s] * sigmas[s]
        out[s] = -0.5 * (rows * np.log(2.0 * np.pi * s2) + logdet + square / s2)
    return out


def log_densities(
    problem: Problem,
    gram: np.ndarray,
    rows: np.ndarray,
    beta: np.ndarray,
    roots: np.ndarray,
    sigmas: np.ndarray,
) -> np.ndarray:
    """log p(y_j | beta, D, sigma) of every group, its random effects integrated out, at each set of parameters.

    With e_j = y_j - X_j beta and M_j = I + L'Z_j'Z_j L / sigma^2 (statistics.md, section 2)

        -2 log p = n_j log(2 pi sigma^2) + log|M_j| + (e_j'e_j - e_j'Z_j L M_j^-1 L'Z_j'e_j / sigma^2) / sigma^2.

    Parameters
    ----------
    problem : Problem
    gram : (J, q + p + 1, q + p + 1) array
        From `by_group`.
    rows : (J,) array
        n_j.
    beta, roots, sigmas : (S, p), (S, q, q), (S,) arrays
        In original units; D = root root'.

    Returns
    -------
    (S, J) array
        In original units.
    """
    q = problem.q
    gamma = np.linalg.solve(problem.x_map, (beta - problem.offset).T).T
    signed = np.column_stack([-gamma, np.ones(len(gamma))])  # e_j = [X_j y_j] @ signed
    own = np.asarray(sigmas, dtype=float) / problem.y_scale
    factors = np.ascontiguousarray(np.linalg.solve(problem.z_map, roots) / own[:, None, None])
    rows = np.asarray(rows, dtype=float)
    found = np.empty((len(gram), len(own)))
    for j, group in enumerate(gram):
        products = signed @ group[q:]
        errors, squares = np.ascontiguousarray(products[:, :q]), (products[:, q:] * signed).sum(axis=1)
        found[j] = _densities(np.ascontiguousarray(group[:q, :q]), rows[j], factors, errors, squares, own)
    return found.T - rows * np.log(problem.y_scale)
