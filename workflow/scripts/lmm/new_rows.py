"""Rows to predict, from a file of the user's: checked against the data that the model was fitted to, then read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from lmm import checks, ingest
from lmm.errors import StudyError
from lmm.source import Part, Source, connect
from lmm.summary import Locator, levels, summarise


def inspect(file: str, formula: Any) -> Source:
    """Look at the header: predictors and the grouping factor must be there, the response need not.

    Raises
    ------
    StudyError
        As `ingest.inspect` does.
    """
    return ingest.inspect([file], [*formula.predictors, formula.group], formula.group)


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
        A missing or infinite value, text where the data have numbers, a category that the data do not have.
        Groups may be new.
    """
    source = inspect(file, formula)
    locate = Locator(source)
    summary, total, complete = summarise(source, formula.categorical)
    if complete < total:
        name = next(name for name, column in summary.items() if column.missing)
        _, row, _ = locate.first(name, "v IS NULL")
        what = f"column {name!r}: missing in {summary[name].missing} of {total} rows, first in row {row}"
        raise StudyError(file, f"{what}; expected rows to predict without missing values")
    kinds = {}
    for name in formula.predictors:
        known = data["columns"][name]
        categories = known.get("levels")
        kinds[name] = known["kind"] if categories else "DOUBLE"
        if kinds[name] != "VARCHAR":
            _numbers(name, summary[name], kinds[name], locate)
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
        file, row, value = locate.first(
            name, "v IS NOT NULL" if stored else "v IS NOT NULL AND isnan(coalesce(d, 'nan'))"
        )
        raise StudyError(
            file, f"column {name!r}: {value!r} in row {row} is text, expected a number as in the data"
        )
    checks.finite(name, column, locate)
    if kind == "BIGINT" and locate.source.kinds.get(name) != "BIGINT" and column.whole != column.numbers:
        file, row, value = locate.first(name, "d <> floor(d)")
        raise StudyError(
            file, f"column {name!r}: {value} in row {row}, expected a whole number as in the data"
        )


def read(source: Source) -> pd.DataFrame:
    """The rows in the file's order, the grouping factor as text."""
    with connect(ordered=True) as connection:
        return connection.execute(source.typed(Part(0))).df()
