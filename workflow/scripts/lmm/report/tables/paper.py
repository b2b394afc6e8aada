"""The results table of a paper: engines side by side, fixed effects, variance components, sizes.

Its cells are text, rounded once: page, CSV, Word and LaTeX show the same numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lmm.core import engines
from lmm.core.tidy import RESIDUAL
from lmm.core.words import estimated, fixed, given, label, listed, p_value, places
from lmm.report.answer import sd_places
from lmm.report.interest import df_places
from lmm.report.text.fits import df_method
from lmm.results import order
from lmm.results.labels import INTERCEPT
from lmm.results.study import Results

SHOWN = ("estimate", "conf_low", "conf_high")
SAME = 5e-3  # of a standard error, two digits of which are shown: less than half of the last one
SHARES = {
    "icc": "ICC, predictors at 0",
    "johnson": "ICC, mean over rows",
    "marginal_r2": "R², marginal",
    "conditional_r2": "R², conditional",
}


@dataclass(frozen=True)
class Block:
    """Columns that belong together: their common heading and each one's own."""

    title: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """Rows that belong together: a heading, and rows of a name and cells."""

    title: str
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Paper:
    """A table of a paper.

    Attributes
    ----------
    key, title, study, note : str
        File name and id; what it shows; the study's title; what stands below it.
    blocks : tuple of Block
        All columns but the first.
    parts : tuple of Part
    """

    key: str
    title: str
    study: str
    note: str
    blocks: tuple[Block, ...]
    parts: tuple[Part, ...]

    @property
    def caption(self) -> str:
        """Its title apart from the page: `Results: Does it work?`; a full stop ends it where nothing else does."""
        said = f"{self.title}: {self.study}"
        return said if said.endswith(("?", ".", "!")) else f"{said}."

    @property
    def width(self) -> int:
        """Number of columns, that of names included."""
        return 1 + sum(len(block.columns) for block in self.blocks)

    def flat(self) -> list[list[str]]:
        """All rows with one line of headings, each with its part's title in front where parts have one."""
        heads = [
            f"{block.title}: {name}" if block.title else name
            for block in self.blocks
            for name in block.columns
        ]
        named = any(part.title for part in self.parts)
        rows = [[*[part.title] * named, *row] for part in self.parts for row in part.rows]
        return [["Part"] * named + ["Row", *heads], *rows]


def results_table(results: Results) -> Paper | None:
    """Estimates with intervals of every engine, variance components, variance explained, sizes."""
    shown = [name for name, fit in results.fits.items() if len(fit.parameters)]
    if not shown:
        return None
    own = {name: _engine(results, name) for name in shown}
    read = {name: numbers(results.fits[name].parameters) for name in shown}
    alike = together({name: (own[name][0], read[name]) for name in shown})
    merged = sorted(alike, key=lambda names: results.pooled in names)  # what answers comes first
    blocks, cells = [], []
    if results.truth:
        blocks.append(Block("", ("True value", "Drawn")))
        cells.append(_truth(results))
    for names in merged:
        columns, content = own[results.exact if results.exact in names else names[0]]
        blocks.append(Block(listed([label(name) for name in names]), columns))
        cells.append(content)
    parts = []
    for title, keys in _keys(results):
        rows = []
        for key, name in keys:
            row = [
                text
                for block, content in zip(blocks, cells, strict=True)
                for text in content.get(key, ("",) * len(block.columns))
            ]
            if any(row):
                rows.append((name, *row))
        if rows:
            parts.append(Part(title, tuple(rows)))
    return Paper("results", "Results", results.title, _note(results), tuple(blocks), tuple(parts))


def numbers(table: pd.DataFrame) -> dict[tuple[str, ...], Mapping[str, Any]]:
    """An engine's parameters by the row's key."""
    rows = table.to_dict("records")
    return {(str(row["group"]) if isinstance(row["group"], str) else "", row["term"]): row for row in rows}


def together(engines: Mapping[str, tuple[tuple[str, ...], Mapping]]) -> list[list[str]]:
    """Engines that share columns, because no number of theirs differs by as much as is shown.

    Parameters
    ----------
    engines : mapping
        Engine to its columns and to its rows by key, which have estimate, conf_low, conf_high and std_error.
    """
    merged: list[list[str]] = []
    for name, (columns, rows) in engines.items():
        alike = [
            names
            for names in merged
            if engines[names[0]][0] == columns and _alike(engines[names[0]][1], rows)
        ]
        if alike:
            alike[0].append(name)
        else:
            merged.append([name])
    return merged


def _alike(first: Mapping, second: Mapping) -> bool:
    if set(first) != set(second):
        return False
    for key, row in first.items():
        pair = [[float(own[name]) for name in SHOWN] for own in (row, second[key])]
        widths = [row["std_error"], second[key]["std_error"], (row["conf_high"] - row["conf_low"]) / 4]
        error = max((width for width in widths if width > 0), default=0.0)
        if not np.allclose(*pair, rtol=1e-9, atol=SAME * error, equal_nan=True):
            return False
    return True


def _keys(results: Results) -> list[tuple[str, list[tuple[tuple[str, ...], str]]]]:
    """Rows of each part: (key, name)."""
    labels = results.labels
    terms = order.terms(dict.fromkeys(term for fit in results.fits.values() for term in fit.fixed))
    spread = [
        ((group, term), labels.parameter(term) + results.by_group(group))
        for group, term in results.components
    ]
    shares = SHARES
    if _intercepts_alone(results):  # then both ICCs are the same number
        shares = {name: text for name, text in SHARES.items() if name != "icc"} | {"johnson": "ICC"}
    if set(terms) <= {INTERCEPT}:  # fixed effects explain nothing, and both together what the ICC says
        shares = {name: text for name, text in shares.items() if name in ("icc", "johnson")}
    sizes = [(("share", name), text) for name, text in shares.items()]
    sizes += [(("groups", name), f"Levels of {labels.column(name)}") for name in _counts(results)]
    sizes += [(("rows", ""), "Observations"), (("criterion", ""), "REML criterion (−2 log L)")]
    return [
        ("Fixed effects", [(("", term), labels.term(term)) for term in terms]),
        ("Variance components", spread),
        ("Model", sizes),
    ]


def _intercepts_alone(results: Results) -> bool:
    """Whether the only random effects are intercepts."""
    return all(
        term in (RESIDUAL, "sd__Intercept") for _, term in results.components if not term.startswith("cor__")
    )


def _counts(results: Results) -> dict[str, int]:
    """Number of levels of each grouping factor."""
    return {own.group: int(own.data["groups"]) for own in results.by_factor}


def _truth(results: Results) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Values simulated from, and those drawn, of everything that has them."""
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for fit in results.fits.values():
        for row in fit.parameters.to_dict("records"):
            key = (str(row["group"]) if isinstance(row["group"], str) else "", row["term"])
            if np.isfinite(row["truth"]):
                drawn = results.realised(row["term"], key[0]) if row["effect"] == "ran_pars" else np.nan
                found[key] = (
                    given(row["truth"]),
                    estimated(drawn, sd_places(row)) if np.isfinite(drawn) else "",
                )
    return found


def _engine(results: Results, name: str) -> tuple[tuple[str, ...], dict[tuple[str, ...], tuple[str, ...]]]:
    """An engine's columns, and its cells by the row's key."""
    fit = results.fits[name]
    table = fit.parameters
    bayes = engines.belongs(name, engines.BAYES)
    tested = not bayes and bool(table["p_value"].notna().any())
    by_t = tested and bool(table["df"].notna().any())
    columns = ("Estimate", f"{results.level} {'CrI' if bayes else 'CI'}")
    if name == results.pooled and results.mixed:
        tested = by_t = False  # in full in the appendix
    columns += ("df",) * by_t + ("p",) * tested
    empty = ("",) * (len(columns) - 2)
    cells = {}
    for row in table.to_dict("records"):
        fixed_effect = row["effect"] == "fixed"
        if fixed_effect:
            decimals = places(row["std_error"])
        else:  # one optimum: one number of decimals
            alike = results.exact is not None and not bayes and name != results.pooled
            other = results.parameter(results.exact, row["group"], row["term"]) if alike else {}
            decimals = sd_places(other or row)
        inner = (estimated(row["estimate"], decimals), _interval(row, decimals))
        more = empty
        if fixed_effect and tested:
            df = fixed(row["df"], df_places(table["df"])) if by_t else ""
            more = ((df,) if by_t else ()) + (p_value(row["p_value"]),)
        cells[(str(row["group"]) if isinstance(row["group"], str) else "", row["term"])] = (*inner, *more)
    for measure, share in results.explained(name).items():
        cells["share", measure] = (fixed(share, 3), "", *empty)
    mixed = name in results.mixed
    for group, count in _counts(results).items() if mixed else ():
        cells["groups", group] = (f"{count:,}", "", *empty)
    cells["rows", ""] = (f"{results.data['rows']:,}", "", *empty)
    if mixed and fit.diagnostics.criterion is not None:
        cells["criterion", ""] = (fixed(fit.diagnostics.criterion, 2), "", *empty)
    return columns, cells


def _interval(row: Mapping[str, Any], decimals: int | None) -> str:
    if not np.isfinite(row["conf_low"] + row["conf_high"]):
        return "–"
    return f"{estimated(row['conf_low'], decimals)} to {estimated(row['conf_high'], decimals)}"


DF = {
    "satterthwaite": "degrees of freedom by Satterthwaite's method",
    "kenward-roger": "degrees of freedom and standard errors by Kenward and Roger's method",
    "normal": "p values by the normal distribution",
}


def _note(results: Results) -> str:
    said = []
    if (method := df_method(results)) in DF:
        tested = [name for name in results.mixed if name in results.others or name == results.exact]
        said.append(f"{listed(list(map(label, tested)))}: {DF[method]}.")
    if results.bayes in results.mixed:
        said.append(f"{label(results.bayes)}: posterior means and {results.level} credible intervals (CrI).")
    if results.truth:
        said.append("Drawn: the SDs and correlations of the random effects in this data set.")
    skipped = [label(name) for name, fit in results.fits.items() if not len(fit.parameters)]
    if skipped:
        said.append(f"No estimates: {listed(skipped)}.")
    return " ".join(said)
