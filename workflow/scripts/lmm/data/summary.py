"""What the rows of a source hold, column by column, from one pass in bounded memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lmm.data.source import Part, Source, connect, each_part, level_of, quote


@dataclass(frozen=True)
class Column:
    """Counts and moments of one column; `plus` adds those of further rows.

    Attributes
    ----------
    rows, missing, text, infinite, whole : int
        Rows; of these missing, not a number, infinite, written as whole numbers.
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


def summarise(
    source: Source, categorical: tuple[str, ...], threads: int = 1, memory_mb: int = 1024
) -> tuple[dict[str, Column], int, int]:
    """One pass over all rows.

    Parameters
    ----------
    source : Source
    categorical : tuple of str
        Columns in C(...): of these it is counted how many values are whole numbers.

    Returns
    -------
    summary : dict of Column
    rows : int
    complete : int
        Rows without a missing value.
    """
    measured = [name for name in source.columns if name not in source.labels and _can_be_number(source, name)]
    summary = {name: Column() for name in source.columns}
    total = complete = 0
    for ((rows, whole, *numbers),) in each_part(
        source, lambda part: _query(source, part, measured, categorical), "checking rows", threads, memory_mb
    ):
        total, complete = total + rows, complete + whole
        left = iter(numbers)
        for name, column in summary.items():
            present = next(left)
            found: dict[str, Any] = {"rows": rows, "missing": rows - present}
            if name in measured:
                valid, infinite, digits, n, low, high, mean, variance = (next(left) for _ in range(8))
                found |= {"text": present - valid, "infinite": infinite, "whole": digits}
                if n:
                    found |= {"n": n, "low": low, "high": high, "mean": mean, "m2": variance * n}
            else:
                found["text"] = present
            summary[name] = column.plus(Column(**found))
    return summary, total, complete


def _can_be_number(source: Source, name: str) -> bool:
    """CSV says nothing of types; Parquet does."""
    return source.kinds.get(name) != "VARCHAR"


def _present(source: Source, name: str) -> str:
    """SQL of a value as the file has it, NULL where missing."""
    return source.value(name, keys=True) if source.kinds.get(name) == "DOUBLE" else quote(name)


def _query(source: Source, part: Part, measured: list[str], categorical: tuple[str, ...]) -> str:
    """The aggregates that `summarise` takes apart, in its order."""
    inner, outer = [], ["count(*)", "count(*) FILTER (complete)"]
    for at, name in enumerate(source.columns):
        inner.append(f"{_present(source, name)} AS v{at}")
        outer.append(f"count(v{at})")
        if name not in measured:
            continue
        inner.append(f"{source.number(name)} AS d{at}")
        digits = "0"
        if name in categorical:
            digits = (
                f"count(*) FILTER (regexp_full_match(trim(CAST(v{at} AS VARCHAR)), '[-+]?[0-9]{{1,18}}'))"
            )
        used = f"CASE WHEN {'complete AND ' if source.drop else ''}isfinite(d{at}) THEN d{at} END"
        outer += [f"count(*) FILTER (NOT isnan(d{at}))", f"count(*) FILTER (isinf(d{at}))", digits]
        outer += [f"{aggregate}({used})" for aggregate in ("count", "min", "max", "avg", "var_pop")]
    every = " AND ".join(f"{_present(source, name)} IS NOT NULL" for name in source.columns)
    rows = f"SELECT {', '.join(inner)}, {every} AS complete FROM ({source.raw(part)})"
    return f"SELECT {', '.join(outer)} FROM ({rows})"


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

    def __init__(self, source: Source):
        self.source = source
        self.where = source.files[0] if len(source.files) == 1 else "data"

    def first(self, name: str, condition: str) -> tuple[str, int, Any] | None:
        """File, row (from 1, without the header) and value of the first `name` for which `condition` holds.

        In the condition `v` is the value, NULL where missing, and `d` the number that it can be read as.
        """
        for file in range(len(self.source.files)):
            rows = (
                f"SELECT row_number() OVER () AS row, {quote(name)} AS value, "
                f"{_present(self.source, name)} AS v, "
                f"{self.source.number(name)} AS d FROM ({self.source.raw(Part(file))})"
            )
            with connect(ordered=True) as connection:
                found = connection.execute(
                    f"SELECT row, value FROM ({rows}) WHERE {condition} LIMIT 1"
                ).fetchone()
            if found:
                return self.source.files[file], *found
        return None
