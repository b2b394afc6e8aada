"""The moments stage: from checked rows to moments and designs, in one job or in one a part of the files."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd

from lmm.core.errors import StudyError
from lmm.core.progress import Progress
from lmm.data import checks, finite, ingest
from lmm.data.levels import encode, level_names
from lmm.model.design import Design, build
from lmm.model.formula import parse, together
from lmm.model.parts import Formula
from lmm.moments import pilot
from lmm.moments.accumulate import compute, keeps_whole, merge
from lmm.moments.centred import cancels, merge_factors, refined
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments
from lmm.moments.several import merge as merge_several
from lmm.moments.several_accumulate import accumulate_several, compute_several
from lmm.moments.sources import accumulate


def designs(
    formulas: Sequence[str], data: Mapping[str, Any], rows: pd.DataFrame | None
) -> tuple[Design, list[Design]]:
    """The design with the columns of all formulas, and each formula's own.

    Parameters
    ----------
    formulas : sequence of str
        The study's and its engines'.
    data : mapping
        data.json's content.
    rows : DataFrame or None
        data.parquet's, None where the rows were not copied.

    Returns
    -------
    Design, list of Design

    Raises
    ------
    StudyError
        More parameters than rows or groups can carry, or a term whose basis depends on rows that are not there.
    """
    own = [_design(parse(text), data["columns"], rows) for text in formulas]
    for design in own:
        groups = {factor["group"]: factor["levels"] for factor in data["factors"]}
        checks.size(data["rows"], groups, design.terms, place(data), design.levels)
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


def of_rows(
    design: Design, rows: pd.DataFrame, data: Mapping[str, Any] | None = None
) -> Moments | SeveralMoments:
    """Moments of rows in memory; `data`, data.json's content, says where they come from.

    Parameters
    ----------
    design : Design
        Of the model's formula.
    rows : DataFrame
        The rows.
    data : mapping or None
        data.json's content: says where the rows come from.

    Returns
    -------
    Moments
    """
    terms = design.terms
    encoded = [encode(level_names(rows, grouping.columns)) for grouping in terms.groupings]
    codes, levels = [own for own, _ in encoded], [own for _, own in encoded]
    whole = keeps_whole(sum(map(len, levels)), len(terms.columns))
    with _rows_named(design, data):
        y, W = pilot.finite_matrix(design, rows)
    weights = design.weights(rows)
    if terms.several:
        return compute_several(terms, y, W, codes, levels, pilot.of_rows(terms, y, W), whole, weights)
    return compute(terms, y, W, codes[0], levels[0], whole, weights=weights)


def of_sources(
    design: Design,
    data: Mapping[str, Any],
    span: tuple[int, int] | None = None,
    threads: int = 1,
    memory_mb: int = 1024,
) -> Moments | SeveralMoments:
    """Moments of the user's files, read in bounded memory.

    Parameters
    ----------
    design : Design
        Of the model's formula.
    data : mapping
        data.json's content.
    span : (int, int), optional
        The first of the files to read and the one after the last; all of them by default. The basis is that of
        all files in any case, so that the moments of spans can be merged.
    threads, memory_mb : int
        For DuckDB. The numbers do not depend on either.

    Returns
    -------
    Moments
    """
    source = ingest.reopen(data)
    whole = keeps_whole(sum(factor["levels"] for factor in data["factors"]), len(design.terms.columns))
    read = source if span is None else source.only(*span)
    by = accumulate_several if design.terms.several else accumulate
    with _rows_named(design, data):
        basis = pilot.basis_of(source, design, data["columns"])
        return by(read, design, basis, whole, threads, memory_mb)


def checked(
    moments: Moments | SeveralMoments,
    own: Sequence[Design],
    data: Mapping[str, Any],
    rank_deficient: str = "error",
) -> list[Design]:
    """The designs without the fixed effects that are combinations of others.

    Moments keep the columns of all designs; a fit uses those of its own.

    Parameters
    ----------
    moments : Moments or SeveralMoments
        Sufficient statistics of the rows.
    own : sequence of Design
        Each formula's design.
    data : mapping
        data.json's content.
    rank_deficient : "error" or "drop"
        What to do about such fixed effects.

    Returns
    -------
    list of Design

    Raises
    ------
    StudyError
        A column of X (unless they are dropped) or of a block of Z is a combination of others, or the response one
        of X's. It names the columns.
    """
    where, kept = place(data), []
    if isinstance(moments, SeveralMoments):
        checks.different(moments, where)
    for design in own:
        fixed = design.terms.fixed
        dropped = checks.combinations(moments, fixed)
        if dropped and rank_deficient == "error":
            checks.collinear(moments, fixed, where)
        for names in (block for grouping in design.terms.groupings for block in grouping.blocks):
            checks.collinear(moments, names, where)
        if dropped:
            design = design.without(moments.basis.raw_weights(dropped, fixed))
        checks.exact(moments, design.formula.response, design.terms.fixed, where)
        kept.append(design)
    return kept


def merged(
    parts: Sequence[Sequence[str]],
    own: Sequence[Design],
    data: Mapping[str, Any],
    rank_deficient: str = "error",
) -> tuple[Moments | SeveralMoments, list[Design]]:
    """Moments of all parts, added in their order, and the designs; `checked`.

    Parameters
    ----------
    parts : sequence of sequences of str
        Paths of what `Moments.write` or `SeveralMoments.write` wrote.
    own, data, rank_deficient
        As for `checked`.

    Returns
    -------
    tuple[Moments | SeveralMoments, list[Design]]
    """
    several = len(data["factors"]) > 1
    kind = SeveralMoments if several else Moments

    def read() -> Iterator[Any]:
        with Progress("merging moments", len(parts)) as progress:
            for part in parts:
                yield kind.read(*part)
                progress.advance()

    moments: Any = (merge_several if several else merge)(read())
    if not several and cancels(moments):
        moments = merge_factors(read(), refined(moments))
    return moments, checked(moments, own, data, rank_deficient)
