"""Tidy parameters, tests and diagnostics of a REML or ML fit, of one grouping factor or several."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from lmm.core import engines
from lmm.core.columns import Columns
from lmm.core.store import write_json, write_table
from lmm.core.tidy import Diagnostics, Fit, truth_of
from lmm.core.versions import versions_of
from lmm.engines.base import Fitted, Task
from lmm.inference.degrees_of_freedom import fixed_effects, p_of
from lmm.inference.derivatives import Derivatives
from lmm.inference.fixed_effects import FixedEffects
from lmm.inference.unidentified import not_identified
from lmm.model.design import Design

ENGINE = "reml"
NOT_CERTIFIED = "no stop of the optimiser passed the second-order test: the estimates may be off"
FEW_DIGITS = (
    "the residual sd is so small beside the differences between groups that rounding may have changed it"
)
INTERVALS = {
    "satterthwaite": "t, Satterthwaite's degrees of freedom (at a singular fit: of the model without the null "
    "directions of D), GLS standard errors",
    "kenward-roger": "t, Kenward and Roger's degrees of freedom and standard errors",
    "normal": "Wald (normal), GLS standard errors",
}
WALD = "Wald (normal on the scales of log sd and of Fisher's z)"


def parameters_table(
    effects: Mapping[str, Any],
    keys: Sequence[tuple[str, str]],
    estimates: np.ndarray,
    errors: np.ndarray,
    intervals: np.ndarray,
    truth: dict | None,
) -> Columns:
    """Fixed effects with t statistics and intervals; variance parameters with profile intervals.

    Parameters
    ----------
    effects : dict
        From `fixed_table`.
    keys : sequence of (group, term)
        Of the variance parameters; their estimates, errors and intervals are in this order.
    estimates : (n,) array
        Original units.
    errors : (n,) array
        Standard errors; NaN: none.
    intervals : (n, 2) array
        Profile intervals; NaN: none.
    truth : dict or None
        truth.json of a simulated study.

    Returns
    -------
    Columns
        PARAMETERS.
    """
    nothing = np.full(len(keys), np.nan)
    columns = {
        "engine": [ENGINE] * (len(effects["term"]) + len(keys)),
        "effect": [*effects["effect"], *["ran_pars"] * len(keys)],
        "group": [*effects["group"], *(group for group, _ in keys)],
        "term": [*effects["term"], *(term for _, term in keys)],
    }
    variances = {
        "estimate": estimates,
        "std_error": errors,
        "statistic": nothing,
        "df": nothing,
        "p_value": nothing,
        "conf_low": intervals[:, 0],
        "conf_high": intervals[:, 1],
    }
    joined = {name: np.concatenate([effects[name], own]) for name, own in variances.items()}
    true = [truth_of(truth, *key) for key in zip(columns["group"], columns["term"], strict=True)]
    return Columns(columns | joined | {"truth": true})


def fixed_table(names: tuple[str, ...], tested: FixedEffects, level: float) -> dict[str, Any]:
    """Tidy rows of fixed effects by one method of degrees of freedom.

    Parameters
    ----------
    names : tuple of str
        Names of X's columns.
    tested : FixedEffects
        Fixed effects with their degrees of freedom.
    level : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    dict
        Columns of a row per fixed effect, without engine and truth.
    """
    eye = np.eye(len(names))
    se, df = tested.std_error(eye), tested.df(eye)
    statistic, reach = tested.beta / se, special.stdtrit(df, 0.5 + level / 2) * se
    return {
        "effect": ["fixed"] * len(names),
        "group": [""] * len(names),
        "term": list(names),
        "estimate": tested.beta,
        "std_error": se,
        "statistic": statistic,
        "df": df,
        "p_value": 2.0 * special.stdtr(df, -np.abs(statistic)),
        "conf_low": tested.beta - reach,
        "conf_high": tested.beta + reach,
    }


def f_tests(tested: FixedEffects, design: Design, total: np.ndarray, x_map: np.ndarray) -> pd.DataFrame:
    """F tests of the terms of the fixed effects, of types III, II and I: tests.csv.

    Parameters
    ----------
    tested : FixedEffects
        Fixed effects with their degrees of freedom.
    design : Design
        Of the model's formula.
    total, x_map : (p + 1, p + 1), (p, p) arrays
        Gram matrix of [X y] in the kernel's coordinates, and these (see `Problem`).

    Returns
    -------
    DataFrame
        term, type, num_df, den_df, F, p_value.
    """
    # formulaic's import, which replicates need not wait
    from lmm.inference.hypotheses import TYPES, contrasts, terms_of

    terms, rows = terms_of(design), []
    for kind in TYPES:
        for term, matrix in contrasts(terms, kind, total[:-1, :-1], x_map).items():
            test = tested.test(matrix)
            rows.append((term, kind, *test, p_of(test)))
    return pd.DataFrame(rows, columns=["term", "type", "num_df", "den_df", "F", "p_value"])


def tested_further(
    engine: Any, task: Task, found: Fit, problem: Any, beta: np.ndarray, derivatives: Derivatives
) -> Fitted:
    """A fit with the rows of further methods of degrees of freedom and, where the design is known, the tests' files.

    Parameters
    ----------
    engine : reml.Fitter
        Its settings.
    task : Task
        The data set.
    found : Fit
        By the first method.
    problem : Problem or SeveralProblem
        The model over moments.
    beta : (p,) array
        Fixed effects, original units.
    derivatives : Derivatives
        Of the criterion at the optimum.

    Returns
    -------
    Fitted
    """

    def tested(method: str) -> FixedEffects:
        return fixed_effects(method, beta, derivatives, engine.ml)

    fixed, (first, *others) = engine.terms.fixed, engine.methods
    further = {method: fixed_table(fixed, tested(method), engine.level) for method in others}
    artifacts: dict[str, Callable[[str], None]] = {}
    if task.design is not None:
        own = tested(first)
        tests = f_tests(own, task.design(), problem.total, problem.x_map)
        artifacts["tests"] = partial(write_table, table=tests)
        artifacts["effects"] = partial(write_json, value=own.plain())
    return Fitted(found, artifacts, further=further)


def diagnostics_of(
    best: Any,
    fixed: tuple[str, ...],
    moments: Any,
    level: float,
    warnings: list[str],
    seconds: Sequence[float],
    parameters: int,
    ml: bool,
    df: str,
    lost: Sequence[str] = (),
    profile: bool = True,
) -> Diagnostics:
    """How a fit ended.

    Parameters
    ----------
    best : Optimum or SeveralOptimum
        Where the fit ended.
    fixed : tuple of str
        Names of X's columns.
    moments : Moments or SeveralMoments
        Sufficient statistics of the rows.
    level : float
        Confidence level.
    warnings : list of str
        What the report warns of.
    seconds : sequence of float
        Of the optimum, the intervals and the random effects.
    parameters : int
        Fixed effects and variance parameters.
    ml : bool
        The criterion of maximum likelihood instead of REML's.
    df : str
        Method of the fixed effects' degrees of freedom.
    lost : sequence of str
        Variance parameters that the data do not determine.
    profile : bool
        Whether intervals of variance parameters are profile likelihood's, not Wald's.

    Returns
    -------
    Diagnostics
    """
    warnings = list(warnings)
    if not best.certified:
        warnings.append(NOT_CERTIFIED if best.exact else FEW_DIGITS)
    status = "non-converged" if not best.certified else "singular" if best.singular else "ok"
    if lost:
        status = engines.UNIDENTIFIED
        warnings.append(not_identified(lost))
    return Diagnostics(
        ENGINE,
        status=status,
        message=warnings[-1] if warnings else "",
        converged=best.certified,
        singular=best.singular,
        unidentified=list(lost),
        criterion=best.criterion,
        warnings=warnings,
        seconds=dict(zip(("optimum", "intervals", "ranef"), seconds, strict=True)),
        versions=versions_of(*engines.row(ENGINE).packages),
        n_rows=moments.n_rows,
        n_groups=moments.n_groups,
        conf_level=level,
        method="ML" if ml else "REML",
        df=df,
        **information_criteria(best.criterion, parameters, moments.n_rows),
        intervals={"fixed": INTERVALS[df], "ran_pars": "profile likelihood" if profile else WALD},
        summary={"corr_fixed": _correlation(best.cov_beta).tolist(), "fixed_names": list(fixed)},
    )


def information_criteria(criterion: float, parameters: int, rows: int) -> dict[str, Any]:
    """Log likelihood, AIC and BIC with lme4's counts: fixed effects, elements of D, sigma; BIC with all rows.

    Parameters
    ----------
    criterion : float
        -2 log likelihood.
    parameters : int
        Fixed effects, elements of D and sigma.
    rows : int
        N.

    Returns
    -------
    dict
        logLik, AIC, BIC, parameters.
    """
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
