"""Products of a model's columns with several grouping factors, arranged as the kernels take them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lmm.likelihood.leading import Leading
from lmm.likelihood.remainder import Layout
from lmm.likelihood.several_places import levels_met, order_of, remainder
from lmm.likelihood.sparse_pattern import Pattern
from lmm.moments.several import SeveralMoments

# Levels of the leading factor meet so many columns that C is better formed densely: a scattered product costs about
# 12 times a product inside BLAS (measured).
SCATTER = 12.0


class Arranged(NamedTuple):
    """Products of all random effects' columns and of the edge, as the kernels take them; see `SeveralProblem`."""

    order: tuple[int, ...]
    lead: Leading
    layout: Layout
    places: tuple[np.ndarray, ...]
    rest: np.ndarray
    rest_edge: np.ndarray
    pattern: Pattern | None


def arranged(
    moments: SeveralMoments, combines: Sequence[np.ndarray], combine_x: np.ndarray, sparse: bool | None = None
) -> Arranged:
    """Products of columns that are given as combinations of E.

    Parameters
    ----------
    moments : SeveralMoments
        Sufficient statistics of the rows.
    combines : sequence of (m + 1, q_k) arrays
        The columns of each factor's random effects; see `Basis.stable`.
    combine_x : (m + 1, p) array
        Those of the edge beside y.
    sparse : bool, optional
        As for `build`.

    Returns
    -------
    Arranged

    Raises
    ------
    StudyError
        The remainder is too large for memory.
    """
    grams = [f.products(combine, combine_x) for f, combine in zip(moments.factors, combines, strict=True)]
    sizes = [gram.shape[:2] for gram in grams]
    order = order_of(sizes)
    cells = {}
    for (k, m), found in moments.cells.items():
        left, right = combines[k][list(moments.kept[k])], combines[m][list(moments.kept[m])]
        cells[k, m] = left.T @ found.gram @ right
    place, pattern = remainder(moments, sizes, order, sparse)
    lead = _leading(moments, grams, cells, order, place, pattern)
    rest, rest_edge, shape = _rest(moments, grams, cells, order, place, pattern)
    return Arranged(order, lead, shape, tuple(place), rest, rest_edge, pattern)


def _products(cells: dict, k: int, m: int) -> np.ndarray:
    """Z_k'Z_m of the levels that meet, (c, q_k, q_m)."""
    return cells[k, m] if k < m else cells[m, k].transpose(0, 2, 1)


def _leading(moments, grams, cells, order, place, pattern) -> Leading:
    """The leading factor's moments: its cells row by row, columns ascending."""
    first = order[0]
    levels, q = grams[first].shape[:2]
    rows, cols, vals = [], [], []
    for m in order[1:]:
        i, j = levels_met(moments, first, m)
        values = _products(cells, first, m)
        for b in range(values.shape[2]):
            rows.append(i)
            cols.append(place[m][j, b])
            vals.append(values[:, :, b])
    row, col = np.concatenate(rows), np.concatenate(cols)
    by_place = np.lexsort((col, row))
    ptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=levels))]).astype(np.int64)
    col = col[by_place].astype(np.int64)
    met = np.diff(ptr).astype(float)
    columns = sum(place[m].size for m in order[1:])
    tall = pattern is None and SCATTER * float(met @ met) > levels * float(columns) ** 2
    pairs = np.empty(0, dtype=np.int64) if pattern is None else pattern.pairs(ptr, col)
    return Leading(
        A=np.ascontiguousarray(grams[first][:, :, :q]),
        edge=np.ascontiguousarray(grams[first][:, :, q:]),
        ptr=ptr,
        cols=col,
        vals=np.ascontiguousarray(np.concatenate(vals)[by_place]),
        pairs=pairs,
        tall=int(tall),
    )


def _rest(moments, grams, cells, order, place, pattern) -> tuple[np.ndarray, np.ndarray, Layout]:
    """Gram matrix of the remainder, its products with [X y], and the layout of its columns."""
    q = np.array([grams[k].shape[1] for k in order], dtype=np.int64)
    columns = sum(place[k].size for k in order[1:])
    edge = np.empty((columns, grams[order[0]].shape[2] - q[0]))
    rest = np.zeros(columns**2 if pattern is None else len(pattern.rows))

    def put(row: np.ndarray, col: np.ndarray, values: np.ndarray) -> None:
        low, high = np.minimum(row, col), np.maximum(row, col)
        at = high * columns + low if pattern is None else pattern.find(high, low)
        rest[at] = values

    starts, factors = [], []
    for at, k in enumerate(order[1:], start=1):
        edge[place[k]] = grams[k][:, :, q[at] :]
        for a in range(q[at]):
            for b in range(a + 1):
                put(place[k][:, a], place[k][:, b], grams[k][:, a, b])
        starts.append(place[k][:, 0])
        factors.append(np.full(len(place[k]), at, dtype=np.int64))
        for m in order[at + 1 :]:
            i, j = levels_met(moments, k, m)
            values = _products(cells, k, m)
            for a, b in np.ndindex(values.shape[1:]):
                put(place[k][i, a], place[m][j, b], values[:, a, b])
    start, factor = np.concatenate(starts), np.concatenate(factors)
    by_place = np.argsort(start)
    start, factor = start[by_place], factor[by_place]
    widths = q[factor]
    shape = Layout(q, np.append(start, columns), factor, np.repeat(factor, widths))
    return rest, edge, shape
