"""Checks of the sentences on PyMC and on the comparison of engines."""

import re

import numpy as np

from said.fits import checks
from said.reading import N, agree, column, items, p_says, percents, random_terms, term_of

# ---- PyMC


@checks(r"All (\d+) convergence gates are passed\.")
def _(r, m):
    gates = r.fits["pymc"].diagnostics.gates
    assert len(gates) == int(m[1]) and all(gate["passed"] for gate in gates)


@checks(r"(\d+) of (\d+) convergence gates FAILED: (.+); do not rely on PyMC's numbers\.")
def _(r, m):
    gates = r.fits["pymc"].diagnostics.gates
    failed = [gate["name"] for gate in gates if not gate["passed"]]
    assert (int(m[1]), int(m[2])) == (len(failed), len(gates))
    assert all(name in m[3] for name in failed)


@checks(
    rf"The parameter with the fewest effective draws, (.+), has ({N}); its mean is known to ± ({N}) \(Monte Carlo "
    r"standard error\)\."
)
def _(r, m):
    ess = column(r, "pymc", "ess_bulk")
    term = term_of(m[1], ess.index, r.labels.term)
    assert ess[term] == ess.min()
    agree(m[2], ess[term])
    agree(m[3], column(r, "pymc", "mcse_mean")[term])


@checks(
    r"The posterior means of the between-group standard deviations lie above their medians: these posteriors are "
    r"right-skewed\."
)
def _(r, m):
    for term in random_terms(r):
        assert column(r, "pymc")[f"sd__{term}"] > column(r, "pymc", "median")[f"sd__{term}"]


@checks(
    r"Data replicated from the posterior resemble the data: all (\d+) statistics lie within the replicates' "
    r"central (\d+) %\."
)
def _(r, m):
    table = r.tables["predictive"]
    assert int(m[1]) == len(table) and table["observed"].between(table["low"], table["high"]).all()
    assert float(m[2]) == 100 * r.conf_level


@checks(
    r"Of (\d+) statistics (\d+) lies? outside the central (\d+) % of data replicated from the posterior: (.+)\."
)
def _(r, m):
    table = r.tables["predictive"]
    far = table[~table["observed"].between(table["low"], table["high"])]
    assert (int(m[1]), int(m[2])) == (len(table), len(far))
    assert float(m[3]) == 100 * r.conf_level
    said = re.findall(r"\((p [<>=] [\d.]+)\)", m[4])
    assert len(said) == len(far)
    for text, p in zip(said, far["p_value"], strict=True):
        p_says(text, p, 1 / r.notes["criticism"]["replicates"])


@checks(rf"About one in ({N}) does so by chance\.")
def _(r, m):
    agree(m[1], 1 / (1 - r.conf_level))


@checks(r"Outside the central (\d+) % of prior predictive data (lies|lie) (.+)\.")
def _(r, m):
    table = r.tables["predictive"]
    table = table[table["statistic"] != "unequal_residuals"]
    below, above = table["observed"] < table["prior_low"], table["observed"] > table["prior_high"]
    assert ("(below)" in m[3]) == below.any() and ("(above)" in m[3]) == above.any()
    assert (m[2] == "lies") == (below.sum() + above.sum() == 1)
    assert float(m[1]) == 100 * r.conf_level


@checks(r"All statistics of the data lie within the central (\d+) % of prior predictive data\.")
def _(r, m):
    table = r.tables["predictive"]
    table = table[table["statistic"] != "unequal_residuals"]
    assert table["observed"].between(table["prior_low"], table["prior_high"]).all()
    assert float(m[1]) == 100 * r.conf_level


@checks(
    rf"No estimate is prior-sensitive: the largest sensitivity to the prior is ({N}) \(of (.+)\), below 0\.05\."
)
def _(r, m):
    table = r.tables["sensitivity"].set_index("term")["prior"]
    agree(m[1], table.max())
    assert r.spoken(table.idxmax()) == m[2] and table.max() < 0.05


@checks(r"There is no prior predictive check: (.+)\.")
def _(r, m):
    assert r.notes["criticism"]["left_out"]["prior_predictive"] == m[1]


@checks(
    rf"Predicting every group from all others, the model reaches an expected log predictive density of ({N}) ± "
    rf"({N}) \(leave-one-group-out by PSIS; ({N}) effective parameters\)\."
)
def _(r, m):
    table = r.tables["loo"]
    agree(m[1], table["elpd"].sum())
    agree(m[2], np.sqrt(len(table)) * table["elpd"].std())
    agree(m[3], table["p_loo"].sum())


@checks(rf"It is reliable: the largest Pareto k is ({N})\.")
def _(r, m):
    agree(m[1], r.tables["loo"]["pareto_k"].max())
    assert r.tables["loo"]["pareto_k"].max() <= r.notes["criticism"]["loo"]["good_k"]


@checks(
    rf"Pareto k exceeds ({N}) for groups? (.+): without (?:it|them) the posterior would be another, so the "
    r"density there is unreliable, probably too high\."
)
def _(r, m):
    about = r.notes["criticism"]["loo"]
    agree(m[1], about["good_k"])
    table = r.tables["loo"]
    assert set(items(m[2])) == set(table.loc[table["pareto_k"] > about["good_k"], "level"].astype(str))


@checks(r"Prior sensitivity is left out: (.+)\.")
def _(r, m):
    assert r.notes["criticism"]["left_out"]["sensitivity"] == m[1]


@checks(r"(\d+) estimates? (?:is|are) prior-sensitive: (.+)\.")
def _(r, m):
    table = r.tables["sensitivity"]
    marked = table[table["diagnosis"].fillna("") != ""]
    assert int(m[1]) == len(marked) and all(r.spoken(term) in m[2] for term in marked["term"])


# ---- comparison


def typical(text, share):
    """`3.6 % of a typical standard error`, `1.4 typical standard errors`, `less than 0.1 % of ...`."""
    number = re.search(N, text)[0]
    if "less than" in text:
        assert share < 0.001 and number == "0.1"
    elif "%" in text:
        percents(number, share)
    else:
        agree(number, share)
