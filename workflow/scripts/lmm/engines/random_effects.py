"""What users make of random effects: coefficients and fitted values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd


def coef(parameters: pd.DataFrame, ranef: pd.DataFrame) -> pd.DataFrame:
    """lme4's coef = fixef + ranef: each group's own coefficients, from an engine's tidy tables.

    Returns
    -------
    DataFrame
        group, level, term, estimate; a random term without a fixed effect has its random effect alone.
    """
    fixed = parameters[parameters["effect"] == "fixed"].set_index("term")["estimate"]
    table = ranef[["group", "level", "term", "estimate"]].reset_index(drop=True)
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
    levels: Sequence[Sequence[str] | np.ndarray],
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
    levels : sequence of (N,) sequences of str
        Each row's level of each grouping factor; one that the fit did not see has random effects of 0.

    Returns
    -------
    DataFrame
        fixed: X beta (lme4's `re.form = NA`), conditional: X beta + Z u.
    """
    at = {name: k for k, name in enumerate(terms.columns)}
    beta = parameters[parameters["effect"] == "fixed"].set_index("term")["estimate"]
    fixed = W[:, [at[name] for name in terms.fixed]] @ beta.reindex(list(terms.fixed)).to_numpy(float)
    effect = np.zeros(len(W))
    for grouping, own in zip(terms.groupings, levels, strict=True):
        if ranef is None:
            break
        u = np.nan_to_num(wide(ranef[ranef["group"] == grouping.group], own, grouping.random))
        effect += (W[:, [at[name] for name in grouping.random]] * u).sum(axis=1)
    return pd.DataFrame({"fixed": fixed, "conditional": fixed + effect})
