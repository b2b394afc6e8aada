"""Faults, each on a real run with real engines: it completes, or says what to do and the next run completes.

Whatever happened, nothing finished is lost, no half-written file is taken for a whole one, and the tables
and draws are those of a run that nothing disturbed. Every run of the tests has a cluster that does not answer, a node
that takes no jobs, a run stopped by hand and a killed one; `make faults` runs all of it, random moments and 20 kills
among it.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cluster.lab import until
from cluster.runs import ALL_TABLES, ON_SLURM, Run, copy, differences, fits, leftovers, states
from conftest import TINY

FITS = ("ols", "reml", "mixedlm", "pymc", "comparison")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")


@contextlib.contextmanager
def mounted(folder: Path, options: str):
    """A small file system in memory, mounted on `folder`."""
    folder.mkdir(exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"this machine does not let us mount: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


@pytest.fixture(scope="module")
def small(undisturbed, tmp_path_factory):
    """The tiny study with two engines, finished: most faults need no more than a job or two of it."""
    project = copy(undisturbed, tmp_path_factory.mktemp("small"), without=("mixedlm", "pymc", "comparison"))
    project.configure({"tiny": TINY | {"engines": {"ols": {}, "reml": {}}}})
    Run(project, "--cores", "2", "--", ALL_TABLES).expect(0)
    return project


@pytest.fixture
def half(small, tmp_path):
    """A project whose reml is still to be run."""
    return copy(small, tmp_path, without=("reml", "comparison"))


def resume(project, lab, *options: str, profile: str = "profiles/slurm") -> Run:
    """What `make resume` calls."""
    tool = ("workflow/tools/resume.py", profile)
    return Run(project, *options, lab=lab, tool=tool)


def moment(run: Run, rng: np.random.Generator, events: int) -> bool:
    """Wait for a random moment: some jobs submitted or finished, then up to 3 s. False where the run ended."""
    count = int(rng.integers(events))
    seconds = rng.uniform(0, 3)
    run.until(lambda: run.said.count("submitted with") + run.said.count("Finished jobid") >= count)
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.process.wait(seconds)
    return not run.over


# --- jobs that end badly: four faults in one run, each to a job of its own --------------------------------------


@pytest.fixture(scope="module")
def begun(slurm, undisturbed, tmp_path_factory):
    """A run whose jobs are hit: reml has too little memory, pymc hangs, mixedlm is cancelled, ols fails once.

    Slurm has no time limit below a minute, so it is begun here and looked at when tests of this machine are over.
    """
    project = copy(undisturbed, tmp_path_factory.mktemp("hit"), without=FITS)
    bin_, flag = project.root / "bin", project.root / "failed-once"
    bin_.mkdir()
    # the job step calls srun; the first one for the rule ols does not get there
    (bin_ / "srun").write_text(
        f'#!/bin/sh\ncase "$*" in *--allowed-rules\\ ols*|*"--target-jobs ols:"*|*"ols:study"*)\n'
        f'  mkdir "{flag}" 2>/dev/null && {{ echo injected fault >&2; exit 7; }} ;;\nesac\n'
        f'exec {shutil.which("srun")} "$@"\n'
    )
    (bin_ / "srun").chmod(0o755)
    memory = ("reml:mem_mb=attempt * 260",) if slurm.memory_is_limited else ()
    run = Run(
        project, *ON_SLURM, "--set-resources", "pymc:runtime=attempt", *memory, "--", ALL_TABLES,
        lab=slurm, path=bin_,
    )  # fmt: skip

    def disturb():
        os.kill(run.fit("pymc"), signal.SIGSTOP)
        run.fit("mixedlm")
        slurm.run("scancel", *run.jobs("mixedlm"))

    with ThreadPoolExecutor(1) as aside:
        yield run, project, aside.submit(disturb)
        if not run.over:  # nobody waited for it
            run.kill()


@pytest.fixture(scope="module")
def hit(begun):
    """The same run at its end."""
    run, project, disturbed = begun
    disturbed.result()
    run.wait()
    return run, project


@pytest.mark.slurm
@pytest.mark.faults
def test_a_run_begins_whose_jobs_are_to_be_hit(begun):
    run, _, _ = begun
    assert run.until(lambda: run.jobs("pymc"))


# --- places that cannot be written ------------------------------------------------------------------------------


@pytest.fixture(params=["here", pytest.param("slurm", marks=(pytest.mark.slurm, pytest.mark.faults))])
def where(request):
    """Options and keywords of a run on this machine, and of one on Slurm."""
    if request.param == "here":
        return ("--cores", "2"), {}
    return (*ON_SLURM, "--retries", "0"), {"lab": request.getfixturevalue("slurm")}


@needs_root
def test_a_full_disk_says_so_and_nothing_half_written_stays(where, half, small):
    options, keywords = where
    results = half.root / "results"
    kept = half.root / "kept"
    results.rename(kept)
    used = sum(-(-path.stat().st_size // 4096) for path in kept.rglob("*") if path.is_file())
    files = sum(1 for _ in kept.rglob("*"))
    # room for the fit's first file, not for its last
    with mounted(results, f"size={(used + 2) * 4}k,nr_inodes={files + 200}"):
        shutil.copytree(kept, results, dirs_exist_ok=True)
        run = Run(half, *options, "--", ALL_TABLES, **keywords).expect(1)
        assert "the disk is full: make room, then run again" in run.said, run.said
        assert not leftovers(half)
        remount(results, "size=64m")
        Run(half, *options, "--", ALL_TABLES, **keywords).expect(0)
        assert not differences(half, small)


# found before anything is submitted, so that Slurm is for the whole catalogue only
@needs_root
@pytest.mark.parametrize(
    "where", ["here", pytest.param("slurm", marks=(pytest.mark.slurm, pytest.mark.faults))], indirect=True
)
@pytest.mark.parametrize("folder", ["logs", "reml"])
def test_a_folder_that_cannot_be_written_is_named(where, half, small, folder):
    options, keywords = where
    place = half.root / "results/tiny" / folder
    shutil.rmtree(place, ignore_errors=True)
    with mounted(place, "size=1m"):
        remount(place, "ro")
        run = Run(half, *options, "--", "results/tiny/reml/parameters.csv", **keywords).expect(1)
        assert re.search(rf"^studies\.tiny\.results/tiny/{folder}: .*make it writable", run.said, re.M), (
            run.said
        )
        assert "Traceback" not in run.said
    Run(half, *options, "--", ALL_TABLES, **keywords).expect(0)
    assert not differences(half, small)


# --- on this machine --------------------------------------------------------------------------------------------


def test_a_killed_fit_is_made_again(half, small):
    run = Run(half, "--cores", "2", "--", ALL_TABLES)
    os.kill(run.fit("reml"), signal.SIGKILL)
    run.expect(1)
    assert "fit_engine" in run.said
    assert not (half.root / "results/tiny/reml/parameters.csv").exists()
    Run(half, "--cores", "2", "--", ALL_TABLES).expect(0)
    assert not differences(half, small)
    assert not leftovers(half)


@pytest.mark.parametrize("seed", [1, *(pytest.param(k, marks=pytest.mark.faults) for k in range(2, 6))])
def test_a_killed_local_run_is_resumed(small, tmp_path, seed):
    project = copy(small, tmp_path, without=("moments", *FITS))
    run = Run(project, "--cores", "2", "--", ALL_TABLES)
    moment(run, np.random.default_rng(seed), events=4)
    run.kill()
    resume(project, None, "--cores", "1", "--", ALL_TABLES, profile="profiles/default").expect(0)
    assert not differences(project, small)
    assert not leftovers(project)
    assert not list(fits(project.root, "reml"))


def cut(path: Path) -> None:
    """Take the last third of a file away, as a broken copy would; its time of change stays."""
    stat = path.stat()
    os.truncate(path, stat.st_size * 2 // 3)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    "name",
    [
        "moments/moments.parquet",
        "reml/diagnostics.json",
        pytest.param("pymc/posterior.nc", marks=pytest.mark.faults),
        pytest.param("ols/parameters.csv", marks=pytest.mark.faults),
    ],
)
def test_a_cut_artifact_is_noticed_and_made_anew(undisturbed, small, tmp_path, name):
    whole = undisturbed if name.startswith("pymc") else small
    project, wanted = copy(whole, tmp_path), {ALL_TABLES, f"results/tiny/{name}"}
    cut(project.root / "results/tiny" / name)
    planned = project.snakemake("--dry-run", *wanted)
    said = planned.stdout + planned.stderr
    assert re.search(rf"^results/tiny/{name}: .*; it is made anew$", said, re.M), said
    run = Run(project, "--cores", "2", "--", *wanted).expect(0)
    assert f"results/tiny/{name}: " in run.said
    assert not differences(project, whole)


def test_an_input_cut_in_mid_run_is_not_read(half):
    """Between planning and reading: the job itself refuses it."""
    (half.root / "workflow/rules/cut.smk").write_text(
        'rule cut:\n    output: touch("results/cut")\n'
        '    shell: "truncate -s 900 results/tiny/moments/moments.parquet"\n'
    )
    with open(half.root / "workflow/Snakefile", "a") as snakefile:
        snakefile.write('include: "rules/cut.smk"\n')
    rule = half.root / "workflow/rules/engines.smk"
    rule.write_text(
        rule.read_text().replace(
            "unpack(fitted_from(engine)),", 'unpack(fitted_from(engine)),\n            cut="results/cut",'
        )
    )
    run = Run(half, "--cores", "1", "--", "results/tiny/reml/parameters.csv").expect(1)
    assert (
        "studies.tiny.results/tiny/moments/moments.parquet: not a whole Parquet file; run again" in run.said
    )
    assert not (half.root / "results/tiny/reml/parameters.csv").exists()


# --- the run whose jobs were hit --------------------------------------------------------------------------------


@pytest.mark.slurm
@pytest.mark.faults
def test_a_run_hit_four_times_ends_well_with_the_same_results(hit, undisturbed):
    run, project = hit
    run.expect(0)
    assert not differences(project, undisturbed)
    assert not leftovers(project)


@pytest.mark.slurm
@pytest.mark.faults
def test_a_job_out_of_memory_comes_again_with_more(hit, slurm):
    if not slurm.memory_is_limited:
        pytest.skip("this machine has no control groups that could limit memory")
    jobs = [job for job in slurm.jobs() if job["JobId"] in hit[0].jobs("reml")]
    # 125 is how Slurm writes down that a step's memory limit killed it. The job itself ends as OUT_OF_MEMORY, or as
    # FAILED where the kernel's count of kills reaches the batch step too late: machines differ in that
    assert jobs[0]["JobState"] in ("OUT_OF_MEMORY", "FAILED") and jobs[0]["DerivedExitCode"] == "0:125"
    assert jobs[-1]["JobState"] == "COMPLETED"
    asked = [int(re.search(r"mem=(\d+)M", job["Tres"]).group(1)) for job in jobs]
    assert asked == [260 * attempt for attempt in range(1, len(jobs) + 1)]


@pytest.mark.slurm
@pytest.mark.faults
def test_a_job_over_its_time_limit_comes_again_with_more(hit, slurm):
    assert states(slurm, hit[0], "pymc") == ["TIMEOUT", "COMPLETED"]
    limits = [job["TimeLimit"] for job in slurm.jobs() if job["JobId"] in hit[0].jobs("pymc")]
    assert limits == ["1", "2"]


@pytest.mark.slurm
@pytest.mark.faults
def test_a_cancelled_job_comes_again(hit, slurm):
    assert states(slurm, hit[0], "mixedlm") == ["CANCELLED", "COMPLETED"]


@pytest.mark.slurm
@pytest.mark.faults
def test_a_job_that_fails_once_comes_again(hit, slurm):
    assert (hit[1].root / "failed-once").exists()
    assert states(slurm, hit[0], "ols") == ["FAILED", "COMPLETED"]


# --- the cluster itself -----------------------------------------------------------------------------------------


@pytest.mark.slurm
def test_a_drained_node_is_waited_for_and_nobody_resumes_meanwhile(slurm, half, small):
    slurm.set_node("drain")
    try:
        run = Run(half, *ON_SLURM, "--", ALL_TABLES, lab=slurm)
        run.until(lambda: run.jobs("reml"))
        assert run.until(lambda: slurm.run("squeue", "--noheader", "--format=%T").strip() == "PENDING")
        refused = resume(half, slurm, "--", ALL_TABLES).expect(1)
        assert f"process {run.process.pid}" in refused.said
    finally:
        slurm.set_node("resume")
    run.expect(0)
    assert states(slurm, run, "reml") == ["COMPLETED"]
    assert not differences(half, small)


@pytest.mark.slurm
def test_a_run_outlives_a_restart_of_the_controller(slurm, half, small):
    run = Run(half, *ON_SLURM, "--", ALL_TABLES, lab=slurm)
    run.fit("reml")
    # as a restart does it: killed outright, it would forget a job that it has not yet saved (docs/cluster.md)
    slurm.end("slurmctld", signal.SIGTERM)
    time.sleep(2)  # a question about jobs' states meets nobody
    slurm.start_slurmctld()
    run.expect(0)
    assert not differences(half, small)
    assert not leftovers(half)


@pytest.mark.slurm
@pytest.mark.faults
def test_a_run_outlives_the_end_of_a_nodes_daemon(slurm, half, small):
    run = Run(half, *ON_SLURM, "--", ALL_TABLES, lab=slurm)
    run.fit("reml")
    slurm.end("slurmd", signal.SIGKILL)
    try:
        # the controller gives the node up, and with it the job, which Slurm itself or Snakemake runs again
        assert run.until(lambda: slurm.state().startswith("down"))
    finally:
        slurm.start_slurmd()
    run.expect(0)
    assert not differences(half, small)
    assert not leftovers(half)


# --- Snakemake stopped ------------------------------------------------------------------------------------------


def finished(project) -> dict[Path, int]:
    """Artifacts there are, with the time when each was written."""
    paths = [path for path in (project.root / "results").rglob("*.*") if "parameters" in path.name]
    return {path: path.stat().st_mtime_ns for path in paths}


@pytest.mark.slurm
@pytest.mark.parametrize("number, seed", [
    (signal.SIGINT, 1),
    *(pytest.param(signal.SIGTERM, k, marks=pytest.mark.faults) for k in range(1, 6)),
    *(pytest.param(signal.SIGINT, k, marks=pytest.mark.faults) for k in range(2, 6)),
])  # fmt: skip
def test_a_stopped_run_goes_on_without_any_help(slurm, small, tmp_path, number, seed):
    project = copy(small, tmp_path, without=("ols", "reml", "comparison"))
    run = Run(project, *ON_SLURM, "--", ALL_TABLES, lab=slurm)
    rng = np.random.default_rng([seed, number])
    run.until(lambda: run.jobs("reml"))
    if moment(run, rng, events=3):
        run.signal(number)
    run.wait()
    done = finished(project)
    if number == signal.SIGINT:
        until(lambda: not slurm.queue(), 30, "the end of jobs that nobody waits for")
    Run(project, *ON_SLURM, "--", ALL_TABLES, lab=slurm).expect(0)
    assert {path: finished(project)[path] for path in done} == done, "something finished was made again"
    assert not differences(project, small)
    assert not leftovers(project)


@pytest.mark.slurm
@pytest.mark.faults
@pytest.mark.parametrize("kills", [3, 20])
def test_a_killed_run_is_resumed_by_one_command(slurm, small, tmp_path, kills):
    rng = np.random.default_rng(kills)
    options = (*ON_SLURM[2:], "--", ALL_TABLES)
    done, rounds = 0, 0
    while done < kills:
        rounds += 1
        project = copy(small, tmp_path / f"{rounds}", without=("moments", *FITS))
        run = Run(project, *ON_SLURM, "--", ALL_TABLES, lab=slurm)
        while done < kills and moment(run, rng, events=5):
            run.kill()
            done += 1
            run = resume(project, slurm, *options)
        run.expect(0)
        assert not differences(project, small)
        assert not leftovers(project)
        assert not slurm.queue()


@pytest.mark.slurm
def test_resuming_cancels_the_orphans_and_nobody_elses_jobs(slurm, half, small):
    run = Run(half, *ON_SLURM, "--", ALL_TABLES, lab=slurm)
    os.kill(run.fit("reml"), signal.SIGSTOP)  # an orphan that would stay for an hour
    run.kill()
    elsewhere = ["sbatch", "--parsable", "--chdir=/tmp", "--output=/dev/null", "--mem=50"]
    other = slurm.run(*elsewhere, "--job-name=lmm-recovery_elsewhere", "--wrap", "sleep 600").strip()
    try:
        locked = Run(half, *ON_SLURM, "--", ALL_TABLES, lab=slurm).expect(1)
        assert "lock" in locked.said
        resumed = resume(half, slurm, *ON_SLURM[2:], "--", ALL_TABLES)
        resumed.expect(0)
        assert slurm.queue() == [other]
    finally:
        slurm.run("scancel", other)
    assert states(slurm, run, "reml") == ["CANCELLED"]
    assert states(slurm, resumed, "reml") == ["COMPLETED"]
    assert not differences(half, small)
