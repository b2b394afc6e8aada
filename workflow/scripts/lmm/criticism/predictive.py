"""Predictive checks in moment space: replicated data as their moments, compared with the data by statistics.

A replicate is drawn exactly and without rows (`simulate_moments`): parameters, random effects of new groups in the
same design, errors. Its statistics are those that moments hold. Those that the model has a parameter for (sd's)
check little on their own; skewness, extremes, unequal residuals and the correlation of means and slopes look at
what the model assumes (docs/statistics.md, section 14).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from lmm.moments.moments import Moments
from lmm.simulation.moments import NOTHING, MomentsDesign, draw, prepare

REPLICATES = 500
WORK = 2_000_000  # groups x replicates at most ...
FEWEST = 100  # ... but so many replicates, up to the limit of groups that `criticism` sets
DRAWS = ["kind", "statistic", "replicate", "value"]
SUMMARY = [
    "statistic",
    "observed",
    "mean",
    "low",
    "high",
    "p_value",
    "mcse",
    "prior_low",
    "prior_high",
    "prior_p",
]


class Parameters(NamedTuple):
    """Sets of parameters: (R, p), (R, q, q), (R,) arrays in original units, D = root root'."""

    beta: np.ndarray
    roots: np.ndarray
    sigmas: np.ndarray


def statistics(moments: Moments) -> dict[str, float]:
    """Statistics of the response, in its units; slopes in those of the response over the predictor.

    Group means; within-group variance with divisor N - J; for each column that varies within groups and is kept by
    group, each group's own least-squares slope, weighted by the column's sum of squares in the group. Rows count with
    their precision weights. A statistic that the design does not allow is left out.
    """
    basis, n = moments.basis, moments.gram[:, 0, 0]
    response = basis.response.copy()
    response[0] = 0.0  # about the pilot's constant: a shift of y then costs no digits
    sums = moments.gram @ response  # R_j'(y_j - constant)
    means = sums[:, 0] / n
    square = response @ moments.total @ response
    found = {"sd_y": moments.y_sd, "sd_means": float(np.std(means, ddof=1))}
    if moments.n_rows > len(n):
        within = max(square - n @ means**2, 0.0)
        found["sd_within"] = float(np.sqrt(within / (moments.n_rows - len(n))))
    found["lowest_mean"] = float(means.min() + basis.response[0])
    found["highest_mean"] = float(means.max() + basis.response[0])
    if len(n) > 2 and found["sd_means"] > 0:
        found["skewness_means"] = float(np.mean((means - means.mean()) ** 3) / np.std(means) ** 3)
    for k, name in enumerate(basis.columns[: basis.n_random], start=1):
        spread = moments.gram[:, k, k] - moments.gram[:, 0, k] ** 2 / n
        varies = spread > 1e-9 * np.maximum(moments.gram[:, k, k], 1e-300)
        if varies.sum() < 3:
            continue
        weight = spread[varies] / spread[varies].sum()
        slope = (sums[:, k] - moments.gram[:, 0, k] * means)[varies] / spread[varies] / basis.scale[k - 1]
        away, off = slope - weight @ slope, means[varies] - weight @ means[varies]
        size = np.sqrt(weight @ away**2)
        found[f"sd_slopes:{name}"] = float(size)
        if size > 0 and np.any(off != 0):
            found[f"cor_mean_slope:{name}"] = float(weight @ (away * off) / (size * np.sqrt(weight @ off**2)))
    return found


def residual_inequality(moments: Moments) -> tuple[float, np.ndarray]:
    """Coefficient of variation of the groups' residual variances, and their degrees of freedom.

    Each group's residual sum of squares is that of its own regression on all columns, sigma^2 chi^2(df_j) under the
    model whatever else is true of it, so that the statistic's distribution has no parameter.

    Returns
    -------
    float
        sqrt(sum df_j (s2_j / s2 - 1)^2 / sum df_j); NaN where no two groups have rows to spare, or none is kept.
    (groups with df_j > 0,) array
        df_j.
    """
    if not moments.whole:
        return np.nan, np.zeros(0)
    columns, response = moments.gram[:, :-1, :-1], moments.gram[:, :-1, -1]
    values, vectors = np.linalg.eigh(columns)
    kept = values > NOTHING * np.maximum(values[:, -1:], 1e-300)
    along = np.einsum("jak,ja->jk", vectors, response) ** 2
    explained = np.where(kept, along / np.where(kept, values, 1.0), 0.0).sum(axis=1)
    rss = np.maximum(moments.gram[:, -1, -1] - explained, 0.0)
    df = moments.n - kept.sum(axis=1)
    usable = df > 0
    if usable.sum() < 2 or not rss[usable].sum() > 0.0:
        return np.nan, np.zeros(0)
    return float(_inequality(rss[usable], df[usable])), df[usable]


def _inequality(rss: np.ndarray, df: np.ndarray) -> np.ndarray:
    """See `residual_inequality`; leading axes of `rss` are replicates."""
    pooled = rss.sum(axis=-1, keepdims=True) / df.sum()
    return np.sqrt(np.sum(df * (rss / df / pooled - 1.0) ** 2, axis=-1) / df.sum())


def replicates(n_groups: int, most: int = REPLICATES) -> int:
    """How many data sets are replicated."""
    return int(min(most, max(FEWEST, WORK // max(n_groups, 1))))


def replicate(
    rng: np.random.Generator,
    design: MomentsDesign,
    fixed: tuple[str, ...],
    random: tuple[str, ...],
    parameters: Parameters,
) -> dict[str, np.ndarray]:
    """Statistics of one replicated data set a set of parameters: statistic -> (R,) array.

    Parameters
    ----------
    rng : Generator
        Source of the random numbers.
    design : MomentsDesign
        From `simulation.moments.prepare`.
    fixed : tuple of str
        Names of X's columns.
    random : tuple of str
        Names of Z's columns.
    parameters : Parameters
        R sets of parameters: one data set is drawn for each.

    Returns
    -------
    dict
        Statistic to (R,) array.
    """
    n_groups, q = design.moments.n_groups, len(random)
    found = []
    for beta, root, sigma in zip(*parameters, strict=True):
        effects = rng.standard_normal((n_groups, q)) @ root.T
        found.append(statistics(draw(rng, design, fixed, beta, random, effects, float(sigma))))
    return joined(found)


def joined(found: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """Statistics that all R data sets have: statistic -> (R,) array."""
    names = [name for name in found[0] if all(name in one for one in found)]
    return {name: np.array([one[name] for one in found]) for name in names}


def check(
    moments: Moments,
    fixed: tuple[str, ...],
    random: tuple[str, ...],
    posterior: Parameters,
    prior: Parameters | None,
    rngs: Mapping[str, np.random.Generator],
    level: float,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Posterior and, where there are draws from it, prior predictive checks.

    Parameters
    ----------
    moments : Moments
        The observed data's.
    fixed : tuple of str
        Names of X's columns.
    random : tuple of str
        Names of Z's columns.
    posterior, prior : Parameters
        A data set is replicated for each set.
    rngs : mapping
        Generators `posterior` and `prior`.
    level : float
        Of the central intervals.

    Returns
    -------
    summary : DataFrame
        Columns `SUMMARY`: the observed value; mean, central interval of the replicates, p_value = share of the
        replicates that are at least as large (ties count half) with its Monte Carlo error; the same of the prior.
    draws : DataFrame
        Columns `DRAWS`: every replicate's value; kind is `posterior` or `prior`.

    References
    ----------
    Gelman, Meng & Stern 1996 (Statist. Sinica 6); Gabry et al. 2019 (JRSS A 182) for the prior's.
    """
    design, observed = prepare(moments), statistics(moments)
    unequal, df = residual_inequality(moments)
    values = {}
    for kind, own in (("posterior", posterior), ("prior", prior)):
        if own is None:
            continue
        rng = rngs[kind]
        values[kind] = replicate(rng, design, fixed, random, own)
        if np.isfinite(unequal):
            chi2 = np.stack([rng.chisquare(df) for _ in own.sigmas])
            values[kind]["unequal_residuals"] = _inequality(chi2, df)
    if np.isfinite(unequal):
        observed["unequal_residuals"] = unequal
    return compared(observed, values, level)


def compared(
    observed: Mapping[str, float], values: Mapping[str, Mapping[str, np.ndarray]], level: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Observed statistics against those of replicated data.

    Parameters
    ----------
    observed : mapping
        Statistic to value.
    values : mapping
        posterior and, where it is proper, prior: statistic to (R,) array.
    level : float
        Of the central intervals.

    Returns
    -------
    summary, draws : DataFrame
        See `check`.
    """
    tails = [0.5 - level / 2, 0.5 + level / 2]
    rows = []
    for name, value in observed.items():
        if name not in values["posterior"]:
            continue
        drawn = values["posterior"][name]
        p = np.mean(drawn > value) + 0.5 * np.mean(drawn == value)
        row = [name, value, drawn.mean(), *np.quantile(drawn, tails), p, np.sqrt(p * (1 - p) / len(drawn))]
        before = values.get("prior", {}).get(name)
        if before is None:
            row += [np.nan] * 3
        else:
            row += [*np.quantile(before, tails), np.mean(before > value) + 0.5 * np.mean(before == value)]
        rows.append(row)
    long = [
        pd.DataFrame({"kind": kind, "statistic": name, "replicate": np.arange(len(drawn)), "value": drawn})
        for kind, own in values.items()
        for name, drawn in own.items()
    ]
    return pd.DataFrame(rows, columns=SUMMARY), pd.concat(long, ignore_index=True)[DRAWS]
