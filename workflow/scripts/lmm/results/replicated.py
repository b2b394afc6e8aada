"""A recovery study's artifacts, read back: what its figures and its report see of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.parameters import titled
from lmm.core.store import existing, read_json, read_table
from lmm.core.tidy import RESIDUAL
from lmm.core.words import counted, given, listed
from lmm.recovery.grid import VALUES, place
from lmm.recovery.performance import COLUMNS, reference_engine
from lmm.results.base import Reported

TABLES = ("performance", "failures", "calibration")
AXES = {
    "groups": "groups",
    "rows": "rows",
    "rows_per_group": "rows per group",
    "sigma": "residual sd",
    "corr": "correlation",
    "generator": "generator",
}


QUANTITIES = {"log_likelihood": "log likelihood", "icc": "intraclass correlation"}  # of calibration
UNSET = "not set"  # where a table of designs sets a column in some of its rows only


def axis_name(column: str) -> str:
    """A design's column in words."""
    kind, _, term = column.partition("__")
    if kind == "groups" and term:
        return f"levels of {term}"
    term = term.replace("|", " of ")
    if term:
        return {"sd": "SD of ", "fixed": "effect of ", "corr": "correlation "}.get(kind, f"{kind} ") + term
    return AXES.get(column, column.replace("_", " "))


def quantity_name(quantity: str) -> str:
    """A calibrated quantity in words: `random x of group 3`, `sd of x`, `log likelihood`."""
    start, _, rest = quantity.partition("__")
    if start == "ranef":
        term, _, level = rest.rpartition("__")
        level, _, group = level.partition("|")
        return f"random {term} of {group or 'group'} {level}"
    if "|" in quantity:
        of, _, group = quantity.rpartition("|")
        return f"{quantity_name(of)} ({group})"
    return QUANTITIES.get(quantity, titled(quantity))


def axis_value(value: Any) -> str:
    """A design's value in words."""
    return f"{value:,g}".replace("-", "−") if isinstance(value, (int, float, np.number)) else str(value)


@dataclass(frozen=True)
class Recovered(Reported):
    """What a study with replicates left behind, beside its name and settings.

    Attributes
    ----------
    tables : dict of DataFrame
        performance, failures; calibration where the study has it.
    replicates : str or None
        Path of replicates.parquet: read in parts, since it may have millions of rows.
    ranks : DataFrame or None
        ranks.parquet.
    plan : dict or None
        plan.json: the plan that was frozen before the first replicate; `settings["plan"]` is that of this run.
    """

    tables: dict[str, pd.DataFrame]
    replicates: str | None = None
    ranks: pd.DataFrame | None = None
    plan: dict[str, Any] | None = None

    @cached_property
    def performance(self) -> pd.DataFrame:
        """performance.csv, fixed effects by the first of an engine's methods of degrees of freedom."""
        return self.tables["performance"][first_method(self.tables["performance"])]

    @property
    def methods(self) -> list[str]:
        """Methods of degrees of freedom that the study compares; empty where there is no more than one."""
        found = [name for name in self.tables["performance"]["df"].unique() if name]
        return found if len(found) > 1 else []

    @cached_property
    def engines(self) -> list[str]:
        """Engines, in the order of the report."""
        return sorted(self.performance["engine"].unique(), key=place)

    @property
    def fits(self) -> dict[str, None]:
        """The engines' names where `Results` has their fits: there is no one fit of a study with replicates."""
        return dict.fromkeys(self.engines)

    @property
    def reference(self) -> str:
        """The engine that relative precision refers to."""
        return reference_engine(self.engines)

    @cached_property
    def designs(self) -> pd.DataFrame:
        """design and its columns, sorted by the axes: a row for each design."""
        columns = [name for name in self.performance.columns if name not in COLUMNS[1:]]
        table = self.performance[columns].drop_duplicates("design")
        axes = _varying(table)
        order = {name: {v: k for k, v in enumerate(_values(table[name]))} for name in axes}
        return (
            table.sort_values(axes, key=lambda s: s.map(order[s.name]), kind="stable", ignore_index=True)
            if axes
            else table
        )

    @cached_property
    def axes(self) -> list[str]:
        """The design's columns that take several values, the one with the most of them last."""
        found = _varying(self.designs)
        return sorted(found, key=lambda name: self.designs[name].nunique())

    def values(self, axis: str) -> list:
        """The values of an axis, in order."""
        return _values(self.designs[axis])

    @property
    def n_replicates(self) -> int:
        """Replicates of a design (the most of any)."""
        return int(self.performance["n_replicates"].max())

    @cached_property
    def terms(self) -> list[str]:
        """Fixed effects, sd's (the residual's last) and correlations."""
        table = self.performance[self.performance["effect"].isin(["fixed", "ran_pars"])]
        seen = list(dict.fromkeys(zip(table["effect"], table["term"], strict=True)))
        rank = {"fixed": 0, "ran_pars": 1}
        return [
            t for _, t in sorted(seen, key=lambda s: (rank[s[0]], s[1].startswith("cor__"), s[1] == RESIDUAL))
        ]

    def random_terms(self) -> list[str]:
        """sd's of the random effects."""
        return [term for term in self.terms if term.startswith("sd__") and term != RESIDUAL]

    def rows(self, measure: str, subset: str = "usable", **where: str) -> pd.DataFrame:
        """Rows of the performance table with a value of one measure, `where` column equals value.

        There is no relative bias where truths are drawn from priors: a truth near 0 would make it any number.
        """
        table = self.performance
        if measure == "relative_bias" and "calibration" in self.tables:
            return table.iloc[:0]
        keep = (table["measure"] == measure) & (table["subset"] == subset) & table["estimate"].notna()
        for column, value in where.items():
            keep &= table[column] == value
        return table[keep]

    def far_from_zero(self, rows: pd.DataFrame) -> pd.Series:
        """Which rows have a truth of at least one empirical SE: a bias relative to a smaller one says little.

        None where every replicate has a truth of its own, as in a calibration.
        """
        if "calibration" in self.tables:
            return pd.Series(False, index=rows.index)
        keys = ["design", "engine", "effect", "group", "term", "df"]
        errors = self.rows("empirical_se").set_index(keys)["estimate"]
        size = errors.reindex(pd.MultiIndex.from_frame(rows[keys])).to_numpy()
        return rows["truth"].abs() >= size

    def describe(self, row: Mapping[str, Any], only: Sequence[str] = ()) -> str:
        """A design in words: `30 groups of 5, sd of x 0.5`; `only` names the axes to speak of."""
        axes = list(only) or self.axes
        said = []
        if "groups" in row and ("groups" in axes or "rows_per_group" in axes or "rows" in axes or not axes):
            said.append(_size(row))
        rest = [
            name for name in axes if name not in ("groups", "rows_per_group", "rows") or "groups" not in row
        ]
        if not axes and "groups" not in row:  # several grouping factors
            rest = [name for name in dict(row) if name.startswith("groups__")]
        said += [_setting(name, row[name]) for name in rest]
        return ", ".join(said)

    def beside(self, row: Mapping[str, Any]) -> str:
        """` with 30 groups of 5`: the design that a sentence is about; nothing where there is one."""
        return f" with {self.describe(row)}" if self.axes else ""


def _setting(column: str, value: Any) -> str:
    kind, _, factor = column.partition("__")
    if kind == "groups" and factor:
        return f"{counted(int(value), 'level')} of {factor}"
    return f"{axis_name(column)} {axis_value(value)}"


def _size(row: Mapping[str, Any]) -> str:
    groups = counted(int(row["groups"]), "group")
    each, rows = row.get("rows_per_group"), row.get("rows")
    if each is not None and not (isinstance(each, float) and np.isnan(each)) and each not in ("", UNSET):
        size = axis_value(each)
        return f"{groups} of {size}" if size.replace(",", "").isdigit() else f"{groups} with rows {size}"
    if rows not in (None, UNSET) and not pd.isna(rows):
        return f"{groups} with {axis_value(rows)} rows"
    return groups


def _varying(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if name != "design" and len(table[name].unique()) > 1]


def _values(column: pd.Series) -> list:
    """Distinct values: numbers in order, text as it comes."""
    values = list(dict.fromkeys(column))
    numeric = all(isinstance(v, (int, float, np.number)) for v in values)
    return sorted(values) if numeric else values


def replicate_rows(recovered: Recovered, designs: Sequence[str]) -> pd.DataFrame:
    """Fixed effects and variance parameters of the replicates of some designs, by the first method of df."""
    wanted = [("design", "in", list(designs)), ("effect", "in", ["fixed", "ran_pars"])]
    columns = ["design", "replicate", "engine", "effect", "group", "term", "df", "status", *VALUES]
    table = pd.read_parquet(recovered.replicates, columns=columns, filters=wanted)
    names = ["design", "engine", "effect", "group", "term", "df", "status"]
    table[names] = table[names].astype(str)
    return _with_factors(table[first_method(table)])


def read(study: str, settings: Mapping[str, Any], paths: Mapping[str, Any]) -> Recovered:
    """Read a recovery study's artifacts.

    Parameters
    ----------
    study : str
    settings : mapping
        As in `Recovered`.
    paths : mapping
        performance, failures, and where they exist calibration, replicates, ranks, plan.
    """
    there = existing(paths)
    tables = {name: read_table(there[name], text=["df"]) for name in TABLES if name in there}
    tables["performance"] = _with_factors(tables["performance"])
    if "calibration" in tables:  # its level is a number, unlike that of a grouping factor
        tables["calibration"]["level"] = pd.to_numeric(tables["calibration"]["level"])
    for name in [name for name in tables["performance"].columns if name not in COLUMNS[1:]]:
        tables["performance"][name] = _settled(tables["performance"][name])
    ranks = pd.read_parquet(there["ranks"]) if "ranks" in there else None
    plan = read_json(there["plan"]) if "plan" in there else None
    return Recovered(study, dict(settings), tables, there.get("replicates"), ranks, plan)


def _with_factors(table: pd.DataFrame) -> pd.DataFrame:
    """Terms that name their grouping factor, where there are several; else the table as it is."""
    groups = [group for group in table["group"].unique() if group not in ("", "Residual")]
    if len(groups) < 2:
        return table
    own, random = table["group"].isin(groups), table["effect"] == "ranef"
    term = table["term"].mask(own & random, table["term"] + " of " + table["group"])
    return table.assign(term=term.mask(own & ~random, table["term"] + "|" + table["group"]))


def _settled(column: pd.Series) -> pd.Series:
    """An axis that only some of the designs set, as text with a label for the others: NaN never compares equal."""
    unset = column.isna()
    return column.map(axis_value).mask(unset, UNSET) if unset.any() and not unset.all() else column


def first_method(table: pd.DataFrame) -> pd.Series:
    """Which rows are of an engine's first method of degrees of freedom, or of none."""
    named = table[table["df"] != ""]
    return (table["df"] == "") | (table["df"] == table["engine"].map(named.groupby("engine")["df"].first()))


def statuses(recovered: Recovered) -> pd.DataFrame:
    """Number of fits by design, engine and status: a column a status."""
    counts = recovered.tables["failures"].pivot_table(
        index=["design", "engine"], columns="status", values="count", aggfunc="sum", fill_value=0
    )
    return counts.reset_index()


def truths(recovered: Recovered) -> str:
    """What is simulated from, in words: by term, one value or the range over designs."""
    said = []
    for term in recovered.terms:
        values = recovered.rows("bias", term=term)["truth"].dropna()
        if len(values):
            low, high = values.min(), values.max()
            said.append(
                f"{titled(term)} {given(low)}" + (f" to {given(high)}" if given(high) != given(low) else "")
            )
    return listed(said)
