"""A search for the size of a design: against closed forms, own data, what is said of it; one run by Snakemake."""

import html
import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from conftest import ROOT, copy_project
from lmm.config.load import load
from lmm.config.search import Search, cost_of
from lmm.config.search_sizes import Frame
from lmm.core.store import write_json, write_table
from lmm.core.streams import design_key
from lmm.core.words import label, share
from lmm.data.levels import encode
from lmm.data.rows import write_designs
from lmm.model.design import numeric_design
from lmm.model.formula import parse
from lmm.moments import accumulate
from lmm.moments.pilot import finite_matrix
from lmm.recovery import searches
from lmm.recovery.curve import fit
from lmm.recovery.search import Measured, Space, search
from lmm.report import search as page
from lmm.report.figures.searched import draw
from lmm.report.text import search as text
from lmm.results.searched import read
from lmm.simulation.resized import Resized
from planning import plan
from running import verdicts

# Balanced, x = 0, ..., 4 within every group, independent intercepts: the test of x is an exact t test
EXACT = {
    "formula": "y ~ x + (1 | group)",
    "simulate": {
        "seed": 3,
        "rows_per_group": 5,
        "fixed": {"Intercept": 1, "x": 0.2},
        "sd": {"Intercept": 2},
        "predictors": {"x": "sequence"},
    },
    "search": {"between": [3, 100], "term": "x"},
}


def exact_power(groups, effect=0.2):
    """Noncentral t: the sum of squares of x is 10 in each group, and the residual has 4 J - 1 degrees of freedom."""
    df, shift = 4 * groups - 1, effect * np.sqrt(10 * groups)
    limit = stats.t.ppf(0.975, df)
    return stats.nct.sf(limit, df, shift) + stats.nct.cdf(-limit, df, shift)


def run(study, **changes):
    """Tables and answer of a study with keys of `search` changed."""
    own = study | {"search": study["search"] | changes}
    return searches.run(plan.make({"studies": {"s": own}}, ROOT)["studies"]["s"]["stages"]["search"], {})


@pytest.fixture(scope="module")
def found():
    return run(EXACT, fixed={"x": [0.25, 0.2]})


def artifacts(root, found):
    designs, curve, null, answer = found
    for name, table in (("search", designs), ("curve", curve), ("null", null)):
        write_table(root / f"{name}.csv", table)
    write_json(root / "answer.json", answer)
    return {name: str(root / f"{name}.csv") for name in ("search", "curve", "null")} | {
        "answer": str(root / "answer.json")
    }


def test_the_answer_is_that_of_the_closed_form(found):
    designs, curve, null, answer = found
    for scenario, effect in enumerate((0.25, 0.2)):
        own = answer["scenarios"][scenario]
        true = next(n for n in range(3, 100) if exact_power(n, effect) >= 0.8)
        assert own["status"] == "reached"
        assert own["exact"]
        assert abs(own["groups"] - true) <= 1  # a step
        assert own["low"] <= own["groups"] <= own["high"] <= own["low"] + 2  # the tolerance to either side
        line = curve[curve["scenario"] == scenario]
        power = exact_power(line["groups"].to_numpy(), effect)
        # a pointwise band of 95 %: of one smooth curve all of it is within 1.6 times its half-width, 99.8 %
        half = (line["conf_high"] - line["conf_low"]) / 2
        assert ((line["estimate"] - power).abs() <= 1.6 * half).all()
        rows = designs[designs["scenario"] == scenario]
        # every single design too: 4 Monte Carlo errors, 1 in 16,000
        power = exact_power(rows["groups"].to_numpy(), effect)
        assert ((rows["estimate"] - power).abs() <= 4 * np.sqrt(power * (1 - power) / rows["n_used"])).all()
    assert null["groups"].tolist() == [3, answer["scenarios"][0]["groups"]]
    assert ((null["estimate"] - 0.05).abs() <= 4 * np.sqrt(0.05 * 0.95 / null["n_used"])).all()


def test_the_same_seed_gives_the_same_bits_and_designs_are_those_of_a_recovery_study():
    once, again = (run(EXACT, measure="rmse", target=0.1, at_most=2000) for _ in range(2))
    for one, other in zip(once[:3], again[:3], strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert once[3] == again[3]
    row = once[0].iloc[0]
    simulate = EXACT["simulate"] | {"groups": [int(row["groups"])]}
    study = {"formula": EXACT["formula"], "simulate": simulate, "replicates": 5}
    assert load({"studies": {"s": study}}).studies["s"].designs[0].key == row["design"]


def test_a_width_is_at_most_the_target():
    _, _, null, answer = run(EXACT, measure="interval_width", target=0.25)
    df = 4 * np.arange(3, 100) - 1
    # E sigma-hat is the mean of chi over the root of its degrees of freedom
    width = 2 * stats.t.ppf(0.975, df) * stats.chi.mean(df) / np.sqrt(df * 10 * np.arange(3, 100))
    true = 3 + int(np.flatnonzero(width <= 0.25)[0])
    assert abs(answer["scenarios"][0]["groups"] - true) <= 1
    assert not len(null)


def binomial(power, seed=1):
    """An evaluator of a known power."""
    rng, store = np.random.default_rng(seed), {}

    def evaluate(at, count):
        events, n = store.get(at, (0, 0))
        store[at] = events, n = events + rng.binomial(count, power(*at)), n + count
        return Measured(events / n, np.sqrt(events / n * (1 - events / n) / n), n, n)

    return evaluate


def test_intervals_contain_the_smallest_design_as_often_as_they_say():
    def power(n, _):
        return exact_power(n, 0.17)

    true = next(n for n in range(3, 400) if power(n, 1) >= 0.8)
    space = Space.between((3, 400), (1, 1))
    each = [search(space, binomial(power, seed), "power", 0.8) for seed in range(60)]
    inside = sum(own.low <= true <= own.high for own in each)
    assert inside >= stats.binom.ppf(0.001, 60, 0.95)
    assert np.mean([abs(own.best[0] - true) <= 1 for own in each]) >= 0.9  # the tolerance is 1.96 errors
    assert max(own.replicates for own in each) <= 40_000


def test_two_dimensions_end_at_the_cheapest_design():
    def power(n, m):
        return stats.norm.cdf(0.5 * np.sqrt(n / (1 + 6 / m)) - 1.96)

    def cost(n, m):
        return 50 * n + 2 * n * m

    space = Space.between((5, 200), (2, 60), cost)
    truly = power(*space.designs.T) >= 0.8
    least = space.cost[truly].min()
    own = search(space, binomial(power), "power", 0.8, at_most=60_000)
    assert own.status == "reached"
    assert cost(*own.best) == pytest.approx(least, rel=0.03)  # 1 group of some 47
    assert power(*own.best) == pytest.approx(0.8, abs=0.015)


def test_a_target_out_of_reach_and_one_that_is_below_the_bounds():
    space = Space.between((5, 40), (1, 1))
    own = search(space, binomial(lambda n, _: exact_power(n, 0.1)), "power", 0.8)
    assert (own.status, own.best, own.low, own.high) == ("not reached", (40, 1), None, None)
    assert own.designs[40, 1].replicates >= 2000
    assert own.replicates < 10_000
    own = search(space, binomial(lambda n, _: exact_power(n, 0.9)), "power", 0.8)
    assert (own.status, own.best, own.low, own.high) == ("smallest", (5, 1), 5, 5)


def test_the_fit_is_monotone_whatever_noise_says():
    at = np.array([[10, 1], [11, 1], [12, 1]])
    n = np.full(3, 100)
    power = np.array([0.85, 0.8, 0.75])
    curve = fit("power", at, power, np.sqrt(power * (1 - power) / n), n, 0)
    value, low, high = curve.value(at)
    assert value == pytest.approx(np.full(3, 0.8))
    assert (low < value).all() and (value < high).all()


def test_costs_are_arithmetic_and_nothing_else():
    known = {"groups": 3.0, "rows_per_group": 4.0, "rows": 12.0}
    assert cost_of("50 * groups + 2 * rows", known) == 174
    assert cost_of("-(1 - groups) ** 2 + rows_per_group / 2", known) == -2
    for bad in (
        "groups.real",
        "__import__('os')",
        "max(groups)",
        "groups if rows else 1",
        "'a'",
        "x",
        "1 +",
        "True",
    ):
        with pytest.raises(ValueError):
            cost_of(bad, known)


def pilot():
    frame = pd.read_csv(ROOT / "config/data/sleepstudy.csv")
    design = numeric_design(parse("Reaction ~ Days + (Days | Subject)"))
    y, W = finite_matrix(design, frame)
    codes, levels = encode(frame["Subject"])
    return accumulate.compute(design.terms, y, W, codes, levels, True), design.terms


@pytest.mark.parametrize(("groups", "times"), [(18, [1]), (54, [3]), (7, [0, 1]), (40, [2, 3])])
def test_a_pilot_study_is_resized_group_by_group(groups, times):
    moments, terms = pilot()
    own = (terms.fixed, np.array([250.0, 10.0]), terms.random, np.diag([25.0, 6.0]), 25.0, 1, "0" * 12)
    source = Resized(moments, groups, *own)
    for replicate in (0, 1):
        chosen = source.moments(replicate)
        counts = [int((np.abs(chosen.gram - each).max(axis=(1, 2)) == 0).sum()) for each in moments.gram]
        # sleepstudy's groups have equal predictors but different responses: each is told apart
        assert sorted(set(counts)) == times
        assert sum(counts) == groups
        assert np.allclose(chosen.total, sum(c * g for c, g in zip(counts, moments.gram, strict=True)))
    first = source.draw(5).gram.copy()
    source.draw(2)
    assert np.array_equal(source.draw(5).gram, first)  # by address, not by order


def test_a_pilot_search_simulates_from_reml_with_the_effects_of_a_scenario(tmp_path):
    moments, terms = pilot()
    design = numeric_design(parse("Reaction ~ Days + (Days | Subject)"))
    study = {
        "formula": design.formula.text, "data": "config/data/sleepstudy.csv",
        "search": {"between": [4, 60], "term": "Days"},
    }  # fmt: skip
    settings = plan.make({"studies": {"p": study}}, ROOT)["studies"]["p"]["stages"]["search"]
    paths = {
        name: str(tmp_path / name) for name in ("moments.parquet", "moments_details.json", "design.json")
    }
    moments.write(paths["moments.parquet"], paths["moments_details.json"])
    write_designs(paths["design.json"], [design])
    paths = {name.partition(".")[0]: path for name, path in paths.items()}
    key, made = searches.of_pilot(settings, paths)({"Days": 5.0}, (40, 1))
    source, engines = made.replicates, made.engines
    assert key == design_key({"data": True, "groups": 40, "fixed": {"Days": 5.0}})
    assert list(engines) == ["reml"]
    truth = source.parameters_in_words()
    assert truth["fixed"] == pytest.approx({"Intercept": 251.405, "Days": 5.0}, abs=1e-3)  # lme4's intercept
    assert truth["sd"] == pytest.approx({"Intercept": 24.741, "Days": 5.922}, abs=1e-3)
    assert truth["sigma"] == pytest.approx(25.592, abs=1e-3)
    drawn = source.compact().draw(3)
    assert len(drawn.gram) == 40
    # the groups are those of the pilot study that is resized with the search's seed and this design's key
    wanted = Resized(
        moments,
        40,
        terms.fixed,
        [251.405, 5.0],
        terms.random,
        np.diag([24.7, 5.9]),
        25.6,
        settings["seed"],
        key,
    )
    assert np.array_equal(wanted.moments(3).gram[:, :2, :2], source.compact().moments(3).gram[:, :2, :2])


def test_what_is_not_varied_has_one_value_and_own_data_have_no_rows_per_group():
    simulate = {"groups": 12, "rows_per_group": 5}
    drawn = {"groups": 12, "rows_per_group": {"poisson": 5}}
    groups = Search.from_plain({"vary": ["groups"], "between": {"groups": [3, 9]}, "term": "x"})
    rows = Search.from_plain({"vary": ["rows_per_group"], "between": {"rows_per_group": [2, 8]}, "term": "x"})
    assert Frame(groups, None, False).bounds == ((3, 9), (1, 1))
    assert Frame(groups, simulate, False).bounds == ((3, 9), (5, 5))
    assert Frame(groups, drawn, False).bounds == ((3, 9), (1, 1))
    assert Frame(rows, simulate, False).bounds == ((12, 12), (2, 8))
    at = np.array([[7, 1]])
    assert Frame(groups, None, False).columns(at) == {"groups": [7], "rows_per_group": [None]}
    assert Frame(groups, simulate, False).columns(at) == {"groups": [7], "rows_per_group": [5]}
    assert Frame(rows, drawn, False).columns(np.array([[1, 8]])) == {"groups": [12], "rows_per_group": [8]}
    assert Frame(groups, drawn, False).columns(at)["rows_per_group"][0].startswith("poisson(5")


def test_of_each_number_of_rows_the_fewest_groups_that_reach_the_target_are_listed():
    space = Space.between((3, 6), (2, 4))
    reached = {(5, 2), (6, 2), (4, 4), (6, 4)}
    value = np.array([0.9 if tuple(at) in reached else 0.7 for at in space.designs.tolist()])
    found = SimpleNamespace(curve=SimpleNamespace(value=lambda at: (value, value, value)))
    wanted = {"vary": ["groups", "rows_per_group"], "between": {"groups": [3, 6], "rows_per_group": [2, 4]}}
    wanted |= {"term": "x", "cost": "10 * groups + rows"}
    frame = Frame(Search.from_plain(wanted), EXACT["simulate"] | {"groups": 3, "rows_per_group": 2}, False)
    assert searches._frontier(found, space, frame) == [
        {"rows_per_group": 2, "groups": 5, "cost": 60.0}, {"rows_per_group": 4, "groups": 4, "cost": 56.0},
    ]  # fmt: skip


def test_sentences_say_what_the_tables_have(found, tmp_path):
    searched = read(
        "s", {"title": "A", "formula": EXACT["formula"], "simulate": True}, artifacts(tmp_path, found)
    )
    own, other = searched.scenarios
    said = [line.replace("\xa0", " ") for line in text.answers(searched)]
    assert said[0] == (
        f"{own['groups']} groups of 5 rows are enough for a power of 80 % for the fixed effect of x by "
        f"{label('reml')} (95 % Monte Carlo interval {own['low']} to {own['high']} groups)."
    )
    assert said[1] == (
        f"There, power is {100 * own['value']:.1f} % (95 % Monte Carlo interval {100 * own['value_low']:.1f} to "
        f"{100 * own['value_high']:.1f} %)."
    )
    rejected = [float(value) for value in re.findall(r"([\d.]+) % ± [\d.]+ % with", said[2])]
    np.testing.assert_allclose(
        rejected, 100 * searched.tables["null"]["estimate"], atol=0.05
    )  # one decimal at least
    assert "too often" not in said[2]
    at = other["at_answer"]
    assert said[3] == (
        f"If the fixed effect of x is 0.2 instead of 0.25, {other['groups']} groups of 5 rows are needed "
        f"({other['low']} to {other['high']}); {own['groups']} groups of 5 rows then have power "
        f"{share(at['estimate'], at['mcse'])}.".replace("\u00a0", " ")
    )
    total = sum(int(searched.tables[name]["replicates"].sum()) for name in ("search", "null"))
    singular = sum(int(searched.tables[name]["singular"].sum()) for name in ("search", "null"))
    counted = f"{singular:,} singular ones were used" if singular else "none was singular"
    assert said[4] == f"Of {total:,} fits, none could not be used; {counted}."
    shown = page.study(searched, {}, {"run_times": []})
    assert shown["answer"]["cards"][0].value == f"{own['groups']} groups of 5 rows"
    assert [part["key"] for part in shown["sections"]] == ["search", "null"]
    assert f"{own['replicates']:,} data sets in the whole search" in shown["methods"]
    figures = draw("s", {}, artifacts(tmp_path, found)).figures
    assert list(figures) == ["curve"]
    assert "<svg" in figures["curve"].svg


def test_a_test_that_rejects_too_often_is_named(found, tmp_path):
    paths = artifacts(tmp_path, found)
    null = pd.read_csv(paths["null"])
    null["estimate"] = 0.05 + 3.5 * null["mcse"]
    write_table(paths["null"], null)
    assert "It rejects too often" in text.null(read("s", {}, paths))[0]


def test_what_is_out_of_reach_is_said_and_is_no_error_of_the_run(tmp_path):
    designs, curve, null, answer = run(EXACT, between=[3, 10], at_most=2000)
    searched = read("s", {}, artifacts(tmp_path, (designs, curve, null, answer)))
    said = text.answers(searched)[0].replace("\xa0", " ")
    assert said.startswith(
        "Not reached: within the bounds no design has a power of 80 % for the fixed effect of x. "
    )
    assert "With 10 groups of 5 rows, the largest design, power is " in said
    value = float(re.search(r"power is ([\d.]+) %", said)[1]) / 100
    assert value == pytest.approx(exact_power(10), abs=0.04)  # 4 errors of 2,000 replicates
    assert verdicts.problems({"s/search": str(tmp_path / "answer.json")}) == [
        ("s", "search", "the target is not reached within the bounds")
    ]


def test_a_pilot_study_from_its_file_to_the_closing_line(tmp_path):
    project = copy_project(tmp_path)
    study = {
        "formula": "Reaction ~ Days + (Days | Subject)",
        "data": "config/data/sleepstudy.csv",
        "search": {"between": [4, 60], "term": "Days", "fixed": {"Days": [5, 6]}, "at_most": 3000},
    }
    project.configure({"p": study})
    done = project.snakemake("--cores", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    base = project.root / "results/p"
    answer = json.loads((base / "search/answer.json").read_text())
    first = answer["scenarios"][0]
    # Var(Days) is about 5.92^2 + 25.6^2 / 82.5 = 43 per subject: 2.8^2 43 / 25 + 2 for the t test = 15.6
    assert 13 <= first["groups"] <= 18
    assert first["rows_per_group"] is None
    console = (done.stdout + done.stderr).replace("\xa0", " ")
    assert (
        f"p: {first['groups']} groups are enough for a power of 80 % for the fixed effect of Days" in console
    )
    assert "REML's fit of the pilot data" in html.unescape((base / "report.html").read_text(encoding="utf-8"))
    again = project.snakemake("--cores", "1")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_the_ready_made_configuration_is_whole():
    study = load(yaml.safe_load((ROOT / "config/search.yaml").read_text())).studies["search"]
    assert study.engines == ("reml",)
    assert study.settings.search.truths == [{"x": 0.5}, {"x": 0.6}]


def test_intervals_that_are_not_there_are_counted(tmp_path):
    # the SD of the intercepts is 0.2 beside errors of 1: many estimates are 0 and have no Wald interval
    study = EXACT | {"simulate": EXACT["simulate"] | {"sd": {"Intercept": 0.2}}}
    found = run(study, measure="coverage", term="sd__Intercept", target=0.9, between=[8, 12], at_most=2000)
    table = found[0]
    missing = int((table["replicates"] - table["failed"] - table["n_used"]).sum())
    assert missing >= int(table["singular"].sum()) > 0
    said = text.answers(read("s", {}, artifacts(tmp_path, found)))
    assert f"{missing:,} usable ones have no interval" in said[-1]


def test_two_dimensions_on_the_page(tmp_path):
    simulate = {"fixed": {"Intercept": 1, "x": 0.5}, "sd": {"Intercept": 1, "x": 1}, "sigma": 2}
    study = {"formula": "y ~ x + (x | group)", "simulate": simulate, "search": EXACT["search"]}
    both = {"groups": [5, 120], "rows_per_group": [3, 40]}
    cost = "50 * groups + 2 * rows"
    found = run(
        study,
        vary=["groups", "rows_per_group"],
        between=both,
        cost=cost,
        measure="rmse",
        target=0.25,
        at_most=3000,
    )
    searched = read("s", {"formula": study["formula"]}, artifacts(tmp_path, found))
    own = searched.scenarios[0]
    least = min(own["frontier"], key=lambda row: row["cost"])
    assert (least["groups"], least["rows_per_group"]) == (own["groups"], own["rows_per_group"])
    assert own["cost"] == 50 * own["groups"] + 2 * own["groups"] * own["rows_per_group"]
    said = text.answers(searched)[0].replace("\xa0", " ")
    assert "are the cheapest design with an RMSE of at most 0.25 for the fixed effect of x by" in said
    assert f"(cost {own['cost']:g}; " in said
    assert list(draw("s", {}, artifacts(tmp_path, found)).figures) == ["curve", "cost"]
    tables = [table.key for part in page.sections(searched, {}) for table in part["tables"]]
    assert tables == ["search", "frontier"]
