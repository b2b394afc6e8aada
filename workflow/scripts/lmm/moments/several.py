"""Moments of a linear mixed model with several grouping factors, crossed or nested.

Per factor they are `Moments`, as with one factor; beside them stand the cells: cross-products of the levels of two
factors that meet in some row. Both add up over any split of the rows (docs/statistics.md, section 10).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lmm.core.store import read_json, read_table, write_json, write_table, write_whole
from lmm.data.levels import union
from lmm.moments.basis import Basis
from lmm.moments.moments import Moments, Ols


@dataclass(frozen=True)
class Cells:
    """Sums over the rows in which level i of one factor meets level j of another.

    Attributes
    ----------
    i, j : (c,) int32 arrays
        Positions among the levels of the first and of the second factor; sorted by i, then j, all distinct.
    gram : (c, r, s) array
        Products of the columns of E that the random effects of the two factors need (`SeveralMoments.kept`).
    """

    i: np.ndarray
    j: np.ndarray
    gram: np.ndarray

    @classmethod
    def added(cls, parts: Sequence["Cells"]) -> "Cells":
        """Cells of all parts in their order, those of one place added up in the order of the parts.

        The parts need not be sorted.
        """
        i, j, gram = (_together([getattr(part, name) for part in parts]) for name in ("i", "j", "gram"))
        if len(i) == 0:
            return cls(i, j, gram)
        width = int(j.max()) + 1
        key = i.astype(np.int64) * width + j
        if np.all(key[1:] > key[:-1]):
            return cls(i, j, gram)
        order = np.argsort(key, kind="stable")
        key = key[order]
        first = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
        gram = gram[order]
        if len(first) < len(key):
            key, gram = key[first], np.add.reduceat(gram, first, axis=0)
        return cls((key // width).astype(np.int32), (key % width).astype(np.int32), gram)


def _together(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """One array after the other; a single one is not copied."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


@dataclass(frozen=True)
class SeveralMoments:
    """Cross-products of the rows, by level of each factor, by pair of levels and in all.

    Attributes
    ----------
    factors : tuple of Moments
        Of each factor in the formula's order; basis and totals are the same in all.
    cells : dict of (k, l), k < l, to Cells
        For each pair of factors.
    kept : tuple of tuple of int
        The columns of E = [1, standardised columns, y*] that the cells hold for each factor, the constant first.
    """

    factors: tuple[Moments, ...]
    cells: dict[tuple[int, int], Cells]
    kept: tuple[tuple[int, ...], ...]

    @property
    def basis(self) -> Basis:
        """The coordinates of all cross-products."""
        return self.factors[0].basis

    @property
    def total(self) -> np.ndarray:
        """Gram matrix of E over all rows, (m + 2, m + 2)."""
        return self.factors[0].total

    @property
    def n_rows(self) -> int:
        """N."""
        return self.factors[0].n_rows

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the factors."""
        return tuple(factor.group for factor in self.factors)

    @property
    def n_groups(self) -> dict[str, int]:
        """Number of levels of each factor."""
        return {factor.group: factor.n_groups for factor in self.factors}

    @property
    def largest(self) -> str:
        """The factor with most levels, the first of several."""
        counts = self.n_groups
        return max(counts, key=lambda group: counts[group])

    def of(self, group: str) -> Moments:
        """The moments of one factor alone.

        Parameters
        ----------
        group : str
            Its name.

        Returns
        -------
        Moments
        """
        return self.factors[self.groups.index(group)]

    def mean_zz(self, names: tuple[str, ...]) -> np.ndarray:
        """Mean over the rows of zz'; see `Moments.mean_zz`."""
        return self.factors[0].mean_zz(names)

    def cov_fixed(self, names: tuple[str, ...]) -> np.ndarray:
        """Covariance matrix over the rows; see `Moments.cov_fixed`."""
        return self.factors[0].cov_fixed(names)

    @property
    def weighted(self) -> bool:
        """Whether rows have weights that are not all 1."""
        return self.factors[0].weighted

    @property
    def log_weights(self) -> float:
        """Sum over the rows of the logarithms of their precision weights; 0 without weights."""
        return self.factors[0].log_weights

    def within(self, fixed: tuple[str, ...]) -> "SeveralMoments":
        """The same moments with a pilot fit in the span of `fixed`; see `Moments.within`."""
        return replace(self, factors=tuple(factor.within(fixed) for factor in self.factors))

    def ols(self, names: tuple[str, ...]) -> Ols:
        """Least squares of y on `names`; see `Moments.ols`."""
        return self.factors[0].ols(names)

    def write(self, table: str, cells: str, details: str) -> None:
        """Write the levels (a row per level of each factor), the cells (a row per cell) and the JSON details.

        Parameters
        ----------
        table : str
            Path of the levels' table.
        cells : str
            Path of the cells' table.
        details : str
            Path of the JSON file.
        """
        names = ["1", *self.basis.columns, "y*"]
        rows = self.factors[0].gram.shape[1]
        frames = []
        for factor in self.factors:
            columns = {"group": factor.group, "level": factor.levels, "n": factor.n}
            for a in range(rows):
                for b in range(a, len(names)):
                    columns[f"{names[a]} * {names[b]}"] = factor.gram[:, a, b]
            frames.append(pd.DataFrame(columns))
        write_table(table, pd.concat(frames, ignore_index=True))
        write_whole(cells, self._write_cells)
        about = {"groups": self.groups, "kept": self.kept, "rows": rows, "basis": self.basis.plain()}
        counts = {"total": self.total, "n_rows": self.n_rows, "n_groups": self.n_groups}
        counts["log_weights"] = self.log_weights
        write_json(details, about | counts)

    def _write_cells(self, path: str) -> None:
        """One row group or more per pair; products that a pair has not are null."""
        width = max(len(kept) for kept in self.kept)
        products = [f"{a} * {b}" for a in range(width) for b in range(width)]
        fields = [("first", pa.int16()), ("second", pa.int16()), ("i", pa.int32()), ("j", pa.int32())]
        schema = pa.schema([*fields, *((name, pa.float64()) for name in products)])
        with pq.ParquetWriter(path, schema) as file:
            for (k, m), cells in self.cells.items():
                count = len(cells.i)
                own = {f"{a} * {b}": cells.gram[:, a, b] for a, b in np.ndindex(cells.gram.shape[1:])}
                arrays = [
                    pa.array(np.full(count, k, np.int16)),
                    pa.array(np.full(count, m, np.int16)),
                    pa.array(cells.i),
                    pa.array(cells.j),
                    *(pa.array(own[n]) if n in own else pa.nulls(count, pa.float64()) for n in products),
                ]
                file.write_table(pa.Table.from_arrays(arrays, schema=schema))

    @classmethod
    def read(cls, table: str, cells: str, details: str) -> "SeveralMoments":
        """Read what `write` wrote.

        Parameters
        ----------
        table : str
            Path of the levels' table.
        cells : str
            Path of the cells' table.
        details : str
            Path of the JSON file.

        Returns
        -------
        SeveralMoments
        """
        frame, about = read_table(table), read_json(details)
        basis, total = Basis.from_plain(about["basis"]), np.array(about["total"])
        names = ["1", *basis.columns, "y*"]
        rows = about["rows"]
        factors = []
        for group in about["groups"]:
            part = frame[frame["group"] == group]
            gram = np.empty((len(part), rows, len(names)))
            for a in range(rows):
                for b in range(a, len(names)):
                    gram[:, a, b] = part[f"{names[a]} * {names[b]}"]
                    if b < rows:
                        gram[:, b, a] = gram[:, a, b]
            levels = part["level"].to_numpy(dtype=object)
            n, logs = part["n"].to_numpy(), about["log_weights"]
            factors.append(Moments(group, levels, n, gram, total, basis, logs))
        kept = tuple(tuple(item) for item in about["kept"])
        file = pq.ParquetFile(cells)
        parts: dict[tuple[int, int], list[Cells]] = {pair: [] for pair in pairs_of(len(factors))}
        for at in range(file.num_row_groups):
            block = file.read_row_group(at)
            if block.num_rows == 0:
                continue
            pair = (block["first"][0].as_py(), block["second"][0].as_py())
            shape = (len(kept[pair[0]]), len(kept[pair[1]]))
            gram = np.empty((block.num_rows, *shape))
            for a, b in np.ndindex(shape):
                gram[:, a, b] = block[f"{a} * {b}"].to_numpy()
            parts[pair].append(Cells(block["i"].to_numpy(), block["j"].to_numpy(), gram))
        return cls(tuple(factors), {pair: Cells.added(found) for pair, found in parts.items()}, kept)


def read_any(table: str, details: str, cells: str | None = None) -> Moments | SeveralMoments:
    """The moments of a study, with one grouping factor or several.

    Parameters
    ----------
    table, details : str
        Paths of what `write` wrote.
    cells : str, optional
        Several factors have it.

    Returns
    -------
    Moments or SeveralMoments
    """
    return SeveralMoments.read(table, cells, details) if cells else Moments.read(table, details)


def by_factor(moments: Moments | SeveralMoments) -> dict[str, Moments]:
    """The moments of each grouping factor alone, by its name."""
    factors = (moments,) if isinstance(moments, Moments) else moments.factors
    return {factor.group: factor for factor in factors}


def narrowed(moments: Moments | SeveralMoments, groups: Sequence[str]) -> Any:
    """The moments of some of the grouping factors.

    Parameters
    ----------
    moments : Moments or SeveralMoments
        Of at least these factors.
    groups : sequence of str
        Names of the factors that are wanted, in any order that the model has them in.
    """
    if isinstance(moments, Moments) or tuple(groups) == moments.groups:
        return moments
    if len(groups) == 1:
        return moments.of(groups[0])
    at = [moments.groups.index(group) for group in groups]
    cells = {}
    for k, m in pairs_of(len(at)):
        found = moments.cells[min(at[k], at[m]), max(at[k], at[m])]
        if at[k] > at[m]:
            order = np.lexsort((found.i, found.j))
            found = Cells(found.j[order], found.i[order], found.gram[order].transpose(0, 2, 1))
        cells[k, m] = found
    return SeveralMoments(tuple(moments.factors[k] for k in at), cells, tuple(moments.kept[k] for k in at))


def pairs_of(count: int) -> list[tuple[int, int]]:
    """The pairs (k, l), k < l, of `count` factors."""
    return [(k, m) for k in range(count) for m in range(k + 1, count)]


def kept_columns(basis: Basis, blocks: Sequence[tuple[tuple[str, ...], ...]]) -> tuple[tuple[int, ...], ...]:
    """The columns of E that the random effects of each factor need: the constant, and their own.

    Parameters
    ----------
    basis : Basis
        Coordinates of the columns.
    blocks : sequence
        The blocks of random effects of each factor.

    Returns
    -------
    tuple of tuple of int
        Per factor.
    """
    out = []
    for own in blocks:
        names = {name for block in own for name in block}
        out.append((0, *(k + 1 for k, name in enumerate(basis.columns) if name in names)))
    return tuple(out)


def merge(parts: Iterable[SeveralMoments]) -> SeveralMoments:
    """Moments of all rows from those of parts in the same basis, added in the order given.

    Raises
    ------
    ValueError
        The parts' bases differ, or what they keep.
    """
    whole = None
    for part in parts:
        whole = part if whole is None else _added(whole, part)
    if whole is None:
        raise ValueError("no moments to merge")
    return whole


def _added(one: SeveralMoments, other: SeveralMoments) -> SeveralMoments:
    if (one.basis.plain(), one.kept, one.groups) != (other.basis.plain(), other.kept, other.groups):
        raise ValueError("moments in different bases cannot be merged")
    total, logs = one.total + other.total, one.log_weights + other.log_weights
    factors, places = [], []
    for own, new in zip(one.factors, other.factors, strict=True):
        if own.gram.shape[1:] != new.gram.shape[1:]:
            raise ValueError("moments that keep different products cannot be merged")
        levels, at, at_new = union(own.levels, new.levels)
        n, gram = np.zeros(len(levels), dtype=np.int64), np.zeros((len(levels), *own.gram.shape[1:]))
        n[at], gram[at] = own.n, own.gram
        n[at_new] += new.n
        gram[at_new] += new.gram
        factors.append(replace(own, levels=levels, n=n, gram=gram, total=total, log_weights=logs))
        everywhere = np.arange(len(levels), dtype=np.int32)
        places.append((everywhere[at], everywhere[at_new]))
    cells = {}
    for (k, m), own in one.cells.items():
        new = other.cells[k, m]
        parts = ((0, own), (1, new))
        cells[k, m] = Cells.added(
            [Cells(places[k][at][part.i], places[m][at][part.j], part.gram) for at, part in parts]
        )
    return SeveralMoments(tuple(factors), cells, one.kept)
