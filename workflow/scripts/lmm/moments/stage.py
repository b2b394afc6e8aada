"""The moments stage: from checked rows to moments and designs, in one job or in one a part of the files."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd

from lmm.core.errors import StudyError
from lmm.core.progress import Progress
from lmm.data import checks, finite, ingest
from lmm.data.levels import encode
from lmm.model.design import Design, build
from lmm.model.formula import parse, together
from lmm.model.syntax import original
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
        They differ in their random effects only.
    data : mapping
        data.json's content.
    rows : DataFrame or None
        data.parquet's, None where the rows were not copied.

    Raises
    ------
    StudyError
        More parameters than rows or groups can carry, or a term whose basis depends on rows that are not there.
    """
    levels = {name: column["levels"] for name, column in data["columns"].items() if "levels" in column}
    schema = data["columns"] if rows is None else rows
    own = [build(parse(text), schema, levels) for text in formulas]
    for design in own:
        checks.size(data["rows"], data["groups"], design.terms, place(data), design.levels)
    return build(together(formulas), schema, levels), own


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


def checked(
    moments: Moments, own: Sequence[Design], data: Mapping[str, Any], rank_deficient: str = "error"
) -> tuple[Moments, list[Design]]:
    """Moments and designs without the fixed effects that are combinations of others.

    Parameters
    ----------
    moments : Moments
    own : sequence of Design
        They differ in their random effects only.
    data : mapping
        data.json's content.
    rank_deficient : "error" or "drop"
        What to do about such fixed effects.

    Raises
    ------
    StudyError
        A column of X (unless they are dropped) or of a block of Z is a combination of others, or the response one
        of X's. It names the columns.
    """
    where, fixed = place(data), own[0].terms.fixed
    dropped = checks.combinations(moments, fixed)
    if dropped and rank_deficient == "error":
        checks.collinear(moments, fixed, where)
    for block in dict.fromkeys(block for design in own for block in design.terms.blocks):
        checks.collinear(moments, block, where)
    if dropped:
        raw = moments.basis.raw_weights(dropped, fixed)
        moments, own = moments.without(dropped, fixed), [design.without(raw) for design in own]
    checks.exact(moments, original(own[0].formula.response), own[0].terms.fixed, where)
    return moments, list(own)


def merged(
    parts: Sequence[tuple[str, str]],
    own: Sequence[Design],
    data: Mapping[str, Any],
    rank_deficient: str = "error",
) -> tuple[Moments, list[Design]]:
    """Moments of all parts, added in their order, and the designs; `checked`.

    Parameters
    ----------
    parts : sequence of (table, details)
        Paths of what `Moments.write` wrote.
    own, data, rank_deficient
        As for `checked`.
    """

    def read() -> Iterator[Moments]:
        with Progress("merging moments", len(parts)) as progress:
            for part in parts:
                yield Moments.read(*part)
                progress.advance()

    return checked(merge(read()), own, data, rank_deficient)
