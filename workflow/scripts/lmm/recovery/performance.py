"""Performance of engines over replicates: every measure with its Monte Carlo error, every failure counted.

A fit is *usable* if it is `ok` or `singular`: a variance estimated as 0 is a result, and leaving it out would
flatter the engine. A fit that is `non-converged`, `gate-failed`, `error` or `skipped` is not used, but counted, and
never redrawn (Pawel et al. 2024, arXiv 2409.18527). Everything is computed twice: over all usable fits of an engine,
and over the replicates that every engine managed (`common`), so that a difference between engines is not one between
data sets. An engine that was skipped in a whole design does not empty that design's common replicates.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmm.core.engines import BAYES, EXACT, LIKELIHOOD, POOLED, first
from lmm.recovery import measures as m
from lmm.recovery.grid import STATUSES, Grid, check, design_columns, fits_of, place

SUBSETS = ("usable", "common")
COLUMNS = (
    "design", "engine", "effect", "group", "term", "df", "truth", "subset", "measure", "estimate", "mcse",
    "n_used", "n_missing", "n_failed", "n_replicates", "n_needed",
)  # fmt: skip
PROPORTIONS = (
    "coverage", "bias_eliminated_coverage", "power", "type_1_error", "p_zero", "failure_rate", "singular_rate",
    "ranef_coverage",
)  # fmt: skip
PERCENTAGES = ("model_se_error", "relative_precision")
REFERENCE = (EXACT, LIKELIHOOD, BAYES, POOLED)


@dataclass(frozen=True)
class Targets:
    """Monte Carlo errors that a study should reach; `n_needed` is the number of replicates that would.

    Attributes
    ----------
    proportion : float
        Of coverage, power, failure rate, ...: 0.005 is half a percentage point.
    bias : float
        Of bias, as a share of the truth (of the relative bias as it is).
    relative : float
        Of EmpSE, ModSE, MSE, RMSE, width and the means over random effects, as a share of the estimate.
    percentage : float
        Of relative error of ModSE and relative precision, in percentage points.
    """

    proportion: float = 0.005
    bias: float = 0.01
    relative: float = 0.01
    percentage: float = 1.0


def reference_engine(engines: Iterable[str]) -> str:
    """The engine that relative precision refers to: the exact one, else the next family's, else the first."""
    engines = list(engines)
    return first(engines, *REFERENCE) or engines[0]


def performance(
    replicates: pd.DataFrame, targets: Targets | None = None, reference: str | None = None
) -> pd.DataFrame:
    """Every measure by design, engine, group and term.

    Parameters
    ----------
    replicates : DataFrame
        Columns `LONG` and the design's; a row for each term of a fit, at least one for each fit (a failed one may
        have an empty term). `effect` is fixed, ran_pars, explained, or ranef: there `term` is "<term>: rmse" and
        the like, a number for each replicate and random term.
    targets : Targets, optional
        Monte Carlo errors that `n_needed` is for.
    reference : str, optional
        Engine that relative precision refers to; `reference_engine` where it is None.

    Returns
    -------
    DataFrame
        The design's columns and `COLUMNS`. n_used replicates entered a measure; n_missing of the subset lack what
        it needs (an interval, a standard error, a correlation beside an sd of 0); n_failed fits of the engine in
        that design cannot be used; n_replicates were attempted. truth is the mean truth of the subset. A fit's own
        measures (failure_rate, singular_rate) have an empty term. What is not defined is NaN: relative
        bias at a truth of 0, everything where too few replicates are left.

    Raises
    ------
    StudyError
        If a column is missing, a status is unknown, or an engine has a key twice in a replicate.
    """
    check(replicates)
    targets = targets or Targets()
    grid = Grid(replicates)
    reference = reference or reference_engine(grid.engines)
    parts = [_of_fits(grid, targets)]
    for subset in SUBSETS:
        for (engine, effect, group, term, df), block in grid.blocks():
            keep = grid.keep(engine, subset)
            values = {name: np.where(keep, value, np.nan) for name, value in grid.dense(block).items()}
            other = None
            if effect != "ranef" and engine != reference:
                twin = grid.block(reference, effect, group, term)
                if twin is not None:
                    other = np.where(grid.keep(reference, subset), grid.dense(twin)["estimate"], np.nan)
            found = _measures(effect, term, values, other)
            name = term.rpartition(": ")[0] if effect == "ranef" else term
            key = effect, group, name, df
            parts.append(_rows(grid, targets, engine, key, subset, found, values["truth"], keep))
    table = grid.designs.reset_index(names="_design").merge(pd.concat(parts), on="design")
    table["_engine"] = table["engine"].map(place)
    table = table.sort_values(["_design", "_engine"], kind="stable", ignore_index=True)
    return table[[*grid.designs.columns, *COLUMNS[1:]]]


def failures(replicates: pd.DataFrame) -> pd.DataFrame:
    """How the fits ended: design's columns, engine, status, sampler, message, count; ok ones too, without a message.

    A message's numbers are kept; equal messages are counted together, the most frequent first.
    """
    check(replicates)
    fits = fits_of(replicates)
    for name in ("sampler", "message"):
        fits[name] = fits[name].fillna("").astype(str)
    fits["message"] = fits["message"].where(fits["status"] != "ok", "")
    keys = ["design", *design_columns(replicates), "engine", "status", "sampler", "message"]
    counted = fits.groupby(keys, sort=False, dropna=False, observed=True).size().rename("count").reset_index()
    first = {name: k for k, name in enumerate(pd.unique(replicates["design"]))}
    counted["_design"] = counted["design"].map(first)
    counted["_engine"] = counted["engine"].map(place)
    counted["_status"] = counted["status"].map(STATUSES.index)
    order = ["_design", "_engine", "_status", "count", "sampler", "message"]
    counted = counted.sort_values(order, ascending=[True, True, True, False, True, True], ignore_index=True)
    return counted.drop(columns=["_design", "_engine", "_status"])


def _measures(
    effect: str, term: str, v: dict[str, np.ndarray], other: np.ndarray | None
) -> dict[str, m.Measured]:
    """The measures that make sense for an effect."""
    e, t, s, low, high = (v[name] for name in ("estimate", "truth", "std_error", "conf_low", "conf_high"))
    if effect == "ranef":
        return {f"ranef_{term.rpartition(': ')[2]}": m.mean(e)}
    edge = 1.0 if term.startswith("cor__") else 0.0
    piled = (np.abs(e) == edge).any(axis=1) if effect == "ran_pars" else np.zeros(len(e), bool)
    found = {
        "bias": m.bias(e, t),
        "relative_bias": m.relative_bias(e, t),
        "empirical_se": m.empirical_se(e, t, piled),
        "mse": m.mse(e, t),
        "rmse": m.rmse(e, t),
        "model_se": m.model_se(s),
        "model_se_error": m.model_se_error(e, t, s, piled),
        "coverage": m.coverage(t, low, high),
        "bias_eliminated_coverage": m.bias_eliminated_coverage(e, t, low, high),
        "width": m.width(low, high),
    }
    if effect == "fixed":
        found["power"] = m.power(low, high)
        null = np.where(t == 0.0, 0.0, np.nan)
        found["type_1_error"] = m.power(low + null, high + null)
    if effect == "ran_pars" and term.startswith("sd__"):
        found["p_zero"] = m.at_zero(e)
    if other is not None:
        found["relative_precision"] = m.relative_precision(e, other, t)
    return found


def _of_fits(grid: Grid, targets: Targets) -> pd.DataFrame:
    """Failure rate, and rate of singular fits among the usable."""
    parts = []
    nothing = np.full(grid.shape, np.nan)
    for engine in grid.engines:
        there = grid.status[engine] != ""
        failed = np.where(there, ~grid.usable[engine], np.nan)
        singular = np.where(grid.usable[engine], grid.status[engine] == "singular", np.nan)
        found = {
            "failure_rate": m.proportion(failed),
            "singular_rate": m.proportion(singular),
        }
        parts.append(_rows(grid, targets, engine, ("", "", "", ""), "usable", found, nothing, there))
    return pd.concat(parts, ignore_index=True)


def _rows(
    grid: Grid, targets: Targets, engine: str, key: tuple[str, str, str, str], subset: str,
    found: dict[str, m.Measured], truth: np.ndarray, keep: np.ndarray,
) -> pd.DataFrame:  # fmt: skip
    """A row for each design and measure of one engine's term."""
    attempted = (grid.status[engine] != "").sum(axis=1)
    failed = attempted - grid.usable[engine].sum(axis=1)
    true, _, _ = m.mean(truth)
    effect, group, term, df = key
    parts = []
    for measure, (estimate, mcse, n) in found.items():
        parts.append(pd.DataFrame({
            "design": grid.designs["design"], "engine": engine, "effect": effect, "group": group,
            "term": term, "df": df, "truth": true,
            "subset": subset, "measure": measure, "estimate": estimate, "mcse": mcse, "n_used": n,
            "n_missing": keep.sum(axis=1) - n, "n_failed": failed, "n_replicates": attempted,
            "n_needed": needed(measure, estimate, mcse, n, true, targets),
        }))  # fmt: skip
    table = pd.concat(parts, ignore_index=True)
    return table[table["n_replicates"] > 0]  # an engine that a design does not have has no rows there


def needed(
    measure: str, estimate: np.ndarray, mcse: np.ndarray, n: np.ndarray, truth: np.ndarray, targets: Targets
) -> np.ndarray:
    """Replicates that the target Monte Carlo error would need, n (mcse / target)^2 rounded up.

    A proportion of exactly 0 or 1 has an MCSE of 0, which says that n is small and not that it is enough: there
    (n P + 2) / (n + 4) stands for P (Agresti & Coull 1998). NaN where there is no target: bias at a truth of 0.

    Parameters
    ----------
    measure : str
        Name of the measure.
    estimate : (designs,) array
        Its estimates.
    mcse : (designs,) array
        Their Monte Carlo standard errors.
    n : (designs,) array
        Replicates used.
    truth : (designs,) array
        Mean true values.
    targets : Targets
        Monte Carlo errors wanted.

    Returns
    -------
    (designs,) array
        Whole numbers or NaN.
    """
    if measure in PROPORTIONS:
        share = np.where((estimate <= 0) | (estimate >= 1), (n * estimate + 2) / (n + 4), estimate)
        return _upwards(share * (1 - share) / targets.proportion**2)
    target: np.ndarray | float
    if measure in PERCENTAGES:
        target = targets.percentage
    elif measure == "bias":
        target = targets.bias * np.abs(truth)
    elif measure == "relative_bias":
        target = targets.bias
    else:
        target = targets.relative * np.abs(estimate)
    target = np.broadcast_to(np.asarray(target, float), np.shape(mcse))
    share = np.divide(mcse, target, out=np.full(np.shape(mcse), np.nan), where=target > 0)
    return _upwards(n * share**2)


def _upwards(x: np.ndarray) -> np.ndarray:
    return np.ceil(x * (1 - 1e-9))  # 1900 and not 1901 for rounding's sake


def select(
    table: pd.DataFrame, measure: str, subset: str = "usable", terms: Sequence[str] | None = None
) -> pd.DataFrame:
    """The rows of a performance table that have a value of one measure.

    Parameters
    ----------
    table : DataFrame
        performance.csv.
    measure : str
        Name of the measure.
    subset : str
        Which replicates: `usable` or another subset of the table.
    terms : sequence of str or None
        The terms wanted; None: all.

    Returns
    -------
    DataFrame
        Rows of the table.
    """
    rows = table[(table["measure"] == measure) & (table["subset"] == subset) & table["estimate"].notna()]
    return rows if terms is None else rows[rows["term"].isin(terms)]
