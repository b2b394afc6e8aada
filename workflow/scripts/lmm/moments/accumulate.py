"""From rows to moments, three ways with the same numbers: arrays, SQL, or batches of model matrices.

A pilot fit fixes the basis; then each row is read once, as E = [1, (w_1 - c_1)/s_1, ..., y*], and its
products are added up by group.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.compiled import kernel
from lmm.data.cells import quoted
from lmm.data.levels import in_order, level_names, union
from lmm.data.source import BATCH_ROWS, Part, Source, each_part, level_of, quote
from lmm.data.summary import group_sizes
from lmm.moments.centred import CentredSums, cancels, read_only, rebased
from lmm.moments.moments import BLOCK, Basis, Moments
from lmm.moments.pilot import finite_matrix, of_rows

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
        found = _finished(group, self.levels, self.n, self.gram, self.total, self.basis)
        return replace(found, log_weights=self.log_weights)


def _finished(group, levels, n, gram, total, basis) -> Moments:
    """Moments from upper triangles: both halves, and the totals of what is kept by group."""
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
    by = _by_sql if design.plain is not None and not design.formula.weights else _by_batches
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
        return _finished(":".join(key), np.asarray(found["level"], dtype=object), n, gram, total, basis)

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
