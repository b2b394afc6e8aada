"""The report's tables: which columns, how many decimals, what is worth a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lmm.results import Results
from lmm.tidy import RESIDUAL
from lmm.words import decimals, fixed, label, number, p_value, stars

INTERACTIVE = 12  # more rows than this: sorted, filtered and paged in the browser
STATIC = 1500  # more rows than this travel as data and become rows only when they are looked at


@dataclass(frozen=True)
class Column:
    """A column: its heading, whether it is a number, decimals, and a longer explanation of the heading."""

    name: str
    title: str
    numeric: bool = True
    decimals: int | None = None
    about: str = ""


@dataclass(frozen=True)
class Table:
    """A table ready for the page.

    Attributes
    ----------
    key : str
        Unique within the study; the CSV's name too.
    caption : str
    columns : tuple of Column
    rows : list of list
        Cells as (value, text).
    """

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: list[list[tuple[Any, str]]]

    @property
    def interactive(self) -> bool:
        """Whether the browser sorts, filters and pages it."""
        return len(self.rows) > INTERACTIVE

    @property
    def streamed(self) -> bool:
        """Whether its rows travel as data."""
        return len(self.rows) > STATIC

    def data(self) -> list[list[Any]]:
        """Bare values, for a streamed table."""
        return [
            [float(f"{value:.7g}") if isinstance(value, float) and np.isfinite(value) else text if not isinstance(value, float) else None
             for value, text in row]
            for row in self.rows
        ]  # fmt: skip


def table(key: str, caption: str, frame: pd.DataFrame, columns: Sequence[Column]) -> Table | None:
    """A table of `frame`'s columns that are there and not empty; None without rows."""
    there = [c for c in columns if c.name in frame and not frame[c.name].isna().all()]
    if not len(frame) or not there:
        return None
    done, cells = [], []
    for column in there:
        values = frame[column.name]
        if column.numeric:
            floats = values.astype(float).to_numpy()
            places = decimals(floats) if column.decimals is None else column.decimals
            done.append(Column(column.name, column.title, True, places, column.about))
            cells.append([(float(v), _cell(float(v), places)) for v in floats])
        else:
            done.append(column)
            cells.append([(str(v), str(v)) for v in values.fillna("")])
    return Table(key, caption, tuple(done), [list(row) for row in zip(*cells, strict=True)])


def _cell(value: float, places: int) -> str:
    """Fixed decimals, unless they would round a number that is not 0 to 0."""
    if np.isfinite(value) and value != 0 and abs(value) < 0.5 * 10.0**-places:
        return number(value, 2)
    return fixed(value, places)


def _level(results: Results) -> str:
    return f"{100 * results.conf_level:g} %"


def truth_table(results: Results) -> Table | None:
    """What was put in, and what this one draw of it came to."""
    if not results.truth:
        return None
    truth = results.truth
    rows = [("fixed", term, value, np.nan) for term, value in truth["fixed"].items()]
    rows += [("sd", f"sd__{term}", value, results.realised(f"sd__{term}")) for term, value in truth["sd"].items()]
    rows += [("residual sd", RESIDUAL, truth["sigma"], results.realised(RESIDUAL))]
    rows += [("correlation", f"cor__{k}", v, results.realised(f"cor__{k}")) for k, v in (truth.get("corr") or {}).items()]
    frame = pd.DataFrame(rows, columns=["kind", "term", "truth", "realised"])
    return table(
        "truth", "Simulated from, and realised in this draw (sd's with divisor n − 1).", frame,
        [Column("kind", "", False), Column("term", "Term", False), Column("truth", "Simulated from", decimals=3),
         Column("realised", "Realised", decimals=3)],
    )  # fmt: skip


def coefficients(results: Results, engine: str) -> Table | None:
    """Fixed effects as R prints them."""
    frame = results.fits[engine].parameters
    frame = frame[frame["effect"] == "fixed"].copy()
    if not len(frame):
        return None
    if frame["statistic"].isna().all():
        frame["statistic"] = frame["estimate"] / frame["std_error"]
    least_squares = engine == "ols"
    columns = [Column("term", "", False), Column("estimate", "Estimate"), Column("std_error", "Std. error"),
               Column("statistic", "t", decimals=3), Column("conf_low", "Low"), Column("conf_high", "High")]  # fmt: skip
    if least_squares:
        frame["p"] = [p_value(p) for p in frame["p_value"]]
        frame["stars"] = [stars(p) for p in frame["p_value"]]
        columns[4:4] = [Column("p", "Pr(>|t|)", False), Column("stars", "", False)]
    if results.truth:
        columns.append(Column("truth", "Truth", decimals=3))
    about = {"ols": "Coefficients", "mixedlm": "Fixed effects", "reml": "Fixed effects (GLS standard errors)"}
    note = f"{about.get(engine, 'Fixed effects')}; Low and High: {_level(results)} interval."
    return table(f"{engine}-fixed", note, frame, columns)


def quantiles(values: Sequence[float] | None, key: str, caption: str) -> Table | None:
    """Min, 1Q, Median, 3Q, Max."""
    if not values:
        return None
    names = ["Min", "1Q", "Median", "3Q", "Max"]
    frame = pd.DataFrame([dict(zip(names, values, strict=True))])
    return table(key, caption, frame, [Column(name, name, decimals=decimals(values, 4, 5)) for name in names])


def random_effects(results: Results, engine: str) -> Table | None:
    """lme4's random-effects block; with intervals where the engine has them."""
    fit = results.fits[engine]
    parameters = fit.parameters[fit.parameters["effect"] == "ran_pars"].set_index("term")
    sds = [term for term in parameters.index if term.startswith("sd__") and term != RESIDUAL] + [RESIDUAL]
    rows = []
    for k, term in enumerate(term for term in sds if term in parameters.index):
        name = term.removeprefix("sd__")
        earlier = [other.removeprefix("sd__") for other in sds[:k]]
        pairs = [f"cor__{other}.{name}" for other in earlier]
        corr = [fixed(parameters.loc[p, "estimate"], 3) for p in pairs if p in parameters.index]
        row = parameters.loc[term]
        rows.append(
            {"group": "Residual" if term == RESIDUAL else row["group"], "name": "" if term == RESIDUAL else name,
             "variance": row["estimate"] ** 2, "sd": row["estimate"], "corr": "  ".join(corr),
             "low": row["conf_low"], "high": row["conf_high"], "truth": row["truth"]}
        )  # fmt: skip
    frame = pd.DataFrame(rows)
    columns = [Column("group", "Group", False), Column("name", "Name", False), Column("variance", "Variance", decimals=4),
               Column("sd", "Std. dev.", decimals=4), Column("low", "Low", decimals=4), Column("high", "High", decimals=4)]  # fmt: skip
    if len(frame) and (frame["corr"] != "").any():
        columns.insert(4, Column("corr", "Corr", False))
    if results.truth:
        columns.append(Column("truth", "Truth (sd)", decimals=3))
    note = f"Random effects; Low and High: {_level(results)} interval of the standard deviation."
    return table(f"{engine}-random", note, frame, columns) if rows else None


def correlations(summary: Mapping[str, Any], engine: str) -> Table | None:
    """Correlation of the fixed effects, lower triangle."""
    names, matrix = summary.get("fixed_names") or [], summary.get("corr_fixed") or []
    if len(names) < 2:
        return None
    frame = pd.DataFrame(
        [{"": names[i]} | {names[j]: matrix[i][j] for j in range(i)} for i in range(1, len(names))]
    )
    columns = [Column("", "", False)] + [Column(name, name, decimals=3) for name in names[:-1]]
    return table(f"{engine}-corr", "Correlation of the fixed effects.", frame, columns)


MEASURES = {
    "post": "the post's: variances summed (depends on the predictor's unit)",
    "johnson": "random effects' share, mean over rows (Johnson 2014)",
    "marginal_r2": "marginal R² (Nakagawa): fixed effects",
    "conditional_r2": "conditional R² (Nakagawa): whole model",
    "icc": "intraclass correlation at predictors of 0",
}


def explained(results: Results) -> Table | None:
    """Variance explained: a row a measure, a column an engine."""
    frame = results.tables.get("variance_explained")
    if frame is None or not len(frame):
        return None
    wide = frame.pivot_table(index="measure", columns="engine", values="estimate", sort=False)
    wide = wide.reset_index().assign(about=lambda t: t["measure"].map(MEASURES).fillna(t["measure"]))
    if frame["truth"].notna().any():
        wide["truth"] = wide["measure"].map(frame.groupby("measure")["truth"].first())
    columns = [Column("about", "Measure", False)] + [
        Column(name, label(name), decimals=4) for name in [*results.fits, "truth"] if name in wide
    ]
    return table("explained", "Variance explained, by several measures.", wide, columns)


def posterior(results: Results) -> Table | None:
    """The summary of what was sampled, as the post prints it and more."""
    frame = results.fits["pymc"].parameters
    names = ["estimate", "median", "sd", "mad", "q5", "q95", "rhat", "ess_bulk", "ess_tail", "mcse_mean"]
    titles = ["Mean", "Median", "SD", "MAD", "5 %", "95 %", "R-hat", "ESS bulk", "ESS tail", "MCSE"]
    places = {"rhat": 4, "ess_bulk": 0, "ess_tail": 0, "mcse_mean": 5}
    columns = [Column("term", "Term", False)] + [
        Column(name, title, decimals=places.get(name, 3)) for name, title in zip(names, titles, strict=True)
    ]
    if results.truth:
        columns.append(Column("truth", "Truth", decimals=3))
    return table("posterior", "Posterior: mean, quantiles and what the sampler made of it.", frame, columns)


def gates(results: Results) -> Table | None:
    """Every gate: value, limit, verdict."""
    listed = results.fits["pymc"].diagnostics.get("gates") or []
    frame = pd.DataFrame(
        [{"name": g["name"], "value": number(g["value"], 5), "limit": number(g["limit"], 4),
          "passed": "✓ passed" if g["passed"] else "✗ failed"} for g in listed]
    )  # fmt: skip
    columns = [Column("name", "Gate", False), Column("value", "Value", False), Column("limit", "Limit", False), Column("passed", "Verdict", False)]
    return table("gates", "Convergence gates (Vehtari et al. 2021).", frame, columns)


def priors(results: Results) -> Table | None:
    """The priors, with the numbers that defaults stood for."""
    recorded = (results.fits["pymc"].diagnostics.get("summary") or {}).get("priors") or []
    if isinstance(recorded, dict):
        recorded = [{"parameter": name, "prior": text} for name, text in recorded.items()]
    return table("priors", "Priors.", pd.DataFrame(recorded), [Column("parameter", "Parameter", False), Column("prior", "Prior", False)])


def recovery(results: Results) -> Table | None:
    """Truth, realised, and each engine's estimate with interval, error, covered or not."""
    frame = results.tables.get("variance_recovery")
    if frame is None:
        return None
    frame = frame.copy()
    columns = [Column("term", "Term", False), Column("truth", "Truth", decimals=3), Column("realised", "Realised", decimals=3)]
    for engine in results.fits:
        name = label(engine)
        columns.append(Column(f"{engine}_estimate", name, decimals=4))
        if f"{engine}_low" in frame:
            frame[f"{engine}_interval"] = [
                "" if not np.isfinite(low + high) else f"{fixed(low, 3)} to {fixed(high, 3)}"
                for low, high in zip(frame[f"{engine}_low"].astype(float), frame[f"{engine}_high"].astype(float), strict=True)
            ]
            if (frame[f"{engine}_interval"] != "").any():
                columns.append(Column(f"{engine}_interval", "interval", False))
        if f"{engine}_covered" in frame and results.truth:
            marks = {True: "✓ holds truth", False: "✗ misses"}
            frame[f"{engine}_held"] = [marks.get(v if v is True or v is False else {"True": True, "False": False}.get(str(v)), "") for v in frame[f"{engine}_covered"]]
            if (frame[f"{engine}_held"] != "").any():
                columns.append(Column(f"{engine}_held", "", False))
    note = f"Variance parameters by engine, with {_level(results)} intervals; variance explained below them."
    return table("recovery", note, frame, columns)


def differences(results: Results) -> Table | None:
    """Random effects of every group by both engines, their difference and its Monte Carlo error."""
    frame = results.tables.get("ranef_differences")
    if frame is None or results.pair is None:
        return None
    first, second = results.pair
    parts, columns = [], [Column("level", results.group, False)]
    for term in results.random_terms:
        mine = frame[frame["term"] == term].set_index("level")
        short = [c for c in (first, second, "difference", "mcse", "no_pooling", "truth") if c in mine]
        parts.append(mine[short].add_prefix(f"{term}."))
        titles = {first: label(first), second: label(second), "difference": "difference", "mcse": "MC error"}
        columns += [Column(f"{term}.{c}", f"{term}: {titles.get(c, c.replace('_', ' '))}",
                           decimals={"difference": 5, "mcse": 5}.get(c, 4)) for c in short]  # fmt: skip
    wide = pd.concat(parts, axis=1).reset_index(names="level")
    note = f"Random effects by group: {label(first)}, {label(second)}, {label(first)} minus {label(second)}, Monte Carlo standard error."
    return table("differences", note, wide, columns)


def ranef(results: Results) -> Table | None:
    """One engine's random effects with standard errors, and the group's coefficients."""
    engine = results.main
    if engine is None:
        return None
    parts, columns, fixed_effects = {"level": results.levels}, [Column("level", results.group, False)], results.fixed(engine)
    estimate, error = results.wide(engine), results.wide(engine, "std_error")
    for term in results.random_terms:
        parts[f"{term}.ranef"] = estimate[term].to_numpy(float)
        parts[f"{term}.se"] = error[term].to_numpy(float)
        parts[f"{term}.coef"] = estimate[term].to_numpy(float) + fixed_effects.get(term, 0.0)
        columns += [Column(f"{term}.ranef", f"{term}: ranef", decimals=4), Column(f"{term}.se", f"{term}: std. error", decimals=4),
                    Column(f"{term}.coef", f"{term}: coef", decimals=4)]  # fmt: skip
    note = f"{label(engine)}: ranef, its prediction standard error, and coef = fixef + ranef, group by group."
    return table("ranef", note, pd.DataFrame(parts), columns)
