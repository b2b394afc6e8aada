"""The moments stage: from checked rows to moments and designs, in one job or in one a part of the files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd

from lmm.core.errors import StudyError
from lmm.core.progress import Progress
from lmm.data import checks, finite, ingest
from lmm.data.levels import encode
from lmm.model.design import Design, build
from lmm.model.formula import Formula, parse, together
from lmm.moments import pilot
from lmm.moments.accumulate import accumulate, compute, keeps_whole, merge
from lmm.moments.moments import Moments


def designs(
    formulas: Sequence[str], data: Mapping[str, Any], rows: pd.DataFrame | None
) -> tuple[Design, list[Design]]:
    """The design with the columns of all formulas, and each formula's own.

    Parameters
    ----------
    formulas : sequence of str
    data : mapping
        data.json's content.
    rows : DataFrame or None
        data.parquet's, None where the rows were not copied.

    Raises
    ------
    StudyError
        More parameters than rows or groups can carry, or a term whose basis depends on rows that are not there.
    """
    own = [_design(parse(text), data["columns"], rows) for text in formulas]
    for design in own:
        checks.size(data["rows"], data["groups"], design.terms, place(data), design.levels)
    return _design(together(formulas), data["columns"], rows), own


def _design(formula: Formula, columns: Mapping[str, Any], rows: pd.DataFrame | None) -> Design:
    """A formula's design; numbers that another formula has in C(...) are numbers where this one has them without."""
    plain = {name for name, column in columns.items() if "min" in column and name not in formula.categorical}
    levels = {name: own["levels"] for name, own in columns.items() if "levels" in own and name not in plain}
    schema = {name: own | {"type": "numeric"} if name in plain else own for name, own in columns.items()}
    return build(formula, schema if rows is None else rows, levels)


def place(data: Mapping[str, Any]) -> str:
    """What a message is about that no single row makes true: the file, `data` of several, `simulate`."""
    sources = data.get("sources", ("formula",))
    return {"simulated": "simulate"}.get(sources[0], sources[0]) if len(sources) == 1 else "data"


@contextmanager
def _rows_named(design: Design, data: Mapping[str, Any] | None) -> Iterator[None]:
    """A term that is not finite is said with file, row and column, where there are files."""
    try:
        yield
    except StudyError as error:
        files = data is not None and data["sources"] != ["simulated"]
        raise ((files and finite.in_files(design, data)) or error) from None


def of_rows(design: Design, rows: pd.DataFrame, data: Mapping[str, Any] | None = None) -> Moments:
    """Moments of rows in memory; `data`, data.json's content, says where they come from."""
    codes, levels = encode(rows[design.terms.group])
    whole = keeps_whole(len(levels), len(design.terms.columns))
    with _rows_named(design, data):
        y, W = pilot.finite_matrix(design, rows)
    return compute(design.terms, y, W, codes, levels, whole)


def of_sources(
    design: Design,
    data: Mapping[str, Any],
    span: tuple[int, int] | None = None,
    threads: int = 1,
    memory_mb: int = 1024,
) -> Moments:
    """Moments of the user's files, read in bounded memory.

    Parameters
    ----------
    design : Design
    data : mapping
        data.json's content.
    span : (int, int), optional
        The first of the files to read and the one after the last; all of them by default. The basis is that of
        all files in any case, so that the moments of spans can be merged.
    threads, memory_mb : int
        For DuckDB. The numbers do not depend on either.
    """
    source = ingest.reopen(data)
    whole = keeps_whole(data["groups"], len(design.terms.columns))
    read = source if span is None else source.only(*span)
    with _rows_named(design, data):
        basis = pilot.basis_of(source, design, data["columns"])
        return accumulate(read, design, basis, whole, threads, memory_mb)


def checked(moments: Moments, own: Iterable[Design], data: Mapping[str, Any]) -> Moments:
    """The moments, if no column of X or of a block of Z is a combination of others, nor the response one of X's.

    Raises
    ------
    StudyError
        It names the columns.
    """
    for design in own:
        for names in (design.terms.fixed, *design.terms.blocks):
            checks.collinear(moments, names, place(data))
        checks.exact(moments, design.formula.response, design.terms.fixed, place(data))
    return moments


def merged(parts: Sequence[tuple[str, str]], own: Iterable[Design], data: Mapping[str, Any]) -> Moments:
    """Moments of all parts, added in their order; `checked`.

    Parameters
    ----------
    parts : sequence of (table, details)
        Paths of what `Moments.write` wrote.
    own : iterable of Design
    data : mapping
        data.json's content.
    """

    def read() -> Iterator[Moments]:
        with Progress("merging moments", len(parts)) as progress:
            for part in parts:
                yield Moments.read(*part)
                progress.advance()

    return checked(merge(read()), own, data)
