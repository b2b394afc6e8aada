"""What every script starts with: one thread, a log, and errors that a user can read."""

import os
import sys
from collections.abc import Callable

# Before NumPy is imported anywhere: parallelism is Snakemake's, and sums must not depend on threads.
for _library in ("OPENBLAS", "OMP", "MKL"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"


def run(main: Callable, job) -> None:
    """Call `main(job)` with stdout and stderr in the job's log.

    Parameters
    ----------
    main : callable
        Takes the `snakemake` object of a script.
    job : Snakemake
        Its `wildcards.study`, where there is one, completes the message of a `StudyError`. Such an error
        ends the job with status 1 and its one line, in the log and on the console; any other error leaves its
        traceback in the log.
    """
    from lmm.errors import StudyError

    console = os.dup(2)
    with open(job.log[0], "w") as log:
        # File descriptors, not sys.stdout: compiled code writes there too.
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        main(job)
    except StudyError as error:
        study = job.wildcards.get("study")
        line = f"{error if error.study or not study else error.within(study)}\n"
        sys.stderr.write(line)
        os.write(console, line.encode())
        sys.exit(1)


def truth_of(job) -> dict | None:
    """truth.json's content; None for own data."""
    from lmm.store import read_json

    return read_json(job.input.truth) if job.input.get("truth") else None
