"""The reml engine: REML's exact optimum from moments, as a tidy `Fit`."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lmm.core.tidy import Fit, group_of, ranef_frame
from lmm.engines import several_reml
from lmm.engines.base import Fitted, Task
from lmm.engines.reml_tables import ENGINE, diagnostics_of, parameters_table
from lmm.inference.intervals import profile_intervals, standard_errors, variance_values
from lmm.inference.optimum import Optimum, fill, optimum
from lmm.likelihood.conditional import conditional
from lmm.likelihood.problem import Problem, problem_of
from lmm.model.terms import Terms
from lmm.moments.moments import Moments


class Fitter:
    """The engine with its settings: see `lmm.engines.base.Fitter`."""

    def __init__(self, settings: Mapping[str, Any], terms: Terms):
        self.level, self.profile, self.terms = settings["conf_level"], settings["profile"], terms

    def fit(self, task: Task) -> Fitted:
        """From moments."""
        terms = self.terms
        if terms.several:
            blocks = [grouping.blocks for grouping in terms.groupings]
            found, _ = several_reml.fit(
                task.moments, terms.fixed, blocks, self.level, task.truth, self.profile
            )
            return Fitted(found)
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
    diagnostics = diagnostics_of(
        best, fixed, moments.n_rows, moments.n_groups, conf_level, words, np.diff(clock).tolist()
    )
    keys = [(group_of(term, moments.group), term) for term in problem.structure.terms]
    estimates = variance_values(best.root, best.sigma, problem.structure.correlations)
    parameters = parameters_table(best, fixed, keys, estimates, conf_level, errors, intervals, truth)
    return Fit(ENGINE, parameters, table, diagnostics), best
