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

from lmm.core import engines
from lmm.core.columns import by_term
from lmm.core.tidy import RESIDUAL, Fit, group_of, truth_of, variable
from lmm.data.rows import Rows
from lmm.engines.base import Task
from lmm.inference.variance_explained import components, explained, keys, true_values, values_of
from lmm.likelihood.problem import layout
from lmm.model.terms import Terms
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments
from lmm.recovery.data_set import DataSet

RANEF_MEASURES = ("rmse", "coverage", "shrinkage", "rank_correlation")


class Outcome(NamedTuple):
    """What an engine made of a data set.

    Attributes
    ----------
    fit : Fit
    explained : dict of measure (`tidy.variable` of group and measure) to dict
        `estimate` and perhaps `conf_low`, `conf_high` of each measure of variance explained.
    ranks : DataFrame or None
        For calibration.
    further : mapping of method to dict
        Columns of the fixed effects by further methods of degrees of freedom.
    """

    fit: Fit
    explained: Mapping[str, Mapping[str, float]]
    ranks: pd.DataFrame | None = None
    further: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


class Engine:
    """An engine with its settings, ready to fit one data set after the other.

    Parameters
    ----------
    name : str
    settings : mapping
        The engine's configuration, `formula` and `conf_level` among it.
    terms : Terms
        Of its formula.
    calibration : bool
        Rank the truth among the draws, of an engine that has some.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], terms: Terms, calibration: bool = False):
        self.row, self.settings, self.terms = engines.row(name), settings, terms
        self.fitter = self.row.load().Fitter(settings, terms)
        df = settings.get("df", [])
        self.methods = [df] if isinstance(df, str) else list(df)
        self.ranked = calibration and "draws" in self.row.yields
        self.expected = [("fixed", "", term) for term in terms.fixed]
        if "ranef" not in self.row.yields:
            self.expected.append(("ran_pars", group_of(RESIDUAL, ""), RESIDUAL))
            return
        for own in terms.groupings:
            named = [term for term in layout(own.blocks).terms if term != RESIDUAL]
            self.expected += [("ran_pars", own.group, term) for term in named]
        self.expected.append(("ran_pars", group_of(RESIDUAL, ""), RESIDUAL))
        self.expected += [("explained", *key) for key in keys(self.groups)]
        self.expected += [
            ("ranef", own.group, f"{term}: {measure}")
            for own in terms.groupings
            for term in own.random
            for measure in RANEF_MEASURES
        ]

    @property
    def groups(self) -> list[str]:
        """The grouping factors."""
        return [own.group for own in self.terms.groupings]

    def outcome(self, data: DataSet, seed: int, exact: Fit | None) -> Outcome:
        """Fit one data set; `exact` is the exact engine's fit of it, where there is one."""
        rows = data.rows
        task = Task(
            moments=data.moments,
            rows=None if rows is None else lambda: narrowed(rows, self.terms),
            truth=data.truth,
            start=exact if self.settings.get("exact_start") else None,
            seed=seed,
            scales=data.prior_moments,
            brief=True,
        )
        found = self.fitter.fit(task)
        explained = found.explained
        if "ranef" in self.row.yields and not explained and len(found.fit.as_made("parameters")):
            explained = self._explained(found.fit, data.moments)
        ranked = None
        if self.ranked:
            from lmm.recovery.calibration.ranks import ranks
            from lmm.recovery.calibration.several_ranks import several_ranks

            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
            chains = found.chains
            if self.terms.several:
                ranked = several_ranks(chains, narrowed(data.own_rows, self.terms), data.truth, rng)
            else:
                ranked = ranks(chains, data.moments, data.own, data.truth, chains.measures["ess_bulk"], rng)
        return Outcome(found.fit, explained, ranked, found.further)

    def _explained(self, fit: Fit, moments: Moments | SeveralMoments) -> dict[str, dict[str, float]]:
        """Variance explained at the estimates, by `tidy.variable` of group and measure."""
        factors, fixed = components(self.terms, moments), self.terms.fixed
        values = values_of(fit.as_made("parameters"), self.groups)
        found = explained(values, fixed, factors, moments.cov_fixed(fixed))
        return {variable(*key, self.groups): {"estimate": float(value)} for key, value in found.items()}


def narrowed(rows: Rows, terms: Terms) -> Rows:
    """The columns of another formula of the same study."""
    groups = [grouping.group for grouping in rows.terms.groupings]
    first, *others = (rows.factors[groups.index(grouping.group)] for grouping in terms.groupings)
    return Rows(terms, rows.y, rows.columns(terms.columns), *first, tuple(others))


def true_explained(data: DataSet, terms: Terms) -> dict[tuple[str, str], float]:
    """Variance explained at the truth by (group, measure), with the replicate's own design matrix."""
    factors = components(terms, data.own)
    values = true_values(data.truth, terms.fixed, factors)
    found = explained(values, terms.fixed, factors, data.own.cov_fixed(terms.fixed))
    return {key: float(value) for key, value in found.items()}


def ranef_measures(table: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How well the random effects of one factor and term were recovered.

    Parameters
    ----------
    table : mapping of (J,) arrays
        estimate, conf_low, conf_high and truth of each group.

    Returns
    -------
    dict
        rmse of the estimates; coverage of their intervals; shrinkage, 1 - sd(estimates) / sd(true effects);
        rank_correlation (Spearman's) with the true effects. Over the groups whose true effect is known.
    """
    estimate, low, high, true = (table[name] for name in ("estimate", "conf_low", "conf_high", "truth"))
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
        "rank_correlation": _correlation(_ranks(estimate), _ranks(true)) if both else np.nan,
    }


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks less their mean; `rankdata` takes ten times as long and is needed for ties only."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    if (ordered[1:] == ordered[:-1]).any():
        from scipy.stats import rankdata  # a third of a second, which few studies need wait

        return rankdata(values) - 0.5 * (len(values) + 1)
    out = np.empty(len(values))
    out[order] = np.arange(len(values)) - 0.5 * (len(values) - 1)
    return out


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Of numbers with mean 0."""
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def records(
    engine: Engine, outcome: Outcome | None, data: DataSet | None, true: Mapping[tuple[str, str], float]
) -> list[tuple]:
    """Rows of the long table: effect, group, term, df, truth, estimate, std_error, conf_low, conf_high.

    Every engine has the same rows in every replicate, NaN where it has no estimate. `df` is the method of degrees
    of freedom of an engine's fixed effects, a row for each; empty for all others.
    """
    found: dict[tuple[str, str, str], tuple] = {}
    by_method: dict[str, dict[tuple[str, str, str], tuple]] = {}
    if outcome is not None and len(outcome.fit.as_made("parameters")):
        found = _values(outcome.fit.as_made("parameters"))
        by_method = {method: _values(table) for method, table in outcome.further.items()}
        for key in keys(engine.groups):
            if value := outcome.explained.get(variable(*key, engine.groups)):
                ends = value.get("conf_low", np.nan), value.get("conf_high", np.nan)
                found["explained", *key] = (float(value["estimate"]), np.nan, *map(float, ends))
        effects = outcome.fit.as_made("ranef")
        if effects is not None:
            for (group, term), part in by_term(effects):
                for measure, value in ranef_measures(part).items():
                    found["ranef", group, f"{term}: {measure}"] = (value, np.nan, np.nan, np.nan)
    nothing, truth = (np.nan,) * 4, None if data is None else data.truth
    rows = []
    for effect, group, term in engine.expected:
        known = true.get((group, term), np.nan) if effect == "explained" else np.nan
        if effect in ("fixed", "ran_pars"):
            known = float(truth_of(truth, group, term))
        for method in engine.methods or [""] if effect == "fixed" else [""]:
            own = by_method.get(method, found).get((effect, group, term), nothing)
            rows.append((effect, group, term, method, known, *own))
    return rows


def _values(table: Any) -> dict[tuple[str, str, str], tuple]:
    """estimate, std_error, conf_low and conf_high of each row of a tidy table, columns or DataFrame."""
    names = ("estimate", "std_error", "conf_low", "conf_high")
    columns = zip(*(np.asarray(table[name], float).tolist() for name in names), strict=True)
    return dict(zip(zip(table["effect"], table["group"], table["term"], strict=True), columns, strict=True))


def fit_all(
    fitters: Mapping[str, Engine], data: DataSet, seed: int
) -> dict[str, tuple[Outcome | None, str, str, float]]:
    """Every engine on one data set: outcome, status, message, seconds.

    Any exception of an engine is its result: the replicates after it and the engines beside it go on.
    """
    done: dict[str, tuple[Outcome | None, str, str, float]] = {}
    exact = None
    for name in sorted(
        fitters, key=lambda name: fitters[name].row.starts
    ):  # those that start from another come last
        began = time.perf_counter()
        try:
            outcome = fitters[name].outcome(data, seed, exact)
            status, message = outcome.fit.diagnostics.status, outcome.fit.diagnostics.message
            if fitters[name].row.family == engines.EXACT:
                exact = outcome.fit
        except Exception as error:  # whatever it is, it is this fit's result
            outcome, status, message = None, "error", one_line(error)
        done[name] = outcome, status, message, time.perf_counter() - began
    return {name: done[name] for name in fitters}


def one_line(error: Exception) -> str:
    """An exception as a message of one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
