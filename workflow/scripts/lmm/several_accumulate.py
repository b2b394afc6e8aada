"""From rows to the moments of several factors: arrays, or SQL for files (statistics.md, section 10)."""

from collections.abc import Sequence

import numpy as np

from lmm.accumulate import Sums
from lmm.compiled import kernel
from lmm.moments import Basis
from lmm.several_moments import Cells, SeveralMoments, kept_columns, pairs_of


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
    """
    key = i.astype(np.int64) * n_right + j
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    count = int(len(key) > 0) + int(np.count_nonzero(ordered[1:] != ordered[:-1]))
    place, gram = np.empty(count, dtype=np.int64), np.zeros((count, left.shape[1], right.shape[1]))
    _add_cells(order, key, np.ascontiguousarray(left), np.ascontiguousarray(right), place, gram)
    return Cells((place // n_right).astype(np.int32), (place % n_right).astype(np.int32), gram)


def compute_several(
    groups: Sequence[str],
    blocks: Sequence[tuple[tuple[str, ...], ...]],
    y: np.ndarray,
    W: np.ndarray,
    codes: Sequence[np.ndarray],
    levels: Sequence[np.ndarray],
    basis: Basis,
    whole: bool = False,
) -> SeveralMoments:
    """Moments of rows in memory.

    Parameters
    ----------
    groups : sequence of str
        Names of the factors.
    blocks : sequence
        The blocks of random effects of each factor.
    y : (n,) array
    W : (n, K) array
        Model-matrix columns; without the constant they are `basis.columns`.
    codes : sequence of (n,) int arrays
        Each row's level of each factor, an index into `levels`.
    levels : sequence of (J,) arrays of str
    basis : Basis
    whole : bool
        Keep each level's whole Gram matrix.
    """
    factors = []
    for group, own, names in zip(groups, codes, levels, strict=True):
        sums = Sums(basis, names, whole)
        sums.add(own, y, W)
        factors.append(sums.moments(group))
    kept = kept_columns(basis, blocks)
    first = W.shape[1] - len(basis.columns)

    def standardised(columns: tuple[int, ...]) -> np.ndarray:
        at = [column - 1 for column in columns[1:]]
        values = (W[:, [first + k for k in at]] - basis.center[at]) / basis.scale[at]
        return np.column_stack([np.ones(len(y)), values])

    parts = [standardised(columns) for columns in kept]
    cells = {
        (k, m): cells_of_rows(codes[k], codes[m], parts[k], parts[m], len(levels[m]))
        for k, m in pairs_of(len(groups))
    }
    return SeveralMoments(tuple(factors), cells, kept)
