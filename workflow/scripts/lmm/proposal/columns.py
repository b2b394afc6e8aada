"""What a sample of a user's file says of each of its columns."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.core.words import counted, listed
from lmm.data import factors, ingest
from lmm.data.checks import DATE, days_of
from lmm.data.source import Part, Source, explain, quote
from lmm.model.syntax import named
from lmm.moments.pilot import sample

SAMPLE_ROWS = 100_000
LONG = r"[-+]?[0-9]{16,}"
# Values that stand for a missing number: signs alone, a spreadsheet's errors, and words that say so.
MARK = re.compile(
    r"[^\w\s]{1,3}|#?n/?a!?|#(null|value|ref|name|div/0|num)[!?]?|n\.? ?[ad]\.?|nan|none|null|nil|missing|unknown",
    re.IGNORECASE,
)
# A number with a sign, a unit or separators about it: `<0.5`, `1,234.5`, `12 %`, `$3`.
QUANTITY = re.compile(
    r"[<>≤≥~±$€£]{0,2} ?[-+]?([0-9]{1,3}([,' ][0-9]{3})+|[0-9]+)?([.,][0-9]+)?([eE][-+]?[0-9]+)? ?[%‰*$€£°]?"
)
# Other values that are not numbers, of all: up to this share they are slips in a column of numbers.
FEW = 0.1
SHOWN = 5  # of them in a message
# Distinct values, of all rows, above which numbers with signs or units about them are measured, no categories.
MEASURED = 0.3


@dataclass(frozen=True)
class Odd:
    """A value that is not a number in a column of numbers, and the first row that has it, 0 if unknown."""

    value: str
    row: int

    @property
    def said(self) -> str:
        """The value and its row."""
        return f"{self.value!r} in row {self.row}" if self.row else repr(self.value)

    @property
    def is_mark(self) -> bool:
        """Whether it can only mean missing."""
        return bool(MARK.fullmatch(self.value.strip()))

    @property
    def is_quantity(self) -> bool:
        """Whether it is a number with a sign, a unit or separators about it."""
        return bool(re.search("[0-9]", self.value) and QUANTITY.fullmatch(self.value.strip()))


@dataclass(frozen=True)
class Column:
    """What a sample says of a column.

    Attributes
    ----------
    name : str
    numeric, whole : bool
        All its values, but for a few in `odd`, are numbers; whole numbers.
    levels : int
        Distinct values.
    missing : int
        Rows without a value; without a number in a column of numbers.
    low, high : float
        Least and greatest number; NaN for text.
    counts_rows : bool
        Whole numbers, all different, rising or falling: a row number.
    dates : bool
        Its values are dates.
    categories : tuple of str
        Levels of a column of text in their order, the reference first; none where they are many.
    odd : tuple of Odd
        Distinct values that are not numbers.
    quantity : Odd or None
        The first value of a column of text whose values are measured numbers with a sign, a unit or separators.
    role, why : str
        What it was taken for (response, group, predictor, slope, left out), and the reason.
    """

    name: str
    numeric: bool
    whole: bool
    levels: int
    missing: int
    low: float
    high: float
    counts_rows: bool
    dates: bool = False
    categories: tuple[str, ...] = ()
    odd: tuple[Odd, ...] = ()
    quantity: Odd | None = None
    role: str = "left out"
    why: str = ""

    @property
    def words(self) -> frozenset[str]:
        """The words of its name: `SubjectID` and `subject_id` have two."""
        found = re.findall(r"[A-ZÄÖÜ]+(?![a-zäöüß])|[A-ZÄÖÜ]?[^\W\d_A-ZÄÖÜ]+", self.name)
        return frozenset(word.lower() for word in found)

    @property
    def term(self) -> str:
        """Its name as a formula has it, odd ones in backticks."""
        return named(self.name)

    @property
    def used(self) -> bool:
        """Whether the model has it."""
        return self.role != "left out"


def look(patterns: str | Sequence[str]) -> tuple[Source, pd.DataFrame, list[Column]]:
    """A sample of the rows, numbers as numbers and other columns as text, and what it says of each column."""
    bare = ingest.inspect(patterns, (), "")
    names = [name for name in bare.headers[0] if name.strip() and "`" not in name]
    kinds = {name: _kind(bare, name) for name in names}
    names = [name for name in names if kinds[name]]
    days = [name for name in names if kinds[name] == "DAYS"]
    source = ingest.inspect(patterns, names, "", dates=days)
    import duckdb  # slow to import, and a file that cannot be opened needs none

    try:
        frame, numbers = sample(source, SAMPLE_ROWS), sample(source, SAMPLE_ROWS, _numbers(source))
    except duckdb.Error as error:
        raise explain(error, source, Part(0)) from None
    columns = []
    for name in names:
        column = _column(source, name, frame[name], numbers[name])
        frame[name] = numbers[name].astype(float) if column.numeric else frame[name].astype(object)
        columns.append(column)
    return source, frame, columns


def _kind(source: Source, name: str) -> str:
    """DAYS for dates, nothing for a type that no model can take; text files have no types."""
    for dates, kind in (((), "plain"), ((name,), "DAYS")):
        try:
            ingest.inspect(source.files[0], (name,), "", dates=dates)
        except StudyError:
            continue
        return kind
    return ""


def _numbers(source: Source):
    """SQL of every column's numbers: the decision is the one that a run makes."""
    text = [name for name in source.columns if source.kinds.get(name) == "VARCHAR"]  # Parquet's text is text

    def select(part: Part) -> str:
        values = (
            f"{'CAST(NULL AS DOUBLE)' if name in text else source.number(name)} AS {quote(name)}"
            for name in source.columns
        )
        return f"SELECT {', '.join(values)} FROM ({source.raw(part)})"

    return select


def _column(source: Source, name: str, values: pd.Series, numbers: pd.Series) -> Column:
    """What its values, as the file has them and as numbers, say of a column."""
    if source.kinds.get(name) == "DAYS":
        return Column(
            name, False, False, values.nunique(), int(values.isna().sum()), np.nan, np.nan, False, True
        )
    there = values.dropna().astype(str)
    strange = there[numbers.loc[there.index].isna()]
    first = strange.drop_duplicates()
    known = len(source.files) == 1 and not source.rows  # of a text file the first rows are read
    odd = tuple(Odd(value, int(row) + 1 if known else 0) for row, value in first.items())
    numeric = _is_number(there, strange, first)
    # Identifiers that doubles cannot tell apart, and numbers that the file has as categories
    numeric &= name not in source.factors and not there.str.fullmatch(LONG).all()
    if not numeric:
        dates = len(there) > 0 and there.str.strip().str.fullmatch(DATE.pattern).mean() >= 1 - FEW
        distinct = sorted(there.unique())
        order = factors.in_order(source, name, distinct) if len(distinct) <= ingest.MAX_LEVELS else ()
        categories = tuple(map(str, order))
        missing = int(values.isna().sum())
        close = strange.isin([odd.value for odd in odd if odd.is_quantity]).sum()
        measured = close >= (1 - FEW) * len(there) and len(distinct) > MEASURED * len(there)
        quantity = next((odd for odd in odd if odd.is_quantity), None) if measured and not dates else None
        return Column(
            name, False, False, len(distinct), missing, np.nan, np.nan, False, dates, categories, quantity=quantity
        )  # fmt: skip
    found = numbers.dropna().astype(float)
    whole = bool(np.isfinite(found).all() and (found == np.round(found)).all())
    counts = whole and len(found) > 2 and (found.diff().dropna().abs() == 1).all() and found.is_unique
    low, high = float(found.min()), float(found.max())
    missing = int(numbers.isna().sum())
    return Column(name, True, whole, found.nunique(), missing, low, high, bool(counts), odd=odd)


def _is_number(there: pd.Series, strange: pd.Series, first: pd.Series) -> bool:
    """Whether a column is one of numbers: some are, and those that are not are marks, quantities, or few."""
    marks = first[[bool(MARK.fullmatch(value.strip())) for value in first]]
    close = first[[Odd(value, 0).is_quantity for value in first]]
    slips = (~strange.isin([*marks, *close])).sum()
    plain = len(there) - len(strange)
    enough = plain + strange.isin(close).sum() >= len(there) / 2
    return bool(plain and enough and slips <= FEW * len(there))


def refuse_quantities(source: Source, columns: Sequence[Column]) -> None:
    """Any of these columns could be the response; a model could not read it.

    Raises
    ------
    StudyError
        A column has a `quantity`.
    """
    for column in columns:
        if column.quantity:
            what = (
                f"column {column.name!r}: {column.quantity.said}, like the others: a number with a sign, a unit or "
                "separators, expected plain numbers; correct the file, or add RESPONSE=<column> to `make new` if "
                "another column is the response"
            )
            raise StudyError(source.files[0], what)


def is_all(source: Source, rows: int) -> bool:
    """Whether a sample of so many rows is the whole source."""
    if source.rows:
        return rows == sum(source.rows)
    return len(source.files) == 1 and rows < SAMPLE_ROWS


def describe(column: Column) -> str:
    """A column in one line, for the file's comment."""
    if column.dates:
        said = f"dates, {counted(column.levels, 'day')}"
    elif column.numeric:
        said = f"numbers, {column.low:g} to {column.high:g}"
        said = f"{counted(column.levels, 'level')}" if column.role == "group" else said
    else:
        said = f"text, {counted(column.levels, 'level')}"
    said += f", missing in {counted(column.missing, 'row')}" if column.missing else ""
    role = {"group": "grouping factor", "slope": "predictor, random slope"}.get(column.role, column.role)
    why = column.why or (f"dates; {days_of(column.name)}" if column.dates else "")
    return f"{said}: {role}{f' ({why})' if why else ''}"


def notes(column: Column) -> list[str]:
    """What there is to say of values that are not numbers in a column of numbers that the model has."""
    if not column.used or not column.odd:
        return []
    said = []
    marks, others = ([odd for odd in column.odd if odd.is_mark is mark] for mark in (True, False))
    if marks:
        met = listed([odd.said for odd in marks[:SHOWN]])
        said.append(f"column {column.name!r}: {met} read as missing, by `missing_values`")
    if others:
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        met = ", ".join(odd.said for odd in others[:SHOWN])
        what = (
            f"column {column.name!r}: {met}{more}: not a number; a run stops there until you correct the file"
        )
        said.append(f"{what}, or add the value to `missing_values` if it means missing")
    return said
