"""What follows exactly from variance parameters of several factors: fixed effects and random effects."""

from collections.abc import Sequence

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.conditional import Conditional
from lmm.likelihood.elimination import factorise, project
from lmm.likelihood.lapack import solve_rows
from lmm.likelihood.remainder import unscaled_rows
from lmm.likelihood.several_conditional import conditional
from lmm.likelihood.several_information import Information
from lmm.likelihood.several_marginal import SeveralMarginal
from lmm.likelihood.several_points import terms_of
from lmm.likelihood.sparse_cholesky import solve_transposed

BATCH = 2_000_000  # random effects that are drawn at once: 16 MB


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
    value, beta, phi, own = density.over(roots, sigmas)
    half = np.full_like(phi, np.nan)
    known = np.isfinite(value)
    half[known] = own[known, None, None] * np.linalg.cholesky(phi[known])
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
    factors, own, terms = density.at(roots, sigma)
    return conditional(Information(density.problem, tuple(factors), terms, True), own)


def draw_effects(
    density: SeveralMarginal,
    roots: Sequence[np.ndarray],
    sigmas: np.ndarray,
    beta: np.ndarray,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Random effects of all factors drawn from their conditionals given drawn beta.

    Parameters
    ----------
    density : SeveralMarginal
        Its coordinates.
    roots : sequence of (S, q_k, q_k) arrays
        L_k.
    sigmas : (S,) array
        Residual sds, original units.
    beta : (S, p) array
        Draws of the fixed effects, kernel's coordinates.
    rng : Generator
        Source of the random numbers.

    Returns
    -------
    list of (S, J_k, q_k) arrays
        Per factor in the formula's order, original units.
    """
    problem = density.problem
    factors, own = density.factors(roots, sigmas)
    lams = problem.packed(factors)
    J, q = problem.lead.edge.shape[:2]
    pairs = zip(problem.levels, roots, strict=True)
    out = [np.empty((len(own), len(levels), root.shape[-1])) for levels, root in pairs]
    size = max(BATCH // (problem.columns + J * q), 1)
    for start in range(0, len(own), size):
        some = slice(start, start + size)
        count = len(own[some])
        noise = rng.standard_normal((count, problem.columns)), rng.standard_normal((count, J, q))
        rest, lead = _effects(problem.inputs, lams[some], own[some], density.prior, beta[some], *noise)
        for k, z_map in enumerate(problem.z_maps):
            drawn = lead if k == problem.order[0] else rest[:, problem.places[k]]
            out[k][some] = drawn @ z_map.T
    return out


@kernel
def _effects(inputs, lams, owns, prior, beta, noise, lead_noise):
    """Random effects in the kernel's coordinates: the remainder's (S, R) and the leading factor's (S, J, q).

    With H = I + Lambda'S Lambda = root root', the remainder's are b = Lambda (H^-1 Lambda'(s_y - S_X beta) + sigma
    root^-T z). Level j of the leading factor has mean V_j (c_j - B_j beta - C_j b) and covariance sigma^2 V_j.
    """
    lead, layout = inputs.lead, inputs.layout
    n, R = noise.shape
    J, q, w = lead.edge.shape
    p = w - 1
    out, out_lead = np.empty((n, R)), np.empty((n, J, q))
    A = np.ascontiguousarray(lead.A.transpose(1, 2, 0))
    left, chol, product, half = np.empty((q, q, J)), np.empty((q, q, J)), np.empty(J), np.empty(q)
    for s in range(n):
        terms = terms_of(inputs, lams[s], prior * owns[s] ** 2)
        if len(inputs.indptr) > 0:
            away = solve_transposed(inputs.indptr, inputs.rows, terms.root, noise[s])
        else:
            rows = noise[s : s + 1].copy()
            solve_rows(terms.inverse.reshape((R, R)), rows, True)
            away = rows[0]
        scaled = np.empty((R, 1))
        for r in range(R):  # the last column of u is at the GLS estimate
            scaled[r, 0] = terms.u[r, p] + owns[s] * away[r]
            for a in range(p):
                scaled[r, 0] -= terms.u[r, a] * (beta[s, a] - terms.beta[a])
        b = unscaled_rows(layout, lams[s], scaled)
        out[s] = b[:, 0]
        factor = np.ascontiguousarray(lams[s, 0, :q, :q])
        project(factor, A, left)
        product[:] = 1.0
        factorise(factor, left, chol, product)
        for j in range(J):
            for a in range(q):  # sigma z + chol^-1 lambda'(c_j - B_j beta - C_j b), row by row
                out_lead[s, j, a] = lead.edge[j, a, p]
                for k in range(p):
                    out_lead[s, j, a] -= lead.edge[j, a, k] * beta[s, k]
                for c in range(lead.ptr[j], lead.ptr[j + 1]):
                    out_lead[s, j, a] -= lead.vals[c, a] * b[lead.cols[c], 0]
            for a in range(q):
                half[a] = 0.0
                for k in range(q):
                    half[a] += factor[k, a] * out_lead[s, j, k]
                for k in range(a):
                    half[a] -= chol[a, k, j] * half[k]
                half[a] *= chol[a, a, j]
            for a in range(q):
                half[a] += owns[s] * lead_noise[s, j, a]
            for a in range(q - 1, -1, -1):
                for k in range(a + 1, q):
                    half[a] -= chol[k, a, j] * half[k]
                half[a] *= chol[a, a, j]
            for a in range(q):
                out_lead[s, j, a] = 0.0
                for k in range(q):
                    out_lead[s, j, a] += factor[a, k] * half[k]
    return out, out_lead
