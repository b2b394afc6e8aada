"""Checks of the sentences on a study with replicates: answers, judged coverage, cards, figures."""

import re

import pandas as pd

from lmm.core.parameters import spoken, titled
from said.reading import (
    ENGINE,
    Checks,
    E,
    N,
    P,
    agree,
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


def sds(s, measure, engine=None):
    """A measure of the random effects' sd's by the mixed models, and where their truth is far from 0."""
    rows = of(table(s, measure), effect="ran_pars")
    rows = rows[
        (rows["term"] != "sd__Observation") & rows["term"].str.startswith("sd__") & (rows["engine"] != "ols")
    ]
    rows = rows if engine is None else of(rows, engine=engine)
    if measure == "relative_bias" and "calibration" in s.tables:  # truths differ between replicates
        rows = rows[:0]
    return rows, far(s, rows)


def hardest(s):
    """The reference engine's largest bias of an sd: in percent of a truth that is far from 0, else in its unit."""
    relative, away = sds(s, "relative_bias", s.reference)
    rows = relative[away] if away.any() else sds(s, "bias", s.reference)[0]
    return rows.loc[rows["estimate"].abs().idxmax()], 100 if away.any() else 1


@checks(
    rf"({E})'s largest bias of a random effect's SD is {BIAS}, for (the SD of [^\s;.]+)(?: with ([^;]+?))?"
    rf"(?:; ([^;]+) there)?(?:; where the true SD is less than one empirical SE from 0, the largest is {BIAS}, for "
    rf"(the SD of [^\s;.]+)(?: with ([^;]+?))?(?:; ([^;]+) there)? \(true SD ({N})\))?\."
)
def _(s, m):
    worst, scale = hardest(s)
    rows, away = sds(s, worst["measure"])
    _biased(s, (s.reference, *m.groups()[1:6]), worst, rows[away] if scale == 100 else rows, scale)
    assert ENGINE[m[1]] == s.reference
    absolute, away = sds(s, "bias")
    near = of(absolute[~away], engine=s.reference)
    assert (m[7] is not None) == (scale == 100 and len(near) > 0), "a truth near 0 is not passed over"
    if m[7]:
        row = near.loc[near["estimate"].abs().idxmax()]
        agree(m[12], row["truth"])
        _biased(s, (s.reference, *m.groups()[6:11]), row, absolute[~away], 1)


def _biased(s, said, worst, rows, scale):
    """A bias with its error, term, design and the other engines' there."""
    engine, size, error, term, where, besides = said
    assert term_of(term, s.terms) == worst["term"] and (where is None or described(s, worst) in where)
    rows = of(rows, term=worst["term"], design=worst["design"])
    others = [(ENGINE[name], *rest) for name, *rest in re.findall(rf"({E})'s is {BIAS}", besides or "")]
    for name, value, mcse in [(engine, size, error), *others]:
        row = only(of(rows, engine=name))
        agree(value, scale * row["estimate"])
        agree(mcse, scale * row["mcse"])
    assert {name for name, *_ in others} == set(rows["engine"]) - {engine}


@checks(rf"({E}) estimates (the SD of \S+)(?: with (.+))? as exactly 0 in {SHARE} of replicates\.")
def _(s, m):
    worst, _ = hardest(s)
    zero = of(table(s, "p_zero"), term=worst["term"], design=worst["design"], engine=s.reference)
    assert ENGINE[m[1]] == s.reference and term_of(m[2], s.terms) == worst["term"]
    assert m[3] is None or m[3] == described(s, worst)
    says(m[4], m[5], only(zero))


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
    rf"({E})'s(?:(?:,| and) ({E})'s)? (\d+) % intervals cover (?:often enough in all|too rarely in (\d+) of) (\d+) "
    r"(combinations of design and term|terms)"
    rf"(?:; the lowest coverage is {SHARE}, for (.+?)|: (.+?))"
    rf"(?:; in (\d+)(?: more)?, coverage is below ({P}) within Monte Carlo error)?\."
)
def _(s, m):
    for name in filter(None, m.groups()[:2]):
        rows = of(pd.concat([table(s, "coverage"), table(s, "ranef_coverage")]), engine=ENGINE[name])
        _judged(s, m, rows[rows["effect"] != "explained"])


def _judged(s, m, rows):
    bad = too_low(s, rows)
    below = rows["estimate"] < s.conf_level - POINTS / 100
    assert int(m[3]) == 100 * s.conf_level
    assert (int(m[4] or 0), int(m[5])) == (bad.sum(), len(rows))
    assert (m[6] == "terms") == (len(s.designs) == 1)
    assert int(m[11] or 0) == (below & ~bad).sum(), "a coverage below the limit is left out"
    if m[12]:
        percents(m[12], s.conf_level - POINTS / 100)
    if m[7]:
        row = rows.loc[rows["estimate"].idxmin()]
        says(m[7], m[8], row)
        assert m[9].startswith(_words(row)) and (len(s.designs) == 1 or m[9].endswith(described(s, row)))
        return
    rest = m[10]
    terms = rows[bad].groupby(["effect", "group", "term"])
    for key, mine in terms:  # every exception is named, and nothing else
        row = mine.loc[mine["estimate"].idxmin()]
        of_term = rows[(rows[["effect", "group", "term"]] == key).all(axis=1)]
        if len(s.designs) == 1:
            found = re.search(rf"{re.escape(_words(row))} \({SHARE}\)", rest)
        elif len(mine) == 1:
            found = re.search(rf"{re.escape(f'{_words(row)} with {described(s, row)}')} \({SHARE}\)", rest)
        else:
            count = f"all {len(of_term)}" if len(mine) == len(of_term) else f"{len(mine)} of {len(of_term)}"
            start = re.escape(f"{_words(row)} in {count} designs (lowest ")
            found = re.search(rf"{start}{SHARE} with {described(s, row)}\)", rest)
        assert found, (key, rest)
        says(found[1], found[2], row)
        rest = rest.replace(found[0], "")
    assert not re.sub(", | and |,", "", rest), "what is named besides"


def _words(row):
    return f"the group effects of {row['term']}" if row["effect"] == "ranef" else spoken(row["term"])


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


@checks(rf"(?:All ({N}) fits could be used(?:, ({N}) singular ones among them)?|Of ({N}) fits, (.+) could not be "
        rf"used and are left out(?:; ({N}) singular ones were used)?)\.")  # fmt: skip
def _(s, m):
    counts = s.tables["failures"].groupby("status")["count"].sum()
    agree(m[1] or m[3], counts.sum())
    agree(m[2] or m[5] or "0", counts.get("singular", 0))
    lost = s.tables["failures"].query("status not in ('ok', 'singular')").groupby("engine")["count"].sum()
    total = s.tables["failures"].groupby("engine")["count"].sum()
    named = {
        ENGINE[name]: (int(n.replace(",", "")), int(of.replace(",", "")))
        for n, name, of in re.findall(rf"([\d,]+?) of ({E})'s ([\d,]+\d)", m[4] or "")
    }
    assert named == {name: (count, total[name]) for name, count in lost.items() if count}


@checks(rf"((?:{E})(?:(?:, | and )(?:{E}))*): all ({N}) fits ok( by each)?\.")
def _(s, m):
    names = re.split(", | and ", m[1])
    assert (m[3] is not None) == (len(names) > 1)
    for name in names:
        counts = of(s.tables["failures"], engine=ENGINE[name]).groupby("status")["count"].sum()
        assert counts.index.tolist() == ["ok"]
        agree(m[2], counts.sum())


@checks(
    rf"((?:{E})(?:(?:, | and )(?:{E}))*): of ({N}) fits (.+) \((?:({N}) % not usable|all usable)\)(?: by each)?\."
)
def _(s, m):
    for name in re.split(", | and ", m[1]):
        counts = of(s.tables["failures"], engine=ENGINE[name]).groupby("status")["count"].sum()
        agree(m[2], counts.sum())
        assert {status: int(n.replace(",", "")) for n, status in re.findall(r"([\d,]+) ([a-z-]+)", m[3])} == {
            status: count for status, count in counts.items() if status != "ok"
        }
        failed = counts[[status for status in counts.index if status not in ("ok", "singular")]].sum()
        percents(m[4] or "0", failed / counts.sum())


@checks(rf"In ({N})(?: to ({N}))? of ({N}) replicates per design all engines' fits are usable\.")
def _(s, m):
    rows = table(s, "bias", "common")
    sizes = (rows["n_used"] + rows["n_missing"]).groupby(rows["design"]).max()
    agree(m[1], sizes.min())
    agree(m[2] or m[1], sizes.max())
    agree(m[3], s.performance["n_replicates"].max())


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
