"""Searches for the size of a design: their time, and their answers beside 100,000 replicates of designs nearby."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator

from bench_recovery import SNAKEMAKE
from evidence import keep_search
from harness import HERE, Options, Row, environment
from watched import clone, empty, watch

TITLE = "Searches for a power of 80 % by reml"
CONFIGURATION = HERE / "evidence" / "search" / "config.yaml"
STUDIES = ("groups", "rows", "pilot")
MINUTE, REPLICATES = 60, 100_000


def measure(options: Options) -> Iterator[Row]:
    """All rows of this part."""
    project = clone(options.scratch / "project")
    (project / "config" / "config.yaml").write_text(CONFIGURATION.read_text())
    empty(project)
    watch([sys.executable, "workflow/scripts/compile_kernels.py"], project)  # as an installation does
    run = watch([SNAKEMAKE, "--cores", str(options.cores)], project)
    yield Row("three searches, from empty results to the report", run.seconds, "s")
    count = str(1000 if options.smoke else REPLICATES)
    for study in STUDIES:
        with open(project / "results" / study / "benchmarks" / "search.tsv") as file:
            seconds = float(next(csv.DictReader(file, delimiter="\t"))["s"])
        yield Row(f"{study}: the search's job", seconds, "s", at_most=MINUTE)
        command = [sys.executable, str(HERE / "fit_search.py"), str(project), study, count]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
        found = json.loads(done.stdout)
        # both together: the smallest design with a power of 80 % is at most a step from the answer
        note = f"answer {found['answer']} ({found['low']} to {found['high']}); {found['replicates']:,} replicates"
        yield Row(f"{study}: power a step above the answer", found["above"], at_least=0.8, note=note)
        note = f"MCSE {found['mcse']:.4f}, of {int(count):,} replicates each"
        yield Row(f"{study}: power two steps below the answer", found["below"], at_most=0.8, note=note)
    if not options.smoke:
        keep_search(project, STUDIES)
