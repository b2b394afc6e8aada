"""Degrees of freedom and standard errors of fixed effects: Satterthwaite, Kenward and Roger, normal.

See docs/statistics.md, section 11.

Satterthwaite (1946) as lmerTest has it (Kuznetsova, Brockhoff & Christensen 2017, J. Stat. Softw. 82(13)), Kenward
and Roger (1997, Biometrics 53, 983-997) as pbkrtest has it (Halekoh & Hojsgaard 2014, J. Stat. Softw. 59(9)); both
from `Derivatives`, so at a cost that does not depend on the number of rows, and exact where those packages
differentiate numerically.
"""

import numpy as np
from scipy import special

from lmm.inference.derivatives import Derivatives, complete
from lmm.inference.fixed_effects import FixedEffects, Test

METHODS = ("satterthwaite", "kenward-roger", "normal")
# Directions of the variance parameters' Hessian, scaled to a unit diagonal, that count as flat: it is exact to
# about 1e-12, and a flat direction (a rotation of L at a singular fit) moves no standard error.
FLAT = 1e-9


def p_of(test: Test) -> float:
    """The p value of an F test; of the chi-square where the denominator has infinitely many df."""
    if np.isinf(test.den_df):
        return float(special.chdtrc(test.num_df, test.num_df * test.statistic))
    return float(special.fdtrc(test.num_df, test.den_df, test.statistic))


def fixed_effects(method: str, beta: np.ndarray, derivatives: Derivatives, ml: bool = False) -> FixedEffects:
    """Fixed effects with degrees of freedom by one of `METHODS`.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    beta : (p,) array
        In original units.
    derivatives : Derivatives
        Without sigma^2.
    ml : bool
        Whether the optimum is ML's (Satterthwaite alone: Kenward and Roger's is for REML).

    Returns
    -------
    FixedEffects
    """
    all_ = complete(derivatives)
    phi = np.linalg.inv(all_.information)
    back = all_.back
    covariance = back @ phi @ back.T
    slopes = np.einsum("ab,nbc,cd->nad", phi, all_.p, phi)  # minus the derivatives of phi
    adjusted = covariance
    if method == "normal":
        slopes, spread = np.zeros((0, *phi.shape)), np.zeros((0, 0))
    elif method == "kenward-roger":
        spread = 2.0 * inverse(expected_information(all_, phi))
        inner = all_.q - np.einsum("nab,bc,mcd->nmad", all_.p, phi, all_.p, optimize=True)
        gain = phi @ np.einsum("nm,nmab->ab", spread, inner) @ phi
        adjusted = back @ (phi + gain + gain.T) @ back.T
    else:
        slopes, spread = _in_roots(all_, phi, slopes, ml)
    slopes = np.einsum("ab,nbc,dc->nad", back, slopes, back)
    return FixedEffects(method, beta, covariance, adjusted, slopes, spread)


def expected_information(all_: Derivatives, phi: np.ndarray) -> np.ndarray:
    """tr(P V_i P V_j), twice REML's expected information, (m + 1, m + 1).

    Parameters
    ----------
    all_ : Derivatives
        With sigma^2, from `complete`.
    phi : (p, p) array
        (X'V^-1 X)^-1 relative to sigma^2.

    Returns
    -------
    (m + 1, m + 1) array
    """
    moved = phi @ all_.p
    out = all_.traces - 2.0 * np.einsum("ab,nmba->nm", phi, all_.q)
    out += np.einsum("nab,mba->nm", moved, moved)
    return (out + out.T) / 2.0


def _in_roots(
    all_: Derivatives, phi: np.ndarray, slopes: np.ndarray, ml: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of phi in, and the covariance of, the free elements of the roots and sigma^2.

    With D = L L' the criterion is smooth in L at a singular D too. There, a column of L that is zero moves nothing
    to first order, and its curvature stands apart from the others' (the criterion is even in it): what is left is
    the model without the null directions, as in lmerTest.
    """
    hessian = 2.0 * all_.forms - (all_.traces if ml else expected_information(all_, phi))
    gradient = all_.trace - all_.form
    if not ml:
        gradient = gradient + np.einsum("ab,nba->n", phi, all_.p)
    m = len(all_.elements)
    # element i of the D's and coordinate e of the roots are at the same place, row >= column
    places = all_.elements.tolist()
    jacobian = np.zeros((m + 1, m + 1))
    jacobian[m, m] = 1.0
    bend = np.zeros((m + 1, m + 1))
    for i, (term, a, b) in enumerate(places):
        root = all_.roots[term]
        for e, (k, row, col) in enumerate(places):
            if k != term:
                continue
            jacobian[i, e] = (row == a) * root[b, col] + (row == b) * root[a, col]
            for f, (k2, row2, col2) in enumerate(places):
                if k2 == term and col2 == col:
                    bend[e, f] += gradient[i] * ((row, row2) == (a, b)) + gradient[i] * (
                        (row2, row) == (a, b)
                    )
    curvature = jacobian.T @ hessian @ jacobian + bend
    spread = 2.0 * inverse(curvature)
    return np.einsum("ne,nab->eab", jacobian, slopes), spread


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a symmetric matrix on the directions in which, its diagonal being 1, it is above `FLAT`.

    Parameters
    ----------
    matrix : array
        Symmetric.

    Returns
    -------
    array
    """
    size = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    unit = np.where(size > 0.0, 1.0 / np.where(size > 0.0, size, 1.0), 0.0)
    values, vectors = np.linalg.eigh(matrix * np.outer(unit, unit))
    kept = values > FLAT
    scaled = vectors[:, kept] * unit[:, None]
    return (scaled / values[kept]) @ scaled.T
