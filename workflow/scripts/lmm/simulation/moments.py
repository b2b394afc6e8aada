"""A replicate's moments drawn from a design's moments: exact in distribution, whatever the number of rows.

Normal errors e ~ N(0, s2 I) enter the moments through their products with the columns only (docs/statistics.md,
section 9). With R_j the columns of group j that moments keep by group, E all columns, A_j = R_j'R_j and
B_j = R_j'E_j:

    t_j = R_j'e_j ~ N(0, s2 A_j),   E'e = sum_j B_j'A_j^+ t_j + r,   r ~ N(0, s2 S),   S = E'E - sum_j B_j'A_j^+ B_j,
    e'e = sum_j t_j'A_j^+ t_j + r'S^+ r + s2 chi2(N - sum_j rank A_j - rank S),

and y's moments follow by linearity from y = X beta + Z u + e. Random effects may have any distribution. Roots are
Cholesky factors: the draws then depend on the columns' order, but not on how they are centred and scaled.

The roots of A_j and S are triangular factors of the columns, and the normals behind t_j and r the errors' rows beside
them. Where groups differ by far more than their rows do, y's are kept in that form, which has digits for both
(`moments.triangular`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lmm.core.compiled import kernel
from lmm.data.levels import suffix
from lmm.moments.basis import Basis
from lmm.moments.centred import LOST
from lmm.moments.moments import Moments

# Directions of a group's columns with less than this share of their squared length count as constant; what they
# carry is then part of S, so that nothing is lost but its attribution to a group.
NOTHING = 1e-12


@dataclass(frozen=True)
class MomentsDesign:
    """What of a design the draws need, computed once for all replicates.

    Attributes
    ----------
    moments : Moments
        Of the design; its response is not used but for the basis.
    b : (J, r, m + 1) array
        B_j, of the constant and the random effects' columns in the basis; A_j is its first r columns.
    half : (J, r, m + 1) array
        The inverse of A_j's root times B_j: its transpose maps standard normals to a group's part of E'e / sigma.
    rest : (m + 1, m + 1) array
        A root of S.
    free : int
        Degrees of freedom that are left for e'e.
    """

    moments: Moments
    b: np.ndarray
    half: np.ndarray
    rest: np.ndarray
    free: int

    @property
    def a(self) -> np.ndarray:
        """A_j, (J, r, r)."""
        return self.b[:, :, : self.b.shape[1]]


@kernel
def roots(b, total, half, rest):
    """Fill `half` and `rest` of `MomentsDesign`; returns the sum of the ranks of all A_j and of S.

    Parameters
    ----------
    b : (J, r, at least m + 1) array
        B_j.
    total : (at least m + 1, at least m + 1) array
        Gram matrix of E over all rows; its upper triangle is read.
    half : (J, r, m + 1) array
        Written to; rows of columns that are combinations of those before them in their group are 0.
    rest : (m + 1, m + 1) array
        Written to, likewise.

    Returns
    -------
    int
    """
    groups, r, m1 = half.shape
    ranks = 0
    for a in range(m1):
        for c in range(a + 1):
            rest[a, c] = total[c, a]
            rest[c, a] = 0.0
        rest[a, a] = total[a, a]
    limit = 0.0
    for a in range(m1):
        limit += NOTHING * total[a, a]
    for j in range(groups):
        for k in range(r):
            pivot = b[j, k, k]
            for i in range(k):
                pivot -= half[j, i, k] * half[j, i, k]
            real = pivot > NOTHING * b[j, k, k]
            size = 1.0 / np.sqrt(pivot) if real else 0.0
            ranks += real
            for c in range(m1):
                if c < k or not real:
                    half[j, k, c] = 0.0
                    continue
                s = b[j, k, c]
                for i in range(k):
                    s -= half[j, i, k] * half[j, i, c]
                half[j, k, c] = s * size
            for a in range(m1 if real else 0):
                for c in range(a + 1):
                    rest[a, c] -= half[j, k, a] * half[j, k, c]
    for k in range(m1):
        pivot = rest[k, k]
        for i in range(k):
            pivot -= rest[k, i] * rest[k, i]
        real = pivot > limit
        ranks += real
        rest[k, k] = np.sqrt(pivot) if real else 0.0
        for a in range(k + 1, m1):
            s = rest[a, k]
            for i in range(k):
                s -= rest[a, i] * rest[k, i]
            rest[a, k] = s / rest[k, k] if real else 0.0
    return ranks


@kernel
def respond(b, half, rest, normals, left, chi2, v, sigma, groups, linear):
    """Fill the products of Z u + e with the columns that groups keep, (J, r), and with all, (m + 1,); its square.

    Parameters
    ----------
    b, half, rest : arrays
        Of `MomentsDesign`.
    normals, left : (J, r), (m + 1,) arrays
        Standard normals.
    chi2 : float
        The rest of e'e / sigma^2.
    v : (J, r) array
        Random effects on the columns that groups keep, in the basis.
    sigma : float
        Standard deviation of the errors.
    groups, linear : (J, r), (m + 1,) arrays
        Written to.

    Returns
    -------
    float
        (Z u + e)'(Z u + e).
    """
    n_groups, r, m1 = half.shape
    linear[:] = 0.0
    square = chi2
    for k in range(m1):
        if rest[k, k] > 0.0:
            square += left[k] * left[k]
            for a in range(k, m1):
                linear[a] += sigma * rest[a, k] * left[k]
    square *= sigma * sigma
    for j in range(n_groups):
        for a in range(r):
            groups[j, a] = 0.0
        for k in range(r):
            if half[j, k, k] > 0.0:
                z = sigma * normals[j, k]
                square += z * z
                for a in range(m1):
                    part = half[j, k, a] * z
                    linear[a] += part
                    if a < r:
                        groups[j, a] += part
                        square += 2.0 * v[j, a] * part
            for a in range(m1):
                part = b[j, k, a] * v[j, k]
                linear[a] += part
                if a < r:
                    groups[j, a] += part
                    square += part * v[j, a]
    return square


def prepare(moments: Moments) -> MomentsDesign:
    """A design ready for `draw`, at a cost of O(J)."""
    r, m1 = 1 + moments.basis.n_random, len(moments.basis.columns) + 1
    b = np.ascontiguousarray(moments.gram[:, :r, :m1])
    half, rest = np.empty_like(b), np.empty((m1, m1))
    ranks = roots(b, moments.total, half, rest)
    return MomentsDesign(moments, b, half, rest, moments.n_rows - ranks)


def draw(
    rng: np.random.Generator,
    design: MomentsDesign,
    fixed: Sequence[str],
    beta: np.ndarray,
    random: Sequence[str],
    effects: np.ndarray,
    sigma: float,
    same_basis: bool = False,
) -> Moments:
    """Moments of the design with a new response y = X beta + Z u + e, e ~ N(0, sigma^2).

    Parameters
    ----------
    rng : Generator
        Source of the random numbers.
    design : MomentsDesign
        From `prepare`.
    fixed : tuple of str
        Names of X's columns.
    beta : (p,) array
        Coefficients in original units.
    random : tuple of str
        Names of Z's columns.
    effects : (J, q) array
        Random effects in original units, groups as in the moments.
    sigma : float
        May be 0.
    same_basis : bool
        Keep the design's basis, so that the result can be merged with other moments in it; else y is taken
        relative to X beta, which is the more accurate.

    Returns
    -------
    Moments
        Of what fits need (not `whole`).
    """
    old = design.moments
    basis, (n_groups, r, m1) = old.basis, design.b.shape
    names = tuple(fixed)
    mean = basis.raw(names) @ np.asarray(beta, dtype=float)
    v = effects @ basis.raw(tuple(random))[:r].T
    if same_basis:
        offset = mean - basis.pilot
    else:
        offset = np.zeros(m1)
        spread = np.sqrt(sigma**2 + np.mean(v**2, axis=0).sum())
        basis = replace(basis, pilot=mean, y_scale=2.0 ** round(np.log2(spread)) if spread > 0 else 1.0)
    normals, left = rng.standard_normal((n_groups, r)), rng.standard_normal(m1)
    chi2 = rng.chisquare(design.free) if design.free > 0 else 0.0
    groups, linear = np.empty((n_groups, r)), np.empty(m1)
    made = (design.b, design.half, design.rest)
    square = respond(*made, normals, left, chi2, np.ascontiguousarray(v), float(sigma), groups, linear)
    least = float(chi2 + np.sum(left[np.diag(design.rest) > 0.0] ** 2)) * sigma**2
    if design.free > 0 and least < LOST * square:
        below = least, sigma * design.rest @ left
        return _triangular(design, offset, v + offset[:r], sigma * normals, below, basis)
    total_e = old.total[:m1, :m1]
    square += offset @ total_e @ offset + 2.0 * offset @ linear
    groups = (design.b @ offset + groups) / basis.y_scale

    gram = np.concatenate([design.b, groups[:, :, None]], axis=2)
    total = np.empty_like(old.total)
    total[:m1, :m1] = total_e
    total[:m1, -1] = total[-1, :m1] = (total_e @ offset + linear) / basis.y_scale
    total[-1, -1] = square / basis.y_scale**2
    return replace(old, gram=gram, total=total, basis=basis, factor=None, rest=None)


def _triangular(
    design: MomentsDesign,
    offset: np.ndarray,
    v: np.ndarray,
    errors: np.ndarray,
    below: tuple[float, np.ndarray],
    basis: Basis,
) -> Moments:
    """The moments of E offset + R v + e in triangular form.

    Parameters
    ----------
    design : MomentsDesign
        From `prepare`.
    offset : (m + 1,) array
        Coefficients that are the same in all groups.
    v : (J, r) array
        Of the groups' own columns R_j, in which `offset` is already.
    errors : (J, r) array
        The errors' rows beside the groups' roots.
    below : float, (m + 1,) array
        e'e and E'e of all other rows.
    basis : Basis
        Of the result.

    Returns
    -------
    Moments
    """
    old, m1 = design.moments, len(offset)
    factor = np.zeros((*v.shape, m1 + 1))
    factor[:, :, :-1] = design.half
    there = np.einsum("jkk->jk", design.half[:, :, : v.shape[1]]) > 0.0
    own = np.einsum("jka,ja->jk", design.half[:, :, : v.shape[1]], v)
    own += design.half[:, :, v.shape[1] :] @ offset[v.shape[1] :]
    factor[:, :, -1] = np.where(there, own + errors, 0.0) / basis.y_scale
    square, linear = below
    rest = np.zeros((m1 + 1, m1 + 1))
    rest[:-1, :-1] = design.rest @ design.rest.T
    along = rest[:-1, :-1] @ offset
    rest[:-1, -1] = rest[-1, :-1] = (along + linear) / basis.y_scale
    rest[-1, -1] = (square + offset @ along + 2.0 * offset @ linear) / basis.y_scale**2
    return Moments.of_factor(old.group, old.levels, old.n, factor, rest, basis, old.log_weights)


def together(first: Moments, second: Moments) -> Moments:
    """Moments of both data sets as if of different groups, those of the second renamed by `levels.suffix`.

    Parameters
    ----------
    first : Moments
        Of one data set.
    second : Moments
        Of the other, in the same basis.
    suffix : str
        Tells equal group names apart.

    Returns
    -------
    Moments

    Raises
    ------
    ValueError
        The bases differ.
    """
    if first.basis.plain() != second.basis.plain():
        raise ValueError("moments in different bases cannot be put together")
    rows = min(first.gram.shape[1], second.gram.shape[1])
    behind = suffix(first.levels)
    levels = np.array([*first.levels, *(f"{level}{behind}" for level in second.levels)], dtype=object)
    gram = np.concatenate([first.gram[:, :rows], second.gram[:, :rows]])
    n = np.concatenate([first.n, second.n])
    logs = first.log_weights + second.log_weights
    if first.factor is not None or second.factor is not None:
        factors, rests = zip(*(own.triangular(rows) for own in (first, second)), strict=True)
        factor, rest = np.concatenate(factors), rests[0] + rests[1]
        return Moments.of_factor(first.group, levels, n, factor, rest, first.basis, logs)
    return Moments(first.group, levels, n, gram, first.total + second.total, first.basis, logs)
