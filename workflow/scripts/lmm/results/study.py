"""A study's artifacts, read back: what figures and report see of a run, whatever engine made it.

Everything here is optional that a study may lack: own data have no truth, 10^9 rows are not copied, an engine may
have been left out or skipped.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from lmm.comparison.engines import lead, pair
from lmm.core import engines, tidy
from lmm.core.parameters import spoken, titled
from lmm.core.store import existing, read_json, read_table
from lmm.core.tidy import CORRELATIONS, RESIDUAL, Diagnostics, Fit, grid_name, realised_of, variable
from lmm.data.levels import level_names
from lmm.results.base import Reported
from lmm.results.labels import INTERCEPT, Labels

TABLES = (
    "variance_recovery", "ranef_differences", "variance_explained", "influence", "loo", "predictive",
    "replicates", "sensitivity", "effects", "tests", "models", "model_tests",
)  # fmt: skip
NOTES = ("influence_about", "criticism", "models_about", "predictions", "fixed_effects")
# Of sigma, or of 1 for a share of the variance: what a singular fit leaves below it is rounding, and reads as 0.
ZERO = 1e-16
SMALL = 1e-6  # of the residual sd: random effects of a singular fit that are nearer to 0 are 0


def natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key that takes digits in a name for the number they are, however many."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    numbers = [part.lstrip("0") if part.isascii() and part.isdecimal() else None for part in parts]
    return [
        (1, 0, part) if digits is None else (0, len(digits), digits)
        for part, digits in zip(parts, numbers, strict=True)
    ]


@dataclass(frozen=True)
class Results(Reported):
    """What a study left behind, beside its name and settings.

    Attributes
    ----------
    data : dict
        data.json.
    rows : DataFrame or None
        The rows used, None where they were not copied.
    truth : dict or None
        truth.json.
    fits : dict of Fit
        By engine, in the order ols, mixedlm, reml, pymc, then any other.
    tables : dict of DataFrame
        The comparison's tables, `coef`, and those of influence and criticism.
    posterior_file : str or None
        posterior.nc.
    notes : dict of dict
        influence.json (as influence_about), criticism.json, models.json (as models_about), the exact engine's
        fixed_effects.json and, where rows were to be predicted, predictions.json.
    """

    data: dict[str, Any]
    rows: pd.DataFrame | None
    truth: dict[str, Any] | None
    fits: dict[str, Fit]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    posterior_file: str | None = None
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def draws(self) -> dict[str, np.ndarray]:
        """The posterior's draws (chains, draws) by tidy term; empty without a posterior."""
        return tidy.read_draws(self.posterior_file) if self.posterior_file else {}

    @property
    def one_chain(self) -> bool:
        """Whether the posterior was sampled by a single chain, which agrees with no other."""
        return any(len(values) == 1 for values in self.draws.values())

    @property
    def group(self) -> str:
        """The grouping factor, where there is one."""
        return self.data["group"]

    @property
    def groups(self) -> list[str]:
        """Names of the grouping factors."""
        return [factor["group"] for factor in self.data["factors"]]

    @property
    def one_of_several(self) -> str:
        """The factor that these results are of, where the model has several (see `by_factor`); else empty."""
        return self.data.get("one_of_several", "")

    def name_of(self, group: str, term: str) -> str:
        """A parameter's name by its key: the tidy term, with its factor where there are several."""
        return variable(group, term, self.groups)

    def prior_name(self, row: Mapping[str, Any]) -> str:
        """The parameter of a recorded prior: `name_of`, or `correlation matrix` (and of which factor)."""
        name, group = row["parameter"], row.get("group", "")
        if name == CORRELATIONS:
            return f"{name} of {group}" if len(self.groups) > 1 else name
        return self.name_of(group, name)

    @property
    def label_columns(self) -> set[str]:
        """Columns of the rows that are grouping factors or parts of them."""
        return {name for factor in self.data["factors"] for name in (factor["group"], *factor["columns"])}

    @cached_property
    def by_factor(self) -> list["Results"]:
        """The results as one factor after the other has them; these themselves where there is one."""
        return [self] if len(self.groups) == 1 else [_of_factor(self, group) for group in self.groups]

    @property
    def response(self) -> str:
        """The response's column."""
        return self.data["response"]

    @cached_property
    def mixed(self) -> dict[str, Fit]:
        """The fits that have random effects and came to an end."""
        return {name: fit for name, fit in self.fits.items() if fit.ranef is not None and len(fit.ranef)}

    @cached_property
    def pair(self) -> tuple[str, str] | None:
        """The two engines whose random effects are held against each other."""
        return pair(self.fits)

    @property
    def main(self) -> str | None:
        """The engine shown where one must stand for the mixed model."""
        return lead(self.fits)

    @property
    def leading(self) -> str | None:
        """The engine whose numbers answer the study's question, the exact one if there is one; None without any."""
        families = (engines.EXACT, engines.LIKELIHOOD, engines.BAYES)
        usable = {name: fit for name, fit in self.fits.items() if len(fit.parameters)}
        mixed = [name for name in usable if name in self.mixed]
        return engines.first(mixed, *families) or next(iter([*mixed, *usable]), None)

    @property
    def pooled(self) -> str | None:
        """The engine that ignores the groups; None without one."""
        return engines.first(self.fits, engines.POOLED)

    @property
    def exact(self) -> str | None:
        """The engine whose optimum is certified, with random effects; None without one."""
        return engines.first(self.mixed, engines.EXACT)

    @property
    def bayes(self) -> str | None:
        """The Bayesian engine; None without one."""
        return engines.first(self.fits, engines.BAYES)

    @property
    def others(self) -> list[str]:
        """Other optimisers of the likelihood, whatever became of their fits."""
        return engines.of_family(self.fits, engines.LIKELIHOOD)

    @cached_property
    def components(self) -> list[tuple[str, str]]:
        """Keys (group, term) of sd's and correlations of random effects, factor by factor, the residual sd last."""
        seen: dict[tuple[str, str], None] = {}
        for fit in self.fits.values():
            table = fit.parameters[fit.parameters["effect"] == "ran_pars"]
            seen.update(dict.fromkeys(zip(table["group"], table["term"], strict=True)))
        groups = list(dict.fromkeys(group for group, term in seen if term != RESIDUAL))
        mine = [key for group in groups for key in seen if key[0] == group]
        return mine + [key for key in seen if key[1] == RESIDUAL]

    def by_group(self, group: str) -> str:
        """` by school`, where several factors need it; else empty."""
        groups = {key[0] for key in self.components if key[1] != RESIDUAL}
        return f" by {self.labels.column(group)}" if len(groups) > 1 and group in groups else ""

    def parameter(self, engine: str, group: str, term: str) -> dict[str, Any]:
        """A row of an engine's parameters by its key; empty where it is not there."""
        table = self.fits[engine].parameters
        found = table[(table["term"] == term) & (table["group"].fillna("") == group)]
        return found.iloc[0].to_dict() if len(found) else {}

    @cached_property
    def labels(self) -> Labels:
        """What people call columns, levels and parameters."""
        terms = dict.fromkeys(term for fit in self.fits.values() for term in fit.fixed)
        return Labels.of(self.settings.get("labels"), self.data["columns"], terms)

    def titled(self, term: str) -> str:
        """A tidy term or `name_of` as a heading, with the labels' names."""
        return titled(term, self.labels.term)

    def spoken(self, term: str) -> str:
        """A tidy term or `name_of` in a sentence, with the labels' names."""
        return spoken(term, self.labels.term)

    def random(self, term: str) -> str:
        """What a random effect is called: `random intercept`, `random slope of x`."""
        return "random intercept" if term == INTERCEPT else f"random slope of {self.labels.term(term)}"

    @cached_property
    def random_terms(self) -> list[str]:
        """Terms with a random effect, in the order of the engine's table."""
        return list(dict.fromkeys(self.mixed[self.main].ranef["term"])) if self.main else []

    @cached_property
    def levels(self) -> list[str]:
        """The groups as a reader counts: 2 before 10."""
        if self.main:
            return sorted(dict.fromkeys(self.mixed[self.main].ranef["level"].astype(str)), key=natural)
        return [] if self.rows is None else sorted(self.rows[self.group].astype(str).unique(), key=natural)

    def wide(self, engine: str, column: str = "estimate") -> pd.DataFrame:
        """An engine's random effects, one row per level (in `levels`' order) and one column per term."""
        if (engine, column) not in self._wide:
            table = self.mixed[engine].ranef
            wide = table.assign(level=table["level"].astype(str)).pivot_table(
                index="level", columns="term", values=column, aggfunc="first"
            )
            self._wide[engine, column] = wide.reindex(index=self.levels, columns=self.random_terms)
        return self._wide[engine, column]

    @cached_property
    def _wide(self) -> dict[tuple[str, str], pd.DataFrame]:
        """What `wide` found; figures and tables ask for it thirty times."""
        return {}

    def estimate(self, engine: str, term: str, column: str = "estimate") -> float:
        """One number of an engine's parameters, by tidy term or `name_of`; NaN where it is not there."""
        row = self._rows_of_parameters.get((engine, term))
        if row is None or column not in (table := self.fits[engine].parameters):
            return np.nan
        return float(table[column].to_numpy()[row])

    @cached_property
    def _rows_of_parameters(self) -> dict[tuple[str, str], int]:
        """Where a parameter's first row is, by engine and tidy term or `name_of`: figures ask for many."""
        found: dict[tuple[str, str], int] = {}
        for engine, fit in self.fits.items():
            for row, (group, term) in enumerate(fit.parameters[["group", "term"]].itertuples(index=False)):
                found.setdefault((engine, term), row)
                found.setdefault((engine, self.name_of(group, term)), row)
        return found

    def typical_error(self, term: str) -> float:
        """Median standard error of a term's random effects, the larger of two engines': a singular fit's is 0."""
        errors = [np.nanmedian(self.wide(name, "std_error")[term].to_numpy(float)) for name in self.pair]
        return float(np.nanmax(errors))

    def fixed(self, engine: str) -> dict[str, float]:
        """An engine's fixed effects."""
        return self.fits[engine].fixed

    def explained(self, engine: str | None) -> pd.Series:
        """The whole model's shares of the variance by an engine: measure -> estimate; empty without."""
        table = self.tables.get("variance_explained")
        if table is None:
            return pd.Series(dtype=float)
        mine = table[(table["engine"] == engine) & (table["group"].fillna("") == "")]
        return mine.set_index("measure")["estimate"].dropna()

    def spread_terms(self) -> list[str]:
        """sd's and correlations that any engine estimates, sd's first, the residual's last of them."""
        seen: dict[str, None] = {}
        for fit in self.fits.values():
            seen.update(dict.fromkeys(fit.parameters.loc[fit.parameters["effect"] == "ran_pars", "term"]))
        sds = [term for term in seen if term.startswith("sd__") and term != RESIDUAL]
        return sds + [RESIDUAL] * (RESIDUAL in seen) + [term for term in seen if term.startswith("cor__")]

    def realised(self, term: str, group: str = "") -> float:
        """The sd or correlation of the random effects (or errors) that were in fact drawn; NaN if not known."""
        return realised_of(self.truth, group, term)


def _of_factor(results: Results, group: str) -> Results:
    """What is known of one of several factors: its random effects and their parameters, beside what all share."""
    own = next(factor for factor in results.data["factors"] if factor["group"] == group)
    data = results.data | {
        "factors": [own],
        "groups": own["levels"],
        "group_rows": own["rows"],
        "group": group,
        "one_of_several": group,
    }
    shared = ("", "Residual", group)
    fits = {
        name: replace(
            fit,
            parameters=fit.parameters[fit.parameters["group"].isin(shared)],
            ranef=None if fit.ranef is None else fit.ranef[fit.ranef["group"] == group],
        )
        for name, fit in results.fits.items()
    }
    tables = {
        name: table[table["group"].isin(shared)] if "group" in table else table
        for name, table in results.tables.items()
    }
    if "variance_explained" in tables:  # the model's, which are no factor's
        tables["variance_explained"] = results.tables["variance_explained"].query("group == ''")
    if "influence" in tables:
        tables["influence_all"] = tables["influence"]
        tables["influence"] = tables["influence"][tables["influence"]["term_group"].isin(shared)]
    truth = results.truth
    if truth is not None:
        drawn = truth.get("realised") or {}
        truth = truth | {key: (truth.get(key) or {}).get(group, {}) for key in ("sd", "corr", "ranef")}
        truth["realised"] = drawn | {key: (drawn.get(key) or {}).get(group, {}) for key in ("sd", "corr")}
    notes = dict(results.notes)
    if "influence_about" in notes:
        notes["influence_about"] = notes["influence_about"]["factors"][group]
    rows = results.rows
    if rows is not None and group not in rows:
        rows = rows.assign(**{group: level_names(rows, tuple(own["columns"]))})
    return replace(results, data=data, rows=rows, truth=truth, fits=fits, tables=tables, notes=notes)


def _clear(table: pd.DataFrame | None, columns: list[str], least: float, chosen: Any) -> pd.DataFrame | None:
    """The table with numbers closer to 0 than `least` as 0, in the rows that `chosen` (table -> mask) chooses."""
    if table is None or not set(columns) <= set(table):
        return table
    table, rows = table.copy(), chosen(table)
    part = table.loc[rows, columns]
    table.loc[rows, columns] = part.mask(part.abs() < least, 0.0)
    return table


def _without_rounding(fits: dict[str, Fit], tables: dict[str, Any]) -> None:
    """Of singular fits: sd's, random effects and shares that differ from 0 by rounding alone become 0, in place."""

    def sds(table):
        return table["term"].str.startswith("sd__")

    def shares(table):
        return table["term"].str.startswith("variance_explained__")

    def every(table):
        return np.ones(len(table), dtype=bool)

    for name, fit in fits.items():
        if not fit.diagnostics.singular:
            continue
        sigma = float(fit.parameters.loc[fit.parameters["term"] == RESIDUAL, "estimate"].max())
        least, few = ZERO * sigma, SMALL * sigma
        effects = _clear(fit.ranef, ["estimate"], few, every)
        fits[name] = replace(fit, parameters=_clear(fit.parameters, ["estimate"], least, sds), ranef=effects)
        tables["ranef_differences"] = _clear(tables.get("ranef_differences"), [name], few, every)
        found = _clear(tables.get("variance_recovery"), [f"{name}_estimate"], least, sds)
        tables["variance_recovery"] = _clear(found, [f"{name}_estimate"], ZERO, shares)
        mine = tables.get("variance_explained")
        tables["variance_explained"] = _clear(mine, ["estimate"], ZERO, lambda t, e=name: t["engine"] == e)
        if name == engines.first(fits, engines.EXACT):
            tables["influence"] = _clear(tables.get("influence"), ["estimate_without", "change"], least, sds)


def read(study: str, settings: Mapping[str, Any], paths: Mapping[str, Any]) -> Results:
    """Read a study's artifacts.

    Parameters
    ----------
    study : str
    settings : mapping
        The study's settings as plain types: title, formula, engines (names), conf_level.
    paths : mapping
        data_json, data (the rows), truth, <engine>_parameters, <engine>_diagnostics, <engine>_ranef, coef,
        posterior, and those of `TABLES` and `NOTES`; what is missing from it or from the disk is left out.
    """
    there = existing(paths)
    data = read_json(there["data_json"])
    rows = pd.read_parquet(there["data"]) if "data" in there and data.get("copied", True) else None
    names = [name.removesuffix("_parameters") for name in there if name.endswith("_parameters")]
    names = engines.ordered(names)
    fits = {
        name: Fit(
            name,
            read_table(there[f"{name}_parameters"]),
            read_table(there[f"{name}_ranef"]) if f"{name}_ranef" in there else None,
            Diagnostics.from_plain(read_json(there[f"{name}_diagnostics"])),
        )
        for name in names
    }
    words = {"effects": [grid_name(name) for name, column in data["columns"].items() if column.get("levels")]}
    tables = {name: read_table(there[name], words.get(name, ())) for name in TABLES if name in there}
    if "coef" in there:
        tables["coef"] = read_table(there["coef"])
    _without_rounding(fits, tables)
    tables = {name: table for name, table in tables.items() if table is not None}
    truth = read_json(there["truth"]) if "truth" in there else None
    notes = {name: read_json(there[name]) for name in NOTES if name in there}
    return Results(study, dict(settings), data, rows, truth, fits, tables, there.get("posterior"), notes)
