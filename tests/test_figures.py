"""Figures: every one is drawn for every kind of study, small, accessible, and says what the data say."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import made_results
from lmm.core.store import read_json
from lmm.report import figures, sections
from lmm.report.figures import layout, style
from lmm.report.figures.diagnostics import density, normal_quantiles
from lmm.report.figures.prior import prior_density
from lmm.report.figures.rows import chosen
from lmm.report.figures.style import COLOURS
from lmm.report.figures.svg import compact
from lmm.report.panels import aligned, panels
from lmm.report.text import fits
from lmm.results.study import natural, read

STEP = re.compile(r"([MmLlHhVvzZ])([^MmLlHhVvzZ]*)")


@pytest.fixture
def coffee(coffee_drawn):
    return coffee_drawn


@pytest.fixture(scope="module")
def rows():
    return pd.read_csv(made_results.REFERENCE / "coffee.csv").assign(group=lambda t: t["group"].astype(str))


def own(tmp_path, frame, formula):
    options, paths = made_results.fitted(tmp_path, frame, formula)
    return figures.draw("own", options, paths), read("own", options, paths)


def test_numbers_that_are_categories_have_no_mean(tmp_path, rows):
    """Lines are drawn at values that such a predictor has: halfway between two of them there is no model."""
    frame = rows[["y", "x", "group"]].assign(week=np.arange(len(rows)) % 3 + 1)
    drawn, results = own(tmp_path, frame, "y ~ x + C(week) + (x | group)")
    assert list(drawn.figures) == figures.names({"engines": ["ols", "reml"]})
    assert "Treatment contrasts compare levels of week with 1." in fits.data(results)


def test_every_named_figure_is_drawn_and_nothing_else(coffee):
    assert list(coffee[1].figures) == figures.names(made_results.SETTINGS)
    assert "traces" not in figures.names({"engines": ["ols", "reml"]})
    assert figures.names({"engines": ["ols"]}) == ["groups", "pooled", "residuals", "variances", "effects"]


def test_figures_do_not_depend_on_how_many_are_drawn_at_a_time(coffee):
    root, drawn = coffee
    both = figures.draw("coffee", made_results.SETTINGS, made_results.paths(root), processes=2)
    assert both.figures == drawn.figures
    assert both.groups == drawn.groups


def test_svg_is_well_formed_accessible_and_free_of_waste(coffee):
    ids = []
    for figure in coffee[1].figures.values():
        root = ET.fromstring(figure.svg)
        assert root.get("role") == "img"
        assert root.get("aria-label") == figure.alt
        assert len(figure.alt) > 40, "an alternative text states a finding, it does not name a plot"
        assert "metadata" not in figure.svg
        assert "style=" not in figure.svg, "style attributes would win over the report's dark mode"
        assert "http" not in figure.svg.replace("http://www.w3.org/2000/svg", "")
        ids += [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids)), "figures share a page, so no id may occur twice"


def test_figures_of_the_coffee_study_are_small(coffee):
    sizes = {name: len(figure.svg) for name, figure in coffee[1].figures.items()}
    # 1000 rows in 100 panels at 10 bytes a point, lines, frames, axes of nine blocks; matplotlib's would be 400 kB.
    # All together are a quarter of what a page may weigh, 2 MB
    assert sizes["groups"] < 70_000
    assert sum(sizes.values()) < 500_000


def test_colours_are_the_engines(coffee):
    drawn = coffee[1].figures
    for engine in ("mixedlm", "pymc"):
        assert COLOURS[engine] in drawn["caterpillar"].svg
        assert COLOURS[engine] in drawn["variances"].svg
    assert COLOURS["ols"] in drawn["pooled"].svg
    assert COLOURS["mixedlm"] not in drawn["pooled"].svg


def test_alternative_texts_state_what_the_data_say(coffee, rows):
    slopes = [np.polyfit(part["x"], part["y"], 1)[0] for _, part in rows.groupby("group") if len(part) > 1]
    rising = np.mean(np.array(slopes) >= 0)
    assert f"{100 * rising:.0f}\u00a0% of the lines rise" in coffee[1].figures["groups"].alt
    slope = np.polyfit(rows["x"], rows["y"], 1)[0]
    assert f"The OLS slope is {slope:.2f} (−0.02 to 1.06)" in coffee[1].figures["pooled"].alt
    # 11 = four of MixedLM, four of reml, three of PyMC, which has no correlation
    assert (
        "11 of 11 intervals of the mixed models contain the true value" in coffee[1].figures["variances"].alt
    )
    # posterior_exact against reml_exact, coffee.json
    assert "at most 0.00330 ± 0.00080 (group 96" in coffee[1].figures["differences"].alt


def test_groups_can_be_pointed_at(coffee):
    levels = re.findall(r'data-level="([^"]+)"', coffee[1].figures["groups"].svg)
    assert sorted(levels, key=int) == [str(k) for k in range(1, 101)]
    # a page shows two blocks of twelve at once: groups whose slopes have ranks that are evenly spread
    shown = panels(coffee[1].figures["groups"].svg)[: coffee[1].figures["groups"].first]
    seen = [re.findall(r'data-level="([^"]+)"', panel) for panel in shown]
    assert [*map(len, seen)] == [12, 12]
    assert levels[:24] == seen[0] + seen[1]


def test_a_page_shows_every_panel_of_few_groups_at_once(tmp_path):
    frame = pd.read_csv(made_results.REFERENCE.parents[1] / "config/data/sleepstudy.csv")
    settings, paths = made_results.fitted(tmp_path, frame, "Reaction ~ Days + (Days | Subject)")
    figure = figures.draw("own", settings, paths).figures["groups"]
    assert len(panels(figure.svg)) == figure.first == 2
    # common axes: labels below each of three columns of two blocks, left of each of three lines
    assert figure.svg.count(">5</text>") == 2 * 3
    assert figure.svg.count(">300</text>") == 2 * 3


def test_another_grouping_factor_is_no_predictor(tmp_path):
    frame = pd.read_csv(made_results.REFERENCE / "penicillin.csv")
    settings, paths = made_results.fitted(tmp_path, frame, "diameter ~ 1 + (1 | plate) + (1 | sample)")
    drawn = figures.draw("own", settings, paths).figures
    assert drawn["groups-1"].alt.startswith("diameter by plate, 24 groups in order of their means")
    assert drawn["groups-2"].alt.startswith("diameter by sample, 6 groups in order of their means")


def test_detail_has_rows_lines_and_effects_of_each_group(coffee, rows):
    detail = coffee[1].groups
    first = detail["groups"][0]
    mine = rows[rows["group"] == "1"]
    assert first["id"] == "1"
    # five significant digits are kept
    np.testing.assert_allclose(sorted(first["y"]), sorted(mine["y"]), rtol=1e-4)
    # MixedLM's line at the group's largest x: (fixef + ranef) of coffee.json's reml_exact
    end = (4.11141003820866 - 7.273801824947775) + (0.4683531534555852 - 0.7389879159698021) * mine["x"].max()
    assert first["lines"]["mixedlm"][1][-1] == pytest.approx(end, rel=1e-4)
    assert first["effects"]["pymc"]["x"][0] == pytest.approx(-0.73918, abs=1e-5)
    assert first["truth"]["Intercept"] == pytest.approx(mine["b0_ran"].iloc[0], rel=1e-4)


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + (1 | group)",
        "y ~ 1 + (1 | group)",
        "y ~ x + z + (x + z | group)",
        "y ~ C(k) + (1 | group)",
        "y ~ np.exp(x) + (1 | group)",
    ],
)
def test_any_formula_has_all_its_figures(tmp_path, rows, formula):
    rng = np.random.default_rng(1)
    frame = rows.assign(z=rng.normal(size=len(rows)), k=rng.choice(["a", "b", "c"], len(rows)))
    frame["y"] += frame["z"] * frame["b1_ran"]
    frame = frame[["y", "x", "z", "k", "group"]]
    drawn, results = own(tmp_path, frame, formula)
    assert list(drawn.figures) == figures.names(results.settings)
    missing = [name for name, figure in drawn.figures.items() if figure.title == "Not drawn"]
    assert missing == (["effects"] if formula.startswith("y ~ 1") else []), "no predictor, no effect plot"
    assert "truth" not in drawn.figures["variances"].svg
    assert len(drawn.groups["groups"]) == 100


def test_curved_fits_are_drawn_as_curves(tmp_path, rows):
    drawn, _ = own(tmp_path, rows[["y", "x", "group"]], "y ~ np.exp(x) + (1 | group)")
    assert len(drawn.groups["groups"][0]["lines"]["reml"][0]) > 2
    assert len(drawn.groups["groups"][0]["lines"]["own"][0]) == 2


def test_thousands_of_groups_become_summaries(tmp_path):
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(3000), 3)
    x = rng.normal(size=len(group))
    y = rng.normal(size=3000)[group] + x + rng.normal(size=len(group))
    drawn, results = own(
        tmp_path, pd.DataFrame({"y": y, "x": x, "group": group.astype(str)}), "y ~ x + (1 | group)"
    )
    assert drawn.groups is None, "a page does not carry the detail of 3000 groups"
    assert "Only the 25 lowest and highest of 3,000" in drawn.figures["caterpillar"].caption
    assert "Shown first: 24 groups, evenly spread over their slopes; 144 of 3,000 are drawn." in (
        drawn.figures["groups"].caption
    )
    assert sum(len(figure.svg) for figure in drawn.figures.values()) < 1_000_000
    assert results.levels[:3] == ["0", "1", "2"]


def test_rows_that_were_not_copied_leave_figures_from_estimates(coffee):
    root, _ = coffee
    paths = {name: path for name, path in made_results.paths(root).items() if name != "data"}
    drawn = figures.draw("coffee", made_results.SETTINGS, paths)
    assert list(drawn.figures) == figures.names(made_results.SETTINGS)
    assert "too many to copy" in drawn.figures["groups"].caption
    assert "y" not in drawn.groups["groups"][0]


def test_an_engine_that_failed_leaves_a_note(coffee, tmp_path):
    root = made_results.coffee(tmp_path)
    for name in ("parameters.csv", "ranef.parquet"):
        for engine in ("mixedlm", "pymc"):
            file = root / "coffee" / engine / name
            table = pd.read_csv(file) if name.endswith("csv") else pd.read_parquet(file)
            table[:0].to_csv(file, index=False) if name.endswith("csv") else table[:0].to_parquet(file)
    paths = made_results.paths(root)
    del paths["posterior"]
    drawn = figures.draw("coffee", made_results.SETTINGS, paths)
    assert drawn.figures["ranks"].title == "Not drawn"
    assert COLOURS["reml"] in drawn.figures["caterpillar"].svg


def points_of(d: str) -> list[tuple[float, float]]:
    """Absolute corners of a compact path of straight lines."""
    at, found = (0.0, 0.0), []
    for command, rest in STEP.findall(d):
        numbers = [float(value) for value in re.findall(r"-?\d*\.?\d+", rest)]
        if command in "zZ":
            continue
        if command in "hv":
            numbers = [numbers[0], 0.0] if command == "h" else [0.0, numbers[0]]
        at = (numbers[0], numbers[1]) if command in "ML" else (at[0] + numbers[0], at[1] + numbers[1])
        found.append(at)
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(-900, 900), st.floats(-900, 900)), min_size=2, max_size=40))
def test_compact_paths_do_not_drift(points):
    text = "".join(f"{'M' if k % 3 == 0 else 'L'} {x:f} {y:f} " for k, (x, y) in enumerate(points))
    # half of the last digit kept, and the rounding of %f on top
    np.testing.assert_allclose(points_of(compact(text)), points, atol=0.0501)


def test_density_is_one():
    draws = np.abs(np.random.default_rng(3).normal(0, 1, 8000))
    x, height = density(draws, low=0.0)
    area = np.sum((height[1:] + height[:-1]) / 2 * np.diff(x))
    assert area == pytest.approx(1, abs=0.01)  # trapezia on 120 points
    assert x[0] == 0


def test_priors_are_drawn_where_they_are_proper():
    x = np.array([-1.0, 50.0, 101.0])
    np.testing.assert_allclose(prior_density("uniform(0, 100)", "sd__x", x), [0, 0.01, 0])
    assert prior_density("flat", "x", x) is None
    assert prior_density("normal(0, 1) at the predictors' means", "Intercept", x) is None


def test_small_helpers():
    assert sorted(["10", "2", "b1", "1"], key=natural) == ["1", "2", "10", "b1"]
    assert len(chosen(np.arange(1000.0), 10)) == 10
    assert normal_quantiles(3)[1] == pytest.approx(0, abs=1e-12)


def test_labels_are_placed_where_matplotlib_places_them():
    figure, axes = style.canvas(style.TWO, 300, 2, 2)
    for k, ax in enumerate(axes.flat):
        ax.plot([0, 1], [0, 3e4 * 10.0**k])
        ax.set(
            title="above", ylabel="beside\nin two lines", xlabel="below", yscale="log" if k == 3 else "linear"
        )
    axes[0, 1].set_yticks([0, 1e5], ["one", "a long name"])
    ours = layout.lay_out(figure)
    for ax in axes.flat:
        before = [
            text.get_window_extent(layout.RENDERER).extents for text in (ax.xaxis.label, ax.yaxis.label)
        ]
        ax._autotitlepos = ax.xaxis._autolabelpos = ax.yaxis._autolabelpos = True
        theirs = ax.get_tightbbox(layout.RENDERER)
        after = [text.get_window_extent(layout.RENDERER).extents for text in (ax.xaxis.label, ax.yaxis.label)]
        # half a line of a spine (0.4), which only Matplotlib measures; nothing leaves the figure
        np.testing.assert_allclose(before, after, atol=0.5)
        np.testing.assert_allclose(ours[ax].extents, theirs.extents, atol=0.5)
        assert (theirs.min >= 0).all() and (theirs.max <= (style.TWO, 300)).all()
    assert not axes[0, 0].get_tightbbox(layout.RENDERER).overlaps(axes[1, 0].get_tightbbox(layout.RENDERER))


def test_panels_of_a_column_and_of_a_row_begin_and_end_alike():
    """Their labels differ in length, and each panel is cut out of the figure."""
    boxes = [
        (0.0, 5.0, 100.0, 50.0),
        (110.0, 0.0, 95.0, 55.0),
        (4.0, 60.0, 96.0, 50.0),
        (2.0, 120.0, 200.0, 50.0),
    ]
    wide = (2.0, 120.0, 200.0, 50.0)  # in no column
    assert aligned(boxes) == [
        (0.0, 0.0, 100.0, 55.0),
        (110.0, 0.0, 95.0, 55.0),
        (0.0, 60.0, 100.0, 50.0),
        wide,
    ]


def test_rounding_is_not_drawn(tmp_path):
    """Two optimisers of one criterion: a sentence stands in the figure's place, with no axis of 1e-14."""
    root = made_results.coffee(tmp_path)
    base = root / "coffee"
    table = pd.read_parquet(base / "reml/ranef.parquet")
    table.assign(engine="mixedlm").to_parquet(base / "mixedlm/ranef.parquet")
    made_results.compare(base, read_json(base / "data/truth.json"), ("mixedlm", "reml"))
    own = made_results.SETTINGS | {"engines": ["mixedlm", "reml"]}
    paths = made_results.paths(root, engines=("mixedlm", "reml"))
    figure = figures.draw("coffee", own, paths).figures["differences"]
    assert figure.title == "Not drawn" and figure.alt.startswith(
        "MixedLM and reml give the same random effects"
    )
    found = sections.sections(read("coffee", own, paths), {"differences": figure})
    random = next(one for one in found if one["key"] == "random")
    assert random["text"] == [figure.alt] and random["figures"] == []
