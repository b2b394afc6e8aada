"""The exact fit of a model with one grouping factor or several, and the tests of its fixed effects."""

import numpy as np
import pandas as pd
from scipy import stats

from lmm.inference import several_optimum
from lmm.inference.degrees_of_freedom import FixedEffects, fixed_effects, p_of
from lmm.inference.derivatives import by_group
from lmm.inference.hypotheses import TYPES, contrasts, terms_of
from lmm.inference.optimum import Optimum, optimum
from lmm.inference.several_derivatives import tested_several
from lmm.inference.several_optimum import SeveralOptimum
from lmm.likelihood import several_problem
from lmm.likelihood.problem import Problem, problem_of
from lmm.likelihood.several_problem import SeveralProblem
from lmm.model.design import Design
from lmm.model.terms import Terms
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments


def problem_for(
    moments: Moments | SeveralMoments, terms: Terms, ml: bool = False
) -> Problem | SeveralProblem:
    """The kernels' input for a model; ML or REML is a property of one factor's problem."""
    if terms.several:
        return several_problem.build(moments, terms.fixed, [own.blocks for own in terms.groupings])
    return problem_of(moments, terms.fixed, terms.blocks, ml)


def optimum_of(problem: Problem | SeveralProblem, ml: bool = False) -> Optimum | SeveralOptimum:
    """The optimum of REML or maximum likelihood."""
    if isinstance(problem, SeveralProblem):
        return several_optimum.optimum(problem, reml=not ml)
    return optimum(problem)


def tested_by(method: str, problem: Problem | SeveralProblem, best: Optimum | SeveralOptimum) -> FixedEffects:
    """The fixed effects of an optimum with degrees of freedom by one of `degrees_of_freedom.METHODS`."""
    if isinstance(problem, SeveralProblem):
        return tested_several(method, problem, best)
    return fixed_effects(method, best.beta, by_group(problem, best), problem.ml)


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


def f_tests(problem: Problem | SeveralProblem, tested: FixedEffects, design: Design) -> pd.DataFrame:
    """F tests of the terms of the fixed effects, of types III, II and I: tests.csv."""
    terms = terms_of(design)
    rows = []
    for kind in TYPES:
        matrices = contrasts(terms, kind, problem.total[:-1, :-1], problem.x_map)
        for term, matrix in matrices.items():
            test = tested.test(matrix)
            rows.append((term, kind, *test, p_of(test)))
    return pd.DataFrame(rows, columns=["term", "type", "num_df", "den_df", "F", "p_value"])


def information_criteria(criterion: float, parameters: int, rows: int) -> dict[str, float]:
    """Log likelihood, AIC and BIC with lme4's counts: fixed effects, elements of D, sigma; BIC with all rows."""
    return {
        "logLik": -0.5 * criterion,
        "AIC": criterion + 2.0 * parameters,
        "BIC": criterion + float(np.log(rows)) * parameters,
        "parameters": parameters,
    }
