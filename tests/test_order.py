"""Order of levels, terms and contrasts in the report, and lists of many items."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

import made_results
from lmm.core.words import some
from lmm.report import interest
from lmm.report.figures import predictors
from lmm.report.figures.fits import Fitted
from lmm.results import order
from lmm.results.labels import Labels
from lmm.results.study import Results, read

LEVELS = ["10 mg", "20 mg", "5 mg", "placebo"]  # as text sorts them
MEANS = {"10 mg": 2.0, "20 mg": 1.0, "5 mg": 3.0, "placebo": 4.0}


def results(terms, levels=LEVELS):
    """Results of a study with an arm, fitted by reml; its table of effects has every pair of levels."""
    rows = [
        {"contrast": f"{a} - {b}", "estimate": MEANS[a] - MEANS[b]}
        for k, a in enumerate(levels)
        for b in levels[k + 1 :]
    ]
    numbers = {
        "std_error": 0.5,
        "df": 20.0,
        "p_value": 0.01,
        "p_adjusted": 0.01,
        "prob_direction": float("nan"),
    }
    table = pd.DataFrame(
        [{"engine": "reml", "effect": "arm", "kind": "contrast", **row, **numbers} for row in rows]
    )
    table["statistic"] = table["estimate"] / 0.5
    table["conf_low"], table["conf_high"] = table["estimate"] - 1.0, table["estimate"] + 1.5
    columns = {"arm": {"type": "categorical", "levels": levels}}
    fit = SimpleNamespace(fixed=dict.fromkeys(terms, 0.0), parameters=pd.DataFrame())
    found = Results(
        "own", {}, {"columns": columns, "group": "g", "factors": [{"group": "g"}]}, None, None, {"reml": fit}
    )
    return replace(found, tables={"effects": table})


PLAIN = ["Intercept", "arm[T.20 mg]", "arm[T.5 mg]", "arm[T.placebo]"]
TREATMENT = ["Intercept", *(f"C(arm, Treatment('placebo'))[T.{level}]" for level in LEVELS[:3])]


def test_numbers_in_names_are_numbers_and_an_order_of_their_own_is_kept():
    assert order.levels(results(PLAIN), "arm") == ["5 mg", "10 mg", "20 mg", "placebo"]
    own = ["placebo", "5 mg", "20 mg", "10 mg"]
    assert order.levels(results(PLAIN, own), "arm") == own
    assert order.arranged(results(PLAIN), "arm", LEVELS) == ["5 mg", "10 mg", "20 mg", "placebo"]


def test_terms_of_a_predictor_follow_its_levels():
    assert order.terms([*PLAIN, "week", "arm[T.20 mg]:week", "arm[T.5 mg]:week"]) == [
        "Intercept", "arm[T.5 mg]", "arm[T.20 mg]", "arm[T.placebo]", "week", "arm[T.5 mg]:week", "arm[T.20 mg]:week",
    ]  # fmt: skip
    assert order.terms(["b[T.y]", "b[T.x]"]) == ["b[T.y]", "b[T.x]"]


def test_contrasts_with_a_reference_come_first_and_have_it_second():
    found = order.effects(results(TREATMENT))
    assert found["contrast"].tolist() == [
        "5 mg - placebo", "10 mg - placebo", "20 mg - placebo", "5 mg - 10 mg", "5 mg - 20 mg", "10 mg - 20 mg",
    ]  # fmt: skip
    # not named by the formula: the first level is what the coefficients go by, not what the study is about
    found = order.effects(results(PLAIN))
    assert found["contrast"].tolist()[:3] == ["5 mg - 10 mg", "5 mg - 20 mg", "5 mg - placebo"]


@pytest.mark.parametrize("terms", [PLAIN, TREATMENT])
def test_a_contrast_turned_round_has_its_numbers_turned(terms):
    for row in order.effects(results(terms)).to_dict("records"):
        a, b = row["contrast"].split(" - ")
        sign = 1 if LEVELS.index(a) < LEVELS.index(b) else -1
        assert row["estimate"] == MEANS[a] - MEANS[b] == row["statistic"] * 0.5
        ends = sorted((row["estimate"] - sign * 1.0, row["estimate"] + sign * 1.5))
        assert [row["conf_low"], row["conf_high"]] == ends


def test_levels_with_the_sign_in_their_names_are_told_apart():
    found, columns = results(PLAIN), {"arm": {"levels": ["a", "a - b", "b"]}}
    found = replace(found, data=found.data | {"columns": columns})
    assert order.pair(found, "arm", "a - a - b") == ("arm", "a", "a - b")
    assert order.pair(found, "arm", "a - b - b") == ("arm", "a - b", "b")
    assert order.pair(found, "arm", "half of a - b") is None
    assert interest.compared(found, "arm", "half of a - b") == ("half of a - b", "")
    assert Labels.of(None, columns, ["arm[T.b]", "arm[T.a - b]"]).references == {"arm": "a"}


def test_a_long_list_names_five():
    letters = list("abcdefgh")
    assert some(letters[:6]) == "a, b, c, d, e and f"
    assert some(letters) == "a, b, c, d, e and 3 more"
    assert some(letters, "results table", most=2) == "a, b and 6 more (results table)"


def test_a_levels_line_has_the_colour_that_the_legend_says(tmp_path):
    rng, slopes = np.random.default_rng(3), {"5 mg": 1.0, "10 mg": 5.0, "20 mg": -4.0}
    group = np.repeat(np.arange(12), 10)
    frame = pd.DataFrame({"group": group.astype(str), "x": rng.normal(size=120)})
    frame["arm"] = np.array([*slopes])[group % 3]
    frame["y"] = (
        frame["arm"].map(slopes) * frame["x"] + rng.normal(size=12)[group] + 0.1 * rng.normal(size=120)
    )
    settings, paths = made_results.fitted(tmp_path, frame, "y ~ arm * x + (1 | group)")
    found = read("own", settings, paths)
    figure = predictors.effects(found, Fitted(found)).canvas
    (legend,) = figure.legends
    said = {
        text.get_text().removeprefix("arm: "): to_hex(handle.get_color())
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert list(said)[:3] == ["5 mg", "10 mg", "20 mg"]
    panel = next(ax for ax in figure.axes if ax.get_xlabel() == "x")
    drawn = {}
    for patch in panel.patches:
        if patch.get_linewidth() == 2.2:
            (x0, y0), (x1, y1) = patch.get_path().vertices[[0, -1]]
            drawn[to_hex(patch.get_edgecolor())] = (y1 - y0) / (x1 - x0)
    for level, slope in slopes.items():
        assert (
            abs(drawn[said[level]] - slope) < 0.1
        )  # noise of 0.1 over 40 rows of a level: a standard error of 0.02
