"""A process that has imported Snakemake once and copies itself for every run: imports are half of a short run.

It imports nothing of this project: every run reads the Snakefile and the library of its own directory. A request
is a line of JSON on its standard input (directory, environment, options, files for what is said); the answer is
the run's status.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path


class Warm:
    """The process, from the side of the tests."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True,
        )  # fmt: skip

    def run(self, options: tuple[str, ...], root: Path, seconds: float = 300) -> subprocess.CompletedProcess:
        """Snakemake in a directory, with this process's environment."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SNAKEMAKE")}
        with tempfile.TemporaryDirectory() as folder:
            files = [f"{folder}/stdout", f"{folder}/stderr"]
            job = {"root": str(root), "environment": environment, "options": options, "files": files}
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            if not select.select([self.process.stdout], [], [], seconds)[0]:
                os.killpg(self.process.pid, 9)
                raise TimeoutError(f"{' '.join(options)}: not within {seconds} s")
            status = int(self.process.stdout.readline())
            said = [Path(file).read_text() for file in files]
        return subprocess.CompletedProcess(options, status, *said)

    def end(self) -> None:
        """No more runs."""
        self.process.stdin.close()
        self.process.wait()


def become(job: dict) -> None:
    """What a fresh interpreter would be: its directory, environment, input and output."""
    os.chdir(job["root"])
    os.environ.clear()
    os.environ.update(job["environment"])
    for number, (file, mode) in enumerate(zip(["/dev/null", *job["files"]], "rww", strict=True)):
        with open(file, mode) as opened:
            os.dup2(opened.fileno(), number)
    sys.argv, sys.path[0] = ["snakemake", *job["options"]], job["root"]


def serve() -> None:
    """One run after the other, each in a copy of this process."""
    # what Snakemake, its executors and the plan of the studies import
    import formulaic  # noqa: F401
    import numba  # noqa: F401
    import snakemake_executor_plugin_slurm  # noqa: F401
    from snakemake import cli

    # Arrow's allocator has a thread of its own, which it stops for the fork
    warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(json.loads(line))
            cli.main()
            sys.exit()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
