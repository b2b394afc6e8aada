"""Random effects of all factors given the variances: Gaussian conditionals, exactly.

See docs/statistics.md, section 10.
"""

import numpy as np

from lmm.likelihood.conditional import Conditional
from lmm.likelihood.leading import cells_times, scaled_cells, subtract_quadratic
from lmm.likelihood.remainder import unscaled_rows
from lmm.likelihood.several_information import Information


def conditional(information: Information, sigma: float) -> list[Conditional]:
    """Means and variances of every level's random effects given all D_k and sigma.

    With b the remainder's random effects, mean Lambda u and prediction error covariance sigma^2 Lambda H^-1 Lambda'
    (H bordered by the fixed effects), level j of the leading factor has mean V_j (c_j - C_j b) and covariance
    sigma^2 (V_j + K_j Lambda H^-1 Lambda'K_j'), K_j = V_j C_j.

    Parameters
    ----------
    information : Information
        The terms at one Lambda, with derivatives.
    sigma : float
        In the kernel's units.

    Returns
    -------
    list of Conditional
        Per factor in the formula's order, (J_k, q_k) arrays in original units.
    """
    problem, terms = information.problem, information.terms
    lams = problem.packed(information.factors)
    border = unscaled_rows(problem.layout, lams, terms.u)  # Lambda [H^-1 Lambda'S_X, u]
    out = []
    for k, factor in enumerate(information.factors):
        if k == problem.order[0]:
            mean, given, K = _leading(information, factor, lams, border)
        else:
            place = problem.places[k]
            given = factor @ _diagonal_blocks(information, place) @ factor.T
            mean, K = border[place, -1], border[place, :-1]
        whole = given + K @ terms.phi @ K.transpose(0, 2, 1)
        z_map = problem.z_maps[k]
        variances = [
            sigma**2 * ((z_map @ matrix) * z_map).sum(axis=-1)  # the diagonal of z_map M z_map'
            for matrix in (whole, given)
        ]
        out.append(Conditional(mean @ z_map.T, *variances))
    return out


def _diagonal_blocks(information: Information, place: np.ndarray) -> np.ndarray:
    """Blocks of H^-1, (J, q, q), of the levels whose columns are `place`, (J, q)."""
    problem, inverse = information.problem, information.terms.inverse
    J, q = place.shape
    out = np.empty((J, q, q))
    for a in range(q):
        for b in range(a + 1):
            row, col = place[:, a], place[:, b]
            at = row * problem.columns + col if problem.pattern is None else problem.pattern.find(row, col)
            out[:, a, b] = out[:, b, a] = inverse[at]
    return out


def _leading(
    information: Information, factor: np.ndarray, lams: np.ndarray, border: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, covariance with beta known (relative to sigma^2) and weights of beta's error, of the leading factor."""
    problem, terms, lead = information.problem, information.terms, information.problem.lead
    q = len(factor)
    M = np.eye(q) + factor.T @ lead.A @ factor
    V = factor @ np.linalg.solve(M, np.broadcast_to(factor.T, M.shape))
    met = cells_times(lead, lead.vals, border)
    left = lead.edge - met  # its last column still has X beta in it
    left[:, :, -1] -= lead.edge[:, :, :-1] @ terms.beta
    scaled = scaled_cells(lead.cols, lead.vals, problem.layout.factor_of, problem.layout.q, lams)
    spread = np.zeros_like(V)
    subtract_quadratic(lead, scaled, terms.inverse, problem.pattern is None, problem.columns, spread)
    return (V @ left[:, :, -1:])[:, :, 0], V - V @ spread @ V, V @ left[:, :, :-1]
