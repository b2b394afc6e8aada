"""What lme4's `summary` prints of a fit, from an engine's tidy tables and the rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.tidy import QUANTILES, RESIDUAL, cor_name, sd_name, variable
from lmm.engines.random_effects import coef, predict, wide
from lmm.inference import variance_explained
from lmm.model.terms import Grouping


def correlations(grouping: Grouping) -> list[tuple[str, str]]:
    """Pairs of random effects whose correlation is a parameter: those within a block."""
    return [(a, b) for block in grouping.blocks for i, a in enumerate(block) for b in block[i + 1 :]]


def lme4_summary(
    parameters: pd.DataFrame,
    ranef: pd.DataFrame,
    terms: Any,
    y: np.ndarray,
    W: np.ndarray,
    levels: Sequence[Sequence[str] | np.ndarray],
) -> dict[str, Any]:
    """The parts of lme4's summary that are not in the tidy tables, and the variance explained.

    Parameters
    ----------
    parameters, ranef : DataFrame
        An engine's tidy tables.
    terms : Terms
        Names of the columns of X and Z, and of the grouping factors.
    y, W : (N,) and (N, K) arrays
        The rows; W's columns are `terms.columns`.
    levels : sequence of (N,) sequences of str
        Each row's level of each grouping factor.

    Returns
    -------
    dict
        scaled_residuals (five quantiles, R's type 7, of (y - conditional fit) / sigma), variances (group,
        term, variance, sd, corr with the terms above it in its block), variance_explained, n_rows, n_groups.
    """
    groups = [own.group for own in terms.groupings]
    values = variance_explained.values_of(parameters, groups)
    fitted = predict(parameters, ranef, terms, W, levels)["conditional"].to_numpy()
    at = {name: k for k, name in enumerate(terms.columns)}
    X = W[:, [at[name] for name in terms.fixed]]
    parts = []
    for own in terms.groupings:
        Z = W[:, [at[name] for name in own.random]]
        parts.append(variance_explained.Component(own.group, own.random, Z.T @ Z / len(y)))
    shares = variance_explained.explained(values, terms.fixed, parts, np.atleast_2d(np.cov(X.T, bias=True)))
    counts = ranef.groupby("group", sort=False)["level"].nunique()
    return {
        "scaled_residuals": np.quantile((y - fitted) / values[RESIDUAL], QUANTILES).tolist(),
        "variances": _variances(values, terms.groupings),
        "fixed_names": list(terms.fixed),
        "variance_explained": {variable(*key, groups): float(share) for key, share in shares.items()},
        "n_rows": len(y),
        "n_groups": dict(counts) if len(groups) > 1 else int(counts.iloc[0]),
    }


def _variances(values: Mapping[str, float], groupings: Sequence[Grouping]) -> list[dict[str, Any]]:
    groups, rows = [own.group for own in groupings], []
    for grouping in groupings:
        for block in grouping.blocks:
            for k, term in enumerate(block):
                sd = values[variable(grouping.group, sd_name(term), groups)]
                names = [variable(grouping.group, cor_name(other, term), groups) for other in block[:k]]
                about = {"group": grouping.group, "term": term, "variance": sd**2, "sd": sd}
                rows.append(about | {"corr": [values[name] for name in names]})
    sigma = values[RESIDUAL]
    return [*rows, {"group": "Residual", "term": "", "variance": sigma**2, "sd": sigma, "corr": []}]


def identity_error(
    parameters: pd.DataFrame,
    ranef: pd.DataFrame,
    terms: Any,
    W: np.ndarray,
    levels: Sequence[Sequence[str] | np.ndarray],
    fitted: np.ndarray,
) -> float:
    """Largest error of coef = fixef + ranef, seen in predictions.

    Each row is predicted from the fixed effects and what the coefficients of its level of each factor differ from
    them, and held against `fitted`, the conditional fitted values that the engine computed itself, in units of y.

    Parameters
    ----------
    parameters : DataFrame
        Tidy parameters.
    ranef : DataFrame
        Tidy random effects.
    terms : Terms
        Names of the columns of X and Z, and of the grouping factors.
    W : (N, K) array
        Model-matrix columns `terms.columns`.
    levels : sequence of (N,) sequences of str
        Each row's level of each grouping factor.
    fitted : (N,) array
        Conditional fitted values of the engine, units of y.

    Returns
    -------
    float
        In units of y.
    """
    at = {name: k for k, name in enumerate(terms.columns)}
    beta = parameters[parameters["effect"] == "fixed"].set_index("term")["estimate"]
    ours = W[:, [at[name] for name in terms.fixed]] @ beta.reindex(list(terms.fixed)).to_numpy(float)
    table = coef(parameters, ranef)
    for grouping, own in zip(terms.groupings, levels, strict=True):
        coefficients = wide(table[table["group"] == grouping.group], own, grouping.random)
        apart = coefficients - beta.reindex(list(grouping.random)).fillna(0.0).to_numpy(float)
        ours += (W[:, [at[name] for name in grouping.random]] * apart).sum(axis=1)
    return float(np.abs(ours - fitted).max())
