"""`make`: Snakemake with a line for each job, after a look at the configuration files that its options name.

    python workflow/tools/run.py [options of Snakemake]

Snakemake reads these files before anything of ours, and answers one that it cannot read with a traceback.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from lmm.core.errors import StudyError
from planning.configuration import check

OPTIONS = ("--configfile", "--configfiles")
# Where one of these is asked for, Snakemake's own lines are wanted.
WHOLE = ("--verbose", "--logger", "--dry-run", "--dryrun", "-n", "--debug-dag", "--summary", "--quiet", "-q")


def files(arguments: Sequence[str]) -> Iterator[str]:
    """The configuration files that options of Snakemake name."""
    named = False
    for argument in arguments:
        option, _, value = argument.partition("=")
        if option in OPTIONS and value:
            yield value
        elif argument.startswith("-"):
            named = option in OPTIONS
        elif named:
            yield argument


def main(arguments: Sequence[str]) -> None:
    try:
        for file in files(arguments):
            check(file)
    except StudyError as error:
        raise SystemExit(str(error)) from None
    lines = [] if {argument.partition("=")[0] for argument in arguments} & {*WHOLE} else ["--logger", "lmm"]
    # Snakemake looks for loggers where Python looks for modules.
    places = [sys.path[0], *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(places))}
    os.execve(sys.executable, [sys.executable, "-m", "snakemake", *arguments, *lines], environment)


if __name__ == "__main__":
    main(sys.argv[1:])
