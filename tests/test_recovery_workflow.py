"""Studies with replicates, run by the real Snakemake: resumed, grown, replayed, refused."""

import json
import os
import runpy
import subprocess
import sys
from copy import deepcopy

import pandas as pd
import pytest

import snakemake_report
from conftest import ROOT, Project, copy_project
from lmm.core.errors import StudyError
from planning import plan

STUDY = {
    "formula": "y ~ x + (x | group)",
    "simulate": {"groups": [6, 8], "rows_per_group": 5, "seed": 2, "sd": {"Intercept": 2, "x": 1}},
    "replicates": 4,
    "replicates_per_job": 2,
    "engines": {"ols": {}, "reml": {}},
}
ALL = {"all", "report_of_all_studies", "replicated_report"}


def changed(**keys):
    return {"grid": deepcopy(STUDY) | keys}


def replicates(project, study="grid"):
    return pd.read_parquet(project.root / f"results/{study}/recovery/replicates.parquet")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project whose study with replicates was run from nothing; tests leave it finished."""
    project = copy_project(tmp_path_factory.mktemp("recovery"))
    project.configure(changed())
    run = project.snakemake("--cores", "2")
    assert run.returncode == 0, run.stdout + run.stderr
    return project


def test_a_run_makes_the_tables_and_the_report(finished):
    results = finished.root / "results"
    for name in ("replicates.parquet", "performance.csv", "failures.csv", "diagnostics.json"):
        assert (results / "grid/recovery" / name).is_file()
    frozen = json.loads((results / "grid/recovery/plan.json").read_text())
    assert frozen["chunks_before"] == 0, "the plan is there before any replicate"
    assert frozen["plan"]["replicates"] == {"each": 4} and (results / "grid/recovery/plan.html").is_file()
    assert json.loads((results / "summary.json").read_text())["studies"]["grid"]["plan"]["deviations"] == []
    assert not (results / "grid/recovery/calibration.csv").exists()
    assert not (results / "grid/data").exists(), "the stages of a single study are not run"
    assert list((results / "grid/figures").glob("*.svg"))
    assert "<html" in (results / "report.html").read_text()[:2000]
    assert "grid" in json.loads((results / "summary.json").read_text())["studies"]
    table = replicates(finished)
    assert sorted(table["replicate"].unique()) == [0, 1, 2, 3]
    assert table["design"].nunique() == 2
    assert set(table["engine"]) == {"ols", "reml"}


def test_a_second_run_does_nothing(finished):
    run = finished.snakemake("--cores", "2")
    assert run.returncode == 0
    assert "Nothing to be done" in run.stdout + run.stderr


def test_snakemakes_own_report_has_figures_categories_labels_and_captions(finished):
    name = "snakemake-report.html"
    run = finished.snakemake("--report", f"results/{name}")
    assert run.returncode == 0, run.stdout + run.stderr
    found = snakemake_report.read(finished.root / "results" / name)
    drawn = {path.stem for path in (finished.root / "results/grid/figures").glob("*.svg")}
    assert drawn
    assert {item["labels"]["figure"] for item in found if item["category"] == "grid"} == drawn
    assert [item["labels"]["figure"] for item in found if item["category"] == "Report"] == ["report"]
    captions = [item["caption"] for item in found if item["category"] == "grid"]
    assert all("up to\n4 replicates of each design" in caption for caption in captions), captions


def test_more_replicates_compute_only_the_new_ones(finished):
    finished.configure(changed(replicates=6), "config/more.yaml")
    planned = finished.planned("--configfile", "config/more.yaml")
    assert planned["replicates"] == 1 and "plan" not in planned, "the first plan is kept"
    finished.configure(changed(replicates_per_job=3), "config/other.yaml")
    assert "replicates" not in finished.planned("--configfile", "config/other.yaml")
    wider = deepcopy(STUDY["simulate"]) | {"groups": [6, 7, 8]}
    finished.configure(changed(simulate=wider), "config/wider.yaml")
    assert finished.planned("--configfile", "config/wider.yaml")["replicates"] == 2


def test_a_setting_of_the_fits_computes_all_again(finished):
    finished.configure(changed(conf_level=0.9), "config/level.yaml")
    planned = finished.planned("--configfile", "config/level.yaml")
    assert planned["replicates"] == 2 and "plan" not in planned


def test_a_killed_run_goes_on_with_the_chunks_that_it_lacks(finished):
    recovery = finished.root / "results/grid/recovery"
    # a killed run has no report either: Snakemake makes nothing again that nothing needs
    lost = [*recovery.glob("chunks/*/2-4.parquet"), recovery / "replicates.parquet"]
    lost += [finished.root / f"results/{place}report.html" for place in ("", "grid/")]
    kept = [(path, path.read_bytes(), path.stat()) for path in lost]
    for path in lost:
        path.unlink()
    try:
        assert finished.planned().items() >= {"replicates": 1, "recovery": 1}.items()
    finally:
        for path, content, stat in kept:
            path.write_bytes(content)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_other_cores_and_chunks_give_the_same_bits(finished, tmp_path):
    project = copy_project(tmp_path)
    project.configure(changed(replicates_per_job="auto"))
    run = project.snakemake("--cores", "1", "results/grid/recovery/replicates.parquet")
    assert run.returncode == 0, run.stdout + run.stderr
    for table in ("replicates.parquet", "performance.csv", "failures.csv"):
        one, other = (root / "results/grid/recovery" / table for root in (project.root, finished.root))
        assert one.read_bytes() == other.read_bytes(), table


def test_failed_replicates_are_an_error_only_where_a_study_says_so(finished):
    path = finished.root / "results/grid/recovery/failures.csv"
    content, stat = path.read_bytes(), path.stat()
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    reml = table.index[(table["engine"] == "reml") & (table["design"] == table["design"].iloc[-1])]
    table.loc[reml, "status"] = "non-converged"
    table.to_csv(path, index=False)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    finished.configure(changed(on_failed_gate="error"), "config/strict.yaml")
    try:
        lax = finished.snakemake("--cores", "1", "--forcerun", "report")
        run = finished.snakemake("--cores", "1", "--configfile", "config/strict.yaml")
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    said = f"reml failed in 4 of 4 replicates of design {table['design'].iloc[-1]} (4 non-converged)"
    assert lax.returncode == 0
    assert f"grid replicates: {said}" in lax.stdout + lax.stderr
    assert run.returncode != 0
    lines = [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("studies.")]
    assert set(lines) == {  # shown again with the job's log
        f"studies.grid.replicates: {said}; all of them are in results/grid/recovery/failures.csv; "
        "on_failed_gate is 'error'"
    }
    assert (finished.root / "results/report.html").exists()
    passed = finished.snakemake("--cores", "1", "--configfile", "config/strict.yaml", "--forcerun", "verdict")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert (finished.root / "results/verdict.txt").read_text() == "every fit passed\n"


def replay(project, *arguments):
    command = [sys.executable, "workflow/scripts/replay.py", *arguments]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, timeout=600)


def test_a_replay_has_the_replicates_bits_and_the_whole_report(finished):
    study = changed(replicates=1, replicates_per_job=1)
    study["grid"]["simulate"]["groups"] = 6
    finished.configure({"sampled": study["grid"]}, "config/sampled.yaml")
    target = "results/sampled/recovery/replicates.parquet"
    run = finished.snakemake(target, "--cores", "2", "--configfile", "config/sampled.yaml")
    assert run.returncode == 0, run.stdout + run.stderr
    again = replay(finished, "sampled", "0", "--config", "config/sampled.yaml")
    assert again.returncode == 0, again.stdout + again.stderr
    table = replicates(finished, "sampled")
    (place,) = (finished.root / "results/replays").glob("sampled-*-0")
    assert (place / "results/report.html").is_file()
    for engine in ("ols", "reml"):
        fit = pd.read_csv(place / f"results/sampled/{engine}/parameters.csv").set_index("term")
        mine = table[table["engine"] == engine].query("effect in ('fixed', 'ran_pars')").set_index("term")
        columns = ["truth", "estimate", "std_error", "conf_low", "conf_high"]
        pd.testing.assert_frame_equal(fit[columns], mine[columns], check_exact=True)


def test_a_replay_of_own_data_has_the_replicates_fits_and_the_whole_report(finished):
    """Drawn as moments: the replay's rows have these to rounding."""
    study = {
        "formula": "log(Reaction) ~ Days + (Days | Subject)",
        "data": "config/data/sleepstudy.csv",
        "replicates": 2,
        "engines": {"reml": {"formula": "log(Reaction) ~ Days + (Days || Subject)"}},
    }
    finished.configure({"own": study}, "config/own.yaml")
    target = "results/own/recovery/replicates.parquet"
    run = finished.snakemake(target, "--cores", "2", "--configfile", "config/own.yaml")
    assert run.returncode == 0, run.stdout + run.stderr
    again = replay(finished, "own", "1", "--config", "config/own.yaml")
    assert again.returncode == 0, again.stdout + again.stderr
    (place,) = (finished.root / "results/replays").glob("own-*-1")
    assert "were simulated" in (place / "results/report.html").read_text()
    table = replicates(finished, "own").query("replicate == 1 and effect in ('fixed', 'ran_pars')")
    fit = pd.read_csv(place / "results/own/reml/parameters.csv").set_index("term")
    columns = ["truth", "estimate", "std_error", "conf_low", "conf_high"]
    # Moments agree to 1e-12 and optima to 1e-10.
    pd.testing.assert_frame_equal(
        fit[columns], table.set_index("term")[columns], rtol=1e-8, atol=1e-10, check_exact=False
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            [],
            "replay: STUDY= REPLICATE=: expected a study and a replicate: make replay STUDY=design REPLICATE=17 ",
        ),
        (["", ""], "replay: STUDY= REPLICATE=: expected a study and a replicate: "),
        (["grid", "first"], "replay: STUDY=grid REPLICATE=first: expected a study and a replicate: "),
        (["grid", "4", "--design", "x"], "studies.grid.replicates: no replicate 4; expected 0 to 3"),
        (["grid", "-1"], "studies.grid.replicates: no replicate -1; expected 0 to 3"),
        (["grid", "0", "--design", "x"], "studies.grid.designs: no design 'x'; expected one of "),
        (["grid", "0"], "studies.grid.designs: no design named; expected one of "),
        (["gird", "0"], "studies: no study 'gird'; expected one of grid"),
    ],
)
def test_a_replay_of_what_does_not_exist_says_so_before_any_job(
    tmp_path, monkeypatch, capsys, arguments, line
):
    (tmp_path / "config").mkdir()
    Project(tmp_path).configure(changed())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["replay.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "workflow/scripts/replay.py"), run_name="__main__")
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("keys", "begins"),
    [
        ({"replicates": 0}, "studies.grid.replicates:"),
        ({"replicates": -5}, "studies.grid.replicates:"),
        ({"replicates_per_job": 0}, "studies.grid.replicates_per_job:"),
        ({"simulate": {"rows": 5, "groups": 10}}, "studies.grid.simulate.groups:"),
        ({"simulate": {"groups": [10, 1]}}, "studies.grid.simulate.groups:"),
        ({"formula": "y ~ x + (1 | group)", "simulate": {"corr": [0, 0.5]}}, "studies.grid.simulate.corr:"),
        (
            {"calibration": True, "engines": {"pymc": {"priors": {"fixed": "flat"}}}},
            "studies.grid.engines.pymc",
        ),
        ({"bootstrap": "reml"}, "studies.grid.bootstrap:"),
        ({"simulate_from": "moments", "engines": {"mixedlm": {}}}, "studies.grid.simulate_from:"),
        ({"engines": {"pymc": {"model": "full"}}}, "studies.grid.engines.pymc.model:"),
    ],
)
def test_what_cannot_be_replicated_has_no_plan(tmp_path, keys, begins):
    with pytest.raises(StudyError) as raised:
        plan.make({"studies": changed(**keys)}, tmp_path)
    assert str(raised.value).startswith(begins)
