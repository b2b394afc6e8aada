"""Checks of what stands below the figures of the rows, of residuals, influence and the posterior."""

import re
from types import SimpleNamespace

import numpy as np
from scipy import stats

from lmm.report.figures.style import COLOURS
from said.fits import checks as of_fits
from said.fits import moved
from said.reading import (
    ENGINE,
    RESIDUAL,
    Checks,
    E,
    N,
    P,
    agree,
    column,
    fixed,
    main,
    matrix,
    mixed,
    p_says,
    parsed,
    percents,
    random_terms,
    term_of,
)

checks = Checks()


def about(r, figure):
    """What a check of a figure's sentence is given."""
    return SimpleNamespace(r=r, svg=figure.svg, name=figure.name)


def drawn(f, name):
    """Whether the picture has something in this colour."""
    return f'"{COLOURS[name]}"' in f.svg


def between(text, values, digits):
    """`2008 to 2017`: the ends of the values, to so many digits of their width."""
    low, high = np.nanmin(values), np.nanmax(values)
    found = re.fullmatch(rf"({N}) to ({N})", text)
    for number, value in zip(found.groups(), (low, high), strict=True):
        shown = parsed(number)[0]
        # half a unit of the last digit of the width
        assert (
            abs(shown - value)
            <= 0.5 * 10.0 ** (np.floor(np.log10(max(high - low, 1e-300))) - digits + 1) * 1.0001
        )
        if high - low > 1e-6:
            assert low - 0.05 * (high - low) <= shown <= high + 0.05 * (high - low), (text, low, high)


def own_lines(r, x):
    """Intercept and slope of each group in which x varies, by polyfit."""
    found = {}
    for level, rows in r.rows.groupby(r.data["group"]):
        if rows[x].nunique() > 1:
            found[level] = np.polyfit(rows[x], rows[r.data["response"]], 1)[::-1]
    return found


# ---- the rows


@checks(
    rf"(.+) against (.+) in ({N}) groups?, (each with its|{N} of them with their) own least-squares line: "
    rf"({P}) of the lines rise; the slopes run from ({N} to {N}) and the intercepts from ({N} to {N})\."
)
def _(f, m):
    lines = np.array(list(own_lines(f.r, m[2]).values()))
    agree(m[3], f.r.data["groups"])
    if len(lines) == f.r.data["groups"]:
        assert m[4] == "each with its"
    else:
        assert parsed(m[4].split()[0])[0] == len(lines)
    percents(m[5], np.mean(lines[:, 1] > 0))
    between(m[6], lines[:, 1], 2)
    between(m[7], lines[:, 0], 2)
    assert drawn(f, "no_pooling")


@checks(rf"(.+) against (.+) in ({N}) groups?; (.+) varies in none of them, so there are no lines\.")
def _(f, m):
    assert not own_lines(f.r, m[2]) and not drawn(f, "no_pooling")


@checks(r"One panel per group, one dot per row(; line: ordinary least squares in that group alone)?\.")
def _(f, m):
    assert drawn(f, "no_pooling") == bool(m[1])


@checks(rf"Shown first: ({N}) groups, evenly spread over their slopes\.")
def _(f, m):
    agree(m[1], 24)
    assert f.svg.count("data-level=") == f.r.data["groups"] > 24


@checks(rf"No line: ({N}) groups? in which (.+) does not vary\.")
def _(f, m):
    agree(m[1], f.r.data["groups"] - len(own_lines(f.r, m[2])))


@checks(rf"(.+) by (.+), ({N}) groups in order of their means, which run from ({N} to {N})\.")
def _(f, m):
    between(m[4], f.r.rows.groupby(f.r.data["group"])[m[1]].mean(), 3)
    agree(m[3], f.r.data["groups"])


@checks(rf"(.+) by (.+), ({N}) groups in order of their estimated effects, which run from ({N} to {N})\.")
def _(f, m):
    agree(m[3], f.r.data["groups"])
    table = f.r.fits[main(f.r)].ranef
    between(m[4], table.loc[table["term"] == random_terms(f.r)[0], "estimate"], 3)


@checks(r"(Rows \(grey\) and mean \(purple\)|Mean), one column per group\.")
def _(f, m):
    assert drawn(f, "no_pooling") and (m[1] != "Mean") == ('stroke="#5f6772"' in f.svg)


@checks(
    r"Estimated random effect, one column per group\.|The rows were too many to copy: estimates stand for them\."
)
def _(f, m):
    assert f.r.rows is None and not drawn(f, "no_pooling")


@checks(r"The mean of each group alone, without pooling\.")
def _(f, m):
    assert drawn(f, "no_pooling")


@checks(rf"(.+) against (.+), ({N}) rows as one cloud\.")
def _(f, m):
    agree(m[3], len(f.r.rows))


@checks(rf"The OLS slope is ({N}) \(({N}) to ({N})\), which (in|ex)cludes 0\.")
def _(f, m):
    table = f.r.fits["ols"].parameters.set_index("term")
    row = next(
        table.loc[t] for t in table.index if parsed(m[1])[0] == parsed_number(table.loc[t, "estimate"], m[1])
    )
    for text, name in zip(m.groups()[:3], ("estimate", "conf_low", "conf_high"), strict=True):
        agree(text, row[name])
    assert (m[4] == "in") == (row["conf_low"] <= 0 <= row["conf_high"])


def parsed_number(value, like):
    """`value` if it agrees with the number as written, which is then returned; else NaN."""
    number, half = parsed(like)
    return number if abs(number - value) <= half * (1 + 1e-9) else np.nan


@checks(rf"(?:With (.+) = (.+), the|The) OLS line changes by ({N}) per unit of (.+)\.")
def _(f, m):
    beta = fixed(f.r, "ols")
    parts = [beta[t] for t in beta.index if t == m[4] or (m[2] and t == f"{m[4]}:{m[1]}[T.{m[2]}]")]
    agree(m[3], sum(parts))
    if m[2]:
        assert f.r.rows[m[1]].value_counts().idxmax() == m[2]


@checks(rf"OLS explains ({P}) of the variance of (.+)\.")
def _(f, m):
    assert list(fixed(f.r, "ols").index) != ["Intercept"]
    y, sigma = f.r.rows[m[2]], column(f.r, "ols")[RESIDUAL]
    percents(m[1], 1 - sigma**2 * (len(y) - len(fixed(f.r, "ols"))) / ((y - y.mean()) ** 2).sum())
    assert drawn(f, "ols")


@checks(
    r"(One dot per row|Counts in a grid of cells \(darker: more rows\))(; line: the mean of all rows, since "
    r"OLS has no predictor|; line: ordinary least squares over all rows, groups ignored(?:, at (.+))?)?\."
)
def _(f, m):
    assert (m[2] is not None) == drawn(f, "ols"), "the caption and the picture differ on the line"
    if m[2]:
        assert ("since OLS has no predictor" in m[2]) == (list(fixed(f.r, "ols").index) == ["Intercept"])
    for name, value in re.findall(rf"(\S+) = ({N})", m[3] or ""):
        values = f.r.rows[name]
        assert abs(parsed(value)[0] - values.mean()) <= 0.01 * (values.max() - values.min())


@checks(rf"(.+) over all ({N}) rows: mean ({N}), SD ({N})\.")
def _(f, m):
    agree(m[2], f.r.data["rows"])
    y = f.r.data["columns"][m[1]]
    assert abs(parsed(m[3])[0] - y["mean"]) <= 0.005 * y["sd"]
    agree(m[4], y["sd"])


@checks(r"Histogram of all rows; line: the overall mean\.")
def _(f, m):
    assert f.r.rows is not None


@checks(r"Mean and one standard deviation either side; the rows were too many to copy\.")
def _(f, m):
    assert f.r.rows is None


# ---- diagnostics

RANDOM = r"random (?:intercept|slope of \S+)"


@checks(
    rf"({E}): (?:({P}) of the scaled residuals exceed 2 in size \(4\.6 % expected\), the largest is ({N}); the Q-Q "
    rf"correlation of the residuals is ({N}))?"
    rf"((?:(?:; )?the (?:Q-Q correlation of the {RANDOM} is {N}|{RANDOM} has (?:no spread|\d+ groups? "
    rf"only)))*)\."
)
def _(f, m):
    if m[2]:
        fit = f.r.fits[ENGINE[m[1]]]
        beta = fixed(f.r, ENGINE[m[1]])
        rows = f.r.rows
        left = rows[f.r.data["response"]].to_numpy() - matrix(rows, beta.index) @ beta.to_numpy()
        if fit.ranef is not None:
            wide = fit.ranef.pivot(index="level", columns="term", values="estimate")
            effects = wide.loc[rows[f.r.data["group"]].astype(str)].to_numpy()
            left -= (matrix(rows, wide.columns) * effects).sum(axis=1)
        z = left / column(f.r, ENGINE[m[1]])[RESIDUAL]
        percents(m[2], np.mean(np.abs(z) > 2))
        agree(m[3], np.abs(z).max())
        normal = stats.norm.ppf((np.arange(len(z)) + 0.5) / len(z))
        # of more than 600 rows every so manieth is drawn: the correlation then differs in the third decimal
        assert abs(parsed(m[4])[0] - np.corrcoef(np.sort(z), normal)[0, 1]) < (
            1e-4 if len(z) <= 600 else 2e-3
        )
    for term, number in re.findall(rf"the Q-Q correlation of the ({RANDOM}) is ({N})", m[5]):
        table = f.r.fits[ENGINE[m[1]]].ranef
        values = np.sort(table.loc[table["term"].map(f.r.random) == term, "estimate"])
        if len(values) <= 600:
            normal = stats.norm.ppf((np.arange(len(values)) + 0.5) / len(values))
            agree(number, np.corrcoef(values, normal)[0, 1])
    for term, why in re.findall(rf"the ({RANDOM}) has (no spread|\d+ groups? only)", m[5]):
        table = f.r.fits[ENGINE[m[1]]].ranef
        values = table.loc[table["term"].map(f.r.random) == term, "estimate"]
        assert np.std(values) == 0 if why == "no spread" else int(why.split()[0]) == len(values) <= 2


@checks(
    r"(.+)'s (residuals)?( \(random effects included\))?(?: and )?(predicted random effects)?, standardised; points "
    r"near the line: close to normal(, though shrunken random effects hide mild departures)?\."
)
def _(f, m):
    assert (m[5] is not None) == (mixed(f.r) != [])
    assert (m[2] is not None) == (f.r.rows is not None)
    assert (m[4] is not None) == (mixed(f.r) != [])


@checks(r"Influence of each group on reml's variances: (.+)\.")
def _(f, m):
    for part in m[1].split("; "):
        found = re.fullmatch(
            rf"leaving out group (.+?) would (lower|raise) (.+) from ({N}) to ({N})(?:, ({N}) of its standard "
            rf"errors?)?",
            part,
        )
        moved(f.r, *found.groups())


@checks(
    r"Each dot is an exact REML refit without one group, the line the estimate from all groups; the largest changes "
    r"are named\."
)
def _(f, m):
    assert drawn(f, "reml")


@checks(rf"Per row, group (.+) is predicted worst, ({N}) against a median of ({N})\.")
def _(f, m):
    table = f.r.tables["loo"].astype({"level": str}).set_index("level")
    row = table["elpd"] / table["rows"]
    assert row.idxmin() == m[1]
    agree(m[2], row.min())
    agree(m[3], row.median())


@checks(r"Posterior predictive check\.|Prior predictive check\.")
def _(f, m):
    assert f.name == m[0].split()[0].lower().replace("posterior", "predictive").replace(
        "prior", "prior_predictive"
    )


@checks(rf"Filled: statistics of ({N}) data sets replicated from the posterior, with new random effects in the "
        r"same design; line: the data; p: share of the replicates at least as large, near one half by construction "
        r"where the model has a parameter for the statistic\.")  # fmt: skip
def _(f, m):
    agree(m[1], f.r.tables["replicates"].query("kind == 'posterior'")["replicate"].nunique())
    count = f.r.notes["criticism"]["replicates"]
    found = re.findall(r">(p [&a-z;=<>]+ [\d.]+)<", str(f.svg))
    assert len(found) == len(f.r.tables["predictive"])
    for text, p in zip(found, f.r.tables["predictive"]["p_value"], strict=True):
        p_says(text.replace("&lt;", "<").replace("&gt;", ">"), p, 1 / count)


@checks(
    r"Rank plots of (\d+) parameters: (every chain stays within the 95 % band|the chains of .+ leave the band)\."
)
def _(f, m):
    assert int(m[1]) == min(8, len(f.r.fits["pymc"].parameters))


@checks(r"Traces of (\d+) parameters, (\d+) chains of ([\d,]+) draws: the largest R-hat is ([\d.]+) and the "
        r"smallest bulk effective sample size ([\d,]+)\.")  # fmt: skip
def _(f, m):
    assert int(m[1]) == min(8, len(f.r.fits["pymc"].parameters))
    agree(m[4], column(f.r, "pymc", "rhat").max())
    agree(m[5], column(f.r, "pymc", "ess_bulk").min())
    sizes = f.r.posterior["posterior"].sizes
    assert (int(m[2]), int(m[3].replace(",", ""))) == (sizes["chain"], sizes["draw"])


@checks(rf"Posterior densities against their priors(?:: at its peak the posterior of (.+), the least informed, "
        rf"is ({N}) times as dense as its prior)?\.")  # fmt: skip
def _(f, m):
    if m[1]:
        term = term_of(m[1], column(f.r, "pymc").index, f.r.labels.term)
        draws = f.r.posterior["posterior"][term].to_numpy().ravel()
        peak = stats.gaussian_kde(draws)(np.linspace(draws.min(), draws.max(), 200)).max()
        prior = next(
            row["prior"] for row in f.r.fits["pymc"].diagnostics.summary["priors"] if row["parameter"] == term
        )
        low, high = re.fullmatch(r"uniform\((.+), (.+)\)", prior).groups()
        # another bandwidth than the figure's: their peaks differ by some percent
        assert abs(parsed(m[2])[0] / (peak * (float(high) - float(low))) - 1) < 0.15


@checks(r"Marginal posterior \(filled\)(, prior \(dashed\))?( and the true value \(vertical\))?\.")
def _(f, m):
    assert (m[1] is not None) == ("stroke-dasharray" in f.svg)
    assert (m[2] is not None) == (f.r.truth is not None)


# ---- what does not depend on the study

STATIC = (
    r"(Filled: statistics of data sets replicated from the priors, which should make data like these possible "
    r"without being certain of them; line: the data\.|Log density of a group's rows given all other groups, by "
    r"Pareto-smoothed importance sampling from the one fit \(Vehtari et al\. 2017\); dashed: the k above which that "
    r"fails\.|Each chain's rank ECDF minus the uniform's; grey: simultaneous 95 % band at the effective sample size, "
    r"which the chains of one parameter in twenty leave by chance \(Säilynoja et al\. 2022\)\.|Draws after warm-up, "
    r"(?:every draw|one draw in 8), one colour per chain; the chains should overlap\.|Improper \(flat\) priors, not "
    r"drawn: .+\.|This check of the Bayesian fit is left out: .+\.|There are no two engines with random effects to "
    r"compare\.|No engine estimated random "
    r"effects\.)"
)


@checks(r"The influence of each group is left out: (.+)\.")
def _(f, m):
    assert m[1] == f.r.notes["influence_about"]["left_out"]


@checks(STATIC)
def _(f, m):
    pass  # nothing of this study


def check(r, figure, sentence):
    """A figure's sentence: its own check, or that of the section whose sentence it repeats."""
    try:
        return checks.check(about(r, figure), sentence)
    except AssertionError as unknown:
        if "no check knows" not in str(unknown):
            raise
        return of_fits.check(r, sentence)
