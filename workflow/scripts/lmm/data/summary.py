"""What the rows of a source hold, column by column, from one pass in bounded memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmm.data.cells import EXACT, PADDED, PLAIN, POINT, TEXT, Writing, writing
from lmm.data.source import Part, Source, connect, each_part, level_of, quote


@dataclass(frozen=True)
class Column:
    """Counts and moments of one column; `plus` adds those of further rows.

    Attributes
    ----------
    rows, missing, text, infinite, whole : int
        Rows; of these missing, not a number, infinite, whole numbers. In C(...) 007 is no number, and only there
        whole ones are counted.
    n : int
        Finite numbers, in complete rows where incomplete ones are dropped.
    low, high, mean, m2 : float
        Least, greatest, mean and sum of squared deviations of these.
    """

    rows: int = 0
    missing: int = 0
    text: int = 0
    infinite: int = 0
    whole: int = 0
    n: int = 0
    low: float = np.inf
    high: float = -np.inf
    mean: float = 0.0
    m2: float = 0.0

    def plus(self, other: "Column") -> "Column":
        """Both together (Chan, Golub & LeVeque 1983 for the deviations)."""
        n = self.n + other.n
        shift, share = other.mean - self.mean, other.n / max(n, 1)
        return Column(
            *(
                getattr(self, key) + getattr(other, key)
                for key in ("rows", "missing", "text", "infinite", "whole")
            ),
            n=n,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            mean=self.mean + shift * share,
            m2=self.m2 + other.m2 + shift**2 * self.n * share,
        )

    @property
    def numbers(self) -> int:
        """Rows that hold a number, infinite or not."""
        return self.rows - self.missing - self.text

    def described(self) -> dict[str, float]:
        """min, max, mean and sd (divisor n - 1)."""
        sd = np.sqrt(self.m2 / (self.n - 1)) if self.n > 1 else 0.0
        return {"min": self.low, "max": self.high, "mean": self.mean, "sd": float(sd)}


@dataclass(frozen=True)
class Summary:
    """What one pass over all rows found.

    Attributes
    ----------
    columns : dict of Column
    rows, complete : int
        Rows, and those without a missing value.
    names : dict of tuple of Writing
        How each file writes the labels of groups, by their columns, in the rows that are used.
    """

    columns: dict[str, Column]
    rows: int
    complete: int
    names: dict[str, tuple[Writing, ...]]


def summarise(
    source: Source, categorical: tuple[str, ...], threads: int = 1, memory_mb: int = 1024
) -> Summary:
    """One pass over all rows.

    Parameters
    ----------
    source : Source
    categorical : tuple of str
        Columns in C(...).
    threads, memory_mb : int
        For DuckDB.
    """
    measured = [name for name in source.columns if name not in source.labels and _can_be_number(source, name)]
    columns = {name: Column() for name in source.columns}
    names = {name: [Writing()] * len(source.files) for name in source.labels}
    total = complete = 0
    parts = each_part(
        source, lambda part: _query(source, part, measured, categorical), "checking rows", threads, memory_mb
    )
    for part, ((rows, whole, *numbers),) in zip(source.parts(), parts, strict=True):
        total, complete = total + rows, complete + whole
        left = iter(numbers)
        for name, column in columns.items():
            present = next(left)
            found: dict[str, Any] = {"rows": rows, "missing": rows - present}
            if name in measured:
                valid, infinite, digits, n, low, high, mean, variance = (next(left) for _ in range(8))
                found |= {"text": present - valid, "infinite": infinite, "whole": digits}
                if n:
                    found |= {"n": n, "low": low, "high": high, "mean": mean, "m2": variance * n}
            else:
                found["text"] = present
            if name in names:
                own = Writing(*(next(left) for _ in range(6)))
                names[name][part.file] = names[name][part.file].plus(own)
            columns[name] = column.plus(Column(**found))
    return Summary(columns, total, complete, {name: tuple(own) for name, own in names.items()})


def _can_be_number(source: Source, name: str) -> bool:
    """CSV has no types; Parquet has."""
    return source.kinds.get(name) != "VARCHAR"


def _present(source: Source, name: str) -> str:
    """SQL of a value as the file has it, NULL where missing."""
    return source.value(name, keys=True) if source.kinds.get(name) == "DOUBLE" else quote(name)


def _query(source: Source, part: Part, measured: list[str], categorical: tuple[str, ...]) -> str:
    """The aggregates that `summarise` takes apart, in its order."""
    inner, outer, kinds = [], ["count(*)", "count(*) FILTER (complete)"], []
    for at, name in enumerate(source.columns):
        inner.append(f"{_present(source, name)} AS v{at}")
        outer.append(f"count(v{at})")
        if name in source.labels:
            written, aggregates = _written(source, at)
            kinds += written
            outer += aggregates
        if name not in measured:
            continue
        inner.append(f"{source.number(name, name in categorical)} AS d{at}")
        digits = "0"
        if name in categorical:
            digits = f"count(*) FILTER (d{at} = floor(d{at}) AND abs(d{at}) < {EXACT})"
        used = f"CASE WHEN {'complete AND ' if source.drop else ''}isfinite(d{at}) THEN d{at} END"
        outer += [f"count(*) FILTER (NOT isnan(d{at}))", f"count(*) FILTER (isinf(d{at}))", digits]
        outer += [f"{aggregate}({used})" for aggregate in ("count", "min", "max", "avg", "var_pop")]
    every = " AND ".join(f"{_present(source, name)} IS NOT NULL" for name in source.columns)
    rows = f"SELECT {', '.join(inner)}, {every} AS complete FROM ({source.raw(part)})"
    return f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(['*', *kinds])} FROM ({rows}))"


def _written(source: Source, at: int) -> tuple[list[str], list[str]]:
    """SQL of how labels of groups, column v<at>, are written: columns of each row, and `Writing`'s attributes."""
    used = f"v{at} IS NOT NULL AND complete" if source.drop else f"v{at} IS NOT NULL"
    if source.kinds.get(source.columns[at]) == "BIGINT":  # the digits of a negative number do not matter
        shortest = f"CASE WHEN min(v{at}) >= 0 THEN strlen(CAST(min(v{at}) AS VARCHAR)) ELSE 1 END"
        return [], [f"count(*) FILTER ({used})", "0", "0", "0", shortest, "NULL"]
    name = f"CAST(v{at} AS VARCHAR)"
    counts = [f"count(*) FILTER (w{at} = {kind} AND {used})" for kind in (PLAIN, PADDED, POINT, TEXT)]
    ends = [
        f"{end}(strlen({name})) FILTER (w{at} = {kind} AND {used})"
        for end, kind in (("min", PLAIN), ("max", PADDED))
    ]
    return [f"{writing(name, source.decimal)} AS w{at}"], counts + ends


def levels(source: Source, name: str, limit: int, threads: int = 1, memory_mb: int = 1024) -> list:
    """The distinct values of a column, sorted; no more than `limit` of each part."""
    found: set = set()

    def query(part: Part) -> str:
        return f"SELECT DISTINCT {quote(name)} FROM ({source.typed(part)}) LIMIT {limit}"

    for rows in each_part(source, query, f"levels of {name}", threads, memory_mb):
        found.update(value for (value,) in rows)
    return sorted(found)


def group_sizes(
    source: Source, columns: tuple[str, ...], threads: int = 1, memory_mb: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """The levels of a grouping factor, in their order, and their rows: (J,) str objects, (J,) int64."""
    from lmm.data.levels import union  # here, because headers are looked at without pandas

    def query(part: Part) -> str:
        keys = f"SELECT {level_of(columns)} AS key FROM ({source.typed(part, keys=True)})"
        sizes = f"SELECT key, count(*) AS n FROM ({keys}) GROUP BY key"
        return f"SELECT CAST(key AS VARCHAR) AS level, n FROM ({sizes})"

    names, sizes = np.empty(0, dtype=object), np.empty(0, dtype=np.int64)
    for part in each_part(
        source,
        query,
        "counting groups",
        threads,
        memory_mb,
        lambda connection, sql: connection.execute(sql).fetchnumpy(),
    ):
        names, at, other = union(names, np.asarray(part["level"], dtype=object))
        old, sizes = sizes, np.zeros(len(names), dtype=np.int64)
        sizes[at] += old
        sizes[other] += np.asarray(part["n"], dtype=np.int64)
    return names, sizes


class Locator:
    """Finds the first row that a message is about; reads rows again, only once something is wrong."""

    def __init__(self, source: Source, categorical: tuple[str, ...] = ()):
        self.source, self.categorical = source, categorical
        self.where = source.files[0] if len(source.files) == 1 else "data"

    def first(
        self, name: str, condition: str, within: Iterable[int] | None = None
    ) -> tuple[str, int, Any] | None:
        """File, row (from 1, without the header) and value of the first `name` for which `condition` holds.

        In the condition `v` is the value, NULL where missing, `t` its text, and `d` the number that it can be read
        as. `within` are the numbers of the files to look at; all by default.
        """
        number = self.source.number(name, name in self.categorical)
        for file in range(len(self.source.files)) if within is None else within:
            rows = (
                f"SELECT row_number() OVER () AS row, {quote(name)} AS value, "
                f"{_present(self.source, name)} AS v, CAST({quote(name)} AS VARCHAR) AS t, "
                f"{number} AS d FROM ({self.source.raw(Part(file))})"
            )
            with connect(ordered=True) as connection:
                found = connection.execute(
                    f"SELECT row, value FROM ({rows}) WHERE {condition} LIMIT 1"
                ).fetchone()
            if found:
                return self.source.files[file], *found
        return None
