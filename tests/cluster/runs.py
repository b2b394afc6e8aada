"""Runs that are disturbed, and whether what they leave equals what an undisturbed run leaves."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from cluster.lab import Lab, until
from conftest import Project

HERE = Path(__file__).parent
# The profile as users have it; only its patience is the test machine's.
ON_SLURM = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1",
            "--latency-wait", "5")  # fmt: skip
ALL_TABLES = "results/tiny/comparison/variance_recovery.csv"
# Clock, machine and versions: what only diagnostics may hold.
UNCOMPARED = ("seconds", "versions")


def copy(project: Project, to: Path, without: tuple[str, ...] = ()) -> Project:
    """A copy of a finished project, as if the stages in `without` had not run."""
    shutil.copytree(project.root, to, dirs_exist_ok=True, symlinks=True)
    for stage in without:
        for folder in (to / "results").glob(f"*/{stage}"):
            shutil.rmtree(folder)
    return Project(to)


class Run:
    """A Snakemake in the background, in a process group of its own as in a user's shell."""

    def __init__(self, project: Project, *options: str, lab: Lab | None = None, path: Path | None = None,
                 tool: tuple[str, ...] = ("-m", "snakemake")):  # fmt: skip
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if lab:
            environment |= lab.environment | {"PYTHONPATH": str(HERE / "impatient")}
        if path:
            environment["PATH"] = f"{path}:{environment['PATH']}"
        self.root = project.root
        self.log = project.root / f"said-{time.monotonic_ns()}.txt"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, *tool, *options], cwd=project.root, env=environment,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                # tests that run in a shell's background inherit that SIGINT is ignored
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def over(self) -> bool:
        return self.process.poll() is not None

    def wait(self, seconds: float = 500) -> "Run":
        """Wait for the end."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the run did not end in {seconds} s:\n{self.said}") from None
        return self

    def expect(self, status: int = 0) -> "Run":
        """Wait for the end, which has to be good, or with another `status` bad."""
        self.wait()
        assert (self.process.returncode == 0) == (status == 0), self.said
        return self

    def signal(self, number: int) -> None:
        """Send a signal to Snakemake alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        """kill -9 of Snakemake alone, as by the system: what it started goes on."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def until(self, true: Callable[[], object], seconds: float = 300) -> bool:
        """Wait for `true()`; False where the run ended first."""
        until(lambda: self.over or true(), seconds, "what the test waits for")
        return not self.over

    def jobs(self, rule: str) -> list[str]:
        """Slurm's ids of the jobs submitted for a rule, in their order."""
        return re.findall(rf"SLURM jobid (\d+) \(log: \S*/rule_{rule}/", self.said)

    def fit(self, engine: str) -> int:
        """The process that fits an engine, once there is one."""
        self.until(lambda: list(fits(self.root, engine)))
        return next(fits(self.root, engine))


def fits(root: Path, engine: str) -> Iterator[int]:
    """Processes that fit an engine in a project: a job's standard output is its rule's log."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            here = os.readlink(folder / "cwd") == str(root)
            fitting = here and b"python" in words[0] and words[-2].endswith(b".fit_engine.py")
            if fitting and os.readlink(folder / "fd/1").endswith(f"/logs/{engine}.log"):
                yield int(folder.name)


def states(lab: Lab, run: Run, rule: str) -> list[str]:
    """How the jobs of a rule ended, by Slurm's own log."""
    ended = {job["JobId"]: job["JobState"] for job in lab.jobs()}
    return [ended.get(job, "none") for job in run.jobs(rule)]


def contents(root: Path) -> dict[str, object]:
    """Every table and every draw: bytes where bytes can be equal, else values."""
    found: dict[str, object] = {}
    for path in sorted((root / "results").rglob("*")):
        name = str(path.relative_to(root))
        if path.suffix in (".csv", ".parquet"):
            found[name] = path.read_bytes()
        elif path.suffix == ".json" and path.name != "summary.json":
            value = json.loads(path.read_text())
            found[name] = (
                {k: v for k, v in value.items() if k not in UNCOMPARED} if isinstance(value, dict) else value
            )
        elif path.suffix == ".nc":
            # HDF5 keeps times of its own in the file
            with xr.open_datatree(path, engine="h5netcdf") as tree:
                for node in tree.subtree:
                    for variable, values in node.variables.items():
                        found[f"{name}:{node.path}/{variable}"] = np.asarray(values).tobytes()
    return found


def differences(one: Project, other: Project) -> list[str]:
    """Artifacts that are not the same in two projects."""
    a, b = contents(one.root), contents(other.root)
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def leftovers(project: Project) -> list[str]:
    """Temporary names of files that were being written."""
    results = project.root / "results"
    return [str(path) for path in results.rglob(".*") if path.name != ".snakemake_timestamp"]
