"""The engines held against the truth and against each other, from their tidy tables alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lmm.core import engines
from lmm.core.engines import BAYES, EXACT, LIKELIHOOD
from lmm.core.tidy import RESIDUAL, Fit, groups_of, realised_of, variable

KEY = ["group", "term"]

RECOVERED = (
    "recovered: the engine's {level:g} % interval covers the value that the data were simulated from; "
    "null where there is no truth or no interval"
)


def variance_recovery(
    fits: Mapping[str, Fit], truth: Mapping[str, Any] | None, explained: pd.DataFrame | None = None
) -> pd.DataFrame:
    """What was put in, and what each engine makes of it.

    Parameters
    ----------
    fits : mapping of Fit
        By engine.
    truth : mapping or None
        truth.json's content.
    explained : DataFrame, optional
        `variance.table`; its measures follow as terms `variance_explained__<measure>`.

    Returns
    -------
    DataFrame
        A row for each sd and correlation that any engine estimates, sd's first. group, term, truth, realised and
        for each engine <engine>_estimate, _low, _high, _error (estimate - truth), _relative_error (error / truth;
        NaN at a truth of 0, where it is not defined) and _covered (nullable boolean: whether the interval
        contains the truth).
    """
    parts = {}
    for engine in engines.ordered(fits):
        table = fits[engine].parameters
        parts[engine] = table.loc[
            table["effect"] == "ran_pars", [*KEY, "estimate", "conf_low", "conf_high", "truth"]
        ]
    if explained is not None:
        for engine, rows in explained.groupby("engine", sort=False):
            named = rows.assign(term="variance_explained__" + rows["measure"])
            parts[engine] = pd.concat([parts[engine], named[parts[engine].columns]])
    keys = sorted(
        {key: None for part in parts.values() for key in zip(part["group"], part["term"], strict=True)},
        key=_rank,
    )
    index = pd.MultiIndex.from_tuples(keys, names=KEY)
    indexed = {engine: part.set_index(KEY).reindex(index).astype(float) for engine, part in parts.items()}
    # every engine has the same truth beside it, where it has the term at all
    true = pd.concat([part["truth"] for part in indexed.values()], axis=1).bfill(axis=1).iloc[:, 0]
    out = {
        "group": [group for group, _ in keys],
        "term": [term for _, term in keys],
        "truth": true.to_numpy(),
        "realised": [realised_of(truth, *key) for key in keys],
    }
    for engine, part in indexed.items():
        estimate, low, high = (part[name].to_numpy() for name in ("estimate", "conf_low", "conf_high"))
        error = estimate - out["truth"]
        out[f"{engine}_estimate"], out[f"{engine}_low"], out[f"{engine}_high"] = estimate, low, high
        out[f"{engine}_error"] = error
        out[f"{engine}_relative_error"] = error / np.where(out["truth"] == 0, np.nan, out["truth"])
        out[f"{engine}_covered"] = covered(low, high, out["truth"])
    return pd.DataFrame(out)


def _rank(key: tuple[str, str]) -> int:
    """Sd's of random effects, residual sd, correlations, variance explained; as they come within these."""
    term = key[1]
    kinds = (term.startswith("sd__") and term != RESIDUAL, term == RESIDUAL, term.startswith("cor__"), True)
    return kinds.index(True)


def covered(low: np.ndarray, high: np.ndarray, truth: np.ndarray) -> pd.array:
    """Whether intervals hold the truth, bounds included; missing where one of the three is."""
    low, high, truth = (np.asarray(values, float) for values in (low, high, truth))
    known = ~(np.isnan(low) | np.isnan(high) | np.isnan(truth))
    return pd.array(np.where(known, (low <= truth) & (truth <= high), None), dtype="boolean")


def _with_ranef(fits: Mapping[str, Fit]) -> list[str]:
    return engines.ordered(name for name, fit in fits.items() if fit.ranef is not None and len(fit.ranef))


def pair(fits: Mapping[str, Fit]) -> tuple[str, str] | None:
    """The two engines whose random effects are held against each other: MixedLM, or reml, and PyMC.

    Whichever two there are where one of these is missing, None where there are not two.
    """
    names = _with_ranef(fits)
    likelihood, bayes = engines.first(names, LIKELIHOOD, EXACT), engines.first(names, BAYES)
    if likelihood is not None and bayes is not None:
        return likelihood, bayes
    return (names[0], names[1]) if len(names) > 1 else None


def lead(fits: Mapping[str, Fit]) -> str | None:
    """The engine whose fixed effects stand for the mixed model; None without one that has random effects."""
    names = _with_ranef(fits)
    return engines.first(names, LIKELIHOOD, EXACT, BAYES) or next(iter(names), None)


def ranef_differences(
    fits: Mapping[str, Fit], no_pooling: Mapping[str, pd.DataFrame] | None = None
) -> pd.DataFrame:
    """Random effects of every group by every engine, and how far two engines are apart.

    Parameters
    ----------
    fits : mapping of Fit
    no_pooling : mapping, optional
        Grouping factor to `no_pooling.own_effects` at the fixed effects of `lead`: a row for each level, a column for
        each term.

    Returns
    -------
    DataFrame
        group, level, term, mixedlm, pymc, difference (mixedlm - pymc; where one is absent, as `difference_of` says),
        mcse (Monte Carlo standard error of pymc's mean), reml, no_pooling (the group's own least squares less
        the fixed part of the mixed model, to be comparable with a random effect), truth, difference_of. An
        engine that is absent has an empty column.
    """
    names = _with_ranef(fits)
    keys = ["group", "level", "term"]
    tables = {name: fits[name].ranef.astype({"level": str}).set_index(keys) for name in names}
    index = pd.MultiIndex.from_arrays([[], [], []], names=keys)
    for table in tables.values():
        index = index.append(table.index.difference(index, sort=False))
    out = pd.DataFrame(index=index)
    compared = engines.of_family(engines.ENGINES, LIKELIHOOD, BAYES)
    for name in compared:
        out[name] = _column(tables, name, "estimate", index)
    two = pair(fits)
    out["difference"] = np.nan
    if two is not None:
        out["difference"] = _column(tables, two[0], "estimate", index) - _column(
            tables, two[1], "estimate", index
        )
    out["mcse"] = _column(tables, engines.first(names, BAYES), "mcse_mean", index)
    for name in engines.mixed(engines.ENGINES):
        if name not in compared:
            out[name] = _column(tables, name, "estimate", index)
    out["no_pooling"] = np.nan
    for group, own in (no_pooling or {}).items():
        for term in own.columns:
            at = (index.get_level_values("group") == group) & (index.get_level_values("term") == term)
            levels = index.get_level_values("level")[at]
            out.loc[at, "no_pooling"] = own[term].reindex(levels).to_numpy()
    out["truth"] = np.nan
    for name in names:
        out["truth"] = out["truth"].fillna(_column(tables, name, "truth", index))
    out["difference_of"] = "" if two is None else f"{two[0]} - {two[1]}"
    return out.reset_index()


def _column(
    tables: Mapping[str, pd.DataFrame], engine: str | None, column: str, index: pd.MultiIndex
) -> pd.Series:
    """A column of an engine's random effects; NaN where there is no such engine, column or group."""
    if engine not in tables or column not in tables[engine]:
        return pd.Series(np.nan, index=index)
    return tables[engine][column].reindex(index).astype(float)


def verdict(fits: Mapping[str, Fit], differences: pd.DataFrame | None, conf_level: float) -> dict[str, Any]:
    """Headline numbers, for the report's first lines and summary.json.

    Parameters
    ----------
    fits : mapping of Fit
    differences : DataFrame or None
        `ranef_differences`.
    conf_level : float

    Returns
    -------
    dict
        definition : what `recovered` means, in words.
        engines : by engine its status and message, singular, criterion, recovered (term -> bool or None,
            fixed effects and variance parameters), n_recovered, n_judged, gates_passed (None without gates),
            gates_failed, ranef_coverage (term -> share of the groups' true effects inside their intervals,
            None without truth).
        ranef_difference : by term the largest difference between two engines: engines, level, difference,
            mcse there, in_sigma (size over sigma), in_mcse (over its Monte Carlo error, None without one).
        reml_gap : what MixedLM recorded of it, or None.
    """
    gaps = (fit.diagnostics.summary.get("reml_gap") for fit in fits.values())
    return {
        "definition": RECOVERED.format(level=100 * conf_level),
        "engines": {name: _engine_verdict(fits[name]) for name in engines.ordered(fits)},
        "ranef_difference": {} if differences is None else _largest(fits, differences),
        "reml_gap": next((gap for gap in gaps if gap is not None), None),
    }


def _engine_verdict(fit: Fit) -> dict[str, Any]:
    table, details = fit.parameters, fit.diagnostics
    held = covered(table["conf_low"], table["conf_high"], table["truth"])
    if details.status == engines.UNIDENTIFIED:
        held[:] = pd.NA
    groups = groups_of(table)
    recovered = {
        variable(group, term, groups): None if value is pd.NA else bool(value)
        for group, term, value in zip(table["group"], table["term"], held, strict=True)
    }
    gates = details.gates
    coverage: dict[str, float | None] = {}
    if fit.ranef is not None:
        for (group, term), part in fit.ranef.groupby(KEY, sort=False):
            inside = covered(part["conf_low"], part["conf_high"], part["truth"])
            share = None if inside.isna().all() else float(inside.mean())
            coverage[variable(group, term, groups)] = share
    return {
        "status": details.status,
        "message": details.message,
        "singular": details.singular,
        "criterion": details.criterion,
        "recovered": recovered,
        "n_recovered": sum(value is True for value in recovered.values()),
        "n_judged": sum(value is not None for value in recovered.values()),
        "gates_passed": all(gate["passed"] for gate in gates) if gates else None,
        "gates_failed": [gate["name"] for gate in gates if not gate["passed"]],
        "ranef_coverage": coverage,
    }


def _largest(fits: Mapping[str, Fit], differences: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The largest difference of each term, in sigma of the first engine and in Monte Carlo errors."""
    out, groups = {}, differences["group"].unique()
    for (group, term), part in differences.dropna(subset="difference").groupby(KEY, sort=False):
        row = part.loc[part["difference"].abs().idxmax()]
        first = row["difference_of"].partition(" - ")[0]
        parameters = fits[first].parameters.set_index("term")["estimate"]
        size, mcse = abs(row["difference"]), row["mcse"]
        out[variable(group, term, groups)] = {
            "engines": row["difference_of"],
            "level": row["level"],
            "difference": float(row["difference"]),
            "mcse": None if np.isnan(mcse) else float(mcse),
            "in_sigma": float(size / parameters[RESIDUAL]),
            "in_mcse": float(size / mcse) if mcse > 0 else None,
        }
    return out
