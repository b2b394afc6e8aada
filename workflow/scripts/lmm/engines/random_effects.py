"""Random effects given D and sigma, what users make of them (coefficients), and prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.tidy import ranef_frame


@dataclass(frozen=True)
class Given:
    """What the data say of beta and of each u_j where D and sigma are known (docs/statistics.md, section 2).

    Attributes
    ----------
    mean : (J, q) array
        BLUPs.
    cov : (J, q, q) array
        V_j, lme4's condVar.
    cov_error : (J, q, q) array
        V_j + K_j cov(beta) K_j', of the prediction error.
    beta, beta_se : (p,) arrays
        GLS estimate and its standard errors.
    """

    mean: np.ndarray
    cov: np.ndarray
    cov_error: np.ndarray
    beta: np.ndarray
    beta_se: np.ndarray


def given_rows(
    y: np.ndarray,
    X: np.ndarray,
    Z: np.ndarray,
    codes: np.ndarray,
    D: np.ndarray,
    sigma: float,
    beta: np.ndarray,
) -> Given:
    """Conditional distributions of the random effects at beta, and GLS beside it, from the rows.

    `lmm.likelihood.conditional` does the same from moments; an engine that reads rows shares nothing with it, so that
    each checks the other.

    Parameters
    ----------
    y : (N,) array
        Response.
    X : (N, p) array
        Columns of the fixed effects.
    Z : (N, q) array
        Columns of the random effects.
    codes : (N,) int array
        Groups 0 .. J - 1.
    D : (q, q) array
        May be singular.
    sigma : float
        Residual sd, units of y.
    beta : (p,) array
        BLUPs are taken at this value, whether it is the GLS estimate or not.

    Returns
    -------
    Given
    """
    q, s2 = Z.shape[1], sigma**2
    # residuals and not y: with y far from 0 its cross-products would cancel
    gram = group_gram(np.column_stack([Z, X, y - X @ beta]), codes, codes.max() + 1)
    A, B, c = gram[:, :q, :q], gram[:, :q, q:-1], gram[:, :q, -1]
    values, vectors = np.linalg.eigh(D)
    L = vectors * np.sqrt(np.maximum(values, 0.0))
    V = L @ np.linalg.solve(np.eye(q) + L.T @ A @ L / s2, np.broadcast_to(L.T, A.shape))
    K = V @ B / s2
    precision = (gram[:, q:-1, q:-1].sum(axis=0) - np.einsum("jka,jkb->ab", B, K)) / s2
    score = (gram[:, q:-1, -1].sum(axis=0) - np.einsum("jka,jk->a", K, c)) / s2
    cov_beta = np.linalg.inv(precision)
    return Given(
        mean=np.einsum("jkl,jl->jk", V, c) / s2,
        cov=V,
        cov_error=V + K @ cov_beta @ np.swapaxes(K, 1, 2),
        beta=beta + cov_beta @ score,
        beta_se=np.sqrt(np.diag(cov_beta)),
    )


def ranef_table(
    given: Given,
    terms: Any,
    levels: Sequence[str] | np.ndarray,
    unit: np.ndarray,
    z: float,
    truth: dict[str, Any] | None,
) -> pd.DataFrame:
    """The tidy random effects, group by group.

    Parameters
    ----------
    given : Given
        Of the columns Z / unit.
    terms : Terms
        Names of the columns of X and Z, and of the grouping factors.
    levels : sequence of str, length J
        Names of the groups.
    unit : (q,) array
        What Z's columns were divided by.
    z : float
        Half-width of the interval, in prediction errors.
    truth : dict or None
        truth.json's content.

    Returns
    -------
    DataFrame
        Columns RANEF.
    """
    mean = given.mean / unit
    error = np.sqrt(np.einsum("jkk->jk", given.cov_error)) / unit
    cond_sd = np.sqrt(np.einsum("jkk->jk", given.cov)) / unit
    return ranef_frame(
        terms.group,
        levels,
        terms.random,
        truth,
        estimate=mean,
        std_error=error,
        cond_sd=cond_sd,
        conf_low=mean - z * error,
        conf_high=mean + z * error,
    )


def coef(parameters: pd.DataFrame, ranef: pd.DataFrame) -> pd.DataFrame:
    """lme4's coef = fixef + ranef: each group's own coefficients, from an engine's tidy tables.

    Returns
    -------
    DataFrame
        level, term, estimate; a random term without a fixed effect has its random effect alone.
    """
    fixed = parameters[parameters["effect"] == "fixed"].set_index("term")["estimate"]
    table = ranef[["level", "term", "estimate"]].reset_index(drop=True)
    return table.assign(estimate=table["estimate"] + table["term"].map(fixed).fillna(0.0).astype(float))


def wide(table: pd.DataFrame, levels: Sequence[str] | np.ndarray, terms: Sequence[str]) -> np.ndarray:
    """Estimates of a tidy table (level, term, estimate) as (n levels, n terms); NaN where there is none.

    Parameters
    ----------
    table : DataFrame
        level, term, estimate.
    levels : sequence of str
        The groups wanted, in their order.
    terms : sequence of str
        The terms wanted, in their order.

    Returns
    -------
    (levels, terms) array
        NaN where the table has no value.
    """
    at = table.set_index(["term", "level"])["estimate"]
    labels = np.asarray(levels).astype(str)
    return np.column_stack([at.loc[term].reindex(labels).to_numpy(float) for term in terms])


def predict(
    parameters: pd.DataFrame,
    ranef: pd.DataFrame | None,
    terms: Any,
    W: np.ndarray,
    levels: Sequence[str] | np.ndarray,
) -> pd.DataFrame:
    """Fitted values of rows, old or new, from an engine's tidy tables.

    Parameters
    ----------
    parameters, ranef : DataFrame
        An engine's tables; `ranef` None for an engine without random effects.
    terms : Terms
        Names of the columns of X and Z, and of the grouping factors.
    W : (N, K) array
        Columns `terms.columns`.
    levels : (N,) sequence of str
        Each row's group; one that the fit did not see has random effects of 0.

    Returns
    -------
    DataFrame
        fixed: X beta (lme4's `re.form = NA`), conditional: X beta + Z u.
    """
    at = {name: k for k, name in enumerate(terms.columns)}
    beta = parameters[parameters["effect"] == "fixed"].set_index("term")["estimate"]
    fixed = W[:, [at[name] for name in terms.fixed]] @ beta.reindex(list(terms.fixed)).to_numpy(float)
    effect = np.zeros(len(W))
    if ranef is not None:
        u = np.nan_to_num(wide(ranef, levels, terms.random))
        effect = (W[:, [at[name] for name in terms.random]] * u).sum(axis=1)
    return pd.DataFrame({"fixed": fixed, "conditional": fixed + effect})


def group_gram(columns: np.ndarray, codes: np.ndarray, n_groups: int) -> np.ndarray:
    """Gram matrix of each group's rows of `columns` (N, k): (J, k, k), zeros for a group without rows.

    Parameters
    ----------
    columns : (N, k) array
        Columns.
    codes : (N,) int array
        Each row's group, from 0 to n_groups - 1.
    n_groups : int
        J.

    Returns
    -------
    (J, k, k) array
    """
    n = np.bincount(codes, minlength=n_groups)
    starts = np.concatenate([[0], np.cumsum(n)[:-1]])[n > 0]
    ordered = columns[np.argsort(codes, kind="stable")]
    gram = np.zeros((n_groups, columns.shape[1], columns.shape[1]))
    for a in range(
        columns.shape[1]
    ):  # a column at a time: all pairs at once would take k times the rows' memory
        gram[n > 0, a] = np.add.reduceat(ordered[:, a, None] * ordered, starts, axis=0)
    return gram
