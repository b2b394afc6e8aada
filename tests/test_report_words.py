"""What the report calls things, how it rounds, and what it says of large studies and of standard errors."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest

import made_results
from lmm.core import parameters, words
from lmm.recovery.calibration import verdicts
from lmm.report import answer, figures, report
from lmm.report import verdicts as report_verdicts
from lmm.report.page import assemble
from lmm.report.tables import fits
from lmm.report.tables import table as report_table
from lmm.report.text import effects
from lmm.report.text import fits as report_text
from lmm.results import replicated
from lmm.results.study import read
from test_report import PROVENANCE, rendered


@pytest.fixture
def coffee(tmp_path):
    root = made_results.coffee(tmp_path)
    return root, read("coffee", made_results.SETTINGS, made_results.paths(root))


def test_terms_have_names_that_a_reader_knows():
    terms = ["x", "sd__x", "cor__Intercept.x", "sd__Observation", "a:b"]
    assert list(map(parameters.titled, terms)) == ["x", "SD of x", "cor(Intercept, x)", "residual SD", "a:b"]
    quantities = ["ranef__x__3", verdicts.LOG_LIKELIHOOD, verdicts.ICC, "sd__x"]
    assert list(map(replicated.quantity_name, quantities)) == [
        "random x of group 3", "log likelihood", "intraclass correlation", "SD of x",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("levels", "most", "short"),
    [
        (["a", "bb"], 2, ["a", "bb"]),
        (["patient 7", "patient 12"], 4, ["7", "12"]),
        (["site-01-a", "site-01-b"], 4, ["a", "b"]),
        (["s101", "s102"], 3, ["…01", "…02"]),  # not 1 and 2: a name is not cut within a number
        (["Ward one", "Clinic"], 6, ["Ward…", "Clinic"]),
        (["only one name"], 5, ["only…"]),
    ],
)
def test_group_names_are_shortened_where_they_tell_groups_apart(levels, most, short):
    assert words.short_levels(levels, most) == short


CONTRAST = {"effect": "arm", "kind": "contrast", "contrast": "drug - placebo"}
SLOPE = {"effect": "x", "kind": "slope", "contrast": ""}
STEP = "when x increases by one unit (95 % CI"
SIZES = [
    (SLOPE, (-5.9, -11.9, -0.04), f"y decreases by 5.9 {STEP} 0.0 to 11.9); the interval excludes 0."),
    (SLOPE, (5.9, 2.0, 9.8), f"y increases by 5.9 {STEP} 2.0 to 9.8); the interval excludes 0."),
    (
        SLOPE,
        (-1.0, -4.0, 2.0),
        f"y decreases by 1.0 {STEP} a decrease of 4.0 to an increase of 2.0); the interval includes 0.",
    ),
    (
        CONTRAST,
        (-5.9, -11.9, -0.04),
        "y is 5.9 lower at drug than at placebo (95 % CI 0.0 to 11.9 lower); the interval excludes 0.",
    ),
    (
        CONTRAST,
        (1.0, -2.0, 4.0),
        "y is 1.0 higher at drug than at placebo (95 % CI 2.0 lower to 4.0 higher); the interval includes 0.",
    ),
]


def with_effects(results, formula="y ~ x + (x | group)", **row):
    """The coffee study with one row of effects."""
    numbers = {"df": 20.0, "statistic": 2.0, "p_value": 0.04, "p_adjusted": 0.04, "std_error": 2.9}
    table = pd.DataFrame([{"engine": "reml", **numbers, "prob_direction": float("nan"), **row}])
    columns = results.data["columns"] | {
        "arm": {"type": "categorical", "levels": ["placebo", "drug"]},
        "o": {"type": "numeric", "min": 0.0, "max": 10.0, "mean": 2.345},
    }
    return replace(
        results,
        tables=results.tables | {"effects": table},
        data=results.data | {"columns": columns},
        settings=results.settings | {"formula": formula},
    )


@pytest.mark.parametrize(("effect", "numbers", "said"), SIZES)
def test_a_size_in_one_direction_has_an_interval_in_it(coffee, effect, numbers, said):
    ends = dict(zip(("estimate", "conf_low", "conf_high"), numbers, strict=True))
    found = answer.sentences(with_effects(coffee[1], **effect, **ends))[0]
    assert found.replace("\u00a0", " ") == said


def test_means_at_the_offsets_mean_are_called_so(coffee):
    row = {
        "effect": "arm",
        "kind": "mean",
        "contrast": "",
        "estimate": 1.0,
        "conf_low": 0.0,
        "conf_high": 2.0,
    }
    said = effects.effects(with_effects(coffee[1], "y ~ arm + offset(o) + (1 | group)", **row))
    assert said[1] == "Means are predicted with the offset at its mean (o at 2.3)."
    assert len(effects.effects(with_effects(coffee[1], **row))) == 1


def test_digits_are_as_many_as_mean_something():
    assert parameters.of_term("cor__Intercept.x", 0.000943) == "0.001"
    assert parameters.of_term("sd__x", 0.000943) == "0.000943"
    assert parameters.of_term("variance explained: marginal R²", 1.2e-10) == "0.0000"
    assert words.error_size(-2.2e-11) == "less than 10⁻⁶"
    assert words.error_size(-0.5) == "0.50"
    assert words.in_errors(0.036) == "3.6\u00a0% of a standard error"
    assert words.in_errors(1.42) == "1.4 standard errors"
    assert words.in_errors(1e-9) == "less than 0.1\u00a0% of a standard error"
    assert words.gate(5183.72, 400) == "5,184"
    assert words.gate(87.4, 400) == "87"
    assert words.gate(2, 0) == "2", "divergences are counted"
    assert words.gate(1.00187, 1.01) == "1.002"
    assert words.gate(1.0, 1.01) == "1.000"


def test_a_range_has_the_digits_of_its_width():
    """2008 to 2017 to three digits each would be 2,010 to 2,020, which is no year in the data."""
    assert words.ends(2008, 2017) == "2008 to 2017"
    assert words.ends(-21.62, 37.9) == "−21.6 to 37.9"
    assert words.ends(0, 5) == "0 to 5"
    assert words.ends(-13170.4, 5987.2, 2) == "−13,000 to 6000"
    assert words.ends(1e8, 1e8 + 0.25) == "100,000,000 to 100,000,000.25"
    assert words.scaled(2012.5, 9) == "2012.5"
    assert words.scaled(7.0, 0.0) == "7"


def test_four_digits_are_not_grouped_for_they_may_be_a_year():
    assert [words.given(v) for v in (2010, 2010.5, 10_000, 1_000_000, -1234)] == [
        "2010", "2010.5", "10,000", "1,000,000", "−1234",
    ]  # fmt: skip
    assert words.number(2008.3) == "2010" and words.fixed(2010.25, 1) == "2010.2"
    assert words.whole(1234.0) == "1,234", "a count is no year"


def test_a_p_value_is_never_0_or_1():
    frame = pd.DataFrame({"name": list("abcd"), "p": [0.0, 0.0004, 0.25, 1.0]})
    column = report_table.Column("p", "p", said=words.p_value)
    made = report_table.table("t", "", frame, [report_table.Column("name", "", False), column])
    assert [row[1][1] for row in made.rows] == ["< .001", "< .001", ".250", "> .999"]
    assert [row[1][0] for row in made.rows] == [0.0, 0.0004, 0.25, 1.0], "sorted and saved by value"


def test_a_scale_of_its_own_rounds_to_zero_and_blanks_are_blank():
    frame = pd.DataFrame({"name": ["a", "b"], "r": [0.00013, None]})
    fine, coarse = (
        report_table.table("t", "", frame, [report_table.Column("name", "", False), column])
        for column in (
            report_table.Column("r", "r", decimals=3),
            report_table.Column("r", "r", decimals=3, coarse=True, missing=""),
        )
    )
    assert [row[1][1] for row in fine.rows] == ["0.00013", "–"]
    assert [row[1][1] for row in coarse.rows] == ["0.000", ""]
    matrix = [[1, 0, 0], [0.5, 1, 0], [0.2, -0.1, 1]]
    made = fits.correlations({"fixed_names": ["a", "b", "c"], "corr_fixed": matrix}, "reml", "reml")
    assert [text for _, text in made.rows[0]] == ["b", "0.500", ""]


def test_parameters_stand_together_where_groups_are_paged():
    frame = pd.DataFrame({"term": [f"x{k}" for k in range(15)], "level": range(15), "value": 1.5})
    value = report_table.Column("value", "Value")
    parameters = report_table.table("p", "", frame, [report_table.Column("term", "Term", False), value])
    groups = report_table.table("g", "", frame, [report_table.Column("level", "Group", False), value])
    assert not parameters.interactive
    assert groups.interactive


def test_fitted_values_that_are_left_out_are_said(coffee):
    _, results = coffee
    assert report_text.unfitted(results) == []
    large = replace(results, data=results.data | {"rows": 250_121})
    assert "250,121 rows are more than 100,000" in " ".join(report_text.data(large))


def test_standard_errors_that_are_not_reml_s_are_said(coffee):
    _, results = coffee
    assert report_text.standard_errors(results, "mixedlm") == ""
    fit = results.fits["mixedlm"]
    table = fit.parameters.copy()
    at = table["term"] == "x"
    before = float(table.loc[at, "std_error"].iloc[0])
    table.loc[at, "std_error"] = before * 1.29
    results = replace(results, fits=results.fits | {"mixedlm": replace(fit, parameters=table)})
    said = report_text.standard_errors(results, "mixedlm")
    ours = results.estimate("reml", "x", "std_error")
    assert f"by up to {words.percent(before * 1.29 / ours - 1)} (x: " in said
    assert f"against {words.number(ours)})" in said
    assert said.endswith("those of reml are of generalised least squares.")


def test_without_a_title_the_headline_asks_only_where_there_is_a_truth(coffee, tmp_path):
    root, results = coffee
    assert report._headline([results] * 2) == "Do the models recover the variances?"
    assert "<title>Does more coffee score higher?</title>" in rendered(root, title="").html
    assert report._headline([replace(results, truth=None)] * 2) == "Linear mixed models by several engines"


def test_a_line_with_other_predictors_says_where_they_are_held(tmp_path):
    table = pd.read_csv(made_results.REFERENCE / "coffee.csv").assign(group=lambda t: t["group"].astype(str))
    table["arm"] = ["drug" if k % 3 else "control" for k in range(len(table))]
    options, paths = made_results.fitted(
        tmp_path, table[["y", "x", "arm", "group"]], "y ~ x * arm + (1 | group)"
    )
    figure = figures.draw("own", options, paths).figures["pooled"]
    assert "groups ignored, at arm = drug." in figure.caption  # the commoner level, not the first row's
    results = read("own", options, paths)
    slope = results.estimate("ols", "x") + results.estimate("ols", "x:arm[T.drug]")
    assert f"With arm = drug, the OLS line changes by {words.number(slope)} per unit of x." in figure.alt


def test_numbers_keep_their_percent_signs(tmp_path):
    html = assemble(
        "report.html.j2", title="5 % ± 1 %", studies=[], provenance=PROVENANCE, bibtex="", references=[]
    )
    assert "<title>5\u00a0%\u00a0±\u00a01\u00a0%</title>" in html


@pytest.mark.parametrize(("share", "tone"), [(0.099, "good"), (0.101, "warn"), (0.9, "warn")])
def test_a_difference_between_engines_is_judged_by_a_tenth_of_a_standard_error(coffee, share, tone):
    """The largest difference of random effects is small below 0.1 of their typical standard error."""
    _, results = coffee
    table = results.tables["ranef_differences"].copy()
    for term in table["term"].unique():
        rows = table.index[table["term"] == term]
        table.loc[rows, "difference"] = 0.0
        table.loc[rows[3], "difference"] = -share * results.typical_error(term)
    judged = replace(results, tables={**results.tables, "ranef_differences": table})
    card = next(card for card in report_verdicts.cards(judged) if card.key == "differences")
    assert card.tone == tone


def test_a_design_is_named_where_there_are_several():
    """Of several grouping factors, too: once `1 design (the design)` and `of school with the design`."""
    row = pd.Series({"groups__school": 30, "groups__class": 120, "sigma": 8.0})
    one, two = SimpleNamespace(axes=[]), SimpleNamespace(axes=["groups__school"])
    for reported in (one, two):
        reported.describe = partial(replicated.Recovered.describe, reported)
    assert replicated.Recovered.describe(one, row) == "30 levels of school, 120 levels of class"
    assert replicated.Recovered.beside(one, row) == ""
    assert replicated.Recovered.beside(two, row) == " with 30 levels of school"
