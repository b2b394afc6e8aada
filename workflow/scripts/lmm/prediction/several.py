"""Predictions with their errors where there are several grouping factors.

A row has the mean x'beta + sum_k z_k'u_kj. Its level j of the leading factor is eliminated as in the likelihood
(docs/statistics.md, sections 10 and 13): with b the random effects of all other factors,

    u_0j = V_j (c_j - C_j b - B_j beta) + an error of variance sigma^2 V_j,

so that the row's error is one of (b, beta) in the directions t = r - C_j'V_j z_0 and d = x - B_j'V_j z_0, r the row
of the other factors' columns. With H = L L' and U = H^-1 Lambda'S_X its variance over sigma^2 is

    z_0'V_j z_0 + |L^-1 Lambda't|^2 + (d - U'Lambda't)' (X'V^-1 X)^-1 (d - U'Lambda't).

A level without data has u = 0 and variance z'D z, independent of everything else. A new observation adds sigma^2.
For draws of all D and sigma these are moments given the draw, put together as in `predict`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from lmm.core.compiled import kernel
from lmm.core.progress import Progress
from lmm.engines.random_effects import wide
from lmm.inference.spreads import Spreads, spaced_draws, spreads_of
from lmm.inference.variance_explained import values_of
from lmm.likelihood.several_conditional import conditional
from lmm.likelihood.several_information import Information
from lmm.likelihood.several_marginal import SeveralMarginal
from lmm.likelihood.several_problem import SeveralProblem, build
from lmm.moments.several import SeveralMoments
from lmm.prediction.predict import DRAWS, PLAIN, Beside, Errors, table

ELEMENTS = 20_000_000  # of the matrix of a batch of rows: 160 MB
WORK = 1e11  # products of two numbers that draws of a posterior may cost; beyond it, fewer are looked at ...
FEWEST = 5  # ... but not fewer than these


def errors(
    density: SeveralMarginal,
    spreads: Spreads,
    X: np.ndarray,
    Z: Sequence[np.ndarray],
    codes: Sequence[np.ndarray],
) -> Errors:
    """Prediction error variances, averaged over sets of covariance parameters.

    Parameters
    ----------
    density : SeveralMarginal
        The model over moments with the prior of beta, in original units.
    spreads : Spreads
        Original units; one set for an estimate, draws of a posterior.
    X : (N, p) array
        Original units.
    Z : sequence of (N, q_k) arrays
        Of each factor, original units.
    codes : sequence of (N,) int arrays
        Each row's level of each factor in the moments, -1 for a level without data.

    Returns
    -------
    Errors
        Of several sets, by the laws of total expectation and variance.
    """
    problem = density.problem
    x, z = X @ problem.x_map, [rows @ z_map for rows, z_map in zip(Z, problem.z_maps, strict=True)]
    roots, count = spreads.roots, len(spreads.sigmas)
    within, means, squares = np.zeros(len(x)), np.zeros(len(x)), np.zeros(len(x))
    first = None
    with Progress("prediction errors", count) as progress:
        for s, sigma in enumerate(spreads.sigmas):
            factors, own, terms = density.at([root[s] for root in roots], float(sigma))
            information = Information(problem, tuple(factors), terms, True)
            within += own**2 * _variances(information, x, z, codes) / count
            if count > 1:
                mean = _means(information, own, x, Z, codes)
                first = mean if first is None else first  # about it: the means differ little
                means += (mean - first) / count
                squares += (mean - first) ** 2 / count
            progress.advance()
    noise = float(np.mean(spreads.sigmas**2))
    return Errors(within + np.maximum(squares - means**2, 0.0), np.full(len(x), noise))


def _means(
    information: Information, own: float, x: np.ndarray, Z: Sequence[np.ndarray], codes: Sequence[np.ndarray]
) -> np.ndarray:
    """Conditional means of rows given the covariance parameters, less what is the same in all."""
    mean = x @ information.terms.beta
    for found, rows, levels in zip(conditional(information, own), Z, codes, strict=True):
        u = np.concatenate([found.mean, np.zeros((1, rows.shape[1]))])
        mean += np.einsum("na,na->n", rows, u[levels])
    return mean


def _variances(
    information: Information, x: np.ndarray, z: Sequence[np.ndarray], codes: Sequence[np.ndarray]
) -> np.ndarray:
    """Prediction error variances relative to sigma^2, of rows in the kernel's coordinates."""
    problem, terms, factors = information.problem, information.terms, information.factors
    lead, first = problem.lead, problem.order[0]
    factor = factors[first]
    M = np.eye(len(factor)) + factor.T @ lead.A @ factor
    V = factor @ np.linalg.solve(M, np.broadcast_to(factor.T, M.shape))
    d, found, parts = x.copy(), np.zeros(len(x)), []
    for k, levels in enumerate(codes):
        known = np.flatnonzero(levels >= 0)
        there, zs = levels[known], z[k][known]
        spread = np.einsum("na,ab,nb->n", z[k], factors[k] @ factors[k].T, z[k])
        if k == first:
            weights = np.einsum("nab,nb->na", V[there], zs)
            spread[known] = np.einsum("na,na->n", weights, zs)
            d[known] -= np.einsum("nab,na->nb", lead.edge[there, :, :-1], weights)
            parts.append(_met(lead, there, weights, known))
        else:
            spread[known] = 0.0
            columns = problem.places[k][there]
            parts.append((np.repeat(known, columns.shape[1]), columns.ravel(), zs.ravel()))
        found += spread
    row, column, value = (np.concatenate(own) for own in zip(*parts, strict=True))
    t = sparse.csr_array((value, (row, column)), shape=(len(x), problem.columns))
    scaled = sparse.csr_array(t @ _lambda(problem, factors))
    if problem.pattern is None:
        inverse = terms.inverse.reshape(problem.columns, problem.columns)
        found += _quadratic(scaled.indptr, scaled.indices, scaled.data, inverse)
    else:
        size = max(ELEMENTS // problem.columns, 1)
        for start in range(0, len(x), size):
            own = np.ascontiguousarray(scaled[start : start + size].toarray().T)
            found[start : start + size] += np.einsum("rn,rn->n", own, problem.solve(terms, own))
    d -= scaled @ terms.u[:, :-1]
    return found + np.einsum("na,ab,nb->n", d, terms.phi, d)


@kernel
def _quadratic(indptr, columns, values, matrix):
    """t'matrix t of each row t of a sparse matrix."""
    out = np.zeros(len(indptr) - 1)
    for n in range(len(out)):
        for a in range(indptr[n], indptr[n + 1]):
            right = 0.0
            for b in range(indptr[n], indptr[n + 1]):
                right += matrix[columns[a], columns[b]] * values[b]
            out[n] += values[a] * right
    return out


def _lambda(problem: SeveralProblem, factors: Sequence[np.ndarray]) -> sparse.csr_array:
    """Lambda of the remainder, (R, R): a block for each level."""
    parts = []
    for k, factor in enumerate(factors):
        if k != problem.order[0]:
            place, q = problem.places[k], len(factor)
            value = np.broadcast_to(factor, (len(place), q, q))
            parts.append((np.repeat(place, q, axis=1).ravel(), np.tile(place, q).ravel(), value.ravel()))
    row, column, value = (np.concatenate(own) for own in zip(*parts, strict=True))
    return sparse.csr_array((value, (row, column)), shape=(problem.columns,) * 2)


def _met(
    lead: Any, there: np.ndarray, weights: np.ndarray, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-C_j'V_j z_0 of rows: position of each element's row, its column, its value."""
    counts = lead.ptr[there + 1] - lead.ptr[there]
    row = np.repeat(np.arange(len(there)), counts)
    cell = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + lead.ptr[there][row]
    return at[row], lead.cols[cell], -np.einsum("ca,ca->c", lead.vals[cell], weights[row])


def predict(
    fit: Any,
    moments: SeveralMoments,
    terms: Any,
    W: np.ndarray,
    rows: pd.DataFrame,
    level: float,
    posterior: Any = None,
    prior: Mapping[str, np.ndarray] | None = None,
    beside: Beside = PLAIN,
) -> pd.DataFrame:
    """Predictions of rows, old or new, by one engine.

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
    posterior : Dataset, optional
        Draws of a Bayesian engine; without them variances are those at the estimates.
    prior : mapping, optional
        `mean` and `root` of a normal prior of beta (`SeveralMarginal.of`).
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
    fitted, Z, codes = without.copy(), [], []
    for grouping in terms.groupings:
        levels = moments.of(grouping.group).levels
        own = pd.Index(levels).get_indexer(rows[level_column(grouping.group)])
        z = W[:, [at[name] for name in grouping.random]]
        u = np.zeros((len(levels) + 1, z.shape[1]))
        mine = fit.ranef[fit.ranef["group"] == grouping.group]
        u[:-1] = wide(mine, levels, grouping.random)
        fitted += np.einsum("na,na->n", z, u[own])
        Z.append(z)
        codes.append(own)
    problem = build(moments, terms.fixed, [grouping.blocks for grouping in terms.groupings])
    maps = [np.eye(len(grouping.random)) for grouping in terms.groupings]
    density = SeveralMarginal.of(problem, maps, **(prior or {}))
    if posterior is not None:
        most = max(FEWEST, int(WORK / cost_of(problem, len(X))))
        values = spaced_draws(posterior, min(DRAWS, most))
    found = errors(density, spreads_of(values, terms), X, Z, codes)
    return table(fit.engine, rows, (without, fitted), found, level, beside)


def cost_of(problem: SeveralProblem, rows: int) -> float:
    """About how many products of two numbers the errors of so many rows cost per set of parameters."""
    most = int(np.diff(problem.lead.ptr).max(initial=1))
    per_row = most**2 if problem.pattern is None else 2 * len(problem.pattern.rows)
    return 5.0 * problem.cost + float(per_row) * rows


def level_column(group: str) -> str:
    """The column of predictions that has the rows' levels of a factor, where there are several."""
    return f"level__{group}"
