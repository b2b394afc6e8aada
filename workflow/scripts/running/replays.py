"""What `make replay` does with a replicate: its rows drawn again or, where it was drawn as moments, written."""

import os
import subprocess
import sys
from pathlib import Path

from lmm.core.engines import BAYES, first
from lmm.core.errors import StudyError
from lmm.core.store import read_json, read_table, write_json, write_table
from lmm.data import rows
from lmm.moments import stage
from lmm.recovery import job, replay, replay_rows
from planning import plan


def from_rows(study, point, replicate: int, *_):
    """The configuration that simulates a replicate's rows again, and 0."""
    return replay.simulation(study, point, replicate), 0


def from_moments(study, point, replicate: int, place: Path, config: str, options: list[str]):
    """Write a replicate's rows and truth to `place`; the configuration that analyses them.

    Returns
    -------
    dict or None, int
        None where Snakemake did not make what own data are drawn from, and its exit status.
    """
    try:
        planned = plan.study_plan(study)
        settings, design = planned["stages"]["replicates"], planned["recovery"]["designs"][point.key]
        if study.simulate is not None:
            replay_rows.check_size(point.settings.n_rows)
            sources, _ = job.simulated(settings, [design])
            made, priors = replay_rows.simulated(sources[point.key], replicate), None
        else:
            base = f"results/{study.name}"
            paths = {"moments": f"{base}/moments/moments.parquet", "moments_details": f"{base}/moments/moments.json",
                     "design": f"{base}/moments/design.json", "data": f"{base}/data/data.json"}  # fmt: skip
            if planned["several"] and planned["copied"]:
                paths["rows"] = f"{base}/data/data.parquet"
            if planned["recovery"]["from_posterior"]:
                paths["posterior"] = f"{base}/pymc/posterior.nc"
            own = [option for option in options if not option.startswith("results/")]  # targets of the replay
            status = snakemake(["--configfile", config, *own, "--", *paths.values()])
            if status or not all(Path(path).exists() for path in paths.values()):
                return None, status
            made, priors = _own(settings, design, replicate, paths, planned["copied"])
    except StudyError as error:
        raise error.within(study.name) from None
    write_table(place / replay.ROWS, made.frame)
    write_json(place / replay.TRUTH, made.truth)
    return replay.analysis(study, point, replicate, made.response, priors), 0


def _own(settings: dict, design: dict, replicate: int, paths: dict, copied: bool):
    """A replicate of own data, and PyMC's priors where they are not those configured."""
    data = read_json(paths["data"])
    replay_rows.check_size(data["rows"])
    sources, engines = job.bootstrapped(settings, [design], paths)
    (source,) = sources.values()
    copy = Path(paths["data"]).with_suffix(".parquet")
    frame = read_table(copy) if copied else rows.from_sources(paths["data"])
    whole, _ = stage.designs(settings["formulas"], data, frame)
    made = replay_rows.bootstrapped(source, replicate, whole, frame)
    if not source.augment:
        return made, None
    bayes = engines[first(engines, BAYES)]
    return made, replay_rows.priors_in_numbers(bayes.settings["priors"], source, bayes.terms)


def snakemake(arguments: list[str]) -> int:
    """Run the workflow as users do, in its default profile; its exit status."""
    root = Path(os.path.relpath(Path(__file__).parents[3]))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile")]
    command += ["--profile", str(root / "profiles/default"), *arguments]
    return subprocess.run(command, check=False).returncode
