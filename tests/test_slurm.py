"""The workflow on a real Slurm: every job runs there, and gives the very bits that this machine gives."""

import os
import re
import subprocess
import sys
from copy import deepcopy

import pytest
import yaml

from cluster.runs import ALL_TABLES, ON_SLURM, Run, contents, copy, differences
from conftest import ROOT, TINY, Project, copy_project

STAGES = ("data", "moments", "ols", "reml", "mixedlm", "pymc", "comparison")
RECOVERY = "results/replicated/recovery/performance.csv"
REPLICATED = {
    "formula": "y ~ x + (x | group)",
    "simulate": deepcopy(TINY["simulate"]) | {"groups": 8, "rows": 40},
    "engines": {"ols": {}, "mixedlm": {}, "reml": {}, "pymc": {"chains": 2, "tune": 100, "draws": 100, "seed": 1}},
    "replicates": 40,
}  # fmt: skip


def tool(name: str, *arguments: str, path: str | None = None, lab=None) -> subprocess.CompletedProcess:
    """Run one of the workflow's tools in the project's directory."""
    environment = os.environ | (lab.environment if lab else {}) | ({"PATH": path} if path else {})
    command = [sys.executable, str(ROOT / "workflow/tools" / name), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def on_slurm(slurm, undisturbed, tmp_path_factory):
    """The tiny study, all of it on Slurm; the project, the run and Slurm's own record of it."""
    project = copy(undisturbed, tmp_path_factory.mktemp("slurm"), without=STAGES)
    run = Run(project, *ON_SLURM, "--", ALL_TABLES, lab=slurm).expect(0)
    return project, run, slurm.jobs()


@pytest.mark.slurm
def test_slurm_itself_says_that_every_job_ran_there(on_slurm):
    _, run, jobs = on_slurm
    submitted = re.findall(r"SLURM jobid (\d+)", run.said)
    assert {rule for rule in STAGES if run.jobs(rule)} == set(STAGES) - {"data", "comparison"}
    assert len(submitted) == len(STAGES) - 1  # data's rule is simulate; the comparison is no job
    ran = {job["JobId"]: job for job in jobs}
    assert {ran[job]["JobState"] for job in submitted} == {"COMPLETED"}
    assert all(ran[job]["Name"].startswith("lmm-recovery_") for job in submitted)


@pytest.mark.slurm
def test_jobs_ask_for_what_the_rules_say(on_slurm):
    _, run, jobs = on_slurm
    asked = {job["JobId"]: (job["Tres"], job["TimeLimit"]) for job in jobs}
    tres, minutes = asked[run.jobs("mixedlm")[0]]
    assert "cpu=1,mem=2000M" in tres
    assert minutes == "60"


@pytest.mark.slurm
def test_slurm_gives_the_same_bits_as_two_cores_here(on_slurm, undisturbed):
    assert len(contents(undisturbed.root)) > 30
    assert not differences(on_slurm[0], undisturbed)


@pytest.mark.faults
def test_one_core_gives_the_same_bits_as_two(undisturbed, tmp_path):
    project = copy(undisturbed, tmp_path, without=STAGES)
    Run(project, "--cores", "1", "--", ALL_TABLES).expect(0)
    assert not differences(project, undisturbed)


@pytest.mark.slurm
def test_a_second_run_on_slurm_does_nothing(on_slurm, slurm):
    project, _, jobs = on_slurm
    again = Run(project, *ON_SLURM, "--", ALL_TABLES, lab=slurm).expect(0)
    assert "Nothing to be done" in again.said
    assert len(slurm.jobs()) == len(jobs)


def replicated(to, undisturbed, chunk) -> Project:
    """The recovery study in a project of its own, with chunks of some size."""
    project = copy(undisturbed, to, without=STAGES)
    project.configure({"replicated": REPLICATED | {"replicates_per_job": chunk}})
    return project


@pytest.fixture(scope="module")
def replicates(undisturbed, tmp_path_factory):
    """The recovery study, run on two cores in chunks of 20."""
    project = replicated(tmp_path_factory.mktemp("replicated"), undisturbed, 20)
    Run(project, "--cores", "2", "--", RECOVERY).expect(0)
    return project


def tables(project) -> dict[str, object]:
    """What the chunks come to; the chunks themselves differ in what they hold."""
    found = contents(project.root)
    return {
        name: value
        for name, value in found.items()
        if "/replicated/recovery/" in name and "chunks/" not in name
    }


@pytest.mark.parametrize(
    "where, chunk",
    [
        pytest.param("one core", 40, marks=pytest.mark.faults),
        pytest.param("two cores", 13, marks=pytest.mark.faults),
        pytest.param("slurm", 15, marks=(pytest.mark.slurm, pytest.mark.faults)),
    ],
)
def test_replicates_are_the_same_bits_wherever_and_in_whatever_chunks(
    replicates, undisturbed, tmp_path, request, where, chunk
):
    project = replicated(tmp_path, undisturbed, chunk)
    if where == "slurm":
        Run(project, *ON_SLURM, "--", RECOVERY, lab=request.getfixturevalue("slurm")).expect(0)
    else:
        Run(project, "--cores", "1" if where == "one core" else "2", "--", RECOVERY).expect(0)
    assert {"replicates.parquet", "performance.csv"} <= {
        name.rpartition("/")[2] for name in tables(replicates)
    }
    assert tables(project) == tables(replicates)


@pytest.mark.slurm
@pytest.mark.faults
def test_any_scheduler_will_do_that_has_a_submit_and_a_status_command(slurm, undisturbed, tmp_path):
    """The second profile, with Slurm's bare commands in the place of another scheduler's."""
    project = copy(undisturbed, tmp_path, without=("reml", "mixedlm", "comparison"))
    submit = "sbatch --parsable --job-name=any --mem={resources.mem_mb} --time={resources.runtime} --output=/dev/null"
    run = Run(
        project, "--profile", "profiles/cluster-generic", "--cluster-generic-submit-cmd", submit,
        "--cluster-generic-status-cmd", "profiles/cluster-generic/status.sh slurm",
        "--cluster-generic-cancel-cmd", "scancel", "--latency-wait", "5", "--", ALL_TABLES, lab=slurm,
    ).expect(0)  # fmt: skip
    ran = [job for job in slurm.jobs() if job["Name"] == "any"]
    assert [job["JobState"] for job in ran] == ["COMPLETED"] * 2, run.said
    assert not differences(project, undisturbed)


@pytest.mark.slurm
def test_the_check_finds_nothing_wrong_with_a_good_cluster(slurm):
    found = tool("slurm_check.py", "profiles/slurm", lab=slurm)
    assert found.returncode == 0, found.stdout
    assert all(line.startswith("ok: ") for line in found.stdout.splitlines())
    assert "a node ran a trial job" in found.stdout


@pytest.mark.slurm
@pytest.mark.parametrize(
    "change, said",
    [
        ({"slurm_partition": "nowhere"}, "no partition 'nowhere'; set slurm_partition"),
        ({"mem_mb": 900_000}, "jobs ask for 900000 MB"),
        ({"mem_mb": None}, "the profile gives no mem_mb"),
    ],
)
def test_the_check_names_what_does_not_fit(slurm, tmp_path, change, said):
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    profile["default-resources"] |= change
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(profile))
    found = tool("slurm_check.py", str(tmp_path), lab=slurm)
    assert found.returncode == 1
    assert re.search(rf"^missing: {re.escape(said)}", found.stdout, re.M), found.stdout


@pytest.mark.slurm
def test_the_check_sees_sacct_without_accounting_and_drained_nodes(slurm, tmp_path):
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(profile | {"slurm-status-command": "sacct"}))
    found = tool("slurm_check.py", str(tmp_path), lab=slurm)
    assert found.returncode == 1
    assert "set slurm-status-command: squeue" in found.stdout
    slurm.set_node("drain")
    try:
        found = tool("slurm_check.py", "profiles/slurm", lab=slurm)
    finally:
        slurm.set_node("resume")
    assert found.returncode == 1
    assert "has no node that takes jobs (they are drained" in found.stdout


def test_the_check_says_where_there_is_no_slurm(tmp_path):
    found = tool("slurm_check.py", "profiles/slurm", path=str(tmp_path))
    assert found.returncode == 1
    assert found.stdout.startswith("missing: no sbatch, srun,")


@pytest.mark.slurm
def test_the_check_says_where_the_controller_is_silent(slurm, tmp_path):
    conf = tmp_path / "slurm.conf"
    conf.write_text(re.sub(r"SlurmctldPort=\d+", "SlurmctldPort=1", slurm.conf.read_text()))
    environment = os.environ | slurm.environment | {"SLURM_CONF": str(conf)}
    command = [sys.executable, "workflow/tools/slurm_check.py", "profiles/slurm"]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 1
    assert found.stdout.startswith("missing: Slurm's controller does not answer")


@pytest.mark.parametrize(
    "change, short",
    [
        ({}, True),
        ({"replicates": 100}, True),
        ({"simulate": TINY["simulate"] | {"groups": 3_000, "rows": 9_000}}, False),
        ({"replicates": 30_000}, False),
    ],
    ids=["small", "some replicates", "many groups", "many replicates"],
)
def test_what_takes_a_second_is_no_job_where_no_study_is_large(project, change, short):
    project.configure({"tiny": TINY | change})
    with open(project.root / "workflow/Snakefile", "a") as snakefile:
        snakefile.write('print("local:", *sorted(workflow._localrules))\n')
    planned = project.snakemake("--list-rules")
    local = set(re.search(r"^local: (.*)$", planned.stdout, re.M).group(1).split())
    after_fits = {
        "comparison",
        "effect_functions",
        "effects",
        "predictions",
        "figures",
        "recovery",
        "recovery_ranked",
        "recovery_figures",
        "search_figures",
        "batch_judged",
        "study_report",
        "replicated_report",
    }
    # of a single study the page of all studies is a copy of its own
    assert local == {"verdict", "pdf", "new_rows", "plan", "report"} | (after_fits if short else set())


def test_no_rule_knows_of_a_scheduler():
    rules = [ROOT / "workflow/Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    named = [
        path.name
        for path in rules
        if re.search(r"slurm|qos|\baccount\b|sbatch|^\s*retries:", path.read_text(), re.I | re.M)
    ]
    assert not named


def test_every_rule_grows_with_its_attempts_and_fits_a_nested_snakemake():
    """A job on a node is a Snakemake in a Snakemake: 250 MB beside its script, which has 60 at least."""
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.M)[1:]:
            memory = re.search(r"mem_mb=growing\((\d+)\)", rule)
            assert memory, f"{file.name}: {rule.split(':')[0]}"
            assert int(memory.group(1)) >= 500
            assert re.search(r"runtime=growing\(\d+\)", rule), f"{file.name}: {rule.split(':')[0]}"


def test_a_project_in_a_fresh_copy_has_the_profiles_a_cluster_needs(tmp_path):
    project = copy_project(tmp_path)
    for name in ("slurm", "cluster-generic"):
        profile = yaml.safe_load((project.root / f"profiles/{name}/config.yaml").read_text())
        assert profile["retries"] >= 1
        assert profile["rerun-incomplete"] is True
        assert profile["show-failed-logs"] is True
