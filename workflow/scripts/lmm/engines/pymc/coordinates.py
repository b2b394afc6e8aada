"""Coordinates in which automatic priors are placed: columns centred and cleared of the terms within them.

A coefficient of a term that other terms contain (the intercept of `x`, the slope of x of `x:z` or `x**2`) is a value
where these are zero, so that its size depends on where the predictors have their zero. Subtracted from each column
is therefore its least-squares fit on the columns of the terms within it; for a main effect beside an intercept that
is the mean. A shift of a predictor changes no such column, and a change of its unit only the scale of some.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lmm.likelihood.problem import Structure, roots_of
from lmm.model.terms import INTERCEPT
from lmm.moments.moments import Moments

CONSTANT = 1e-9  # of the constant's square: what columns leave of it where they make it up, as cell means do
_POWER = re.compile(r"(\w+)\*\*(\d+)")
_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*(?![\w.(]|\s*=[^=])")


class Centred(NamedTuple):
    """Columns in the coordinates of automatic priors.

    Attributes
    ----------
    matrix : (n, n) array
        Centred columns = columns @ matrix, with ones on the diagonal; so coefficients of the columns = matrix @
        coefficients of the centred columns.
    inverse : (n, n) array
    sd : (n,) array
        Standard deviation (divisor N - 1) over the rows of each centred column; 1 for the constant.
    moved : (n,) array of bool
        Whether a coefficient differs between the two: those of terms that others contain.
    constant : (n,) array
        Coefficients of the centred columns that make the constant 1 (the intercept's, each of cell means); zeros
        where none do.
    """

    matrix: np.ndarray
    inverse: np.ndarray
    sd: np.ndarray
    moved: np.ndarray
    constant: np.ndarray


def within(names: Sequence[str]) -> list[list[int]]:
    """For each column, which of the others belong to terms within its term.

    Within every term is the intercept; within `x:z` are x and z; within `I(x ** 3)` are x and `I(x ** 2)`; within
    another function of x (`np.log(x)`, `I(x * z)`) is x.

    Parameters
    ----------
    names : sequence of str
        formulaic's names of columns.

    Returns
    -------
    list of lists of positions
    """
    pieces = [frozenset(_pieces(name)) for name in names]
    known = [own | {atom for piece in own for atom in _atoms(piece)} for own in pieces]
    return [
        [
            k
            for k, name in enumerate(names)
            if k != at and names[at] != INTERCEPT and (name == INTERCEPT or pieces[k] <= known[at])
        ]
        for at in range(len(names))
    ]


def depending(names: Sequence[str]) -> tuple[str, ...]:
    """Columns whose coefficients depend on the predictors' zero: those of terms within others.

    Parameters
    ----------
    names : sequence of str
        formulaic's names of columns, of all of X or of one block of Z.

    Returns
    -------
    tuple of str
    """
    inner = {k for rows in within(names) for k in rows}
    return tuple(name for k, name in enumerate(names) if k in inner)


def _pieces(name: str) -> list[str]:
    """Factors of a column's name: `x:C(f)[T.a:b]` has x and C(f)[T.a:b]; as `_plain` writes them."""
    found, depth = [""], 0
    for sign in name:
        depth = max(0, depth + (sign in "([{") - (sign in ")]}"))
        if sign == ":" and depth == 0:
            found.append("")
        else:
            found[-1] += sign
    return [_plain(piece) for piece in found]


def _plain(piece: str) -> str:
    """A factor without I(...) and, where it is an expression, without spaces."""
    bare = piece.removeprefix("I(").removesuffix(")") if piece.startswith("I(") else piece
    return bare.replace(" ", "") if re.search(r"[*/+()-]", bare) else bare


def _atoms(piece: str) -> set[str]:
    """Factors that are within a function of a predictor: the predictor, and lower powers of a power of it."""
    if power := _POWER.fullmatch(piece):
        return {power[1], *(f"{power[1]}**{k}" for k in range(2, int(power[2])))}
    if piece.startswith("C(") or not re.search(r"[*/+()-]", piece):
        return set()
    return set(_NAME.findall(piece))


def centred(moments: Moments, names: Sequence[str]) -> Centred:
    """Columns of a model matrix in the coordinates of automatic priors.

    Parameters
    ----------
    moments : Moments
        Sufficient statistics of the rows.
    names : sequence of str
        All columns of X, or of one block of Z.
    """
    names = tuple(names)
    combine, back = moments.basis.stable(names)
    gram = combine.T @ moments.total[:-1, :-1] @ combine
    inner, below = np.eye(len(names)), within(names)
    for k, rows in enumerate(below):
        if rows:
            inner[rows, k] = -np.linalg.lstsq(gram[np.ix_(rows, rows)], gram[rows, k], rcond=None)[0]
    own = np.diag(back)
    columns = combine @ inner / own
    variance = np.maximum(np.einsum("ak,ab,bk->k", columns, moments.covariance[:-1, :-1], columns), 0.0)
    sd = np.sqrt(variance * moments.n_rows / (moments.n_rows - 1))
    ones = (combine @ inner).T @ moments.total[:-1, 0]
    constant = np.linalg.lstsq(inner.T @ gram @ inner, ones, rcond=None)[0]
    if abs(constant @ ones / moments.total[0, 0] - 1.0) > CONSTANT:
        constant = np.zeros(len(names))
    return Centred(
        matrix=back @ inner / own,
        inverse=own[:, None] * (np.linalg.inv(inner) @ np.linalg.inv(back)),
        sd=np.where(np.array([name == INTERCEPT for name in names]) | (sd == 0.0), 1.0, sd),
        moved=np.array([name in depending(names) for name in names]),
        constant=np.where(np.abs(constant) > CONSTANT, constant * own, 0.0),
    )


def transformed(structure: Structure, matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Standard deviations, correlations and sigma of u = matrix @ v, from those of v.

    Parameters
    ----------
    structure : Structure
        The random effects, and which elements of L are free.
    matrix : (q, q) array
        Blocks of the structure on its diagonal.
    values : (k, ...) array
        In the order of `Structure.terms`.

    Returns
    -------
    (k, ...) array
        Values that the matrix leaves alone are returned as they are.
    """
    moved = np.any(matrix != np.eye(len(matrix)), axis=1)
    if not moved.any():
        return values
    q, flat = len(matrix), values.reshape(len(values), -1)
    roots = matrix @ roots_of(structure, flat)[0]
    sds = np.sqrt(np.einsum("sab,sab->as", roots, roots))
    out = flat.copy()
    out[:q][moved] = sds[moved]
    for at, (k, m) in enumerate(structure.correlations):
        if moved[k] or moved[m]:
            out[q + at] = np.einsum("sb,sb->s", roots[:, k], roots[:, m]) / (sds[k] * sds[m])
    return out.reshape(values.shape)
