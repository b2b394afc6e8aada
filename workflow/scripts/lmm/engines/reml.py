"""The reml engine: REML's exact optimum from moments, as a tidy `Fit`."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lmm.core import engines
from lmm.core.tidy import Diagnostics, Fit, group_of, ranef_frame, truth_of
from lmm.core.versions import versions_of
from lmm.engines.base import Fitted, Task
from lmm.inference.intervals import profile_intervals, standard_errors, variance_values
from lmm.inference.optimum import Optimum, fill, optimum
from lmm.likelihood.conditional import conditional
from lmm.likelihood.problem import Problem, problem_of
from lmm.model.terms import Terms
from lmm.moments.moments import Moments

ENGINE = "reml"


class Fitter:
    """The engine with its settings: see `lmm.engines.base.Fitter`."""

    def __init__(self, settings: Mapping[str, Any], terms: Terms):
        self.level, self.profile, self.terms = settings["conf_level"], settings["profile"], terms

    def fit(self, task: Task) -> Fitted:
        """From moments."""
        terms = self.terms
        return Fitted(fit(task.moments, terms.fixed, terms.blocks, self.level, task.truth, self.profile)[0])


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
    problem: Problem,
    best: Optimum,
    group: str,
    level: float,
    errors: np.ndarray,
    intervals: np.ndarray,
    truth: dict | None,
) -> pd.DataFrame:
    """Fixed effects with GLS standard errors and Wald intervals; variance parameters with profile intervals."""
    z = stats.norm.ppf(0.5 + level / 2)
    se = np.sqrt(np.diag(best.cov_beta))
    statistic = best.beta / se
    fixed = pd.DataFrame(
        {
            "effect": "fixed",
            "group": "",
            "term": list(problem.fixed),
            "estimate": best.beta,
            "std_error": se,
            "statistic": statistic,
            "p_value": 2.0 * stats.norm.sf(np.abs(statistic)),
            "conf_low": best.beta - z * se,
            "conf_high": best.beta + z * se,
        }
    )
    terms = problem.structure.terms
    variances = pd.DataFrame(
        {
            "effect": "ran_pars",
            "group": [group_of(term, group) for term in terms],
            "term": terms,
            "estimate": variance_values(best.root, best.sigma, problem.structure.correlations),
            "std_error": errors,
            "statistic": np.nan,
            "p_value": np.nan,
            "conf_low": intervals[:, 0],
            "conf_high": intervals[:, 1],
        }
    )
    out = pd.concat([fixed, variances], ignore_index=True)
    out.insert(0, "engine", ENGINE)
    out["truth"] = [truth_of(truth, *key) for key in zip(out["group"], out["term"], strict=True)]
    return out


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
    problem = problem_of(moments, fixed, blocks)
    best = optimum(problem)
    clock.append(time.perf_counter())
    errors = standard_errors(problem, best)
    intervals = np.full((len(errors), 2), np.nan)
    words: list[str] = []
    if profile:
        intervals, words = profile_intervals(problem, best, conf_level)
    clock.append(time.perf_counter())
    table = ranef_table(problem, best, moments, conf_level, truth) if ranef else None
    clock.append(time.perf_counter())
    if not best.certified:
        words.append("no stop of the optimiser passed the second-order test: the estimates may be off")
    status = "non-converged" if not best.certified else "singular" if best.singular else "ok"
    diagnostics = Diagnostics(
        ENGINE,
        status=status,
        message=words[-1] if words else "",
        converged=best.certified,
        singular=best.singular,
        criterion=best.criterion,
        warnings=words,
        seconds=dict(zip(("optimum", "intervals", "ranef"), np.diff(clock).tolist(), strict=True)),
        versions=versions_of(*engines.row(ENGINE).packages),
        n_rows=moments.n_rows,
        n_groups=moments.n_groups,
        conf_level=conf_level,
        intervals={"fixed": "Wald (normal), GLS standard errors", "ran_pars": "profile likelihood"},
        summary={"corr_fixed": _correlation(best.cov_beta).tolist(), "fixed_names": list(fixed)},
    )
    parameters = parameters_table(problem, best, moments.group, conf_level, errors, intervals, truth)
    return Fit(ENGINE, parameters, table, diagnostics), best


def _correlation(covariance: np.ndarray) -> np.ndarray:
    """Correlation matrix of a covariance matrix."""
    sd = np.sqrt(np.diag(covariance))
    return covariance / np.outer(sd, sd)
