"""What a cell of a user's file is: a missing value, a number, or text. Decided here and nowhere else.

Files of text have no types, so every column of one is read as text and typed by its values. The rules, in full:

- Missing: a blank cell, the words in `MISSING` and those that the study states (`missing_values`), quoted or not,
  spaces around them ignored. Any other text (`None`, `n/a`, `.`) is text. In Parquet only nulls, not-a-number and
  what the study states are missing.
- A number is written with a decimal point, or a comma where that is the files' decimal mark (`lmm.data.dialect`),
  and a sign, an exponent, leading zeros and spaces around it if need be:
  `12`, `-.5`, `+5`, `1e5`, `007`, ` 3 `; `inf` and `Infinity` are infinite numbers, which no model takes. Not a
  number: digits with separators (`1_000`, `1,000`, `1 000`), the other decimal mark, hexadecimal (`0x1F`), `1d5`,
  percentages, dates, true and false, digits of other scripts.
- A predictor or response whose every value is a number is one of numbers; a column in C(...) has whole numbers as
  categories if all values are whole numbers without leading zeros (`2.0` is 2), else text.
- A group's name is text: `001`, `1.10` and `1e3` stay as written. Only where the names in every file are whole
  numbers, maybe with `.0` behind them (as programs write a column of whole numbers with a gap in it), they count as
  whole numbers, and `1.0` is 1. Text that a Parquet file has stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

# What R and pandas write for a missing value.
MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null")
# Doubles tell whole numbers apart up to here.
EXACT = 2**53


def quoted(value: str) -> str:
    """An SQL string."""
    return "'" + value.replace("'", "''") + "'"


def present(cell: str, marks: Sequence[str] = ()) -> str:
    """SQL of a text file's cell, NULL where it is missing (DuckDB's `nullstr` does not ignore spaces).

    `marks` are what the study states to mean missing besides `MISSING`.
    """
    words = ", ".join(quoted(word) for word in MISSING)
    # '!' follows the space: most cells are done with after one comparison
    blank = f"({cell} < '!' OR suffix({cell}, ' ')) AND trim({cell}, ' \t') IN ({words})"
    stated = f" OR trim({cell}, ' \t') IN ({', '.join(map(quoted, marks))})" if marks else ""
    return f"CASE WHEN {blank}{stated} THEN NULL ELSE {cell} END"


def pointed(cell: str, decimal: str) -> str:
    """SQL of a text cell with a decimal point for the file's decimal mark; where that is a comma, no point is one."""
    return (
        cell if decimal == "." else f"CASE WHEN NOT contains({cell}, '.') THEN replace({cell}, ',', '.') END"
    )


def number(cell: str, decimal: str = ".") -> str:
    """SQL of the number that a text cell is, NULL where it is none.

    DuckDB's cast takes digits apart at underscores, and the word nan, which is missing where it is spelled as in
    `MISSING` and text otherwise; all else that it takes is a number by the rules above (tests/test_cells.py).
    """
    value = pointed(cell, decimal)
    return f"CASE WHEN contains({cell}, '_') THEN NULL ELSE nullif(TRY_CAST({value} AS DOUBLE), 'nan') END"


def numbers(frame: Any) -> dict[str, Any]:
    """`number` of text cells in memory: column -> (n,) float64 array, NaN for missing cells and text.

    Parameters
    ----------
    frame : DataFrame
        Columns of text.
    """
    import duckdb  # here, because headers are looked at without it
    import pyarrow as pa

    # numbered, because DuckDB's names ignore case
    text = {f"c{at}": pa.array(frame[name], pa.string(), from_pandas=True) for at, name in enumerate(frame)}
    if not text:
        return {}
    with duckdb.connect() as connection:
        connection.register("cells", pa.table(text))
        query = ", ".join(f"{number(name)} AS {name}" for name in text)
        found = connection.sql(f"SELECT {query} FROM cells").to_arrow_table()
    return {name: found[at].to_numpy() for at, name in enumerate(frame)}


def padded(cell: str) -> str:
    """SQL of whether a text cell is a whole number with leading zeros: as a name it is not the number."""
    return rf"regexp_full_match({cell}, '[ \t]*[-+]?0[0-9]+[ \t]*')"


# Kinds of writing of a group's name, as `writing` numbers them.
PLAIN, PADDED, POINT, TEXT = range(4)


def writing(name: str, decimal: str = ".") -> str:
    """SQL of how a group's name, text, is written.

    A whole number (`7`), one with leading zeros (`007`) or otherwise (`7.0`, `+7`, ` 7`), or text.
    """
    value = number(name, decimal)
    whole = (
        rf"regexp_full_match({name}, '[ \t]*[-+]?[0-9]+([{decimal}]0*)?[ \t]*') AND abs({value}) < {EXACT}"
    )
    return (
        f"CASE WHEN CAST(TRY_CAST({name} AS BIGINT) AS VARCHAR) = {name} THEN {PLAIN} "
        f"WHEN {value} IS NULL THEN {TEXT} "
        f"WHEN {padded(name)} THEN {PADDED} "
        f"WHEN {whole} THEN {POINT} ELSE {TEXT} END"
    )


@dataclass(frozen=True)
class Writing:
    """How the names of groups are written in some rows.

    Attributes
    ----------
    plain, padded, point, text : int
        Rows by kind of writing.
    shortest : int or None
        Characters of the shortest plain one.
    longest : int or None
        Characters of the longest with leading zeros.
    """

    plain: int = 0
    padded: int = 0
    point: int = 0
    text: int = 0
    shortest: int | None = None
    longest: int | None = None

    def plus(self, other: "Writing") -> "Writing":
        """Both together."""
        ends = [
            [value for value in (getattr(self, key), getattr(other, key)) if value is not None]
            for key in ("shortest", "longest")
        ]
        counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        return Writing(*counts, min(ends[0], default=None), max(ends[1], default=None))

    def whole(self, stored_as_text: bool) -> bool:
        """Whether all are whole numbers; what is stored as text must be written plainly."""
        return not (self.padded or self.text or (stored_as_text and self.point))

    def beyond(self, other: "Writing") -> "Writing":
        """Without the kinds of writing that the other has too."""
        counts = [0 if its else mine for mine, its in zip(self.counts, other.counts, strict=True)]
        return Writing(*counts, self.shortest, self.longest)

    def clash(self, other: "Writing") -> tuple[int, int] | None:
        """Kinds of writing, here and there, that may mean the same numbers; None where none do."""
        for mine, its in permutations((PLAIN, PADDED, POINT), 2):
            if not (self.counts[mine] and other.counts[its]):
                continue
            if {mine, its} != {PADDED, PLAIN}:
                return mine, its
            plain, padded = (self, other) if mine == PLAIN else (other, self)
            if plain.shortest < padded.longest:  # 7 and 007, where 100 and 007 are of one width
                return mine, its
        return None

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Rows by kind of writing."""
        return self.plain, self.padded, self.point, self.text
