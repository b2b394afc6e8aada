"""Checks of the sentences on a study with replicates: answers, judged coverage, cards, figures."""

import re

import pandas as pd

from lmm.core.words import spoken, titled
from lmm.results.replicated import quantity_name
from said.reading import (
    ENGINE,
    Checks,
    E,
    N,
    P,
    agree,
    p_says,
    parsed,
    percents,
    term_of,
)

checks = Checks()
SHARE = rf"({N}) % ± ({N}) %"
# the rule of coverage, as the report states it
POINTS, ERRORS = 2.5, 3


def table(s, measure, subset="usable"):
    """Rows of a measure in performance.csv."""
    rows = s.performance
    return rows[(rows["measure"] == measure) & (rows["subset"] == subset) & rows["estimate"].notna()]


def of(rows, **where):
    """Rows in which each column has its value."""
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


def described(s, row):
    """A design in words, as far as its axes are groups and rows."""
    return f"{row['groups']} groups of {row['rows_per_group']}"


def at(s, rows, where):
    """The rows of the design that is spoken of; all of them where nothing is said of it."""
    found = re.search(r"(\d+) groups of (\d+)", where or "")
    if found is None:
        return rows
    return rows[(rows["groups"] == int(found[1])) & (rows["rows_per_group"] == int(found[2]))]


def says(estimate, error, row):
    percents(estimate, abs(row["estimate"]))
    percents(error, row["mcse"])


def far(s, rows):
    """Where the truth is at least one empirical SE away from 0."""
    keys = ["design", "engine", "effect", "group", "term"]
    errors = dict(
        zip(
            map(tuple, table(s, "empirical_se")[keys].to_numpy()),
            table(s, "empirical_se")["estimate"],
            strict=True,
        )
    )
    return rows["truth"].abs() >= [errors[tuple(key)] for key in rows[keys].to_numpy()]


def only(rows):
    assert len(rows) == 1, rows
    return rows.iloc[0]


# ---- aims


@checks(r"Aim: to learn whether .+\.|Performance: bias, .+\.")
def _(s, m):
    pass  # nothing of this study


@checks(rf"Data: (?:({N}) designs? \(.+\)|the model fitted to the study's own data, on their own design matrix "
        rf"\(parametric bootstrap\)), ({N}) replicates?( each)?; every engine sees the same data\.")  # fmt: skip
def _(s, m):
    designs = s.performance["design"].nunique()
    assert (m[1] is None) == (not s.settings.get("simulate", True))
    if m[1]:
        agree(m[1], designs)
        assert designs > 1 or described(s, s.designs.iloc[0]) in m[0]
    agree(m[2], s.performance["n_replicates"].max())
    assert (m[3] is not None) == (designs > 1)
    for column, words in (
        (("groups", "groups"), ("rows_per_group", "rows per group")) if len(s.axes) == 2 else ()
    ):
        values = " and ".join(str(value) for value in sorted(s.performance[column].unique()))
        assert f"{words} {values}" in m[0]


@checks(r"Estimands: (.+); variance explained; the random effects of each replicate\.")
def _(s, m):
    for term in s.terms:
        rows = table(s, "bias")
        values = rows.loc[rows["term"] == term, "truth"]
        low = re.search(rf"{re.escape(titled(term))} ({N})(?: to ({N}))?", m[1])
        assert parsed(low[1])[0] == values.min() and parsed(low[2] or low[1])[0] == values.max()


@checks(
    r"Estimands: parameters drawn anew from (?:the priors|the posterior of the observed data) for each replicate\."
)
def _(s, m):
    assert "calibration" in s.tables


@checks(r"Methods: (.+), with (\d+) % intervals\.")
def _(s, m):
    assert {ENGINE[name] for name in re.split(", | and ", m[1])} == set(s.performance["engine"])
    assert float(m[2]) == 100 * s.conf_level


@checks(
    rf"({E})'s draws are those of (?:(NUTS)\.|importance sampling, which passed its gates in every usable fit\.)"
)
def _(s, m):
    configured = (s.settings.get("configuration") or {}).get("engines", {})
    assert (configured.get(ENGINE[m[1]], {}).get("sampler") == "nuts") == bool(m[2])
    usable = of(s.tables["failures"], engine=ENGINE[m[1]], status="ok")
    assert bool(m[2]) or not (usable["sampler"] == "nuts").any()


@checks(
    rf"({E})'s draws are those of importance sampling, and of NUTS in the ({N}) usable fits? of ({N}) in which it "
    r"failed a gate\."
)
def _(s, m):
    rows = of(s.tables["failures"], engine=ENGINE[m[1]])
    agree(m[2], of(rows, status="ok", sampler="nuts")["count"].sum())
    agree(m[3], rows["count"].sum())


# ---- answers

BIAS = rf"({N})(?: %)? ± ({N})(?: %)?"


def biases(s, term):
    """The measure by which a term's bias is reported, its rows, and the factor of its numbers."""
    relative = of(table(s, "relative_bias"), term=term)
    relative = relative[relative["engine"] != "ols"]
    if len(relative) and far(s, relative).all() and "calibration" not in s.tables:
        return "relative_bias", relative, 100
    return "bias", of(table(s, "bias"), term=term), 1


def hardest(s):
    """The reference engine's largest bias of an sd, in percent of the truth where some sd has such a bias."""
    found = [biases(s, name) for name in s.terms if name.startswith("sd__") and name != "sd__Observation"]
    found = [each for each in found if each[0] == "relative_bias"] or found[:1]
    rows = pd.concat([of(each[1], engine=s.reference) for each in found])
    return rows.loc[rows["estimate"].abs().idxmax()]


@checks(
    rf"({E})'s largest bias of a random effect's sd is {BIAS}, for (the SD of [^\s;.]+)(?: with (.+?))?"
    r"(?:; (.+) there)?\."
)
def _(s, m):
    worst = hardest(s)
    assert (ENGINE[m[1]], term_of(m[4], s.terms)) == (s.reference, worst["term"])
    _, rows, scale = biases(s, worst["term"])
    rows = of(rows, design=worst["design"])
    others = re.findall(rf"({E})'s is {BIAS}", m[6] or "")
    for engine, size, error in [m.groups()[:3], *others]:
        row = only(at(s, of(rows, engine=ENGINE[engine]), m[5]))
        agree(size, scale * row["estimate"])
        agree(error, scale * row["mcse"])
    assert {ENGINE[name] for name, *_ in others} == set(rows["engine"]) - {"ols", s.reference}


@checks(rf"({E}) estimates it as exactly 0 in {SHARE} of these replicates\.")
def _(s, m):
    worst = hardest(s)
    zero = of(table(s, "p_zero"), term=worst["term"], design=worst["design"], engine=s.reference)
    assert ENGINE[m[1]] == s.reference
    says(m[2], m[3], only(zero))


@checks(r"Where (.+) is 0 in truth, it is estimated as exactly 0 in at least (.+)\.")
def _(s, m):
    term = term_of(m[1], s.terms)
    for share, error, engine in re.findall(rf"{SHARE} of fits by ({E})", m[2]):
        mine = of(table(s, "p_zero"), term=term, truth=0, engine=ENGINE[engine])
        says(share, error, mine.loc[mine["estimate"].idxmin()])


@checks(rf"OLS, which takes rows as independent, covers (.+) only {SHARE} of the time(?: with (.+))?\.")
def _(s, m):
    rows = of(table(s, "coverage"), engine="ols", effect="fixed")
    worst = rows.loc[rows["estimate"].idxmin()]
    says(m[2], m[3], worst)
    assert m[1] == spoken(worst["term"]) and (m[4] is None or described(s, worst) in m[4])
    assert too_low(s, rows).any()


@checks(rf"OLS's intervals of fixed effects cover at least {SHARE}\.")
def _(s, m):
    rows = of(table(s, "coverage"), engine="ols", effect="fixed")
    says(m[1], m[2], rows.loc[rows["estimate"].idxmin()])
    assert not too_low(s, rows).any()


def too_low(s, rows):
    """By the rule that the report states."""
    return 100 * (s.conf_level - rows["estimate"] - ERRORS * rows["mcse"]) > POINTS


@checks(
    rf"Coverage is called too low where it is more than ({N}) percentage points below (\d+) % even after (\d+) "
    r"Monte Carlo standard errors are added to it\."
)
def _(s, m):
    assert (float(m[1]), float(m[2]), int(m[3])) == (POINTS, 100 * s.conf_level, ERRORS)


@checks(
    rf"({E})'s(?:(?:,| and) ({E})'s)? (\d+) % intervals: coverage too low in (none|\d+) of (\d+) "
    r"(combinations of design and term|terms)"
    rf"(?: \((.+?)\)|; the lowest is (.+?))(?:; below ({P}) within Monte Carlo error in (\d+))?\."
)
def _(s, m):
    for name in filter(None, m.groups()[:2]):
        rows = of(pd.concat([table(s, "coverage"), table(s, "ranef_coverage")]), engine=ENGINE[name])
        _judged(s, m, rows[rows["effect"] != "explained"])


def _judged(s, m, rows):
    bad = too_low(s, rows)
    below = rows["estimate"] < s.conf_level - POINTS / 100
    assert int(m[3]) == 100 * s.conf_level
    assert (0 if m[4] == "none" else int(m[4]), int(m[5])) == (bad.sum(), len(rows))
    assert (m[6] == "terms") == (len(s.designs) == 1)
    assert int(m[10] or 0) == (below & ~bad).sum(), "a coverage below the limit is left out"
    if m[9]:
        percents(m[9], s.conf_level - POINTS / 100)
    assert (m[7] is None) == (not bad.any())
    these = rows[bad] if m[7] else rows.nsmallest(1, "estimate")
    named = re.findall(rf"{SHARE} for (.+?)(?: with (\d+ groups of \d+))?(?=, | and |$)", m[7] or m[8])
    assert named
    for (share, error, words, where), (_, row) in zip(
        named, these.nsmallest(len(named), "estimate").iterrows(), strict=True
    ):
        says(share, error, row)
        own = f"the group effects of {row['term']}" if row["effect"] == "ranef" else spoken(row["term"])
        assert words == own
        assert not where or where == described(s, row)
    more = re.search(r"and (\d+) more", m[7] or "")
    assert len(named) + int(more[1] if more else 0) == len(these)


@checks(
    rf"The rank correlation of group effects with the true ones runs from ({N}) \((\S+), ({E})(?: with (.+?))?\) to "
    rf"({N}) \((\S+), ({E})(?: with (.+))?\)\."
)
def _(s, m):
    rows = table(s, "ranef_rank_correlation")
    ends = (*m.groups()[:4], "idxmin"), (*m.groups()[4:], "idxmax")
    for number, term, engine, where, which in ends:
        row = rows.loc[getattr(rows["estimate"], which)()]
        agree(number, row["estimate"])
        assert (row["term"], row["engine"]) == (term, ENGINE[engine])
        assert where is None or where == described(s, row)


# ---- endings


@checks(rf"({E}): all ({N}) fits ok\.")
def _(s, m):
    counts = of(s.tables["failures"], engine=ENGINE[m[1]]).groupby("status")["count"].sum()
    assert counts.index.tolist() == ["ok"]
    agree(m[2], counts.sum())


@checks(rf"({E}): of ({N}) fits (.+) \((?:({N}) % not usable|all usable)\)\.")
def _(s, m):
    counts = of(s.tables["failures"], engine=ENGINE[m[1]]).groupby("status")["count"].sum()
    agree(m[2], counts.sum())
    assert {status: int(n.replace(",", "")) for n, status in re.findall(r"([\d,]+) ([a-z-]+)", m[3])} == {
        status: count for status, count in counts.items() if status != "ok"
    }
    failed = counts[[status for status in counts.index if status not in ("ok", "singular")]].sum()
    percents(m[4] or "0", failed / counts.sum())


@checks(rf"Every engine managed ({N})(?: to ({N}))? of ({N}) replicates per design\.")
def _(s, m):
    rows = table(s, "bias", "common")
    sizes = (rows["n_used"] + rows["n_missing"]).groupby(rows["design"]).max()
    agree(m[1], sizes.min())
    agree(m[2] or m[1], sizes.max())
    agree(m[3], s.performance["n_replicates"].max())


# ---- calibration


@checks(rf"In each of ({N}) replicates the parameters were drawn from .+\.|If sampler and model agree with the "
        r"simulator, all ranks are uniform\.")  # fmt: skip
def _(s, m):
    if m[1]:
        agree(m[1], s.tables["calibration"]["n"].max())


@checks(r"All (\d+) quantities are calibrated: none leaves .+ with probability (\d+) % .+\.")
def _(s, m):
    verdicts = s.tables["calibration"]["verdict"]
    assert (verdicts == "not calibrated").sum() == 0 and int(m[1]) == (verdicts == "calibrated").sum()
    assert float(m[2]) == 100 * s.tables["calibration"]["level"].iloc[0]


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


# ---- methods


@checks(
    rf"We simulated ({N}) data sets from (each of ({N}) designs|one design|a fit of the observed data), "
    r"reported after Morris, White & Crowther \(2019\), and fitted .+ to each by .+\."
)
def _(s, m):
    agree(m[1], s.performance["n_replicates"].max())
    if m[3]:
        agree(m[3], s.performance["design"].nunique())


@checks(
    r"Every data set has its own addressed .+\.|Fits that did not converge or failed a gate .+\.|Simulation-based "
    r"calibration \(Talts et al\. 2018; Modrák et al\. 2023\) compared .+ bands of Säilynoja, Bürkner & Vehtari "
    r"\(2022\), at (\d+) % over all quantities \(Holm\)\.|The analysis ran as a Snakemake workflow \(Mölder et "
    r"al\. 2021\)\."
)
def _(s, m):
    if m[1]:
        assert float(m[1]) == 100 * s.tables["calibration"]["level"].iloc[0]
