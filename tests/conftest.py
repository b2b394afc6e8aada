"""What several test files share: a project to run in, and a way to run it."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cluster import lab
from lmm.core.compiled import CACHE

ROOT = Path(__file__).parents[1]
TINY = {
    "formula": "y ~ x + (x | group)",
    "simulate": {
        "seed": 1,
        "rows": 60,
        "groups": 12,
        "fixed": {"Intercept": 3, "x": 0.5},
        "sd": {"Intercept": 2, "x": 1},
        "sigma": 1,
    },
    "engines": {
        "ols": {},
        "mixedlm": {},
        "reml": {},
        "pymc": {"chains": 2, "tune": 200, "draws": 200, "seed": 1},
    },
}


@dataclass(frozen=True)
class Project:
    """A copy of the workflow in a directory of its own."""

    root: Path

    def snakemake(self, *options: str) -> subprocess.CompletedProcess:
        """Run Snakemake there as a user would; stdout and stderr come back as text."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SNAKEMAKE")}
        command = [sys.executable, "-m", "snakemake", *options]
        return subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=300
        )

    def configure(self, studies: dict, name: str = "config/config.yaml", **top) -> None:
        """Write a configuration."""
        (self.root / name).write_text(yaml.safe_dump({"studies": studies, **top}, sort_keys=False))

    def planned(self, *options: str) -> dict[str, int]:
        """Jobs that a run would do, a rule each."""
        done = self.snakemake("--dry-run", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = (done.stdout + done.stderr).partition("Job stats:\n")[2].splitlines()[2:]
        counts = {}
        for line in lines:
            rule, count = line.split()
            if rule == "total":
                break
            counts[rule] = int(count)
        return counts


def copy_project(to: Path) -> Project:
    """What a run needs of the repository, without results."""
    for name in ("workflow", "config", "profiles"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "environment.yml"):
        shutil.copy2(ROOT / name, to / name)
    (to / "results").mkdir()
    # the same sources give the same machine code; an edit of a kernel gets a directory of its own
    copied = to / "workflow/scripts/lmm/__pycache__"
    copied.mkdir()
    for compiled in CACHE.glob("*"):
        (copied / CACHE.name).mkdir(exist_ok=True)
        (copied / CACHE.name / compiled.name).symlink_to(compiled)
    return Project(to)


@pytest.fixture
def project(tmp_path) -> Project:
    """A fresh copy of the workflow with the tiny study as its configuration."""
    copy = copy_project(tmp_path)
    copy.configure({"tiny": TINY})
    return copy


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Project:
    """The tiny study, run on this machine to its comparison; tests copy it and leave it alone."""
    project = copy_project(tmp_path_factory.mktemp("undisturbed"))
    project.configure({"tiny": TINY})
    run = project.snakemake("--cores", "2", "results/tiny/comparison/variance_recovery.csv")
    assert run.returncode == 0, run.stdout + run.stderr
    return project


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A Slurm of one node, for one test file."""
    if reason := lab.obstacle():
        pytest.skip(reason)
    with lab.lab(tmp_path_factory.mktemp("lab")) as cluster:
        yield cluster
