"""`make replay STUDY=design REPLICATE=17 [DESIGN=key] [CONFIG=config/recovery.yaml]`: one replicate in full.

Writes a configuration whose `simulate` carries the replicate's address and runs the workflow on it, in a directory of
its own below results/replays/.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import yaml

from lmm.errors import StudyError
from lmm.replay import replay
from lmm.store import write_text
from lmm.study import load


def main() -> int:
    """Exit status: Snakemake's, or 1 where there is nothing to replay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study")
    parser.add_argument("replicate", type=int)
    parser.add_argument("--design", default=None, help="its key, or how it begins")
    parser.add_argument("--config", default="config/config.yaml")
    parser.epilog = "Options for Snakemake follow after --"
    given = [*sys.argv[1:], "--"]  # argparse takes none that begin with a hyphen, wherever -- stands
    own, options = given[: given.index("--")], given[given.index("--") + 1 : -1]
    asked = parser.parse_args(own)
    try:
        studies = load(yaml.safe_load(Path(asked.config).read_text(encoding="utf-8")))
        found = replay(studies, asked.study, asked.replicate, asked.design)
    except (StudyError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    key = found["studies"][asked.study]["simulate"]["address"]["design"]
    place = Path("results/replays") / f"{asked.study}-{key}-{asked.replicate}"
    write_text(place / "config.yaml", yaml.safe_dump(found, sort_keys=False, allow_unicode=True))
    root = Path(os.path.relpath(Path(__file__).parents[2]))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile")]
    command += ["--profile", str(root / "profiles/default"), "--directory", str(place)]
    command += ["--configfile", str(place / "config.yaml")]
    status = subprocess.run([*command, *options], check=False).returncode
    page = place / "results/report.html"
    if status == 0 and page.exists():
        print(f"The replicate's report: {page}")
    return status


if __name__ == "__main__":
    sys.exit(main())
