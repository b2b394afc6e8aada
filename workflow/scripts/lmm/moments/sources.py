"""Moments of a scanned source: in SQL where every term is a column, else of one batch of rows after the other."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from lmm.data.cells import quoted
from lmm.data.levels import in_order, level_names
from lmm.data.source import BATCH_ROWS, Part, Source, each_part, level_of, quote
from lmm.data.summary import group_sizes
from lmm.moments.accumulate import Sums, finished, merge
from lmm.moments.basis import Basis
from lmm.moments.centred import CentredSums, cancels
from lmm.moments.moments import Moments
from lmm.moments.pilot import finite_matrix


def accumulate(
    source: Source, design, basis: Basis, whole: bool = True, threads: int = 1, memory_mb: int = 1024
) -> Moments:
    """Moments of a scanned source: by SQL where terms are plain numeric columns without weights, else in batches.

    Parameters
    ----------
    source : Source
        As `ingest.scan` or `ingest.reopen` gives it.
    design : Design
        Of the model's formula.
    basis : Basis
        Of all files' pilot fit.
    whole : bool
        Keep each group's whole Gram matrix.
    threads, memory_mb : int
        For DuckDB. The numbers do not depend on them.

    Returns
    -------
    Moments

    Raises
    ------
    StudyError
        A term is not finite in some row, for example np.log(x) where x is 0.
    """
    by = _by_sql if design.by_sql else _by_batches
    found = by(source, design, basis, whole, threads, memory_mb)
    if not cancels(found):
        return found
    again = CentredSums(found)
    _each_batch(source, design, found.levels, memory_mb, "moments about the groups' own fits", again.add)
    return again.moments()


def _by_sql(source: Source, design, basis: Basis, whole: bool, threads: int, memory_mb: int) -> Moments:
    """One GROUP BY a part, the parts' results added in order."""
    query, read = by_level(source, design, basis, source.keys[0], whole)
    return merge(each_part(source, query, "moments", threads, memory_mb, read))


def by_level(
    source: Source, design, basis: Basis, key: tuple[str, ...], whole: bool
) -> tuple[Callable[[Part], str], Callable[[Any, str], Moments]]:
    """The SQL of a part's moments by the levels of one factor, and what makes them of its result.

    Parameters
    ----------
    source : Source
        A scanned source.
    design : Design
        Every term is a plain numeric column.
    basis : Basis
        Coordinates of the columns.
    key : tuple of str
        The factor's columns.
    whole : bool
        Keep each level's whole Gram matrix.

    Returns
    -------
    query, read
        A part to its SQL; a connection and that SQL to Moments.
    """
    m = len(basis.columns)
    rows = m + 2 if whole else 1 + basis.n_random
    places = [(a, b) for a in range(m + 2) for b in range(a, m + 2) if b > 0]
    products = [(f"lmm_e{b}" if a == 0 else f"lmm_e{a} * lmm_e{b}", f"s{a}_{b}") for a, b in places]
    sums = ", ".join(f"sum({product}) AS {name}" for product, name in products)

    def query(part: Part) -> str:
        standardised = columns_of_e(source, design, basis, part, {"lmm_group": key})
        grouped = f"SELECT lmm_group, count(*) AS n, {sums} FROM ({standardised}) GROUP BY lmm_group"
        return f"SELECT CAST(lmm_group AS VARCHAR) AS level, * EXCLUDE (lmm_group) FROM ({grouped})"

    def read(connection, sql: str) -> Moments:
        found = {key: np.ma.getdata(value) for key, value in connection.execute(sql).fetchnumpy().items()}
        order = in_order(found["level"])
        found = {key: value[order] for key, value in found.items()}
        n = found["n"].astype(np.int64)
        gram, total = np.zeros((len(n), rows, m + 2)), np.zeros((m + 2, m + 2))
        gram[:, 0, 0] = n
        for a, b in places:
            if a < rows:
                gram[:, a, b] = found[f"s{a}_{b}"]
            else:
                total[a, b] = found[f"s{a}_{b}"].sum()
        return finished(":".join(key), np.asarray(found["level"], dtype=object), n, gram, total, basis)

    return query, read


def columns_of_e(
    source: Source, design, basis: Basis, part: Part, keys: Mapping[str, tuple[str, ...]]
) -> str:
    """SQL of a part's rows as E's columns lmm_e1, lmm_e2, ..., and levels of factors.

    Parameters
    ----------
    source : Source
        A scanned source.
    design : Design
        Of the model's formula.
    basis : Basis
        Coordinates of the columns.
    part : Part
        Which rows.
    keys : mapping
        Name of the SQL column to the columns of a factor.

    Returns
    -------
    str
    """

    def number(value: float) -> str:
        # As text, because DuckDB reads 0.1 as a decimal number.
        return f"CAST({quoted(repr(float(value)))} AS DOUBLE)"

    # Names of our own, because a user's column may be called n or e1.
    columns = [f"{level_of(key)} AS {name}" for name, key in keys.items()]
    y = f"CAST({quote(design.formula.response)} AS DOUBLE)"
    for name in design.formula.offsets:
        y = f"({y} - CAST({quote(name)} AS DOUBLE))"
    y = f"({y} - {number(basis.pilot[0])})"
    for k, name in enumerate(basis.columns, start=1):
        centred = f"(CAST({quote(design.plain[name])} AS DOUBLE) - {number(basis.center[k - 1])})"
        columns.append(f"{centred} * {number(1 / basis.scale[k - 1])} AS lmm_e{k}")
    columns.append(f"{y} AS lmm_y")
    last, left = len(basis.columns) + 1, "lmm_y"
    for k in range(1, last):
        left = f"({left} - {number(basis.pilot[k])} * lmm_e{k})"
    kept = f"* EXCLUDE (lmm_y), {left} * {number(1 / basis.y_scale)} AS lmm_e{last}"
    return f"SELECT {kept} FROM (SELECT {', '.join(columns)} FROM ({source.typed(part, keys=True)}))"


def _by_batches(source: Source, design, basis: Basis, whole: bool, threads: int, memory_mb: int) -> Moments:
    """Model matrices of one batch of rows after the other; the groups are known from a pass before."""
    levels, _ = group_sizes(source, source.keys[0], threads, memory_mb)
    sums = Sums(basis, levels, whole)
    _each_batch(source, design, levels, memory_mb, "moments", sums.add)
    return sums.moments(source.group)


def _each_batch(
    source: Source, design, levels: np.ndarray, memory_mb: int, label: str, add: Callable[..., None]
) -> None:
    """Give every batch of rows to `add`: group numbers, response, model matrix, weights."""
    index = pd.Index(levels)

    def read(connection, sql: str) -> None:
        for batch in connection.sql(sql).to_arrow_reader(BATCH_ROWS):
            frame = batch.to_pandas()
            y, W = finite_matrix(design, frame)
            add(index.get_indexer(level_names(frame, source.keys[0])), y, W, design.weights(frame))

    # One part at a time, because all add to the same sums.
    for _ in each_part(source, source.typed, label, 1, memory_mb, read):
        pass
