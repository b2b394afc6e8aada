"""Predictions with their errors: the mean of a row's group, and a new observation there.

For a row (x, z) of group j, with d = x - K_j'z (docs/statistics.md, section 13; Henderson 1975, Biometrics 31):

    fitted = x'beta_hat + z'u_hat_j
    var(fitted - x'beta - z'u_j) = z'V_j z + d' cov(beta_hat) d

because cov(beta_hat - beta, u_hat_j - u_j) = -cov(beta_hat) K_j'. A group without data has V = D, K = 0,
u_hat = 0. A new observation adds sigma^2, divided by its weight where rows have weights; an offset is added to the
mean. For draws of (D, sigma) these are moments given the draw, put together by the laws of total expectation and
variance.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lmm.core.progress import Progress
from lmm.core.tidy import RESIDUAL
from lmm.engines.pymc.posterior import given_draws
from lmm.engines.random_effects import wide
from lmm.inference.spreads import root_of, spaced_draws
from lmm.inference.variance_explained import covariance_of
from lmm.likelihood.lanes import unpack
from lmm.likelihood.marginal import pack_problem
from lmm.likelihood.problem import Problem, problem_of
from lmm.moments.moments import Moments

VALUES = [
    "engine", "fitted_fixed", "fitted", "std_error", "conf_low", "conf_high", "pred_low", "pred_high", "estimable",
]  # fmt: skip
COLUMNS = ["source", "row", "level", *VALUES]
DRAWS = 200  # of the posterior that variances are averaged over, evenly spaced; the catalogue of engines quotes it
BATCH = 20_000  # rows at a time: bounds memory to some of their q x q matrices


class Beside(NamedTuple):
    """What rows have beside their predictors: precision weights, and what is added to their means; (N,) arrays."""

    weights: np.ndarray | float = 1.0
    offset: np.ndarray | float = 0.0


PLAIN = Beside()


class Errors(NamedTuple):
    """Of each row: variance of the predicted mean, and of a new observation's noise; (N,) arrays."""

    mean: np.ndarray
    noise: np.ndarray


def parameters_of(parameters: pd.DataFrame, random: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """L (1, q, q) and sigma (1,) of an engine's estimates."""
    values = dict(zip(parameters["term"], parameters["estimate"], strict=True))
    return root_of(covariance_of(values, random))[None], np.array([float(values[RESIDUAL])])


def posterior_of(posterior: Any, random: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """L (S, q, q) and sigma (S,) of some draws of a posterior."""
    values = spaced_draws(posterior, DRAWS)
    return root_of(covariance_of(values, random)), np.ascontiguousarray(values[RESIDUAL])


def errors(
    problem: Problem,
    packed: np.ndarray,
    roots: np.ndarray,
    sigmas: np.ndarray,
    X: np.ndarray,
    Z: np.ndarray,
    codes: np.ndarray,
) -> Errors:
    """Prediction error variances, averaged over draws of (D, sigma).

    Parameters
    ----------
    problem : Problem
    packed : (n,) array
        From `marginal.pack_problem`, with the prior of beta where there is one.
    roots, sigmas : (S, q, q), (S,) arrays
        L and sigma, original units; S = 1 for an estimate.
    X, Z : (N, p), (N, q) arrays
        Original units.
    codes : (N,) int array
        Each row's group in the moments, -1 for a group without data.
    """
    q, p = problem.q, problem.p
    n = len(sigmas)
    scale = (sigmas / problem.y_scale)[:, None, None]
    factors = np.linalg.solve(problem.z_map, roots) / scale
    beta, _, half, _, _ = given_draws(
        packed, np.ascontiguousarray(roots), np.ascontiguousarray(sigmas), np.zeros((n, p)), np.ones(n, bool)
    )
    groups, place = np.unique(codes[codes >= 0], return_inverse=True)
    gram = unpack(problem.gram, problem.n_groups)[groups]
    a, b, c = gram[:, :, :q], gram[:, :, q : q + p], gram[:, :, q + p]
    at = np.full(len(codes), -1)  # the last of the lists below: a group without data
    at[codes >= 0] = place
    x, z = X @ problem.x_map, Z @ problem.z_map
    within, noise = np.zeros(len(x)), np.mean(sigmas**2)
    means, squares = np.zeros(len(x)), np.zeros(len(x))
    with Progress("prediction errors", len(sigmas) * -(-len(x) // BATCH)) as progress:
        for s, sigma in enumerate(sigmas):
            own, factor = sigma / problem.y_scale, factors[s]
            m = np.eye(q) + factor.T @ a @ factor
            part = np.linalg.solve(np.linalg.cholesky(m), np.broadcast_to(factor.T, m.shape))
            v = part.transpose(0, 2, 1) @ part  # V_j / sigma^2
            k = np.concatenate([v @ b, np.zeros((1, q, p))])
            u = np.concatenate([np.einsum("jab,jb->ja", v, c - b @ beta[s]), np.zeros((1, q))])
            v = np.concatenate([v, (factor @ factor.T)[None]])
            for start in range(0, len(x), BATCH):
                rows = slice(start, start + BATCH)
                j, zs = at[rows], z[rows]
                d = x[rows] - np.einsum("nab,na->nb", k[j], zs)
                spread = own**2 * np.einsum("na,nab,nb->n", zs, v[j], zs, optimize=True)
                within[rows] += spread + ((d @ half[s]) ** 2).sum(axis=1)
                mean = x[rows] @ (beta[s] - beta[0]) + np.einsum("na,na->n", zs, u[j])
                means[rows] += mean
                squares[rows] += mean**2
                progress.advance()
    between = np.maximum(squares / n - (means / n) ** 2, 0.0) if n > 1 else 0.0
    return Errors(within / n + between, np.full(len(x), noise))


def fitted(
    parameters: pd.DataFrame,
    ranef: pd.DataFrame,
    moments: Moments,
    fixed: Sequence[str],
    random: Sequence[str],
    X: np.ndarray,
    Z: np.ndarray,
    codes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """X beta, and X beta + Z u, from an engine's tidy tables (N,) each; u is 0 in a group without data."""
    beta = parameters.loc[parameters["effect"] == "fixed"].set_index("term")["estimate"]
    without = X @ beta.reindex(list(fixed)).to_numpy(float)
    u = np.zeros((moments.n_groups + 1, len(random)))
    u[:-1] = wide(ranef, moments.levels, random)
    return without, without + np.einsum("na,na->n", Z, u[codes])


def table(
    engine: str,
    rows: pd.DataFrame,
    means: tuple[np.ndarray, np.ndarray],
    found: Errors,
    level: float,
    beside: Beside,
) -> pd.DataFrame:
    """An engine's predictions.

    Parameters
    ----------
    engine : str
    rows : DataFrame
        source, row, level (of each factor, where there are several), estimable.
    means : from `fitted`
    found : from `errors`
    level : float
        Of the intervals, which are normal: exact given D and sigma, an approximation of a posterior's.
    beside : Beside
    """
    without, with_ = (mean + beside.offset for mean in means)
    z = stats.norm.ppf(0.5 + level / 2)
    error, whole = np.sqrt(found.mean), np.sqrt(found.mean + found.noise / beside.weights)
    names = [name for name in rows.columns if name != "estimable"]
    out = rows.assign(
        engine=engine,
        fitted_fixed=without,
        fitted=with_,
        std_error=error,
        conf_low=with_ - z * error,
        conf_high=with_ + z * error,
        pred_low=with_ - z * whole,
        pred_high=with_ + z * whole,
    )
    return out[[*names, *VALUES]]


def predict(
    fit: Any,
    moments: Moments,
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
    moments : Moments
    terms : Terms
    W : (N, K) array
        Columns `terms.columns`.
    rows : DataFrame
        source, row, level of each; estimable: whether the fixed effects say what its mean is.
    level : float
    posterior : Dataset, optional
        Draws of a Bayesian engine; without them variances are those at the estimates.
    prior : mapping, optional
        `mean` and `root` of a normal prior of beta (`density.pack_problem`).
    beside : Beside
        Weights and offset of the rows.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`.
    """
    at = {name: k for k, name in enumerate(terms.columns)}
    X, Z = W[:, [at[name] for name in terms.fixed]], W[:, [at[name] for name in terms.random]]
    codes = pd.Index(moments.levels).get_indexer(rows["level"])
    problem = problem_of(moments, terms.fixed, terms.blocks)
    packed = pack_problem(problem, **(prior or {}))
    if posterior is None:
        roots, sigmas = parameters_of(fit.parameters, terms.random)
    else:
        roots, sigmas = posterior_of(posterior, terms.random)
    means = fitted(fit.parameters, fit.ranef, moments, terms.fixed, terms.random, X, Z, codes)
    found = errors(problem, packed, roots, sigmas, X, Z, codes)
    return table(fit.engine, rows, means, found, level, beside)
