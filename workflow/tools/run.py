"""`make`: Snakemake, after a look at the configuration files that it is told to read.

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
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
