"""Levels of the grouping factor: text, and in one order, decided here and nowhere else.

Levels that are all whole numbers stand in the order of the numbers, others in that of their characters. Moments
are made and merged in this order, and everything that is indexed by group afterwards has theirs.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

WHOLE = r"^-?[0-9]{1,18}$"  # what an int64 surely holds
LARGEST = 10**18
# A table of all numbers between the least and the greatest ranks integers while it is no longer than that, a row.
SPREAD = 4


def in_order(levels: np.ndarray) -> np.ndarray:
    """The positions, (J,) int64, that put distinct levels, (J,) of str, into their order."""
    column = pa.array(levels, pa.string())
    keys = {"text": column}
    if pc.all(pc.match_substring_regex(column, WHOLE)).as_py():
        keys = {"number": pc.cast(column, pa.int64()), **keys}  # 7 before 07: the text decides
    found = pc.sort_indices(pa.table(keys), sort_keys=[(key, "ascending") for key in keys])
    return found.to_numpy().astype(np.int64)


def level_names(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    """A grouping factor's level in each row, (n,): a column as it is, or text such as `a:A` of several."""
    if len(columns) == 1:
        return frame[columns[0]]
    found = frame[columns[0]].astype(str)
    for name in columns[1:]:
        found = found + ":" + frame[name].astype(str)
    return found


def encode(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n,) int64 and levels (J,) of str in their order, of a grouping factor's values read as text.

    Parameters
    ----------
    values : (n,) Series, array or sequence
    """
    if not hasattr(values, "dtype"):
        values = np.asarray(values)
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iu" and len(values):
        numbers = np.asarray(values)
        low, high = int(numbers.min()), int(numbers.max())
        if low > -LARGEST and high < LARGEST:
            codes, distinct = _ranked(numbers.astype(np.int64), low, high)
            names = pc.cast(pa.array(distinct), pa.string())
            return codes, names.to_numpy(zero_copy_only=False)
    codes, distinct = pd.factorize(values, use_na_sentinel=False)
    # different values can be the same text
    same, names = pd.factorize(np.asarray(distinct).astype(str).astype(object))
    order = in_order(names)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place[same][codes], names[order]


def _ranked(numbers: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Each number's rank among the distinct ones, and these, sorted."""
    if high - low >= SPREAD * len(numbers):
        codes, distinct = pd.factorize(numbers, sort=True)
        return codes.astype(np.int64), distinct
    at = numbers - low
    seen = np.zeros(high - low + 1, dtype=bool)
    seen[at] = True
    distinct = np.flatnonzero(seen)
    rank = np.empty(len(seen), dtype=np.int64)
    rank[distinct] = np.arange(len(distinct))
    return rank[at], distinct + low


def union(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Any, Any]:
    """The levels of both, in their order, and where the levels of each are in it.

    Returns
    -------
    levels, at_a, at_b : arrays
        The last two are slices of everything where both have the same levels.
    """
    if len(a) == len(b) and (a == b).all():
        return a, slice(None), slice(None)
    both = pd.Index(a, dtype=object).union(pd.Index(b, dtype=object), sort=False)
    both = both[in_order(both.to_numpy())]
    return both.to_numpy(), both.get_indexer(a), both.get_indexer(b)


def suffix(levels: Iterable[str]) -> str:
    """What makes a new name of every level that it is put behind: an apostrophe, or as many as it takes."""
    taken, behind = set(levels), "'"
    while any(f"{level}{behind}" in taken for level in taken):
        behind += "'"
    return behind


def two_valued(about: Mapping[str, Any], rows: int) -> bool:
    """Whether a numeric column has two values only.

    Parameters
    ----------
    about : mapping
        Its entry of data.json's `columns`: min, max, mean, sd.
    rows : int
        Number of rows of the data.

    Returns
    -------
    bool
    """
    low, high, mean = about["min"], about["max"], about["mean"]
    # the largest variance of numbers in [low, high] with this mean is that of the two ends alone
    most = (mean - low) * (high - mean)
    variance = about["sd"] ** 2 * (rows - 1) / rows
    return most > 0.0 and abs(variance - most) <= 1e-9 * most
