"""The basis in which moments are accumulated, from a pilot fit on a sample of the rows.

Scales are powers of two, so that they round nothing, and centres are near the data, so that a large shift of
y or of a predictor cancels exactly (Sterbenz) before anything is squared.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.data import finite
from lmm.data.source import Part, Source, connect
from lmm.model.terms import INTERCEPT
from lmm.moments.basis import Basis

SAMPLE_ROWS = 65_536
SAMPLE_SPANS = 16


def pilot(
    terms, y: np.ndarray, W: np.ndarray, stats: Mapping[str, tuple[float, float]] | None = None
) -> Basis:
    """Basis for a model from a sample of its rows.

    Parameters
    ----------
    terms : Terms
        Names of the columns of X and Z, and of the grouping factors.
    y : (n,) array
        Response.
    W : (n, K) array
        Model-matrix columns `terms.columns`.
    stats : dict, optional
        Mean and sd over all rows of columns for which they are known; they go before the sample's.

    Returns
    -------
    Basis
        Any basis gives the same fits; this one keeps them accurate. Its pilot fit is in the column space of
        X: without an intercept in X it has none, and columns that are Z's alone have no coefficient.
    """
    first = int(terms.columns[0] == INTERCEPT)
    names = terms.columns[first:]
    random = {name for grouping in terms.groupings for name in grouping.random}
    W = W[:, first:]
    center, spread = W.mean(axis=0), W.std(axis=0)
    for k, name in enumerate(names):
        if stats and name in stats:
            center[k], spread[k] = stats[name]
    scale = np.array([_power(s, abs(c)) for s, c in zip(spread, center, strict=True)])
    E = (W - center) / scale
    coefficients = np.zeros(len(names) + 1)
    used = [k for k, name in enumerate(names) if name in terms.fixed]
    if INTERCEPT in terms.fixed:
        start = y.mean()
        found = _least_squares(np.column_stack([np.ones(len(y)), E[:, used]]), y - start)
        coefficients[0] = start + found[0]
        coefficients[[k + 1 for k in used]] = found[1:]
    elif used:
        coefficients[[k + 1 for k in used]] = _least_squares(W[:, used] / scale[used], y)
        coefficients[0] = np.sum(coefficients[1:] * (center / scale))
    left = (y - coefficients[0]) - E @ coefficients[1:]
    y_scale = _power(float(np.sqrt(np.mean(left**2))), float(np.max(np.abs(y), initial=0.0)))
    n_random = sum(name in random for name in names)
    return Basis(tuple(names), n_random, center, scale, coefficients, y_scale)


def of_rows(terms, y: np.ndarray, W: np.ndarray) -> Basis:
    """The basis for rows in memory: `pilot` on a sample of them.

    Parameters
    ----------
    terms : Terms
        Names of the columns of X and Z, and of the grouping factor.
    y : (N,) array
        Response.
    W : (N, K) array
        Model-matrix columns `terms.columns`.

    Returns
    -------
    Basis
    """
    step = max(len(y) // SAMPLE_ROWS, 1)
    return pilot(terms, y[::step], W[::step])


def _power(spread: float, size: float) -> float:
    """The power of two nearest to a spread, or to the size where the spread is only rounding; 1 for zeros."""
    for value in (spread if spread > 1e-14 * size else 0.0, size):
        if value > 0 and math.isfinite(value):
            return 2.0 ** round(math.log2(value))
    return 1.0


def _least_squares(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Least squares; directions that a sample hardly shows get no coefficient."""
    return np.linalg.lstsq(A, b, rcond=1e-6)[0]


def sample(
    source: Source, rows: int = SAMPLE_ROWS, select: Callable[[Part], str] | None = None
) -> pd.DataFrame:
    """Some rows of a scanned source, always the same ones: the first, and others spread over the files.

    Of text files only the beginnings are read, for the rest cannot be read at an offset.

    Parameters
    ----------
    source : Source
        As `ingest.inspect` or `ingest.scan` gives it.
    rows : int
        About how many.
    select : callable, optional
        Part -> SQL of the columns wanted; the used columns in their kinds by default.

    Returns
    -------
    pd.DataFrame
    """
    if source.rows:
        total = sum(source.rows)
        spans = [Part(0, total, 0, total)] if total <= rows and len(source.rows) == 1 else []
        length = max(rows // SAMPLE_SPANS, 1)
        starts = np.cumsum([0, *source.rows])
        for k in range(0 if spans else SAMPLE_SPANS):
            row = (total - 1) * k // SAMPLE_SPANS
            file = int(np.searchsorted(starts, row, side="right")) - 1
            start = int(row - starts[file])
            spans.append(Part(file, None, start, min(start + length, source.rows[file])))
    else:
        files = sorted({len(source.files) * k // SAMPLE_SPANS for k in range(SAMPLE_SPANS)})
        spans = [Part(file, None, 0, max(rows // len(files), 1)) for file in files]
    with connect(ordered=True) as connection:
        frames = [connection.execute((select or source.typed)(span)).df() for span in spans]
    return pd.concat(frames, ignore_index=True)


def basis_of(source: Source, design, columns: Mapping[str, dict] | None = None) -> Basis:
    """The basis for a scanned source: `pilot` on a sample of its rows.

    Parameters
    ----------
    source : Source
        As `ingest.scan` or `ingest.reopen` gives it.
    design : Design
        Of the model's formula.
    columns : dict, optional
        `columns` of data.json: means and sd's over all rows.

    Returns
    -------
    Basis
    """
    y, W = finite_matrix(design, sample(source))
    plain = design.plain or {}
    stats = {
        name: (columns[column]["mean"], columns[column]["sd"])
        for name, column in plain.items()
        if columns and name != INTERCEPT and "sd" in columns[column]
    }
    return pilot(design.terms, y, W, stats)


def finite_matrix(design, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Response and columns of a batch, all finite."""
    with np.errstate(all="ignore"):
        y, W = design.matrix(frame)
    refuse_infinite(design, y, W, lambda row: frame.iloc[row].to_dict())
    return y, W


def refuse_infinite(design, y: np.ndarray, W: np.ndarray, of_row: Callable[[int], Mapping]) -> None:
    """Refuse a response or columns with a value that is not finite.

    Parameters
    ----------
    design : Design
        Of which the columns are.
    y : (n,) array
        Response.
    W : (n, K) array
        Columns.
    of_row : callable
        From a row's number to its values by column, for the message.

    Raises
    ------
    StudyError
    """
    if found := finite.first(design, y, W):
        row, term, value = found
        what = f"{term!r}: {value} in the row {dict(of_row(row))}, expected a finite number"
        raise StudyError("formula", what)
