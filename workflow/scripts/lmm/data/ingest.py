"""A user's own rows: the headers looked at before any job, the rows before any fit.

`inspect` reads headers only and is quick enough for the Snakefile; `scan` reads the rows, in bounded memory.
"""

import glob
import gzip
import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from lmm.core.errors import StudyError
from lmm.data import checks, dialect, factors, names
from lmm.data.cells import quoted
from lmm.data.dialect import UNSTATED, Dialect, Reading, in_utf8
from lmm.data.source import Part, Source, connect
from lmm.data.summary import Column, Locator, group_sizes, levels, summarise
from lmm.model.syntax import named

SUFFIXES = {
    ".csv": "csv", ".csv.gz": "csv", ".tsv": "tsv", ".tsv.gz": "tsv", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
# Sources up to this size are copied into data.parquet; beyond it engines read the sources themselves.
COPY_LIMIT = 256 * 1024**2
# A text predictor with more levels than this is an identifier, not a category.
MAX_LEVELS = 1000


# Rows of the first file that are looked at before any job.
HEAD_ROWS = 1000


def inspect(
    patterns: str | Sequence[str],
    columns: Sequence[str],
    group: str | Sequence[tuple[str, ...]],
    drop: bool = False,
    predictors: Sequence[str] = (),
    stated: Reading = UNSTATED,
    dates: Sequence[str] = (),
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
    stated : Reading, optional
        What the study states of its text files; the rest is found in them.
    dates : sequence of str, optional
        Columns in as_date(...), read as numbers of days.

    Returns
    -------
    Source

    Raises
    ------
    StudyError
        No such file, an unreadable or empty one, duplicated headers, a column that is not there, or files of
        one study that do not go together.
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
    headers, first, rows, categories, dialects, ends = [], {}, [], set(), [], []
    kinds = dict.fromkeys((name for name in columns if name in dates and kind != "parquet"), "DAYS")
    for file in files:
        if kind == "parquet":
            header, types, count = _parquet_header(file)
        else:
            (header, found), types = _text_header(file, kind, stated), None
            dialects.append(found)
        checks.header(file, header, columns, files[0], headers[0] if headers else None)
        for name in columns if types else ():
            if name in dates and checks.dates(file, name, types[name]):
                found = "DAYS"
            else:
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
        ends += [] if types else [_line_end(file, header, dialects[-1].encoding)]
    size = sum(os.path.getsize(file) for file in files)
    codes = tuple(name for name in columns if name in categories and name not in labels)
    return Source(
        files=tuple(files),
        format=kind,
        headers=tuple(headers),
        columns=columns,
        keys=keys,
        labels=labels,
        kinds=kinds,
        drop=drop,
        rows=tuple(rows),
        size=size,
        factors=codes,
        dialects=tuple(dialects),
        decimal=_decimal(files, dialects),
        stated=stated,
        notes=_notes(files, dialects, kind, stated),
        ends=tuple(ends),
    )


def _decimal(files: Sequence[str], dialects: Sequence[Dialect]) -> str:
    """The decimal mark of all files; those without decimal numbers fit any."""
    known: dict[str, str] = {}
    for file, found in zip(files, dialects, strict=False):  # Parquet files have no dialect
        if found.decimal:
            known.setdefault(found.decimal, file)
    if len(known) > 1:
        words = {".": "points", ",": "commas"}
        (first, file), (other, odd) = known.items()
        what = f"numbers with decimal {words[other]}, expected decimal {words[first]} as in {file}"
        raise StudyError(odd, f"{what}, or `csv: {{decimal: ...}}` for all files")
    return next(iter(known), ".")


def _notes(files: Sequence[str], dialects: Sequence[Dialect], kind: str, stated: Reading) -> tuple[str, ...]:
    """One line for each way of writing that was found in files, is not stated, and is not the usual."""
    said: dict[str, list[str]] = {}
    for file, found in zip(files, dialects, strict=False):
        said.setdefault(dialect.described(found, kind, stated), []).append(file)
    return tuple(
        f"{found[0]}{f' and {len(found) - 1} more' if len(found) > 1 else ''}: read with {how} "
        "(found in the file; the key `csv` states it)"
        for how, found in said.items()
        if how
    )


def head(source: Source, formula) -> None:
    """Look at the first rows of the first file: what would stop the study in any case stops it before any job.

    Parameters
    ----------
    source : Source
        From `inspect`.
    formula : Formula

    Raises
    ------
    StudyError
        The response is text, a predictor has numbers and text, or is a date.
    """
    first = source.only(0)
    if first.format == "parquet":  # its types say what a column is
        summary = {name: Column(rows=1, text=kind == "VARCHAR") for name, kind in first.kinds.items()}
    else:
        summary = summarise(replace(first, most=HEAD_ROWS, drop=False), formula.categorical).columns
    _kinds(first, formula, summary)


def _categorical(source: Source, formula) -> tuple[str, ...]:
    """Columns that are categories though they may be numbers: in C(...), or written as such by pandas."""
    return (*formula.categorical, *(name for name in source.factors if name in formula.predictors))


def _kinds(source: Source, formula, summary: dict[str, Column]) -> dict[str, str]:
    """The kind of every column that is not only a part of grouping factors."""
    categorical = _categorical(source, formula)
    locate = Locator(source, categorical)
    return {
        name: checks.kind(name, column, name not in formula.predictors, name in categorical, locate)
        for name, column in summary.items()
        if name not in source.labels
    }


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
    raise StudyError(file, f"unknown file suffix, expected one of {', '.join(SUFFIXES)}")


def _text_header(file: str, kind: str, stated: Reading) -> tuple[tuple[str, ...], Dialect]:
    """The header of a CSV or TSV file and how it is written, after a look at the first rows."""
    found, records = dialect.detect(file, kind, stated)
    if not records or not any(name.strip() for name in records[0]):
        raise StudyError(file, "its first line is blank, expected a header with the columns' names")
    if len(records) == 1:
        raise StudyError(file, "has a header and no rows, expected rows")
    return tuple(records[0]), found


def _line_end(file: str, header: Sequence[str], encoding: str) -> str:
    """How lines end, where the header has a line break in a name, which DuckDB would take for it; else empty."""
    breaks = sum(len(re.findall(r"\r\n|\r|\n", name)) for name in header)
    if not breaks:
        return ""
    path = in_utf8(file, encoding)
    opener = gzip.open if path.lower().endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as lines:
        last = next(itertools.islice(lines, breaks, None))
    return re.search(r"\r\n|\r|\n", last)[0]


def _parquet_header(file: str) -> tuple[tuple[str, ...], dict[str, Any], int]:
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
    days = f"; {checks.days_of(name)}" if types.is_date(type_) or types.is_timestamp(type_) else ""
    raise StudyError(file, f"column {name!r}: its type is {type_}, expected numbers or text{days}")


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
        with one grouping factor also groups, group_rows and group. csv and missing_values as the study states them,
        read_as: what was found instead.

    Raises
    ------
    StudyError
        The first thing found that makes the rows unusable; see `lmm.data.checks`.
    """
    response = [name for name in source.columns if name not in (*formula.predictors, *source.labels)]
    beside = {formula.weights, *formula.offsets} - set(formula.predictors)
    options = {"threads": threads, "memory_mb": memory_mb}
    categorical = _categorical(source, formula)
    found = summarise(source, categorical, **options)
    summary, complete = found.columns, found.complete
    locate = Locator(source, categorical)
    checks.missing(summary, found.rows, complete, source.drop, locate)
    kinds, written = source.kinds | _kinds(source, formula, summary), {}
    for name, column in summary.items():
        if name in source.labels:
            kinds[name], written[name] = names.agreed(name, found.names[name], locate)
        elif kinds[name] != "VARCHAR":
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
        "response": response[0] if named(response[0]) == formula.response else formula.response,
        "columns": columns,
        "missing": "drop" if source.drop else "error",
        **source.stated.plain(),
        "read_as": list(source.notes),
        "dropped": {"rows": found.rows - complete, "columns": lost},
        "checks": list(checks.PASSED),
        "copied": source.size <= COPY_LIMIT,
    }


def reopen(data: dict[str, Any]) -> Source:
    """The source that data.json describes, as `scan` left it."""
    keys = [tuple(factor["columns"]) for factor in data["factors"]]
    predictors = [name for name, column in data["columns"].items() if column["type"] != "group"]
    dates = [name for name, column in data["columns"].items() if column["kind"] == "DAYS"]
    drop, stated = data["missing"] == "drop", Reading.of(data)
    source = inspect(data["sources"], list(data["columns"]), keys, drop, predictors, stated, dates)
    return replace(source, kinds={name: column["kind"] for name, column in data["columns"].items()})


def copy(source: Source, path: str, memory_mb: int = 1024) -> None:
    """Write the rows used as one Parquet file, in the sources' order, labels of groups as text."""
    from lmm.core.store import write_whole

    rows = " UNION ALL ".join(f"({source.typed(Part(file))})" for file in range(len(source.files)))
    with connect(memory_mb=memory_mb, ordered=True) as connection:
        write_whole(
            path, lambda name: connection.execute(f"COPY ({rows}) TO {quoted(name)} (FORMAT parquet)")
        )
