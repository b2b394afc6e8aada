"""Rows to predict, from a file of the user's: checked against the data that the model was fitted to, then read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.data import checks, ingest, names
from lmm.data.cells import EXACT
from lmm.data.dialect import Reading
from lmm.data.finite import columns_in
from lmm.data.source import Part, Source, connect
from lmm.data.summary import Locator, levels, summarise
from lmm.model.formula import together

BATCH = 20_000  # rows whose model matrix is looked at at a time


def check(file: str, formula: Any, data: Mapping[str, Any]) -> Source:
    """Read all rows once: whether the model can be evaluated at each.

    Parameters
    ----------
    file : str
    formula : Formula
    data : mapping
        data.json's content, of the rows that are fitted.

    Returns
    -------
    Source
        Its columns have the kinds that the data's have.

    Raises
    ------
    StudyError
        A missing or infinite value, text where the data have numbers, a category that the data do not have, a
        weight that is not above 0. Groups may be new.
    """
    keys = [name for columns in formula.keys for name in columns]
    beside = [name for name in (formula.weights, *formula.offsets) if name]
    columns = list(dict.fromkeys([*formula.predictors, *keys, *beside]))  # the response need not be there
    stated = Reading.of(data)
    source = ingest.inspect([file], columns, formula.keys, False, formula.predictors, stated, formula.dates)
    categorical = tuple(name for name in formula.predictors if "levels" in data["columns"][name])
    locate = Locator(source, categorical)
    found = summarise(source, categorical)
    summary = found.columns
    if found.complete < found.rows:
        name = next(name for name, column in summary.items() if column.missing)
        _, row, _ = locate.first(name, "v IS NULL")
        what = f"column {name!r}: missing in {summary[name].missing} of {found.rows} rows, first in row {row}"
        raise StudyError(file, f"{what}; expected rows to predict without missing values")
    kinds = {name: names.like(name, data, written, locate) for name, (written,) in found.names.items()}
    for name in (*formula.predictors, *beside):
        known = data["columns"][name]
        categories = known.get("levels")
        kinds[name] = known["kind"] if categories or name in formula.dates else "DOUBLE"
        if kinds[name] != "VARCHAR":
            _numbers(name, summary[name], kinds[name], locate)
        if name == formula.weights:
            checks.positive(name, summary[name], locate)
    source = replace(source, kinds=source.kinds | kinds)
    for name in formula.predictors:
        categories = data["columns"][name].get("levels")
        strange = sorted(set(levels(source, name, ingest.MAX_LEVELS)) - set(categories)) if categories else []
        if strange:
            shown = ", ".join(map(str, categories[:10])) + (", ..." if len(categories) > 10 else "")
            raise StudyError(
                file, f"column {name!r}: {strange[0]!r}, expected one of the data's levels: {shown}"
            )
    return source


def _numbers(name: str, column, kind: str, locate: Locator) -> None:
    """Numbers only, finite, whole ones where the data have these as categories."""
    if column.text:
        stored = locate.source.kinds.get(name) == "VARCHAR"
        file, row, value = locate.first(name, "v IS NOT NULL" if stored else "v IS NOT NULL AND d IS NULL")
        expected = "a date such as 2024-01-31" if kind == "DAYS" else "a number"
        raise StudyError(
            file, f"column {name!r}: {value!r} in row {row} is text, expected {expected} as in the data"
        )
    checks.finite(name, column, locate)
    if kind == "BIGINT" and locate.source.kinds.get(name) != "BIGINT" and column.whole != column.numbers:
        file, row, value = locate.first(name, f"d <> floor(d) OR abs(d) >= {EXACT}")
        raise StudyError(
            file, f"column {name!r}: {value} in row {row}, expected a whole number as in the data"
        )


def checked(
    file: str, formulas: Sequence[str], data: Mapping[str, Any], rows: str | None = None
) -> pd.DataFrame:
    """The file's rows, once nothing is left that could keep the model from being predicted at them.

    Parameters
    ----------
    file : str
    formulas : sequence of str
        They differ in their random effects only.
    data : mapping
        data.json's content, of the rows that are fitted.
    rows : str, optional
        Path of data.parquet, from which poly(), bs() and the like take their bases.

    Returns
    -------
    DataFrame
        As `read` has it.

    Raises
    ------
    StudyError
        As `check` and `check_values` do.
    """
    from lmm.core.store import read_table
    from lmm.moments.stage import (
        designs,  # formulaic, which a study without rows to predict does without here
    )

    formula = together(formulas)
    source = check(file, formula, data)
    frame = read_table(rows) if rows and formula.stateful else None
    found = read(source)
    check_values(file, designs(formulas, data, frame)[0], found, data)
    return found


def check_values(file: str, design: Any, rows: pd.DataFrame, data: Mapping[str, Any]) -> None:
    """The model's columns are finite at every row: no logarithm of 0, nothing beyond the ends of a spline.

    Raises
    ------
    StudyError
        The first row at which they are not.
    """
    for start in range(0, len(rows), BATCH):
        batch = rows.iloc[start : start + BATCH]
        if _missing_term(design, batch) is None:
            continue
        bad, term = next(
            (k, term) for k in range(len(batch)) if (term := _missing_term(design, batch.iloc[[k]]))
        )
        numeric = [name for name in design.formula.predictors if name not in design.levels]
        used = columns_in(term, numeric) or numeric
        ends = {name: (data["columns"][name]["min"], data["columns"][name]["max"]) for name in used}
        row = batch.iloc[bad]
        name = next((n for n, (low, high) in ends.items() if not low <= row[n] <= high), used[0])
        low, high = ends[name]
        what = f"column {name!r}: {row[name]:g} in row {start + bad + 1}, where {term!r} has no value"
        raise StudyError(file, f"{what}; expected numbers like the data's, {low:g} to {high:g}")


def _missing_term(design: Any, rows: pd.DataFrame) -> str | None:
    """A term of the formula that has no finite value at some of the rows."""
    try:
        with np.errstate(all="ignore"):
            W = design.predictors(rows)
    except StudyError:  # formulaic's splines refuse what is beyond their ends
        return ", ".join(design.stateful)
    bad = np.flatnonzero(~np.isfinite(W).all(axis=0))
    return design.terms.columns[bad[0]] if len(bad) else None


def read(source: Source) -> pd.DataFrame:
    """The rows in the file's order, the grouping factor as text."""
    with connect(ordered=True) as connection:
        return connection.execute(source.typed(Part(0))).df()
