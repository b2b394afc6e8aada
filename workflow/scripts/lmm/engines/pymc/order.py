"""Quantiles of draws, as a replicate needs them: `np.quantile` takes five times as long for a thousand draws."""

from collections.abc import Sequence

import numpy as np


def quantiles(values: np.ndarray, probs: Sequence[float]) -> np.ndarray:
    """`np.quantile` along the last axis, interpolated linearly.

    Parameters
    ----------
    values : (..., n) array
        Draws.
    probs : sequence of float
        Probabilities below the quantiles.

    Returns
    -------
    (len(probs), ...) array
        NaN where a draw is NaN.
    """
    ordered = np.sort(values, axis=-1)
    at = np.asarray(probs) * (values.shape[-1] - 1)
    below = at.astype(int)
    above = np.minimum(below + 1, values.shape[-1] - 1)
    low, high = ordered[..., below], ordered[..., above]
    found = low + (high - low) * (at - below)
    return np.moveaxis(np.where(np.isnan(ordered[..., -1:]), np.nan, found), -1, 0)
