"""A new response of a design with several grouping factors, drawn as its moments: exact in distribution.

Normal errors e ~ N(0, s2 I) enter the moments through t = R'e and e'e only. R holds the columns that moments keep for
every level of every factor, and all columns beside them; G = R'R is known, and

    t ~ N(0, s2 G),   e'e = t'G^+ t + s2 chi2(N - rank G).

G is singular, since the levels of each factor add up to the same constant. Its root is that of a positive
semidefinite matrix: the leading factor level by level, then what it leaves of all others (docs/statistics.md,
sections 9 and 10).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg.lapack import dpstrf
from scipy.sparse import block_array, csc_array, tril

from lmm.likelihood.leading import Leading, cells_times, eliminate, transposed_times
from lmm.likelihood.several_arranged import Arranged, arranged
from lmm.likelihood.sparse_cholesky import factorise
from lmm.moments.several import SeveralMoments

# Of a column, what others leave of its squared length counts as nothing below this share: rounding of sums over the
# levels that it meets, of 1e-16 each, stays far below.
NOTHING = 1e-11


@dataclass(frozen=True)
class SeveralMomentsDesign:
    """What of a design the draws need, computed once for all of them.

    Attributes
    ----------
    moments : SeveralMoments
        Of the design; its response is not used.
    own : Arranged
        G, without y.
    total : (m + 1, m + 1) array
        Gram matrix of all columns beside the factors'.
    roots : (J, q, q) array
        Of the leading factor's blocks.
    half : (c, q) array
        The inverses of these roots times the cells.
    half_edge : (J, q, m + 1) array
        The same of all columns.
    rest : matrix
        A root of what the leading factor leaves of the remainder and of all columns, (R + m + 1, its rank).
    gram : matrix
        The remainder's Gram matrix, (R, R).
    free : int
        Degrees of freedom that are left for e'e.
    """

    moments: SeveralMoments
    own: Arranged
    total: np.ndarray
    roots: np.ndarray
    half: np.ndarray
    half_edge: np.ndarray
    rest: Any
    gram: Any
    free: int


def semidefinite_roots(blocks: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Lower triangular L_j, L_j L_j' = A_j; columns of what is a combination of those before it are 0.

    Parameters
    ----------
    blocks : (J, q, q) array
        A_j, positive semidefinite.
    least : (J, q) array
        Squared pivots that count as 0, at most.

    Returns
    -------
    (J, q, q) array
    """
    root = np.zeros_like(blocks)
    for k in range(blocks.shape[1]):
        column = blocks[:, k:, k] - np.einsum("jai,ji->ja", root[:, k:, :k], root[:, k, :k])
        real = column[:, 0] > least[:, k]
        size = np.sqrt(np.where(real, column[:, 0], 1.0))
        root[:, k:, k] = np.where(real[:, None], column / size[:, None], 0.0)
    return root


def _solved(root: np.ndarray, values: np.ndarray) -> np.ndarray:
    """root^-1 values for rows of values, (c, q), with a root each, (c, q, q); 0 where the root is."""
    out = np.zeros_like(values)
    for k in range(values.shape[1]):
        pivot = root[:, k, k]
        left = values[:, k] - np.einsum("ci,ci->c", root[:, k, :k], out[:, :k])
        out[:, k] = np.where(pivot > 0.0, left / np.where(pivot > 0.0, pivot, 1.0), 0.0)
    return out


def prepare(moments: SeveralMoments, sparse: bool | None = None) -> SeveralMomentsDesign:
    """A design ready for `draw`, at the cost of one evaluation of the criterion.

    Parameters
    ----------
    moments : SeveralMoments
        Sufficient statistics of the rows.
    sparse : bool, optional
        As for `several_problem.build`.

    Returns
    -------
    SeveralMomentsDesign

    Raises
    ------
    StudyError
        The remainder is too large for memory.
    """
    m1 = len(moments.basis.columns) + 1
    unit = np.eye(m1)
    own = arranged(moments, [unit[:, list(kept)] for kept in moments.kept], unit, sparse)
    own = own._replace(
        lead=own.lead._replace(edge=np.ascontiguousarray(own.lead.edge[:, :, :-1])),
        rest_edge=np.ascontiguousarray(own.rest_edge[:, :-1]),
    )
    lead, total = own.lead, moments.total[:m1, :m1].copy()
    J, q, _ = lead.A.shape
    roots = semidefinite_roots(lead.A, NOTHING * np.einsum("jaa->ja", lead.A))
    half = _solved(np.repeat(roots, np.diff(lead.ptr), axis=0), lead.vals)
    edges = lead.edge.transpose(0, 2, 1).reshape(-1, q)
    half_edge = _solved(np.repeat(roots, m1, axis=0), edges).reshape(J, m1, q).transpose(0, 2, 1).copy()
    S, S_edge, S_total = own.rest.copy(), own.rest_edge.copy(), total.copy()
    # Of levels with A_j = 0 and lambda = I, V_j = I: their products as they are
    whitened = Leading(np.zeros_like(lead.A), half_edge, lead.ptr, lead.cols, half, lead.pairs, lead.tall)
    none, dense = np.empty((0, q)), own.pattern is None
    eliminate(whitened, np.eye(q), dense, False, S, S_edge, S_total, none[:, :, None], none, none[:, :, None])
    gram, rest = (_dense if dense else _sparse)(own, total, S, S_edge, S_total)
    free = moments.n_rows - rest.shape[1] - int(np.count_nonzero(np.einsum("jaa->ja", roots)))
    return SeveralMomentsDesign(moments, own, total, roots, half, half_edge, rest, gram, free)


def _dense(own: Arranged, total, S, S_edge, S_total) -> tuple[np.ndarray, np.ndarray]:
    """G's remainder, and a root of what is left of it and of all columns."""
    R, m1 = S_edge.shape
    gram = np.tril(own.rest.reshape(R, R))
    gram += np.tril(gram, -1).T
    left = np.zeros((R + m1, R + m1))
    left[:R, :R] = np.tril(S.reshape(R, R))
    left[R:, :R], left[R:, R:] = S_edge.T, S_total
    size = np.sqrt(np.concatenate([np.diag(gram), np.diag(total)]))
    size[size == 0.0] = 1.0
    left /= size[:, None] * size
    root, order, rank, _ = dpstrf(left, tol=NOTHING, lower=1, overwrite_a=1)
    # LAPACK does not compare the first pivot with `tol`
    rank = int(np.count_nonzero(np.diag(root)[:rank] ** 2 > NOTHING))
    out = np.empty((R + m1, rank))
    out[order - 1] = np.tril(root)[:, :rank] * size[order - 1, None]
    return gram, out


def _sparse(own: Arranged, total, S, S_edge, S_total) -> tuple[Any, Any]:
    """As `_dense`, on the remainder's pattern."""
    R, m1 = S_edge.shape
    indptr, rows = own.pattern.indptr, own.pattern.rows
    factorise(indptr, rows, S, NOTHING * own.rest[indptr[:-1]])
    pivots, left = S[indptr[:-1]], S_edge.copy()
    across = np.zeros((R, m1))
    for k in np.flatnonzero(pivots > 0.0):
        across[k] = left[k] / pivots[k]
        below = slice(indptr[k] + 1, indptr[k + 1])
        left[rows[below]] -= S[below, None] * across[k]
    corner = semidefinite_roots((S_total - across.T @ across)[None], NOTHING * np.diag(total)[None])[0]
    root = block_array([[csc_array((S, rows, indptr), shape=(R, R)), None], [across.T, corner]], format="csc")
    lower = csc_array((own.rest, rows, indptr), shape=(R, R))
    return lower + tril(lower, -1).T, root[:, np.flatnonzero(root.diagonal() > 0.0)]


def draw(
    rng: np.random.Generator,
    design: SeveralMomentsDesign,
    fixed: Sequence[str],
    beta: np.ndarray,
    effects: Mapping[str, tuple[Sequence[str], np.ndarray]],
    sigma: float,
) -> SeveralMoments:
    """Moments of the design with a new response y = X beta + sum_k Z_k u_k + e, e ~ N(0, sigma^2).

    Parameters
    ----------
    rng : Generator
        Source of the random numbers.
    design : SeveralMomentsDesign
        From `prepare`.
    fixed : sequence of str
        Names of X's columns.
    beta : (p,) array
        Coefficients in original units.
    effects : mapping of str to (sequence of str, (J_k, q_k) array)
        Names and values of the random effects of each factor that has some, in original units, levels as in the
        moments.
    sigma : float
        Above 0.

    Returns
    -------
    SeveralMoments
        Of what fits need: y's products with the columns of `SeveralMoments.kept`; those with others are 0.
    """
    old, own = design.moments, design.own
    basis, lead, (R, m1) = old.basis, own.lead, own.rest_edge.shape
    J, q, _ = lead.A.shape
    first = own.order[0]
    v0, v, spread = np.zeros((J, q)), np.zeros(R), sigma**2
    for k, (group, kept) in enumerate(zip(old.groups, old.kept, strict=True)):
        if group in effects:
            names, values = effects[group]
            at = values @ basis.raw(tuple(names))[list(kept)].T
            spread += float(np.mean(at**2, axis=0).sum())
            if k == first:
                v0 = at
            else:
                v[own.places[k]] = at
    z0 = rng.standard_normal((J, q)) * (np.einsum("jaa->ja", design.roots) > 0.0)
    z = rng.standard_normal(design.rest.shape[1])
    square = np.sum(z0**2) + z @ z + (rng.chisquare(design.free) if design.free > 0 else 0.0)

    errors0 = sigma * np.einsum("jab,jb->ja", design.roots, z0)
    below = design.rest @ z
    errors = sigma * (transposed_times(lead, design.half, z0[:, :, None], R)[:, 0] + below[:R])
    errors_all = sigma * (np.einsum("jab,ja->b", design.half_edge, z0) + below[R:])
    drawn0 = np.einsum("jab,jb->ja", lead.A, v0) + cells_times(lead, lead.vals, v[:, None])[:, :, 0]
    drawn = transposed_times(lead, lead.vals, v0[:, :, None], R)[:, 0] + design.gram @ v
    drawn_all = np.einsum("jab,ja->b", lead.edge, v0) + own.rest_edge.T @ v
    squares = sigma**2 * square + np.sum(v0 * (drawn0 + 2.0 * errors0)) + v @ (drawn + 2.0 * errors)

    scale = 2.0 ** round(np.log2(np.sqrt(spread)))
    mean = basis.raw(tuple(fixed)) @ np.asarray(beta, dtype=float)
    basis = replace(basis, pilot=mean, y_scale=scale)
    total = old.total.copy()
    total[:m1, -1] = total[-1, :m1] = (drawn_all + errors_all) / scale
    total[-1, -1] = squares / scale**2
    factors = []
    for k, (factor, kept) in enumerate(zip(old.factors, old.kept, strict=True)):
        gram = factor.gram[:, : 1 + basis.n_random].copy()
        gram[:, :, -1] = 0.0
        sums = drawn0 + errors0 if k == first else (drawn + errors)[own.places[k]]
        gram[:, list(kept), -1] = sums / scale
        factors.append(replace(factor, gram=gram, total=total, basis=basis, factor=None, rest=None))
    return replace(old, factors=tuple(factors))
