"""The moments stage: from checked rows to moments and designs, in one job or in one a part of the files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from lmm import checks, ingest, pilot
from lmm.accumulate import accumulate, compute, encode, keeps_whole, merge
from lmm.design import Design, build
from lmm.formula import parse
from lmm.moments import Moments
from lmm.progress import Progress
from lmm.rows import together


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
        checks.size(data["rows"], data["groups"], design.terms.fixed, design.terms.blocks)
    return build(together(formulas), schema, levels), own


def of_rows(design: Design, rows: pd.DataFrame) -> Moments:
    """Moments of rows in memory."""
    codes, levels = encode(rows[design.terms.group])
    whole = keeps_whole(len(levels), len(design.terms.columns))
    return compute(design.terms, *pilot.finite_matrix(design, rows), codes, levels, whole)


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
    basis = pilot.basis_of(source, design, data["columns"])
    whole = keeps_whole(data["groups"], len(design.terms.columns))
    read = source if span is None else source.only(*span)
    return accumulate(read, design, basis, whole, threads, memory_mb)


def checked(moments: Moments, own: Iterable[Design]) -> Moments:
    """The moments, if no column of X or of a block of Z is a combination of others.

    Raises
    ------
    StudyError
        It names the columns.
    """
    for design in own:
        for names in (design.terms.fixed, *design.terms.blocks):
            checks.collinear(moments, names)
    return moments


def merged(parts: Sequence[tuple[str, str]], own: Iterable[Design]) -> Moments:
    """Moments of all parts, added in their order; `checked`.

    Parameters
    ----------
    parts : sequence of (table, details)
        Paths of what `Moments.write` wrote.
    own : iterable of Design
    """

    def read() -> Iterator[Moments]:
        with Progress("merging moments", len(parts)) as progress:
            for part in parts:
                yield Moments.read(*part)
                progress.advance()

    return checked(merge(read()), own)
