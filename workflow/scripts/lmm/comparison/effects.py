"""The effects stage: means, slopes and contrasts of every engine on one reference grid."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmm.core import engines
from lmm.core.tidy import EFFECTS_FIRST, EFFECTS_LAST, Fit, grid_name
from lmm.inference.effects import estimates, summaries
from lmm.inference.exact import optimum_of, problem_for, tested_by
from lmm.inference.fixed_effects import FixedEffects
from lmm.inference.functions import Functions, functions, not_estimable
from lmm.inference.reference_grid import ReferenceGrid, Request, outside
from lmm.model.design import rebuild
from lmm.model.terms import Terms
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments

DEFAULT = "satterthwaite"  # degrees of freedom where no exact fit says otherwise


def requests(settings: Sequence[Mapping[str, Any]] | None) -> list[Request] | None:
    """The entries of `effects` in the configuration; None where the defaults are wanted."""
    if settings is None:
        return None
    out = []
    for k, entry in enumerate(settings):
        kind = "means" if entry.get("means") is not None else "slopes"
        out.append(
            Request(
                kind=kind,
                of=_names(entry[kind]),
                by=_names(entry.get("by", [])),
                at=entry.get("at", {}),
                contrasts=entry.get("contrasts"),
                adjust=adjustment(entry),
                where=f"effects.{k}",
            )
        )
    return out


def adjustment(entry: Mapping[str, Any]) -> str:
    """How an entry's contrasts are adjusted: as it says, else tukey for pairwise ones, as in emmeans."""
    return entry.get("adjust") or ("tukey" if entry.get("contrasts") == "pairwise" else "none")


def _names(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def prepared(
    state: Mapping[str, Any], data: Mapping[str, Any], settings: Sequence[Mapping[str, Any]] | None
) -> dict[str, Any]:
    """The functions that are asked for, and warnings: functions.json.

    Parameters
    ----------
    state : mapping
        Of the study's design, from design.json.
    data : mapping
        data.json's content.
    settings : sequence of mappings, or None
        `effects` of the configuration.

    Raises
    ------
    StudyError
        A request that the model has no answer to.
    """
    grid = ReferenceGrid(rebuild(state), data["columns"], data["rows"])
    asked, notes = requests(settings), []
    if asked is None:
        asked, notes = grid.default(), grid.unpaired()
    return {
        "functions": [group.plain() for request in asked for group in functions(grid, request)],
        "warnings": notes
        + [
            warning
            for request in asked
            for warning in (*outside(grid, request), *not_estimable(grid, request))
        ],
    }


def of_pooled(moments: Moments | SeveralMoments, terms: Terms) -> FixedEffects:
    """Least squares, by t with the residual degrees of freedom."""
    found = moments.ols(terms.fixed)
    covariance = found.cov_unscaled * found.rss / found.df_resid
    return FixedEffects.with_df(found.beta, covariance, float(found.df_resid))


def of_likelihood(
    fit: Fit, exact: FixedEffects | None, moments: Moments, terms: Terms
) -> FixedEffects | None:
    """Another optimiser's estimates: those of the exact fit at the same optimum, else by z; None without a fit.

    Where the study has no exact fit of the model, it is found here.
    """
    table = fit.parameters[fit.parameters["effect"] == "fixed"]
    if not len(table):
        return None
    summary = fit.diagnostics.summary
    if (summary.get("reml_gap") or {}).get("reached"):
        if exact is None:
            problem = problem_for(moments, terms)
            exact = tested_by(DEFAULT, problem, optimum_of(problem))
        return exact
    error = table["std_error"].to_numpy(float)
    if "corr_fixed" not in summary and len(error) > 1:
        return None  # without their correlations, nothing is known of combinations
    covariance = np.outer(error, error) * np.array(summary.get("corr_fixed", [[1.0]]))
    return FixedEffects.with_df(table["estimate"].to_numpy(float), covariance, np.inf)


def table(
    groups: Sequence[Functions], fitted: Mapping[str, FixedEffects | np.ndarray], level: float
) -> pd.DataFrame:
    """effects.csv: every function by every engine.

    Parameters
    ----------
    groups : sequence of Functions
    fitted : mapping of engine to FixedEffects, or to draws (S, p)
    level : float
        Of the intervals.
    """
    parts = []
    for engine in engines.ordered(fitted):
        own = fitted[engine]
        for group in groups:
            by = estimates if isinstance(own, FixedEffects) else summaries
            parts.append(by(group, own, level).assign(engine=engine))
    grid = list(dict.fromkeys(grid_name(name) for group in groups for name in group.cells))
    columns = [*EFFECTS_FIRST, *grid, *EFFECTS_LAST]
    return (
        pd.concat(parts, ignore_index=True).reindex(columns=columns)
        if parts
        else pd.DataFrame(columns=columns)
    )
