"""A search with several grouping factors: against closed forms, own data, what is said of it."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from conftest import ROOT
from lmm.config.load import load
from lmm.config.search import Search
from lmm.config.search_sizes import Frame
from lmm.config.simulation import Simulation
from lmm.core.store import write_json
from lmm.data import ingest
from lmm.data.rows import rows_of, write_designs
from lmm.engines import several_reml
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.moments import stage
from lmm.recovery import search, searches
from lmm.recovery.search import Space
from lmm.recovery.several_data import SeveralResized
from lmm.report import search as page
from lmm.report.figures.searched import draw
from lmm.report.text import search as text
from lmm.results.searched import Searched, read
from lmm.simulation.rows import simulate
from planning import plan
from several import REFERENCE, model_of
from test_search import artifacts, binomial

ITEMS = 6
# x is balanced within every subject, and within every item where the number of subjects is even: an exact t test
CROSSED = {
    "formula": "y ~ x + (1 | subject) + (1 | item)",
    "simulate": {
        "seed": 3,
        "groups": {"item": ITEMS},
        "fixed": {"Intercept": 1, "x": 0.75},
        "sd": {"subject": {"Intercept": 1.5}, "item": {"Intercept": 1.5}},
        "predictors": {"x": {"latin_square": 2}},
    },
    "search": {"vary": "subject", "between": [4, 40], "term": "x"},
}
BOTH = {
    "vary": ["subject", "item"],
    "between": {"subject": [6, 80], "item": [6, 60]},
    "cost": "20 * subject + 30 * item + rows",
}


def exact_power(subjects, effect=0.75):
    """Noncentral t with the residual degrees of freedom of subjects + items + x.

    An odd number of subjects leaves each item with one more row of one condition: x loses its projection on items.
    Variances between items of 1.5^2 beside errors of 1 let that come back by less than 0.1 %.
    """
    subjects = np.asarray(subjects)
    left = subjects * ITEMS / 4 - (subjects % 2) * ITEMS / (4 * subjects)
    df, shift = (subjects - 1) * (ITEMS - 1) - 1, effect * np.sqrt(left)
    limit = stats.t.ppf(0.975, df)
    return stats.nct.sf(limit, df, shift) + stats.nct.cdf(-limit, df, shift)


def settings(study):
    return plan.make({"studies": {"s": study}}, ROOT)["studies"]["s"]["stages"]["search"]


@pytest.fixture(scope="module")
def found():
    """A search of few replicates."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("FIRST", 30), ("LEAST", 240), ("BATCH", 60)):
            patch.setattr(search, name, value)
        patch.setattr(searches, "AT_NULL_IN_FULL", 60)
        return searches.run(settings(CROSSED | {"search": CROSSED["search"] | {"tolerance": 4}}), {})


def test_designs_and_tests_are_those_of_the_closed_form(found):
    designs, curve, null, answer = found
    own = answer["scenarios"][0]
    power = exact_power(designs["groups__subject"])
    # 4 Monte Carlo errors each, 1 in 16,000
    assert ((designs["estimate"] - power).abs() <= 4 * np.sqrt(power * (1 - power) / designs["n_used"])).all()
    assert null["groups__subject"].tolist() == [4, own["groups__subject"]]
    assert ((null["estimate"] - 0.05).abs() <= 4 * np.sqrt(0.05 * 0.95 / null["n_used"])).all()
    true = next(n for n in range(4, 40) if exact_power(n) >= 0.8)
    # an interval of 95 % with this seed; the half-width is at most the tolerance of 4
    assert own["low"] <= true <= own["high"]
    assert max(own["groups__subject"] - own["low"], own["high"] - own["groups__subject"]) <= 4
    assert (curve["groups__item"] == ITEMS).all()


def test_the_answer_is_that_of_the_closed_form(monkeypatch):
    monkeypatch.setattr(searches, "AT_NULL_IN_FULL", 100)  # looked at above
    *_, answer = searches.run(settings(CROSSED), {})
    own = answer["scenarios"][0]
    true = next(n for n in range(4, 40) if exact_power(n) >= 0.8)
    assert own["status"] == "reached"
    assert own["exact"]
    assert abs(own["groups__subject"] - true) <= 1  # a step
    assert own["low"] <= own["groups__subject"] <= own["high"] <= own["low"] + 2


def test_a_design_is_that_of_a_recovery_study(found):
    row = found[0].iloc[0]
    groups = {"item": ITEMS, "subject": int(row["groups__subject"])}
    study = {k: v for k, v in CROSSED.items() if k != "search"} | {"replicates": 5}
    study["simulate"] = CROSSED["simulate"] | {"groups": groups}
    assert load({"studies": {"s": study}}).studies["s"].designs[0].key == row["design"]


def test_the_answer_names_the_factor(found, tmp_path):
    about = {"title": "A", "formula": CROSSED["formula"], "simulate": True}
    searched = read("s", about, artifacts(tmp_path, found))
    own = searched.scenarios[0]
    said = [line.replace("\xa0", " ") for line in text.answers(searched)]
    n = own["groups__subject"]
    assert said[0] == (
        f"{n} subjects and {ITEMS} items are enough for a power of 80 % for the fixed effect of x by reml "
        f"(95 % Monte Carlo interval {own['low']} to {own['high']} subjects)."
    )
    assert f"% with 4 subjects and {ITEMS} items and " in said[2]
    assert "4 to 40 subjects for the smallest design" in text.methods(searched)
    card = page.card(searched)
    assert card.value == f"{n} subjects and {ITEMS} items"
    assert f"interval {own['low']} to {own['high']} subjects" in [line for _, line in card.lines]
    (tables,) = [part["tables"] for part in page.sections(searched, {}) if part["key"] == "search"]
    assert [column.title for column in tables[0].columns[:2]] == ["Subjects", "Replicates"]
    assert tables[0].caption.endswith(f" All have {ITEMS} items and 1 row per combination of levels.")
    figures = draw("s", about, artifacts(tmp_path, found)).figures
    assert figures["curve"].title == "Power against subjects"


def read_of(answer):
    return Searched("s", {}, answer, {})


def sizes_of(formula, simulate, **wanted):
    return Frame(Search.from_plain({"term": "x"} | wanted), simulate, parse(formula).several)


def test_sizes_of_nested_designs_are_counted_per_level(tmp_path):
    simulate = {"groups": {"school": 12, "class": {"per": "school", "count": 2}}, "rows_per_group": 20}
    frame = sizes_of("y ~ x + (1 | school/class)", simulate, vary="class", between=[2, 9])
    assert frame.plain((1, 5))["groups"] == {"school": 12, "class": {"per": "school", "count": 5}}
    assert frame.cost(1.0, 5.0) == 12 * 5 * 20
    answer = {"sizes": frame.described(), "vary": ["class"]}
    searched = read_of(answer)
    at = {name: own for name, (own,) in frame.columns([[1, 5]]).items()}
    assert text.size(searched, at) == "5 classes per school, 12 schools and 20 rows per combination of levels"
    assert text.plural(searched, searched.first) == "classes per school"


def test_rows_at_random_pairs_can_be_searched_for():
    simulate = {"groups": {"a": 20, "b": 30}, "rows": 100}
    frame = sizes_of("y ~ x + (1 | a) + (1 | b)", simulate, vary="rows", between=[100, 900])
    assert frame.plain((1, 250))["rows"] == 250
    assert frame.bounds == ((1, 1), (100, 900))
    assert frame.cost(1.0, 250.0) == 250
    searched = read_of({"sizes": frame.described(), "vary": ["rows"]})
    at = {name: own for name, (own,) in frame.columns([[1, 250]]).items()}
    # names that are no nouns are levels of a factor
    assert text.size(searched, at) == "20 levels of a, 30 levels of b and 250 rows"


def test_two_factors_end_at_the_cheapest_design():
    # the variance of an effect that differs between subjects and between items
    def power(n, m):
        return stats.norm.cdf(0.5 / np.sqrt(0.5 / n + 0.3 / m + 4.0 / (n * m)) - 1.96)

    simulate = {"groups": {"subject": 6, "item": 6}}
    frame = sizes_of(CROSSED["formula"], simulate, **BOTH)
    assert frame.ratios == 2
    space = Space.between(*frame.bounds, frame.cost, frame.ratios)
    n, m = space.designs.T.astype(float)
    assert space.cost == pytest.approx(20 * n + 30 * m + n * m)
    least = space.cost[power(n, m) >= 0.8].min()
    own = search.search(space, binomial(power), "power", 0.8, at_most=60_000)
    assert own.status == "reached"
    # the cost is flat around its minimum; power there is known to 0.007
    assert frame.cost(*map(float, own.best)) == pytest.approx(least, rel=0.05)
    assert power(*own.best) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(("items", "reached"), [(24, True), (8, False)])
def test_power_that_subjects_alone_cannot_raise_further_is_fitted(items, reached):
    # an effect between items: with more subjects its variance falls to that of the items
    def power(_, n):
        return stats.norm.cdf(0.5 / np.sqrt(0.6 / items + 4.0 / (n * items)) - 1.96)

    space = Space.between((1, 1), (4, 200), None, 1)
    own = search.search(space, binomial(power), "power", 0.8, tolerance=2)
    if not reached:
        assert power(1, 200) < 0.5
        assert own.status == "not reached"
        return
    true = next(n for n in range(4, 200) if power(1, n) >= 0.8)
    assert own.low <= true <= own.high
    assert abs(own.best[1] - true) <= 2


WORDS = pd.read_csv(REFERENCE / "words.csv")
FORMULA = "rt ~ cond + (1 | subj) + (1 | item)"


@pytest.mark.parametrize(("count", "times"), [(40, [1]), (80, [2]), (10, [0, 1]), (50, [1, 2])])
def test_own_rows_are_resized_level_by_level(count, times):
    rows = rows_of(build(parse(FORMULA), WORDS), WORDS)
    source = SeveralResized(rows, "subj", count, rows.terms, "0" * 12, 1, None)
    for replicate in (0, 1):
        own = source.resized(replicate)
        (codes, levels), (items, names) = own.factors
        assert len(levels) == count
        assert np.array_equal(names, rows.factors[1][1])
        # each new level has the rows of one of the old: their responses tell which
        of_old = {tuple(rows.y[rows.codes == level]): level for level in range(len(rows.levels))}
        drawn = [of_old[tuple(own.y[codes == level])] for level in range(count)]
        assert sorted(set(np.bincount(drawn, minlength=len(rows.levels)))) == times
        for level, old in enumerate(drawn):
            assert np.array_equal(items[codes == level], rows.factors[1][0][rows.codes == old])
    assert np.array_equal(source.resized(1).y, own.y)  # by address, not by order


def test_levels_of_what_is_nested_are_drawn_with_what_they_are_nested_in():
    frame = pd.read_csv(REFERENCE / "pastes.csv")
    rows = rows_of(build(parse("strength ~ 1 + (1 | batch/cask)"), frame), frame)
    source = SeveralResized(rows, "batch", 20, rows.terms, "0" * 12, 1, None)
    groups = [grouping.group for grouping in rows.terms.groupings]
    counts = dict(zip(groups, (len(levels) for _, levels in source.resized(0).factors), strict=True))
    assert counts == {"batch": 20, "cask:batch": 60}  # 10 batches of 3 casks each, twice


def test_a_pilot_study_is_simulated_from_its_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    design = Simulation.from_plain(CROSSED["simulate"] | {"groups": {"subject": 10, "item": ITEMS}})
    formula = parse(CROSSED["formula"])
    frame, _ = simulate(design, formula)
    frame.to_csv("pilot.csv", index=False)
    study = {"formula": formula.text, "data": "pilot.csv"}
    study["search"] = CROSSED["search"] | {"fixed": {"x": 0.4}}
    planned = plan.make({"studies": {"s": study}}, tmp_path)["studies"]["s"]
    assert planned["search"] == {"own": True}
    source, data = ingest.scan(ingest.inspect("pilot.csv", formula.variables, formula.keys), formula)
    ingest.copy(source, "rows.parquet")
    write_json("data.json", data)
    write_designs("design.json", stage.designs([formula.text], data, pd.read_parquet("rows.parquet"))[1])
    paths = {"design": "design.json", "data": "data.json", "rows": "rows.parquet"}
    own = planned["stages"]["search"]
    evaluate = searches.Evaluator(
        searches.of_data(own, paths), {"x": 0.4}, Search.from_plain(own["search"]), "empirical_se"
    )
    measured = evaluate((1, 20), 120)
    model = model_of(frame, formula.text)
    sigma = several_reml.fit(model.moments, model.terms.fixed, model.blocks, profile=False)[2].sigma
    # least squares within subjects and items: 20 ITEMS / 4 is x's sum of squares
    assert measured.estimate == pytest.approx(sigma / np.sqrt(20 * ITEMS / 4), abs=4 * measured.mcse)
    assert measured.failed == 0
    searched = read_of({"sizes": searches.frame_of(own).described(), "vary": ["subject"]})
    assert text.size(searched, {"groups__subject": 20}) == "20 subjects"
