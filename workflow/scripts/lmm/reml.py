"""The reml engine: REML's exact optimum from moments, as a tidy `Fit`."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lmm.conditional import conditional
from lmm.intervals import profile_intervals, standard_errors, variance_values
from lmm.moments import Moments
from lmm.optimum import Optimum, fill, optimum
from lmm.problem import Problem
from lmm.tidy import RESIDUAL, Fit, ranef_frame, truth_of
from lmm.versions import versions_of

ENGINE = "reml"


def ranef_table(
    problem: Problem, best: Optimum, moments: Moments, level: float, truth: dict | None
) -> pd.DataFrame:
    """BLUPs with prediction errors, lme4's conditional sd's and normal intervals (tidy RANEF columns)."""
    sigma = best.sigma / problem.y_scale
    given = conditional(problem, fill(problem.structure, best.phi) / sigma, sigma)
    z = stats.norm.ppf(0.5 + level / 2)
    std_error = np.sqrt(given.variance)
    return ranef_frame(
        moments.group,
        moments.levels,
        problem.structure.random,
        truth,
        estimate=given.mean,
        std_error=std_error,
        cond_sd=np.sqrt(given.cond_variance),
        conf_low=given.mean - z * std_error,
        conf_high=given.mean + z * std_error,
    )


def parameters_table(
    best: Any,
    fixed: tuple[str, ...],
    keys: Sequence[tuple[str, str]],
    estimates: np.ndarray,
    level: float,
    errors: np.ndarray,
    intervals: np.ndarray,
    truth: dict | None,
) -> pd.DataFrame:
    """Fixed effects with GLS standard errors and Wald intervals; variance parameters with profile intervals.

    Parameters
    ----------
    best : Optimum or SeveralOptimum
    fixed : tuple of str
    keys : sequence of (group, term)
        Of the variance parameters; their estimates, errors and intervals are in this order.
    estimates, errors : (n,) arrays
    level : float
        Confidence level.
    intervals : (n, 2) array
    truth : dict or None
        truth.json of a simulated study.
    """
    z = stats.norm.ppf(0.5 + level / 2)
    se = np.sqrt(np.diag(best.cov_beta))
    statistic = best.beta / se
    effects = pd.DataFrame(
        {
            "effect": "fixed",
            "group": "",
            "term": list(fixed),
            "estimate": best.beta,
            "std_error": se,
            "statistic": statistic,
            "p_value": 2.0 * stats.norm.sf(np.abs(statistic)),
            "conf_low": best.beta - z * se,
            "conf_high": best.beta + z * se,
        }
    )
    variances = pd.DataFrame(
        {
            "effect": "ran_pars",
            "group": [group for group, _ in keys],
            "term": [term for _, term in keys],
            "estimate": estimates,
            "std_error": errors,
            "statistic": np.nan,
            "p_value": np.nan,
            "conf_low": intervals[:, 0],
            "conf_high": intervals[:, 1],
        }
    )
    out = pd.concat([effects, variances], ignore_index=True)
    out.insert(0, "engine", ENGINE)
    out["truth"] = [truth_of(truth, term) for term in out["term"]]
    return out


def diagnostics_of(
    best: Any,
    fixed: tuple[str, ...],
    n_rows: int,
    n_groups: Any,
    level: float,
    warnings: list[str],
    seconds: Sequence[float],
) -> dict[str, Any]:
    """The content of diagnostics.json.

    Parameters
    ----------
    best : Optimum or SeveralOptimum
    fixed : tuple of str
    n_rows : int
    n_groups : int or dict of str to int
        By factor where there are several.
    level : float
        Confidence level.
    warnings : list of str
    seconds : sequence of float
        Of the optimum, the intervals and the random effects.
    """
    warnings = list(warnings)
    if not best.certified:
        warnings.append("no stop of the optimiser passed the second-order test: the estimates may be off")
    return {
        "engine": ENGINE,
        "converged": best.certified,
        "singular": best.singular,
        "status": "non-converged" if not best.certified else "singular" if best.singular else "ok",
        "message": warnings[-1] if warnings else "",
        "criterion": best.criterion,
        "gates": [],
        "warnings": warnings,
        "seconds": dict(zip(("optimum", "intervals", "ranef"), seconds, strict=True)),
        "versions": versions_of("numpy", "numba", "scipy"),
        "n_rows": n_rows,
        "n_groups": n_groups,
        "conf_level": level,
        "intervals": {"fixed": "Wald (normal), GLS standard errors", "ran_pars": "profile likelihood"},
        "summary": {"corr_fixed": _correlation(best.cov_beta).tolist(), "fixed_names": list(fixed)},
    }


def fit(
    moments: Moments,
    fixed: tuple[str, ...],
    blocks: tuple[tuple[str, ...], ...],
    conf_level: float = 0.95,
    truth: dict | None = None,
    profile: bool = True,
    ranef: bool = True,
) -> tuple[Fit, Optimum]:
    """Fit by REML from moments.

    Parameters
    ----------
    moments : Moments
    fixed, blocks : names of X's columns, and of Z's columns in each block of random effects
    conf_level : float
        Level of every interval: Wald (normal) for fixed effects, profile likelihood for sd's, correlations and
        the residual sd.
    truth : dict, optional
        truth.json of a simulated study.
    profile, ranef : bool
        Whether to compute profile intervals and the table of random effects.

    Returns
    -------
    Fit, Optimum
    """
    clock = [time.perf_counter()]
    problem = moments.problem(fixed, blocks)
    best = optimum(problem)
    clock.append(time.perf_counter())
    errors = standard_errors(problem, best)
    intervals, words = np.full((len(errors), 2), np.nan), []
    if profile:
        intervals, words = profile_intervals(problem, best, conf_level)
    clock.append(time.perf_counter())
    table = ranef_table(problem, best, moments, conf_level, truth) if ranef else None
    clock.append(time.perf_counter())
    diagnostics = diagnostics_of(
        best, fixed, moments.n_rows, moments.n_groups, conf_level, words, np.diff(clock).tolist()
    )
    terms = problem.structure.terms
    keys = [("Residual" if term == RESIDUAL else moments.group, term) for term in terms]
    estimates = variance_values(best.root, best.sigma, problem.structure.correlations)
    parameters = parameters_table(best, fixed, keys, estimates, conf_level, errors, intervals, truth)
    return Fit(ENGINE, parameters, table, diagnostics), best


def _correlation(covariance: np.ndarray) -> np.ndarray:
    """Correlation matrix of a covariance matrix."""
    sd = np.sqrt(np.diag(covariance))
    return covariance / np.outer(sd, sd)
