"""A model with several grouping factors over moments, in the kernel's coordinates, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmm.likelihood.dense_remainder import dense_product, dense_solve, dense_terms
from lmm.likelihood.leading import Leading
from lmm.likelihood.problem import Structure, layout
from lmm.likelihood.remainder import Layout, Terms
from lmm.likelihood.several_places import levels_met, order_of, remainder
from lmm.likelihood.several_points import Inputs
from lmm.likelihood.sparse_pattern import Pattern
from lmm.likelihood.sparse_remainder import sparse_product, sparse_solve, sparse_terms
from lmm.moments.several import SeveralMoments

# Levels of the leading factor meet so many columns that C is better formed densely: a scattered product costs about
# 12 times a product inside BLAS (measured).
SCATTER = 12.0


@dataclass(frozen=True)
class SeveralProblem:
    """Input of the kernels, with the maps to original units.

    The factor with the most random effects leads; inside the kernels factors stand in `order`, outside in the
    formula's. Columns are centred (where a constant is beside them) and scaled, y is y*.

    Attributes
    ----------
    groups : tuple of str
        Names of the factors.
    levels : tuple of (J_k,) arrays of str
    structures : tuple of Structure
        Of each factor's random effects.
    fixed : tuple of str
    n_rows : int
    order : tuple of int
        The factor at each place of the kernels, the leading one first.
    lead : Leading
    layout : Layout
    places : tuple of (J_k, q_k) int arrays
        The remainder's columns of each factor; empty for the leading one.
    rest, rest_edge, total : arrays
        Gram matrix of the remainder (see `pattern`), its products with [X y], and the Gram matrix of [X y].
    pattern : Pattern or None
        Of a sparse remainder; None for a dense one.
    x_map, offset : (p, p), (p,) arrays
        beta = x_map @ gamma + offset, gamma in the kernel's coordinates.
    z_maps : tuple of (q_k, q_k) arrays
        u = z_map @ v per factor.
    y_scale : float
        sigma = y_scale * (sigma in the kernel's coordinates).
    log_det_x : float
        log|X'X| gains twice this by the change of coordinates.
    log_weights : float
        Sum of the logarithms of precision weights.
    """

    groups: tuple[str, ...]
    levels: tuple[np.ndarray, ...]
    structures: tuple[Structure, ...]
    fixed: tuple[str, ...]
    n_rows: int
    order: tuple[int, ...]
    lead: Leading
    layout: Layout
    places: tuple[np.ndarray, ...]
    rest: np.ndarray
    rest_edge: np.ndarray
    total: np.ndarray
    pattern: Pattern | None
    x_map: np.ndarray
    offset: np.ndarray
    z_maps: tuple[np.ndarray, ...]
    y_scale: float
    log_det_x: float
    log_weights: float = 0.0

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return len(self.fixed)

    @property
    def columns(self) -> int:
        """Columns of the remainder."""
        return len(self.rest_edge)

    @property
    def cost(self) -> float:
        """About how many products of two numbers an evaluation of the criterion needs."""
        met = np.diff(self.lead.ptr).astype(float)
        below = np.full(1, float(self.columns)) if self.pattern is None else np.diff(self.pattern.indptr)
        share = self.columns / 3.0 if self.pattern is None else 2.0
        return float(met @ met) + share * float(below.astype(float) @ below)

    def df(self, reml: bool) -> int:
        """N - p for REML, N for ML."""
        return self.n_rows - (self.p if reml else 0)

    def constant(self, reml: bool) -> float:
        """What -2 log L gains by the change of coordinates."""
        constant = 2.0 * self.df(reml) * np.log(self.y_scale) - self.log_weights
        return constant - 2.0 * self.log_det_x if reml else constant

    @property
    def inputs(self) -> Inputs:
        """What kernels over many points take."""
        none = np.empty(0, dtype=np.int64)
        indptr, rows = (none, none) if self.pattern is None else (self.pattern.indptr, self.pattern.rows)
        return Inputs(self.lead, self.layout, indptr, rows, self.rest, self.rest_edge, self.total)

    def packed(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Relative factors of all factors, (q_k, q_k) each, as the kernels take them: (K, m, m).

        Parameters
        ----------
        factors : sequence of (..., q_k, q_k) arrays
            lambda_k of each factor, in the formula's order; of one point, or of many.

        Returns
        -------
        (..., K, m, m) array
        """
        widest = max(factor.shape[-1] for factor in factors)
        out = np.zeros((*factors[0].shape[:-2], len(factors), widest, widest))
        for at, k in enumerate(self.order):
            q = factors[k].shape[-1]
            out[..., at, :q, :q] = factors[k]
        return out

    def terms(self, lams: np.ndarray, reml: bool = True, derive: bool = True, ridge: Any = None) -> Terms:
        """The criterion's terms; see `dense_terms` for the parameters.

        Parameters
        ----------
        lams : (K, m, m) array
            From `packed`.
        reml : bool
            Whether beta is integrated out; else it is profiled out (ML).
        derive : bool
            Whether derivatives are wanted.
        ridge : (p + 1, p + 1) array, optional
            sigma^2 times the Gram matrix of a normal prior on beta; flat without it.

        Returns
        -------
        Terms
        """
        if ridge is None:
            ridge = np.zeros_like(self.total)
        common = (self.rest, self.rest_edge, self.total, lams, ridge, reml, derive)
        if self.pattern is None:
            return dense_terms(self.lead, self.layout, *common)
        return sparse_terms(self.lead, self.layout, self.pattern.indptr, self.pattern.rows, *common)

    def product(self, terms: Terms, values: np.ndarray) -> np.ndarray:
        """S values, (R, m).

        Parameters
        ----------
        terms : Terms
            Holds S.
        values : (R, m) array
            Columns over the remainder's random effects.

        Returns
        -------
        (R, m) array
        """
        if self.pattern is None:
            return dense_product(terms.S, values)
        return sparse_product(self.pattern.indptr, self.pattern.rows, terms.S, values)

    def solve(self, terms: Terms, values: np.ndarray) -> np.ndarray:
        """H^-1 values, (R, m), for the random effects' part of H; `terms` with derivatives.

        Parameters
        ----------
        terms : Terms
            Holds H^-1; with derivatives.
        values : (R, m) array
            Columns over the remainder's random effects.

        Returns
        -------
        (R, m) array
        """
        if self.pattern is None:
            return dense_solve(terms, values)
        return sparse_solve(self.pattern.indptr, self.pattern.rows, terms.root, values)


def build(
    moments: SeveralMoments,
    fixed: tuple[str, ...],
    blocks: Sequence[tuple[tuple[str, ...], ...]],
    sparse: bool | None = None,
) -> SeveralProblem:
    """The kernels' input for a model.

    Parameters
    ----------
    moments : SeveralMoments
        Sufficient statistics of the rows.
    fixed : tuple of str
        Names of X's columns.
    blocks : sequence
        Names of Z's columns for each factor of `moments`, one tuple for each independent block.
    sparse : bool, optional
        Whether the remainder is treated as sparse; by default where its Cholesky factor has less than a fifth of
        a dense one's elements.

    Returns
    -------
    SeveralProblem

    Raises
    ------
    StudyError
        The remainder is too large for memory.
    """
    moments = moments.within(fixed)
    basis = moments.basis
    combine_x, back_x = basis.stable(fixed)
    structures = tuple(layout(own) for own in blocks)
    combines, z_maps = [], []
    for own, structure in zip(blocks, structures, strict=True):
        parts = [basis.stable(block) for block in own]
        combines.append(np.hstack([combine for combine, _ in parts]))
        z_map = np.zeros((len(structure.random),) * 2)
        for (start, stop), (_, back) in zip(structure.blocks, parts, strict=True):
            z_map[start:stop, start:stop] = back * basis.y_scale
        z_maps.append(z_map)
    grams = [f.products(combine, combine_x) for f, combine in zip(moments.factors, combines, strict=True)]
    sizes = [gram.shape[:2] for gram in grams]
    order = order_of(sizes)
    cells = {}
    for (k, m), found in moments.cells.items():
        left, right = combines[k][list(moments.kept[k])], combines[m][list(moments.kept[m])]
        cells[k, m] = np.einsum("ra,crs,sb->cab", left, found.gram, right, optimize=True)
    columns = np.zeros((len(moments.total), len(fixed) + 1))
    columns[:-1, :-1], columns[-1, -1] = combine_x, 1.0
    place, pattern = remainder(moments, sizes, order, sparse)
    lead = _leading(moments, grams, cells, order, place, pattern)
    rest, rest_edge, shape = _rest(moments, grams, cells, order, place, pattern)
    return SeveralProblem(
        groups=moments.groups,
        levels=tuple(factor.levels for factor in moments.factors),
        structures=structures,
        fixed=fixed,
        n_rows=moments.n_rows,
        order=order,
        lead=lead,
        layout=shape,
        places=tuple(place),
        rest=rest,
        rest_edge=rest_edge,
        total=columns.T @ moments.total @ columns,
        pattern=pattern,
        x_map=back_x * basis.y_scale,
        offset=moments.factors[0].pilot_beta(fixed),
        z_maps=tuple(z_maps),
        y_scale=basis.y_scale,
        log_det_x=float(np.linalg.slogdet(back_x)[1]),
        log_weights=moments.log_weights,
    )


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
    columns = sum(grams[m].shape[0] * grams[m].shape[1] for m in order[1:])
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
