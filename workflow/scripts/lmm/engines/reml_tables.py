"""Tidy parameters and diagnostics of an exact fit, of one grouping factor or several."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmm.core import engines
from lmm.core.tidy import Diagnostics, truth_of
from lmm.core.versions import versions_of
from lmm.inference.degrees_of_freedom import FixedEffects
from lmm.inference.exact import fixed_table, information_criteria

ENGINE = "reml"
INTERVALS = {
    "satterthwaite": "t, Satterthwaite's degrees of freedom (at a singular fit: of the model without the null "
    "directions of D), GLS standard errors",
    "kenward-roger": "t, Kenward and Roger's degrees of freedom and standard errors",
    "normal": "Wald (normal), GLS standard errors",
}


def parameters_table(
    tested: FixedEffects,
    fixed: tuple[str, ...],
    keys: Sequence[tuple[str, str]],
    estimates: np.ndarray,
    level: float,
    errors: np.ndarray,
    intervals: np.ndarray,
    truth: dict | None,
) -> pd.DataFrame:
    """Fixed effects with t statistics and intervals; variance parameters with profile intervals.

    Parameters
    ----------
    tested : FixedEffects
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
    variances = pd.DataFrame(
        {
            "effect": "ran_pars",
            "group": [group for group, _ in keys],
            "term": [term for _, term in keys],
            "estimate": estimates,
            "std_error": errors,
            "statistic": np.nan,
            "df": np.nan,
            "p_value": np.nan,
            "conf_low": intervals[:, 0],
            "conf_high": intervals[:, 1],
        }
    )
    out = pd.concat([fixed_table(fixed, tested, level), variances], ignore_index=True)
    out.insert(0, "engine", ENGINE)
    out["truth"] = [truth_of(truth, *key) for key in zip(out["group"], out["term"], strict=True)]
    return out


def diagnostics_of(
    best: Any,
    fixed: tuple[str, ...],
    n_parameters: int,
    n_rows: int,
    n_groups: int | dict[str, int],
    level: float,
    df: str,
    ml: bool,
    warnings: list[str],
    seconds: Sequence[float],
) -> Diagnostics:
    """How a fit ended.

    Parameters
    ----------
    best : Optimum or SeveralOptimum
    fixed : tuple of str
    n_parameters : int
        Fixed effects, elements of the D's and sigma.
    n_rows : int
    n_groups : int or dict of str to int
        By factor where there are several.
    level : float
        Confidence level.
    df : str
        Method of the fixed effects' degrees of freedom.
    ml : bool
        Maximum likelihood instead of REML.
    warnings : list of str
    seconds : sequence of float
        Of the optimum, the intervals and the random effects.
    """
    warnings = list(warnings)
    if not best.certified:
        warnings.append("no stop of the optimiser passed the second-order test: the estimates may be off")
    return Diagnostics(
        ENGINE,
        status="non-converged" if not best.certified else "singular" if best.singular else "ok",
        message=warnings[-1] if warnings else "",
        converged=best.certified,
        singular=best.singular,
        criterion=best.criterion,
        warnings=warnings,
        seconds=dict(zip(("optimum", "intervals", "ranef"), seconds, strict=True)),
        versions=versions_of(*engines.row(ENGINE).packages),
        n_rows=n_rows,
        n_groups=n_groups,
        conf_level=level,
        method="ML" if ml else "REML",
        df=df,
        **information_criteria(best.criterion, n_parameters, n_rows),
        intervals={"fixed": INTERVALS[df], "ran_pars": "profile likelihood"},
        summary={"corr_fixed": _correlation(best.cov_beta).tolist(), "fixed_names": list(fixed)},
    )


def _correlation(covariance: np.ndarray) -> np.ndarray:
    """Correlation matrix of a covariance matrix."""
    sd = np.sqrt(np.diag(covariance))
    return covariance / np.outer(sd, sd)
