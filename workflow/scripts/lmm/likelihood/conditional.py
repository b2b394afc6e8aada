"""Random effects given the variances: Gaussian conditionals, exactly (docs/statistics.md, section 2).

    u_j | D, sigma, y ~ N(V_j (c_j - B_j beta_hat) / s2, V_j + K_j R_X^-1 K_j'),
    V_j = L M_j^-1 L',  K_j = V_j B_j / s2,

with beta integrated out; V_j alone (beta taken as known) is lme4's condVar. `conditional` evaluates them at one D and
sigma; `lmm.engines.pymc.posterior` averages them over draws.
"""

from typing import NamedTuple

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.elimination import factorise, project, solve_lower
from lmm.likelihood.grouped import reml_terms, solve_triangle
from lmm.likelihood.problem import Problem


class Conditional(NamedTuple):
    """Means and variances of the random effects, in original units.

    Attributes
    ----------
    mean : (J, q) array
        BLUPs: E[u_j | D, sigma, y].
    variance : (J, q) array
        Prediction error variances, beta's uncertainty included.
    cond_variance : (J, q) array
        lme4's condVar: beta taken as known.
    """

    mean: np.ndarray
    variance: np.ndarray
    cond_variance: np.ndarray


class Block(NamedTuple):
    """A block of n groups, one in each lane, and their conditional distributions.

    Attributes
    ----------
    a, b, c : (q, q, n), (q, p, n), (q, 1, n) arrays
        A_j, B_j and c_j, by `read_block`.
    mean : (q, n) array
        Conditional means of u_j, original units, by `condition`.
    half : (q, q, n) array
        C^-1 Lambda' z_map', C the Cholesky factor of M_j, by `condition`: V_j = sigma^2 half'half.
    variance, cond_variance : (q, n) arrays
        Prediction error variances and the diagonal of V_j, original units, by `spread`.
    left, chol, product, error, given, through, row, part : arrays
        Intermediate results.
    """

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    mean: np.ndarray
    half: np.ndarray
    variance: np.ndarray
    cond_variance: np.ndarray
    left: np.ndarray
    chol: np.ndarray
    product: np.ndarray
    error: np.ndarray
    given: np.ndarray
    through: np.ndarray
    row: np.ndarray
    part: np.ndarray


@kernel
def block_like(gram):
    """An empty `Block` for packed moments of this shape.

    Parameters
    ----------
    gram : packed (blocks, q, q + p + 1, lanes) array
        A_j, B_j and c_j of each group, by `lanes.pack`; kernel's coordinates.

    Returns
    -------
    Block
        Not initialised.
    """
    _, q, width, n = gram.shape
    p = width - q - 1
    return Block(
        np.empty((q, q, n)), np.empty((q, p, n)), np.empty((q, 1, n)),
        np.empty((q, n)), np.empty((q, q, n)), np.empty((q, n)), np.empty((q, n)),
        np.empty((q, q, n)), np.empty((q, q, n)), np.empty(n),
        np.empty((q, 1, n)), np.empty((q, 1, n)), np.empty((q, p, n)), np.empty((p, n)), np.empty(n),
    )  # fmt: skip


@kernel
def read_block(gram, index, at):
    """Copy a block of the packed moments.

    Parameters
    ----------
    gram : packed (blocks, q, q + p + 1, lanes) array
        A_j, B_j and c_j of each group, by `lanes.pack`; kernel's coordinates.
    index : int
        Number of the block.
    at : Block
        `a`, `b` and `c` are written.
    """
    q, p, _ = at.b.shape
    at.a[:] = gram[index, :, :q]
    at.b[:] = gram[index, :, q : q + p]
    at.c[:] = gram[index, :, q + p :]


@kernel
def condition(factor, z_map, beta, at):
    """Fill `mean` and `half` at Lambda (`factor`) and beta, both in the kernel's coordinates.

    Parameters
    ----------
    factor : (q, q) array
        Lambda = L / sigma, kernel's coordinates.
    z_map : (q, q) array
        To original units.
    beta : (p,) array
        Kernel's coordinates.
    at : Block
        Reads what `read_block` wrote; `mean`, `half` and `chol` are written.
    """
    q, p, n = at.b.shape
    for k in range(q):
        for j in range(n):
            at.error[k, 0, j] = at.c[k, 0, j]
        for m in range(p):
            f = beta[m]
            for j in range(n):
                at.error[k, 0, j] -= at.b[k, m, j] * f
    project(factor, at.a, at.left)
    factorise(factor, at.left, at.chol, at.product)
    for a in range(q):
        for k in range(q):
            f = 0.0
            for m in range(q):
                f += z_map[k, m] * factor[m, a]
            for j in range(n):
                at.half[a, k, j] = f
    solve_lower(at.chol, at.half)
    project(factor, at.error, at.given)
    solve_lower(at.chol, at.given)
    for k in range(q):
        for j in range(n):
            at.mean[k, j] = at.half[0, k, j] * at.given[0, 0, j]
        for a in range(1, q):
            for j in range(n):
                at.mean[k, j] += at.half[a, k, j] * at.given[a, 0, j]


@kernel
def spread(factor, half_x, own, at):
    """Fill the variances after `condition`; `half_x` half_x' is cov(beta), `own` sigma in the kernel's units.

    Parameters
    ----------
    factor : (q, q) array
        Lambda = L / sigma, kernel's coordinates.
    half_x : (p, p) array
        half_x half_x' = cov(beta_hat), kernel's coordinates; from `half_of`.
    own : float
        sigma in the kernel's units.
    at : Block
        Reads what `condition` wrote; the variances are written.
    """
    q, p, n = at.b.shape
    s2 = own * own
    project(factor, at.b, at.through)
    solve_lower(at.chol, at.through)
    for k in range(q):
        for j in range(n):
            at.part[j] = at.half[0, k, j] * at.half[0, k, j]
        for a in range(1, q):
            for j in range(n):
                at.part[j] += at.half[a, k, j] * at.half[a, k, j]
        for j in range(n):
            at.cond_variance[k, j] = s2 * at.part[j]
            at.variance[k, j] = at.cond_variance[k, j]
        for m in range(p):  # row k of K_j
            for j in range(n):
                at.row[m, j] = at.half[0, k, j] * at.through[0, m, j]
            for a in range(1, q):
                for j in range(n):
                    at.row[m, j] += at.half[a, k, j] * at.through[a, m, j]
        for m in range(p):
            for j in range(n):
                at.part[j] = at.row[0, j] * half_x[0, m]
            for i in range(1, m + 1):
                f = half_x[i, m]
                for j in range(n):
                    at.part[j] += at.row[i, j] * f
            for j in range(n):
                at.variance[k, j] += at.part[j] * at.part[j]


@kernel
def half_of(root, own):
    """sigma root^-T: its product with its transpose is cov(beta_hat), kernel's coordinates.

    Parameters
    ----------
    root : array
        Lower Cholesky factor.
    own : float
        sigma in the kernel's units.

    Returns
    -------
    array
    """
    inverse = own * np.eye(len(root))
    solve_triangle(root, inverse)
    return inverse.T.copy()


@kernel
def _over_blocks(gram, factor, z_map, beta, half_x, own, mean, variance, cond_variance):
    """Fill the arrays of `Conditional`, one group per row."""
    at = block_like(gram)
    lanes = gram.shape[3]
    for index in range(len(gram)):
        read_block(gram, index, at)
        condition(factor, z_map, beta, at)
        spread(factor, half_x, own, at)
        first = index * lanes
        for j in range(min(lanes, len(mean) - first)):
            mean[first + j] = at.mean[:, j]
            variance[first + j] = at.variance[:, j]
            cond_variance[first + j] = at.cond_variance[:, j]


def conditional(problem: Problem, factor: np.ndarray, sigma: float) -> Conditional:
    """Distribution of every group's random effects given D and sigma.

    Parameters
    ----------
    problem : Problem
        The model over moments, in the kernel's coordinates.
    factor : (q, q) array
        Lambda = L / sigma in the kernel's coordinates.
    sigma : float
        In the kernel's units.

    Returns
    -------
    Conditional
    """
    factor = np.ascontiguousarray(factor)
    factor = np.ascontiguousarray(factor)
    gram, total = problem.sums
    _, _, beta, root, _, _ = reml_terms(gram, total, problem.reduced(factor), np.zeros_like(total), False)
    found = Conditional(*(np.empty((problem.n_groups, problem.q)) for _ in range(3)))
    _over_blocks(problem.gram, factor, problem.z_map, beta, half_of(root, sigma), sigma, *found)
    return found
