"""A REML (or ML) fit and least squares of one data set in one compiled piece: what replicates need, and no more.

The same kernels as the full path: `descent` for the optimum, `wald` for its inference. What is left out is the way
through tables, profile intervals (unless asked for) and group effects.
"""

from dataclasses import dataclass

import numpy as np

from lmm.core.compiled import kernel
from lmm.inference.descent import (
    DIGITS,
    ROUNDING,
    best_stop,
    grid_of_starts,
    is_singular,
    profiled,
    relative_factor,
)
from lmm.inference.newton import cholesky_of
from lmm.inference.optimum import lower
from lmm.inference.wald import errors_at, fixed_effects_at, values_at
from lmm.likelihood.lanes import LANES, VECTOR
from lmm.likelihood.problem import Structure, roots_of
from lmm.moments.basis import Basis

OK, SINGULAR, UNIDENTIFIED, NOT_CONVERGED = 0, 1, 2, 3
UNSURE = -1  # for the full path to tell
# A pivot of the criterion's Hessian, scaled to a unit diagonal, up to which some direction may have no information.
FLAT = 1e-6


@dataclass(frozen=True)
class Model:
    """A model on the moments of a design's replicates, all in one basis.

    Attributes
    ----------
    structure : Structure
    combine_x, combine_z : (m + 1, p), (r, q) arrays
        Columns as combinations of the basis's; see `Basis.stable`.
    x_map, z_map : (p, p), (q, q) arrays
        Back to original units; see `Problem`.
    y_scale : float
    ml : bool
    """

    structure: Structure
    combine_x: np.ndarray
    combine_z: np.ndarray
    x_map: np.ndarray
    z_map: np.ndarray
    y_scale: float
    ml: bool

    @classmethod
    def of(cls, basis: Basis, fixed: tuple[str, ...], structure: Structure, ml: bool) -> "Model":
        """The model in a basis.

        Parameters
        ----------
        basis : Basis
            Of the replicates' moments.
        fixed : tuple of str
            Names of X's columns.
        structure : Structure
            The random effects.
        ml : bool
            Maximum likelihood instead of REML.

        Returns
        -------
        Model
        """
        combine_x, back_x = basis.stable(fixed)
        q = len(structure.random)
        combine_z, z_map = np.zeros((1 + basis.n_random, q)), np.zeros((q, q))
        for start, stop in structure.blocks:
            combine, back = basis.stable(structure.random[start:stop])
            combine_z[:, start:stop] = combine[: len(combine_z)]
            z_map[start:stop, start:stop] = back * basis.y_scale
        scale = basis.y_scale
        return cls(structure, np.ascontiguousarray(combine_x), combine_z, back_x * scale, z_map, scale, ml)

    def start(self, values: np.ndarray) -> np.ndarray:
        """A start of the optimiser at known variance parameters: L / sigma in the kernel's coordinates.

        Parameters
        ----------
        values : (k,) array
            In the order of `Structure.terms`.

        Returns
        -------
        (q, q) array
            NaN, which is no start, where a value is not known, an sd is 0 or a correlation 1.
        """
        q, structure = len(self.z_map), self.structure
        inside = np.abs(values[q:-1]) < 1.0
        if not (np.all(values[:q] > 0.0) and values[-1] > 0.0 and np.all(inside)):
            return np.full((q, q), np.nan)
        roots, sigmas = roots_of(structure, values[:, None])
        factor = np.linalg.solve(self.z_map, roots[0]) * (self.y_scale / sigmas[0])
        out = np.zeros((q, q))
        for start, stop in structure.blocks:
            out[start:stop, start:stop] = lower(factor[start:stop, start:stop])
        return out


@kernel
def packed(gram, total, combine_x, combine_z, out):
    """Moments in the kernel's coordinates: fills `out`, packed groups, and returns the Gram matrix of [X y].

    Parameters
    ----------
    gram : (J, r, m + 2) array
        Products of the columns that groups keep with all columns and y.
    total : (m + 2, m + 2) array
        Gram matrix over all rows; its upper triangle is read.
    combine_x, combine_z : (m + 1, p), (r, q) arrays
        Columns as combinations of the basis's.
    out : (blocks, q, q + p + 1, lanes) array
        Zeros where there are no groups.

    Returns
    -------
    (p + 1, p + 1) array
    """
    groups, r, m2 = gram.shape
    q, p, lanes = combine_z.shape[1], combine_x.shape[1], out.shape[3]
    half = np.empty((q, m2))
    for j in range(groups):
        for a in range(q):
            for c in range(m2):
                s = 0.0
                for k in range(r):
                    s += combine_z[k, a] * gram[j, k, c]
                half[a, c] = s
        block, lane = j // lanes, j % lanes
        for a in range(q):
            for b in range(q):
                s = 0.0
                for c in range(r):
                    s += half[a, c] * combine_z[c, b]
                out[block, a, b, lane] = s
            for b in range(p):
                s = 0.0
                for c in range(m2 - 1):
                    s += half[a, c] * combine_x[c, b]
                out[block, a, q + b, lane] = s
            out[block, a, q + p, lane] = half[a, m2 - 1]
    whole = np.empty((m2, m2))
    for a in range(m2):
        for c in range(a, m2):
            whole[a, c] = whole[c, a] = total[a, c]
    columns = np.zeros((m2, p + 1))
    columns[:-1, :-1] = combine_x
    columns[-1, -1] = 1.0
    return columns.T @ (whole @ columns)


def lanes_for(groups: int, q: int, p: int) -> np.ndarray:
    """Zeros for the packed groups of `packed`; see `lanes.pack`.

    Parameters
    ----------
    groups, q, p : int
        Numbers of groups, random effects and fixed effects.

    Returns
    -------
    (blocks, q, q + p + 1, lanes) array
    """
    blocks = -(-groups // LANES)
    return np.zeros((blocks, q, q + p + 1, VECTOR * -(-groups // (blocks * VECTOR))))


@kernel
def least_squares(total, n_rows, x_map, found):
    """OLS: fills `found` (2 p + 1,) with coefficients less the offset, standard errors and residual sd (unit scale).

    Parameters
    ----------
    total : (p + 1, p + 1) array
        Gram matrix of [X y], kernel's coordinates.
    n_rows : int
        N.
    x_map : (p, p) array
        Back to original units.
    found : (2 p + 1,) array
        Written to.
    """
    p = len(x_map)
    root = np.linalg.cholesky(np.ascontiguousarray(total[:p, :p]))
    z, gamma = np.empty(p), np.empty(p)
    rss = total[p, p]
    for a in range(p):
        s = total[a, p]
        for b in range(a):
            s -= root[a, b] * z[b]
        z[a] = s / root[a, a]
        rss -= z[a] * z[a]
    for a in range(p - 1, -1, -1):
        s = z[a]
        for b in range(a + 1, p):
            s -= root[b, a] * gamma[b]
        gamma[a] = s / root[a, a]
    sigma = np.sqrt(rss / (n_rows - p))
    u = np.empty(p)
    for k in range(p):
        found[k], variance = 0.0, 0.0
        for a in range(p):
            found[k] += x_map[k, a] * gamma[a]
            s = x_map[k, a]
            for b in range(a):
                s -= root[a, b] * u[b]
            u[a] = s / root[a, a]
            variance += u[a] * u[a]
        found[p + k] = sigma * np.sqrt(variance)
    found[2 * p] = sigma


@kernel
def reml(spans, rows, cols, pairs, start, gram, total, n_rows, x_map, z_map, y_scale, ml, found):
    """The optimum, from the full path's starts and another one, and its inference.

    Parameters
    ----------
    spans, rows, cols, pairs : int arrays
        Blocks, free elements of L, and effects whose correlation is a parameter.
    start : (q, q) array
        From `Model.start`: the first start where the criterion is lower there than at the full path's.
    gram, total : arrays
        From `packed`.
    n_rows : int
        N.
    x_map, z_map, y_scale, ml : numbers and arrays
        Of the `Model`.
    found : (3 p + 2 k,) array
        Written to: fixed effects less the offset, their standard errors and degrees of freedom; k variance
        parameters in the order of `Structure.terms` and their standard errors.

    Returns
    -------
    int
        `OK`, `SINGULAR` or `NOT_CONVERGED`; `UNSURE` where rounding may have cost the residual sd its digits, or the
        data do not seem to determine all variance parameters.
    """
    p, k = len(x_map), len(z_map) + len(pairs) + 1
    df = n_rows if ml else n_rows - p
    starts = grid_of_starts(rows, cols, gram, total, df, ml)
    own, near = profiled(start, rows, cols, gram, total, df, ml)
    if own < np.inf:
        first = relative_factor(starts[0], rows, cols, len(z_map))
        if own < profiled(first, rows, cols, gram, total, df, ml)[0]:
            starts = np.concatenate((near.reshape(1, -1), starts))
    phi, _, hessian, certified = best_stop(starts, spans, rows, cols, gram, total, df, ml)
    singular = is_singular(phi, rows, cols)
    beta, errors, dfs = fixed_effects_at(phi, hessian, rows, cols, gram, total, x_map, ml)
    values, jacobian = values_at(phi, rows, cols, pairs, z_map, y_scale)
    found[:p], found[p : 2 * p], found[2 * p : 3 * p] = beta, errors, dfs
    found[3 * p : 3 * p + k] = values
    found[3 * p + k :] = errors_at(hessian, singular, jacobian)
    p1 = len(total) - 1
    exact = ROUNDING * total[p1, p1] <= 2.0 * DIGITS * np.exp(2.0 * phi[-1]) * df
    if not exact or not cholesky_of(hessian, FLAT)[2]:
        return UNSURE
    return NOT_CONVERGED if not certified else SINGULAR if singular else OK
