"""The plan of a study with replicates: what it says, that it is written once, and what the report makes of it."""

import copy
import json
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from math import sqrt

import numpy as np
import pandas as pd
import pytest

import made_replicates
from lmm.config.load import load
from lmm.core.store import read_json, write_table
from lmm.recovery.deviations import deviations, digest
from lmm.recovery.performance import failures, performance
from lmm.report import recovery
from lmm.report.tables import recovery as tables
from lmm.report.text import plan as text
from lmm.report.text import reporting
from lmm.results import replicated
from planning import plan as planning
from running import plans

STUDY = {
    "formula": "y ~ x + (x | group)",
    "title": "How many groups?",
    "simulate": {
        "seed": 3,
        "groups": [10, 30],
        "rows_per_group": [5, {"poisson": 8}],
        "sd": {"Intercept": 1, "x": 0.5},
        "random_effects": {"student": 5},
    },
    "replicates": 400,
    "engines": {"ols": {}, "reml": {}, "pymc": {"chains": 2, "seed": 9}},
}


def made(**changes):
    """The plan of the study with some keys changed, as a rule hands it on."""
    study = load({"studies": {"s": copy.deepcopy(STUDY) | changes}}).studies["s"]
    return json.loads(json.dumps(planning.study_plan(study)["recovery"]["plan"]))


def simulated(**changes):
    return {"simulate": STUDY["simulate"] | changes}


def test_a_plan_says_what_is_simulated_estimated_and_with_which_seeds():
    plan = made()
    designs = list(plan["data"]["designs"].values())
    assert {(own["groups"], own["rows_per_group"]) for own in designs} == {
        (10, 5), (30, 5), (10, "poisson(8)"), (30, "poisson(8)"),
    }  # fmt: skip
    for own in designs:  # what nothing is said of has its default there
        assert own["fixed"] == {"Intercept": 0, "x": 0} and own["sigma"] == 1
        assert own["random_effects"] == "student(5)" and own["errors"] == "normal"
        assert own["predictors"] == {"x": "normal(0, 1)"}
    assert plan["estimands"]["fixed"] == ["Intercept", "x"]
    assert plan["estimands"]["corr"] == {"group": ["Intercept.x"]}
    assert plan["seeds"] == {"data": 3, "generator": "numpy", "pymc": 9}
    assert plan["replicates"] == {"each": 400}


def test_the_measures_of_a_plan_are_those_that_are_computed():
    table = made_replicates.table(np.random.default_rng(1), replicates=20)
    assert set(made()["measures"]) == set(performance(table)["measure"])


def test_under_calibration_no_design_has_parameters():
    priors = {"fixed": "normal(0, 2)", "sd": "half_normal(1)", "sigma": "half_normal(1)", "corr": "lkj(2)"}
    simulate = {"groups": 20, "rows_per_group": 8}
    plan = made(calibration=True, simulate=simulate, engines={"pymc": {"priors": priors}})
    (own,) = plan["data"]["designs"].values()
    assert plan["data"]["parameters"] == "priors"
    assert not {"fixed", "sd", "corr", "sigma"} & set(own)
    assert "ranks of the true values" in plan["measures"]


@pytest.mark.parametrize(
    "changes",
    [{"replicates_per_job": 7}, {"labels": {"x": "dose"}}, {"on_failed_gate": "error"}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_changes_no_result_is_not_of_the_plan(changes):
    assert digest(made(**changes)) == digest(made())


@pytest.mark.parametrize(
    "changes, found",
    [
        ({"title": "Another"}, {("Aims", "title", "How many groups?", "Another")}),
        ({"aims": "To plan."}, {("Aims", "aims", "", "To plan.")}),
        ({"rationale": {"data": "A pilot."}}, {("Rationale", "data", "–", "A pilot.")}),
        ({"replicates": 1000}, {("Number of replicates", "each", "400", "1,000")}),
        (simulated(seed=4), {("Seeds", "data", "3", "4")}),
        ({"conf_level": 0.9}, {("Methods", "conf_level", "0.95", "0.9")}),
        (
            {"engines": STUDY["engines"] | {"pymc": {"chains": 4, "seed": 9}}},
            {("Methods", "engines.pymc.chains", "2", "4")},
        ),
        (
            simulated(groups=[10, 30, 50], rows_per_group=5),
            {
                ("Data-generating mechanisms", "a design", "groups 10, rows per group poisson(8)", "–"),
                ("Data-generating mechanisms", "a design", "groups 30, rows per group poisson(8)", "–"),
                ("Data-generating mechanisms", "a design", "–", "groups 50, rows per group 5"),
            },
        ),
    ],
)
def test_another_plan_is_listed_by_what_differs(changes, found, tmp_path):
    study = reported(tmp_path, made(**changes))
    assert set(reporting.changes(study)) == found
    assert digest(made(**changes)) != digest(made())
    said = reporting.departures(study)
    assert said.startswith(f"{len(found)} deviation") and digest(made(**changes)) in said
    shown = tables.deviations(study)
    assert {tuple(text for _, text in row) for row in shown.rows} == found


def test_the_same_plan_has_no_deviation(tmp_path):
    study = reported(tmp_path, made())
    assert deviations(made(), made()) == [] and tables.deviations(study) is None
    assert reporting.departures(study).startswith("None")


def test_a_plan_is_written_once(tmp_path):
    file, page = tmp_path / "plan.json", tmp_path / "plan.html"
    before = datetime.now(UTC) - timedelta(seconds=1)
    plans.freeze(made(), file, page)
    kept = file.read_bytes(), page.read_bytes()
    found = read_json(file)
    assert found["plan"] == made() and found["sha256"] == digest(made()) and found["chunks_before"] == 0
    assert before <= datetime.fromisoformat(found["written"]) <= datetime.now(UTC)
    plans.freeze(made(replicates=5), file, page)
    assert (file.read_bytes(), page.read_bytes()) == kept


def test_half_a_plan_is_written_anew_and_says_that_replicates_were_there(tmp_path):
    (tmp_path / "chunks/aa").mkdir(parents=True)
    (tmp_path / "chunks/aa/0-5.parquet").touch()
    (tmp_path / "plan.json").write_text('{"plan": {')
    plans.freeze(made(), tmp_path / "plan.json", tmp_path / "plan.html")
    assert read_json(tmp_path / "plan.json")["chunks_before"] == 1
    assert "when 1 file of replicates was there already" in (tmp_path / "plan.html").read_text()


def test_the_page_has_every_part_the_hash_and_what_the_author_did_not_say(tmp_path):
    plan = made(aims=["To plan.", "To <compare>."], rationale={"methods": "Both are used."})
    plans.freeze(plan, tmp_path / "plan.json", tmp_path / "plan.html")
    page = (tmp_path / "plan.html").read_text()
    headings = re.findall(r"<h2>(.+?)</h2>", page)
    assert headings[:8] == [part for part, _ in text.parts(plan)] and len(headings) == 9
    assert digest(plan) in page and "before the first replicate" in page
    assert "To plan." in page and "To &lt;compare&gt;." in page and "Reason: Both are used." in page
    assert "<code>rationale" not in page and "rationale.data" in page and "rationale.methods" not in page
    # four designs of two crossed factors
    assert "groups 10 and 30; rows per group 5 and poisson(8) (every combination of them)" in page
    assert "lmmDataTable=" not in page, "it has no tables to sort"


@pytest.mark.parametrize("count", [1, 475, 20_000])
def test_the_number_of_replicates_is_justified_by_its_monte_carlo_errors(count):
    said = " ".join(text.justified(made(replicates=count)))
    covers, share, bias = re.search(
        r"a coverage of 95 % is (\S+) percentage points, that of any share at most (\S+) percentage points, and that "
        r"of a bias (\S+) % of",
        said,
    ).groups()
    assert float(covers) == pytest.approx(100 * sqrt(0.95 * 0.05 / count), rel=0.05)  # two digits are shown
    assert float(share) == pytest.approx(50 / sqrt(count), rel=0.05)
    assert float(bias) == pytest.approx(100 / sqrt(count), abs=0.051)
    assert ("that of the empirical SE" in said) == (count > 1)


def test_a_plan_until_monte_carlo_errors_says_which():
    said = text.justified(made(replicates={"until": {"measure": "coverage", "mcse": 0.01}, "at_most": 5000}))
    assert "(coverage at most 0.01), at most 5,000" in said[0]


@cache
def measured(failed):
    table = made_replicates.table(np.random.default_rng(1), rows=(5,), replicates=60, failed=failed)
    return {"performance": performance(table), "failures": failures(table)}


def reported(root, now, failed=0.05):
    """A study with made replicates, whose frozen plan is that of the unchanged configuration."""
    found = {name: root / f"{name}.csv" for name in ("performance", "failures")} | {
        "plan": root / "plan.json"
    }
    for name, table in measured(failed).items():
        write_table(found[name], table)
    plans.freeze(made(), found["plan"], root / "plan.html")
    about = {"title": "A grid", "formula": STUDY["formula"], "conf_level": 0.95, "plan": now}
    return replicated.read("s", about, found)


def answers(study):
    return {item: (answer, source) for item, answer, source in reporting.items(study)}


def test_items_that_need_an_authors_words_say_so(tmp_path):
    silent = answers(reported(tmp_path, made()))
    assert [item for item, (_, source) in silent.items() if source == reporting.MISSING] == [
        "Aims", "Choice of mechanisms and values", "Choice of methods", "Choice of measures",
        "Interpretation, and what it does not say",
    ]  # fmt: skip
    spoken = answers(reported(tmp_path, made(aims="To plan.", rationale={"measures": "Coverage decides."})))
    assert spoken["Aims"] == ("To plan.", "author")
    assert spoken["Choice of measures"] == ("Coverage decides.", "author")
    assert spoken["Choice of methods"][1] == reporting.MISSING
    assert silent.keys() == spoken.keys()


def test_failures_are_stated_even_where_there_are_none(tmp_path):
    counts = measured(0.05)["failures"].groupby("status")["count"].sum()
    lost = counts.drop(["ok", "singular"]).sum()
    said = answers(reported(tmp_path, made()))["Failures: number"][0]
    assert said.startswith(f"{lost:,} of {counts.sum():,} fits") and lost > 0
    assert (
        f"{counts['gate-failed']} gate-failed" in said
        and f"{counts['singular']:,} fits were singular" in said
    )
    none = answers(reported(tmp_path, made(), failed=0.0))["Failures: number"][0]
    assert none.startswith(f"None of {counts.sum():,} fits failed.")


def test_the_errors_reached_are_the_largest_of_the_table(tmp_path):
    study = reported(tmp_path, made())
    rows = pd.read_csv(tmp_path / "performance.csv").query(
        "subset == 'usable' and effect in ('fixed', 'ran_pars')"
    )
    largest = rows.groupby("measure")["mcse"].max()
    said = reporting.reached(study).replace("\u00a0", " ")
    assert said == (
        f"Largest Monte Carlo standard errors: coverage {100 * largest['coverage']:.1f} %, power "
        f"{100 * largest['power']:.1f} % and relative bias {100 * largest['relative_bias']:.1f} %."
    )


def test_the_report_has_items_and_the_summary_has_the_hash(tmp_path):
    now = made(replicates=500)
    study = reported(tmp_path, now)
    aims = next(part for part in recovery.sections(study, {}) if part["key"] == "aims")
    assert [table.key for table in aims["tables"]] == ["reporting", "deviations"]
    found = recovery.headline(study)["plan"]
    assert found["sha256"] == digest(made()) and found["sha256_of_this_run"] == digest(now)
    assert found["deviations"] == [
        {"part": "Number of replicates", "what": "each", "planned": "400", "done": "500"}
    ]
    assert found["written"] in answers(study)["Plan written beforehand"][0].replace(" UTC", "Z").replace(
        " ", "T"
    )
