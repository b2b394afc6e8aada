"""Predictions with their errors where there are several grouping factors.

A row has the mean x'beta + sum_k z_k'u_kj. Its level j of the leading factor is eliminated as in the likelihood
(docs/statistics.md, sections 10 and 13): with b the random effects of all other factors,

    u_0j = V_j (c_j - C_j b - B_j beta) + an error of variance sigma^2 V_j,

so that the row's error is one of (b, beta) in the directions t = r - C_j'V_j z_0 and d = x - B_j'V_j z_0, r the row
of the other factors' columns. With H = L L' and U = H^-1 Lambda'S_X its variance over sigma^2 is

    z_0'V_j z_0 + |L^-1 Lambda't|^2 + (d - U'Lambda't)' (X'V^-1 X)^-1 (d - U'Lambda't).

A level without data has u = 0 and variance z'D z, independent of everything else. A new observation adds sigma^2.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.progress import Progress
from lmm.core.tidy import RESIDUAL, variable
from lmm.engines.random_effects import wide
from lmm.inference.variance_explained import covariance_of, values_of
from lmm.likelihood.remainder import scaled_rows
from lmm.likelihood.several_information import Information
from lmm.likelihood.several_problem import SeveralProblem, build
from lmm.moments.several import SeveralMoments
from lmm.prediction.predict import PLAIN, Beside, Errors, root_of, table

ELEMENTS = 20_000_000  # of the matrix of a batch of rows: 160 MB


def factors_of(problem: SeveralProblem, covariances: Sequence[np.ndarray], sigma: float) -> list[np.ndarray]:
    """Relative factors in the kernel's coordinates of covariance matrices in original units.

    Parameters
    ----------
    problem : SeveralProblem
        The model over moments.
    covariances : sequence of (q_k, q_k) arrays
        D_k in the formula's order.
    sigma : float
        Residual sd, original units.

    Returns
    -------
    list of (q_k, q_k) arrays
    """
    own = sigma / problem.y_scale
    return [
        np.linalg.solve(z_map, root_of(D)) / own for z_map, D in zip(problem.z_maps, covariances, strict=True)
    ]


def errors(
    problem: SeveralProblem,
    covariances: Sequence[np.ndarray],
    sigma: float,
    X: np.ndarray,
    Z: Sequence[np.ndarray],
    codes: Sequence[np.ndarray],
) -> Errors:
    """Prediction error variances given the covariance parameters.

    Parameters
    ----------
    problem : SeveralProblem
        The model over moments.
    covariances : sequence of (q_k, q_k) arrays
        D_k in the formula's order, original units.
    sigma : float
        Residual sd, original units.
    X : (N, p) array
        Original units.
    Z : sequence of (N, q_k) arrays
        Of each factor, original units.
    codes : sequence of (N,) int arrays
        Each row's level of each factor in the moments, -1 for a level without data.

    Returns
    -------
    Errors
    """
    factors = factors_of(problem, covariances, sigma)
    information = Information.at(problem, factors)
    terms, lead, lams = information.terms, problem.lead, problem.packed(factors)
    first, own = problem.order[0], sigma / problem.y_scale
    factor = factors[first]
    M = np.eye(len(factor)) + factor.T @ lead.A @ factor
    V = factor @ np.linalg.solve(M, np.broadcast_to(factor.T, M.shape))
    x, z = X @ problem.x_map, [rows @ z_map for rows, z_map in zip(Z, problem.z_maps, strict=True)]
    variance = np.empty(len(x))
    size = max(ELEMENTS // problem.columns, 1)
    with Progress("prediction errors", -(-len(x) // size)) as progress:
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            d, found = x[rows].copy(), np.zeros(len(x[rows]))
            t = np.zeros((problem.columns, len(d)))
            for k, levels in enumerate(codes):
                known = np.flatnonzero(levels[rows] >= 0)
                there, zs = levels[rows][known], z[k][rows]
                spread = np.einsum("na,ab,nb->n", zs, factors[k] @ factors[k].T, zs)
                if k == first:
                    weights = np.einsum("nab,nb->na", V[there], zs[known])
                    spread[known] = np.einsum("na,na->n", weights, zs[known])
                    d[known] -= np.einsum("nab,na->nb", lead.edge[there, :, :-1], weights)
                    _subtract_met(lead, there, weights, known, t)
                else:
                    spread[known] = 0.0
                    for a in range(zs.shape[1]):
                        t[problem.places[k][there, a], known] += zs[known, a]
                found += spread
            scaled = scaled_rows(problem.layout, lams, t)
            found += np.einsum("rn,rn->n", scaled, problem.solve(terms, scaled))
            d -= scaled.T @ terms.u[:, :-1]
            variance[rows] = own**2 * (found + np.einsum("na,ab,nb->n", d, terms.phi, d))
            progress.advance()
    return Errors(variance, np.full(len(x), sigma**2))


def _subtract_met(lead: Any, there: np.ndarray, weights: np.ndarray, at: np.ndarray, t: np.ndarray) -> None:
    """Subtract C_j'V_j z_0 of each row from its column of t."""
    counts = lead.ptr[there + 1] - lead.ptr[there]
    row = np.repeat(np.arange(len(there)), counts)
    cell = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + lead.ptr[there][row]
    t[lead.cols[cell], at[row]] -= np.einsum("ca,ca->c", lead.vals[cell], weights[row])


def predict(
    fit: Any,
    moments: SeveralMoments,
    terms: Any,
    W: np.ndarray,
    rows: pd.DataFrame,
    level: float,
    beside: Beside = PLAIN,
) -> pd.DataFrame:
    """Predictions of rows, old or new, by one engine, with the variances at its estimates.

    Parameters
    ----------
    fit : Fit
        An engine's tidy tables.
    moments : SeveralMoments
        Sufficient statistics of the rows that were fitted.
    terms : Terms
        Of the model.
    W : (N, K) array
        Columns `terms.columns`.
    rows : DataFrame
        source, row, `level__<factor>` of each factor; estimable: whether the fixed effects determine its mean.
    level : float
        Of the intervals.
    beside : Beside
        Weights and offset of the rows.

    Returns
    -------
    DataFrame
        Columns of `rows`, then those of `predict.VALUES`.
    """
    at = {name: k for k, name in enumerate(terms.columns)}
    groups = [own.group for own in terms.groupings]
    values = values_of(fit.parameters, groups)
    X = W[:, [at[name] for name in terms.fixed]]
    without = X @ np.array([values[name] for name in terms.fixed])
    fitted, covariances, Z, codes = without.copy(), [], [], []
    for grouping in terms.groupings:
        levels = moments.of(grouping.group).levels
        own = pd.Index(levels).get_indexer(rows[level_column(grouping.group)])
        z = W[:, [at[name] for name in grouping.random]]
        u = np.zeros((len(levels) + 1, z.shape[1]))
        mine = fit.ranef[fit.ranef["group"] == grouping.group]
        u[:-1] = wide(mine, levels, grouping.random)
        fitted += np.einsum("na,na->n", z, u[own])
        covariances.append(
            covariance_of(values, grouping.random, lambda term, g=grouping.group: variable(g, term, groups))
        )
        Z.append(z)
        codes.append(own)
    problem = build(moments, terms.fixed, [grouping.blocks for grouping in terms.groupings])
    found = errors(problem, covariances, values[RESIDUAL], X, Z, codes)
    return table(fit.engine, rows, (without, fitted), found, level, beside)


def level_column(group: str) -> str:
    """The column of predictions that has the rows' levels of a factor, where there are several."""
    return f"level__{group}"
