"""Whether the rows of a design can tell the variance parameters of a model apart.

The covariance V = sigma^2 I + sum_k Z_k (I x D_k) Z_k' is linear in sigma^2 and the elements of the D's. Half the
matrix of tr(P V_m P V_n), V_m the derivatives and P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1, is their expected
information under REML (Harville 1977, J. Am. Stat. Assoc. 72). It is singular exactly where the V_m depend on one
another on the complement of X's columns, whatever the parameters are: before a fit it is looked at where V = I, and
moments are enough. `unidentified` looks at it at estimates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmm.moments.basis import Basis
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments

Blocks = Sequence[Sequence[tuple[str, ...]]]  # of each factor: names of Z's columns, block after block

# Eigenvalue of the information, in units of the parameters' own, up to which it is 0: sums of 10^8 products carry
# relative errors up to 1e-12; two rows in one of 10^9 groups, all others of one row, give 1e-9.
NOTHING = 1e-11
# A parameter that a direction without information moves by less than this share of its own unit is not in it.
MOVED = 1e-3
CHUNK = 20_000  # groups or cells taken at a time


@dataclass(frozen=True)
class Information:
    """tr(P V_m P V_n) of the elements of the D's and, last, of sigma^2.

    Attributes
    ----------
    matrix : (t + 1, t + 1) array
    units : (t + 1,) array
        tr(V^-1 V_m V^-1 V_m): what the diagonal would be if X had no columns.
    places : tuple of (factor, block)
        Of each of the t elements.
    least : float
        Eigenvalues up to here, in units of the parameters' own, are 0.
    """

    matrix: np.ndarray
    units: np.ndarray
    places: tuple[tuple[int, int], ...]
    least: float = NOTHING

    @cached_property
    def moved(self) -> np.ndarray:
        """Which parameters are in a direction without information, (t + 1,) bool."""
        scale = np.sqrt(np.where(self.units > 0.0, self.units, 1.0))
        values, vectors = np.linalg.eigh(self.matrix / np.outer(scale, scale))
        return np.abs(vectors[:, values <= self.least]).max(axis=1, initial=0.0) > MOVED

    @property
    def lost(self) -> list[tuple[int, int]]:
        """The blocks (factor, block) whose variance parameters the design cannot tell from others."""
        moved = self.moved
        return list(dict.fromkeys(place for place, own in zip(self.places, moved[:-1], strict=True) if own))

    @property
    def residual_lost(self) -> bool:
        """Whether the residual variance is one of the parameters that cannot be told apart."""
        return bool(self.moved[-1])


def information(moments: Moments | SeveralMoments, fixed: tuple[str, ...], blocks: Blocks) -> Information:
    """The information of a model's variance parameters at V = I.

    The rank does not depend on how the columns of X and of each block of Z are combined, so both are taken
    orthonormal over the rows.

    Parameters
    ----------
    moments : Moments or SeveralMoments
        Sufficient statistics of the rows, of the model's factors.
    fixed : tuple of str
        Names of X's columns, not collinear.
    blocks : sequence
        Names of Z's columns of each factor, a tuple for each block.

    Returns
    -------
    Information
    """
    factors = moments.factors if isinstance(moments, SeveralMoments) else (moments,)
    basis, total = moments.basis, moments.total[:-1, :-1]
    combine_x = _orthonormal(basis, total, fixed)
    combine_z = [np.hstack([_orthonormal(basis, total, block) for block in own]) for own in blocks]
    grams, seen = [], []
    for factor, combine in zip(factors, combine_z, strict=True):
        found = factor.products(combine, combine_x)
        grams.append(found[:, :, : combine.shape[1]])
        seen.append(found[:, :, combine.shape[1] : -1])  # Z_j'X, X orthonormal
    elements, places = [], []
    for k, own in enumerate(blocks):
        start = 0
        for at, block in enumerate(own):
            for a in range(start, start + len(block)):
                for b in range(start, a + 1):
                    elements.append((k, ((a, b),) if a == b else ((a, b), (b, a))))
                    places.append((k, at))
            start += len(block)
    t, p = len(elements), combine_x.shape[1]
    sums = [np.einsum("jap,jbq->abpq", own, own, optimize=True) for own in seen]
    fixed_part = [sum(sums[k][a, b] for a, b in pairs) for k, pairs in elements]  # X'V_m X
    out, units, traces = np.zeros((t + 1, t + 1)), np.zeros(t + 1), np.zeros(t)
    whole, shared = {}, {}
    for k in range(len(factors)):
        for m in range(k, len(factors)):
            whole[k, m], shared[k, m] = _cross(moments, grams, seen, combine_z, k, m)
    for i, (k, first) in enumerate(elements):
        traces[i] = sum(grams[k][:, a, b].sum() for a, b in first) - np.trace(fixed_part[i])
        for n in range(i, t):
            m, second = elements[n]
            alone = sum(whole[k, m][b, c, a, d] for a, b in first for c, d in second)
            through = sum(shared[k, m][b, c, a, d] for a, b in first for c, d in second)
            both = np.sum(fixed_part[i] * fixed_part[n].T)
            out[i, n] = out[n, i] = alone - 2.0 * through + both
            if i == n:
                units[i] = alone
    out[t, :t] = out[:t, t] = traces
    out[t, t], units[t] = moments.n_rows - p, moments.n_rows
    return Information(out, units, tuple(places))


def _orthonormal(basis: Basis, total: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Combinations of E of unit length over all rows, orthogonal to one another, with the span of `names`."""
    combine, _ = basis.stable(names)
    gram = combine.T @ total @ combine
    size = np.sqrt(np.diag(gram))
    root = np.linalg.cholesky(gram / np.outer(size, size))
    return np.linalg.solve(root, (combine / size).T).T


def _cross(
    moments: Moments | SeveralMoments,
    grams: list[np.ndarray],
    seen: list[np.ndarray],
    combine: list[np.ndarray],
    k: int,
    m: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the cells of factors k and m: [b, c, a, d] is of C_bc C_ad and of C_bc (Z_k'X X'Z_m)_ad."""
    shape = (grams[k].shape[1], grams[m].shape[1])
    whole, shared = np.zeros(shape * 2), np.zeros(shape * 2)
    for cells, one, other in _cells(moments, grams, seen, combine, k, m):
        flat = cells.reshape(len(cells), -1)
        between = np.einsum("cap,cdp->cad", one, other, optimize=True).reshape(len(cells), -1)
        whole += (flat.T @ flat).reshape(whole.shape)
        shared += (flat.T @ between).reshape(whole.shape)
    return whole, shared


def _cells(moments, grams, seen, combine, k, m) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Z_k'Z_m of levels that meet, (c, q_k, q_m), with both levels' Z'X."""
    if k == m:
        for start in range(0, len(grams[k]), CHUNK):
            part = slice(start, start + CHUNK)
            yield grams[k][part], seen[k][part], seen[k][part]
        return
    found = moments.cells[k, m]
    left, right = combine[k][list(moments.kept[k])], combine[m][list(moments.kept[m])]
    for start in range(0, len(found.i), CHUNK):
        part = slice(start, start + CHUNK)
        cells = np.einsum("ra,crs,sb->cab", left, found.gram[part], right, optimize=True)
        yield cells, seen[k][found.i[part]], seen[m][found.j[part]]
