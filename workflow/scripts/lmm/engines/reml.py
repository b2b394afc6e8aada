"""The reml engine: the exact optimum of REML or maximum likelihood from moments, as a tidy `Fit`."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lmm.core import engines
from lmm.core.store import write_table
from lmm.core.tidy import Diagnostics, Fit, group_of, ranef_frame, truth_of
from lmm.core.versions import versions_of
from lmm.engines.base import Fitted, Task
from lmm.inference.degrees_of_freedom import FixedEffects, fixed_effects, p_of
from lmm.inference.derivatives import by_group
from lmm.inference.hypotheses import TYPES, contrasts, terms_of
from lmm.inference.intervals import profile_intervals, standard_errors, variance_values
from lmm.inference.optimum import Optimum, fill, optimum
from lmm.likelihood.conditional import conditional
from lmm.likelihood.problem import Problem, problem_of
from lmm.model.design import Design
from lmm.model.terms import Terms
from lmm.moments.moments import Moments

ENGINE = "reml"
INTERVALS = {
    "satterthwaite": "t, Satterthwaite's degrees of freedom (at a singular fit: of the model without the null "
    "directions of D), GLS standard errors",
    "kenward-roger": "t, Kenward and Roger's degrees of freedom and standard errors",
    "normal": "Wald (normal), GLS standard errors",
}


class Fitter:
    """The engine with its settings: see `lmm.engines.base.Fitter`."""

    def __init__(self, settings: Mapping[str, Any], terms: Terms):
        self.level, self.profile, self.terms = settings["conf_level"], settings["profile"], terms
        df = settings.get("df", "satterthwaite")
        self.methods = [df] if isinstance(df, str) else list(df)
        self.ml = settings.get("method") == "ml"

    def fit(self, task: Task) -> Fitted:
        """From moments."""
        model, methods = (self.terms.fixed, self.terms.blocks), self.methods
        found, best = fit(
            task.moments, *model, self.level, task.truth, self.profile, df=methods[0], ml=self.ml
        )
        further, artifacts = {}, {}
        if len(methods) > 1 or task.design is not None:
            problem = problem_of(task.moments, *model, self.ml)
        for method in methods[1:]:
            further[method] = fixed_table(model[0], tested_by(method, problem, best), self.level)
        if task.design is not None:
            tests = f_tests(problem, best, task.design(), methods[0])
            artifacts["tests"] = partial(write_table, table=tests)
        return Fitted(found, artifacts, further=further)


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
    tested: FixedEffects,
    truth: dict | None,
) -> pd.DataFrame:
    """Fixed effects with t statistics and intervals; variance parameters with profile intervals."""
    fixed = fixed_table(problem.fixed, tested, level)
    terms = problem.structure.terms
    variances = pd.DataFrame(
        {
            "effect": "ran_pars",
            "group": [group_of(term, group) for term in terms],
            "term": terms,
            "estimate": variance_values(best.root, best.sigma, problem.structure.correlations),
            "std_error": errors,
            "statistic": np.nan,
            "df": np.nan,
            "p_value": np.nan,
            "conf_low": intervals[:, 0],
            "conf_high": intervals[:, 1],
        }
    )
    out = pd.concat([fixed, variances], ignore_index=True)
    out.insert(0, "engine", ENGINE)
    out["truth"] = [truth_of(truth, *key) for key in zip(out["group"], out["term"], strict=True)]
    return out


def fixed_table(names: tuple[str, ...], tested: FixedEffects, level: float) -> pd.DataFrame:
    """Tidy rows of fixed effects by one method of degrees of freedom."""
    eye = np.eye(len(names))
    se, df = tested.std_error(eye), tested.df(eye)
    statistic, reach = tested.beta / se, stats.t.ppf(0.5 + level / 2, df) * se
    return pd.DataFrame(
        {
            "effect": "fixed",
            "group": "",
            "term": list(names),
            "estimate": tested.beta,
            "std_error": se,
            "statistic": statistic,
            "df": df,
            "p_value": 2.0 * stats.t.sf(np.abs(statistic), df),
            "conf_low": tested.beta - reach,
            "conf_high": tested.beta + reach,
        }
    )


def tested_by(method: str, problem: Problem, best: Optimum) -> FixedEffects:
    """The fixed effects of an optimum with degrees of freedom by one of `METHODS`."""
    return fixed_effects(method, best.beta, by_group(problem, best), problem.ml)


def f_tests(problem: Problem, best: Optimum, design: Design, method: str) -> pd.DataFrame:
    """F tests of the terms of the fixed effects, of types III, II and I: tests.csv."""
    tested, terms = tested_by(method, problem, best), terms_of(design)
    rows = []
    for kind in TYPES:
        matrices = contrasts(terms, kind, problem.total[:-1, :-1], problem.x_map)
        for term, matrix in matrices.items():
            test = tested.test(matrix)
            rows.append((term, kind, *test, p_of(test)))
    return pd.DataFrame(rows, columns=["term", "type", "num_df", "den_df", "F", "p_value"])


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
    fixed, blocks : names of X's columns, and of Z's columns in each block of random effects
    conf_level : float
        Level of every interval: t for fixed effects, profile likelihood for sd's, correlations and the residual
        sd.
    truth : dict, optional
        truth.json of a simulated study.
    profile, ranef : bool
        Whether to compute profile intervals and the table of random effects.
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
    errors = standard_errors(problem, best)
    intervals = np.full((len(errors), 2), np.nan)
    words: list[str] = []
    if profile:
        intervals, words = profile_intervals(problem, best, conf_level)
    clock.append(time.perf_counter())
    table = ranef_table(problem, best, moments, conf_level, truth) if ranef else None
    clock.append(time.perf_counter())
    tested = tested_by(df, problem, best)
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
        method="ML" if ml else "REML",
        df=df,
        **information_criteria(best.criterion, len(fixed) + len(errors), moments.n_rows),
        intervals={"fixed": INTERVALS[df], "ran_pars": "profile likelihood"},
        summary={"corr_fixed": _correlation(best.cov_beta).tolist(), "fixed_names": list(fixed)},
    )
    parameters = parameters_table(problem, best, moments.group, conf_level, errors, intervals, tested, truth)
    return Fit(ENGINE, parameters, table, diagnostics), best


def information_criteria(criterion: float, parameters: int, rows: int) -> dict[str, Any]:
    """Log likelihood, AIC and BIC with lme4's counts: fixed effects, elements of D, sigma; BIC with all rows."""
    return {
        "logLik": -0.5 * criterion,
        "AIC": criterion + 2.0 * parameters,
        "BIC": criterion + float(np.log(rows)) * parameters,
        "parameters": parameters,
    }


def _correlation(covariance: np.ndarray) -> np.ndarray:
    """Correlation matrix of a covariance matrix."""
    sd = np.sqrt(np.diag(covariance))
    return covariance / np.outer(sd, sd)
