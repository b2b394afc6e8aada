"""Keeps what a large study found, as the pipeline itself made it: configuration, tables and figures."""

import shutil
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
