"""A replicate's moments drawn from a design's moments: exact in distribution, whatever the number of rows.

Normal errors e ~ N(0, s2 I) enter the moments through their products with the columns only (docs/statistics.md,
section 9). With R_j the columns of group j that moments keep by group, E all columns, A_j = R_j'R_j and
B_j = R_j'E_j:

    t_j = R_j'e_j ~ N(0, s2 A_j),   E'e = sum_j B_j'A_j^+ t_j + r,   r ~ N(0, s2 S),   S = E'E - sum_j B_j'A_j^+ B_j,
    e'e = sum_j t_j'A_j^+ t_j + r'S^+ r + s2 chi2(N - sum_j rank A_j - rank S),

and y's moments follow by linearity from y = X beta + Z u + e. Random effects may have any distribution.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lmm.data.levels import suffix
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
    a : (J, r, r) array
        A_j, of the constant and the random effects' columns in the basis.
    b : (J, r, m + 1) array
        B_j.
    half : (J, m + 1, r) array
        B_j'A_j^+ times a root of A_j: maps standard normals to a group's part of E'e / sigma.
    ranks : (J,) array of int
        Ranks of A_j.
    rest : (m + 1, m + 1) array
        A root of S.
    rest_rank : int
    """

    moments: Moments
    a: np.ndarray
    b: np.ndarray
    half: np.ndarray
    ranks: np.ndarray
    rest: np.ndarray
    rest_rank: int


def prepare(moments: Moments) -> MomentsDesign:
    """A design ready for `draw`, at a cost of O(J)."""
    r, m1 = 1 + moments.basis.n_random, len(moments.basis.columns) + 1
    a, b = moments.gram[:, :r, :r], moments.gram[:, :r, :m1]
    values, vectors = np.linalg.eigh(a)
    kept = values > NOTHING * np.maximum(values[:, -1:], 1e-300)
    inverse = np.where(kept, 1.0 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    half = b.transpose(0, 2, 1) @ (vectors * inverse[:, None, :])
    total = moments.total[:m1, :m1]
    schur = total - np.einsum("jak,jbk->ab", half, half, optimize=True)
    spread, axes = np.linalg.eigh(schur)
    real = spread > NOTHING * np.trace(total)
    root = axes * np.sqrt(np.where(real, spread, 0.0))
    return MomentsDesign(moments, a, b, half, kept.sum(axis=1), root, int(real.sum()))


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
    normals = rng.standard_normal((n_groups, r))
    mine = np.arange(r) >= r - design.ranks[:, None]  # eigenvalues ascend: the null directions come first
    normals *= mine
    left = rng.standard_normal(m1)
    free = old.n_rows - int(design.ranks.sum()) - design.rest_rank
    chi2 = rng.chisquare(free) if free > 0 else 0.0
    noise = sigma * np.einsum("jak,jk->ja", design.half[:, :r], normals)  # R_j'e_j
    total_noise = sigma * (np.einsum("jak,jk->a", design.half, normals, optimize=True) + design.rest @ left)
    real = np.any(design.rest != 0.0, axis=0)
    noise_noise = sigma**2 * (np.sum(normals**2) + np.sum(left[real] ** 2) + chi2)

    groups = (design.b @ offset + np.einsum("jab,jb->ja", design.a, v) + noise) / basis.y_scale
    linear = np.einsum("jra,jr->a", design.b, v, optimize=True) + total_noise  # E'(Z u + e)
    total_e = old.total[:m1, :m1]
    square = offset @ total_e @ offset + 2.0 * offset @ linear + noise_noise
    square += np.einsum("ja,jab,jb->", v, design.a, v, optimize=True) + 2.0 * np.einsum("ja,ja->", v, noise)

    gram = np.concatenate([design.b, groups[:, :, None]], axis=2)
    total = np.empty_like(old.total)
    total[:m1, :m1] = total_e
    total[:m1, -1] = total[-1, :m1] = (total_e @ offset + linear) / basis.y_scale
    total[-1, -1] = square / basis.y_scale**2
    return replace(old, gram=gram, total=total, basis=basis)


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
    return Moments(first.group, levels, n, gram, first.total + second.total, first.basis, logs)
