"""A model over moments in the kernel's coordinates, and the way back to the user's units."""

from dataclasses import dataclass, replace

import numpy as np

from lmm.core.tidy import RESIDUAL, cor_name, sd_name
from lmm.likelihood.lanes import pack
from lmm.likelihood.whitened import Whitened, columns_of, coordinates_of, without_floor
from lmm.moments.moments import Moments


@dataclass(frozen=True)
class Structure:
    """Random-effects structure: which elements of L are free.

    Attributes
    ----------
    random : (q,) tuple of str
        Names of Z's columns, block after block.
    blocks : tuple of (start, stop)
        The block of each set of correlated random effects.
    rows, cols : (t,) int arrays
        The free elements of the lower triangular L.
    """

    random: tuple[str, ...]
    blocks: tuple[tuple[int, int], ...]
    rows: np.ndarray
    cols: np.ndarray

    @property
    def correlations(self) -> list[tuple[int, int]]:
        """The pairs (k, l), k < l, of random effects whose correlation is a parameter."""
        return [(k, m) for start, stop in self.blocks for k in range(start, stop) for m in range(k + 1, stop)]

    @property
    def terms(self) -> list[str]:
        """Tidy names of the variance parameters: sd's, correlations, the residual sd."""
        sds = [sd_name(name) for name in self.random]
        cors = [cor_name(self.random[k], self.random[m]) for k, m in self.correlations]
        return [*sds, *cors, RESIDUAL]


def layout(blocks: tuple[tuple[str, ...], ...]) -> Structure:
    """The structure of blocks of random effects, correlated within and independent between."""
    spans, free, start = [], [], 0
    for block in blocks:
        stop = start + len(block)
        spans.append((start, stop))
        free += [(a, b) for a in range(start, stop) for b in range(start, a + 1)]
        start = stop
    rows, cols = np.array(free).T.copy()  # contiguous for any number: a kernel is compiled for each layout
    return Structure(tuple(name for block in blocks for name in block), tuple(spans), rows, cols)


def roots_of(structure: Structure, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """L and sigma at each draw: (S, q, q) and (S,), from values (k, S) in the order of `Structure.terms`.

    Parameters
    ----------
    structure : Structure
        The random effects, and which elements of L are free.
    values : (k, S) array
        Draws in the order of `Structure.terms`.

    Returns
    -------
    (S, q, q), (S,) arrays
    """
    q, n = len(structure.random), values.shape[1]
    corr = np.broadcast_to(np.eye(q), (n, q, q)).copy()
    for (k, m), r in zip(structure.correlations, values[q:-1], strict=True):
        corr[:, k, m] = corr[:, m, k] = np.clip(r, -1 + 1e-12, 1 - 1e-12)
    return values[:q].T[:, :, None] * np.linalg.cholesky(corr), np.ascontiguousarray(values[-1])


@dataclass(frozen=True)
class Problem:
    """Input of the likelihood kernel, with the maps to original units.

    In the kernel's coordinates columns are centred (where a constant is beside them) and scaled, y is y*.

    Attributes
    ----------
    gram : packed (blocks, q, q + p + 1, lanes) array
    total : (p + 1, p + 1) array
    n_rows, n_groups : int
    structure : Structure
    fixed : (p,) tuple of str
    x_map : (p, p) array
        beta = x_map @ gamma + offset, gamma in the kernel's coordinates.
    offset : (p,) array
    z_map : (q, q) array
        u = z_map @ v; so L = z_map @ (L in the kernel's coordinates) is a root of D, lower triangular or not.
    y_scale : float
        sigma = y_scale * (sigma in the kernel's coordinates).
    constant : float
        What -2 log L gains by the change of coordinates.
    ml : bool
        Whether the criterion is that of maximum likelihood, not REML's.
    white : Whitened or None
        What the criterion is computed from where random effects are so large that sums of squares lose digits.
    """

    gram: np.ndarray
    total: np.ndarray
    n_rows: int
    n_groups: int
    structure: Structure
    fixed: tuple[str, ...]
    x_map: np.ndarray
    offset: np.ndarray
    z_map: np.ndarray
    y_scale: float
    constant: float
    ml: bool = False
    white: Whitened | None = None

    @classmethod
    def build(
        cls,
        gram,
        total,
        n_rows,
        structure,
        fixed,
        back_x,
        offset,
        back_z,
        y_scale,
        ml=False,
        log_weights=0.0,
        white=None,
    ) -> "Problem":
        """Pack the groups and fold y's scale into the maps (see `problem_of`).

        Parameters
        ----------
        gram : (J, q, q + p + 1) array
            A_j, B_j and c_j of each group.
        total : (p + 1, p + 1) array
            Gram matrix of [X y] over all rows, kernel's coordinates.
        n_rows : int
            N.
        structure : Structure
            The random effects, and which elements of L are free.
        fixed : tuple of str
            Names of X's columns.
        back_x : (p, p) array
            From the stable columns' coefficients to those of X.
        offset : (p,) array
            The pilot fit's coefficients.
        back_z : list of arrays
            As back_x, for each block of random effects.
        y_scale : float
            Of y*.
        ml : bool
            The criterion of maximum likelihood instead of REML's.
        log_weights : float
            Sum of the logarithms of the rows' weights.
        white : Whitened or None
            See `Problem`.

        Returns
        -------
        Problem
        """
        z_map = np.zeros((len(structure.random), len(structure.random)))
        for (start, stop), back in zip(structure.blocks, back_z, strict=True):
            z_map[start:stop, start:stop] = back * y_scale
        constant = 2.0 * n_rows * np.log(y_scale) - log_weights
        if not ml:
            constant -= 2.0 * (len(fixed) * np.log(y_scale) + np.linalg.slogdet(back_x)[1])
        if white is not None:
            constant += float(white.logdet.sum())
        return cls(
            gram=pack(gram),
            total=total,
            n_rows=n_rows,
            n_groups=len(gram),
            structure=structure,
            fixed=fixed,
            x_map=back_x * y_scale,
            offset=offset,
            z_map=z_map,
            y_scale=y_scale,
            constant=constant,
            ml=ml,
            white=white,
        )

    @property
    def q(self) -> int:
        """Random effects a group."""
        return len(self.structure.random)

    @property
    def p(self) -> int:
        """Fixed effects."""
        return len(self.fixed)

    @property
    def df(self) -> int:
        """Degrees of freedom of sigma in the criterion: N - p for REML, N for maximum likelihood."""
        return self.n_rows - (0 if self.ml else self.p)

    def model(self, transform: np.ndarray) -> tuple:
        """What the optimiser's kernels take after phi: see `newton.criterion`.

        Parameters
        ----------
        transform : (q, q) array
            The kernel's Lambda is transform @ L / sigma.

        Returns
        -------
        tuple
            rows, cols, transform, gram, total, df, ml; the floor's root stands behind transform where there is one.
        """
        rows, cols = self.structure.rows, self.structure.cols
        if self.white is not None:
            transform = np.hstack([transform, self.white.floor])
        return rows, cols, transform, *self.sums, self.df, self.ml

    @property
    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """`gram` and `total` that the criterion is computed from, at the factor `reduced`."""
        return (self.gram, self.total) if self.white is None else (self.white.gram, self.white.total)

    def with_sums(self, gram: np.ndarray, total: np.ndarray, n_rows: int, n_groups: int) -> "Problem":
        """The problem with other `sums`, of other rows: for its optimum alone.

        Parameters
        ----------
        gram, total : arrays
            In place of `sums`.
        n_rows, n_groups : int
            That they are of.

        Returns
        -------
        Problem
        """
        other = replace(self, n_rows=n_rows, n_groups=n_groups)
        if self.white is None:
            return replace(other, gram=gram, total=total)
        return replace(other, white=self.white._replace(gram=gram, total=total))

    def reduced(self, factor: np.ndarray) -> np.ndarray:
        """The relative factor that belongs to `sums`: of D / sigma^2 less the floor.

        Parameters
        ----------
        factor : (q, q) array
            A root of D / sigma^2 in the kernel's coordinates.

        Returns
        -------
        (q, q) array
        """
        factor = np.ascontiguousarray(factor)
        return factor if self.white is None else without_floor(factor, self.white.floor)[0]


def problem_of(
    moments: Moments, fixed: tuple[str, ...], blocks: tuple[tuple[str, ...], ...], ml: bool = False
) -> Problem:
    """The kernel's input for a model, and the maps back to original units.

    Parameters
    ----------
    moments : Moments
        Sufficient statistics of the rows.
    fixed : tuple of str
        Names of X's columns.
    blocks : tuple of tuple of str
        Names of Z's columns in each block of random effects.
    ml : bool
        Maximum likelihood instead of REML.

    Returns
    -------
    Problem
    """
    moments = moments.within(fixed)
    combine_x, back_x = moments.basis.stable(fixed)
    parts = [moments.basis.stable(block) for block in blocks]
    combine_z, back_z = np.hstack([combine for combine, _ in parts]), [back for _, back in parts]
    gram = moments.products(combine_z, combine_x)
    columns = np.zeros((len(moments.total), len(fixed) + 1))
    columns[:-1, :-1], columns[-1, -1] = combine_x, 1.0
    total = columns.T @ moments.total @ columns
    structure, y_scale, white = layout(blocks), moments.basis.y_scale, None
    offset, found = moments.pilot_beta(fixed), None
    if moments.factor is not None:
        found = coordinates_of(moments, columns_of(moments.basis, fixed, blocks), structure.blocks)
    if found is not None:
        turn, change, white = found
        q, p = len(turn), len(fixed)
        whole = np.eye(q + p + 1)
        whole[:q, :q], whole[q:, q:] = turn, change
        gram, total = turn.T @ gram @ whole, change.T @ total @ change
        offset = offset - back_x @ change[:p, p] * (y_scale / change[p, p])
        back_x, y_scale = back_x @ change[:p, :p], y_scale / change[p, p]
        spans = [slice(start, stop) for start, stop in structure.blocks]
        back_z = [back @ turn[own, own] for back, own in zip(back_z, spans, strict=True)]
    return Problem.build(
        gram=gram,
        total=total,
        n_rows=moments.n_rows,
        structure=structure,
        fixed=fixed,
        back_x=back_x,
        offset=offset,
        back_z=back_z,
        y_scale=y_scale,
        ml=ml,
        log_weights=moments.log_weights,
        white=white,
    )
