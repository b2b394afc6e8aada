"""The tidy tables that every engine returns, and nothing else of it.

Terms are named as in broom.mixed: `Intercept`, `x`, `sd__Intercept`, `cor__Intercept.x`, `sd__Observation`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from lmm.core.columns import Table
from lmm.core.store import read_json, read_table, write_json, write_table

PARAMETERS = [
    "engine", "effect", "group", "term", "estimate", "std_error", "statistic", "df", "p_value",
    "conf_low", "conf_high", "truth",
]  # fmt: skip
DRAWS = ["median", "sd", "mad", "q5", "q95", "rhat", "ess_bulk", "ess_tail", "mcse_mean"]
CORRELATIONS = "correlation matrix"  # of a factor's random effects: what a prior of correlations is of
RESIDUAL = "sd__Observation"
# effects.csv: before and behind the predictors' columns
EFFECTS_FIRST = ["engine", "effect", "kind"]
EFFECTS_LAST = [
    "contrast", "estimate", "std_error", "df", "conf_low", "conf_high", "statistic", "p_value", "p_adjusted",
    "median", "prob_direction",
]  # fmt: skip
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


def grid_name(column: str) -> str:
    """A predictor's column in effects.csv: in backticks where one of the table's own has its name."""
    return f"`{column}`" if column in (*EFFECTS_FIRST, *EFFECTS_LAST) else column


def group_of(term: str, group: str) -> str:
    """Column `group` of a parameter: the factor's name, `Residual` for the residual sd."""
    return "Residual" if term == RESIDUAL else group


def groups_of(table: Any) -> list[str]:
    """Grouping factors of a data frame of parameters, by its column `group`."""
    return [group for group in table["group"].dropna().unique() if group not in ("", "Residual")]


def variable(group: str, term: str, groups: Sequence[str]) -> str:
    """One name for a key (group, term), for JSON and NetCDF: the term, and its factor where there are several.

    Parameters
    ----------
    group, term : str
        A row's key; `group` is "" for a fixed effect.
    groups : sequence of str
        The model's grouping factors.

    Returns
    -------
    str
    """
    return f"{term}|{group}" if len(groups) > 1 and group in groups else term


def _of_group(values: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    """Of a mapping by term, or by factor and term where there are several factors, that of a factor."""
    nested = any(isinstance(value, Mapping) for value in values.values())
    return values.get(group, {}) if nested else values


def truth_of(truth: Mapping[str, Any] | None, group: str, term: str) -> float:
    """The value simulated from (truth.json) for a key; NaN for own data.

    A correlation that the truth does not list is 0: independent random effects are simulated as such.

    Parameters
    ----------
    truth : dict or None
        truth.json's content; None for own data.
    group : str
        The row's grouping factor, where it has one.
    term : str
        A tidy term.

    Returns
    -------
    float
        NaN if not known.
    """
    if truth is None:
        return np.nan
    if term == RESIDUAL:
        return truth["sigma"]
    if term.startswith("sd__"):
        return _of_group(truth["sd"], group).get(term.removeprefix("sd__"), np.nan)
    if term.startswith("cor__"):
        keys, own = (term.removeprefix("cor__"), ".".join(pair_of(term))), _of_group(truth["corr"], group)
        known = next((own[key] for key in keys if key in own), 0.0)
        return np.nan if known is None else known  # JSON's null: beside an sd of 0
    return truth["fixed"].get(term, np.nan)


def realised_of(truth: Mapping[str, Any] | None, group: str, term: str) -> float:
    """Sd or correlation of the effects (or sd of the errors) that were in fact drawn; NaN if not known.

    Parameters
    ----------
    truth : dict or None
        truth.json's content; None for own data.
    group : str
        The row's grouping factor, where it has one.
    term : str
        A tidy term.

    Returns
    -------
    float
    """
    drawn = (truth or {}).get("realised") or {}
    if term == RESIDUAL:
        value = drawn.get("sigma")
    else:
        kind, _, name = term.partition("__")
        value = _of_group(drawn.get({"sd": "sd", "cor": "corr"}.get(kind, "")) or {}, group).get(name)
    return np.nan if value is None else float(value)


def rank_deficient(dropped: Sequence[str]) -> str:
    """The sentence that says which fixed effects were dropped."""
    if len(dropped) == 1:
        said = "a linear combination of those before it was"
    else:
        said = f"{len(dropped)} linear combinations of those before them were"
    return f"the fixed effects are rank-deficient in these data: {said} dropped ({', '.join(dropped)})"


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
    """The posterior's variables with one number per draw, by tidy term."""
    return {
        str(values.attrs.get("term", name)): values
        for name, values in posterior.data_vars.items()
        if set(values.dims) == {"chain", "draw"}
    }


def read_draws(path: str, group: str = "posterior") -> dict[str, np.ndarray]:
    """Of a group of posterior.nc what has one number per draw, by tidy term: (chains, draws) arrays.

    Without xarray, which takes a third of a second to import and to open all groups. Empty where the file has no
    such group.
    """
    import h5netcdf

    with h5netcdf.File(path, "r") as file:
        variables = file[group].variables if group in file.groups else {}
        return {
            str(values.attrs.get("term", name)): values[...]
            for name, values in variables.items()
            if values.dimensions == ("chain", "draw")
        }


@dataclass
class Diagnostics:
    """How a fit ended, and what is known of it beside its tables.

    Attributes
    ----------
    engine : str
    status : str
        ok, singular, unidentified, non-converged, gate-failed, error or skipped.
    message : str
        Why, where the status is not ok.
    converged, singular : bool
    criterion : float or None
        -2 log likelihood at the estimates, with lme4's constants (REML criterion).
    gates : list of dict
        Convergence gates: name, value, limit, passed.
    unidentified : list of str
        Variance parameters that the data do not determine.
    warnings : list of str
    seconds : dict
        Wall-clock seconds by phase.
    versions : dict
        Package to version.
    n_rows : int or None
    n_groups : int, dict or None
        By factor where there are several.
    method, df : str
        `REML` or `ML`, and the method of the fixed effects' degrees of freedom, of an engine that has a choice.
    logLik, AIC, BIC : float or None
        With lme4's counts.
    parameters : int or None
        Fixed effects, elements of D and sigma.
    dropped : list of str
        Fixed effects that were dropped before the fit, combinations of others.
    conf_level : float
        Level of every conf_low and conf_high.
    intervals : dict
        How intervals are made, by kind of parameter.
    summary : dict
        What this engine alone reports.
    """

    engine: str
    status: str = "ok"
    message: str = ""
    converged: bool = True
    singular: bool = False
    criterion: float | None = None
    gates: list[dict[str, Any]] = field(default_factory=list)
    unidentified: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    n_rows: int | None = None
    n_groups: int | dict[str, int] | None = None
    method: str = ""
    df: str = ""
    logLik: float | None = None
    AIC: float | None = None
    BIC: float | None = None
    parameters: int | None = None
    dropped: list[str] = field(default_factory=list)
    conf_level: float = 0.95
    intervals: dict[str, str] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As diagnostics.json has it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, value: dict[str, Any]) -> "Diagnostics":
        """What diagnostics.json says; keys of other versions are ignored."""
        return cls(**{name.name: value[name.name] for name in fields(cls) if name.name in value})


@dataclass(frozen=True)
class Fit:
    """What an engine made of a study: tables and diagnostics, never its own objects.

    Attributes
    ----------
    engine : str
    parameters : DataFrame
        Columns `PARAMETERS`, for a Bayesian engine `DRAWS` beside them. May be set as `Columns`.
    ranef : DataFrame or None
        Columns `columns.RANEF` (a Bayesian engine adds mcse_mean and ess_bulk); None for an engine without random
        effects. May be set as `Effects`.
    diagnostics : Diagnostics
    """

    engine: str
    parameters: Any
    ranef: Any
    diagnostics: Diagnostics

    def as_made(self, name: str) -> Any:
        """`parameters` or `ranef` as they were set, columns or DataFrame."""
        return self.__dict__[name]

    @property
    def fixed(self) -> dict[str, float]:
        """Fixed effects: term -> estimate."""
        table = self.parameters[self.parameters["effect"] == "fixed"]
        return dict(zip(table["term"], table["estimate"].astype(float), strict=True))

    def noting(self, dropped: Sequence[str], remarks: Sequence[str] = ()) -> "Fit":
        """The same fit; its diagnostics name the fixed effects dropped before it, its warnings begin with remarks."""
        if not dropped and not remarks:
            return self
        about = [rank_deficient(dropped)] if dropped else []
        warned = [*about, *remarks, *self.diagnostics.warnings]
        return replace(self, diagnostics=replace(self.diagnostics, dropped=list(dropped), warnings=warned))

    def write(self, parameters: str, diagnostics: str, ranef: str | None = None) -> None:
        """Write the three artifacts.

        Parameters
        ----------
        parameters : str
            Path of parameters.csv.
        diagnostics : str
            Path of diagnostics.json.
        ranef : str or None
            Path of ranef.parquet; None: not written.
        """
        write_table(parameters, self.parameters)
        if ranef is not None:
            write_table(ranef, self.ranef)
        write_json(diagnostics, self.diagnostics.plain())

    @classmethod
    def read(cls, parameters: str, diagnostics: str, ranef: str | None = None) -> "Fit":
        """Read the artifacts that `write` wrote.

        Parameters
        ----------
        parameters : str
            Path of parameters.csv.
        diagnostics : str
            Path of diagnostics.json.
        ranef : str or None
            Path of ranef.parquet; None for an engine without random effects.

        Returns
        -------
        Fit
        """
        about = Diagnostics.from_plain(read_json(diagnostics))
        return cls(about.engine, read_table(parameters), read_table(ranef) if ranef else None, about)


Fit.parameters, Fit.ranef = Table("parameters"), Table("ranef")
