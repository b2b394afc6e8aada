"""What Slurm costs: a thousand replicates through a Slurm of one node and here, what one job costs, and a no-op."""

import csv
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import bench_recovery
import stan_fits
import yaml
from harness import ROOT, Options, Row, ratio_of, row_of, skipped
from watched import clone, empty, watch

TITLE = "A cluster: 1000 replicates of the coffee design through a one-node Slurm"
PROFILE = (
    "--profile",
    "profiles/slurm",
    "--slurm-init-seconds-before-status-checks",
    "1",
    "--latency-wait",
    "5",
)
AT_MOST, NO_OP_SECONDS = 1.2, 3


def measure(options: Options) -> Iterator[Row]:
    """All rows of this part."""
    project = clone(options.scratch / "project")
    configure(project, 4, options)
    watch([bench_recovery.SNAKEMAKE, "--cores", str(options.cores)], project)  # compiles kernels
    yield from through_slurm(options, project)
    yield from no_op(options, project)


def configure(project: Path, replicates: int, options: Options, engines: tuple[str, ...] = ()) -> None:
    """The coffee study of `bench_recovery`, with all of its engines or some."""
    setting = stan_fits.Setting(2, 100, 200) if options.smoke else bench_recovery.SETTING
    study = bench_recovery.study(replicates, setting)
    if engines:
        study["engines"] = {name: study["engines"][name] for name in engines}
    (project / "config/config.yaml").write_text(yaml.safe_dump({"studies": {"coffee": study}}))
    empty(project)


def through_slurm(options: Options, project: Path) -> Iterator[Row]:
    """The same study here and on Slurm, in turns, on the same cores."""
    sys.path.insert(0, str(ROOT / "tests"))
    from cluster import lab

    replicates = 8 if options.smoke else 1000
    name = f"{replicates:,} replicates through Slurm / here"
    if reason := lab.obstacle():
        yield skipped(name, reason)
        return
    here, there = [], []
    with lab.lab(options.scratch / "lab") as slurm:
        for _ in range(options.rounds(3)):
            configure(project, replicates, options)
            here.append(watch([bench_recovery.SNAKEMAKE, "--cores", str(options.cores)], project).seconds)
            configure(project, replicates, options)
            there.append(watch([bench_recovery.SNAKEMAKE, *PROFILE], project, **slurm.environment).seconds)
        jobs = [job for job in slurm.jobs() if job["Name"].startswith("lmm-recovery")]
        trivial = [once(slurm) for _ in range(options.rounds(10))]
    yield row_of(f"{replicates:,} replicates here, {options.cores} cores", here)
    yield row_of(
        "the same through Slurm", there, note=f"{len(jobs) // len(there)} jobs a run, by Slurm's own log"
    )
    yield ratio_of(name, there, here, at_most=None if options.smoke else AT_MOST)
    yield row_of("an empty job through Slurm, submitted to done", trivial)
    yield row_of("a job's time beside its script: two Snakemakes on the node", beside(project, jobs))


def once(slurm) -> float:
    """Seconds of `srun` for a job that does nothing (`sbatch --wait` looks every 2 s alone)."""
    began = time.perf_counter()
    slurm.run("srun", "--mem=50", "true")
    return time.perf_counter() - began


def beside(project: Path, jobs: list[dict[str, str]]) -> list[float]:
    """By how much the last run's jobs lasted longer than their scripts, on average; Slurm's log is by the second."""
    files = project.glob("results/coffee/benchmarks/replicates/**/*.tsv")  # the rest ran beside Snakemake
    measured = [float(next(csv.DictReader(path.open(), delimiter="\t"))["s"]) for path in files]
    lasted = [stamp(job["EndTime"]) - stamp(job["StartTime"]) for job in jobs[-len(measured) :]]
    return [statistics.mean(lasted) - statistics.mean(measured)]


def stamp(text: str) -> float:
    """Seconds since the epoch of one of Slurm's times."""
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))


def no_op(options: Options, project: Path) -> Iterator[Row]:
    """A run that finds nothing to do, of a finished study with many replicates."""
    replicates = 40 if options.smoke else 10_000
    configure(project, replicates, options, engines=("ols", "reml"))
    command = [bench_recovery.SNAKEMAKE, "--cores", str(options.cores)]
    watch(command, project)
    runs = [watch(command, project) for _ in range(options.rounds(5))]
    if not all("Nothing to be done" in run.output for run in runs):
        raise RuntimeError(f"a second run found something to do:\n{runs[0].output[-2000:]}")
    limit = None if options.smoke else NO_OP_SECONDS
    yield row_of(f"no-op, {replicates:,} finished replicates", [run.seconds for run in runs], at_most=limit)
