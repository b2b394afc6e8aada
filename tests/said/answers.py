"""Checks of the answer: effects of interest, spread between groups, the results paragraph, effect plots."""

import re

import numpy as np
from scipy import stats

from lmm.core.words import places
from said.bayes import typical
from said.fits import checks
from said.reading import (
    ENGINE,
    RESIDUAL,
    E,
    N,
    agree,
    column,
    fixed,
    items,
    leading,
    mixed,
    p_says,
    parsed,
    share,
)
from said.rows import checks as figures
from said.rows import drawn

B = rf"(?:{N}|−?\.\d+)"  # what cannot exceed 1 has no zero before its point
FITTED = r"restricted maximum likelihood \(REML\)|PyMC \(Bayesian\)"
NUMBERS = ["estimate", "std_error", "df", "conf_low", "conf_high", "statistic", "p_value", "prob_direction"]
CI = rf"(\d+) % (CI|CrI) \[?({N})(?: to |, )({N})\]?"
STAT = (
    rf"(?:[;,] (?:t\(({N})\)|(z)) = ({N}), (p [<=>] [\d.]+)(, adjusted)?"
    r"|[;,] probability of direction (> )?([\d.]+))?"
)


def lead(r):
    return leading(r) or next(iter(r.fits))


def rows(r, title):
    """Engine to the numbers of an effect by its title."""
    found = {}
    table = r.tables.get("effects")
    own = title.removeprefix("Effect of ")
    for engine in r.fits:
        values = None
        if table is not None and len(table):
            for row in table[table["engine"] == engine].to_dict("records"):
                if title in (title_of(row), turned(row)):
                    values = {name: float(row[name]) for name in NUMBERS}
                    if title != title_of(row):  # the other way round
                        values |= {name: -values[name] for name in ("estimate", "statistic")}
                        values |= {"conf_low": -values["conf_high"], "conf_high": -values["conf_low"]}
                    if row["kind"] == "contrast" and np.isfinite(row["p_adjusted"]):
                        values["p_value"] = float(row["p_adjusted"])
        else:
            parameters = r.fits[engine].parameters
            mine = parameters[parameters["effect"] == "fixed"]
            term = "Intercept" if title.startswith("Mean of ") else own
            mine = mine[mine["term"].map(r.labels.term).eq(term)]
            if len(mine):
                values = {name: float(mine.iloc[0].get(name, np.nan)) for name in NUMBERS}
        if values is None and title.startswith("Mean of "):
            parameters = r.fits[engine].parameters
            mine = parameters[parameters["term"] == "Intercept"]
            if len(mine):
                values = {name: float(mine.iloc[0].get(name, np.nan)) for name in NUMBERS}
        if values is not None:
            found[engine] = values
    assert found, title
    return found


def title_of(row):
    if row["kind"] == "slope":
        return f"Effect of {row['effect']}"
    if row["kind"] == "contrast":
        return f"{row['effect']}: {row['contrast'].replace(' - ', ' vs ')}"
    return ""


def turned(row):
    """The title of a contrast whose levels change places."""
    a, _, b = row["contrast"].partition(" - ") if row["kind"] == "contrast" else ("", "", "")
    return f"{row['effect']}: {b} vs {a}" if b else ""


def digits(text, row):
    """As many decimals as show two digits of the standard error."""
    decimals = places(row["std_error"])
    if decimals is not None:
        assert len(text.partition(".")[2]) == decimals, (text, row["std_error"])


def interval(row, low, high):
    agree(low, row["conf_low"])
    agree(high, row["conf_high"])


def statistic(row, df, z, value, p, direction):
    if p:
        p_says(p, row["p_value"])
        agree(value, row["statistic"])
        assert (z is not None) == (not np.isfinite(row["df"]))
        if df:
            agree(df, row["df"])
    elif direction:
        assert row["prob_direction"] > float(direction) - 0.0005
    else:
        assert not np.isfinite(row["p_value"])


# ---- in words


def excludes(row, said):
    assert (said == "excludes") == (not row["conf_low"] <= 0 <= row["conf_high"])


def sizes(row, up, text, ways):
    """An interval in the sentence's direction; where 0 is in it, each end with the direction that it has."""
    low, high = row["conf_low"], row["conf_high"]
    down, rise = ways
    if low <= 0 <= high:
        found = re.fullmatch(rf"{down.format(f'({N})')} to {rise.format(f'({N})')}", text)
        agree(found[1], -low)
        agree(found[2], high)
        return
    way = (rise if up else down).replace("{}", "")
    found = re.fullmatch(rf"({N}) to ({N})(.*)", text)
    assert found[3] == (way if way.startswith(" ") else "")
    for end, value in zip((found[1], found[2]), sorted(map(abs, (low, high))), strict=True):
        agree(end, value)


def place(r, own, text):
    """An effect that others modify is said with the place where it is taken, and no other effect is."""
    of_table = r.tables.get("effects") is not None and len(
        r.tables["effects"]
    )  # a coefficient is taken nowhere
    terms = [re.sub(r"\[T\.[^\]]*\]", "", term).split(":") for term in fixed(r, lead(r)).index if of_table]
    others = {name for term in terms if own in term for name in term if name != own}
    text = text[:1].lower() + text[1:] if text else ""
    found = re.fullmatch(r"(?:at the mean of (.+?))?(?: and )?(?:averaged over (.+))?", text)
    levels = {name for name in others if r.data["columns"][name].get("levels")}
    assert set(items(found[1] or "")) == others - levels and set(items(found[2] or "")) == levels


WHERE = r"(?:((?:At the mean of|Averaged over) .+?), )?"


@checks(
    WHERE
    + r"(.+) (increases|decreases) by ("
    + N
    + r") when (.+) increases by one unit \((\d+) % (CI|CrI) ([^()]+)\); the "
    r"interval (includes|excludes) 0\."
)
def _(r, m):
    row, up = rows(r, f"Effect of {m[5]}")[lead(r)], m[3] == "increases"
    assert m[2] == r.data["response"] and up == (row["estimate"] >= 0)
    place(r, m[5], m[1])
    agree(m[4], abs(row["estimate"]))
    digits(m[4], row)
    assert float(m[6]) == 100 * r.conf_level and (m[7] == "CrI") == (lead(r) == "pymc")
    sizes(row, up, m[8], ("a decrease of {}", "an increase of {}"))
    excludes(row, m[9])


@checks(
    WHERE
    + r"(.+) is ("
    + N
    + r") (higher|lower) at (.+) than at (.+) \((\d+) % (CI|CrI) ([^()]+)\); the interval "
    r"(includes|excludes) 0\."
)
def _(r, m):
    name = next(name for name, about in r.data["columns"].items() if m[5] in about.get("levels", []))
    row, up = rows(r, f"{name}: {m[5]} vs {m[6]}")[lead(r)], m[4] == "higher"
    place(r, name, m[1])
    agree(m[3], abs(row["estimate"]))
    assert m[2] == r.data["response"] and up == (row["estimate"] >= 0)
    assert float(m[7]) == 100 * r.conf_level
    sizes(row, up, m[9], ("{} lower", "{} higher"))
    excludes(row, m[10])


@checks(rf"(?:The (?=mean of ))?(.+?) is ({N}) \({CI}\)(?:; the interval (includes|excludes) 0)?\.")
def _(r, m):
    row = rows(r, re.sub("^mean of ", "Mean of ", m[1]))[lead(r)]
    agree(m[2], row["estimate"])
    digits(m[2], row)
    assert float(m[3]) == 100 * r.conf_level and (m[4] == "CrI") == (lead(r) == "pymc")
    interval(row, m[5], m[6])
    if m[7]:
        excludes(row, m[7])


def sd_of(r, term, text):
    """An sd with two digits of its standard error, or of a quarter of its interval."""
    agree(text, column(r, lead(r))[term])


@checks(
    r"OLS ignores the groups: intervals and p values hold only if rows of one group are as independent as others\."
)
def _(r, m):
    assert lead(r) == "ols" and not mixed(r)


@checks(
    rf"The SD between levels of (.+?) is ({N})(?: \((?:(\d+) % (CI|CrI) ({N}) to ({N}))?(?:; )?"
    rf"(the fit is singular)?\))?, the residual SD ({N})\."
)
def _(r, m):
    assert m[1] == r.data["group"]
    sd_of(r, "sd__Intercept", m[2])
    sd_of(r, RESIDUAL, m[8])
    table = r.fits[lead(r)].parameters.set_index("term").loc["sd__Intercept"]
    assert (m[3] is not None) == bool(np.isfinite(table["conf_low"] + table["conf_high"]))
    if m[3]:
        assert float(m[3]) == 100 * r.conf_level and (m[4] == "CrI") == (lead(r) == "pymc")
        interval(table, m[5], m[6])
    assert (m[7] is not None) == (table["estimate"] == 0) and (
        m[7] is None or r.fits[lead(r)].diagnostics.singular
    )


@checks(
    rf"Between levels of (.+) the effect of (.+) has an SD of ({N})(?: \((?:(\d+) % (CI|CrI) ({N}) to ({N}))?(?:; )?"
    rf"(the fit is singular)?\))?(?:: about (\d+) % of them have an effect between ({N}) and ({N}))?\."
)
def _(r, m):
    assert m[1] == r.data["group"]
    sd_of(r, f"sd__{m[2]}", m[3])
    table = r.fits[lead(r)].parameters.set_index("term").loc[f"sd__{m[2]}"]
    assert (m[4] is not None) == bool(np.isfinite(table["conf_low"] + table["conf_high"]))
    if m[4]:
        assert float(m[4]) == 100 * r.conf_level and (m[5] == "CrI") == (lead(r) == "pymc")
        interval(table, m[6], m[7])
    assert (m[8] is not None) == (table["estimate"] == 0)
    if m[9]:
        assert float(m[9]) == 100 * r.conf_level
        half = stats.norm.isf((1 - r.conf_level) / 2) * column(r, lead(r))[f"sd__{m[2]}"]
        agree(m[10], fixed(r, lead(r))[m[2]] - half)
        agree(m[11], fixed(r, lead(r))[m[2]] + half)
    else:
        assert m[2] not in fixed(r, lead(r)) or any(
            m[2] in term.split(":") and term != m[2] for term in fixed(r, lead(r)).index
        )


# ---- cards


@checks(rf"({E}): {CI}{STAT}")
def _(r, m):
    assert any(
        matches(r, rows(r, title)[ENGINE[m[1]]], m) for title in titles(r) if ENGINE[m[1]] in rows(r, title)
    )
    assert float(m[2]) == 100 * r.conf_level and (m[3] == "CrI") == (ENGINE[m[1]] == "pymc")


def titles(r):
    """Titles of the effects of interest."""
    table = r.tables.get("effects")
    if table is not None and len(table):
        found = [title for row in table.to_dict("records") for title in (title_of(row), turned(row))]
    else:
        terms = [
            term for fit in r.fits.values() for term in fit.fixed if term != "Intercept" and ":" not in term
        ]
        found = [
            said if "[" in term else f"Effect of {said}" for term in terms for said in [r.labels.term(term)]
        ]
        joint = [term for fit in r.fits.values() for term in fit.fixed if ":" in term]
        found += [r.labels.term(term) for term in joint]
    return list(dict.fromkeys(filter(None, found))) or [f"Mean of {r.data['response']}"]


def matches(r, row, m):
    try:
        interval(row, m[4], m[5])
        if m[9] or m[12] or set(fixed(r, ENGINE[m[1]]).index) != {"Intercept"}:
            statistic(row, m[6], m[7], m[8], m[9], m[12])
    except AssertionError:
        return False
    return True


@checks(r"(.+): the same within (.+)")
def _(r, m):
    assert all(ENGINE[name] in mixed(r) for name in items(m[1]))
    assert any(close(r, title, m[2], max) for title in titles(r))


def distances(r, title):
    """In the leading engine's standard errors, of the other mixed engines."""
    found = rows(r, title)
    own = found[lead(r)]
    return [
        abs(row["estimate"] - own["estimate"]) / own["std_error"]
        for name, row in found.items()
        if name in mixed(r) and name != lead(r)
    ]


def close(r, title, text, which):
    try:
        typical(text, which(distances(r, title)))
    except (AssertionError, ValueError):
        return False
    return True


@checks(rf"({E}): ({N}) \(({N}) to ({N})\), (.+) from ({E})")
@checks(rf"(OLS), groups ignored: ({N}) \(({N}) to ({N})\)")
def _(r, m):
    def fits(title):
        row = rows(r, title).get(ENGINE[m[1]])
        try:
            agree(m[2], row["estimate"])
            interval(row, m[3], m[4])
            if m.re.groups > 4:
                typical(m[5], max(distances(r, title)))
        except (AssertionError, TypeError):
            return False
        return True

    assert any(fits(title) for title in titles(r))


@checks(rf"true value ({N})(, outside the interval)?")
def _(r, m):
    value = parsed(m[1])[0]
    term = next(term for term, true in r.truth["fixed"].items() if true == value)
    title = f"Effect of {term}" if term != "Intercept" else f"Mean of {r.data['response']}"
    row = rows(r, title)[lead(r)]
    assert (m[2] is None) == (row["conf_low"] <= value <= row["conf_high"])


@checks(r"effects: (?:at most )?(.+) apart")
def _(r, m):
    typical(m[1], max(max(distances(r, title), default=0.0) for title in titles(r)))


@checks(r"(.+) ended ok\.")
def _(r, m):
    assert [ENGINE[name] for name in items(m[1])] == list(r.fits)
    assert all(fit.diagnostics.status in ("ok", "gate-failed") for fit in r.fits.values())


@checks(r"SDs by (.+?): (.+)")
def _(r, m):
    for engine in items(m[1]):
        table = column(r, ENGINE[engine])
        parts = re.findall(rf"(.+?) ({N})(?:, |$)", m[2])
        sds = [term for term in table.index if term.startswith("sd__")]
        assert sorted(name for name, _ in parts) == sorted(
            "residual" if term == RESIDUAL else r.labels.term(term.removeprefix("sd__")) for term in sds
        )
        for name, number in parts:
            agree(number, table[RESIDUAL if name == "residual" else f"sd__{name}"])


@checks(r"of the variance that the fixed effects leave")
def _(r, m):
    assert set(fixed(r, lead(r)).index) != {"Intercept"}


@checks(rf"(Effect of .+|Mean of .+|.+ vs .+): ({N})")
def _(r, m):
    agree(m[2], rows(r, m[1])[lead(r)]["estimate"])


# ---- to quote


@checks(
    rf"A linear mixed model of (.+) with (.+) was fitted by ({FITTED}) to ({N}) observations of ({N}) levels of (.+?)"
    rf"(?: \(({N}) rows? with missing values (?:was|were) left out\))?\."
)
def _(r, m):
    assert (m[1], m[6]) == (r.data["response"], r.data["group"])
    assert (m[3] == "PyMC (Bayesian)") == (lead(r) == "pymc")
    agree(m[4], r.data["rows"])
    agree(m[5], r.data["groups"])
    lost = (r.data.get("dropped") or {}).get("rows") or 0
    assert (m[7] is not None) == bool(lost)
    if lost:
        agree(m[7], lost)
    terms = [term.removeprefix("sd__") for term in column(r, lead(r)).index if term.startswith("sd__")]
    assert ("random intercepts" in m[2]) == ("Intercept" in terms)
    assert all(r.labels.term(term) in m[2] for term in terms if term not in ("Intercept", "Observation"))


@checks(rf"A linear model of (.+) was fitted by (ordinary least squares) to ({N}) observations\.")
def _(r, m):
    assert not mixed(r) and m[1] == r.data["response"]
    agree(m[3], r.data["rows"])


def quoted(r, engine, text):
    """Effects with estimate, interval and statistic, apart by semicolons."""
    for part in text.split("; "):
        m = re.fullmatch(
            rf"(.+?), (b|M|difference) = ({N}), {CI}{STAT}(?: \(and (\d+) more, see the table\))?", part
        )
        assert m, part
        title, _, where = re.fullmatch(r"(.+?)( \(((?:at the mean of|averaged over) .+)\))?", m[1]).groups()
        title = title if title in titles(r) else title[0].lower() + title[1:]
        if m[2] != "M":
            place(r, title.removeprefix("Effect of ").partition(": ")[0], where)
        row = rows(r, title)[engine]
        agree(m[3], row["estimate"])
        assert float(m[4]) == 100 * r.conf_level and (m[5] == "CrI") == (engine == "pymc")
        interval(row, m[6], m[7])
        if m[2] == "M":  # that a mean is 0 is no question
            assert not (m[11] or m[14])
        else:
            statistic(row, m[8], m[9], m[10], m[11], m[14])


@checks(r"(By Bayesian inference with PyMC: )?(.+, (?:b|M|difference) = .+)\.")
def _(r, m):
    quoted(r, "pymc" if m[1] else lead(r), m[2])


@checks(r"Confidence intervals and p of contrasts are adjusted for several comparisons\.")
def _(r, m):
    table = r.tables["effects"]
    table = table[table["kind"] == "contrast"]
    assert (table["p_adjusted"] - table["p_value"]).abs().gt(1e-12).any()


@checks(r"Variance components: (.+)\.")
def _(r, m):
    table = r.fits[lead(r)].parameters
    table = table[table["effect"] == "ran_pars"].set_index("term")
    parts = m[1].split("; ")
    assert len(parts) == len(table)
    for part in parts:
        found = re.fullmatch(rf"(.+) = ({B})(?: \[({B}), ({B})\])?", part)
        term = next(t for t in table.index if r.labels.parameter(t).lower() == found[1].lower())
        agree(found[2], table.loc[term, "estimate"])
        if found[3]:
            agree(found[3], table.loc[term, "conf_low"])
            agree(found[4], table.loc[term, "conf_high"])
        else:
            assert not np.isfinite(table.loc[term, ["conf_low", "conf_high"]].sum())


@checks(r"The fit is singular\.")
def _(r, m):
    assert r.fits[lead(r)].diagnostics.singular


@checks(rf"ICC = ({B})(?:, marginal R² = ({B}), conditional R² = ({B}))?\.")
def _(r, m):
    assert (m[2] is None) == (set(fixed(r, lead(r)).index) == {"Intercept"})
    known = [text for text in m.groups() if text]
    for text, measure in zip(known, ("johnson", "marginal_r2", "conditional_r2"), strict=False):
        agree(text, share(r, lead(r), measure))


@checks(
    r"Tables and figures of the checks above\.|Means, slopes and contrasts average "
    r"over the levels of other categorical predictors with equal weights; other numeric predictors "
    r"are at their means\."
)
def _(r, m):
    pass  # no number, nothing of this study


def advice(r, card):
    """Advice stands beside what is not good, and there alone."""
    assert bool(card.advice) <= (card.tone in ("warn", "bad")), card


# ---- effect plots: predicted means by hand


@figures(
    rf"(?:Line|Point|Line or point): predicted mean by ({E})(?:, other predictors averaged over)?; "
    r"(?:band|bar|band or bar): (\d+) % "
    rf"(confidence|credible) interval; grey dots: rows(; thin lines: groups)?"
    rf"(?:; dashed, with its interval: ((?:{E})(?:(?:, | and )(?:{E}))*), where it differs)?\."
)
def _(f, m):
    apart = {ENGINE[name] for name in re.findall(E, m[5] or "")}
    assert lead(f.r) not in apart
    assert apart == {name for name in ENGINE.values() if name != lead(f.r) and drawn(f, name)}
    assert ENGINE[m[1]] == lead(f.r) and float(m[2]) == 100 * f.r.conf_level
    assert (m[3] == "credible") == (lead(f.r) == "pymc")


def predicted(r, given):
    """The mean at given values of predictors, categories averaged, numbers at their means."""
    total = 0.0
    for term, value in fixed(r, lead(r)).items():
        for part in term.split(":") if term != "Intercept" else []:
            level = re.fullmatch(r"(.+)\[T\.(.+)\]", part)
            name = level[1] if level else part
            levels = r.data["columns"][name].get("levels") if name in r.data["columns"] else None
            if level:
                value = value * (given[name] == level[2] if name in given else 1 / len(levels))
            else:
                value = value * given.get(name, r.rows[name].mean())
        total += value
    return total


@figures(r"Predicted mean of (.+) by (.+?): (.+ at .+)\.")
def _(f, m):
    assert m[1] == f.r.data["response"]
    check_means(f, m[2], m[3])


def check_means(f, own, text):
    for part in text.split("; "):
        by = re.match(r"with (.+?) = (.+?) (?=[−\d])", part)
        given = {}
        if by:
            given[by[1]] = by[2] if f.r.data["columns"][by[1]].get("levels") else parsed(by[2])[0]
            part = part[by.end() :]
        points = re.findall(rf"({N}) at (.+?)(?=, {N} at | and {N} at |$)", part)
        assert points
        numeric = not f.r.data["columns"][own].get("levels")
        ends = (f.r.rows[own].min(), f.r.rows[own].max()) if numeric else ()
        for k, (number, where) in enumerate(points):
            if numeric:
                assert abs(parsed(where)[0] - ends[k]) <= 0.006 * (ends[1] - ends[0])
            value = predicted(f.r, given | {own: ends[k] if numeric else where})
            if not by or f.r.data["columns"][by[1]].get(
                "levels"
            ):  # a numeric one's value is rounded in words
                agree(number, value)
