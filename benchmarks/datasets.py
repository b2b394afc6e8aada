"""Generated data sets, as CSV files that every engine reads alike."""

from pathlib import Path

import numpy as np
import pandas as pd

COFFEE = {"fixed": (3.0, 0.5), "sd": (10.0, 1.0), "corr": 0.0, "sigma": 1.0}
USUAL = {"fixed": (1.0, 0.5), "sd": (2.0, 1.0), "corr": 0.3, "sigma": 1.5}


def generate(path: Path, rows: int, groups: int, seed: int, model: dict = USUAL) -> Path:
    """Write y, x, group of a `(x | group)` model: x normal, rows spread at random, no group without a row.

    Parameters
    ----------
    path : Path
        Destination, a CSV with all digits.
    rows, groups : int
    seed : int
    model : dict
        fixed and sd (intercept, slope), corr, sigma.

    Returns
    -------
    Path
        `path`.
    """
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.concatenate([np.arange(groups), rng.integers(groups, size=rows - groups)]))
    x = rng.standard_normal(rows)
    first, second = model["sd"]
    root = np.array([[first, 0.0], [second * model["corr"], second * np.sqrt(1 - model["corr"] ** 2)]])
    effects = rng.standard_normal((groups, 2)) @ root.T
    intercept, slope = (np.asarray(model["fixed"]) + effects[codes]).T
    y = intercept + slope * x + model["sigma"] * rng.standard_normal(rows)
    pd.DataFrame({"y": y, "x": x, "group": codes + 1}).to_csv(path, index=False)
    return path
