"""What every script starts with: one thread, a log, and errors that a user can read."""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

# The library beside this script, before one that the environment may have installed: Snakemake appends our directory.
sys.path.insert(0, str(Path(__file__).parents[1]))

from running import integrity

# Before NumPy is imported anywhere: parallelism is Snakemake's, and sums must not depend on threads.
for _library in ("OPENBLAS", "OMP", "MKL"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"
SHOWN = "LMM_RECOVERY_LOGS_SHOWN"
CONSOLES: list[int] = []  # descriptor of the console, from when a job has a log


def read_library_from(scripts: Path) -> None:
    """Let the jobs of this Snakemake read this project's library, where the environment's is another copy's."""
    places = [str(scripts), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(places))


def say_whether_logs_are_shown(shown: bool) -> None:
    """Tell the jobs of this Snakemake whether it puts the log of a job that failed on the console itself."""
    os.environ[SHOWN] = "yes" if shown else "no"


def run(main: Callable, job) -> None:
    """Call `main(job)` with stdout and stderr in the job's log.

    Parameters
    ----------
    main : callable
        Takes the `snakemake` object of a script.
    job : Snakemake
        Its `wildcards.study`, where there is one, completes the message of a `StudyError`. Such an error, an
        input that is not whole and a place that cannot be written end the job with status 1 and one line in
        the log, which Snakemake shows on the console (show-failed-logs); where it does not, and where the log
        cannot be written, the job puts the line on the console itself. Any other error leaves its traceback in
        the log.
    """
    from lmm.core.errors import StudyError
    from lmm.core.progress import TERMINALS

    console = os.dup(2)
    CONSOLES.append(console)
    if os.isatty(console):
        where = job.wildcards.get("study")
        TERMINALS.append((os.fdopen(os.dup(console), "w"), f"{where}: " if where else ""))
    try:
        with open(job.log[0], "w") as log:
            # File descriptors, not sys.stdout: compiled code writes there too.
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        for path, flaw in integrity.flaws(job.input):
            raise StudyError(path, f"{flaw}; run again, it is then made anew")
        main(job)
    except StudyError as error:
        _end(job, error, console)
    except Exception as error:
        if not (advice := integrity.advice(error)):
            raise
        named = os.path.dirname(str(getattr(error, "filename", None) or ""))
        where = named or os.path.commonpath([*job.output, *job.log])
        _end(job, StudyError(where, advice), console)


def warn(job, text: str) -> None:
    """A line that a user should see although the job goes on: in the log and on the console."""
    study = job.wildcards.get("study")
    line = f"{f'{study}: ' if study else ''}{text}\n".encode()
    for place in {2, *CONSOLES[-1:]}:
        with contextlib.suppress(OSError):
            os.write(place, line)


def _end(job, error, console: int) -> None:
    """Status 1 and one line, once: in the log, and on the console where nobody else puts it there."""
    study = job.wildcards.get("study")
    line = f"{error if error.study or not study else error.within(study)}\n".encode()
    shown = os.path.sameopenfile(2, console)  # no log could be opened
    with contextlib.suppress(OSError):  # the log may be where nothing can be written
        logged = os.write(2, line) == len(line)
        shown |= logged and os.environ.get(SHOWN) == "yes"
    if not shown:
        os.write(console, line)
    sys.exit(1)


def truth_of(job) -> dict | None:
    """truth.json's content; None for own data."""
    from lmm.core.store import read_json

    return read_json(job.input.truth) if job.input.get("truth") else None


def moment_files(output) -> list[str]:
    """The files of a study's moments: the table, the cells where there are several factors, the details."""
    return [output[name] for name in ("table", "cells", "details") if output.get(name)]
