"""Checks of the methods paragraph, of OLS's closing lines and of the verdict cards."""

import numpy as np
from scipy import stats

from said.bayes import typical
from said.fits import checks
from said.reading import (
    ENGINE,
    MANY,
    RESIDUAL,
    E,
    N,
    P,
    agree,
    column,
    fixed,
    items,
    mixed,
    p_says,
    parsed,
    percents,
)

# ---- methods


@checks(r"We (analysed|simulated) (.+?) rows in (.+?) groups?(?:; (.+) rows? with missing values (?:was|were) "
        r"left out)?(?: with .+?)?(?: \(seed (\d+)\))?\.")  # fmt: skip
def _(r, m):
    agree(m[2], r.data["rows"])
    agree(m[3], r.data["groups"])
    assert (m[1] == "simulated") == bool(r.truth)
    lost = (r.data.get("dropped") or {}).get("rows", 0)
    assert (m[4] is not None) == (lost > 0), f"{lost} rows were dropped"
    if lost:
        agree(m[4], lost)
    assert m[5] is None or int(m[5]) == r.truth["seed"]


@checks(
    r"The linear mixed model was (.+), in the notation of lme4 \(Bates et al\. 2015\)"
    r"(?:, with the precision weights (.+))?\."
)
def _(r, m):
    weights = f" | weights({m[2]})" if m[2] else ""
    assert m[1].replace(" ~", f"{weights} ~") == r.settings["formula"].replace("`", "")


@checks(r"Ordinary least squares, which ignores the groups, (served as a reference|was the only fit)\.")
def _(r, m):
    assert (m[1] == "was the only fit") == (mixed(r) == [])


@checks(
    r"The model was fitted by restricted maximum likelihood \(REML\) with MixedLM of statsmodels ([\d.]+) "
    r"\(Seabold & Perktold 2010\)\."
)
def _(r, m):
    assert "mixedlm" in mixed(r) and m[1] == version(r, "mixedlm", "statsmodels")


@checks(
    r"Standard deviations and correlations have (\d+) % profile-likelihood intervals(; fixed effects were tested by "
    r"t with Satterthwaite's degrees of freedom \(Kuznetsova et al\. 2017\))?\."
)
def _(r, m):
    assert "reml" not in mixed(r) and float(m[1]) == 100 * r.conf_level
    table = r.fits["mixedlm"].parameters
    assert table.loc[table["effect"] == "ran_pars", "conf_low"].notna().any()
    assert (m[2] is not None) == table["df"].notna().any()


def version(r, engine, package):
    return r.fits[engine].diagnostics.versions[package]


@checks(
    r"(A second REML fit was made|The model was fitted by restricted maximum likelihood \(REML\)) from sufficient "
    r"statistics, with its optimum certified by first and second derivatives; its standard errors are those of "
    r"generalised least squares, and standard deviations and correlations have (\d+) % profile-likelihood "
    r"intervals(; fixed effects were tested by t with Satterthwaite's degrees of freedom \(Kuznetsova "
    r"et al\. 2017\))?\."
)
def _(r, m):
    assert "reml" in mixed(r) and (m[1].startswith("A second")) == ("mixedlm" in mixed(r))
    assert (m[3] is not None) == (r.fits["reml"].diagnostics.df == "satterthwaite")
    assert float(m[2]) == 100 * r.conf_level


@checks(
    r"A Bayesian fit(?: of .+)? with PyMC ([\d.]+) \(Abril-Pla et al\. 2023\) sampled the marginal posterior "
    r"of the variance parameters with nutpie ([\d.]+) \((\d+) chains, ([\d,]+) warm-up and ([\d,]+) kept draws "
    r"each\); .+\."
)
def _(r, m):
    setting = r.settings["configuration"]["engines"]["pymc"]
    assert (m[1], m[2]) == (version(r, "pymc", "pymc"), version(r, "pymc", "nutpie"))
    assert [int(text.replace(",", "")) for text in m.groups()[2:]] == [
        setting["chains"], setting["tune"], setting["draws"],
    ]  # fmt: skip


@checks(r"Priors: (.+?)(?:; and (\d+) more \(table of priors\))?\.")
def _(r, m):
    priors = r.fits["pymc"].diagnostics.summary["priors"]
    different = dict.fromkeys((row["prior"], row.get("at", "")) for row in priors)
    assert len(m[1].split("; ")) + int(m[2] or 0) == len(different)
    assert all(prior in m[1] for prior, _ in list(different)[: len(m[1].split("; "))])


@checks(
    r"Convergence was judged by rank-normalised R-hat, bulk and tail effective sample size, divergences, tree "
    r"depth and E-BFMI \(Vehtari et al\. 2021; ArviZ ([\d.]+), Kumar et al\. 2019\)(; all were met|; the fit "
    r"failed on (.+))\."
)
def _(r, m):
    failed = [gate["name"] for gate in r.fits["pymc"].diagnostics.gates if not gate["passed"]]
    assert m[1] == version(r, "pymc", "arviz")
    assert (m[2] == "; all were met") == (not failed)
    assert all(name in m[3] for name in failed)


@checks(r"Intervals of PyMC are (\d+) % posterior quantiles\.")
def _(r, m):
    assert float(m[1]) == 100 * r.conf_level


@checks(
    r"The Bayesian fit was checked by posterior predictive checks(?: and|,)? ?(leave-one-group-out cross-validation "
    r"\(PSIS; Vehtari et al\. 2017\))?(?: and (power-scaling of prior and likelihood \(Kallioinen et al\. "
    r"2024\)))?\."
)
def _(r, m):
    assert (m[1] is not None) == bool(r.notes["criticism"]["loo"])
    assert (m[2] is None) == ("sensitivity" in r.notes["criticism"]["left_out"])


@checks(
    r"Standard errors of random effects are prediction errors, the uncertainty of the fixed effects included; "
    r"variance explained is averaged over rows \(Johnson 2014\)\."
)
def _(r, m):
    assert mixed(r)


@checks(r"The analysis ran as a Snakemake workflow \(Mölder et al\. 2021\)\.")
def _(r, m):
    pass  # no number, nothing of this study


# ---- closing lines of OLS


@checks(
    rf"Residual standard error: ({N}) on ({N}) degrees of freedom\.(?: Multiple R²: ({N}), adjusted R²: ({N})\.)?"
    rf"(?: F-statistic: ({N}) on ({N}) and ({N}) DF, (p .+)\.)?"
)
def _(r, m):
    sigma, p, n = column(r, "ols")[RESIDUAL], len(fixed(r, "ols")), r.data["rows"]
    agree(m[1], sigma)
    agree(m[2], n - p)
    if m[3]:
        y = r.rows[r.data["response"]]
        r2 = 1 - sigma**2 * (n - p) / ((y - y.mean()) ** 2).sum()
        agree(m[3], r2)
        agree(m[4], 1 - sigma**2 / y.var())
        agree(m[5], (r2 / (p - 1)) / ((1 - r2) / (n - p)))
        assert (parsed(m[6])[0], parsed(m[7])[0]) == (p - 1, n - p)
        p_value = stats.f.sf((r2 / (p - 1)) / ((1 - r2) / (n - p)), p - 1, n - p)
        p_says(m[8], p_value)


# ---- cards: their lines


@checks(
    rf"({MANY}): (\d+) of (\d+) intervals contain the true value(?: \(not: (.+)\))?"
    rf"(?:; largest relative error ({P}))?"
)
def _(r, m):
    for name in items(m[1]):
        contained(r, m, r.fits[ENGINE[name]].parameters)


def contained(r, m, table):
    mine = table[(table["effect"] == "ran_pars") & table["conf_low"].notna() & table["truth"].notna()]
    held = (mine["conf_low"] <= mine["truth"]) & (mine["truth"] <= mine["conf_high"])
    assert (int(m[2]), int(m[3])) == (held.sum(), len(held))
    missed = [r.labels.parameter(term) for term in mine.loc[~held, "term"]]
    assert items(m[4] or "") == [part for name in missed for part in items(name)]
    largest_error(m[5], table)


def largest_error(text, table):
    """The relative error that is largest in size, of sd's with a truth."""
    sds = table[table["term"].str.startswith("sd__")]
    quarter = (sds["conf_high"] - sds["conf_low"]) / 4
    sds = sds[sds["truth"] > quarter.fillna(0)]  # a share of what may be 0 says nothing
    off = (sds["estimate"] / sds["truth"] - 1).to_numpy(float)
    assert bool(text) == bool(len(off))
    if text:
        percents(text, off[np.abs(off).argmax()])


@checks(rf"({MANY}): no intervals(?:; largest relative error ({P}))?")
def _(r, m):
    for name in items(m[1]):
        table = r.fits[ENGINE[name]].parameters
        assert table.loc[table["effect"] == "ran_pars", "conf_low"].isna().all()
        largest_error(m[2], table)


@checks(rf"({MANY}): (singular|unidentified|non-converged|error|skipped|gate-failed)")
def _(r, m):
    assert all(r.fits[ENGINE[name]].diagnostics.status == m[2] for name in items(m[1]))


@checks(rf"OLS: has no group variances; residual SD ({N}) for a true ({N})")
def _(r, m):
    agree(m[1], column(r, "ols")[RESIDUAL])
    assert parsed(m[2])[0] == r.truth["sigma"]


@checks(rf"(.+): ({N}) \(limit ({N})\)")
def _(r, m):
    gate = next(gate for gate in r.fits["pymc"].diagnostics.gates if gate["name"] == m[1])
    agree(m[2], gate["value"])
    assert parsed(m[3])[0] == gate["limit"]
    if float(gate["limit"]).is_integer():
        assert "." not in m[2], "a number of draws is whole"


DISTANCE = rf"(?:less than )?{N} % of a standard error|{N} standard errors"


@checks(
    rf"random effects of (\S+), ({E}) − ({E}): (?:at most ({N})(?: ± ({N}))?(?: \(({DISTANCE})\))?|({DISTANCE}))"
)
def _(r, m):
    table = r.tables["ranef_differences"]
    mine = table[table["term"] == m[1]]
    assert mine["difference_of"].iloc[0] == f"{ENGINE[m[2]]} - {ENGINE[m[3]]}"
    if m[4]:
        agree(m[4], mine["difference"].abs().max())
    if m[5]:
        agree(m[5], mine.loc[mine["difference"].abs().idxmax(), "mcse"])
    errors = []
    for engine in mine["difference_of"].iloc[0].split(" - "):
        table = r.fits[engine].ranef
        errors.append(table.loc[table["term"] == m[1], "std_error"].median())
    if m[6] or m[7]:
        typical(m[6] or m[7], mine["difference"].abs().max() / max(errors))
