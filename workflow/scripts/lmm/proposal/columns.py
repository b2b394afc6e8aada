"""What a sample of a user's file says of each of its columns."""

import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.core.words import counted
from lmm.data import ingest
from lmm.data.source import Part, Source, explain
from lmm.moments.pilot import sample

SAMPLE_ROWS = 100_000
LONG = r"[-+]?[0-9]{16,}"


@dataclass(frozen=True)
class Column:
    """What a sample says of a column.

    Attributes
    ----------
    name : str
    numeric, whole : bool
        All its values are numbers; whole numbers.
    levels : int
        Distinct values.
    missing : int
        Rows without a value.
    low, high : float
        Least and greatest number; NaN for text.
    counts_rows : bool
        Whole numbers, all different, rising or falling: a row number.
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
    role: str = "left out"
    why: str = ""

    @property
    def words(self) -> frozenset[str]:
        """The words of its name: `SubjectID` and `subject_id` have two."""
        return frozenset(word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", self.name))

    @property
    def term(self) -> str:
        """Its name as a formula has it, odd ones in backticks."""
        plain = self.name.isidentifier() and not keyword.iskeyword(self.name)
        return self.name if plain else f"`{self.name}`"


def look(patterns: str | Sequence[str]) -> tuple[Source, pd.DataFrame, list[Column]]:
    """A sample of the rows, numbers as numbers and other columns as text, and what it says of each column."""
    bare = ingest.inspect(patterns, (), "")
    names = [name for name in bare.headers[0] if name.strip() and "`" not in name]
    names = [name for name in names if _readable(bare, name)]
    source = ingest.inspect(patterns, names, "")
    import duckdb  # slow to import, and a file that cannot be opened needs none

    try:
        frame = sample(source, SAMPLE_ROWS)
    except duckdb.Error as error:
        raise explain(error, source, Part(0)) from None
    columns = []
    for name in names:
        values = frame[name]
        numbers = pd.to_numeric(values, errors="coerce").astype(float)
        numeric = bool(values.notna().any() and (numbers.notna() == values.notna()).all())
        # Identifiers that doubles cannot tell apart, and numbers that the file has as categories
        numeric &= name not in source.factors and not values.dropna().astype(str).str.fullmatch(LONG).all()
        frame[name] = numbers if numeric else values.astype(object)
        columns.append(_column(name, frame[name], numeric))
    return source, frame, columns


def _readable(source: Source, name: str) -> bool:
    """Whether a column has a type that a model can take; text files have no types."""
    try:
        ingest.inspect(source.files[0], (name,), "")
    except StudyError:
        return False
    return True


def _column(name: str, values: pd.Series, numeric: bool) -> Column:
    there = values.dropna()
    whole = numeric and bool(np.isfinite(there).all() and (there == np.round(there)).all())
    counts = whole and len(there) > 2 and (there.diff().dropna().abs() == 1).all() and there.is_unique
    low, high = (float(there.min()), float(there.max())) if numeric else (np.nan, np.nan)
    return Column(name, numeric, whole, there.nunique(), int(values.isna().sum()), low, high, bool(counts))


def is_all(source: Source, rows: int) -> bool:
    """Whether a sample of so many rows is the whole source."""
    if source.rows:
        return rows == sum(source.rows)
    return len(source.files) == 1 and rows < SAMPLE_ROWS


def describe(column: Column) -> str:
    """A column in one line, for the file's comment."""
    if column.numeric:
        said = f"numbers, {column.low:g} to {column.high:g}"
        said = f"{counted(column.levels, 'level')}" if column.role == "group" else said
    else:
        said = f"text, {counted(column.levels, 'level')}"
    said += f", missing in {counted(column.missing, 'row')}" if column.missing else ""
    role = {"group": "grouping factor", "slope": "predictor, random slope"}.get(column.role, column.role)
    return f"{said}: {role}{f' ({column.why})' if column.why else ''}"
