"""One replicate: a data set through the same functions that a single study uses, and what is kept of the fits.

A fit that fails, or an engine that raises, is a result: its rows are there with the status and the message, and
with empty estimates where there are none.
"""

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from lmm.core.tidy import RESIDUAL, Fit, truth_of
from lmm.data.rows import Rows
from lmm.engines import mixedlm, ols, reml
from lmm.inference.variance_explained import MEASURES, explained
from lmm.likelihood.problem import layout, problem_of
from lmm.model.terms import Terms
from lmm.moments.moments import Moments
from lmm.recovery.data import DataSet

RANEF_MEASURES = ("rmse", "coverage", "shrinkage", "rank_correlation")


class Outcome(NamedTuple):
    """What an engine made of a data set.

    Attributes
    ----------
    fit : Fit
    explained : dict of measure to dict
        `estimate` and perhaps `conf_low`, `conf_high` of each measure of variance explained.
    ranks : DataFrame or None
        For calibration.
    further : dict of method to DataFrame
        The fixed effects by further methods of degrees of freedom.
    """

    fit: Fit
    explained: Mapping[str, Mapping[str, float]]
    ranks: pd.DataFrame | None = None
    further: Mapping[str, pd.DataFrame] = MappingProxyType({})


class Engine:
    """An engine with its settings, ready to fit one data set after the other.

    Parameters
    ----------
    name : str
    settings : mapping
        The engine's configuration, `formula` and `conf_level` among it.
    terms : Terms
        Of its formula.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], terms: Terms):
        self.name, self.settings, self.terms = name, settings, terms
        structure = layout(terms.blocks)
        df = settings.get("df", [])
        self.methods = [df] if isinstance(df, str) else list(df)
        self.expected = [("fixed", term) for term in terms.fixed]
        if name == "ols":
            self.expected.append(("ran_pars", RESIDUAL))
            return
        self.expected += [("ran_pars", term) for term in structure.terms]
        self.expected += [("explained", measure) for measure in MEASURES]
        self.expected += [
            ("ranef", f"{term}: {measure}") for term in terms.random for measure in RANEF_MEASURES
        ]

    def outcome(self, data: DataSet, seed: int, earlier: Mapping[str, Outcome]) -> Outcome:
        """Fit one data set; `earlier` has the engines before this one."""
        level, truth, moments = self.settings["conf_level"], data.truth, data.moments
        fixed, blocks = self.terms.fixed, self.terms.blocks
        if self.name == "ols":
            rows = (data.rows.y, data.rows.columns(fixed)) if data.rows is not None else ()
            return Outcome(ols.fit(fixed, *rows, moments=moments, conf_level=level, truth=truth), {})
        if self.name == "reml":
            ml, methods = self.settings["method"] == "ml", self.methods
            fit, best = reml.fit(
                moments, fixed, blocks, level, truth, self.settings["profile"], df=methods[0], ml=ml
            )
            further = {}
            if len(methods) > 1:
                problem = problem_of(moments, fixed, blocks, ml)
                for method in methods[1:]:
                    further[method] = reml.fixed_table(fixed, reml.tested_by(method, problem, best), level)
            return Outcome(fit, self._explained(fit, moments), further=further)
        if self.name == "mixedlm":
            start = earlier.get("reml")
            if start is None or start.fit.engine != "reml" or not self.settings["reml_is_start"]:
                start = Outcome(reml.fit(moments, fixed, blocks, level)[0], {})
            rows = narrowed(data.rows, self.terms)
            limits = {name: self.settings[name] for name in ("max_rows", "max_groups")}
            fit = mixedlm.fit(
                self.terms, rows.y, rows.W, rows.codes, rows.levels, reml=start.fit, conf_level=level, truth=truth,
                **limits,
            )  # fmt: skip
            return Outcome(fit, self._explained(fit, moments) if len(fit.parameters) else {})
        raise ValueError(f"no engine {self.name!r} for replicates")

    def _explained(self, fit: Fit, moments: Moments) -> dict[str, dict[str, float]]:
        """Variance explained at the estimates."""
        values = dict(zip(fit.parameters["term"], fit.parameters["estimate"], strict=True))
        fixed, random = self.terms.fixed, self.terms.random
        found = explained(values, fixed, random, moments.mean_zz(random), moments.cov_fixed(fixed))
        return {measure: {"estimate": float(value)} for measure, value in found.items()}


def narrowed(rows: Rows, terms: Terms) -> Rows:
    """The columns of another formula of the same study."""
    return Rows(terms, rows.y, rows.columns(terms.columns), rows.codes, rows.levels)


def true_explained(data: DataSet, terms: Terms) -> dict[str, float]:
    """Variance explained at the truth, with the replicate's own design matrix."""
    random, fixed = terms.random, terms.fixed
    values = {term: truth_of(data.truth, term) for term in [*fixed, *layout(terms.blocks).terms]}
    found = explained(values, fixed, random, data.own.mean_zz(random), data.own.cov_fixed(fixed))
    return {measure: float(value) for measure, value in found.items()}


def ranef_measures(table: pd.DataFrame, term: str) -> dict[str, float]:
    """How well a term's random effects were recovered.

    Returns
    -------
    dict
        rmse of the estimates; coverage of their intervals; shrinkage, 1 - sd(estimates) / sd(true effects);
        rank_correlation (Spearman's) with the true effects. Over the groups whose true effect is known.
    """
    mine = (table["term"] == term).to_numpy()
    estimate, low, high, true = (
        table[name].to_numpy(float)[mine] for name in ("estimate", "conf_low", "conf_high", "truth")
    )
    known = np.isfinite(true)
    estimate, low, high, true = estimate[known], low[known], high[known], true[known]
    if not len(true):
        return {}
    spread, own = true.std(), estimate.std()
    both = spread > 0 and own > 0 and len(true) > 2
    return {
        "rmse": float(np.sqrt(np.mean((estimate - true) ** 2))),
        "coverage": float(np.mean((low <= true) & (true <= high))),
        "shrinkage": float(1 - own / spread) if spread > 0 else np.nan,
        "rank_correlation": float(np.corrcoef(rankdata(estimate), rankdata(true))[0, 1]) if both else np.nan,
    }


def records(
    engine: Engine, outcome: Outcome | None, data: DataSet | None, true: Mapping[str, float]
) -> list[tuple]:
    """Rows of the long table: effect, term, df, truth, estimate, std_error, conf_low, conf_high.

    Every engine has the same rows in every replicate, NaN where it has no estimate. `df` is the method of degrees
    of freedom of reml's fixed effects, a row for each; empty for all others.
    """
    found: dict[tuple[str, str], tuple] = {}
    by_method: dict[str, dict] = {}
    if outcome is not None and len(outcome.fit.parameters):
        table = outcome.fit.parameters
        names = ("estimate", "std_error", "conf_low", "conf_high")

        def values(table: pd.DataFrame) -> dict[tuple[str, str], tuple]:
            columns = zip(*(table[name].to_numpy(float).tolist() for name in names), strict=True)
            return dict(zip(zip(table["effect"], table["term"], strict=True), columns, strict=True))

        found = values(table)
        by_method = {method: values(own) for method, own in outcome.further.items()}
        for measure, value in outcome.explained.items():
            ends = value.get("conf_low", np.nan), value.get("conf_high", np.nan)
            found["explained", measure] = (float(value["estimate"]), np.nan, *map(float, ends))
        if outcome.fit.ranef is not None:
            for term in engine.terms.random:
                for measure, value in ranef_measures(outcome.fit.ranef, term).items():
                    found["ranef", f"{term}: {measure}"] = (value, np.nan, np.nan, np.nan)
    nothing, truth = (np.nan,) * 4, None if data is None else data.truth
    rows = []
    for effect, term in engine.expected:
        known = true.get(term, np.nan) if effect == "explained" else np.nan
        if effect in ("fixed", "ran_pars"):
            known = float(truth_of(truth, term))
        for method in engine.methods or [""] if effect == "fixed" else [""]:
            own = by_method.get(method, found)
            rows.append((effect, term, method, known, *own.get((effect, term), nothing)))
    return rows


def fit_all(
    engines: Mapping[str, Engine], data: DataSet, seed: int
) -> dict[str, tuple[Outcome | None, str, str, float]]:
    """Every engine on one data set: outcome, status, message, seconds.

    Any exception of an engine is its result: the replicates after it and the engines beside it go on.
    """
    done: dict[str, tuple[Outcome | None, str, str, float]] = {}
    # reml before mixedlm, which starts from it
    for name in sorted(engines, key=lambda name: name == "mixedlm"):
        began = time.perf_counter()
        good = {other: found[0] for other, found in done.items() if found[0] is not None}
        try:
            outcome = engines[name].outcome(data, seed, good)
            status, message = outcome.fit.diagnostics["status"], outcome.fit.diagnostics["message"]
        except Exception as error:  # whatever it is, it is this fit's result
            outcome, status, message = None, "error", one_line(error)
        done[name] = outcome, status, message, time.perf_counter() - began
    return {name: done[name] for name in engines}


def one_line(error: Exception) -> str:
    """An exception as a message of one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
