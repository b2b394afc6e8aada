"""What lme4's `summary` prints of a fit, from an engine's tidy tables and the rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.tidy import QUANTILES, RESIDUAL, cor_name, sd_name
from lmm.engines.random_effects import coef, predict, wide
from lmm.inference import variance_explained


def correlations(terms: Any) -> list[tuple[str, str]]:
    """Pairs of random effects whose correlation is a parameter: those within a block."""
    return [(a, b) for block in terms.blocks for i, a in enumerate(block) for b in block[i + 1 :]]


def lme4_summary(
    parameters: pd.DataFrame,
    ranef: pd.DataFrame,
    terms: Any,
    y: np.ndarray,
    W: np.ndarray,
    levels: Sequence[str] | np.ndarray,
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
    levels : (N,) sequence of str
        Each row's group.

    Returns
    -------
    dict
        scaled_residuals (five quantiles, R's type 7, of (y - conditional fit) / sigma), variances (group,
        term, variance, sd, corr with the terms above it in its block), variance_explained, n_rows, n_groups.
    """
    values = dict(zip(parameters["term"], parameters["estimate"], strict=True))
    fitted = predict(parameters, ranef, terms, W, levels)["conditional"].to_numpy()
    at = {name: k for k, name in enumerate(terms.columns)}
    X, Z = W[:, [at[name] for name in terms.fixed]], W[:, [at[name] for name in terms.random]]
    own = variance_explained.Component(terms.group, terms.random, Z.T @ Z / len(y))
    shares = variance_explained.explained(values, terms.fixed, [own], np.atleast_2d(np.cov(X.T, bias=True)))
    return {
        "scaled_residuals": np.quantile((y - fitted) / values[RESIDUAL], QUANTILES).tolist(),
        "variances": _variances(values, terms),
        "fixed_names": list(terms.fixed),
        "variance_explained": {name: float(share) for (_, name), share in shares.items()},
        "n_rows": len(y),
        "n_groups": ranef["level"].nunique(),
    }


def _variances(values: dict[str, float], terms: Any) -> list[dict[str, Any]]:
    rows = []
    for block in terms.blocks:
        for k, term in enumerate(block):
            sd = values[sd_name(term)]
            corr = [values[cor_name(other, term)] for other in block[:k]]
            rows.append({"group": terms.group, "term": term, "variance": sd**2, "sd": sd, "corr": corr})
    sigma = values[RESIDUAL]
    return [*rows, {"group": "Residual", "term": "", "variance": sigma**2, "sd": sigma, "corr": []}]


def identity_error(
    parameters: pd.DataFrame,
    ranef: pd.DataFrame,
    terms: Any,
    W: np.ndarray,
    levels: Sequence[str] | np.ndarray,
    fitted: np.ndarray,
) -> float:
    """Largest error of coef = fixef + ranef, seen in predictions.

    Each row is predicted from its group's own coefficients (and the fixed effects that no group varies) and
    held against `fitted`, the conditional fitted values that the engine computed itself, in units of y.

    Parameters
    ----------
    parameters : DataFrame
        Tidy parameters.
    ranef : DataFrame
        Tidy random effects.
    terms : Terms
        Names of the columns of X and Z, and of the grouping factor.
    W : (N, K) array
        Model-matrix columns `terms.columns`.
    levels : (N,) sequence of str
        Each row's group.
    fitted : (N,) array
        Conditional fitted values of the engine, units of y.

    Returns
    -------
    float
        In units of y.
    """
    at = {name: k for k, name in enumerate(terms.columns)}
    rest = [name for name in terms.fixed if name not in terms.random]
    own = wide(coef(parameters, ranef), levels, terms.random)
    beta = parameters[parameters["effect"] == "fixed"].set_index("term")["estimate"]
    ours = (W[:, [at[name] for name in terms.random]] * own).sum(axis=1)
    ours += W[:, [at[name] for name in rest]] @ beta.reindex(rest).to_numpy(float)
    return float(np.abs(ours - fitted).max())
