"""The report's tables: which columns, how many decimals, what is worth a row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from lmm.core.tidy import RESIDUAL, cor_name
from lmm.core.words import decimals, fixed, label, p_value, stars
from lmm.report.tables.table import Column, Table, largest, table
from lmm.report.text.fits import rounding
from lmm.results.study import Results


def _level(results: Results) -> str:
    return f"{100 * results.conf_level:g} %"


def coefficients(results: Results, engine: str, names: str) -> Table | None:
    """Fixed effects as R prints them; `names`: the engines whose table it is."""
    frame = results.fits[engine].parameters
    frame = frame[frame["effect"] == "fixed"].copy()
    if not len(frame):
        return None
    if frame["statistic"].isna().all():
        frame["statistic"] = frame["estimate"] / frame["std_error"]
    least_squares = engine == results.pooled
    places = decimals(frame["std_error"].to_numpy(float))
    columns = [
        Column("term", "", False, said=results.titled),
        Column("estimate", "Estimate", decimals=places),
        Column("std_error", "Std. error", decimals=places),
        Column("statistic", "t", decimals=3),
        Column("conf_low", "Low", decimals=places),
        Column("conf_high", "High", decimals=places),
    ]
    if not least_squares and frame["p_value"].notna().any():
        columns[4:4] = [Column("df", "df", decimals=1), Column("p_value", "p", said=p_value)]
    if least_squares:
        frame["stars"] = [stars(p) for p in frame["p_value"]]
        columns[4:4] = [Column("p_value", "Pr(>|t|)", said=p_value), Column("stars", "", False)]
    if results.truth:
        columns.append(Column("truth", "True value", decimals=3))
    about = {results.pooled: "coefficients", results.exact: "fixed effects (GLS standard errors)"}
    note = f"{names}: {about.get(engine, 'fixed effects')}; Low and High: {_level(results)} interval."
    return table(f"{engine}-fixed", note, frame, columns)


def quantiles(values: Sequence[float] | None, key: str, caption: str) -> Table | None:
    """Min, 1Q, Median, 3Q, Max."""
    if not values:
        return None
    names = ["Min", "1Q", "Median", "3Q", "Max"]
    frame = pd.DataFrame([dict(zip(names, values, strict=True))])
    return table(key, caption, frame, [Column(name, name, decimals=decimals(values, 4, 5)) for name in names])


def random_effects(results: Results, engine: str, names: str) -> Table | None:
    """lme4's random-effects block, with intervals where the engine has them; `names`: of the engines."""
    rows = [row for own in results.by_factor for row in _of_factor(own, engine) if row["group"] != "Residual"]
    rows += [row for row in _of_factor(results.by_factor[-1], engine) if row["group"] == "Residual"]
    frame = pd.DataFrame(rows)
    columns = [
        Column("group", "Group", False),
        Column("name", "Name", False),
        Column("variance", "Variance", decimals=4),
        Column("sd", "Std. dev.", decimals=4),
        Column("low", "Low", decimals=4),
        Column("high", "High", decimals=4),
    ]
    if len(frame) and (frame["corr"] != "").any():
        columns.insert(4, Column("corr", "Corr", False))
    if results.truth:
        columns.append(Column("truth", "True SD", decimals=3))
    note = f"{names}: random effects; Low and High: {_level(results)} interval of the standard deviation."
    return table(f"{engine}-random", note, frame, columns) if rows else None


def _of_factor(results: Results, engine: str) -> list[dict[str, Any]]:
    """The rows of one grouping factor, and of the residual."""
    fit = results.fits[engine]
    parameters = fit.parameters[fit.parameters["effect"] == "ran_pars"].set_index("term")
    sds = [term for term in parameters.index if term.startswith("sd__") and term != RESIDUAL] + [RESIDUAL]
    rows = []
    for k, term in enumerate(term for term in sds if term in parameters.index):
        name = term.removeprefix("sd__")
        earlier = [other.removeprefix("sd__") for other in sds[:k]]
        pairs = [cor_name(other, name) for other in earlier]
        corr = [fixed(parameters.loc[p, "estimate"], 3) for p in pairs if p in parameters.index]
        row = parameters.loc[term]
        rows.append(
            {
                "group": "Residual" if term == RESIDUAL else results.labels.column(row["group"]),
                "name": "" if term == RESIDUAL else results.labels.term(name),
                "variance": row["estimate"] ** 2,
                "sd": row["estimate"],
                "corr": "  ".join(corr),
                "low": row["conf_low"],
                "high": row["conf_high"],
                "truth": row["truth"],
            }
        )
    return rows


def correlations(
    summary: Mapping[str, Any], engine: str, said: str, name: Callable[[str], str] = str
) -> Table | None:
    """Correlation of the fixed effects, lower triangle; `said`: the engines' names; `name`: what terms are called."""
    names = [name(term) for term in summary.get("fixed_names") or []]
    matrix = summary.get("corr_fixed") or []
    if len(names) < 2:
        return None
    frame = pd.DataFrame(
        [{"": names[i]} | {names[j]: matrix[i][j] for j in range(i)} for i in range(1, len(names))]
    )
    columns = [Column("", "", False)] + [
        Column(one, one, decimals=3, coarse=True, missing="") for one in names[:-1]
    ]
    return table(f"{engine}-corr", f"{said}: correlation of fixed effects.", frame, columns)


# Measures of variance explained: in full, and short.
MEASURES = {
    "post": "share of the summed variance components (depends on the predictors' units)",
    "johnson": "random effects' share, mean over rows (Johnson 2014)",
    "marginal_r2": "marginal R² (Nakagawa): fixed effects",
    "conditional_r2": "conditional R² (Nakagawa): whole model",
    "icc": "intraclass correlation at predictors of 0",
}
SHORT = {
    "post": "variances summed",
    "johnson": "mean over rows",
    "marginal_r2": "marginal R²",
    "conditional_r2": "conditional R²",
    "icc": "intraclass correlation",
}


def explained(results: Results) -> Table | None:
    """Variance explained: a row per measure, a column per engine."""
    frame = results.tables.get("variance_explained")
    if frame is None or not len(frame):
        return None
    said = frame["measure"].map(MEASURES).fillna(frame["measure"])
    frame = frame.assign(about=said + frame["group"].map(lambda group: f", {group}" if group else ""))
    wide = frame.pivot_table(index="about", columns="engine", values="estimate", sort=False).reset_index()
    if frame["truth"].notna().any():
        wide["truth"] = wide["about"].map(frame.groupby("about")["truth"].first())
    columns = [Column("about", "Measure", False)] + [
        Column(name, "True value" if name == "truth" else label(name), decimals=4, coarse=True)
        for name in [*results.fits, "truth"]
        if name in wide
    ]
    return table("explained", "Variance explained, by several measures.", wide, columns)


def differences(results: Results) -> Table | None:
    """Random effects of every group by both engines, their difference and its Monte Carlo error."""
    frame = results.tables.get("ranef_differences")
    if frame is None or results.pair is None or rounding(results):
        return None
    first, second = results.pair
    parts, columns = [], [Column("level", results.labels.column(results.group), False)]
    for term in results.random_terms:
        mine = frame[frame["term"] == term].set_index("level")
        short = [c for c in (first, second, "difference", "mcse", "no_pooling", "truth") if c in mine]
        parts.append(mine[short].add_prefix(f"{term}."))
        titles = {first: label(first), second: label(second), "mcse": "MC error", "truth": "true value"}
        columns += [
            Column(
                f"{term}.{c}",
                f"{results.labels.term(term)}: {titles.get(c, c.replace('_', ' '))}",
                decimals={"difference": 5, "mcse": 5}.get(c, 4),
            )
            for c in short
        ]
    wide = pd.concat(parts, axis=1).reindex(results.levels).reset_index(names="level")
    note = f"Random effects by group: {label(first)}, {label(second)} and their difference ({label(first)} minus "
    wide, cut = largest(wide, list(wide.filter(regex=r"\.difference$")), "comparison/ranef_differences.csv")
    note += (
        f"{label(second)}){', with its Monte Carlo standard error' * bool(frame['mcse'].notna().any())}.{cut}"
    )
    return table("differences", note, wide, columns)


def ranef(results: Results) -> Table | None:
    """One engine's random effects with standard errors, and the group's coefficients."""
    engine = results.main
    if engine is None:
        return None
    parts, columns, fixed_effects = (
        {"level": results.levels},
        [Column("level", results.labels.column(results.group), False)],
        results.fixed(engine),
    )
    estimate, error = results.wide(engine), results.wide(engine, "std_error")
    for term in results.random_terms:
        name = results.labels.term(term)
        parts[f"{term}.ranef"] = estimate[term].to_numpy(float)
        parts[f"{term}.se"] = error[term].to_numpy(float)
        parts[f"{term}.coef"] = estimate[term].to_numpy(float) + fixed_effects.get(term, 0.0)
        columns += [
            Column(f"{term}.ranef", f"{name}: ranef", decimals=4),
            Column(f"{term}.se", f"{name}: std. error", decimals=4),
            Column(f"{term}.coef", f"{name}: coef", decimals=4),
        ]
    note = f"{label(engine)}: ranef, its prediction standard error, and coef = fixef + ranef, group by group."
    whole = pd.DataFrame(parts)
    shown, cut = largest(whole, list(whole.filter(regex=r"\.ranef$")), f"{engine}/ranef.parquet")
    return table("ranef", note + cut, shown, columns)
