"""Each group's whole Gram matrix, and log densities of whole groups from it: what leave-one-group-out work needs."""

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.elimination import factorise, project, solve_lower
from lmm.likelihood.lanes import pack
from lmm.likelihood.problem import Problem
from lmm.likelihood.whitened import columns_of, whitened_groups
from lmm.moments.moments import Moments


def by_group(moments: Moments, problem: Problem) -> np.ndarray | None:
    """Gram matrix of [Z X y] of every group in the problem's coordinates, of the rows that `Problem.sums` are of.

    Parameters
    ----------
    moments : Moments
        That the problem is of.
    problem : Problem
        The model over moments, in the kernel's coordinates.

    Returns
    -------
    (J, q + p + 1, q + p + 1) array or None
        None where moments do not hold each group's whole Gram matrix (`Moments.whole`).
    """
    if not moments.whole:
        return None
    moments = moments.within(problem.fixed)
    if problem.white is not None:
        return whitened_groups(moments, problem.white)
    blocks = [problem.structure.random[start:stop] for start, stop in problem.structure.blocks]
    columns = columns_of(moments.basis, problem.fixed, blocks)
    return columns.T @ moments.gram @ columns


@kernel
def _densities(gram, rows, factors, gamma, sigmas):
    """See `log_densities`; packed moments, everything in the kernel's coordinates and units."""
    n_blocks, lanes = len(gram), gram.shape[3]
    n_draws, q, p = len(sigmas), factors.shape[1], gamma.shape[1]
    out = np.empty((n_draws, n_blocks * lanes))
    own, left, chol = np.empty((q, q, lanes)), np.empty((q, q, lanes)), np.empty((q, q, lanes))
    error, half = np.empty((q, 1, lanes)), np.empty((q, 1, lanes))
    product, square, part = np.empty(lanes), np.empty(lanes), np.empty(lanes)
    for block in range(n_blocks):
        moments, first = gram[block], block * lanes
        own[:] = moments[:q, :q]
        for s in range(n_draws):
            factor, beta = factors[s], gamma[s]
            square[:] = moments[q + p, q + p]
            for a in range(p):
                for j in range(lanes):
                    part[j] = -2.0 * moments[q + a, q + p, j]
                for b in range(p):
                    f = beta[b]
                    for j in range(lanes):
                        part[j] += moments[q + a, q + b, j] * f
                f = beta[a]
                for j in range(lanes):
                    square[j] += part[j] * f
            for a in range(q):
                error[a, 0] = moments[a, q + p]
                for b in range(p):
                    f = beta[b]
                    for j in range(lanes):
                        error[a, 0, j] -= moments[a, q + b, j] * f
            project(factor, own, left)
            factorise(factor, left, chol, product)
            project(factor, error, half)
            solve_lower(chol, half)
            s2 = sigmas[s] * sigmas[s]
            for j in range(lanes):
                logdet = 0.0
                for a in range(q):
                    square[j] -= half[a, 0, j] * half[a, 0, j]
                    logdet -= 2.0 * np.log(chol[a, a, j])
                constant = rows[first + j] * np.log(2.0 * np.pi * s2)
                out[s, first + j] = -0.5 * (constant + logdet + square[j] / s2)
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

    With e_j = y_j - X_j beta and M_j = I + L'Z_j'Z_j L / sigma^2 (docs/statistics.md, section 2)

        -2 log p = n_j log(2 pi sigma^2) + log|M_j| + (e_j'e_j - e_j'Z_j L M_j^-1 L'Z_j'e_j / sigma^2) / sigma^2.

    Parameters
    ----------
    problem : Problem
        The model over moments, in the kernel's coordinates.
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
    gamma = np.linalg.solve(problem.x_map, (beta - problem.offset).T).T
    own = np.asarray(sigmas, dtype=float) / problem.y_scale
    factors = np.linalg.solve(problem.z_map, roots) / own[:, None, None]
    factors = np.stack([problem.reduced(factor) for factor in factors])
    packed, n_groups = pack(gram), len(gram)
    counts = np.zeros(len(packed) * packed.shape[3])
    counts[:n_groups] = rows
    found = _densities(packed, counts, np.ascontiguousarray(factors), np.ascontiguousarray(gamma), own)
    logdet = 0.0 if problem.white is None else 0.5 * problem.white.logdet
    return found[:, :n_groups] - counts[:n_groups] * np.log(problem.y_scale) - logdet
