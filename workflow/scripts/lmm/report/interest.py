"""What a study asks: its effects of interest, by every engine, with names for people.

A slope for each numeric predictor, differences between the levels of each categorical one, F tests of interactions.
Without a table of effects, the fixed effects themselves; without predictors, the mean.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lmm.core import engines
from lmm.core.tidy import EFFECTS_FIRST, EFFECTS_LAST
from lmm.core.words import estimated, fixed, listed, p_said, p_value, places
from lmm.data.levels import two_valued
from lmm.results import order
from lmm.results.labels import INTERCEPT, factors
from lmm.results.study import Results

AGREE = 0.1  # of a standard error: engines whose estimates differ by less agree
SAME = 0.05  # of a standard error: a slope that is a fixed effect, by draws or not
NUMBERS = ("estimate", "std_error", "df", "conf_low", "conf_high", "statistic", "p_value", "prob_direction")


@dataclass(frozen=True)
class Interest:
    """An effect that the study is about.

    Attributes
    ----------
    key : str
        Unique within the study.
    kind : str
        slope, contrast, term, mean, test.
    title : str
        `Effect of Days`, `Treatment Arm: 20 mg vs Placebo`.
    unit : str
        `ms per day`; empty where the labels give none.
    rows : dict
        Engine to its numbers: estimate, std_error, df, conf_low, conf_high, statistic, p_value, prob_direction; NaN
        where it has none. Of a test num_df, den_df, F, p_value.
    words : tuple of str
        What the sentence needs: of a slope the predictor, of a contrast both levels, of a test the predictors.
    adjusted : bool
        Whether p and interval are adjusted for several comparisons.
    """

    key: str
    kind: str
    title: str
    unit: str
    rows: Mapping[str, Mapping[str, float]]
    words: tuple[str, ...] = ()
    adjusted: bool = False
    cells: Mapping[str, str] = field(default_factory=dict)

    def lead(self, results: Results) -> str | None:
        """The engine whose numbers are said first."""
        families = (engines.EXACT, engines.LIKELIHOOD, engines.BAYES)
        if results.leading in self.rows:
            return results.leading
        return engines.first(self.rows, *families) or next(iter(self.rows), None)


def interests(results: Results) -> list[Interest]:
    """All effects of interest in the table's order: averages first, then those at one level, interactions last."""
    found = _of_effects(results) or _of_terms(results)
    return (found or _mean(results)) + _interactions(results)


def averaged(results: Results, one: Interest) -> str:
    """Where a slope or contrast is taken that others modify: `at the mean of week`, `averaged over arm`."""
    own = one.key.partition("|")[0].strip("`")
    if one.kind not in ("slope", "contrast"):
        return ""
    found: dict[str, None] = {}
    about = results.data["columns"]
    for term in _terms(results):
        columns = [bare(re.sub(r"\[T\..*\]$", "", part)) for part in factors(term)]
        if own in columns:
            found |= {name: None for name in columns if name not in (own, *one.cells) and name in about}
    parts: dict[bool, list[str]] = {True: [], False: []}
    for name in found:
        several = "levels" in about[name] or two_valued(about[name], results.data["rows"])
        parts[several].append(results.labels.column(name))
    said = [f"at the mean of {listed(parts[False])}"] * bool(parts[False])
    return listed(said + [f"averaged over {listed(parts[True])}"] * bool(parts[True]))


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(row[name]) if row.get(name) is not None else np.nan for name in NUMBERS}


def _of_effects(results: Results) -> list[Interest]:
    table = order.effects(results)
    if table is None or not len(table):
        return []
    table = table[table["kind"].isin(["slope", "contrast"])]
    grid = [name for name in table if name not in (*EFFECTS_FIRST, *EFFECTS_LAST)]
    keys = ["effect", "kind", *grid, "contrast"]
    text = table[keys].fillna("").astype(str)
    found = []
    for key, rows in table.groupby([text[name] for name in keys], sort=False):
        effect, kind = key[0], key[1]
        cells = {name.strip("`"): value for name, value in zip(grid, key[2:-1], strict=True) if value}
        adjusted = kind == "contrast" and not np.allclose(
            rows["p_adjusted"].fillna(0), rows["p_value"].fillna(0)
        )
        numbers = {}
        for row in rows.to_dict("records"):
            own = _numbers(row)
            if kind == "slope" and is_fixed(results, row):  # by draws it would differ by Monte Carlo error
                own = _rows(results, effect)[row["engine"]] | {"prob_direction": own["prob_direction"]}
            if adjusted:
                own["p_value"] = row["p_adjusted"]
            numbers[row["engine"]] = own
        found.append(_named(results, effect, kind, cells, key[-1], numbers, adjusted))
    return sorted(found, key=lambda one: bool(one.cells))


def is_fixed(results: Results, row: Mapping[str, Any]) -> bool:
    """Whether a slope of the table of effects is a fixed effect, which other tables have."""
    fit = results.fits.get(row["engine"])
    known = None if fit is None else fit.fixed.get(row["effect"])
    return known is not None and abs(row["estimate"] - known) <= SAME * row["std_error"]


def _named(
    results: Results,
    effect: str,
    kind: str,
    cells: dict[str, str],
    contrast: str,
    numbers: dict[str, dict[str, float]],
    adjusted: bool,
) -> Interest:
    labels, columns = results.labels, results.data["columns"]
    where = listed([f"{labels.column(name)} = {labels.level(name, value)}" for name, value in cells.items()])
    own = labels.column(effect)
    numeric = "levels" not in columns.get(effect, {}) and ":" not in effect
    if kind == "slope":
        title, words = f"Effect of {own}", (own,)
    else:
        a, b = compared(results, effect, contrast)
        title = f"{'Effect of ' if numeric else ''}{own}: {f'{a} vs {b}' if b else a}"
        words = (own, a, b)
    per = numeric and labels.unit(effect)
    unit = labels.unit(results.response)
    unit = f"{unit} per {per}" if unit and per else unit
    key = "|".join([effect, kind, contrast, *map("=".join, cells.items())])
    return Interest(
        key, kind, f"{title}{f' ({where})' if where else ''}", unit, numbers, words, adjusted, cells
    )


def compared(results: Results, effect: str, contrast: str) -> tuple[str, str]:
    """The two levels that a pairwise contrast compares, with their labels; a custom one's name and nothing."""
    found = order.pair(results, effect, contrast)
    if found is None:
        return contrast, ""
    name, a, b = found
    return results.labels.level(name, a), results.labels.level(name, b)


def _terms(results: Results) -> list[str]:
    return order.terms(dict.fromkeys(term for fit in results.fits.values() for term in fit.fixed))


def _rows(results: Results, term: str) -> dict[str, dict[str, float]]:
    rows = {}
    for name, fit in results.fits.items():
        mine = fit.parameters[(fit.parameters["effect"] == "fixed") & (fit.parameters["term"] == term)]
        if len(mine):
            rows[name] = _numbers(mine.iloc[0].to_dict())
    return rows


def _of_terms(results: Results) -> list[Interest]:
    """The fixed effects of single predictors as they are."""
    labels, found = results.labels, []
    for term in _terms(results):
        if term == INTERCEPT or len(factors(term)) > 1:
            continue
        said, column = labels.term(term), term.strip("`")
        coded = "[" in term
        unit, per = labels.unit(results.response), labels.unit(column)
        unit = f"{unit} per {per}" if unit and per and not coded else unit
        title = said if coded else f"Effect of {said}"
        found.append(Interest(term, "term", title, unit, _rows(results, term), (said,)))
    return found


def _mean(results: Results) -> list[Interest]:
    rows = _rows(results, INTERCEPT)
    name = results.labels.column(results.response)
    unit = results.labels.unit(results.response)
    return [Interest(INTERCEPT, "mean", f"Mean of {name}", unit, rows, (name,))] if rows else []


def _interactions(results: Results) -> list[Interest]:
    """F tests of interactions; of an engine without them, the coefficients of interactions."""
    tests = results.tables.get("tests")
    labels, found = results.labels, []
    if tests is not None and len(tests):
        exact = engines.first(results.fits, engines.EXACT) or ""
        for row in tests[tests["type"] == "III"].to_dict("records"):
            parts = factors(str(row["term"]))
            if len(parts) < 2:
                continue
            names = tuple(labels.column(bare(part)) for part in parts)
            numbers = {name: float(row[name]) for name in ("num_df", "den_df", "F", "p_value")}
            found.append(Interest(str(row["term"]), "test", " × ".join(names), "", {exact: numbers}, names))
        return found
    for term in _terms(results):
        if len(factors(term)) > 1:
            said = labels.term(term)
            unit = labels.unit(results.response)
            found.append(Interest(term, "term", said, unit, _rows(results, term), (said,)))
    return found


def bare(part: str) -> str:
    """The column of a factor of a term: `C(week)` is of week."""
    called = re.fullmatch(r"C\((`[^`]+`|[^\s,()`]+).*\)", part)
    return (called[1] if called else part).strip("`")


# ---- numbers in words


def decimals_of(row: Mapping[str, float]) -> int | None:
    """Decimals of an effect: by its standard error."""
    return places(row.get("std_error"))


def value(interest: Interest, row: Mapping[str, float]) -> str:
    """`10.5 ms per day`; of a test `F(2, 37.1) = 5.31`."""
    if interest.kind == "test":
        return f"F({row['num_df']:.0f}, {degrees(row['den_df'])}) = {fixed(row['F'], 2)}"
    unit = f" {interest.unit}" if interest.unit else ""
    return estimated(row["estimate"], decimals_of(row)) + unit


def degrees(df: float) -> str:
    """Degrees of freedom: whole where they are, or are a thousand; else to one decimal."""
    return fixed(df, df_places([df]))


def df_places(values: Iterable[float]) -> int:
    """Decimals that a column of degrees of freedom needs, which all its rows get."""
    known = [df for df in values if np.isfinite(df)]
    return 0 if all(df >= 1000 or abs(df - round(df)) < 0.05 for df in known) else 1


def interval(row: Mapping[str, float]) -> str:
    """`7.4 to 13.5`, with the estimate's decimals."""
    decimals = decimals_of(row)
    return f"{estimated(row['conf_low'], decimals)} to {estimated(row['conf_high'], decimals)}"


def statistic(row: Mapping[str, float]) -> str:
    """`t(17.0) = 6.77, p < .001`, `z = 2.10, p = .036`; of draws the probability of direction; else empty."""
    if np.isfinite(row.get("p_value", np.nan)):
        df = row.get("df", np.nan)
        name = f"t({degrees(df)})" if np.isfinite(df) else "z"
        shown = row.get("statistic", np.nan)
        said = f"{name} = {fixed(shown, 2)}, " if np.isfinite(shown) else ""
        return f"{said}{p_said(p_value(row['p_value']))}"
    if np.isfinite(row.get("prob_direction", np.nan)):
        return f"probability of direction {p_value(row['prob_direction'])}"
    return ""


def mixed_rows(results: Results, interest: Interest) -> dict[str, Mapping[str, float]]:
    """Of an effect the rows of engines with random effects."""
    return {name: row for name, row in interest.rows.items() if name in results.mixed}


def apart(results: Results, interest: Interest) -> tuple[float, str]:
    """How far the engine that differs most is from the leading one, in its standard errors, and its name."""
    lead = interest.lead(results)
    if lead is None or interest.kind == "test":
        return 0.0, ""
    own = interest.rows[lead]
    error = own["std_error"]
    far = [
        (abs(row["estimate"] - own["estimate"]) / error, name)
        for name, row in mixed_rows(results, interest).items()
        if name != lead and error > 0 and np.isfinite(row["estimate"])
    ]
    return max(far, default=(0.0, ""))
