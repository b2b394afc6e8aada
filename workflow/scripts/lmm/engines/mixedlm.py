"""statsmodels' MixedLM by REML, from the rows, adding what it lacks and detecting what it gets wrong."""

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy import stats

from lmm.core import engines
from lmm.core.columns import RANEF
from lmm.core.store import write_table
from lmm.core.tidy import PARAMETERS, RESIDUAL, Diagnostics, Fit, cor_name, group_of, sd_name, truth_of
from lmm.core.versions import versions_of
from lmm.engines import reml as exact
from lmm.engines.base import Fitted, Task
from lmm.engines.lme4_summary import correlations, identity_error, lme4_summary
from lmm.engines.mixedlm_layout import Given, Layout, Start
from lmm.engines.random_effects import coef
from lmm.inference.unidentified import not_identified
from lmm.model.terms import Terms

ENGINE = "mixedlm"
# Every evaluation is a Python loop over groups: about a minute a fit at these sizes (docs/statistics.md, section 4).
MAX_ROWS = 1_000_000
MAX_GROUPS = 20_000
# Dense matrices of all these rows by all their levels: 6 s with 500 levels.
MAX_DENSE_ROWS = 2_000
# lme4's isSingular: a direction of the random effects below 1e-4 sigma, its predictor scaled to unit size.
SINGULAR = 1e-4
# Both at one optimum: lme4's own optimisers scatter by 2e-6 in the sd's.
SAME_CRITERION, SAME_SD = 1e-6, 1e-5
# A criterion this far above the minimum moves no estimate by more than a tenth of its standard error.
GOOD_CRITERION = 0.01
KEY = ["group", "term"]


class Fitter:
    """The engine with its settings: see `lmm.engines.base.Fitter`."""

    def __init__(self, settings: Mapping[str, Any], terms: Terms):
        self.level, self.terms = settings["conf_level"], terms
        self.limits = {name: settings[name] for name in ("max_rows", "max_groups", "max_dense_rows")}

    def fit(self, task: Task) -> Fitted:
        """From the rows, started at the exact optimum, which is computed where it is not at hand."""
        terms, moments, start = self.terms, task.moments, task.start
        reason = beyond("rows", moments.n_rows, self.limits["max_rows"])
        if not terms.several:  # of several factors the rows must say which are nested
            reason = reason or beyond("groups", moments.n_groups, self.limits["max_groups"])
        if moments.weighted:
            reason = "statsmodels' MixedLM has no weights"
        elif task.rows is None:
            reason = reason or "the rows are not at hand"
        if reason or task.rows is None:
            found = skipped(reason, moments.n_rows, moments.n_groups, self.level)
        else:
            rows = task.rows()
            if start is None:
                settings = {"conf_level": self.level}
                start = exact.Fitter(settings, terms).fit(Task(moments)).fit
            found = fit(
                terms, rows.y, rows.W, rows.codes, rows.levels, rows.others, reml=start, conf_level=self.level,
                truth=task.truth, **self.limits,
            )  # fmt: skip
        return Fitted(found, {"coef": lambda path: write_table(path, coef(found.parameters, found.ranef))})


def fit(
    terms: Terms,
    y: np.ndarray,
    W: np.ndarray,
    codes: np.ndarray,
    levels: Sequence[str] | np.ndarray,
    others: Sequence[tuple[np.ndarray, Any]] = (),
    *,
    reml: Fit | None = None,
    start: Start | None = None,
    conf_level: float = 0.95,
    truth: dict[str, Any] | None = None,
    max_rows: int = MAX_ROWS,
    max_groups: int = MAX_GROUPS,
    max_dense_rows: int = MAX_DENSE_ROWS,
) -> Fit:
    """Fit a linear mixed model by statsmodels' MixedLM, REML.

    Parameters
    ----------
    terms : Terms
        Names: `fixed`, `groupings` (blocks of effects correlated within, independent between), `columns` (of W).
    y, W : (N,) and (N, K) arrays
        The rows; W's columns are `terms.columns`.
    codes : (N,) int array
        Each row's group, an index into `levels`.
    levels : sequence of str, length J
        Names of the groups.
    others : sequence of (codes, levels)
        The same of further grouping factors.
    reml : Fit, optional
        The exact fit: the start, what the result is held against (`summary["reml_gap"]`), and the source
        of the sd's profile intervals where both are at the same optimum.
    start : Start, optional
        Another start; without it and without `reml` statsmodels starts from its default.
    conf_level : float
        Of the intervals, between 0 and 1.
    truth : dict, optional
        truth.json's content.
    max_rows, max_groups, max_dense_rows : int
        Beyond any of them the fit is skipped: status `skipped`, empty tables. The last is of several grouping
        factors: rows of one of MixedLM's groups, which are all rows where factors cross.

    Returns
    -------
    Fit
        Fixed effects with statsmodels' joint-Hessian standard errors and Wald z intervals; sd's and
        correlations; BLUPs with prediction errors (`std_error`, and the interval) and lme4's `cond_sd`. Never
        raises for what the optimiser does: status is `ok`, `singular`, `unidentified`, `non-converged`, `error` or
        `skipped`.
    """
    began = time.perf_counter()
    layout = Layout.of(terms, W, [(codes, levels), *others])
    n_groups: Any = {own.group: len(own.levels) for own in layout.factors} if others else len(levels)
    reason = (
        beyond("rows", len(y), max_rows)
        or layout.lacking()
        or beyond("groups", len(layout.sizes), max_groups)
    )
    if others and not reason:
        what = "rows that are one dense block" if layout.outer is None else "rows of the largest group"
        reason = beyond("dense_rows", int(layout.sizes.max()), max_dense_rows, what)
    nothing = skipped(reason, len(y), n_groups, conf_level)
    about = nothing.diagnostics
    if reason:
        return nothing
    blocks = layout.blocks()
    if start is None and reml is not None:
        start = Start.of(reml, terms)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = layout.model(y, blocks)
            result = model.fit(start_params=layout.start(start), free=layout.free())
            # both are kept by statsmodels once computed
            fitted, _ = np.asarray(result.fittedvalues), result.bse_fe
            # statsmodels' own conditional covariances lack beta's share and fail at the boundary
            covariances = layout.covariances(result)
            given = layout.given(y, blocks, covariances, np.sqrt(result.scale), result.fe_params)
            failure = ""
        except (np.linalg.LinAlgError, ValueError, FloatingPointError) as problem:
            failure = f"statsmodels stopped: {problem}"
    about.warnings = list(dict.fromkeys(str(entry.message) for entry in caught))
    about.seconds = {"fit": time.perf_counter() - began}
    if failure:
        about.status, about.message = "error", failure
        return nothing
    z = stats.norm.ppf((1 + conf_level) / 2)
    own = [factor.levels[factor.codes] for factor in layout.factors]
    random = layout.ranef_table(given, z, truth).frame()
    parameters = _parameters(layout, result, covariances, z, truth)
    # log|X'V^-1 X| in the data's units
    criterion = float(-2 * result.llf + 2 * np.log(layout.unit_x).sum())
    gap = None if reml is None else _gap(parameters, criterion, reml, layout)
    reached = gap is not None and gap["reached"]
    if reml is not None and reached:
        parameters = _with_df(_with_profiles(parameters, reml.parameters), reml, conf_level)
    cov = result.cov_params()[: len(terms.fixed), : len(terms.fixed)]
    summary = lme4_summary(parameters, random, terms, y, W, own)
    summary |= {
        "corr_fixed": (cov / np.outer(result.bse_fe, result.bse_fe)).tolist(),
        "coef_identity_max_error": identity_error(parameters, random, terms, W, own, fitted),
        "reml_gap": gap,
    }
    about.intervals = {
        "fixed": _fixed_intervals(reml if reached else None),
        "ran_pars": "profile likelihood, from reml at the same optimum" if reached else "none",
        "ranef": "prediction error, normal",
    }
    about.criterion, about.summary = criterion, summary
    about.unidentified = [] if reml is None else list(reml.diagnostics.unidentified)
    _judge(about, result, layout, covariances, given, gap)
    return Fit(ENGINE, parameters, random, about)


def skipped(reason: str, n_rows: int, n_groups: int | dict[str, int], conf_level: float) -> Fit:
    """Empty tables and why.

    Parameters
    ----------
    reason : str
        Why it is not fitted.
    n_rows : int
        N.
    n_groups : int or dict
        J; by factor where there are several.
    conf_level : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    Fit
    """
    about = Diagnostics(
        ENGINE,
        status="skipped",
        message=reason,
        converged=False,
        versions=versions_of(*engines.row(ENGINE).packages),
        n_rows=n_rows,
        n_groups=n_groups,
        conf_level=conf_level,
    )
    return Fit(ENGINE, pd.DataFrame(columns=PARAMETERS), pd.DataFrame(columns=RANEF), about)


def beyond(kind: str, count: int, limit: int, what: str = "") -> str:
    """That a limit is exceeded; '' if it is not.

    Parameters
    ----------
    kind : str
        `rows`, `groups` or `dense_rows`.
    count : int
        Of the data.
    limit : int
        The setting `max_<kind>`.
    what : str
        What is counted, where `kind` does not say it.

    Returns
    -------
    str
        Empty if the count is within the limit.
    """
    return f"{count:,} {what or kind} are above max_{kind} = {limit}" if count > limit else ""


def _judge(
    about: Diagnostics,
    result: Any,
    layout: Layout,
    covariances: Sequence[np.ndarray],
    given: Given,
    gap: dict[str, Any] | None,
) -> None:
    """Status by our own measure: statsmodels' boundary warning depends on y's unit, `converged` is unreliable."""
    reasons = []
    if not result.converged:
        reasons.append("statsmodels' optimiser did not converge")
    smallest = min(np.linalg.eigvalsh(D / result.scale)[0] for D in covariances)
    singular = bool(smallest < SINGULAR**2)
    # at an honest optimum the two agree to rounding
    off = np.abs(result.fe_params - given.beta) > 1e-3 * given.beta_se
    wrong = ", ".join(name for name, bad in zip(layout.fixed, off, strict=True) if bad)
    if wrong or not np.isfinite(result.bse_fe).all():
        reasons.append(
            f"its fixed effects ({wrong or 'standard errors'}) are wrong for the variances it gives"
        )
        if smallest < 1e-10:  # its pseudo-inverse then takes the random effect for a fixed one
            reasons.append("as statsmodels issue #10239 says of random-effect variances below 1e-10")
    if not singular and any("not positive definite" in word for word in about.warnings):
        reasons.append("the Hessian is not that of an optimum")
    if gap is not None and gap["criterion"] > GOOD_CRITERION:
        reasons.append(f"it stopped {gap['criterion']:.3g} above the exact REML criterion")
    message, status = "", "ok"
    if about.unidentified:
        status, message = engines.UNIDENTIFIED, "; ".join([not_identified(about.unidentified), *reasons])
    elif reasons:
        status = "non-converged"
        message = "; ".join([*reasons, f"statsmodels says converged = {bool(result.converged)}"])
    elif singular:
        status, sd = "singular", np.sqrt(max(smallest, 0.0))
        message = f"on the boundary: a combination of random effects has an SD of {sd:.6f} residual SDs"
    about.converged, about.singular, about.status, about.message = not reasons, singular, status, message


def _parameters(
    layout: Layout, result: Any, covariances: Sequence[np.ndarray], z: float, truth: dict[str, Any] | None
) -> pd.DataFrame:
    """The tidy parameters; sd's have no interval yet, and no standard error: statsmodels' are not usable."""
    beta, se = result.fe_params / layout.unit_x, result.bse_fe / layout.unit_x
    table = pd.DataFrame(
        {"effect": "fixed", "group": "", "term": layout.fixed, "estimate": beta, "std_error": se}
    )
    table["statistic"] = beta / se
    table["df"] = np.inf
    table["p_value"] = 2 * stats.norm.sf(np.abs(table["statistic"]))
    table["conf_low"], table["conf_high"] = beta - z * se, beta + z * se
    rows: list[tuple[str, str, float]] = []
    for factor, D in zip(layout.factors, covariances, strict=True):
        group, random, sd = factor.group, factor.random, np.sqrt(np.diag(D))
        rows += [(group, *own) for own in zip(map(sd_name, random), sd / factor.unit, strict=True)]
        for first, second in correlations(factor.grouping):
            a, b = random.index(first), random.index(second)
            rows.append((group, cor_name(first, second), D[a, b] / (sd[a] * sd[b])))
    rows.append((group_of(RESIDUAL, ""), RESIDUAL, np.sqrt(result.scale)))
    spread = pd.DataFrame(rows, columns=["group", "term", "estimate"]).assign(effect="ran_pars")
    table = pd.concat([table, spread], ignore_index=True)
    table["engine"] = ENGINE
    table["truth"] = [truth_of(truth, *key) for key in zip(table["group"], table["term"], strict=True)]
    return table.reindex(columns=PARAMETERS)


def _gap(parameters: pd.DataFrame, criterion: float, reml: Fit, layout: Layout) -> dict[str, Any]:
    """How far from the exact optimum: in the criterion, and in the sd's relative to them.

    An sd counts as no smaller than a thousandth of sigma; two sd's both 0 by `SINGULAR` are the same.
    """
    ours, exact = (table.set_index(KEY)["estimate"] for table in (parameters, reml.parameters))
    residual = group_of(RESIDUAL, ""), RESIDUAL
    sigma, worst = exact[residual], 0.0
    scaled = [
        ((factor.group, sd_name(term)), unit)
        for factor in layout.factors
        for term, unit in zip(factor.random, factor.unit, strict=True)
    ]
    for key, unit in [*scaled, (residual, 1.0)]:
        if max(ours[key], exact[key]) * unit > SINGULAR * sigma:
            worst = max(worst, abs(ours[key] - exact[key]) / max(exact[key], 1e-3 * sigma / unit))
    difference = criterion - cast(float, reml.diagnostics.criterion)
    same = abs(difference) <= SAME_CRITERION * max(1.0, abs(criterion)) and worst <= SAME_SD
    limits = {"criterion_relative": SAME_CRITERION, "sd_relative": SAME_SD}
    return {"criterion": difference, "sd": float(worst), "reached": bool(same), "limits": limits}


def _with_profiles(parameters: pd.DataFrame, reml: pd.DataFrame) -> pd.DataFrame:
    """reml's profile-likelihood intervals: the same optimum has the same profile."""
    parameters, at = parameters.copy(), reml.set_index(KEY)
    mine = parameters["effect"] == "ran_pars"
    keys = pd.MultiIndex.from_frame(parameters.loc[mine, KEY])
    for column in ("conf_low", "conf_high"):
        parameters.loc[mine, column] = at[column].reindex(keys).to_numpy(float)
    return parameters


def _with_df(parameters: pd.DataFrame, reml: Fit, level: float) -> pd.DataFrame:
    """reml's degrees of freedom: those of a fit are of its optimum, not of the program that found it.

    The standard errors stay statsmodels', but for Kenward and Roger's, which are a part of the method.
    """
    parameters, theirs = parameters.copy(), reml.parameters
    at = theirs[theirs["effect"] == "fixed"].set_index("term")
    mine = parameters["effect"] == "fixed"
    fixed = parameters[mine]
    se, df = fixed["std_error"].to_numpy(float), at["df"].reindex(fixed["term"]).to_numpy(float)
    if reml.diagnostics.df == "kenward-roger":
        se = at["std_error"].reindex(fixed["term"]).to_numpy(float)
    estimate = fixed["estimate"].to_numpy(float)
    reach = stats.t.ppf(0.5 + level / 2, df) * se
    found = {
        "std_error": se,
        "statistic": estimate / se,
        "df": df,
        "p_value": 2.0 * stats.t.sf(np.abs(estimate / se), df),
        "conf_low": estimate - reach,
        "conf_high": estimate + reach,
    }
    for name, values in found.items():
        parameters.loc[mine, name] = values
    return parameters


def _fixed_intervals(reml: Fit | None) -> str:
    """How the fixed effects' intervals were made."""
    own = "standard errors of statsmodels' joint Hessian"
    if reml is None or reml.diagnostics.df == "normal":
        return f"Wald (z), {own}"
    if reml.diagnostics.df == "kenward-roger":
        return "t, Kenward and Roger's degrees of freedom and standard errors, from reml at the same optimum"
    return f"t, Satterthwaite's degrees of freedom, from reml at the same optimum, {own}"
