"""What follows exactly from variance parameters of several factors: fixed effects and random effects."""

from collections.abc import Sequence

import numpy as np

from lmm.likelihood.conditional import Conditional
from lmm.likelihood.lapack import solve_rows
from lmm.likelihood.leading import cells_times
from lmm.likelihood.remainder import Terms, unscaled_rows
from lmm.likelihood.several_conditional import conditional
from lmm.likelihood.several_information import Information
from lmm.likelihood.several_marginal import SeveralMarginal
from lmm.likelihood.several_problem import SeveralProblem
from lmm.likelihood.sparse_cholesky import solve_transposed


def given_at(
    density: SeveralMarginal, roots: Sequence[np.ndarray], sigmas: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fixed effects given variance parameters, as `posterior.given_draws` has them for one factor.

    Parameters
    ----------
    density : SeveralMarginal
        Its coordinates.
    roots : sequence of (S, q_k, q_k) arrays
        L_k.
    sigmas : (S,) array
        Residual sds, original units.
    noise : (S, p) array
        Standard normals.

    Returns
    -------
    beta : (S, p) array
        E[beta | all D, sigma, y] in the kernel's coordinates.
    away : (S, p) array
        The noise with the covariance matrix of beta in the kernel's coordinates.
    half : (S, p, p) array
        A square root of that matrix.
    value : (S,) array
        Log density; NaN where it cannot be evaluated.
    """
    p = density.problem.p
    beta, half = np.full((len(sigmas), p), np.nan), np.full((len(sigmas), p, p), np.nan)
    value = np.full(len(sigmas), np.nan)
    for s, sigma in enumerate(sigmas):
        _, own, terms = density.at([root[s] for root in roots], float(sigma), False)
        if np.isfinite(terms.logdet):
            value[s] = density.value(terms, own)
            beta[s], half[s] = terms.beta, own * np.linalg.cholesky(terms.phi)
    return beta, np.einsum("sab,sb->sa", half, noise), half, value


def conditional_at(density: SeveralMarginal, roots: Sequence[np.ndarray], sigma: float) -> list[Conditional]:
    """Means and variances of every level's random effects, beta integrated out.

    Parameters
    ----------
    density : SeveralMarginal
        Its coordinates.
    roots : sequence of (q_k, q_k) arrays
        L_k.
    sigma : float
        Residual sd, original units.

    Returns
    -------
    list of Conditional
        Per factor, (J_k, q_k) arrays in original units.
    """
    factors, own, terms = density.at(roots, sigma, True)
    return conditional(Information(density.problem, tuple(factors), terms, True), own)


def draw_effects(
    density: SeveralMarginal,
    roots: Sequence[np.ndarray],
    sigma: float,
    away: np.ndarray,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Random effects of all factors drawn from their conditional given drawn beta.

    With H = I + Lambda'S Lambda = root root', the remainder's are b = Lambda (u - U_X away + sigma root^-T z) and
    level j of the leading factor has mean V_j (c_j - B_j beta - C_j b) and covariance sigma^2 V_j.

    Parameters
    ----------
    density : SeveralMarginal
        Its coordinates.
    roots : sequence of (q_k, q_k) arrays
        L_k.
    sigma : float
        Residual sd, original units.
    away : (p,) array
        beta less its conditional mean, kernel's coordinates.
    rng : Generator
        Source of the random numbers.

    Returns
    -------
    list of (J_k, q_k) arrays
        Per factor in the formula's order, original units.
    """
    problem = density.problem
    factors, own, terms = density.at(roots, sigma, False)
    noise = _solve_transposed(problem, terms, rng.standard_normal(problem.columns))
    scaled = terms.u[:, -1] - terms.u[:, :-1] @ away + own * noise
    b = unscaled_rows(problem.layout, problem.packed(factors), np.ascontiguousarray(scaled[:, None]))
    out = []
    for k, factor in enumerate(factors):
        if k != problem.order[0]:
            out.append(b[problem.places[k], 0] @ problem.z_maps[k].T)
            continue
        lead = problem.lead
        left = lead.edge[:, :, -1] - lead.edge[:, :, :-1] @ (terms.beta + away)
        left = left - cells_times(lead, lead.vals, b)[:, :, 0]
        chol = np.linalg.cholesky(np.eye(len(factor)) + factor.T @ lead.A @ factor)
        z = rng.standard_normal(left.shape)
        half = np.linalg.solve(chol, (left @ factor)[:, :, None]) + own * z[:, :, None]
        inner = np.linalg.solve(chol.transpose(0, 2, 1), half)[:, :, 0]
        out.append(inner @ (problem.z_maps[k] @ factor).T)
    return out


def _solve_transposed(problem: SeveralProblem, terms: Terms, z: np.ndarray) -> np.ndarray:
    """root^-T z for the Cholesky factor of H, from terms without derivatives."""
    if problem.pattern is None:
        rows = z[None].copy()
        solve_rows(terms.inverse.reshape(len(z), len(z)), rows, True)
        return rows[0]
    return solve_transposed(problem.pattern.indptr, problem.pattern.rows, terms.root, z)
