"""A model with several grouping factors over moments, in the kernel's coordinates, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lmm.likelihood.dense_remainder import dense_product, dense_solve, dense_terms
from lmm.likelihood.leading import Leading
from lmm.likelihood.problem import Structure, layout
from lmm.likelihood.remainder import Layout, Terms
from lmm.likelihood.several_arranged import arranged
from lmm.likelihood.several_points import Inputs
from lmm.likelihood.sparse_pattern import Pattern
from lmm.likelihood.sparse_remainder import sparse_product, sparse_solve, sparse_terms
from lmm.moments.several import SeveralMoments


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
    columns = np.zeros((len(moments.total), len(fixed) + 1))
    columns[:-1, :-1], columns[-1, -1] = combine_x, 1.0
    made = arranged(moments, combines, combine_x, sparse)
    return SeveralProblem(
        groups=moments.groups,
        levels=tuple(factor.levels for factor in moments.factors),
        structures=structures,
        fixed=fixed,
        n_rows=moments.n_rows,
        order=made.order,
        lead=made.lead,
        layout=made.layout,
        places=made.places,
        rest=made.rest,
        rest_edge=made.rest_edge,
        total=columns.T @ moments.total @ columns,
        pattern=made.pattern,
        x_map=back_x * basis.y_scale,
        offset=moments.factors[0].pilot_beta(fixed),
        z_maps=tuple(z_maps),
        y_scale=basis.y_scale,
        log_det_x=float(np.linalg.slogdet(back_x)[1]),
        log_weights=moments.log_weights,
    )


def with_response(problem: SeveralProblem, moments: SeveralMoments) -> SeveralProblem:
    """The same model of another response, without arranging anything anew.

    Parameters
    ----------
    problem : SeveralProblem
        From `build`.
    moments : SeveralMoments
        Of the same rows with other values of y.

    Returns
    -------
    SeveralProblem
    """
    moments = moments.within(problem.fixed)
    basis = moments.basis
    combine_x, _ = basis.stable(problem.fixed)
    edge, rest_edge = problem.lead.edge, problem.rest_edge.copy()
    for k, (factor, structure) in enumerate(zip(moments.factors, problem.structures, strict=True)):
        parts = [basis.stable(structure.random[start:stop])[0] for start, stop in structure.blocks]
        combine = np.hstack(parts)[: factor.gram.shape[1]]
        own = factor.gram[:, : len(combine), -1] @ combine
        if k == problem.order[0]:
            edge = np.concatenate([edge[:, :, :-1], own[:, :, None]], axis=2)
        else:
            rest_edge[problem.places[k], -1] = own
    total = problem.total.copy()
    total[:-1, -1] = total[-1, :-1] = combine_x.T @ moments.total[:-1, -1]
    total[-1, -1] = moments.total[-1, -1]
    ratio = basis.y_scale / problem.y_scale
    return replace(
        problem,
        lead=problem.lead._replace(edge=edge),
        rest_edge=rest_edge,
        total=total,
        x_map=problem.x_map * ratio,
        offset=moments.factors[0].pilot_beta(problem.fixed),
        z_maps=tuple(z_map * ratio for z_map in problem.z_maps),
        y_scale=basis.y_scale,
    )
