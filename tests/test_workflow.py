"""The workflow, run by the real Snakemake on a tiny study in a copy of the project."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import pytest

import snakemake_report
from conftest import ROOT, TINY, Project, copy_project
from lmm.core.engines import ENGINES
from lmm.core.errors import StudyError
from planning import plan, wiring

LIBRARY = ROOT / "workflow/scripts"
SCRIPTS = sorted(path.stem for path in LIBRARY.glob("*_*.py"))
# Targets, which run nothing, and a study's own page, which is made again wherever the page of all studies is.
ALL = {"all", "report_of_all_studies", "study_report"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project whose tiny study was run from nothing; tests leave it finished."""
    project = copy_project(tmp_path_factory.mktemp("finished"))
    project.configure({"tiny": TINY})
    run = project.snakemake("--cores", "2")
    assert run.returncode == 0, run.stdout + run.stderr
    return project


def test_a_run_makes_every_artifact(finished):
    results = finished.root / "results"
    expected = {
        "data": ["data.parquet", "data.json", "truth.json"],
        "moments": ["moments.parquet", "moments.json", "design.json"],
        "ols": ["parameters.csv", "diagnostics.json"],
        "mixedlm": ["parameters.csv", "ranef.parquet", "coef.parquet", "diagnostics.json"],
        "reml": [
            "parameters.csv",
            "ranef.parquet",
            "diagnostics.json",
            "influence.parquet",
            "influence.json",
        ],
        "pymc": [
            *("parameters.csv", "ranef.parquet", "diagnostics.json", "posterior.nc", "criticism.json"),
            *("loo.parquet", "predictive.csv", "replicates.parquet", "sensitivity.csv"),
        ],
        "predictions": ["predictions.parquet", "predictions.json"],
        "comparison": ["variance_recovery.csv", "variance_explained.csv", "ranef_differences.csv"],
    }
    wanted = [results / "tiny" / folder / name for folder, names in expected.items() for name in names]
    missing = [path for path in wanted if not path.is_file()]
    assert not missing
    assert list((results / "tiny/figures").glob("*.svg"))
    assert json.loads((results / "summary.json").read_text())
    assert "<html" in (results / "report.html").read_text()[:2000]
    assert (results / "tiny/report.html").read_bytes() == (results / "report.html").read_bytes()
    hidden = [path for path in results.rglob(".*") if path.name != ".snakemake_timestamp"]
    assert not hidden, "temporary files were left behind"


@pytest.mark.parametrize(("folder", "least"), [("ols", 1), ("", 16)])
def test_tables_are_the_same_bytes_in_another_environment(finished, tmp_path, monkeypatch, folder, least):
    """Another locale, time zone, hash seed and umask, one core, and interpreters as users start them."""
    project = copy_project(tmp_path)
    project.configure({"tiny": TINY})
    environment = {"LC_ALL": "de_DE.UTF-8", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "7"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = [
        path.relative_to(finished.root)
        for suffix in ("csv", "parquet")
        for path in (finished.root / "results/tiny" / folder).rglob(f"*.{suffix}")
    ]
    assert len(found) >= least, "the check would notice nothing"
    before = os.umask(0o077)
    try:
        # a study's tables for papers are one output, the folder
        wanted = {path.parent if path.parent.name == "tables" else path for path in found}
        run = project.snakemake("--cores", "1", *map(str, sorted(wanted)), cold=True)
    finally:
        os.umask(before)
    assert run.returncode == 0, run.stdout + run.stderr
    differ = [
        path for path in found if (project.root / path).read_bytes() != (finished.root / path).read_bytes()
    ]
    assert not differ


def test_a_second_run_does_nothing_and_says_so(finished):
    run = finished.snakemake("--cores", "2")
    assert run.returncode == 0
    assert "Nothing to be done" in run.stdout + run.stderr
    assert "made anew" not in run.stdout + run.stderr, "an artifact of ours was taken for a half one"


def test_pages_are_made_again_from_what_is_there_and_an_unfinished_study_is_left_out(finished, monkeypatch):
    monkeypatch.setenv("LMM_RECOVERY_RENDER", "made")
    finished.configure({"tiny": deepcopy(TINY), "other": deepcopy(TINY)}, "config/two.yaml")
    rules = ("study_report", "report")
    options = ("--configfile", "config/two.yaml", "--allowed-rules", *rules, "all", "report_of_all_studies")
    assert finished.planned(*options, "--forcerun", *rules) == {
        "study_report": 1, "report": 1, "report_of_all_studies": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "module, rerun",
    [
        ("lmm/engines/mixedlm.py", {"mixedlm", "predictions", "comparison", "effects", "figures", "report"}),
        (
            "lmm/engines/reml.py",
            {"reml", "mixedlm", "predictions", "comparison", "effects", "figures", "report"},
        ),
        (
            "lmm/engines/pymc/fit.py",
            {"pymc", "criticism", "predictions", "comparison", "effects", "figures", "report"},
        ),
        ("lmm/engines/pymc/loo.py", {"criticism", "figures", "report"}),
        ("lmm/report/report.py", {"report"}),
    ],
)
def test_an_edited_module_reruns_what_depends_on_it_and_nothing_else(finished, module, rerun):
    path = finished.root / "workflow/scripts" / module
    content, stat = path.read_bytes(), path.stat()
    path.write_bytes(content + b"\n# edited\n")
    try:
        assert finished.planned().keys() - ALL == rerun
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_touched_module_reruns_nothing(finished):
    (finished.root / "workflow/scripts/lmm/core/store.py").touch()
    assert not finished.planned()


def test_settings_rerun_the_stages_that_use_them_and_nothing_else(finished):
    study = deepcopy(TINY)
    study["engines"]["pymc"]["seed"] = 2
    finished.configure({"tiny": study}, "config/reseeded.yaml")
    assert finished.planned("--configfile", "config/reseeded.yaml").keys() - ALL == {
        "pymc", "criticism", "predictions", "comparison", "effects", "figures", "report",
    }  # fmt: skip


def test_only_the_configured_engines_run(finished):
    study = deepcopy(TINY) | {"engines": {"ols": {}, "reml": {}}}
    finished.configure({"small": study}, "config/small.yaml")
    planned = finished.planned("--configfile", "config/small.yaml")
    assert planned.keys() - ALL == {
        "simulate", "moments", "ols", "reml", "influence", "predictions", "comparison", "effect_functions", "effects",
        "figures", "report",
    }  # fmt: skip


def test_another_configfile_replaces_the_default_studies(finished):
    finished.configure({"other": TINY}, "config/other.yaml")
    run = finished.snakemake("--summary", "--configfile", "config/other.yaml")
    assert run.returncode == 0
    assert "results/other/" in run.stdout
    assert "results/tiny/" not in run.stdout


def test_own_data_has_no_truth(project):
    shutil.copy(ROOT / "config/data/sleepstudy.csv", project.root / "config/data/sleepstudy.csv")
    study = {"formula": "Reaction ~ Days + (Days | Subject)", "data": "config/data/sleepstudy.csv"}
    project.configure({"sleep": study})
    run = project.snakemake("--summary")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "results/sleep/data/data.json" in run.stdout
    assert "truth.json" not in run.stdout
    planned = project.planned()
    assert "ingest" in planned
    assert "simulate" not in planned


def broken(**changes) -> dict:
    study = deepcopy(TINY)
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = study
        for key in parents:
            at = at[key]
        at[last] = value
    return study


@pytest.mark.parametrize(
    "study, begins",
    [
        (broken(simulate__groups=0), "studies.tiny.simulate.groups:"),
        (broken(simulate__sd={"Intercept": -1, "x": 1}), "studies.tiny.simulate.sd"),
        (broken(simulate__corr=1.5), "studies.tiny.simulate.corr"),
        (broken(simulate__rows="many"), "studies.tiny.simulate.rows:"),
        (broken(simulate__rows=12, simulate__groups=100), "studies.tiny."),
        (broken(formula="y ~ x + (x |"), "studies.tiny.formula:"),
        (broken(formula="y ~ z + (z | group)"), "studies.tiny."),
        (broken(engines={"stan": {}}), "studies.tiny.engines"),
        (broken(engnes={}), "studies.tiny.engnes:"),
        ({"formula": "y ~ x + (x | g)", "data": "nowhere.csv"}, "studies.tiny.data:"),
    ],
)
def test_a_bad_configuration_has_no_plan(tmp_path, study, begins):
    with pytest.raises(StudyError) as raised:
        plan.make({"studies": {"tiny": study}}, tmp_path)
    assert str(raised.value).startswith(begins)


def test_a_bad_configuration_stops_before_any_job_with_one_line(project):
    begins = "studies.tiny.simulate.groups:"
    project.configure({"tiny": broken(simulate__groups=0)})
    run = project.snakemake("--cores", "1")
    said = run.stdout + run.stderr
    assert run.returncode != 0
    assert [line for line in said.splitlines() if line.startswith(begins)], said
    assert "Traceback" not in said
    assert not list((project.root / "results").iterdir())


def test_bad_data_stop_before_any_fit_with_one_line(project):
    rows = "".join(f"{k},{'oops' if k == 7 else k * k},{'ab'[k % 2]}\n" for k in range(20))
    (project.root / "bad.csv").write_text("x,y,g\n" + rows)
    project.configure({"tiny": {"formula": "y ~ x + (x | g)", "data": "bad.csv"}})
    run = project.snakemake("--cores", "1")
    said = run.stdout + run.stderr
    assert run.returncode != 0
    assert [line for line in said.splitlines() if line.startswith("studies.tiny.") and "oops" in line], said
    assert "Traceback" not in said
    assert not list((project.root / "results").rglob("*.parquet"))


MODULE = """
module recovery:
    snakefile: "{snakefile}"
    config: config
    prefix: "mixed"

use rule * from recovery as lmm_*

rule mine:
    default_target: True
    input: "mixed/results/tiny/reml/parameters.csv"
    output: "mine.csv"
    shell: "cp {{input}} {{output}}"
"""


def test_the_workflow_is_a_module_of_another_one(finished, tmp_path):
    snakefile = finished.root / "workflow/Snakefile"
    (tmp_path / "Snakefile").write_text(MODULE.format(snakefile=snakefile))
    other = Project(tmp_path)
    options = ("--cores", "2", "--configfile", str(finished.root / "config/config.yaml"))
    run = other.snakemake(*options)
    assert run.returncode == 0, run.stdout + run.stderr
    mine, original = tmp_path / "mine.csv", finished.root / "results/tiny/reml/parameters.csv"
    assert mine.read_bytes() == original.read_bytes()


def test_after_a_kill_the_next_run_completes_with_the_same_tables(finished):
    finished.configure({"killed": TINY}, "config/killed.yaml")
    target = "results/killed/mixedlm/parameters.csv"
    options = (target, "--configfile", "config/killed.yaml", "--cores", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *options],
        cwd=finished.root, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(300):
        if (finished.root / "results/killed/data/truth.json").exists():
            break
        time.sleep(0.1)
    # Snakemake and its job at once, somewhere in the first jobs
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (finished.root / target).exists()
    finished.snakemake("--unlock", "--configfile", "config/killed.yaml")
    run = finished.snakemake(*options)
    assert run.returncode == 0, run.stdout + run.stderr
    for name in ("data/data.parquet", "data/truth.json", "reml/parameters.csv", "mixedlm/parameters.csv"):
        again = finished.root / "results/killed" / name
        assert again.read_bytes() == (finished.root / "results/tiny" / name).read_bytes(), name


def test_a_failed_gate_is_an_error_only_where_a_study_says_so(finished):
    path = finished.root / "results/tiny/pymc/diagnostics.json"
    content, stat = path.read_bytes(), path.stat()
    fit = json.loads(content)
    gates = [{"name": "rhat_max", "value": 1.02, "limit": 1.01, "passed": False}]
    path.write_text(json.dumps(fit | {"status": "gate-failed", "gates": gates}) + "\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    finished.configure({"tiny": deepcopy(TINY) | {"on_failed_gate": "error"}}, "config/strict.yaml")
    try:
        run = finished.snakemake("--cores", "1", "--configfile", "config/strict.yaml")
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    said = run.stdout + run.stderr
    assert run.returncode != 0
    line = next(line for line in said.splitlines() if line.startswith("studies.tiny.engines.pymc:"))
    assert "rhat_max 1.02 (limit 1.01)" in line
    assert (finished.root / "results/report.html").exists()


def test_snakemakes_own_report_has_figures_categories_labels_and_captions(finished):
    run = finished.snakemake("--report", "results/snakemake-report.zip")
    assert run.returncode == 0, run.stdout + run.stderr
    found = snakemake_report.read(finished.root / "results/snakemake-report.zip")
    drawn = {path.stem for path in (finished.root / "results/tiny/figures").glob("*.svg")}
    assert "caterpillar" in drawn
    assert {item["labels"]["figure"] for item in found if item["category"] == "tiny"} == drawn
    assert [item["labels"]["figure"] for item in found if item["category"] == "Report"] == ["report"]
    assert all("y ~ x + (x | group)" in item["caption"] for item in found if item["category"] == "tiny")


def imports(path: Path) -> set[Path]:
    """Files of the library that a file imports, by Python's own grammar."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lmm":
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "lmm"]
        for name in names:
            place = LIBRARY / name.replace(".", "/")
            found |= {file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()}
    packages = {folder for file in found for folder in file.parents if LIBRARY in folder.parents}
    return found | {folder / "__init__.py" for folder in packages}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_rule_names_every_module_that_its_script_imports(script):
    seen, todo = set(), {LIBRARY / f"{script}.py"}
    while todo:
        file = todo.pop()
        seen.add(file)
        todo |= imports(file) - seen
    expected = {str(file.relative_to(LIBRARY)) for file in seen if file.parent != LIBRARY}
    assert set(wiring.modules(script)) == expected


def test_every_rule_with_a_script_takes_that_scripts_modules():
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^ *rule\b", file.read_text(), flags=re.M)[1:]:
            script = re.search(r"scripts/(\w+)\.py", rule)
            if script and wiring.modules(script.group(1)):
                # the engines' modules are loaded by name, beside the script's
                named = (
                    f'lib=lib("{script.group(1)}"' in rule or "lib=fitting" in rule or "lib=searching" in rule
                )
                assert named, f"{file.name}: {script.group(1)}"


def test_rules_of_engines_take_the_modules_that_are_loaded_by_name():
    engines = {engine.module: wiring.modules("fit_engine", engine.module) for engine in ENGINES.values()}
    for module, files in engines.items():
        assert f"{module.replace('.', '/')}.py" in files


@pytest.mark.parametrize(
    "source, names",
    [
        ("from lmm import a, b as c", ["lmm.a", "lmm.b"]),
        ("    from lmm.x import (\n    a,  # why, and how\n    b,\n)", ["lmm.x.a", "lmm.x.b", "lmm.x."]),
        ("import lmm.x, lmm.y", ["lmm.x", "lmm.y"]),
        ("from lmmtools import a\nimport lmmtools, numpy", []),
    ],
)
def test_imports_are_found_in_source_text(source, names):
    assert list(wiring._named(source)) == names
