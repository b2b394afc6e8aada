"""Adjustment of p values and confidence intervals of several contrasts of one family."""

import numpy as np
from scipy import stats

from lmm.inference.studentized_range import quantile, survival

ADJUSTMENTS = ("tukey", "holm", "bonferroni", "none")


def adjusted_p(method: str, t: np.ndarray, df: np.ndarray, p: np.ndarray, means: int) -> np.ndarray:
    """p values adjusted for one family of contrasts.

    Parameters
    ----------
    method : str
        One of `ADJUSTMENTS`; "tukey" holds for all pairwise differences of `means` means.
    t, df, p : (k,) arrays
        Statistics, their degrees of freedom, and their unadjusted two-sided p values.
    means : int
        Number of means, for Tukey's method.

    Returns
    -------
    (k,) array
    """
    count = len(p)
    if method == "tukey":
        return survival(np.abs(t) * np.sqrt(2.0), means, df)
    if method == "bonferroni":
        return np.minimum(count * p, 1.0)
    if method == "holm":
        order = np.argsort(p, kind="stable")
        out = np.empty(count)
        out[order] = np.minimum(np.maximum.accumulate((count - np.arange(count)) * p[order]), 1.0)
        return out
    return p


def critical(method: str, level: float, df: np.ndarray, means: int) -> np.ndarray:
    """How many standard errors a confidence interval reaches, (k,); for Holm's method Bonferroni's.

    Parameters
    ----------
    method : str
        One of `ADJUSTMENTS`.
    level : float
        Of the intervals, between 0 and 1.
    df : (k,) array
        Degrees of freedom of the statistics.
    means : int
        Number of means, for Tukey's method.

    Returns
    -------
    (k,) array
    """
    if method == "tukey":
        return quantile(level, means, df) / np.sqrt(2.0)
    count = len(df) if method in ("bonferroni", "holm") else 1
    return stats.t.isf((1.0 - level) / (2.0 * count), df)
