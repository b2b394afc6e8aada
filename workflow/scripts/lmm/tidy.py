"""The tidy tables that every engine returns, and nothing else of it.

Terms are named as in broom.mixed: `Intercept`, `x`, `sd__Intercept`, `cor__Intercept.x`, `sd__Observation`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
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
    """`cor__Intercept.x`: the correlation of two random effects.

    A first name that `pair_of` would not tell from the second, as in `a.b.c`, stands in backticks: "cor__`a.b`.c".
    """
    plain = f"cor__{first}.{second}"
    return plain if pair_of(plain) == (first, second) else f"cor__`{first.replace('`', '``')}`.{second}"


def corr_key(first: str, second: str) -> str:
    """`Intercept.x`: the same in truth.json and in the configuration."""
    return cor_name(first, second).removeprefix("cor__")


def pair_of(term: str) -> tuple[str, str]:
    """The two random effects of a correlation's name, which `cor_name` made: the first ends at the first dot.

    Dots in the brackets of a level do not count: `cor__f[T.a].f[T.b]` is of f[T.a] and f[T.b].
    """
    name, depth = term.removeprefix("cor__"), 0
    if quoted := re.match(r"`((?:[^`]|``)+)`\.", name):
        return quoted[1].replace("``", "`"), name[quoted.end() :]
    for at, sign in enumerate(name):
        depth += (sign == "[") - (sign == "]")
        if sign == "." and depth <= 0:
            return name[:at], name[at + 1 :]
    first, _, second = name.partition(".")
    return first, second


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
        keys = (term.removeprefix("cor__"), ".".join(pair_of(term)))
        known = next((truth["corr"][key] for key in keys if key in truth["corr"]), 0.0)
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


def variables(terms: Sequence[str]) -> dict[str, str]:
    """Tidy term -> its variable in posterior.nc: itself, but for names that NetCDF or the file's axes do not allow.

    NetCDF takes a slash for a folder. The variable's attribute `term` has the term as it is.
    """
    found: dict[str, str] = {}
    for term in terms:
        name = term.replace("/", "\N{DIVISION SLASH}")
        while name in ("chain", "draw", "level", "term", "ranef", ".") or name in found.values():
            name += "_"
        found[term] = name
    return found


def by_term(posterior: Any) -> dict[str, Any]:
    """The posterior's variables with one number a draw, by tidy term."""
    return {
        str(values.attrs.get("term", name)): values
        for name, values in posterior.data_vars.items()
        if set(values.dims) == {"chain", "draw"}
    }


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
        conf_level; an engine's own summary under `summary`.
    """

    engine: str
    parameters: pd.DataFrame
    ranef: pd.DataFrame | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)

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
