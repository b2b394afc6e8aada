"""The reml engine for several grouping factors: the exact optimum from moments, as a tidy `Fit`."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from lmm.core.columns import Effects, Factor, predicted
from lmm.core.tidy import Fit
from lmm.engines.base import Fitted, Task
from lmm.engines.reml_tables import ENGINE, diagnostics_of, fixed_table, parameters_table, tested_further
from lmm.inference.degrees_of_freedom import fixed_effects
from lmm.inference.intervals import wald_intervals
from lmm.inference.several_derivatives import by_factors
from lmm.inference.several_intervals import names, profile_intervals, standard_errors, values
from lmm.inference.several_optimum import SeveralOptimum, optimum
from lmm.inference.unidentified import unidentified
from lmm.likelihood.several_conditional import conditional
from lmm.likelihood.several_problem import SeveralProblem, build
from lmm.moments.several import SeveralMoments, narrowed


def ranef_table(problem: SeveralProblem, best: SeveralOptimum, level: float, truth: dict | None) -> Effects:
    """BLUPs of all factors with prediction errors, lme4's conditional sd's and normal intervals.

    Parameters
    ----------
    problem : SeveralProblem
        The model over moments.
    best : SeveralOptimum
        Its optimum.
    level : float
        Of the intervals, between 0 and 1.
    truth : dict or None
        truth.json's content; None for own data.

    Returns
    -------
    Effects
    """
    z = special.ndtri(0.5 + level / 2)
    parts = []
    for k, given in enumerate(conditional(best.information, best.own_sigma)):
        columns = predicted(given.mean, np.sqrt(given.variance), np.sqrt(given.cond_variance), z)
        random = problem.structures[k].random
        parts.append(Factor(problem.groups[k], problem.levels[k], random, truth, columns))
    return Effects(parts)


def fitted(engine: Any, task: Task) -> Fitted:
    """What the reml engine makes of a task with several factors.

    Parameters
    ----------
    engine : reml.Fitter
        Its settings.
    task : Task
        The data set.

    Returns
    -------
    Fitted
    """
    terms, methods = engine.terms, engine.methods
    blocks = [grouping.blocks for grouping in terms.groupings]
    moments = narrowed(task.moments, [grouping.group for grouping in terms.groupings])
    found, problem, best = fit(
        moments,
        terms.fixed,
        blocks,
        engine.level,
        task.truth,
        engine.profile,
        df=methods[0],
        ml=engine.ml,
    )
    if len(methods) == 1 and task.design is None:
        return Fitted(found)
    return tested_further(engine, task, found, problem, best.beta, by_factors(problem, best))


def fit(
    moments: SeveralMoments,
    fixed: tuple[str, ...],
    blocks: Sequence[tuple[tuple[str, ...], ...]],
    conf_level: float = 0.95,
    truth: dict | None = None,
    profile: bool = True,
    ranef: bool = True,
    df: str = "satterthwaite",
    ml: bool = False,
) -> tuple[Fit, SeveralProblem, SeveralOptimum]:
    """Fit by REML or maximum likelihood from moments.

    Parameters
    ----------
    moments : SeveralMoments
        Sufficient statistics of the rows.
    fixed : tuple of str
        Names of X's columns.
    blocks : sequence
        Names of Z's columns for each factor of `moments`, a tuple for each block of correlated effects.
    conf_level : float
        Level of every interval: t for fixed effects, profile likelihood for sd's, correlations and the residual sd.
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
    Fit, SeveralProblem, SeveralOptimum

    Raises
    ------
    StudyError
        The model is too large for memory.
    """
    clock = [time.perf_counter()]
    problem = build(moments, fixed, blocks)
    best = optimum(problem, not ml)
    clock.append(time.perf_counter())
    derivatives, keys = by_factors(problem, best), names(problem)
    lost = unidentified(derivatives, problem.structures, problem.groups) if best.exact else []
    errors = standard_errors(problem, best) if not lost else np.full(len(keys), np.nan)
    estimates = values(problem, best.roots, best.sigma)
    warnings: list[str] = []
    if profile and not lost:
        intervals, warnings = profile_intervals(problem, best, conf_level)
    else:
        ends = wald_intervals(estimates, errors, [term for _, term in keys], conf_level)
        intervals = np.stack(ends, axis=-1)
    clock.append(time.perf_counter())
    table = ranef_table(problem, best, conf_level, truth) if ranef else None
    clock.append(time.perf_counter())
    tested = fixed_effects(df, best.beta, derivatives, ml)
    seconds, parameters = np.diff(clock).tolist(), len(fixed) + len(errors)
    diagnostics = diagnostics_of(
        best, fixed, moments, conf_level, warnings, seconds, parameters, ml, df, lost, profile
    )
    effects = fixed_table(fixed, tested, conf_level)
    out = parameters_table(effects, keys, estimates, errors, intervals, truth)
    return Fit(ENGINE, out, table, diagnostics), problem, best
