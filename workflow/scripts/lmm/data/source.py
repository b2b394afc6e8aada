"""Files of rows as SQL for DuckDB: bounded memory, and sums that come out the same at every run.

DuckDB's parallel sums differ in their last digits from run to run, because threads share the rows as they
come. So the rows are cut into *parts* that depend on the files alone (a file, or a span of at most 2^24 rows
of a Parquet file, whose row groups outside the span are skipped unread); each part is read by one thread, in
order; several parts are read at a time; and their results are put together in the parts' order.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from lmm.core.errors import StudyError
from lmm.core.progress import Progress
from lmm.data.cells import MISSING, number, padded, pointed, present, quoted
from lmm.data.dialect import UNSTATED, Dialect, Reading, in_utf8

PART_ROWS = 1 << 24
BATCH_ROWS = 65_536  # rows whose model matrix is in memory at a time


def quote(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Part:
    """Rows `start` to `stop` (None: all) of a source's file number `file`."""

    file: int
    rows: int | None = None
    start: int | None = None
    stop: int | None = None


@dataclass(frozen=True)
class Source:
    """Where a study's rows are, and how its columns are read.

    Attributes
    ----------
    files : tuple of str
    format : "csv", "tsv" or "parquet"
    headers : tuple of tuple of str
        The column names of each file.
    columns : tuple of str
        The columns that the study uses.
    keys : tuple of tuple of str
        The columns of each grouping factor.
    labels : tuple of str
        Columns that grouping factors alone use; their values are names, text whatever their kind.
    kinds : dict
        "BIGINT", "DOUBLE" or "VARCHAR" a column: what Parquet says or, after a scan, what was found
        (`lmm.data.cells`); "DAYS" for a column of dates, read as numbers of days since 1970-01-01.
    drop : bool
        Leave out rows in which a used column is missing.
    rows : tuple of int
        Rows of each file, where the format says (Parquet); else empty.
    size : int
        Bytes of all files.
    factors : tuple of str
        Columns of numbers that Parquet files have as categories.
    dialects : tuple of Dialect
        Of each text file; empty for Parquet.
    decimal : str
        Decimal mark of the text files.
    stated : Reading
        What the study states of its files.
    notes : tuple of str
        What was found in the files and is not stated, for the user.
    most : int or None
        Read no more than this many rows of each text file.
    ends : tuple of str
        How lines end in each text file whose header has a line break in a name; else empty, and DuckDB finds it.
    """

    files: tuple[str, ...]
    format: str
    headers: tuple[tuple[str, ...], ...]
    columns: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]
    kinds: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    rows: tuple[int, ...] = ()
    size: int = 0
    factors: tuple[str, ...] = ()
    dialects: tuple[Dialect, ...] = ()
    decimal: str = "."
    stated: Reading = UNSTATED
    notes: tuple[str, ...] = ()
    most: int | None = None
    ends: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """Name of the grouping factor, where there is one."""
        (columns,) = self.keys
        return ":".join(columns)

    def only(self, start: int, stop: int | None = None) -> "Source":
        """The same source with some of its files, `start` to `stop` (default one): what one of several jobs reads."""
        span = slice(start, start + 1 if stop is None else stop)
        names = ("files", "headers", "rows", "dialects", "ends")
        return replace(self, **{name: getattr(self, name)[span] for name in names})

    def parts(self, size: int = PART_ROWS) -> list[Part]:
        """The parts in order; they depend on the files and on nothing else."""
        if not self.rows:
            return [Part(file) for file in range(len(self.files))]
        spans = []
        for file, rows in enumerate(self.rows):
            pieces = max(-(-rows // size), 1)
            edges = [rows * k // pieces for k in range(pieces + 1)]
            spans += [Part(file, b - a, a, b) for a, b in pairwise(edges)]
        return spans

    def raw(self, part: Part) -> str:
        """SELECT of the used columns as the file has them (CSV: as text, missing values as NULL)."""
        if self.format == "parquet":
            path = quoted(self.files[part.file])
            columns = ", ".join(self._stored(name) for name in self.columns)
            whole = part.start is None or (part.start, part.stop) == (0, self.rows[part.file])
            span = (
                "" if whole else f" WHERE file_row_number >= {part.start} AND file_row_number < {part.stop}"
            )
            # can_have_nan: else DuckDB takes isnan(x) as false where a file's statistics have a maximum,
            # though by the Parquet standard they leave NaN out (DuckDB issue 25521).
            options = "file_row_number = true, can_have_nan = true"
            return f"SELECT {columns} FROM read_parquet({path}, {options}){span}"
        header = self.headers[part.file]
        # By position: DuckDB's names ignore case, and a file may have unnamed columns.
        columns = ", ".join(
            f"{present(f'c{header.index(name)}', self.stated.missing)} AS {quote(name)}"
            for name in self.columns
        )
        schema = ", ".join(f"c{at}: 'VARCHAR'" for at in range(len(header)))
        dialect = self.dialects[part.file]
        path = quoted(in_utf8(self.files[part.file], dialect.encoding))
        missing = ", ".join(map(quoted, MISSING))
        most = self.most if part.stop is None else part.stop
        limit = f" LIMIT {most}" if most is not None else ""
        end = self.ends[part.file].replace("\r", "\\r").replace("\n", "\\n")
        end = f"new_line = '{end}', " if end else ""
        return (
            f"SELECT {columns} FROM read_csv({path}, auto_detect = false, header = true, "
            f"delim = {quoted(dialect.delimiter)}, quote = '\"', escape = '\"', nullstr = [{missing}], {end}"
            f"columns = {{{schema}}}){limit}"
        )

    def _stored(self, name: str) -> str:
        """A column of a Parquet file, NULL where the study states that a value means missing."""
        value, marks = quote(name), self.stated.missing
        same = f"CAST({value} AS VARCHAR) IN ({', '.join(map(quoted, marks))})" if marks else ""
        if self.kinds.get(name) in ("BIGINT", "DOUBLE"):
            numbers = [repr(number) for mark in marks if (number := _number(mark)) is not None]
            same = f"{value} IN ({', '.join(numbers)})" if numbers else ""
        return f"CASE WHEN {same} THEN NULL ELSE {value} END AS {value}" if same else value

    def typed(self, part: Part, keys: bool = False, every: bool = False) -> str:
        """SELECT of the used columns as the study's fits see them, without the rows left out as incomplete.

        Labels of groups are text, or with `keys` what their text is cast from: quicker to group by.
        With `every`, incomplete rows are there too, and a column lmm_complete says which are not.
        """
        columns = ", ".join(f"{self.value(name, keys)} AS {quote(name)}" for name in self.columns)
        rows = f"SELECT {columns} FROM ({self.raw(part)})"
        complete = " AND ".join(f"{quote(v)} IS NOT NULL" for v in self.columns)
        if every:
            return f"SELECT *, {complete} AS lmm_complete FROM ({rows})"
        return f"SELECT * FROM ({rows}) WHERE {complete}" if self.drop else rows

    def value(self, name: str, keys: bool = False) -> str:
        """SQL of a used column's value in its kind; not-a-number is missing."""
        kind, value = self.kinds.get(name, "VARCHAR"), quote(name)
        if kind == "DAYS":
            value = self.number(name)
        elif kind == "DOUBLE":
            value = f"CAST({self._pointed(name)} AS DOUBLE)"
            value = f"CASE WHEN isnan({value}) THEN NULL ELSE {value} END"
        elif kind == "BIGINT":
            # only not-a-number fails, in columns stored as doubles
            value = f"TRY_CAST({self._pointed(name)} AS BIGINT)"
        elif not (keys and name in self.labels):
            value = f"CAST({value} AS VARCHAR)"
        return f"CAST({value} AS VARCHAR)" if name in self.labels and not keys else value

    def number(self, name: str, categorical: bool = False) -> str:
        """SQL of the number that a value as the file has it is, or of its days if it is a date; NULL if neither.

        A column in C(...) is `categorical`: 007 is no number there. Parquet's numbers are numbers as they are.
        """
        value, kind = quote(name), self.kinds.get(name)
        if kind == "DAYS":
            return f"epoch(TRY_CAST(trim(CAST({value} AS VARCHAR)) AS TIMESTAMP)) / 86400"
        if self.rows and kind in ("BIGINT", "DOUBLE"):
            return f"CAST({value} AS DOUBLE)"
        cell = f"CAST({value} AS VARCHAR)"
        found = number(cell, self.decimal)
        return f"CASE WHEN {padded(cell)} THEN NULL ELSE {found} END" if categorical else found

    def _pointed(self, name: str) -> str:
        """SQL of a value of a text file with a decimal point, whatever the file's decimal mark."""
        return quote(name) if self.format == "parquet" else pointed(quote(name), self.decimal)


def level_of(columns: tuple[str, ...]) -> str:
    """SQL of a factor's level over rows from `Source.typed`; one column as it is, to be cast afterwards."""
    if len(columns) == 1:
        return quote(columns[0])
    return f"concat_ws(':', {', '.join(f'CAST({quote(name)} AS VARCHAR)' for name in columns)})"


def _number(mark: str) -> float | None:
    try:
        return float(mark) if math.isfinite(float(mark)) else None
    except ValueError:
        return None


def connect(threads: int = 1, memory_mb: int = 512, ordered: bool = False):
    """An in-memory DuckDB; it spills to disk beyond `memory_mb`. `ordered` keeps the rows' order."""
    import duckdb  # here, because a Snakefile that only looks at headers should start fast

    settings = {"threads": threads, "memory_limit": f"{memory_mb}MiB", "preserve_insertion_order": ordered}
    return duckdb.connect(config=settings)


def explain(error: Exception, source: Source, part: Part) -> StudyError:
    """DuckDB's complaint about a file as one short line."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("Possible")]
    said = "; ".join(line for line in lines[:4] if not line.startswith("*"))
    encoding = f" in {source.dialects[part.file].encoding.upper()}" if source.dialects else ""
    what = (
        f"cannot be read: {said}, expected {source.format.upper()}{encoding}, the same columns in every row"
    )
    return StudyError(source.files[part.file], what)


def _share(connection) -> float:
    """How much of its query a connection has done, 0 to 1."""
    import duckdb

    try:
        return max(connection.query_progress(), 0.0) / 100
    except duckdb.Error:  # closed since
        return 0.0


def each_part(
    source: Source,
    query: Callable[[Part], str],
    label: str,
    threads: int = 1,
    memory_mb: int = 1024,
    read: Callable[[Any, str], Any] = lambda connection, sql: connection.execute(sql).fetchall(),
) -> Iterator[Any]:
    """Results of a query on every part, in the parts' order, `threads` parts at a time.

    Parameters
    ----------
    source : Source
    query : callable
        Part -> SQL.
    label : str
        For the progress shown on stderr.
    threads, memory_mb : int
        Together for all parts that are read at a time.
    read : callable, optional
        Takes a DuckDB connection and the SQL, returns the part's result.

    Raises
    ------
    StudyError
        A file cannot be read.
    """
    import duckdb

    parts = source.parts()
    workers = max(min(threads, len(parts)), 1)
    connections = {}

    def run(at: int):
        connection = connect(memory_mb=memory_mb // workers)
        connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
        connections[at] = connection
        try:
            return read(connection, query(parts[at]))
        except duckdb.Error as error:
            raise explain(error, source, parts[at]) from None
        finally:
            del connections[at]
            connection.close()

    with Progress(label, len(parts)) as progress, ThreadPoolExecutor(workers) as pool:
        # Never more than a few results wait for their turn: a part's result can be as large as all groups.
        waiting = {at: pool.submit(run, at) for at in range(min(workers + 1, len(parts)))}
        for at in range(len(parts)):
            while not waiting[at].done():
                wait([waiting[at]], timeout=0.5, return_when=FIRST_COMPLETED)
                progress.at(at + sum(_share(connection) for connection in list(connections.values())))
            result = waiting.pop(at).result()
            if at + workers + 1 < len(parts):
                waiting[at + workers + 1] = pool.submit(run, at + workers + 1)
            progress.at(at + 1)
            yield result
