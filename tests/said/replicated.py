"""Checks of the verdict cards, of calibration and of the figures' findings of a study with replicates."""

import copy
import re

import numpy as np

from lmm.results.replicated import quantity_name
from said.reading import ENGINE, Checks, E, N, agree, p_says, percents, term_of
from said.replicates import SHARE, at, checks, described, far, of, only, says, table, too_low

# ---- calibration


@checks(rf"In each of ({N}) replicates the parameters were drawn from .+\.|If sampler and model agree with the "
        r"simulator, all ranks are uniform\.")  # fmt: skip
def _(s, m):
    if m[1]:
        agree(m[1], s.tables["calibration"]["n"].max())


@checks(rf"({E}) is calibrated: the ranks of all (\d+) quantities stay .+ with probability (\d+) % .+\.")
def _(s, m):
    verdicts = s.tables["calibration"]["verdict"]
    assert (verdicts == "not calibrated").sum() == 0 and int(m[2]) == (verdicts == "calibrated").sum()
    assert float(m[3]) == 100 * s.tables["calibration"]["level"].iloc[0]


@checks(rf"({E}) is NOT calibrated in (\d+) of (\d+) quantities\.")
def _(s, m):
    verdicts = s.tables["calibration"]["verdict"]
    assert int(m[2]) == (verdicts == "not calibrated").sum() > 0
    assert int(m[3]) == (verdicts != "too few").sum()


@checks(r"(.+) is NOT calibrated \(adjusted (p [<=>] [\d.]+)\): (.+)\.")
def _(s, m):
    rows = of(s.tables["calibration"], verdict="not calibrated")
    names = rows["quantity"].map(quantity_name).str.lower()
    row = only(rows[names == m[1].lower()])
    p_says(m[2], row["p_adjusted"])
    assert row["finding"] == m[3]


@checks(
    r"(\d+) quantit(?:y|ies) depends? on the data \(log likelihood, random effects\): only such quantities "
    r"notice a likelihood left out \(Modrák et al\. 2023\)\."
)
def _(s, m):
    rows = s.tables["calibration"]
    rows = rows[(rows["kind"] == "data") & (rows["verdict"] != "too few")]
    assert int(m[1]) == rows["quantity"].nunique()


# ---- cards


@checks(rf"lowest coverage( of group effects)? {SHARE} \((.+)\)")
def _(s, m):
    measure = "ranef_coverage" if m[1] else "coverage"
    rows = table(s, measure)
    rows = rows[(rows["engine"] == s.engine) & (rows["effect"] != "explained")]
    rows = rows[rows["effect"] != "ran_pars"] if s.engine == "ols" else rows
    row = rows.loc[rows["estimate"].idxmin()]
    says(m[2], m[3], row)
    assert not s.axes or described(s, row) in m[4]


@checks(rf"largest bias ([−]?{N}) % ± ({N}) % \((.+)\)")
def _(s, m):
    rows = of(table(s, "relative_bias"), engine=s.engine)
    rows = rows[far(s, rows)]
    rows = rows[rows["effect"] != "explained"]
    rows = rows[rows["effect"] != "ran_pars"] if s.engine == "ols" else rows
    row = rows.loc[rows["estimate"].abs().idxmax()]
    percents(m[1], row["estimate"])
    percents(m[2], row["mcse"])
    assert not s.axes or m[3].endswith(described(s, row))


@checks(rf"{SHARE} of fits not usable(?: at most, (.+))?")
def _(s, m):
    rows = of(table(s, "failure_rate"), engine=s.engine)
    row = rows.loc[rows["estimate"].idxmax()]
    says(m[1], m[2], row)
    assert not s.axes or m[3] == described(s, row)


@checks(r"all fits usable")
def _(s, m):
    assert (of(table(s, "failure_rate"), engine=s.engine)["estimate"] == 0).all()


@checks(r"smallest adjusted (p [<=>] [\d.]+) \((.+)\)")
def _(s, m):
    p_says(m[1], s.tables["calibration"]["p_adjusted"].min())


@checks(r"(.+): (.+)")
def _(s, m):
    rows = s.tables["calibration"]
    assert only(rows[rows["quantity"].map(quantity_name) == m[1]])["finding"] == m[2]


def of_engine(s, engine):
    """The study with the engine that a card is about."""
    about = copy.copy(s)
    object.__setattr__(about, "engine", engine)
    return about


def card_value(s, card, value):
    """`covers 88.0 % at worst` is the lowest coverage of all, of group effects too."""
    found = re.fullmatch(rf"covers ({N}) % at worst", value)
    rows = s.performance[(s.performance["engine"] == s.engine) & (s.performance["subset"] == "usable")]
    rows = rows[rows["measure"].isin(["coverage", "ranef_coverage"]) & (rows["effect"] != "explained")]
    rows = rows[rows["effect"] != "ran_pars"] if s.engine == "ols" else rows
    percents(found[1], rows["estimate"].min())
    if too_low(s, rows.dropna(subset="estimate")).any():
        assert card.tone in ("warn", "bad"), "coverage that is too low is not called good"


# ---- figures: their findings

figures = Checks()


@figures(rf"({N}) designs? side by side\.")
def _(s, m):
    agree(m[1], s.performance["design"].nunique())


@figures(
    rf"The (coverage furthest from nominal|largest (relative )?(?:bias|RMSE))( of the terms drawn)?"
    rf"( among the mixed models)? is ({N}) ± ({N})(?: %)?(?: of truth)? \((.+?), ({E})(?: with (.+))?\)\."
)
def _(s, m):
    term = term_of(m[7], s.terms)
    measure = "coverage" if m[1].startswith("coverage") else "rmse" if "RMSE" in m[1] else "bias"
    rows = table(s, measure)
    rows = rows[rows["effect"].isin(["fixed", "ran_pars"])]
    rows = rows[rows["engine"] != "ols"] if m[4] else rows
    rows = rows[far(s, rows)] if m[2] else rows
    off = rows["estimate"] - s.conf_level if measure == "coverage" else rows["estimate"]
    off = off / rows["truth"].abs() if m[2] else off
    mine = at(s, rows[(rows["term"] == term) & (rows["engine"] == ENGINE[m[8]])], m[9])
    where = only(mine).name
    if measure == "coverage":
        percents(m[5], mine["estimate"].iloc[0])
        percents(m[6], mine["mcse"].iloc[0])
    else:
        scale = 100 if m[2] else 1
        agree(m[5], scale * off[where])
        name = "relative_bias" if m[2] and measure == "bias" else measure
        size = abs(mine["truth"].iloc[0]) if m[2] and measure == "rmse" else 1.0
        errors = of(table(s, name), term=term, engine=ENGINE[m[8]], design=mine["design"].iloc[0])
        agree(m[6], scale * only(errors)["mcse"] / size)
    if m[3] is None:
        assert np.isclose(abs(off[where]), off.abs().max())


@figures(rf"(?:Of|All) ({N}) fits (?:({N}) could not|could) be used(?:; ({N}) are singular)?\.")
def _(s, m):
    counts = s.tables["failures"].groupby("status")["count"].sum()
    agree(m[1], counts.sum())
    agree(m[2] or "0", counts.sum() - counts.get("ok", 0) - counts.get("singular", 0))
    agree(m[3] or "0", counts.get("singular", 0))


@figures(
    rf"Intervals of (.+?)(?: with (.+))?: the lowest coverage among the mixed models is ({N}) % \((.+), ({E})\)\."
)
def _(s, m):
    term = term_of(m[4], s.terms)
    mine = of(table(s, "coverage"), term=term, engine=ENGINE[m[5]])
    percents(m[3], only(at(s, mine, m[2]))["estimate"])


@figures(
    r"Ranks of (\d+) quantit(?:y|ies) over ([\d,]+) replicates: (?:(\d+) quantit.+|all stay within .+)\."
)
def _(s, m):
    verdicts = s.tables["calibration"]["verdict"]
    assert int(m[1]) == (verdicts != "too few").sum()
    agree(m[2], s.tables["calibration"]["n"].max())
    assert int(m[3] or 0) == (verdicts == "not calibrated").sum()
