"""Simulation-based calibration as config/calibration.yaml has it: a thousand fits, each held against its truth."""

from collections.abc import Iterator
from pathlib import Path

import evidence
import pandas as pd
import yaml
from bench_recovery import SNAKEMAKE
from harness import Options, Row
from watched import clone, empty, watch

TITLE = "Calibration: config/calibration.yaml from empty results to the report"


def measure(options: Options) -> Iterator[Row]:
    """All rows of this part."""
    project = clone(options.scratch / "project")
    configuration = project / "config" / "calibration.yaml"
    settings = yaml.safe_load(configuration.read_text())
    (study,) = settings["studies"]
    for replicates in [4] if options.smoke else [4, settings["studies"][study]["replicates"]]:
        # the first run compiles what is left to compile
        seconds = run(options, project, settings | {"studies": {study: small(settings, study, replicates)}})
    yield Row(f"{replicates:,} replicates, from empty results to the report", seconds, "s")
    table = pd.read_csv(project / "results" / study / "recovery" / "calibration.csv")
    sound = int((table["verdict"] == "calibrated").sum())
    note = "; ".join(f"{n} {verdict}" for verdict, n in table["verdict"].value_counts().items())
    yield Row(f"quantities calibrated, of {len(table)}", sound, note=note)
    if not options.smoke:
        evidence.keep(project, study, configuration, "calibration")


def small(settings: dict, study: str, replicates: int) -> dict:
    """The study with another number of replicates."""
    return settings["studies"][study] | {"replicates": replicates}


def run(options: Options, project: Path, settings: dict) -> float:
    """Seconds of a run from nothing."""
    empty(project)
    (project / "config" / "timed.yaml").write_text(yaml.safe_dump(settings))
    command = [SNAKEMAKE, "--cores", str(options.cores), "--configfile", "config/timed.yaml"]
    return watch(command, project).seconds
