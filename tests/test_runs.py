"""Two runs held against each other: what is the same, what moved within its error, what changed."""

import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import made_replicates
from conftest import ROOT
from lmm.core.errors import StudyError
from lmm.core.store import read_json, read_table, write_json, write_table
from lmm.recovery import performance
from lmm.report import runs as runs_page
from lmm.results import runs
from test_report import Text

ERROR = 0.01  # mcse_mean of the tiny run's posterior means


def tiny(folder, study="tea"):
    """A folder of results of one small study, written by hand."""
    base = folder / study
    terms = ["Intercept", "sd__Intercept", "sd__Observation"]
    effects = {"effect": ["fixed", "ran_pars", "ran_pars"], "group": ["", "g", "Residual"], "term": terms}
    for engine in ("reml", "pymc"):
        table = pd.DataFrame(effects).assign(
            engine=engine, estimate=[3.0, 2.0, 1.0], std_error=0.1, conf_low=0.5, conf_high=4.0
        )
        levels = pd.DataFrame(
            {
                "group": "g",
                "level": ["1", "2"],
                "term": "Intercept",
                "estimate": [0.5, 1e-9],
                "std_error": 0.2,
            }
        )
        if engine == "pymc":
            table["mcse_mean"] = levels["mcse_mean"] = ERROR
        write_table(base / engine / "parameters.csv", table)
        write_table(base / engine / "ranef.parquet", levels)
        found = {"status": "ok", "criterion": 12.5 if engine == "reml" else None, "versions": {engine: "1.0"}}
        write_json(base / engine / "diagnostics.json", found)
    columns = {"y": {"type": "numeric", "mean": 3.1}}
    data = {"rows": 20, "groups": 2, "group": "g", "response": "y", "columns": columns}
    write_json(base / "data/data.json", data)
    provenance = {
        "rendered": "2026-01-01",
        "revision": "abc",
        "system": "Linux",
        "versions": {"numpy": "2.5"},
    }
    configuration = {study: {"formula": "y ~ 1 + (1 | g)", "engines": {"pymc": {"seed": 1}}}}
    summary = {"studies": {study: {}}, "provenance": provenance, "configuration": configuration}
    write_json(folder / "summary.json", summary)
    return folder


@pytest.fixture
def pair(tmp_path):
    return tiny(tmp_path / "a"), tiny(tmp_path / "b")


def move(folder, engine, by, table="parameters.csv", column="estimate", row=0):
    """Add to one number of a table."""
    path = folder / "tea" / engine / table
    frame = read_table(path)
    frame.loc[row, column] += by
    write_table(path, frame)


def verdicts(pair, **where):
    found = runs.numbers(*map(runs.read, pair))
    for key, value in where.items():
        found = found[found[key] == value]
    return dict(zip(found["item"] + " " + found["number"], found["verdict"], strict=True))


def test_a_copy_is_identical(pair):
    found = verdicts(pair)
    # reml: 4 numbers of 3 parameters, 2 of 2 random effects; pymc: means only
    assert len(runs.numbers(*map(runs.read, pair))) == 12 + 4 + 3 + 2
    assert set(found.values()) == {"identical"}
    page = Text(runs_page.compare(*pair)).text
    assert "None of 21 numbers changed beyond error. Configuration and versions are the same." in page
    assert "none changed beyond error" in page
    assert "Both runs had the same configuration" in page
    assert "Both runs were made by the same revision with the same packages." in page


@pytest.mark.parametrize(
    ("engine", "by", "verdict"),
    [
        # of 3.0: the limit is 1e-8 x 3
        ("reml", 2.9e-8, "same"),
        ("reml", 3.1e-8, "changed"),
        # sqrt(2) x 0.01 x 4 = 0.0566
        ("pymc", 0.056, "same"),
        ("pymc", 0.057, "changed"),
        ("pymc", -0.057, "changed"),
    ],
)
def test_a_change_is_more_than_the_error(pair, engine, by, verdict):
    move(pair[1], engine, by)
    found = verdicts(pair, engine=engine, table="parameters")
    assert found.pop("Intercept estimate") == verdict
    assert set(found.values()) == {"identical"}
    named = {"reml": "reml", "pymc": "PyMC"}[engine]
    said = (
        f"1 of 21 numbers changed beyond error ({named} in tea)."
        if verdict == "changed"
        else "None of 21 numbers"
    )
    assert said in Text(runs_page.compare(*pair)).text


def test_the_answer_names_what_changed_most_and_what_may_be_the_cause(pair):
    move(pair[1], "reml", 1.0)
    move(pair[1], "reml", 1.0, row=1)
    move(pair[1], "pymc", 1.0)
    told = read_json(pair[1] / "summary.json")
    told["configuration"]["tea"]["engines"]["pymc"]["seed"] = 2
    told["provenance"]["versions"]["numpy"] = "2.6"
    write_json(pair[1] / "summary.json", told)
    ended = read_json(pair[1] / "tea/reml/diagnostics.json")
    write_json(pair[1] / "tea/reml/diagnostics.json", ended | {"status": "singular"})
    expected = (
        "3 of 21 numbers changed beyond error (most of them reml in tea); 1 fit changed status. "
        "1 setting and 1 version differ."
    )
    assert expected in Text(runs_page.compare(*pair)).text


def test_a_number_near_zero_is_measured_by_the_residual_sd(pair):
    # 1e-9 has no eight digits: the limit is 1e-8 x 0.001 x sigma = 1e-11
    move(pair[1], "reml", 0.9e-11, "ranef.parquet", row=1)
    assert verdicts(pair, engine="reml", table="ranef")["2 Intercept estimate"] == "same"
    move(pair[1], "reml", 0.3e-11, "ranef.parquet", row=1)
    assert verdicts(pair, engine="reml", table="ranef")["2 Intercept estimate"] == "changed"


def test_intervals_count_where_nothing_is_sampled(pair):
    for engine in ("reml", "pymc"):
        move(pair[1], engine, 0.001, column="conf_low")
    found = runs.numbers(*map(runs.read, pair))
    assert found.loc[found["verdict"] == "changed", ["engine", "item", "number"]].to_numpy().tolist() == [
        ["reml", "Intercept", "conf_low"]
    ]


def test_a_number_that_became_empty_has_changed(pair):
    move(pair[1], "reml", np.nan, column="std_error", row=1)
    assert verdicts(pair, engine="reml", table="parameters")["sd__Intercept std_error"] == "changed"


def test_what_is_in_one_run_only_is_said(pair):
    shutil.rmtree(pair[1] / "tea/pymc")
    path = pair[0] / "tea/reml/parameters.csv"
    write_table(path, read_table(path).iloc[:2])
    found = verdicts(pair, table="parameters")
    assert found["sd__Observation estimate"] in ("only in B", "only in A")
    assert set(verdicts(pair, engine="pymc").values()) == {"only in A"}
    text = Text(runs_page.compare(*pair)).text
    assert "1 fit changed status from A to B." in text
    assert "tea, PyMC: ok → not there" in text


def test_settings_versions_and_data_that_differ_are_listed_and_no_others(pair):
    path = pair[1] / "summary.json"
    summary = read_json(path)
    summary["configuration"]["tea"]["engines"]["pymc"]["seed"] = 2
    summary["provenance"]["revision"] = "def+"
    write_json(path, summary)
    path = pair[1] / "tea/data/data.json"
    write_json(path, read_json(path) | {"rows": 21})
    path = pair[1] / "tea/pymc/diagnostics.json"
    write_json(path, read_json(path) | {"versions": {"pymc": "1.1"}, "status": "gate-failed"})
    a, b = map(runs.read, pair)
    assert runs.settings(a, b).to_numpy().tolist() == [
        ["studies.tea.engines.pymc.seed", "1", "2"],
        ["data of tea: rows", "20", "21"],
    ]
    assert runs.versions(a, b).to_numpy().tolist() == [
        ["revision of the project", "abc", "def+"],
        ["pymc", "1.0", "1.1"],
    ]
    text = Text(runs_page.compare(*pair)).text
    assert "studies.tea.engines.pymc.seed: 1 → 2" in text
    assert "tea, PyMC: ok → gate-failed" in text


def test_a_run_without_its_configuration_is_not_called_the_same(pair):
    path = pair[0] / "summary.json"
    write_json(path, {key: value for key, value in read_json(path).items() if key != "configuration"})
    assert "Run A did not record the configuration" in Text(runs_page.compare(*pair)).text


def test_recovery_studies_are_compared_by_their_monte_carlo_errors(pair, tmp_path):
    tables = [
        performance.performance(
            made_replicates.table(np.random.default_rng(seed), groups=(10,), rows=(5,), replicates=100)
        )
        for seed in (1, 2)
    ]
    for folder, table in zip(pair, tables, strict=True):
        write_table(folder / "tea/recovery/performance.csv", table)
    found = runs.numbers(*map(runs.read, pair))
    found = found[found["table"] == "performance"]
    assert len(found) == len(tables[0])
    # other replicates of the same design: nothing changed but by chance, 1 in 16,000
    judged = found[found["verdict"].isin(["same", "changed"]) & (found["limit"] > 1e-6)]
    assert len(judged) > 100
    assert (judged["verdict"] == "same").mean() > 0.97
    broken = tables[1].copy()
    broken.loc[broken["measure"] == "coverage", "estimate"] -= 0.4
    write_table(pair[1] / "tea/recovery/performance.csv", broken)
    found = runs.numbers(*map(runs.read, pair))
    coverage = found[found["item"].str.contains(" coverage") & found["a"].notna()]
    assert (
        coverage["verdict"] == "changed"
    ).all()  # 0.4 is at least 5.6 errors of a share of 100, sqrt(2) x 0.05


def test_the_page_fetches_nothing_and_its_ids_are_unique(pair):
    page = Text(runs_page.compare(*pair))
    assert [link for link in page.links if not link.startswith(("#", "data:,"))] == []
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert "more than 4 Monte Carlo standard errors" in page.text  # the rule stands on the page
    assert "more than 10⁻⁸ of the larger one" in page.text


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("nowhere", "no such folder, expected one of results, as a finished run leaves it"),
        ("", "has no summary.json, expected the results of a run that made its report"),
    ],
)
def test_a_folder_that_is_no_runs(tmp_path, folder, said):
    with pytest.raises(StudyError, match=said) as caught:
        runs.read(tmp_path / folder)
    assert caught.value.where == str(tmp_path / folder)


def test_make_compare(pair, tmp_path):
    script = ROOT / "workflow/scripts/compare_runs.py"
    run = subprocess.run(
        [sys.executable, script, *map(str, pair), "--out", tmp_path / "c.html"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "The comparison: " in run.stdout
    assert "What changed between two runs?" in (tmp_path / "c.html").read_text()
    run = subprocess.run(["make", "-s", "-o", ".venv/stamp", "compare", f"A={pair[0]}"],
                         cwd=ROOT, capture_output=True, text=True)  # fmt: skip
    assert run.returncode != 0
    assert "compare: expected two folders: make compare A=old/results B=results" in run.stderr
    assert "Traceback" not in run.stderr
