"""statsmodels' MixedLM by REML, from the rows, adding what it lacks and detecting what it gets wrong."""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

from lmm.core import engines
from lmm.core.store import write_table
from lmm.core.tidy import PARAMETERS, RANEF, RESIDUAL, Diagnostics, Fit, cor_name, group_of, sd_name, truth_of
from lmm.core.versions import versions_of
from lmm.engines import reml as exact
from lmm.engines.base import Fitted, Task
from lmm.engines.lme4_summary import correlations, identity_error, lme4_summary
from lmm.engines.random_effects import Given, coef, given_rows, ranef_table
from lmm.inference.unidentified import not_identified
from lmm.inference.variance_explained import covariance_of
from lmm.model.terms import Terms

ENGINE = "mixedlm"
# Every evaluation is a Python loop over groups: about a minute a fit at these sizes (docs/statistics.md, section 4).
MAX_ROWS = 1_000_000
MAX_GROUPS = 20_000
# Variances below 1e-10 sigma^2 are where statsmodels goes wrong (issue #10239): a start is kept above.
FLOOR = 1.21e-10
# lme4's isSingular: a direction of the random effects below 1e-4 sigma, its predictor scaled to unit size.
SINGULAR = 1e-4
# Both at one optimum: lme4's own optimisers scatter by 2e-6 in the sd's.
SAME_CRITERION, SAME_SD = 1e-6, 1e-5
# A criterion this far above the minimum moves no estimate by more than a tenth of its standard error.
GOOD_CRITERION = 0.01


@dataclass(frozen=True)
class Start:
    """Where MixedLM starts: beta (p,), D (q, q) in the data's units, sigma."""

    beta: np.ndarray
    D: np.ndarray
    sigma: float

    @classmethod
    def of(cls, fit: Fit, fixed: Sequence[str], random: Sequence[str]) -> "Start":
        """The estimates of another engine's fit.

        Parameters
        ----------
        fit : Fit
            Another engine's.
        fixed : tuple of str
            Names of X's columns.
        random : tuple of str
            Names of Z's columns.

        Returns
        -------
        Start
        """
        values = dict(zip(fit.parameters["term"], fit.parameters["estimate"], strict=True))
        beta = np.array([values[term] for term in fixed], float)
        return cls(beta, covariance_of(values, random), float(values[RESIDUAL]))


@dataclass(frozen=True)
class _Design:
    """X and Z in units near 1: statsmodels' tolerances are absolute, its likelihood has no unit.

    The units are powers of 2, so that nothing is rounded on the way there and back.
    """

    fixed: list[str]
    random: list[str]
    X: np.ndarray
    Z: np.ndarray
    unit_x: np.ndarray
    unit_z: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, terms: Any, W: np.ndarray) -> "_Design":
        """From the distinct columns W; `mask` is 1 where D may differ from 0."""
        block = np.repeat(np.arange(len(terms.blocks)), [len(names) for names in terms.blocks])
        mask = (block[:, None] == block).astype(float)
        columns = list(terms.columns)
        length = np.sqrt(np.mean(W**2, axis=0))
        unit = 2.0 ** np.round(np.log2(np.where(length > 0, length, 1.0)))
        x, z = ([columns.index(name) for name in names] for names in (terms.fixed, terms.random))
        return cls(
            list(terms.fixed),
            list(terms.random),
            W[:, x] / unit[x],
            W[:, z] / unit[z],
            unit[x],
            unit[z],
            mask,
        )

    def start(self, start: Start | None) -> MixedLMParams | None:
        """statsmodels' form of a start, kept off the boundary, where its likelihood is not defined."""
        if start is None:
            return None
        values, vectors = np.linalg.eigh(start.D * np.outer(self.unit_z, self.unit_z) / start.sigma**2)
        theta = (vectors * np.maximum(values, FLOOR)) @ vectors.T * self.mask
        return MixedLMParams.from_components(start.beta * self.unit_x, theta)

    def free(self) -> MixedLMParams | None:
        """Which elements of D are estimated: None for all of them."""
        if self.mask.all():
            return None
        return MixedLMParams.from_components(np.ones(len(self.fixed)), self.mask)


class Fitter:
    """The engine with its settings: see `lmm.engines.base.Fitter`."""

    def __init__(self, settings: Mapping[str, Any], terms: Terms):
        self.level, self.terms = settings["conf_level"], terms
        self.limits = {name: settings[name] for name in ("max_rows", "max_groups")}

    def fit(self, task: Task) -> Fitted:
        """From the rows, started at the exact optimum, which is computed where it is not at hand."""
        terms, moments, start = self.terms, task.moments, task.start
        if moments.weighted:
            reason = "statsmodels' MixedLM has no weights"
            found = skipped(reason, moments.n_rows, moments.n_groups, self.level)
        elif reason := beyond(moments.n_rows, moments.n_groups, **self.limits):
            found = skipped(reason, moments.n_rows, moments.n_groups, self.level)
        elif task.rows is None:
            found = skipped("the rows are not at hand", moments.n_rows, moments.n_groups, self.level)
        else:
            rows = task.rows()
            if start is None:
                start, _ = exact.fit(moments, terms.fixed, terms.blocks, self.level)
            found = fit(
                terms, rows.y, rows.W, rows.codes, rows.levels, reml=start, conf_level=self.level,
                truth=task.truth, **self.limits,
            )  # fmt: skip
        return Fitted(found, {"coef": lambda path: write_table(path, coef(found.parameters, found.ranef))})


def fit(
    terms: Any,
    y: np.ndarray,
    W: np.ndarray,
    codes: np.ndarray,
    levels: Sequence[str] | np.ndarray,
    *,
    reml: Fit | None = None,
    start: Start | None = None,
    conf_level: float = 0.95,
    truth: dict[str, Any] | None = None,
    max_rows: int = MAX_ROWS,
    max_groups: int = MAX_GROUPS,
) -> Fit:
    """Fit a linear mixed model with one grouping factor by statsmodels' MixedLM, REML.

    Parameters
    ----------
    terms : Terms
        Names: `fixed`, `blocks` (correlated within, independent between), `group`, `columns` (of W).
    y, W : (N,) and (N, K) arrays
        The rows; W's columns are `terms.columns`.
    codes : (N,) int array
        Each row's group, an index into `levels`.
    levels : sequence of str, length J
        Names of the groups.
    reml : Fit, optional
        The exact fit: the start, what the result is held against (`summary["reml_gap"]`), and the source
        of the sd's profile intervals where both are at the same optimum.
    start : Start, optional
        Another start; without it and without `reml` statsmodels starts from its default.
    conf_level : float
        Of the intervals, between 0 and 1.
    truth : dict, optional
        truth.json's content.
    max_rows, max_groups : int
        Beyond either the fit is skipped: status `skipped`, empty tables.

    Returns
    -------
    Fit
        Fixed effects with statsmodels' joint-Hessian standard errors and Wald z intervals; sd's and
        correlations; BLUPs with prediction errors (`std_error`, and the interval) and lme4's `cond_sd`. Never
        raises for what the optimiser does: status is `ok`, `singular`, `unidentified`, `non-converged`, `error` or
        `skipped`.
    """
    began = time.perf_counter()
    too_many = beyond(len(y), len(levels), max_rows, max_groups)
    nothing = skipped(too_many, len(y), len(levels), conf_level)
    about = nothing.diagnostics
    if too_many:
        return nothing
    design = _Design.of(terms, W)
    if start is None and reml is not None:
        start = Start.of(reml, terms.fixed, design.random)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = MixedLM(y, design.X, codes, exog_re=design.Z)
            result = model.fit(start_params=design.start(start), free=design.free())
            fitted, _ = (
                np.asarray(result.fittedvalues),
                result.bse_fe,
            )  # both kept by statsmodels once computed
            # statsmodels' own conditional covariances lack beta's share and fail at the boundary
            given = given_rows(
                y, design.X, design.Z, codes, result.cov_re, np.sqrt(result.scale), result.fe_params
            )
            failure = ""
        except (np.linalg.LinAlgError, ValueError, FloatingPointError) as problem:
            failure = f"statsmodels stopped: {problem}"
    about.warnings = list(dict.fromkeys(str(entry.message) for entry in caught))
    about.seconds = {"fit": time.perf_counter() - began}
    if failure:
        about.status, about.message = "error", failure
        return nothing
    z = stats.norm.ppf((1 + conf_level) / 2)
    own = np.asarray(levels).astype(str)[codes]
    random = ranef_table(given, terms, levels, design.unit_z, z, truth)
    parameters = _parameters(terms, design, result, z, truth)
    # log|X'V^-1 X| in the data's units
    criterion = float(-2 * result.llf + 2 * np.log(design.unit_x).sum())
    gap = None if reml is None else _gap(parameters, criterion, reml, design)
    reached = gap is not None and gap["reached"]
    if reml is not None and reached:
        parameters = _with_df(_with_profiles(parameters, reml.parameters), reml, conf_level)
    cov = result.cov_params()[: len(design.fixed), : len(design.fixed)]
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
    _judge(about, result, design, given, gap)
    return Fit(ENGINE, parameters, random, about)


def skipped(reason: str, n_rows: int, n_groups: int, conf_level: float) -> Fit:
    """Empty tables and why.

    Parameters
    ----------
    reason : str
        Why it is not fitted.
    n_rows : int
        N.
    n_groups : int
        J.
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


def beyond(n_rows: int, n_groups: int, max_rows: int, max_groups: int) -> str:
    """Which limit these data are above; '' for none.

    Parameters
    ----------
    n_rows : int
        N.
    n_groups : int
        J.
    max_rows : int
        The largest N.
    max_groups : int
        The largest J.

    Returns
    -------
    str
        Empty if they are within both.
    """
    for count, limit, name in ((n_rows, max_rows, "max_rows"), (n_groups, max_groups, "max_groups")):
        if count > limit:
            return f"{count:,} {name.removeprefix('max_')} are above {name} = {limit}"
    return ""


def _judge(
    about: Diagnostics, result: Any, design: _Design, given: Given, gap: dict[str, Any] | None
) -> None:
    """Status by our own measure: statsmodels' boundary warning depends on y's unit, `converged` is unreliable."""
    reasons = []
    if not result.converged:
        reasons.append("statsmodels' optimiser did not converge")
    smallest = np.linalg.eigvalsh(result.cov_re / result.scale)[0]
    singular = bool(smallest < SINGULAR**2)
    # at an honest optimum the two agree to rounding
    off = np.abs(result.fe_params - given.beta) > 1e-3 * given.beta_se
    wrong = ", ".join(name for name, bad in zip(design.fixed, off, strict=True) if bad)
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
        message = f"on the boundary: a combination of random effects has sd {sd:.1e} sigma"
    about.converged, about.singular, about.status, about.message = not reasons, singular, status, message


def _parameters(
    terms: Any, design: _Design, result: Any, z: float, truth: dict[str, Any] | None
) -> pd.DataFrame:
    """The tidy parameters; sd's have no interval yet, and no standard error: statsmodels' are not usable."""
    beta, se = result.fe_params / design.unit_x, result.bse_fe / design.unit_x
    table = pd.DataFrame(
        {"effect": "fixed", "group": "", "term": design.fixed, "estimate": beta, "std_error": se}
    )
    table["statistic"] = beta / se
    table["df"] = np.inf
    table["p_value"] = 2 * stats.norm.sf(np.abs(table["statistic"]))
    table["conf_low"], table["conf_high"] = beta - z * se, beta + z * se
    sd = np.sqrt(np.diag(result.cov_re))
    estimates = dict(zip(map(sd_name, design.random), sd / design.unit_z, strict=True))
    for first, second in correlations(terms):
        a, b = design.random.index(first), design.random.index(second)
        estimates[cor_name(first, second)] = result.cov_re[a, b] / (sd[a] * sd[b])
    estimates[RESIDUAL] = np.sqrt(result.scale)
    spread = pd.DataFrame({"term": list(estimates), "estimate": list(estimates.values())})
    spread["effect"] = "ran_pars"
    spread["group"] = [group_of(term, terms.group) for term in spread["term"]]
    table = pd.concat([table, spread], ignore_index=True)
    table["engine"] = ENGINE
    table["truth"] = [truth_of(truth, terms.group, term) for term in table["term"]]
    return table.reindex(columns=PARAMETERS)


def _gap(parameters: pd.DataFrame, criterion: float, reml: Fit, design: _Design) -> dict[str, Any]:
    """How far from the exact optimum: in the criterion, and in the sd's relative to them.

    An sd counts as no smaller than a thousandth of sigma; two sd's both 0 by `SINGULAR` are the same.
    """
    ours = parameters.set_index("term")["estimate"]
    exact = reml.parameters.set_index("term")["estimate"]
    sigma, worst = exact[RESIDUAL], 0.0
    for term, unit in [*zip(map(sd_name, design.random), design.unit_z, strict=True), (RESIDUAL, 1.0)]:
        if max(ours[term], exact[term]) * unit > SINGULAR * sigma:
            worst = max(worst, abs(ours[term] - exact[term]) / max(exact[term], 1e-3 * sigma / unit))
    difference = criterion - cast(float, reml.diagnostics.criterion)
    same = abs(difference) <= SAME_CRITERION * max(1.0, abs(criterion)) and worst <= SAME_SD
    limits = {"criterion_relative": SAME_CRITERION, "sd_relative": SAME_SD}
    return {"criterion": difference, "sd": float(worst), "reached": bool(same), "limits": limits}


def _with_profiles(parameters: pd.DataFrame, reml: pd.DataFrame) -> pd.DataFrame:
    """reml's profile-likelihood intervals: the same optimum has the same profile."""
    parameters, at = parameters.copy(), reml.set_index("term")
    mine = parameters["effect"] == "ran_pars"
    for column in ("conf_low", "conf_high"):
        parameters.loc[mine, column] = parameters.loc[mine, "term"].map(at[column])
    return parameters


def _with_df(parameters: pd.DataFrame, reml: Fit, level: float) -> pd.DataFrame:
    """reml's degrees of freedom: those of a fit are of its optimum, not of the program that found it.

    The standard errors stay statsmodels', but for Kenward and Roger's, which are a part of the method.
    """
    parameters, at = parameters.copy(), reml.parameters.set_index("term")
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
