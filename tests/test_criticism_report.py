"""What the report says of influence and criticism: figures, tables, sentences and the card, against the tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import made_results
from lmm.core.parameters import spoken
from lmm.core.words import p_said, p_value
from lmm.report import figures, methods, references, sections, verdicts
from lmm.report.tables import criticism as report_criticism
from lmm.report.text import criticism
from lmm.report.text.criticism import text
from lmm.results.study import read


@pytest.fixture(scope="module")
def coffee(coffee_drawn):
    root, drawn = coffee_drawn
    return read("coffee", made_results.SETTINGS, made_results.paths(root)), drawn


def changed(results, notes=None, **tables):
    """The results with other tables and another criticism.json."""
    about = results.notes["criticism"] | (notes or {})
    return replace(results, tables=results.tables | tables, notes=results.notes | {"criticism": about})


def check(results, key):
    return next(card for card in verdicts.cards(results) if card.key == key)


def section(results, key):
    names = figures.names(results.settings)
    found = sections.sections(results, dict.fromkeys(names, "figure"))
    return next(part for part in found if part["key"] == key)


def test_the_strongest_group_is_named_with_its_change(coffee):
    results, drawn = coffee
    table = results.tables["influence"]
    mine = table[table["term"] == "sd__Intercept"]
    worst = mine.loc[mine["change"].abs().idxmax()]
    said = criticism.influence(results)
    assert said[0].startswith(
        f"Leaving out group {worst['level']} would lower the SD of Intercept from 9.03 to 8.75"
    )
    assert "No single group moves an estimate by more than its standard error." in said  # the largest is 0.43
    assert f"group {worst['level']} would lower" in drawn.figures["influence"].alt
    assert said == [text for _, text in check(results, "influence").lines]


def test_a_group_that_moves_an_estimate_far_is_pointed_out(coffee):
    results, _ = coffee
    table = results.tables["influence"].copy()
    table.loc[(table["level"] == "7") & (table["term"] == "x"), "standardised"] = -1.4
    said = " ".join(criticism.influence(changed(results, influence=table)))
    assert "Group 7 moves an estimate by more than its standard error" in said
    assert "No single group" not in said


def test_digits_are_enough_to_see_the_change(coffee):
    found = {"level": "3", "term": "x", "estimate_without": 100.02, "change": 0.02, "standardised": np.nan}
    assert (
        criticism.moved(coffee[0], found)
        == "leaving out group 3 would raise the fixed effect of x from 100.00 to 100.02"
    )


def test_terms_are_spoken():
    assert [spoken(t) for t in ("sd__x", "cor__Intercept.x", "sd__Observation", "x")] == [
        "the SD of x", "the correlation of Intercept and x", "the residual SD", "the fixed effect of x",
    ]  # fmt: skip


def test_groups_can_be_pointed_at_where_they_are_drawn(coffee):
    for name in ("influence", "loo"):
        assert 'data-level="14"' in coffee[1].figures[name].svg


def test_cross_validation_says_how_far_it_is_to_be_relied_on(coffee):
    results, drawn = coffee
    about = results.notes["criticism"]["loo"]
    said = " ".join(criticism.loo(results))
    assert f"{about['elpd']:.0f}".replace("-", "−") in said
    assert f"the largest Pareto k is {about['largest_k']:.2f}" in said
    assert said in drawn.figures["loo"].alt
    bad = changed(results, {"loo": about | {"high": ["3", "9"], "largest_k": 0.9}})
    assert "Pareto k exceeds 0.70 for groups 3 and 9" in " ".join(criticism.loo(bad))
    assert check(bad, "loo").tone == "warn" and check(bad, "loo").advice
    assert check(results, "loo").tone == "good" and not check(results, "loo").advice


def test_a_statistic_outside_its_interval_is_named(coffee):
    results, drawn = coffee
    assert "all 9 statistics" in drawn.figures["predictive"].alt
    table = results.tables["predictive"].copy()
    at = table["statistic"] == "skewness_means"
    table.loc[at, ["observed", "p_value"]] = [9.0, 0.0]
    said = criticism.predictive(changed(results, predictive=table))[0]
    assert said.startswith("Of 9 statistics 1 lies outside the central 95\u00a0% ")
    assert "skewness of the group means (p < .002)" in said
    assert "by chance" not in said
    assert check(changed(results, predictive=table), "predictive").tone == "warn"
    table.loc[at, "p_value"] = 0.02
    assert criticism.predictive(changed(results, predictive=table))[0].endswith(
        "About one in 20 does so by chance."
    )
    assert check(changed(results, predictive=table), "predictive").tone == "good"


def test_shares_of_replicates_are_no_more_precise_than_their_number():
    shares = [p_said(p_value(p, 1 / 500)) for p in (0.0, 0.001, 0.002, 0.31, 0.998, 0.999, 1.0)]
    assert shares == [
        "p < .002", "p < .002", "p = .002", "p = .310", "p = .998", "p > .998", "p > .998",
    ]  # fmt: skip
    # more replicates than three decimals can show
    assert [p_value(p, 1 / 8000) for p in (0.0, 0.0005, 0.9999)] == ["< .001", "< .001", "> .999"]


def test_the_priors_expectations_are_told_by_direction(coffee):
    results, _ = coffee
    table = results.tables["predictive"].assign(prior_low=-1e9, prior_high=1e9)
    notes = {"left_out": {}}
    said = criticism.predictive(changed(results, notes, predictive=table))
    assert said[-1] == "All statistics of the data lie within the central 95\u00a0% of prior predictive data."
    table.loc[table["statistic"] == "sd_y", "prior_low"] = 50.0
    table.loc[table["statistic"].isin(["sd_within", "unequal_residuals"]), "prior_high"] = 0.1
    said = criticism.predictive(changed(results, notes, predictive=table))
    assert said[-1] == (
        "Outside the central 95\u00a0% of prior predictive data lie SD of the response (below) and pooled SD within "
        "groups (above)."
    )


def test_what_is_left_out_is_said_with_its_reason_and_not_drawn(coffee):
    results, drawn = coffee
    said = " ".join(text for card in verdicts.cards(results) for _, text in card.lines)
    assert "There is no prior predictive check: improper priors cannot be drawn from: Intercept, x" in said
    assert "Prior sensitivity is left out: every prior is flat or uniform" in said
    assert drawn.figures["prior_predictive"].title == "Not drawn"
    assert len(section(results, "criticism")["figures"]) == 3  # influence, predictive, loo
    why = "50,000 groups are more than 20,000"
    names = ("loo", "predictive", "prior_predictive", "sensitivity")
    empty = {name: results.tables[name].iloc[:0] for name in ("loo", "predictive", "sensitivity")}
    none = changed(results, {"loo": None, "left_out": dict.fromkeys(names, why)}, **empty)
    assert " ".join(criticism.bayes(none)).count(why) == 3
    assert len(section(none, "criticism")["figures"]) == 1
    assert [check(none, key).value for key in ("predictive", "loo", "sensitivity")] == ["not checked"] * 3


def test_estimates_that_lean_on_the_prior_are_named(coffee):
    results, _ = coffee
    table = pd.DataFrame(
        {"term": ["x", "sd__x"], "prior": [0.01, 0.2], "likelihood": [0.1, 0.1], "diagnosis": ["", "strong"]}
    )
    said = criticism.sensitivity(changed(results, sensitivity=table))
    assert said == ["1 estimate is prior-sensitive: the SD of x (strong)."]
    table["diagnosis"] = ""
    said = criticism.sensitivity(changed(results, sensitivity=table))
    assert said == [
        "No estimate is prior-sensitive: the largest sensitivity to the prior is 0.20 (of the SD of x), below 0.05."
    ]


def test_tables_hold_the_artifacts_numbers(coffee):
    results, _ = coffee
    wide = report_criticism.influence(results)
    assert wide.interactive
    assert [row[0][1] for row in wide.rows] == [str(k) for k in range(1, 101)]
    one = results.tables["influence"].set_index(["level", "term"]).loc[("14", "sd__x"), "standardised"]
    column = [c.title for c in wide.columns].index("SD of x")
    assert wide.rows[13][column][0] == one
    assert len(report_criticism.loo(results).rows) == 100
    named = [row[0][1] for row in report_criticism.predictive(results).rows]
    assert named == [text(name) for name in results.tables["predictive"]["statistic"]]
    assert report_criticism.sensitivity(results) is None


def test_methods_and_bibliography_name_what_was_done(coffee):
    results, _ = coffee
    said = methods.methods(results)
    assert (
        "posterior predictive checks and leave-one-group-out cross-validation (PSIS; Vehtari et al. 2017)"
        in said
    )
    assert "vehtari2017" in references.bibtex(references.used([results]))
    assert "kallioinen2024" not in references.bibtex(references.used([results]))
