"""Designs whose effects or errors are not normal beside the normal design that is otherwise the same.

Both draw from the same streams (`lmm.config.designs.stream_key`): their data sets have the same groups and predictors
and, where only the errors (random effects) have another shape, the same random effects (errors). Differences are
therefore paired, replicate by replicate, over those that both have a usable fit of (common random numbers; see
docs/statistics.md, section 6).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lmm.recovery import measures as m
from lmm.recovery.grid import USABLE, VALUES

SHAPES = ("random_effects", "errors")
KEYS = ["engine", "effect", "group", "term"]
COLUMNS = (
    "relative_bias_normal", "relative_bias", "relative_bias_difference", "relative_bias_difference_mcse",
    "coverage_normal", "coverage", "coverage_difference", "coverage_difference_mcse", "precision", "precision_mcse",
    "n_used",
)  # fmt: skip


def twins(designs: pd.DataFrame) -> dict[str, str]:
    """The normal design beside each other one.

    Parameters
    ----------
    designs : DataFrame
        design and its columns.

    Returns
    -------
    dict
        Key of a design to that of the design with normal effects and errors which is otherwise the same; designs
        without such a one are left out.
    """
    if not set(SHAPES) <= set(designs):
        return {}
    others = [name for name in designs if name not in ("design", *SHAPES)]
    same = [tuple(map(str, row)) for row in designs[others].itertuples(index=False)]
    normal = (designs[list(SHAPES)] == "normal").all(axis=1)
    rows = list(zip(designs["design"], same, normal, strict=True))
    home = {values: design for design, values, own in rows if own}
    return {design: home[values] for design, values, own in rows if not own and values in home}


def paired(replicates: pd.DataFrame, pairs: Mapping[str, str]) -> pd.DataFrame:
    """Differences between designs and their normal twins, with Monte Carlo standard errors of the difference.

    Parameters
    ----------
    replicates : DataFrame
        The long table of fixed effects and variance parameters, each term of a fit once.
    pairs : mapping
        As `twins` gives it.

    Returns
    -------
    DataFrame
        design, `KEYS` and `COLUMNS`: relative bias (of the truth; NaN where that is 0) and coverage of both and this
        minus normal; precision: gain over the normal design in percent; n_used replicates are of both.
    """
    usable = replicates[replicates["status"].isin(USABLE)]
    by_design = dict(list(usable.groupby("design", sort=False, observed=True)))
    rows = []
    for design, twin in pairs.items():
        if design not in by_design or twin not in by_design:
            continue
        both = by_design[design].merge(by_design[twin], on=[*KEYS, "replicate"], suffixes=("", "_normal"))
        for key, own in both.groupby(KEYS, sort=False, observed=True):
            rows.append((design, *key, *_differences(own)))
    return pd.DataFrame(rows, columns=["design", *KEYS, *COLUMNS])


def _differences(own: pd.DataFrame) -> list[float]:
    """One term's numbers, in the order of `COLUMNS`."""
    here, there = ({name: own[f"{name}{end}"].to_numpy(float) for name in VALUES} for end in ("", "_normal"))
    truth = np.where(here["truth"] == 0, np.nan, np.abs(here["truth"]))
    bias, normal_bias = ((side["estimate"] - side["truth"]) / truth for side in (here, there))
    covered, normal_covered = _covered(here), _covered(there)
    difference, error, _ = m.mean(bias - normal_bias)
    of_coverage, coverage_error, _ = m.mean(covered - normal_covered)
    precision, precision_error, _ = m.relative_precision(here["estimate"], there["estimate"], here["truth"])
    found = [
        m.mean(normal_bias)[0], m.mean(bias)[0], difference, error,
        m.mean(normal_covered)[0], m.mean(covered)[0], of_coverage, coverage_error,
        precision, precision_error, len(own),
    ]  # fmt: skip
    return [float(value) for value in found]


def _covered(side: Mapping[str, np.ndarray]) -> np.ndarray:
    """1 where the interval contains the truth, 0 where not; NaN without one."""
    inside = (side["conf_low"] <= side["truth"]) & (side["truth"] <= side["conf_high"])
    there = np.isfinite(side["conf_low"]) | np.isfinite(side["conf_high"])
    return np.where(there, inside, np.nan)


def unpaired(performance: pd.DataFrame, pairs: Mapping[str, str]) -> pd.DataFrame:
    """The same from performance measures alone, as if the designs' data sets were independent.

    Parameters
    ----------
    performance : DataFrame
        performance.csv.
    pairs : mapping
        As `twins` gives it.

    Returns
    -------
    DataFrame
        As `paired` gives it, without precision; n_used is the smaller of both designs'.
    """
    rows = performance[
        (performance["subset"] == "usable") & performance["effect"].isin(["fixed", "ran_pars"])
    ]
    found = []
    for measure in ("relative_bias", "coverage"):
        own = rows[rows["measure"] == measure].set_index(["design", *KEYS])[["estimate", "mcse", "n_used"]]
        both = own.assign(twin=own.index.get_level_values("design").map(pairs)).dropna(subset="twin")
        beside = own.reindex(
            pd.MultiIndex.from_arrays([both["twin"], *map(both.index.get_level_values, KEYS)])
        )
        normal, n_normal = beside["estimate"].to_numpy(), beside["n_used"].to_numpy()
        found.append(pd.DataFrame({
            f"{measure}_normal": normal, measure: both["estimate"],
            f"{measure}_difference": both["estimate"] - normal,
            f"{measure}_difference_mcse": np.hypot(both["mcse"], beside["mcse"].to_numpy()),
            "n_used": np.fmin(both["n_used"], n_normal),
        }, index=both.index))  # fmt: skip
    merged = found[0].drop(columns="n_used").join(found[1], how="outer").reset_index()
    return merged.assign(precision=np.nan, precision_mcse=np.nan)[["design", *KEYS, *COLUMNS]]
