"""A table as the page shows it: columns, decimals that align, and values for sorting and CSV."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.parameters import titled
from lmm.core.words import decimals, estimated, fixed, number, places, whole

INTERACTIVE = 12  # more rows than this: sorted, filtered and paged in the browser
PARAMETERS = 40  # the same for parameters: a reader wants all of them in sight
STATIC = 1500  # more rows than this travel as data and become rows only when they are looked at
TERMS = ("term", "parameter", "item")  # columns of tidy names, shown as a reader calls them
NAMES = ("level", "name", "group", *TERMS)  # columns of names that the user gave
MOST_ROWS = 5000  # more rows than this: the largest of them, for a page of tens of megabytes opens slowly


class Name(str):
    """Text that the page leaves as it is: its own text gets spaces that do not break before a percent sign."""


@dataclass(frozen=True)
class Column:
    """A column: its heading, whether it is a number and its decimals.

    A column that asks for 0 decimals has counts. `coarse`: on a scale of its own (a correlation, a Pareto k), where
    a number that rounds to 0 is shown as 0. `missing` stands for what is not there. `said`: how a number is
    written that decimals alone do not describe (a p-value), or a name. `error`: the column whose standard errors
    decide each cell's decimals, as in sentences (`words.with_error`); the errors' own column has itself.
    """

    name: str
    title: str
    numeric: bool = True
    decimals: int | None = None
    coarse: bool = False
    missing: str = "–"
    said: Callable[[Any], str] | None = None
    error: str = ""


@dataclass(frozen=True)
class Table:
    """A table ready for the page.

    Attributes
    ----------
    key : str
        Unique within the study; the CSV's name too.
    caption : str
    columns : tuple of Column
    rows : list of list
        Cells as (value, text).
    paged : bool
        Whether it may be sorted, filtered and paged where it is long.
    """

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: list[list[tuple[Any, str]]]
    paged: bool = True

    @property
    def interactive(self) -> bool:
        """Whether the browser sorts, filters and pages it."""
        limit = PARAMETERS if self.columns[0].name in TERMS else INTERACTIVE
        return self.paged and len(self.rows) > limit

    @property
    def streamed(self) -> bool:
        """Whether its rows travel as data."""
        return len(self.rows) > STATIC

    def data(self) -> list[list[Any]]:
        """Bare values, for a streamed table: numbers to seven digits, text as it is."""
        return [[_bare(value, text) for value, text in row] for row in self.rows]


def _bare(value: Any, text: str) -> float | str | None:
    if not isinstance(value, float):
        return text
    return float(f"{value:.7g}") if np.isfinite(value) else None


def table(key: str, caption: str, frame: pd.DataFrame, columns: Sequence[Column]) -> Table | None:
    """A table of `frame`'s columns that are there and not empty; None without rows."""
    there = [c for c in columns if c.name in frame and not frame[c.name].isna().all()]
    if not len(frame) or not there:
        return None
    done, cells = [], []
    for column in there:
        values = frame[column.name]
        if column.numeric:
            floats = values.astype(float).to_numpy()
            digits = decimals(floats) if column.decimals is None else column.decimals
            said = whole if column.decimals == 0 else column.said
            done.append(replace(column, decimals=digits, said=said))
            if column.error:
                errors = frame[column.error].astype(float)
                cells.append(
                    [
                        (float(v), _by_error(float(v), e, done[-1]))
                        for v, e in zip(floats, errors, strict=True)
                    ]
                )
            else:
                cells.append([(float(v), _cell(float(v), done[-1])) for v in floats])
        else:
            done.append(column)
            said = column.said or (titled if column.name in TERMS else str)
            kind = Name if column.name in NAMES else str
            cells.append([(str(v), kind(said(str(v)))) for v in values.fillna("")])
    return Table(key, caption, tuple(done), [list(row) for row in zip(*cells, strict=True)])


def _cell(value: float, column: Column) -> str:
    """Fixed decimals, unless they would round a number that is not 0 to 0."""
    if not np.isfinite(value):
        return column.missing
    if column.said is not None:
        return column.said(value)
    if not column.coarse and value != 0 and abs(value) < 0.5 * 10.0**-column.decimals:
        return number(value, 2)
    return fixed(value, column.decimals)


def _by_error(value: float, error: float, column: Column) -> str:
    """Decimals by the error's two digits; without an error (every interval covers) three digits of its own."""
    if not np.isfinite(value):
        return column.missing
    return estimated(value, places(error, most=12), 2 if column.name == column.error else 3)


def largest(frame: pd.DataFrame, columns: Sequence[str], file: str) -> tuple[pd.DataFrame, str]:
    """At most `MOST_ROWS` rows, those with the largest values (in size) of `columns`, and a note on the others.

    Parameters
    ----------
    frame : DataFrame
    columns : sequence of str
        Each is put in units of its own spread.
    file : str
        Where all rows are, under the study's results.
    """
    if len(frame) <= MOST_ROWS:
        return frame, ""
    size = frame[list(columns)].abs()
    rank = (size / size.mean()).max(axis=1).fillna(-1.0).to_numpy()
    keep = np.sort(np.argsort(-rank, kind="stable")[:MOST_ROWS])
    return frame.iloc[keep], f" Shown: the {MOST_ROWS:,} largest of {len(frame):,}; all are in {file}."
