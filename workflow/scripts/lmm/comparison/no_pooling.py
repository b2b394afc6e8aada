"""No pooling: each group's own least-squares line, from its rows or from their moments."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmm.engines.random_effects import group_gram

# A direction of a group's scaled cross-products below this share of the largest is rounding, not data:
# eigenvalues carry errors of about 1e-16 times the largest, sums of some rows a little more.
RANK_TOLERANCE = 1e-11


def group_lines(
    terms: Sequence[str], y: np.ndarray, Z: np.ndarray, codes: np.ndarray, levels: Sequence[str]
) -> pd.DataFrame:
    """Least squares within each group on its own (no pooling), from the rows.

    Parameters
    ----------
    terms : sequence of str
        Names of Z's q columns, for instance `Intercept` and `x`.
    y, Z : (N,) and (N, q) arrays
    codes : (N,) int array
        Each row's group, an index into `levels`.
    levels : sequence of str, length J

    Returns
    -------
    DataFrame
        A row for each level, a column for each term. A group whose rows do not determine its line (fewer rows
        than terms, or one x only) has NaN in every term.
    """
    # Centring and scaling over all rows keeps the cross-products' digits when an x is a year or y is far
    # from 0; without an intercept there is nothing that a shift could go into.
    shift, y_shift = np.zeros(len(terms)), 0.0
    if "Intercept" in terms:
        shift, y_shift = Z.mean(axis=0), float(y.mean())
        shift[list(terms).index("Intercept")] = 0.0
    unit = np.sqrt(np.mean((Z - shift) ** 2, axis=0))
    unit[unit == 0] = 1.0
    gram = group_gram(np.column_stack([(Z - shift) / unit, y - y_shift]), codes, len(levels))
    beta = _solve(gram[:, :-1, :-1], gram[:, :-1, -1]) / unit
    if "Intercept" in terms:
        beta[:, list(terms).index("Intercept")] += y_shift - beta @ shift
    return _lines(terms, levels, beta)


def group_lines_from_moments(terms: Sequence[str], moments: Any) -> pd.DataFrame:
    """The same lines from `Moments`, where the rows are too many to be read again.

    Parameters
    ----------
    terms : sequence of str
        Random-effects columns of the moments.
    moments : Moments

    Returns
    -------
    DataFrame
        As `group_lines`.
    """
    terms, basis = tuple(terms), moments.basis
    combine, back = basis.stable(terms)
    top = combine[: moments.gram.shape[1]]
    gram = moments.gram[:, : len(top)]
    response, pilot = basis.response, np.zeros(len(terms))
    if "Intercept" in terms:  # the pilot fit's part in these columns is added back, not fitted again
        at = [0 if term == "Intercept" else basis.columns.index(term) + 1 for term in terms]
        pilot = response[at]
        response[at] = 0.0
    beta = _solve(top.T @ gram[:, :, : len(top)] @ top, gram @ response @ top)
    return _lines(terms, moments.levels, (beta + pilot) @ back.T)


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


def _lines(terms: Sequence[str], levels: Sequence[str], beta: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(beta, columns=list(terms), index=pd.Index(levels, dtype=str, name="level"))
