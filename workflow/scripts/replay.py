"""`make replay STUDY=design REPLICATE=17 [DESIGN=key] [CONFIG=config/recovery.yaml]`: one replicate in full.

Writes a configuration whose `simulate` carries the replicate's address, or whose `data` are rows with the moments
that were drawn, and runs the workflow on it, in a directory of its own below results/replays/.
"""

import argparse
import sys
from pathlib import Path

import yaml

from lmm.config.load import load
from lmm.core.errors import StudyError
from lmm.core.store import write_text
from lmm.recovery import replay
from running import replays

USAGE = "expected a study and a replicate: make replay STUDY=design REPLICATE=17 CONFIG=config/recovery.yaml"


def main() -> int:
    """Exit status: Snakemake's, or 1 where there is nothing to replay."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Options for Snakemake follow after --")
    parser.add_argument("study", nargs="?", default="")
    parser.add_argument("replicate", nargs="?", default="")
    parser.add_argument("--design", default=None, help="its key, or how it begins")
    parser.add_argument("--config", default="config/config.yaml")
    given = [*sys.argv[1:], "--"]  # argparse takes none that begin with a hyphen, wherever -- stands
    own, options = given[: given.index("--")], given[given.index("--") + 1 : -1]
    asked = parser.parse_args(own)
    try:
        return run(asked.study, asked.replicate, asked.design, asked.config, options)
    except (StudyError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def run(name: str, number: str, design: str | None, config: str, options: list[str]) -> int:
    """Replay one replicate; Snakemake's exit status."""
    if not name or not number.removeprefix("-").isdecimal():
        raise StudyError("replay", f"STUDY={name} REPLICATE={number}: {USAGE}")
    replicate, studies = int(number), load(yaml.safe_load(Path(config).read_text(encoding="utf-8")))
    study, point, moments = replay.find(studies, name, replicate, design)
    place = Path("results/replays") / f"{name}-{point.key}-{replicate}"
    how = replays.from_moments if moments else replays.from_rows
    found, status = how(study, point, replicate, place, config, options)
    if found is None:
        return status
    write_text(place / "config.yaml", yaml.safe_dump(found, sort_keys=False, allow_unicode=True))
    own = ["--directory", str(place), "--configfile", str(place / "config.yaml")]
    status = replays.snakemake([*own, *options])
    if status == 0 and (page := place / "results/report.html").exists():
        print(f"The replicate's report: {page}")
    return status


if __name__ == "__main__":
    sys.exit(main())
