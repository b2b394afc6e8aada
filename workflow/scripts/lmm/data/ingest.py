"""A user's own rows: the headers looked at before any job, the rows before any fit.

`inspect` reads headers only and is quick enough for the Snakefile; `scan` reads the rows, in bounded memory.
"""

import csv
import glob
import gzip
import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from lmm.core.errors import StudyError
from lmm.data import checks, factors, names
from lmm.data.cells import quoted
from lmm.data.source import Part, Source, connect
from lmm.data.summary import Locator, group_sizes, levels, summarise

SUFFIXES = {
    ".csv": "csv", ".csv.gz": "csv", ".tsv": "tsv", ".tsv.gz": "tsv", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
# Sources up to this size are copied into data.parquet; beyond it engines read the sources themselves.
COPY_LIMIT = 256 * 1024**2
# A text predictor with more levels than this is an identifier, not a category.
MAX_LEVELS = 1000


def inspect(
    patterns: str | Sequence[str],
    columns: Sequence[str],
    group: str | Sequence[tuple[str, ...]],
    drop: bool = False,
    predictors: Sequence[str] = (),
) -> Source:
    """Look at the files' headers: everything that can be told without reading rows.

    Parameters
    ----------
    patterns : str or sequence of str
        Files or globs of them: CSV, TSV (either may be gzipped) or Parquet.
    columns : sequence of str
        The columns that the formula names (`Formula.variables`), the grouping factors' among them.
    group : str or sequence of tuple of str
        The grouping factor, or the columns of each (`Formula.keys`).
    drop : bool
        `missing: drop`: leave out incomplete rows instead of stopping.
    predictors : sequence of str
        Columns that are predictors, whether or not they are part of a grouping factor as well.

    Returns
    -------
    Source

    Raises
    ------
    StudyError
        No such file, an unreadable or empty one, a wrong delimiter, duplicated headers, a column that is not
        there, or files of one study that do not go together.
    """
    files = _expand([patterns] if isinstance(patterns, str) else list(patterns))
    formats = {file: _format(file) for file in files}
    kind = formats[files[0]]
    for file, other in formats.items():
        if other != kind:
            raise StudyError(file, f"is {other}, expected {kind} like {files[0]}: one format a study")
    columns = tuple(columns)
    keys = ((group,),) if isinstance(group, str) else tuple(group)
    labels = tuple(dict.fromkeys(name for key in keys for name in key if name not in predictors))
    read = _parquet_header if kind == "parquet" else _text_header
    headers, kinds, first, rows, categories, ends = [], {}, {}, [], set(), []
    for file in files:
        header, types, count = read(file, kind)
        checks.header(file, header, columns, files[0], headers[0] if headers else None)
        for name in columns if types else ():
            found = _parquet_kind(file, name, types[name], name in labels)
            kinds[name] = _common(kinds.setdefault(name, found), found, name in labels)
            if kinds[name] is None:
                what = f"column {name!r}: {types[name]}, expected {first[name]} as in {files[0]}"
                raise StudyError(file, what)
            if found != "VARCHAR" and hasattr(types[name], "value_type"):  # a dictionary
                categories.add(name)
        first = first or dict(kinds)
        headers.append(header)
        rows += [count] if types else []
        ends += [] if types else [_line_end(file, header)]
    size = sum(os.path.getsize(file) for file in files)
    codes = tuple(name for name in columns if name in categories and name not in labels)
    return Source(
        tuple(files),
        kind,
        tuple(headers),
        columns,
        keys,
        labels,
        kinds,
        drop,
        tuple(rows),
        size,
        codes,
        tuple(ends),
    )


def _expand(patterns: list[str]) -> list[str]:
    """The files of all patterns, each pattern's in sorted order."""
    files = []
    for pattern in patterns:
        found = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
        if not found:
            raise StudyError(
                "data", f"{pattern!r}: no such file, expected a CSV, TSV or Parquet file or a glob"
            )
        files += found
    for file in files:
        if os.path.isdir(file):
            raise StudyError("data", f"{file!r}: a directory, expected files, for example {file}/*.parquet")
        if not os.access(file, os.R_OK):
            raise StudyError(file, "cannot be read (permission denied), expected a readable file")
        if os.path.getsize(file) == 0:
            raise StudyError(file, "is empty (0 bytes), expected a header and rows")
    return list(dict.fromkeys(files))


def _format(file: str) -> str:
    """csv, tsv or parquet, by the suffix."""
    for suffix, kind in SUFFIXES.items():
        if file.lower().endswith(suffix):
            return kind
    raise StudyError(file, f"its suffix says no format, expected one of {', '.join(SUFFIXES)}")


def _text_header(file: str, kind: str) -> tuple[tuple[str, ...], None, None]:
    """The header of a CSV or TSV file, after a look at the first row."""
    delimiter = "," if kind == "csv" else "\t"
    try:
        with _opened(file) as lines:
            records = csv.reader(lines, delimiter=delimiter)
            header, first = next(records, []), next(records, None)
    except (UnicodeDecodeError, OSError, EOFError, csv.Error) as error:
        raise StudyError(file, f"cannot be read: {error}, expected {kind.upper()} text in UTF-8") from None
    if not any(name.strip() for name in header):
        raise StudyError(file, "its first line is blank, expected a header with the columns' names")
    checks.delimiter(file, header, delimiter)
    if first is None:
        raise StudyError(file, "has a header and no rows, expected rows")
    return tuple(header), None, None


def _opened(file: str):
    """A text file, gzipped or not, its lines' ends as they are."""
    opener = gzip.open if file.lower().endswith(".gz") else open
    return opener(file, "rt", encoding="utf-8-sig", newline="")


def _line_end(file: str, header: Sequence[str]) -> str:
    """How lines end, where the header has a line break in a name, which DuckDB would take for it; else empty."""
    breaks = sum(len(re.findall(r"\r\n|\r|\n", name)) for name in header)
    if not breaks:
        return ""
    with _opened(file) as lines:
        last = next(itertools.islice(lines, breaks, None))
    return re.search(r"\r\n|\r|\n", last)[0]


def _parquet_header(file: str, kind: str) -> tuple[tuple[str, ...], dict[str, Any], int]:
    """Column names, Arrow types and the number of rows of a Parquet file."""
    import pyarrow as pa  # here, because a study of CSV files does without
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        raise StudyError(file, f"cannot be read as Parquet: {error}, expected a Parquet file") from None
    if metadata.num_rows == 0:
        raise StudyError(file, "has no rows, expected rows")
    schema = metadata.schema.to_arrow_schema()
    kinds = dict(zip(schema.names, schema.types, strict=True))
    for name in factors.of_numbers(schema):
        kinds[name] = pa.dictionary(pa.int32(), kinds[name])
    return tuple(schema.names), kinds, metadata.num_rows


def _parquet_kind(file: str, name: str, type_, is_group: bool) -> str:
    """DuckDB's type for a column of an Arrow type."""
    from pyarrow import types

    if types.is_dictionary(type_):
        type_ = type_.value_type
    if (types.is_integer(type_) and not types.is_uint64(type_)) or (types.is_boolean(type_) and not is_group):
        return "BIGINT"  # true and false are 1 and 0, as in formulaic
    if types.is_uint64(type_):
        return "VARCHAR" if is_group else "DOUBLE"
    if types.is_floating(type_) or types.is_decimal(type_):
        return "DOUBLE"
    if types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_):
        return "VARCHAR"
    if is_group and not types.is_nested(type_) and not types.is_null(type_):
        return "VARCHAR"
    raise StudyError(file, f"column {name!r}: its type is {type_}, expected numbers or text")


def _common(one: str, other: str, is_group: bool) -> str | None:
    """The kind that a column has whose kinds in two files these are; None if there is none."""
    if one == other:
        return one
    both = {one, other}
    if both == {"BIGINT", "DOUBLE"}:  # a column of whole numbers with a gap in it is one of doubles
        return "DOUBLE"
    return "VARCHAR" if is_group and both == {"BIGINT", "VARCHAR"} else None


def scan(source: Source, formula, threads: int = 1, memory_mb: int = 1024) -> tuple[Source, dict[str, Any]]:
    """Read all rows: what is in each column, and whether a mixed model can be fitted to it.

    Parameters
    ----------
    source : Source
        From `inspect`.
    formula : Formula
        `response`, `predictors`, `categorical` and `factors` are looked at.
    threads, memory_mb : int
        For DuckDB. The numbers do not depend on either.

    Returns
    -------
    source : Source
        With the kind of every column.
    data : dict
        Content of data.json: sources, format, rows, factors, response, columns, missing, dropped, checks, copied;
        with one grouping factor also groups, group_rows and group.

    Raises
    ------
    StudyError
        The first thing found that makes the rows unusable; see `lmm.data.checks`.
    """
    response = [name for name in source.columns if name not in (*formula.predictors, *source.labels)]
    beside = {formula.weights, *formula.offsets} - set(formula.predictors)
    options = {"threads": threads, "memory_mb": memory_mb}
    categorical = (*formula.categorical, *(name for name in source.factors if name not in response))
    found = summarise(source, categorical, **options)
    summary, complete = found.columns, found.complete
    locate = Locator(source, categorical)
    checks.missing(summary, found.rows, complete, source.drop, locate)
    kinds, written = dict(source.kinds), {}
    for name, column in summary.items():
        if name in source.labels:
            kinds[name], written[name] = names.agreed(name, found.names[name], locate)
            continue
        kinds[name] = checks.kind(name, column, name in response, name in categorical, locate)
        if kinds[name] != "VARCHAR":
            checks.finite(name, column, locate)
            if name not in beside:
                checks.constant(name, column, name in response, locate)
            if name == formula.weights:
                checks.positive(name, column, locate)
    source = replace(source, kinds=kinds)
    columns: dict[str, Any] = {}
    for name, column in summary.items():
        if name in source.labels:
            columns[name] = {"type": "group", "kind": kinds[name], "names": asdict(written[name])}
        elif kinds[name] == "VARCHAR" or name in categorical:
            own = levels(source, name, MAX_LEVELS + 1, **options)
            checks.levels(name, own, MAX_LEVELS, complete, name in categorical, locate)
            own = factors.in_order(source, name, own) if kinds[name] == "VARCHAR" else own
            columns[name] = {"type": "categorical", "kind": kinds[name], "levels": own}
            if (
                kinds[name] != "VARCHAR" and name not in source.factors
            ):  # a number where it stands without C()
                columns[name] |= column.described()
        else:
            columns[name] = {"type": "numeric", "kind": kinds[name], **column.described()}
    factors_found = []
    for key in source.keys:
        checks.labels(key, columns, locate)
        sizes = group_sizes(source, key, **options)[1]
        checks.groups(":".join(key), sizes, locate)
        rows = {"min": int(sizes.min()), "mean": complete / len(sizes), "max": int(sizes.max())}
        name = ":".join(key)
        factors_found.append({"group": name, "columns": list(key), "levels": len(sizes), "rows": rows})
    one = {}
    if len(factors_found) == 1:
        (only,) = factors_found
        one = {"groups": only["levels"], "group_rows": only["rows"], "group": only["group"]}
    lost = {name: column.missing for name, column in summary.items() if column.missing}
    return source, {
        "sources": list(source.files),
        "format": source.format,
        "rows": complete,
        **one,
        "factors": factors_found,
        "response": formula.response.strip("`") if formula.response.count("`") == 2 else formula.response,
        "columns": columns,
        "missing": "drop" if source.drop else "error",
        "dropped": {"rows": found.rows - complete, "columns": lost},
        "checks": list(checks.PASSED),
        "copied": source.size <= COPY_LIMIT,
    }


def reopen(data: dict[str, Any]) -> Source:
    """The source that data.json describes, as `scan` left it."""
    keys = [tuple(factor["columns"]) for factor in data["factors"]]
    predictors = [name for name, column in data["columns"].items() if column["type"] != "group"]
    source = inspect(data["sources"], list(data["columns"]), keys, data["missing"] == "drop", predictors)
    return replace(source, kinds={name: column["kind"] for name, column in data["columns"].items()})


def copy(source: Source, path: str, memory_mb: int = 1024) -> None:
    """Write the rows used as one Parquet file, in the sources' order, labels of groups as text."""
    from lmm.core.store import write_whole

    rows = " UNION ALL ".join(f"({source.typed(Part(file))})" for file in range(len(source.files)))
    with connect(memory_mb=memory_mb, ordered=True) as connection:
        write_whole(
            path, lambda name: connection.execute(f"COPY ({rows}) TO {quoted(name)} (FORMAT parquet)")
        )
