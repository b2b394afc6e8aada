"""Moments in which random effects that are far larger than the residuals cost no digits, for one grouping factor.

Let V = I + Z G Z' be the covariance matrix of the rows in units of sigma^2, and V_0 = I + Z G_0 Z' for a fixed G_0, a
small share of a moment estimate of G. Rows multiplied by a root of V_0^-1 have the covariance matrix
I + Z_0 (G - G_0) Z_0', Z_0 the new columns: a model of the same kind, whose random effects are at most some thousand
residual standard deviations, so that its sums of squares keep their digits. G_0 is the *floor*: G - G_0 stays
positive semidefinite (docs/statistics.md, section 2).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lmm.core.compiled import kernel
from lmm.likelihood.lanes import pack
from lmm.moments.basis import Basis
from lmm.moments.moments import Moments
from lmm.moments.triangular import PIVOT, triangles, turned

# Share of the estimated variances in the floor: what is left are ratios up to 1e3, whose squares, 1e6, leave the
# criterion ten digits. Random effects below this ratio have no floor.
SHARE = 1e-6
# A floor above G in some direction by no more than this share of G counts as equal to it: at correlations of +-1.
SLACK = 1e-3


class Whitened(NamedTuple):
    """The kernel's input, of rows that are multiplied by roots of V_0^-1.

    Attributes
    ----------
    gram : packed (blocks, q, q + p + 1, lanes) array
    total : (p + 1, p + 1) array
    floor : (q, k) array
        A root of G_0 in the kernel's coordinates.
    columns : (m + 2, q + p + 1) array
        [Z X y] in the kernel's coordinates as combinations of E.
    logdet : (J,) array
        log|V_0| of each group.
    """

    gram: np.ndarray
    total: np.ndarray
    floor: np.ndarray
    columns: np.ndarray
    logdet: np.ndarray


class Coordinates(NamedTuple):
    """The coordinates that go with a floor.

    Attributes
    ----------
    turn : (q, q) array
        Z's columns times this have estimated G about I, or less.
    change : (p + 1, p + 1) array
        [X y] times this are columns with the span of X, orthonormal at the estimated G, and what they leave of y by
        generalised least squares, in units of about the residual sd.
    white : Whitened
    """

    turn: np.ndarray
    change: np.ndarray
    white: Whitened


@kernel
def without_floor(factor, floor):
    """A lower triangular root of factor factor' - floor floor', and whether there is one (to `SLACK`).

    Parameters
    ----------
    factor : (q, q) array
        Any root of G = D / sigma^2.
    floor : (q, k) array
        Any root of G_0.

    Returns
    -------
    (q, q) array
    bool
    """
    q, found = len(factor), True
    root = np.zeros((q, q))
    for a in range(q):
        for b in range(a + 1):
            s = 0.0
            for k in range(q):
                s += factor[a, k] * factor[b, k]
            size = s
            for k in range(floor.shape[1]):
                s -= floor[a, k] * floor[b, k]
            for k in range(b):
                s -= root[a, k] * root[b, k]
            if a == b:
                found = found and s >= -SLACK * size
                root[a, a] = np.sqrt(max(s, 0.0))
            elif root[b, b] > 0.0:
                root[a, b] = s / root[b, b]
    return root, found


def columns_of(basis: Basis, fixed: tuple[str, ...], blocks: Sequence[tuple[str, ...]]) -> np.ndarray:
    """[Z X y] in stable coordinates as combinations of E, (m + 2, q + p + 1).

    Parameters
    ----------
    basis : Basis
        Coordinates of the moments.
    fixed : tuple of str
        Names of X's columns.
    blocks : sequence of tuples of str
        Names of Z's columns in each block of random effects.

    Returns
    -------
    (m + 2, q + p + 1) array
    """
    inner = np.hstack([basis.stable(names)[0] for names in (*blocks, fixed)])
    columns = np.zeros((len(inner) + 1, inner.shape[1] + 1))
    columns[:-1, :-1], columns[-1, -1] = inner, 1.0
    return columns


def rows_of(moments: Moments, columns: np.ndarray, q: int) -> tuple[np.ndarray, np.ndarray]:
    """The first q rows of each group's triangular factor, [R_j H_j], and the Gram matrix of all that they leave.

    Parameters
    ----------
    moments : Moments
        Sufficient statistics of the rows.
    columns : (m + 2, q + p + 1) array
        From `columns_of`.
    q : int
        Columns of Z.

    Returns
    -------
    (J, q, q + p + 1), (p + 1, p + 1) arrays
    """
    own, rest = moments.heads if moments.factor is None else moments.triangular(moments.gram.shape[1])
    tops, below = turned(np.ascontiguousarray(own @ columns), q)
    return tops, (below + columns.T @ rest @ columns)[q:, q:]


def residual_square(
    moments: Moments, columns: np.ndarray, tops: np.ndarray, rest: np.ndarray
) -> tuple[float, int]:
    """What Z and X leave of y's square, and its degrees of freedom.

    Parameters
    ----------
    moments, columns, tops, rest : Moments, arrays
        Of `rows_of`, and what it returns.

    Returns
    -------
    float, int
    """
    q, p = tops.shape[1], len(rest) - 1
    size = np.diag(columns.T @ moments.total @ columns)[q:].copy()
    size[-1] = 0.0  # however little is left of y is its residual
    left = np.diag(triangles(np.ascontiguousarray(rest[None]), np.array([p + 1]), PIVOT, size[None])[0])
    used = np.count_nonzero(np.einsum("jaa->ja", tops[:, :, :q])) + np.count_nonzero(left[:p])
    return float(left[p] ** 2), moments.n_rows - int(used)


def coordinates_of(
    moments: Moments, columns: np.ndarray, blocks: Sequence[tuple[int, int]]
) -> Coordinates | None:
    """The floor of a model and the coordinates that go with it; None where random effects are not so large.

    Parameters
    ----------
    moments : Moments
        With triangular factors.
    columns : (m + 2, q + p + 1) array
        From `columns_of`.
    blocks : sequence of (start, stop)
        The blocks of random effects.

    Returns
    -------
    Coordinates or None
    """
    q, p = blocks[-1][1], columns.shape[1] - blocks[-1][1] - 1
    tops, rest = rows_of(moments, columns, q)
    square, df = residual_square(moments, columns, tops, rest)
    if df <= 0 or not square > 0.0:
        return None
    turn, floor = _reference(tops, square / df, blocks)
    if not floor.shape[1]:
        return None
    own, edge, change = tops[:, :, :q] @ turn, tops[:, :, q:], np.eye(p + 1)
    change[p, p] = 2.0 ** -round(0.5 * np.log2(square / df))
    edge, rest = edge @ change, change.T @ rest @ change
    for _ in range(2):  # the second time for what rounding left
        half = np.linalg.solve(_roots(own), edge).reshape(-1, p + 1)
        left = triangles(np.ascontiguousarray(rest[None]), np.array([p + 1]), 0.0, np.zeros((1, p + 1)))[0]
        root = np.linalg.qr(np.concatenate([half, left]), mode="r")
        less = np.eye(p + 1)
        less[:p, :p] = np.linalg.inv(root[:p, :p])
        less[:p, p] = -less[:p, :p] @ root[:p, p]
        edge, rest, change = edge @ less, less.T @ rest @ less, change @ less
    chol = _roots(own @ floor)
    half, above = np.linalg.solve(chol, own), np.linalg.solve(chol, edge)
    total = rest + np.einsum("jka,jkb->ab", above, above, optimize=True)
    gram = np.concatenate([half, above], axis=2)
    gram = np.einsum("jka,jkb->jab", half, gram, optimize=True)
    logdet = 2.0 * np.log(np.abs(np.einsum("jaa->ja", chol))).sum(axis=1)
    columns = np.hstack([columns[:, :q] @ turn, columns[:, q:] @ change])
    return Coordinates(turn, change, Whitened(pack(gram), total, floor, columns, logdet))


def whitened_groups(moments: Moments, white: Whitened) -> np.ndarray:
    """Gram matrix of [Z X y] of every group, of rows that are multiplied by roots of V_0^-1.

    Parameters
    ----------
    moments : Moments
        With the groups' whole triangular factors, those that `white` is of.
    white : Whitened
        From `coordinates_of`.

    Returns
    -------
    (J, q + p + 1, q + p + 1) array
    """
    q = len(white.floor)
    own = np.linalg.qr(moments.factor @ white.columns, mode="r")
    half = np.linalg.solve(_roots(own[:, :q, :q] @ white.floor), own[:, :q])
    rows = np.concatenate([half, own[:, q:]], axis=1)
    return np.einsum("jka,jkb->jab", rows, rows, optimize=True)


def _roots(columns: np.ndarray) -> np.ndarray:
    """Lower triangular roots of I + columns columns', (J, q, q), for (J, q, k).

    From the rows, not from the square: a large direction takes no digits from a small one.
    """
    n_groups, q, _ = columns.shape
    both = np.concatenate([np.broadcast_to(np.eye(q), (n_groups, q, q)), columns], axis=2)
    return np.linalg.qr(both.transpose(0, 2, 1), mode="r").transpose(0, 2, 1)


def _reference(
    tops: np.ndarray, sigma2: float, blocks: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """The turn of `Coordinates` and the floor behind it, from the groups' least-squares effects."""
    q = tops.shape[1]
    left, sizes, right = np.linalg.svd(tops[:, :, :q])
    # of the groups whose rows show most of every effect, since a small one has to be seen beside a large one
    good = sizes[:, -1] >= np.median(sizes[:, -1])
    inverse = 1.0 / np.maximum(sizes, 1e-6 * sizes[:, :1] + 1e-300)
    along = np.einsum("jka,jk->ja", left, tops[:, :, -1]) * inverse
    effects = np.einsum("jab,ja->jb", right, along)[good]
    covariance = np.cov(effects, rowvar=False, ddof=0).reshape(q, q) / sigma2
    turn, floor = np.eye(q), np.zeros((q, q))
    for start, stop in blocks:
        own = slice(start, stop)
        values, vectors = np.linalg.eigh(covariance[own, own])
        root = np.linalg.qr((vectors * np.sqrt(np.maximum(values, 1.0))).T, mode="r").T
        turn[own, own] = root * np.where(np.diag(root) < 0.0, -1.0, 1.0)
        large = np.where(SHARE * values > 1.0, values, 0.0)
        floor[own, own] = np.linalg.solve(turn[own, own], vectors * np.sqrt(SHARE * large))
    return turn, np.ascontiguousarray(floor[:, floor.any(axis=0)])
