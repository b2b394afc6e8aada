"""From rows to the moments of several factors: arrays, or SQL for files (docs/statistics.md, section 10)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lmm.core.compiled import kernel
from lmm.data.levels import level_names
from lmm.data.source import BATCH_ROWS, Part, Source, each_part
from lmm.data.summary import group_sizes
from lmm.model.terms import Terms
from lmm.moments.accumulate import Sums
from lmm.moments.accumulate import merge as merge_levels
from lmm.moments.basis import Basis
from lmm.moments.moments import Moments
from lmm.moments.pilot import finite_matrix
from lmm.moments.several import Cells, SeveralMoments, kept_columns, pairs_of
from lmm.moments.sources import by_level, columns_of_e

# Cells of batches wait until they are so many before they are added up: adding sorts them.
WAITING = 4_000_000


@kernel
def _add_cells(order, key, left, right, place, gram):
    """Add the products of rows, taken in `order`, to `gram`; `place` gets the key of each cell. Their number."""
    at, before = -1, -1
    for row in order:
        if key[row] != before:
            at += 1
            before = key[row]
            place[at] = before
        for a in range(left.shape[1]):
            for b in range(right.shape[1]):
                gram[at, a, b] += left[row, a] * right[row, b]
    return at + 1


def cells_of_rows(i: np.ndarray, j: np.ndarray, left: np.ndarray, right: np.ndarray, n_right: int) -> Cells:
    """Cells of rows in memory.

    Parameters
    ----------
    i, j : (n,) int arrays
        Each row's level of the first and of the second factor.
    left, right : (n, r), (n, s) arrays
        The columns of E that are kept for them.
    n_right : int
        Levels of the second factor.

    Returns
    -------
    Cells
    """
    key = i.astype(np.int64) * n_right + j
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    count = int(len(key) > 0) + int(np.count_nonzero(ordered[1:] != ordered[:-1]))
    place, gram = np.empty(count, dtype=np.int64), np.zeros((count, left.shape[1], right.shape[1]))
    _add_cells(order, key, np.ascontiguousarray(left), np.ascontiguousarray(right), place, gram)
    return Cells((place // n_right).astype(np.int32), (place % n_right).astype(np.int32), gram)


def compute_several(
    terms: Terms,
    y: np.ndarray,
    W: np.ndarray,
    codes: Sequence[np.ndarray],
    levels: Sequence[np.ndarray],
    basis: Basis,
    whole: bool = False,
    weights: np.ndarray | None = None,
) -> SeveralMoments:
    """Moments of rows in memory.

    Parameters
    ----------
    terms : Terms
        Names of the columns of X and Z, and of the grouping factors.
    y : (n,) array
        Response.
    W : (n, K) array
        Model-matrix columns `terms.columns`.
    codes : sequence of (n,) int arrays
        Each row's level of each factor, an index into `levels`.
    levels : sequence of (J,) arrays of str
        Names of each factor's levels.
    basis : Basis
        Coordinates of the columns.
    whole : bool
        Keep each level's whole Gram matrix.
    weights : (n,) array, optional
        Precision weights, positive: the residual variance of row i is sigma^2 / weights[i].

    Returns
    -------
    SeveralMoments
    """
    sums = SeveralSums(terms, levels, basis, whole)
    sums.add(codes, y, W, weights)
    return sums.moments()


class SeveralSums:
    """Moments in the making: rows are added in batches, in order.

    Parameters
    ----------
    terms : Terms
    levels : sequence of (J,) arrays of str
        Of each factor, in their order.
    basis : Basis
    whole : bool
        Keep each level's whole Gram matrix, not only the rows that fits need.
    """

    def __init__(self, terms: Terms, levels: Sequence[np.ndarray], basis: Basis, whole: bool):
        self.terms, self.levels, self.basis = terms, levels, basis
        self.sums = [Sums(basis, own, whole) for own in levels]
        self.kept = kept_columns(basis, [grouping.blocks for grouping in terms.groupings])
        self.cells: dict[tuple[int, int], list[Cells]] = {pair: [] for pair in pairs_of(len(levels))}

    def add(
        self, codes: Sequence[np.ndarray], y: np.ndarray, W: np.ndarray, weights: np.ndarray | None = None
    ) -> None:
        """Add rows: levels of each factor (n,), response (n,), model-matrix columns (n, K), weights (n,).

        Parameters
        ----------
        codes : (N,) int array
            Each row's group, from 0.
        y : (N,) array
            Response.
        W : (N, K) array
            Model-matrix columns `terms.columns`.
        weights : (n,) array or None
            Precision weights, positive.
        """
        basis, first = self.basis, W.shape[1] - len(self.basis.columns)
        for sums, own in zip(self.sums, codes, strict=True):
            sums.add(own, y, W, weights)
        root = np.ones(len(y)) if weights is None else np.sqrt(weights)
        parts = []
        for kept in self.kept:
            at = [column - 1 for column in kept[1:]]
            values = (W[:, [first + k for k in at]] - basis.center[at]) / basis.scale[at]
            parts.append(np.column_stack([root, values * root[:, None]]))
        for (k, m), found in self.cells.items():
            found.append(cells_of_rows(codes[k], codes[m], parts[k], parts[m], len(self.levels[m])))
            if sum(len(cells.i) for cells in found[1:]) > WAITING:
                self.cells[k, m] = [Cells.added(found)]

    def moments(self) -> SeveralMoments:
        """What has been added so far."""
        factors = [
            sums.moments(grouping.group)
            for sums, grouping in zip(self.sums, self.terms.groupings, strict=True)
        ]
        cells = {pair: Cells.added(found) for pair, found in self.cells.items()}
        return SeveralMoments(tuple(factors), cells, self.kept)


def accumulate_several(
    source: Source, design, basis: Basis, whole: bool = False, threads: int = 1, memory_mb: int = 1024
) -> SeveralMoments:
    """Moments of a scanned source: by SQL where terms are plain numeric columns without weights, else in batches.

    Parameters
    ----------
    source : Source
        A scanned source.
    design : Design
        Of the model's formula.
    basis : Basis
        Coordinates of the columns.
    whole : bool
        Keep each level's whole Gram matrix.
    threads, memory_mb : int
        For DuckDB. The numbers do not depend on them.

    Returns
    -------
    SeveralMoments
    """
    by = _by_sql if design.by_sql else _by_batches
    return by(source, design, basis, whole, threads, memory_mb)


def _by_sql(source, design, basis, whole, threads, memory_mb) -> SeveralMoments:
    """One GROUP BY per part, factor and pair of factors, the parts' results added in order."""
    groupings = design.terms.groupings
    kept = kept_columns(basis, [grouping.blocks for grouping in groupings])
    factors: list[Moments] = []
    for grouping in groupings:
        query, read = by_level(source, design, basis, grouping.columns, whole)
        label = f"moments by {grouping.group}"
        factors.append(merge_levels(each_part(source, query, label, threads, memory_mb, read)))
    cells = {}
    for k, m in pairs_of(len(groupings)):
        query, read = _by_cell(source, design, basis, (kept[k], kept[m]), (factors[k], factors[m]))
        label = f"moments by {groupings[k].group} and {groupings[m].group}"
        found: list[Cells] = []
        for part in each_part(source, query, label, threads, memory_mb, read):
            found = [Cells.added([*found, part])]
        cells[k, m] = found[0]
    return SeveralMoments(tuple(factors), cells, kept)


def _by_cell(
    source: Source,
    design,
    basis: Basis,
    kept: tuple[tuple[int, ...], tuple[int, ...]],
    factors: tuple[Moments, Moments],
) -> tuple[Callable[[Part], str], Callable[[Any, str], Cells]]:
    """The SQL of a part's cells of two factors, and what makes them of its result."""
    columns = [tuple(factor.columns) for factor in _groupings(design, factors)]
    places = [(a, b) for a in kept[0] for b in kept[1]]

    def product(a: int, b: int) -> str:
        names = [f"lmm_e{c}" for c in (a, b) if c > 0]
        return f"sum({' * '.join(names)})" if names else "CAST(count(*) AS DOUBLE)"

    # a product that appears twice, x in both factors, is summed once
    distinct = dict.fromkeys((min(place), max(place)) for place in places)
    sums = ", ".join(f"{product(a, b)} AS s{a}_{b}" for a, b in distinct)

    def query(part: Part) -> str:
        keys = {"lmm_first": columns[0], "lmm_second": columns[1]}
        rows = columns_of_e(source, design, basis, part, keys)
        return f"SELECT lmm_first, lmm_second, {sums} FROM ({rows}) GROUP BY lmm_first, lmm_second"

    def read(connection, sql: str) -> Cells:
        table = connection.sql(sql).to_arrow_table()
        at = [
            _positions(table[name], factor.levels)
            for name, factor in zip(("lmm_first", "lmm_second"), factors, strict=True)
        ]
        gram = np.empty((table.num_rows, len(kept[0]), len(kept[1])))
        for x, a in enumerate(kept[0]):
            for y, b in enumerate(kept[1]):
                gram[:, x, y] = table[f"s{min(a, b)}_{max(a, b)}"].to_numpy()
        return Cells.added([Cells(*at, gram)])

    return query, read


def _groupings(design, factors: Sequence[Moments]) -> list[Any]:
    """The groupings of these factors."""
    by_name = {grouping.group: grouping for grouping in design.terms.groupings}
    return [by_name[factor.group] for factor in factors]


def _positions(column: pa.ChunkedArray, levels: np.ndarray) -> np.ndarray:
    """Positions (n,) int32 among the levels of a column as the file has it, or of text."""
    known = pa.array(levels, pa.string())
    if pa.types.is_integer(column.type):
        known = pc.cast(known, column.type)
    elif not pa.types.is_string(column.type):
        column = pc.cast(column, pa.string())
    return pc.index_in(column, value_set=known).to_numpy().astype(np.int32)


def _by_batches(source, design, basis, whole, threads, memory_mb) -> SeveralMoments:
    """Model matrices of one batch of rows after the other; the levels are known from a pass before."""
    keys = [grouping.columns for grouping in design.terms.groupings]
    levels = [group_sizes(source, key, threads, memory_mb)[0] for key in keys]
    index = [pd.Index(own) for own in levels]
    sums = SeveralSums(design.terms, levels, basis, whole)

    def read(connection, sql: str) -> None:
        for batch in connection.sql(sql).to_arrow_reader(BATCH_ROWS):
            frame = batch.to_pandas()
            y, W = finite_matrix(design, frame)
            codes = [i.get_indexer(level_names(frame, key)) for i, key in zip(index, keys, strict=True)]
            sums.add(codes, y, W, design.weights(frame))

    # One part at a time, because all add to the same sums.
    for _ in each_part(source, source.typed, "moments", 1, memory_mb, read):
        pass
    return sums.moments()
