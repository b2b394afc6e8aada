"""Random effects given the variances: Gaussian conditionals, exactly (statistics.md, section 2).

    u_j | D, sigma, y ~ N(V_j (c_j - B_j beta_hat) / s2, V_j + K_j R_X^-1 K_j'),
    V_j = L M_j^-1 L',  K_j = V_j B_j / s2,

with beta integrated out; V_j alone (beta taken as known) is lme4's condVar.
"""

from typing import NamedTuple

import numpy as np

from lmm.lanes import unpack
from lmm.likelihood import reml_terms
from lmm.problem import Problem


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


def conditional(problem: Problem, factor: np.ndarray, sigma: float) -> Conditional:
    """Distribution of every group's random effects given D and sigma.

    Parameters
    ----------
    problem : Problem
    factor : (q, q) array
        Lambda = L / sigma in the kernel's coordinates.
    sigma : float
        In the kernel's units.
    """
    q, p = problem.q, problem.p
    ridge = np.zeros_like(problem.total)
    _, _, beta, root, _, _ = reml_terms(problem.gram, problem.total, factor, ridge, False)
    gram = unpack(problem.gram, problem.n_groups)
    a, b, c = gram[:, :, :q], gram[:, :, q : q + p], gram[:, :, q + p]
    m = np.eye(q) + factor.T @ a @ factor
    # V_j / s2 = Lambda M^-1 Lambda', by the Cholesky factor of M so that it stays symmetric
    half = np.linalg.solve(np.linalg.cholesky(m), np.broadcast_to(factor.T, m.shape))
    v = half.transpose(0, 2, 1) @ half
    mean = np.einsum("jab,jb->ja", v, c - b @ beta)
    k = v @ b
    spread = np.linalg.solve(root, k.reshape(-1, p).T).T.reshape(k.shape)  # K_j root^-T
    outer = v + spread @ spread.transpose(0, 2, 1)
    z, s2 = problem.z_map, sigma * sigma
    return Conditional(
        mean=mean @ z.T,
        variance=s2 * np.einsum("ka,jab,kb->jk", z, outer, z, optimize=True),
        cond_variance=s2 * np.einsum("ka,jab,kb->jk", z, v, z, optimize=True),
    )
