"""No pooling: each group's random effects by its own least squares, from moments."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

# A direction of a group's scaled cross-products below this share of the largest is rounding, not data:
# eigenvalues carry errors of about 1e-16 times the largest, sums of some rows a little more.
RANK_TOLERANCE = 1e-11


def own_effects(moments: Any, terms: Sequence[str], fixed: Mapping[str, float]) -> pd.DataFrame:
    """Each group's random effects without pooling: its own least squares less the model's fixed part there.

    With P_j = (Z_j'Z_j)^-1 Z_j', the group's own fit is P_j y_j, the fixed part of its rows in the same columns is
    P_j X_j beta, and their difference P_j (y_j - X_j beta) is what the random effect of the group is without
    shrinkage. It is the own fit less beta only where X and Z have the same columns: a fixed effect of a
    predictor that differs between groups, or one beside it within them, belongs to the reference.

    Parameters
    ----------
    moments : Moments
    terms : sequence of str
        Z's q columns.
    fixed : mapping
        X's columns -> the model's estimates beta, in original units.

    Returns
    -------
    DataFrame
        A row for each level, a column for each term. A group whose rows do not determine its fit (fewer rows
        than terms, or one x only) has NaN in every term.
    """
    terms, basis = tuple(terms), moments.basis
    combine, back = basis.stable(terms)
    top = combine[: moments.gram.shape[1]]
    gram = moments.gram[:, : len(top)]
    rest = basis.response
    rest[:-1] -= basis.raw(tuple(fixed)) @ np.array(list(fixed.values()), float)  # y - X beta
    beta = _solve(top.T @ gram[:, :, : len(top)] @ top, gram @ rest @ top)
    levels = pd.Index(moments.levels, dtype=str, name="level")
    return pd.DataFrame(beta @ back.T, columns=list(terms), index=levels)


def _solve(zz: np.ndarray, zy: np.ndarray) -> np.ndarray:
    """Coefficients (J, q) of J normal equations; NaN where the equations are singular."""
    diagonal = np.einsum("jkk->jk", zz)
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))  # a solve then loses no digits to the units
    scaled = zz / scale[:, :, None] / scale[:, None, :]
    values = np.linalg.eigvalsh(scaled)
    determined = values[:, 0] > RANK_TOLERANCE * values[:, -1]
    beta = np.full(zy.shape, np.nan)
    beta[determined] = np.linalg.solve(scaled[determined], (zy / scale)[determined][..., None])[..., 0]
    return beta / scale
