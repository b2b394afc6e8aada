"""Keeps what a large study found, as the pipeline itself made it: configuration, tables and figures."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from harness import HERE

TABLES = ("performance.csv", "failures.csv", "calibration.csv")


def keep(project: Path, study: str, configuration: Path, name: str) -> None:
    """Copy from a finished run to benchmarks/evidence/<name>, in place of what was there.

    Parameters
    ----------
    project : Path
        Where it ran.
    study : str
        Its name in the configuration.
    configuration : Path
        Reproduces it: `make ARGS="--configfile benchmarks/evidence/<name>/config.yaml"`.
    name : str
        Of the folder.
    """
    folder = HERE / "evidence" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(configuration, folder / "config.yaml")
    results = project / "results" / study
    for path in [*(results / "recovery" / table for table in TABLES), *(results / "figures").glob("*.svg")]:
        if path.exists():
            shutil.copyfile(path, folder / path.name)


def keep_search(project: Path, studies: Iterable[str]) -> None:
    """Copy searches from a finished run to benchmarks/evidence/search/<study>, beside their configuration.

    Parameters
    ----------
    project : Path
        Where they ran.
    studies : iterable of str
        Their names in the configuration.
    """
    for study in studies:
        folder, results = HERE / "evidence" / "search" / study, project / "results" / study
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(results / "search", folder, ignore=shutil.ignore_patterns(".*"))
        for path in (results / "figures").glob("*.svg"):
            shutil.copyfile(path, folder / path.name)
