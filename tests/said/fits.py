"""Checks of the sentences on the data, least squares, MixedLM, reml and influence."""

import re

import numpy as np

from said.reading import (
    ENGINE,
    MANY,
    RESIDUAL,
    Checks,
    E,
    N,
    P,
    agree,
    column,
    fixed,
    items,
    leading,
    main,
    mixed,
    parsed,
    per_term,
    percents,
    random_terms,
    share,
    size,
    term_of,
)

checks = Checks()


# ---- the data


@checks(rf"The data have ({N}) rows in ({N}) groups, grouped by (.+); the response is (.+)\.")
def _(r, m):
    agree(m[1], len(r.rows) if r.rows is not None else r.data["rows"])
    agree(m[2], r.data["groups"])
    assert r.truth is None
    if r.rows is not None:
        assert r.rows[m[3]].nunique() == r.data["groups"]
        assert m[4] in r.rows


@checks(r"Treatment contrasts compare levels of (.+) with (.+)\.")
def _(r, m):
    terms = " ".join(fixed(r, next(iter(r.fits))).index)
    assert f"[T.{m[2]}]" not in terms and m[2] in set(r.rows[m[1]])


@checks(rf"({N}) rows? with missing values (was|were) left out \((.+)\)\.")
def _(r, m):
    lost = r.data["dropped"]
    agree(m[1], lost["rows"])
    assert (m[2] == "was") == (lost["rows"] == 1)
    assert items(m[3]) == [f"{name} in {count:,}" for name, count in lost["columns"].items()]


@checks(
    rf"({N}) rows in ({N}) groups were simulated: fixed effects of (.+), random effects with standard "
    rf"deviations of (.+?)(?: and a correlation of ({N}) \((.+) and (.+)\))?, and noise with a standard "
    rf"deviation of ({N})\."
)
def _(r, m):
    agree(m[1], r.data["rows"])
    agree(m[2], r.data["groups"])
    for text, given in ((m[3], r.truth["fixed"]), (m[4], r.truth["sd"])):
        assert {t: parsed(n)[0] for t, n in per_term(text).items()} == given
    corr = {pair: value for pair, value in r.truth["corr"].items() if value}
    assert corr == ({f"{m[6]}.{m[7]}": parsed(m[5])[0]} if m[5] else {})
    assert parsed(m[8])[0] == r.truth["sigma"]


@checks(rf"({N}) groups are a sample: the effects in fact drawn have standard deviations of (.+)\.")
def _(r, m):
    agree(m[1], r.data["groups"])
    found = re.findall(rf"({N}) for (\S+) \(not ({N})\)", m[2])
    assert {term for _, term, _ in found} == set(r.truth["sd"])
    for drawn, term, given in found:
        agree(drawn, np.std(list(r.truth["ranef"][term].values()), ddof=1))
        assert parsed(given)[0] == r.truth["sd"][term]


@checks(
    r"An engine that sees only these data should come close to the values drawn; its intervals are for the values "
    r"simulated from\."
)
def _(r, m):
    assert r.truth


@checks(rf"Fitted values of every row are left out: ({N}) rows are more than 100,000\.")
def _(r, m):
    agree(m[1], r.data["rows"])
    assert r.data["rows"] > 100_000


@checks(r"The setting predict gives them for rows of your choice\.")
def _(r, m):
    assert r.data["rows"] > 100_000


# ---- least squares


@checks(r"Ordinary least squares takes all rows as independent\.")
def _(r, m):
    assert "ols" in r.fits


@checks(
    rf"It explains ({P}) of the variance \(adjusted ({P})\) and leaves a residual standard deviation of ({N})\."
)
def _(r, m):
    assert set(fixed(r, "ols").index) != {"Intercept"}
    y, sigma = r.rows[r.data["response"]], column(r, "ols")[RESIDUAL]
    n, p = len(y), len(fixed(r, "ols"))
    within = sigma**2 * (n - p)
    percents(m[1], 1 - within / ((y - y.mean()) ** 2).sum())
    percents(m[2], 1 - sigma**2 / y.var())
    agree(m[3], sigma)


@checks(rf"Without predictors it is their mean and leaves a residual standard deviation of ({N})\.")
def _(r, m):
    assert list(fixed(r, "ols").index) == ["Intercept"]
    agree(m[1], r.rows[r.data["response"]].std())


@checks(
    rf"It attributes between-group variation to the residual: its residual standard deviation is ({N}) times "
    rf"that of ({E}) \(({N})\)\."
)
def _(r, m):
    inner = column(r, ENGINE[m[2]])[RESIDUAL]
    agree(m[1], column(r, "ols")[RESIDUAL] / inner)
    agree(m[3], inner)
    assert column(r, "ols")[RESIDUAL] > 1.15 * inner


@checks(rf"That of ({E}) is ({N}): differences between groups hardly add to it\.")
def _(r, m):
    inner = column(r, ENGINE[m[1]])[RESIDUAL]
    agree(m[2], inner)
    assert column(r, "ols")[RESIDUAL] <= 1.15 * inner


@checks(
    rf"OLS's standard error of (.+) is ({N}) times that of ({E}): (too small \(anticonservative\), since rows "
    rf"of one group are not independent|the mixed model is the more precise)\."
)
def _(r, m):
    ratios = column(r, "ols", "std_error") / column(r, ENGINE[m[3]], "std_error")
    ratios = ratios[fixed(r, "ols").index].rename(r.labels.term)
    small = m[4].startswith("too small")
    agree(m[2], ratios[m[1]])
    assert ratios[m[1]] == (ratios.min() if small else ratios.max())
    assert ratios[m[1]] < 0.9 if small else ratios[m[1]] > 1.1
    assert ENGINE[m[3]] == ("reml" if "reml" in mixed(r) else main(r))


# ---- MixedLM and reml


@checks(
    rf"({E}) (is singular: a variance is estimated as 0, or a correlation as ±1|has variance "
    rf"parameters that the data do not determine, so do not rely on its numbers|did not converge|failed its "
    rf"convergence gates, so its numbers are not to be relied on|could not be fitted|was skipped)(?: \((.*)\))?\."
)
def _(r, m):
    details = r.fits[ENGINE[m[1]]].diagnostics
    said = {
        "is": "singular",
        "has": "unidentified",
        "did": "non-converged",
        "failed": "gate-failed",
        "could": "error",
        "was": "skipped",
    }
    assert details.status == said[m[2].split()[0]]
    assert (m[3] or "") == (details.message or "")


@checks(rf"({MANY}) ends? at a REML criterion of ({N})\.")
def _(r, m):
    for name in items(m[1]):
        agree(m[2], r.fits[ENGINE[name]].diagnostics.criterion)


@checks(
    rf"The random effects account for ({P}) of the variance( that the fixed effects leave)? \(mean over rows, "
    rf"Johnson 2014\)(?:; their share of the summed variance components, which depends on the predictors' "
    rf"units, is ({P}))?\."
)
def _(r, m):
    engine = leading(r)
    sd = np.array([column(r, engine)[f"sd__{term}"] for term in random_terms(r)])
    sigma = column(r, engine)[RESIDUAL]
    assert (m[2] is None) == (list(fixed(r, engine).index) == ["Intercept"])
    percents(m[1], share(r, engine, "johnson"))
    if random_terms(r) == ["Intercept"]:
        assert m[3] is None
        percents(m[1], sd[0] ** 2 / (sd[0] ** 2 + sigma**2))
    else:
        percents(m[3], (sd**2).sum() / ((sd**2).sum() + sigma**2))


@checks(
    rf"The fixed effects explain ({P}) of the variance \(marginal R²\), fixed and random effects together ({P}) "
    rf"\(conditional R²\)\."
)
def _(r, m):
    engine = leading(r)
    assert list(fixed(r, engine).index) != ["Intercept"], (
        "nothing is explained by fixed effects that are not there"
    )
    percents(m[1], share(r, engine, "marginal_r2"))
    percents(m[2], share(r, engine, "conditional_r2"))


@checks(
    r"The identity coef = fixef \+ ranef (holds|does NOT hold) for every row \((.+), largest error: (.+)\)\."
)
def _(r, m):
    error = r.fits[ENGINE[m[2]]].diagnostics.summary["coef_identity_max_error"]
    sd = r.data["columns"][r.data["response"]]["sd"]
    assert (m[1] == "holds") == (error <= 1e-8 * max(1.0, sd))
    size(m[3], error)


@checks(
    r"MixedLM (reached|did NOT reach) the exact REML optimum: its criterion differs by (.+) and its "
    r"standard deviations by (?:at most )?(.+) \(relative\)\."
)
def _(r, m):
    gap = r.fits["mixedlm"].diagnostics.summary["reml_gap"]
    assert (m[1] == "reached") == gap["reached"]
    size(m[2], gap["criterion"])
    size(m[3], gap["sd"])


@checks(
    rf"MixedLM's standard errors of fixed effects differ from reml's by up to ({P}) \((.+): ({N}) against ({N})\): "
    r"they come from the curvature of the likelihood in all parameters at once(?:, which misleads "
    r"near the boundary \((.+)\))?; those of reml are of generalised least squares\."
)
def _(r, m):
    theirs, ours = (column(r, name, "std_error")[fixed(r, "reml").index] for name in ("mixedlm", "reml"))
    theirs, ours = theirs.rename(r.labels.term), ours.rename(r.labels.term)
    off = (theirs / ours - 1).abs()
    assert off[m[2]] == off.max()
    percents(m[1], off.max())
    agree(m[3], theirs[m[2]])
    agree(m[4], ours[m[2]])
    table = r.fits["reml"].parameters.set_index("term")
    ends = []
    for term in table.index[table["effect"] == "ran_pars"]:
        low, high = table.loc[term, ["conf_low", "conf_high"]]
        if term.startswith("sd__") and low <= 0:
            ends.append(f"the interval of {r.spoken(term)} reaches 0")
        if term.startswith("cor__") and max(-low, high) >= 1:
            ends.append(f"the interval of {r.spoken(term)} reaches {'−1' if low <= -1 else '1'}")
    if r.fits["reml"].diagnostics.singular:
        assert m[5] == "the fit is singular"
    elif ends:
        assert m[5] == " and ".join(ends)
    else:
        assert m[5] is None, "the fit is not near the boundary"


@checks(
    rf"({E}) and ({E}) give the same random effects: no difference is as large as 0\.1 % of a standard error\."
)
def _(r, m):
    table = r.tables["ranef_differences"]
    assert {ENGINE[m[1]], ENGINE[m[2]]} == set(table["difference_of"].iloc[0].split(" - ")) == set(mixed(r))
    for term, mine in table.groupby("term"):
        tables = [r.fits[name].ranef for name in mixed(r)]
        errors = [one.loc[one["term"] == term, "std_error"].median() for one in tables]
        assert mine["difference"].abs().max() < 1e-3 * max(errors)


@checks(r"A standard deviation between so few groups is hardly known: (.+)\.")
def _(r, m):
    assert m[1] == f"{r.data['groups']} levels of {r.data['group']}" and r.data["groups"] < 5 and mixed(r)


# ---- influence


@checks(
    rf"Leaving out group (.+?) would (lower|raise) (.+) from ({N}) to ({N})(?:, ({N}) of its standard errors?)?"
    rf"(, more than without any other)?\."
)
def _(r, m):
    moved(r, *m.groups()[:6])


def moved(r, level, way, words, before, after, share):
    table = r.tables["influence"]
    mine = table[table["term"] == term_of(words, dict.fromkeys(table["term"]), r.labels.term)].set_index(
        "level"
    )
    row = mine.loc[level]
    assert abs(row["change"]) == mine["change"].abs().max()
    assert (way == "lower") == (row["change"] < 0)
    agree(before, row["estimate_without"] - row["change"])
    agree(after, row["estimate_without"])
    assert (share is not None) == bool(np.isfinite(row["standardised"]))
    if share:
        agree(share, abs(row["standardised"]))


@checks(
    r"No single group moves an estimate by more than its standard error(?: \((.+) aside, without one\))?\."
)
def _(r, m):
    table = r.tables["influence"]
    assert not (table["standardised"].abs() > 1).any()
    none = table.groupby("term", sort=False)["standardised"].count()
    assert items(re.sub(r"correlation of (\S+) and ", r"correlation of \1 & ", m[1] or "")) == [
        re.sub(r"correlation of (\S+) and ", r"correlation of \1 & ", r.spoken(term))
        for term in none.index[none == 0]
    ]


@checks(r"Groups? (.+) moves? an estimate by more than its standard error: look at the data there\.")
def _(r, m):
    table = r.tables["influence"]
    large = set(table.loc[table["standardised"].abs() > 1, "level"].astype(str))
    named = items(m[1])
    if named[-1].endswith("others"):
        assert int(named[-1].split()[0]) == len(large) - len(named) + 1
        named = named[:-1]
    else:
        assert set(named) == large
    assert set(named) <= large


@checks(r"Influence of each group is left out: (.+)\.")
def _(r, m):
    assert m[1] == r.notes["influence_about"]["left_out"] and not len(r.tables["influence"])
