"""The compiled path of replicates: CPU time each, agreement with the full path; with --large a million of them."""

import json
import subprocess
import sys
from collections.abc import Iterator

import yaml
from bench_recovery import SNAKEMAKE
from fit_replicates import SIMULATE
from harness import HERE, Options, Row, environment
from watched import clone, empty, watch

TITLE = "Replicates of the coffee design by the compiled path, OLS and reml"
MILLISECONDS, DIFFERENCE = 0.5, 1e-8
MINUTES_10, GB_2 = 600, 2000


def measure(options: Options) -> Iterator[Row]:
    """All rows of this part."""
    counts = ("50", "10") if options.smoke else ("10000", "10000")
    command = [sys.executable, str(HERE / "fit_replicates.py"), *counts]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    for source, found in json.loads(done.stdout).items():
        limit = None if options.smoke else MILLISECONDS
        what = f"a replicate drawn as {source}, drawing included"
        yield Row(what, found["milliseconds"], "ms", at_most=limit, note="CPU time of one process")
        note = f"of {counts[1]} replicates; other statuses: {found['other_statuses']}"
        what = f"largest difference of an sd from the full path's, {source}"
        yield Row(what, found["difference"], "", at_most=DIFFERENCE, note=note)
    if options.large:
        study = {
            "formula": "y ~ x + (x | group)", "simulate": SIMULATE, "simulate_from": "moments", "replicates": 10**6,
            "engines": {"ols": {}, "reml": {}},
        }  # fmt: skip
        project = clone(options.scratch / "project")
        (project / "config" / "config.yaml").write_text(yaml.safe_dump({"studies": {"million": study}}))
        empty(project)
        run = watch([SNAKEMAKE, "--cores", str(options.cores)], project)
        yield Row(
            "1,000,000 replicates, from empty results to the report", run.seconds, "s", at_most=MINUTES_10
        )
        yield Row("peak memory of all processes together", run.peak_mb, "MB", at_most=GB_2)
