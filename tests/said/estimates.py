"""Checks of what stands below the figures of parameters and random effects."""

import re

import numpy as np

from said.reading import (
    ENGINE,
    E,
    N,
    P,
    agree,
    column,
    fixed,
    main,
    matrix,
    mixed,
    percents,
    random_terms,
    term_of,
)
from said.rows import checks, drawn

# ---- parameters


@checks(r"(\d+) of (\d+) intervals of the mixed models contain the true value\.")
def _(f, m):
    held = known = 0
    for engine in mixed(f.r):
        table = f.r.fits[engine].parameters.query("effect == 'ran_pars'").dropna(subset=["conf_low", "truth"])
        known += len(table)
        held += ((table["conf_low"] <= table["truth"]) & (table["truth"] <= table["conf_high"])).sum()
    assert (int(m[1]), int(m[2])) == (held, known)


def quarter(r, engine, term):
    """A quarter of an interval; 0 without one."""
    low, high = (column(r, engine, name)[term] for name in ("conf_low", "conf_high"))
    return np.nan_to_num((high - low) / 4)


@checks(rf"The largest relative error is ({P}) \((.+), ({E})\)\.")
def _(f, m):
    table = f.r.fits[ENGINE[m[3]]].parameters
    term = term_of(m[2], table["term"], f.r.labels.term)
    off = {
        (engine, t): column(f.r, engine)[t] / truth - 1
        for engine in mixed(f.r)
        for t, truth in column(f.r, engine, "truth").items()
        if t.startswith("sd__") and truth > quarter(f.r, engine, t)
    }
    percents(m[1], off[ENGINE[m[3]], term])
    assert abs(off[ENGINE[m[3]], term]) == max(map(abs, off.values()))


@checks(r"Estimated standard deviations and correlations by engine: (.+)\.")
def _(f, m):
    for part in m[1].split("; "):
        words, values = part.rsplit(": ", 1)
        for value in values.split(", "):
            engine, number = value.rsplit(" ", 1)
            table = column(f.r, ENGINE[engine])
            agree(number, table[term_of(words, table.index, f.r.labels.term)])


@checks(r"Point and (\d+) % interval by engine(?: \((.+)\))?\.")
def _(f, m):
    assert float(m[1]) == 100 * f.r.conf_level
    kinds(f, m[2] or "", "ran_pars")


def kinds(f, text, effect):
    """Kinds of intervals are those of the engines that have them, and of no other."""
    for name, words in (("ols", "OLS"), ("mixedlm", "MixedLM"), ("reml", "reml"), ("pymc", "PyMC")):
        table = f.r.fits[name].parameters if name in f.r.fits else None
        if table is None or not (table["effect"] == effect).any():
            assert words not in text, f"{words} is not drawn"
        else:
            none = table.loc[table["effect"] == effect, "conf_low"].isna().all()
            of_none = (re.search(r"no interval for (.+)", text) or [""])[0]
            assert words in text and none == (words in of_none)


@checks(
    r"Solid line: true value(; dashed: value drawn in these data)?; point and (\d+) % interval by "
    r"engine(?: \((.+)\))?\."
)
def _(f, m):
    assert f.r.truth and (m[1] is not None) == ("drawn in these data" in f.svg)
    assert float(m[2]) == 100 * f.r.conf_level
    kinds(f, m[3] or "", "ran_pars")


@checks(r"Fixed effects by engine with (\d+) % intervals\.")
def _(f, m):
    assert float(m[1]) == 100 * f.r.conf_level


@checks(rf"((?:.+: OLS's interval is {N} times as wide as (?:{E})'s)+)\.")
def _(f, m):
    for term, number, engine in re.findall(
        rf"(?:^|; )(.+?): OLS's interval is ({N}) times as wide as ({E})'s", m[1]
    ):
        wide = {e: column(f.r, e, "conf_high") - column(f.r, e, "conf_low") for e in ("ols", ENGINE[engine])}
        agree(number, wide["ols"][term] / wide[ENGINE[engine]][term])


@checks(rf"OLS's intervals are ({N}) \((.+)\) to ({N}) \((.+)\) times as wide as ({E})'s\.")
def _(f, m):
    ratio = {
        term: np.subtract(*(column(f.r, "ols", side)[term] for side in ("conf_high", "conf_low")))
        / np.subtract(*(column(f.r, ENGINE[m[5]], side)[term] for side in ("conf_high", "conf_low")))
        for term in fixed(f.r, "ols").index
    }
    agree(m[1], min(ratio.values()))
    agree(m[3], max(ratio.values()))
    assert ratio[m[2]] == min(ratio.values()) and ratio[m[4]] == max(ratio.values())


@checks(r"Estimand: the fixed effects( \(vertical line: the value simulated from\))?\.")
def _(f, m):
    assert (m[1] is not None) == (f.r.truth is not None)


@checks(r"Intervals: (.+)\.")
def _(f, m):
    kinds(f, m[1], "fixed")


@checks(r"OLS assumes independent rows, so its intervals are not to be trusted where groups differ\.")
def _(f, m):
    assert drawn(f, "ols")


# ---- random effects


@checks(r"Random effects by group\.")
def _(f, m):
    assert mixed(f.r)


@checks(rf"((?:\S+: from {N} to {N}, {P} of the intervals exclude 0(?:; )?)+)\.")
def _(f, m):
    table = f.r.fits[main(f.r)].ranef
    for term, low, high, share in re.findall(rf"(\S+): from ({N}) to ({N}), ({P}) of", m[1]):
        mine = table[table["term"] == term]
        agree(low, mine["estimate"].min())
        agree(high, mine["estimate"].max())
        percents(share, np.mean((mine["conf_low"] > 0) | (mine["conf_high"] < 0)))


@checks(
    r"Point: (?:BLUP \((.+?)\))?(?: and )?(posterior mean \(PyMC\))?; bar: (\d+) % interval from the "
    r"prediction error, uncertainty of the fixed effects included\."
)
def _(f, m):
    for words, name in (("MixedLM", "mixedlm"), ("reml", "reml")):
        assert (words in (m[1] or "")) == drawn(f, name)
    assert float(m[3]) == 100 * f.r.conf_level
    assert (m[2] is not None) == drawn(f, "pymc")


@checks(rf"Differences of the random effects between ({E}) and ({E})\.")
def _(f, m):
    assert {ENGINE[m[1]], ENGINE[m[2]]} <= set(mixed(f.r))


@checks(rf"((?:\S+: at most {N}(?: ± {N})? \(group \S+?\)(?:; )?)+)\.")
def _(f, m):
    table = f.r.tables["ranef_differences"]
    for term, number, noise, level in re.findall(
        rf"(\S+): at most ({N})(?: ± ({N}))? \(group (\S+?)\)", m[1]
    ):
        mine = table[table["term"] == term].astype({"level": str}).set_index("level")
        agree(number, mine["difference"].abs().max())
        assert mine["difference"].abs().idxmax() == level
        if noise:
            agree(noise, mine.loc[level, "mcse"])
        else:
            assert mine["mcse"].isna().all() or "pymc" not in mine["difference_of"].iloc[0]


@checks(
    rf"One dot per group: ({E})'s random effect minus ({E})'s( posterior mean)?(; bar: two Monte Carlo standard "
    r"errors)?\."
)
def _(f, m):
    assert (m[3] is not None) == (m[4] is not None) == (ENGINE[m[2]] == "pymc")
    assert (m[4] is not None) == ('stroke="#b9c0c9" stroke-width="1.2"' in f.svg), (
        "bars are drawn, or not said"
    )


def no_pooling(r, beta, terms):
    """Each group's own least squares of the rows less the model's fixed part; without rows, the table."""
    if r.rows is None:
        return dict(
            r.tables["ranef_differences"].pivot(index="level", columns="term", values="no_pooling")[terms].T
        )
    left = r.rows[r.data["response"]].to_numpy() - matrix(r.rows, beta.index) @ beta.to_numpy()
    Z, group, own = matrix(r.rows, terms), r.rows[r.data["group"]].astype(str).to_numpy(), {}
    for level in set(group):
        solved, _, rank, _ = np.linalg.lstsq(Z[group == level], left[group == level])
        own[level] = solved if rank == len(terms) else np.full(len(terms), np.nan)
    return own


@checks(
    rf"((?:\S+: {N} of {N} groups? lie nearer to (?:the fixed effect|0) when pooled"
    rf"(?:; their SD (?:falls|rises) from {N} to {N})?(?:; )?)+)\."
)
def _(f, m):
    engine, terms = main(f.r), random_terms(f.r)
    beta = fixed(f.r, engine)
    pooled = f.r.fits[engine].ranef.pivot(index="level", columns="term", values="estimate")[terms]
    own = no_pooling(f.r, beta, terms)
    own = np.array([own[level] for level in pooled.index])
    known = np.isfinite(own).all(axis=1)
    for term, near, count, centre, way, before, after in re.findall(
        rf"(\S+): ({N}) of ({N}) groups? lie nearer to (the fixed effect|0) when pooled"
        rf"(?:; their SD (falls|rises) from ({N}) to ({N}))?",
        m[1],
    ):
        k = terms.index(term)
        a, b = own[known, k], pooled[term].to_numpy()[known]
        agree(count, known.sum())
        agree(near, np.sum(np.abs(b) < np.abs(a)))
        assert (centre == "0") == (term not in beta.index)
        if before:
            agree(before, np.std(a, ddof=1))
            agree(after, np.std(b, ddof=1))
            assert (way == "falls") == (np.std(b, ddof=1) < np.std(a, ddof=1))
    assert drawn(f, "no_pooling")


@checks(
    rf"Each group's coefficients \(fixed effect \+ random effect\) by ({E})(?: and by its own least squares(, "
    r"less the model's fixed part of (.+))?; lines join the two)?\."
)
def _(f, m):
    others = [t for t in fixed(f.r, ENGINE[m[1]]).index if t not in random_terms(f.r)]
    assert (m[2] is not None) == bool(others) or not drawn(f, "no_pooling")
    assert all(f.r.labels.term(term) in (m[3] or "") for term in others)
    assert ("lines join" in m[0]) == drawn(f, "no_pooling")


@checks(rf"Not determined by its own rows: ({N}) groups?\.")
def _(f, m):
    table = f.r.tables["ranef_differences"].pivot(index="level", columns="term", values="no_pooling")
    agree(m[1], table[random_terms(f.r)[:2]].isna().any(axis=1).sum())


@checks(rf"Outside the frame without pooling: ({N}) groups?\.")
def _(f, m):
    beyond = np.zeros(f.r.data["groups"], bool)
    beta, terms = fixed(f.r, main(f.r)), random_terms(f.r)[:2]
    table, effects = f.r.tables["ranef_differences"], f.r.fits[main(f.r)].ranef
    for term in terms:
        own, pooled = (
            part[part["term"] == term].set_index("level")[name].sort_index() + beta.get(term, 0.0)
            for part, name in ((table, "no_pooling"), (effects, "estimate"))
        )
        low, high = np.nanpercentile([*own, *pooled], [2, 98])
        low, high = min(low, pooled.min()), max(high, pooled.max())
        room = 0.25 * (high - low)
        beyond |= ((own < low - room) | (own > high + room)).to_numpy()
    agree(m[1], beyond.sum())


@checks(r"No group's own rows determine its effects, so only the pooled ones are drawn\.")
def _(f, m):
    assert not drawn(f, "no_pooling")
