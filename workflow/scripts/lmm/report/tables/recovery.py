"""Tables of a study with replicates: performance, random effects, endings, calibration."""

from dataclasses import replace

import numpy as np
import pandas as pd

from lmm.core.words import capital, decimals, label, p_value
from lmm.report.tables.fits import SHORT
from lmm.report.tables.table import Column, Table, table
from lmm.report.text import shapes
from lmm.report.text.reporting import changes, items
from lmm.results.replicated import Recovered, axis_name, quantity_name


def _axes(recovered: Recovered) -> list[Column]:
    """A column for each axis of the design."""
    return [
        Column(a, capital(axis_name(a)), pd.api.types.is_numeric_dtype(recovered.designs[a]))
        for a in recovered.axes
    ]


def designs(recovered: Recovered) -> Table | None:
    """The designs of a grid, by what tells them apart."""
    return (
        table("designs", "The designs.", recovered.designs, _axes(recovered))
        if len(recovered.axes) > 1
        else None
    )


def reporting(recovered: Recovered) -> Table | None:
    """Items of reporting with their answers."""
    frame = pd.DataFrame(items(recovered))
    columns = [
        Column("asked", "Item", False), Column("answer", "Answer", False), Column("source", "Source", False)
    ]  # fmt: skip
    caption = "Items of reporting (Morris et al. 2019; Siepe et al. 2024)."
    found = table("reporting", caption, frame.rename(columns={"item": "asked"}), columns)
    return found and replace(found, paged=False)


def deviations(recovered: Recovered) -> Table | None:
    """Where this run departs from the plan that was frozen; None where it does not."""
    frame = pd.DataFrame(changes(recovered), columns=["part", "what", "planned", "done"])
    columns = [
        Column("part", "Part", False), Column("what", "What", False), Column("planned", "As planned", False),
        Column("done", "As carried out", False),
    ]  # fmt: skip
    return table("deviations", "Deviations from the plan.", frame, columns)


def wide(recovered: Recovered, effects: tuple[str, ...], measures: tuple[str, ...]) -> pd.DataFrame:
    """A row for each design, engine and term; <measure> and <measure>_mcse side by side, in the designs' order."""
    rows = recovered.performance
    rows = rows[rows["effect"].isin(effects) & (rows["subset"] == "usable") & rows["measure"].isin(measures)]
    keys = ["design", "engine", "term"]
    parts = [
        rows[rows["measure"] == measure]
        .set_index(keys)[["estimate", "mcse"]]
        .set_axis([measure, f"{measure}_mcse"], axis=1)
        for measure in measures
    ]
    lead = rows[rows["measure"] == measures[0]].set_index(keys)[["truth", "n_used", "n_failed"]]
    out = pd.concat([lead, *parts], axis=1).reset_index()
    order = {design: k for k, design in enumerate(recovered.designs["design"])}
    place = {term: k for k, term in enumerate(recovered.terms)}
    out["_order"] = out["design"].map(order)
    out["_term"] = out["term"].map(place).fillna(len(place))
    out["_engine"] = out["engine"].map(recovered.engines.index)
    out = out.sort_values(["_order", "_term", "_engine"], kind="stable").merge(recovered.designs, on="design")
    return out.assign(engine=out["engine"].map(label))


def _pair(measure: str, title: str, places: int | None) -> list[Column]:
    return [
        Column(measure, title, decimals=places),
        Column(f"{measure}_mcse", "±", decimals=places),
    ]


def _unless_zero(counts: pd.Series) -> pd.Series:
    """Empty where all are 0, which leaves the column out: it would say nothing."""
    return counts if counts.max() > 0 else counts.astype(float) * np.nan


def performance(recovered: Recovered) -> Table | None:
    """The measures that matter most, by design, term and engine; all of them are in performance.csv."""
    measures = (
        "bias",
        "relative_bias",
        "empirical_se",
        "model_se_error",
        "rmse",
        "coverage",
        "power",
        "relative_precision",
    )
    frame = wide(recovered, ("fixed", "ran_pars"), measures)
    needed = recovered.rows("coverage").set_index(["design", "engine", "term"])["n_needed"]
    frame = frame.join(needed.rename(index=label, level="engine"), on=["design", "engine", "term"])
    frame["n_failed"] = _unless_zero(frame["n_failed"])
    for name in ("relative_bias", "coverage", "power"):
        frame[[name, f"{name}_mcse"]] *= 100
    relative = len(recovered.rows("relative_bias")) > 0
    places = decimals(frame["empirical_se"], 3)
    shown = _pair("relative_bias", "Bias %", 1) if relative else _pair("bias", "Bias", places)
    columns = [
        *_axes(recovered), Column("term", "Term", False), Column("engine", "Engine", False), Column("truth", "Truth"),
        *shown, *_pair("coverage", "Coverage %", 1), *_pair("rmse", "RMSE", places),
        *_pair("empirical_se", "EmpSE", places), *_pair("model_se_error", "ModSE %", 1),
        *_pair("power", "Power %", 1), *_pair("relative_precision", "Gain %", 1),
        Column("n_used", "Used", decimals=0), Column("n_failed", "Failed", decimals=0),
        Column("n_needed", "Needed", decimals=0),
    ]  # fmt: skip
    caption = (
        "Performance by design, term and engine, ± Monte Carlo standard error. ModSE: relative error of the "
        f"model-based standard error. Gain: in precision over {label(recovered.reference)}. Power: intervals that "
        "exclude 0, of fixed effects only: an sd is never below 0, so that PyMC's interval always excludes 0 and a "
        "profile interval tests too cautiously there. Needed: replicates for a coverage known to half a percentage "
        "point."
    )
    return table("performance", caption, frame, columns)


def misspecified(recovered: Recovered) -> Table | None:
    """Designs with other than normal effects or errors beside the normal design; None without any."""
    frame = shapes.compared(recovered)
    if not len(frame):
        return None
    order = {term: k for k, term in enumerate(recovered.terms)}
    frame = recovered.designs.merge(frame, on="design", validate="one_to_many")
    frame = frame.sort_values("term", key=lambda t: t.map(order), kind="stable")
    place = {design: k for k, design in enumerate(recovered.designs["design"])}
    frame = frame.sort_values("design", key=lambda d: d.map(place), kind="stable")
    frame["engine"] = frame["engine"].map(label)
    percents = [name for name in frame if name.startswith(("relative_bias", "coverage"))]
    frame[percents] *= 100
    columns = [*_axes(recovered), Column("term", "Term", False), Column("engine", "Engine", False)]
    for measure, title in (("relative_bias", "Bias %"), ("coverage", "Coverage %")):
        columns += [
            Column(f"{measure}_normal", f"{title}, normal", decimals=1),
            Column(measure, f"{title}, this", decimals=1),
            Column(f"{measure}_difference", "Difference", decimals=1, coarse=True),
            Column(f"{measure}_difference_mcse", "±", decimals=1),
        ]  # fmt: skip
    columns += [*_pair("precision", "Precision %", 1), Column("n_used", "Used", decimals=0)]
    how = (
        "as if both had independent data, since single replicates are not kept"
        if recovered.settings.get("record") == "sums"
        else "paired over replicates with the same random streams"
    )
    caption = (
        "Designs with random effects or errors of another shape beside the normal design that is otherwise the same. "
        f"Difference: this less normal, ± its Monte Carlo standard error, {how}. Precision: gain over the normal "
        "design."
    )
    return table("misspecified", caption, frame, columns)


METHODS = {"satterthwaite": "Satterthwaite", "kenward-roger": "Kenward-Roger", "normal": "normal"}


def methods(recovered: Recovered) -> Table | None:
    """What the intervals of reml's fixed effects cover by each method of degrees of freedom."""
    if not recovered.methods:
        return None
    rows = recovered.tables["performance"]
    rows = rows[(rows["df"] != "") & (rows["subset"] == "usable")]
    keys = ["design", "term", "df"]
    parts = []
    scales = {"coverage": 100.0, "power": 100.0, "type_1_error": 100.0, "width": 1.0, "model_se_error": 1.0}
    for measure, scale in scales.items():
        own = rows[rows["measure"] == measure].set_index(keys)[["estimate", "mcse"]] * scale
        parts.append(own.set_axis([measure, f"{measure}_mcse"], axis=1))
    lead = rows[rows["measure"] == "coverage"].set_index(keys)[["truth", "n_used"]]
    frame = pd.concat([lead, *parts], axis=1).reset_index()
    # where there is no effect, an interval that excludes 0 is an error and no power
    frame.loc[frame["type_1_error"].notna(), ["power", "power_mcse"]] = np.nan
    frame["df"] = frame["df"].map(METHODS)
    frame = recovered.designs.merge(frame, on="design")
    columns = [
        *_axes(recovered), Column("term", "Term", False), Column("df", "Degrees of freedom", False),
        Column("truth", "Truth"), *_pair("coverage", "Coverage %", 1), *_pair("power", "Power %", 1),
        *_pair("type_1_error", "Type I error %", 1), *_pair("width", "Width", decimals(frame["width"], 3)),
        *_pair("model_se_error", "ModSE %", 1), Column("n_used", "Used", decimals=0),
    ]  # fmt: skip
    caption = (
        "Fixed effects of reml by method of degrees of freedom, ± Monte Carlo standard error: the same fits, with "
        "intervals by t with the degrees of freedom of Satterthwaite or of Kenward and Roger, or by the normal "
        "distribution."
    )
    return table("df-methods", caption, frame, columns)


def ranef(recovered: Recovered) -> Table | None:
    """How well the groups' own effects are recovered."""
    measures = ("ranef_rmse", "ranef_coverage", "ranef_shrinkage", "ranef_rank_correlation")
    frame = wide(recovered, ("ranef",), measures)
    frame[["ranef_coverage", "ranef_coverage_mcse"]] *= 100
    columns = [
        *_axes(recovered), Column("term", "Term", False), Column("engine", "Engine", False),
        *_pair("ranef_rmse", "RMSE", 4), *_pair("ranef_coverage", "Coverage %", 1),
        *_pair("ranef_shrinkage", "Shrinkage", 3), *_pair("ranef_rank_correlation", "Rank correlation", 3),
        Column("n_used", "Used", decimals=0),
    ]  # fmt: skip
    caption = "Random effects against those drawn: means over replicates, ± Monte Carlo standard error."
    return table("ranef-recovery", caption, frame, columns)


def explained(recovered: Recovered) -> Table | None:
    """Performance of the measures of variance explained."""
    frame = wide(recovered, ("explained",), ("bias", "empirical_se", "rmse", "coverage"))
    if not len(frame):  # replicates of which parameters alone are kept
        return None
    frame[["coverage", "coverage_mcse"]] *= 100
    parts = frame["term"].str.partition("|")
    name, group = parts[0], parts[2]  # empty of a measure of the whole model
    frame["measure"] = name.map(SHORT).fillna(name) + (", " + group).where(group != "", "")
    columns = [
        *_axes(recovered), Column("measure", "Measure", False), Column("engine", "Engine", False),
        Column("truth", "Truth", decimals=4),
        *_pair("bias", "Bias", 4), *_pair("empirical_se", "EmpSE", 4), *_pair("rmse", "RMSE", 4),
        *_pair("coverage", "Coverage %", 1),
    ]  # fmt: skip
    return table("explained-recovery", "Variance explained, ± Monte Carlo standard error.", frame, columns)


def endings(recovered: Recovered) -> Table | None:
    """Fits that did not end ok, with what they said."""
    frame = recovered.tables["failures"]
    frame = frame[frame["status"] != "ok"].assign(engine=lambda t: t["engine"].map(label))
    frame["message"] = frame["message"].replace("", np.nan)
    columns = [*_axes(recovered), Column("engine", "Engine", False), Column("status", "Status", False),
               Column("message", "Message", False), Column("count", "Fits", decimals=0)]  # fmt: skip
    return table("failures", "Fits that ended other than ok, with their messages.", frame, columns)


def verdicts(recovered: Recovered) -> Table | None:
    """Calibration, quantity by quantity."""
    frame = recovered.tables["calibration"].merge(recovered.designs, on="design", how="left")
    marks = {"calibrated": "✓ calibrated", "not calibrated": "✗ not calibrated", "too few": "! too few"}
    frame["verdict"] = frame["verdict"].map(marks)
    frame["quantity"] = frame["quantity"].map(quantity_name)
    frame["finding"] = frame["finding"].replace("", np.nan)
    frame["n_failed"] = _unless_zero(frame["n_failed"])
    columns = [
        *_axes(recovered), Column("quantity", "Quantity", False), Column("verdict", "Verdict", False),
        Column("p_adjusted", "p (Holm)", said=p_value), Column("p_value", "p", said=p_value),
        Column("chi2_p", "p (χ²)", said=p_value),
        Column("max_deviation", "Deviation", decimals=4), Column("mean_rank", "Mean rank", decimals=3),
        Column("spread", "Spread", decimals=3), Column("n", "Used", decimals=0),
        Column("n_failed", "Failed", decimals=0),
        Column("finding", "Finding", False),
    ]  # fmt: skip
    caption = (
        "Calibration by quantity. p: exact, of the ECDF's departure (largest: Deviation) from uniform ranks. Mean "
        "rank is 0.5 and spread 1 where calibrated; a spread above 1 is a posterior that is too narrow."
    )
    return table("calibration", caption, frame, columns)
