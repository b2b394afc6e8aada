"""From rows to moments, three ways with the same numbers: arrays, SQL, or batches of model matrices.

A pilot fit fixes the basis; then each row is read once, as E = [1, (w_1 - c_1)/s_1, ..., y*], and its
products are added up by group.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from lmm.core.compiled import kernel
from lmm.data.levels import union
from lmm.moments.basis import Basis
from lmm.moments.centred import BLOCK, CentredSums, cancels, read_only, rebased
from lmm.moments.moments import Moments
from lmm.moments.pilot import of_rows

# Numbers kept for leave-one-group-out work, 160 MB of them; beyond it only what fits need.
WHOLE_LIMIT = 20_000_000


@kernel
def _add(codes, W, first, y, weights, center, inverse, pilot, y_inverse, n, gram, total):
    """Add the products of rows to n (J,), gram (J, r, m + 2) and total (m + 2, m + 2), upper triangles.

    `weights` (n,) multiply the products; empty: none.

    `total` gets the elements that `gram` does not keep, from row r on.
    """
    rows, m = gram.shape[1], len(center)
    e = np.empty(m + 2)
    block = np.zeros((m + 2, m + 2))
    for i in range(len(y)):
        left = y[i] - pilot[0]
        for k in range(m):
            e[k + 1] = (W[i, first + k] - center[k]) * inverse[k]
            left -= pilot[k + 1] * e[k + 1]
        e[0] = 1.0
        e[m + 1] = left * y_inverse
        if len(weights) > 0:
            e *= np.sqrt(weights[i])
        j = codes[i]
        n[j] += 1
        for a in range(rows):
            for b in range(a, m + 2):
                gram[j, a, b] += e[a] * e[b]
        for a in range(rows, m + 2):
            for b in range(a, m + 2):
                block[a, b] += e[a] * e[b]
        if i % BLOCK == BLOCK - 1:
            total += block
            block[:] = 0.0
    total += block


def add_rows(
    codes: np.ndarray,
    W: np.ndarray,
    basis: Basis,
    y: np.ndarray,
    n: np.ndarray,
    gram: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add rows to upper triangles of moments, and to `total` the groups' part of this call.

    Parameters
    ----------
    codes : (N,) int array
        The group of each row.
    W : (N, K) array
        Model-matrix columns, K = m, or m + 1 with the constant in front.
    basis : Basis
        Its pilot fit is not subtracted: `y` comes without it, in original units.
    y : (N,) array
        Response less the pilot fit.
    n, gram, total : (J,), (J, r, m + 2), (m + 2, m + 2) arrays
        Rows, products by group, and products over all rows; added to.
    """
    first = W.shape[1] - len(basis.columns)
    nothing = np.zeros_like(basis.pilot)
    codes, y, W = read_only(codes, np.int64), read_only(y, np.float64), read_only(W, np.float64)
    weights = read_only(np.zeros(0), np.float64)
    _add(
        codes, W, first, y, weights, basis.center, 1.0 / basis.scale, nothing, 1.0 / basis.y_scale, n, gram, total
    )  # fmt: skip
    rows = gram.shape[1]
    total[:rows] += gram.sum(axis=0)
    for a in range(rows):
        gram[:, a, :a] = gram[:, :a, a]


class Sums:
    """Moments in the making: rows are added in batches, in order.

    Parameters
    ----------
    basis : Basis
    levels : (J,) array of str
        In their order (see `levels.in_order`).
    whole : bool
        Keep each group's whole Gram matrix, not only the rows that fits need.
    """

    def __init__(self, basis: Basis, levels: np.ndarray, whole: bool = True):
        m = len(basis.columns)
        rows = m + 2 if whole else 1 + basis.n_random
        self.basis, self.levels = basis, np.asarray(levels, dtype=object)
        self.n = np.zeros(len(levels), dtype=np.int64)
        self.gram = np.zeros((len(levels), rows, m + 2))
        self.total = np.zeros((m + 2, m + 2))
        self.log_weights = 0.0

    def add(self, codes: np.ndarray, y: np.ndarray, W: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Add rows: group numbers (n,), response (n,), model-matrix columns (n, K), K = m or m + 1, weights (n,).

        Parameters
        ----------
        codes : (n,) int array
            The group of each row, an index into the levels.
        y : (n,) array
            Response.
        W : (n, K) array
            Model-matrix columns, K = m, or m + 1 with the constant in front.
        weights : (n,) array or None
            Precision weights, positive.
        """
        basis = self.basis
        codes, y, W = read_only(codes, np.int64), read_only(y, np.float64), read_only(W, np.float64)
        weights = read_only(np.zeros(0) if weights is None else weights, np.float64)
        self.log_weights += float(np.log(weights).sum())
        first = W.shape[1] - len(basis.columns)
        inverse, y_inverse = 1.0 / basis.scale, 1.0 / basis.y_scale
        _add(
            codes, W, first, y, weights, basis.center, inverse, basis.pilot, y_inverse,
            self.n, self.gram, self.total,
        )  # fmt: skip

    def moments(self, group: str) -> Moments:
        """What has been added so far."""
        found = finished(group, self.levels, self.n, self.gram, self.total, self.basis)
        return replace(found, log_weights=self.log_weights)


def finished(group, levels, n, gram, total, basis) -> Moments:
    """Moments from upper triangles: both halves, and the totals of what is kept by group.

    Parameters
    ----------
    group : str
        The grouping factor.
    levels, n : (J,) arrays
        Names of the groups, and their numbers of rows.
    gram : (J, rows, m + 2) array
        Sums of products of the basis's columns by group, the first `rows` of the matrix.
    total : (m + 2, m + 2) array
        Those of the other rows of the matrix, over all groups.
    basis : Basis
        Coordinates of the columns.

    Returns
    -------
    Moments
    """
    gram, total = gram.copy(), total.copy()
    rows = gram.shape[1]
    # Column by column in contiguous memory, where NumPy adds pairwise: the sum of 10^5 groups loses nothing.
    flat = np.ascontiguousarray(gram.reshape(len(gram), rows * len(total)).T).sum(axis=1)
    total[:rows] += flat.reshape(gram.shape[1:])
    for a in range(len(total)):
        for b in range(a):
            total[a, b] = total[b, a]
            if a < rows:
                gram[:, a, b] = gram[:, b, a]
    return Moments(group, levels, n, gram, total, basis)


def keeps_whole(n_groups: int, n_columns: int) -> bool:
    """Whether each group's whole Gram matrix is kept (sums, and so their last bits, depend on it)."""
    return n_groups * (n_columns + 1) ** 2 <= WHOLE_LIMIT


def compute(
    terms,
    y: np.ndarray,
    W: np.ndarray,
    codes: np.ndarray,
    levels: np.ndarray,
    whole: bool = True,
    basis: Basis | None = None,
    weights: np.ndarray | None = None,
) -> Moments:
    """Moments of rows in memory.

    Parameters
    ----------
    terms : Terms
        Names of the columns of X and Z, and of the grouping factors.
    y : (n,) array
        Response.
    W : (n, K) array
        Model-matrix columns `terms.columns`.
    codes : (n,) int array
        The group of each row, an index into `levels` (see `levels.encode`).
    levels : (J,) array of str
        Names of the groups, in their order.
    whole : bool
        Keep each group's whole Gram matrix.
    basis : Basis, optional
        Default: from a pilot fit on a sample of the rows.
    weights : (n,) array, optional
        Precision weights, positive: the residual variance of row i is sigma^2 / weights[i].

    Returns
    -------
    Moments
    """
    if basis is None:
        basis = of_rows(terms, y, W)
    sums = Sums(basis, levels, whole)
    sums.add(codes, y, W, weights)
    found = sums.moments(terms.group)
    if not cancels(found):
        return found
    again = CentredSums(found)
    again.add(codes, y, W, weights)
    return again.moments()


def merge(parts: Iterable[Moments]) -> Moments:
    """Moments of all rows from those of parts in the same basis, added in the order given.

    Raises
    ------
    ValueError
        The parts' bases differ in more than their pilot fits, or what they keep by group.
    """
    whole = None
    for part in parts:
        if whole is None:
            whole = part
            continue
        part = rebased(part, whole.basis)
        if part.gram.shape[1:] != whole.gram.shape[1:]:
            raise ValueError("moments that keep different products cannot be merged")
        levels, at, other = union(whole.levels, part.levels)
        n, gram = np.zeros(len(levels), dtype=np.int64), np.zeros((len(levels), *whole.gram.shape[1:]))
        n[at], gram[at] = whole.n, whole.gram
        n[other] += part.n
        gram[other] += part.gram
        total, logs = whole.total + part.total, whole.log_weights + part.log_weights
        whole = Moments(whole.group, levels, n, gram, total, whole.basis, logs)
    if whole is None:
        raise ValueError("no moments to merge")
    return whole
