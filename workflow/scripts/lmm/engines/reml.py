"""The reml engine: the exact optimum of REML or maximum likelihood from moments, as a tidy `Fit`."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from lmm.core.columns import Effects, Factor, predicted
from lmm.core.tidy import Fit, group_of
from lmm.engines import several_reml
from lmm.engines.base import Fitted, Task
from lmm.engines.reml_tables import ENGINE, diagnostics_of, fixed_table, parameters_table, tested_further
from lmm.inference.degrees_of_freedom import fixed_effects
from lmm.inference.derivatives import by_group
from lmm.inference.intervals import profile_intervals, standard_errors, variance_values, wald_intervals
from lmm.inference.optimum import Optimum, fill, optimum
from lmm.inference.unidentified import unidentified
from lmm.likelihood.conditional import conditional
from lmm.likelihood.problem import Problem, problem_of
from lmm.model.terms import Terms
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments


class Fitter:
    """The engine with its settings: see `lmm.engines.base.Fitter`."""

    def __init__(self, settings: Mapping[str, Any], terms: Terms):
        self.level, self.terms = settings["conf_level"], terms
        self.profile = settings.get("intervals") != "wald"
        df = settings.get("df", "satterthwaite")
        self.methods = [df] if isinstance(df, str) else list(df)
        self.ml = settings.get("method") == "ml"

    def fit(self, task: Task) -> Fitted:
        """From moments."""
        if isinstance(task.moments, SeveralMoments):
            return several_reml.fitted(self, task)
        model, methods = (self.terms.fixed, self.terms.blocks), self.methods
        found, best = fit(
            task.moments, *model, self.level, task.truth, self.profile, df=methods[0], ml=self.ml
        )
        if len(methods) == 1 and task.design is None:
            return Fitted(found)
        problem = problem_of(task.moments, *model, self.ml)
        return tested_further(self, task, found, problem, best.beta, by_group(problem, best))


def ranef_table(
    problem: Problem, best: Optimum, moments: Moments, level: float, truth: dict | None
) -> Effects:
    """BLUPs with prediction errors, lme4's conditional sd's and normal intervals.

    Parameters
    ----------
    problem : Problem
        The model over moments, in the kernel's coordinates.
    best : Optimum
        The optimum of the same problem.
    moments : Moments
        Sufficient statistics of the rows.
    level : float
        Of the intervals, between 0 and 1.
    truth : dict or None
        truth.json's content; None for own data.

    Returns
    -------
    Effects
    """
    sigma = best.sigma / problem.y_scale
    given = conditional(problem, fill(problem.structure, best.phi) / sigma, sigma)
    z = special.ndtri(0.5 + level / 2)
    columns = predicted(given.mean, np.sqrt(given.variance), np.sqrt(given.cond_variance), z)
    return Effects([Factor(moments.group, moments.levels, problem.structure.random, truth, columns)])


def fit(
    moments: Moments,
    fixed: tuple[str, ...],
    blocks: tuple[tuple[str, ...], ...],
    conf_level: float = 0.95,
    truth: dict | None = None,
    profile: bool = True,
    ranef: bool = True,
    df: str = "satterthwaite",
    ml: bool = False,
) -> tuple[Fit, Optimum]:
    """Fit by REML or maximum likelihood from moments.

    Parameters
    ----------
    moments : Moments
        Sufficient statistics of the rows.
    fixed : tuple of str
        Names of X's columns.
    blocks : tuple of tuple of str
        Names of Z's columns in each block of random effects.
    conf_level : float
        Level of every interval: t for fixed effects, profile likelihood or `wald_intervals` for sd's,
        correlations and the residual sd.
    truth : dict, optional
        truth.json of a simulated study.
    profile, ranef : bool
        Whether to compute profile intervals (else Wald's) and the table of random effects.
    df : str
        Degrees of freedom of fixed effects: one of `degrees_of_freedom.METHODS`.
    ml : bool
        Maximum likelihood instead of REML.

    Returns
    -------
    Fit, Optimum
    """
    clock = [time.perf_counter()]
    problem = problem_of(moments, fixed, blocks, ml)
    best = optimum(problem)
    clock.append(time.perf_counter())
    derivatives = by_group(problem, best)
    lost = unidentified(derivatives, [problem.structure])
    errors = standard_errors(problem, best) if not lost else np.full(len(problem.structure.terms), np.nan)
    estimates = variance_values(best.root, best.sigma, problem.structure.correlations)
    words: list[str] = []
    if profile and not lost:
        intervals, words = profile_intervals(problem, best, conf_level)
    else:
        intervals = np.stack(wald_intervals(estimates, errors, problem.structure.terms, conf_level), axis=-1)
    clock.append(time.perf_counter())
    table = ranef_table(problem, best, moments, conf_level, truth) if ranef else None
    clock.append(time.perf_counter())
    tested = fixed_effects(df, best.beta, derivatives, ml)
    seconds, parameters = np.diff(clock).tolist(), len(fixed) + len(errors)
    diagnostics = diagnostics_of(
        best, fixed, moments, conf_level, words, seconds, parameters, ml, df, lost, profile
    )
    keys = [(group_of(term, moments.group), term) for term in problem.structure.terms]
    effects = fixed_table(fixed, tested, conf_level)
    out = parameters_table(effects, keys, estimates, errors, intervals, truth)
    return Fit(ENGINE, out, table, diagnostics), best
