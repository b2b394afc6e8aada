"""Simulation-based calibration: ranks of true values among posterior draws, and whether they are uniform.

Talts et al. 2018 (arXiv 1804.06788): parameters from the prior, data from the model, a fit, the rank of the true
value among the draws; over replicates these ranks are uniform if model and sampler agree with the simulator. Ranks
of parameters alone do not notice a missing likelihood (Modrák et al. 2023, doi 10.1214/23-BA1404): quantities that
depend on the data (the log-likelihood, random effects) are ranked too.

Fits that failed are left out and counted. That does not spoil the ranks of the others: whether a fit fails depends
on the data and the sampler, not on the true value given the data, and given any data ranks are uniform.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import chi2 as chi_square

from lmm.recovery.calibration.uniformity import p_value, simultaneous
from lmm.recovery.grid import USABLE

LOG_LIKELIHOOD = "log_likelihood"  # joint log density of the data given parameters and random effects
ICC = "icc"  # intraclass correlation at predictors of 0
LEVEL = 0.99  # over all quantities together: one false alarm in a hundred studies
DRAWS = 99  # kept after thinning: 100 possible ranks
POINTS = 100  # most points at which the ECDF is held against the band
FEWEST = 50  # fewer replicates than this say nothing
BINS = 20  # of the chi-square test
COLUMNS = (
    "design", "quantity", "kind", "n", "n_failed", "n_ranks", "mean_rank", "spread", "max_deviation", "gamma",
    "p_value", "p_adjusted", "chi2", "chi2_df", "chi2_p", "ess_min", "level", "verdict", "finding",
)  # fmt: skip


def ranef_quantity(term: str, level: str) -> str:
    """Name of a group's random effect among the quantities."""
    return f"ranef__{term}__{level}"


def kind(quantity: str) -> str:
    """`data` if a quantity depends on the data beside the parameters, else `parameter`.

    Only a `data` quantity can show that the likelihood was left out.
    """
    return "data" if quantity == LOG_LIKELIHOOD or quantity.startswith("ranef__") else "parameter"


def thin_to_ess(draws: np.ndarray, ess: float, most: int = DRAWS) -> np.ndarray:
    """Draws evenly spaced along the chain, as many as are effectively independent and at most `most`.

    Parameters
    ----------
    draws : (n, ...) array
        Chains one after the other.
    ess : float
        Effective sample size, the smallest of the quantities ranked; at least one draw is kept.
    most : int
        Draws to keep, at most.

    Returns
    -------
    (keep,) array
    """
    count = int(np.clip(np.floor(ess) if np.isfinite(ess) else 1, 1, min(most, len(draws))))
    return draws[np.floor((np.arange(count) + 0.5) * len(draws) / count).astype(int)]


def rank(draws: np.ndarray, value: float, rng: np.random.Generator) -> int:
    """Number of draws below `value`, 0 to len(draws); draws equal to it fall either side at random.

    Parameters
    ----------
    draws : (n,) array
        Draws of a quantity.
    value : float
        Its value at the truth.
    rng : Generator
        For ties.

    Returns
    -------
    int
    """
    below, equal = int((draws < value).sum()), int((draws == value).sum())
    return below + int(rng.integers(equal + 1))


def rank_table(
    draws: Mapping[str, np.ndarray], values: Mapping[str, float], ess: float | Mapping[str, float],
    rng: np.random.Generator, most: int = DRAWS,
) -> pd.DataFrame:  # fmt: skip
    """Ranks of one replicate.

    Parameters
    ----------
    draws : mapping of (n,) arrays
        By quantity, chains one after the other.
    values : mapping of float
        The quantities at the values simulated from.
    ess : float or mapping of float
        Effective sample size, one for all or by quantity. A data-dependent quantity without one of its own takes
        the smallest.
    rng : Generator
        For ties.
    most : int
        Draws to keep, so that all replicates have the same number of ranks wherever ess allows.

    Returns
    -------
    DataFrame
        quantity, rank (0 to n_ranks - 1), n_ranks (draws kept + 1), ess.
    """
    least = min(ess.values()) if isinstance(ess, Mapping) else float(ess)
    rows = []
    for name, drawn in draws.items():
        mine = float(ess.get(name, least)) if isinstance(ess, Mapping) else least
        kept = thin_to_ess(np.asarray(drawn, float), mine, most)
        rows.append((name, rank(kept, float(values[name]), rng), len(kept) + 1, mine))
    return pd.DataFrame(rows, columns=["quantity", "rank", "n_ranks", "ess"])


def counts(ranks: np.ndarray, n_ranks: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points z and the number of replicates whose rank is below them.

    With one n_ranks = R the points are among k / R, where the number of ranks below k is exactly Binomial(n, k / R).
    Where R differs, (rank + U) / R with U uniform is exactly uniform, and the points are evenly spaced.

    Parameters
    ----------
    ranks : (n,) int array
        From 0 to n_ranks - 1.
    n_ranks : (n,) int array
        Number of ranks in each replicate.
    rng : Generator
        Source of the random numbers.

    Returns
    -------
    (K,) array, (K,) int array
    """
    if len(np.unique(n_ranks)) == 1:
        total = int(n_ranks[0])
        at = np.unique(np.round(np.linspace(0, total, min(total, POINTS) + 1)).astype(int))[1:-1]
        return at / total, np.searchsorted(np.sort(ranks), at, side="left")
    uniform = (ranks + rng.random(len(ranks))) / n_ranks
    z = np.arange(1, POINTS) / POINTS
    return z, np.searchsorted(np.sort(uniform), z, side="left")


def chi2(ranks: np.ndarray, n_ranks: np.ndarray) -> tuple[float, int, float]:
    """Chi-square statistic of binned ranks, degrees of freedom, p-value; NaN where expected counts are below 5.

    Parameters
    ----------
    ranks : (n,) int array
        From 0 to n_ranks - 1.
    n_ranks : (n,) int array
        Number of ranks in each replicate.

    Returns
    -------
    float, int, float
    """
    total = int(n_ranks[0])
    bins = min(BINS, total, len(ranks) // 5)
    if bins < 2 or len(np.unique(n_ranks)) > 1:
        return np.nan, 0, np.nan
    edges = np.round(np.linspace(0, total, bins + 1)).astype(int)
    expected = len(ranks) * np.diff(edges) / total
    if expected.min() < 5:
        return np.nan, 0, np.nan
    observed, _ = np.histogram(ranks, bins=edges - 0.5)
    value = float(((observed - expected) ** 2 / expected).sum())
    return value, bins - 1, float(chi_square.sf(value, bins - 1))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values: reject where they are at most alpha, and the error over all is at most alpha.

    Parameters
    ----------
    p : (k,) array
        p-values.

    Returns
    -------
    (k,) array
    """
    p = np.asarray(p, float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))), 1.0)
    return adjusted


def calibrate(ranks: pd.DataFrame, rng: np.random.Generator, level: float = LEVEL) -> pd.DataFrame:
    """A verdict for each design and quantity.

    Parameters
    ----------
    ranks : DataFrame
        design, replicate, quantity, rank, n_ranks, ess, status.
    rng : Generator
        Only where numbers of ranks differ between replicates.
    level : float
        Simultaneous over all quantities and designs of the table (Holm): the probability that a calibrated sampler
        gets no verdict against it.

    Returns
    -------
    DataFrame
        `COLUMNS`. mean_rank is 0.5 if calibrated (above: the posterior lies too low); spread is the ranks' standard
        deviation over that of uniform ranks (above 1: the posterior is too narrow); max_deviation the largest
        |ECDF - uniform|; gamma and p_value of `uniformity.p_value`; verdict `calibrated`, `not calibrated` or
        `too few`.
    """
    rows = []
    for (design, quantity), part in ranks.groupby(["design", "quantity"], sort=False, observed=True):
        used = part[part["status"].isin(USABLE)]
        row = {"design": design, "quantity": quantity, "kind": kind(quantity), "n": len(used), "level": level}
        row["n_failed"] = len(part) - len(used)
        if len(used):
            row |= _summary(used["rank"].to_numpy(int), used["n_ranks"].to_numpy(int), rng)
            row["ess_min"] = float(used["ess"].min())
        rows.append(row)
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    enough = (table["n"] >= FEWEST).to_numpy(bool)
    table["p_adjusted"] = np.nan
    table.loc[enough, "p_adjusted"] = holm(table.loc[enough, "p_value"])
    passed = table["p_adjusted"] > 1 - level
    table["verdict"] = np.where(~enough, "too few", np.where(passed, "calibrated", "not calibrated"))
    table["finding"] = [
        _finding(row.mean_rank, row.spread, row.n) if row.verdict == "not calibrated" else ""
        for row in table.itertuples()
    ]
    return table


def _summary(ranks: np.ndarray, n_ranks: np.ndarray, rng: np.random.Generator) -> dict:
    z, below = counts(ranks, n_ranks, rng)
    n = len(ranks)
    middle = (ranks + 0.5) / n_ranks
    # sd of (r + 1/2) / R for r uniform on 0..R-1
    expected = np.sqrt(np.mean((1 - 1 / n_ranks.astype(float) ** 2) / 12))
    gamma, p = p_value(below, n, z)
    value, df, chi2_p = chi2(ranks, n_ranks)
    return {
        "n_ranks": int(np.median(n_ranks)), "mean_rank": float(middle.mean()),
        "spread": float(np.sqrt(np.mean((middle - 0.5) ** 2)) / expected),
        "max_deviation": float(np.abs(below / n - z).max()), "gamma": gamma, "p_value": p,
        "chi2": value, "chi2_df": df, "chi2_p": chi2_p,
    }  # fmt: skip


def _finding(mean_rank: float, spread: float, n: int) -> str:
    """What is wrong, in words: mean and spread of the ranks beyond three of their standard errors."""
    said = []
    if abs(mean_rank - 0.5) > 3 / np.sqrt(12 * n):
        said.append("the posterior lies too " + ("low" if mean_rank > 0.5 else "high"))
    # the variance of (u - 1/2)^2 is 1/180: spread^2 has the standard error 12 / sqrt(180 n)
    if abs(spread**2 - 1) > 3 * 12 / np.sqrt(180 * n):
        said.append("the posterior is too " + ("narrow" if spread > 1 else "wide"))
    return " and ".join(said) or "the ranks are not uniform"


def ecdf(ranks: pd.DataFrame, rng: np.random.Generator, level: float = LEVEL) -> pd.DataFrame:
    """What the ECDF-difference plots show.

    Parameters
    ----------
    ranks : DataFrame
        See `calibrate`.
    rng : Generator
        Source of the random numbers.
    level : float
        See `calibrate`.

    Returns
    -------
    DataFrame
        design, quantity, z, difference (ECDF - z), low and high (95 % simultaneous band of this quantity alone),
        low_all and high_all (band at Bonferroni's share of `level`: leaving it makes the verdict `not calibrated`;
        Holm's procedure, which gives the verdict, can be stricter by a little and never milder).
    """
    parts = []
    groups = list(
        ranks[ranks["status"].isin(USABLE)].groupby(["design", "quantity"], sort=False, observed=True)
    )
    known: dict[tuple, list[np.ndarray]] = {}
    for (design, quantity), part in groups:
        z, below = counts(part["rank"].to_numpy(int), part["n_ranks"].to_numpy(int), rng)
        n = len(part)
        if (n, tuple(z)) not in known:
            single, together = simultaneous(n, z, 0.95), simultaneous(n, z, 1 - (1 - level) / len(groups))
            known[n, tuple(z)] = [edge - z for edge in (*single, *together)]
        columns = dict(zip(("low", "high", "low_all", "high_all"), known[n, tuple(z)], strict=True))
        about = {"design": design, "quantity": quantity, "z": z, "difference": below / n - z}
        parts.append(pd.DataFrame(about | columns))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
