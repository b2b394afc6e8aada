"""The tidy tables that every engine returns, and nothing else of it.

Terms are named as in broom.mixed: `Intercept`, `x`, `sd__Intercept`, `cor__Intercept.x`, `sd__Observation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from lmm.store import read_json, read_table, write_json, write_table

PARAMETERS = [
    "engine", "effect", "group", "term", "estimate", "std_error", "statistic", "p_value",
    "conf_low", "conf_high", "truth",
]  # fmt: skip
DRAWS = ["median", "sd", "mad", "q5", "q95", "rhat", "ess_bulk", "ess_tail", "mcse_mean"]
RANEF = ["group", "level", "term", "estimate", "std_error", "cond_sd", "conf_low", "conf_high", "truth"]
RESIDUAL = "sd__Observation"
OWN_ROWS = 100_000  # up to this many rows of a study get fitted values; beyond it those of `predict` alone
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of residuals, as R's summaries print them


def sd_name(term: str) -> str:
    """`sd__x`: the standard deviation of the random effect of `term`."""
    return f"sd__{term}"


def cor_name(first: str, second: str) -> str:
    """`cor__Intercept.x`: the correlation of two random effects."""
    return f"cor__{first}.{second}"


def truth_of(truth: dict[str, Any] | None, term: str) -> float:
    """The value simulated from (truth.json) for a tidy term; NaN for own data.

    A correlation that the truth does not list is 0: independent random effects are simulated as such.
    """
    if truth is None:
        return np.nan
    if term == RESIDUAL:
        return truth["sigma"]
    if term.startswith("sd__"):
        return truth["sd"].get(term.removeprefix("sd__"), np.nan)
    if term.startswith("cor__"):
        known = truth["corr"].get(term.removeprefix("cor__"), 0.0)
        return np.nan if known is None else known  # JSON's null: beside an sd of 0
    return truth["fixed"].get(term, np.nan)


def ranef_frame(
    group: str, levels: np.ndarray, random: tuple[str, ...], truth: dict[str, Any] | None, **columns: Any
) -> pd.DataFrame:
    """Tidy random effects, group by group in the order of `levels`, from (J, q) arrays.

    Parameters
    ----------
    group : str
        Name of the grouping factor.
    levels : (J,) array of str
    random : (q,) terms
    truth : dict or None
        truth.json's content.
    **columns : (J, q) arrays, or one value for all
    """
    count, q = len(levels), len(random)
    names = pd.array(np.asarray(levels), dtype="str")
    drawn, realised = (truth or {}).get("ranef", {}), np.nan
    if drawn:
        known = [pd.Series(drawn.get(term, {}), dtype=float).reindex(names) for term in random]
        realised = np.column_stack(known).ravel()
    # columns of text are taken from their few values, not made from an object a row
    table = pd.DataFrame(
        {
            "group": pd.array([group], dtype="str").take(np.zeros(count * q, dtype=int)),
            "level": names.repeat(q),
            "term": pd.array(random, dtype="str").take(np.tile(np.arange(q), count)),
            **{name: np.ravel(value) if np.ndim(value) else value for name, value in columns.items()},
            "truth": realised,
        }
    )
    extra = [name for name in table if name not in RANEF]
    return table.reindex(columns=[*RANEF, *extra])


def rank_deficient(dropped: Sequence[str]) -> str:
    """The sentence that says which fixed effects were dropped."""
    said = (
        "a linear combination of those before it was"
        if len(dropped) == 1
        else (f"{len(dropped)} linear combinations of those before them were")
    )
    return f"the fixed effects are rank-deficient in these data: {said} dropped ({', '.join(dropped)})"


@dataclass(frozen=True)
class Fit:
    """What an engine made of a study: tables and diagnostics, never its own objects.

    Attributes
    ----------
    engine : str
    parameters : DataFrame
        Columns `PARAMETERS`, for a Bayesian engine `DRAWS` beside them.
    ranef : DataFrame or None
        Columns `RANEF` (a Bayesian engine adds mcse_mean and ess_bulk); None for an engine without random effects.
    diagnostics : dict
        converged, singular, status, message, criterion, gates, warnings, seconds, versions, n_rows, n_groups,
        conf_level, dropped (fixed effects dropped before the fit); an engine's own summary under `summary`.
    """

    engine: str
    parameters: pd.DataFrame
    ranef: pd.DataFrame | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)

    def noting(self, dropped: Sequence[str]) -> "Fit":
        """The same fit; its diagnostics and warnings name the fixed effects that were dropped before it."""
        warned = [
            *([rank_deficient(dropped)] if dropped else []),
            *(self.diagnostics.get("warnings") or []),
        ]
        noted = self.diagnostics | {"dropped": list(dropped), "warnings": warned}
        return replace(self, diagnostics=noted)

    def write(self, parameters: str, diagnostics: str, ranef: str | None = None) -> None:
        """Write the three artifacts."""
        write_table(parameters, self.parameters)
        if ranef is not None:
            write_table(ranef, self.ranef)
        write_json(diagnostics, self.diagnostics)

    @classmethod
    def read(cls, parameters: str, diagnostics: str, ranef: str | None = None) -> "Fit":
        """Read the artifacts that `write` wrote."""
        details = read_json(diagnostics)
        return cls(details["engine"], read_table(parameters), read_table(ranef) if ranef else None, details)
