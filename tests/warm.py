"""A process that has imported Snakemake once and copies itself for every run: imports are half of a short run.

It imports nothing of this project: every run reads the Snakefile and the library of its own directory. A request
is a line of JSON on its standard input (directory, environment, options, files for what is said); the answer is
the run's status. From the first run with jobs on it has a copy that has imported what scripts import, which copies
itself for every script: `warm_job.py` stands for the script in Snakemake's shell. The scripts' own interpreters, as
users start them, are those of the runs that say `cold`, on Slurm, and of `make thorough`.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

CLIENT = str(Path(__file__).with_name("warm_job.py"))
# What Snakemake, its executors and the plan of the studies import.
OF_SNAKEMAKE = ("formulaic", "numba", "snakemake_executor_plugin_slurm", "snakemake.cli", "snakemake.script")
# What the library's scripts import.
OF_SCRIPTS = (
    "scipy.stats", "scipy.optimize", "scipy.sparse.linalg", "pyarrow.parquet", "statsmodels.api", "pymc", "nutpie",
    "arviz", "matplotlib.figure", "matplotlib.backends.backend_svg", "jinja2",
)  # fmt: skip


class Warm:
    """The process, from the side of the tests."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.jobs = f"{self.folder.name}/jobs"
        self.process = subprocess.Popen(
            [sys.executable, __file__, self.jobs],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True,
        )  # fmt: skip

    def run(self, options: tuple[str, ...], root: Path, seconds: float = 300, cold: bool = False):
        """Snakemake in a directory, with this process's environment; its jobs' own interpreters where `cold`."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SNAKEMAKE")}
        with tempfile.TemporaryDirectory() as folder:
            files = [f"{folder}/stdout", f"{folder}/stderr"]
            job = {"root": str(root), "environment": environment, "options": options, "files": files}
            job |= {"umask": umask(), "jobs": "--cores" in options and not cold}
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
        self.folder.cleanup()


def umask() -> int:
    """This process's umask, which can be read by setting it alone."""
    os.umask(now := os.umask(0))
    return now


def become(job: dict, argv: list[str]) -> None:
    """What a fresh interpreter would be: its directory, umask, environment, arguments."""
    os.chdir(job["root"])
    os.umask(job["umask"])
    os.environ.clear()
    os.environ.update(job["environment"])
    time.tzset()
    sys.argv = argv


def freeze() -> None:
    """Keep what is imported out of the copies' collections of garbage, which would copy its memory."""
    gc.collect()
    gc.freeze()


def end_after(run: Callable[[], object]) -> NoReturn:
    """Call `run` and end as an interpreter does, without taking down one by one the modules that it shares."""
    status: object = 1
    try:
        run()
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # waits for its threads, as an interpreter does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status if isinstance(status, int) else 1)


def snakemake(job: dict, jobs: str) -> None:
    """One run, in a copy of the process."""
    from snakemake import cli
    from snakemake.script import PythonScript

    become(job, ["snakemake", *job["options"]])
    sys.path[0] = job["root"]
    for number, (file, mode) in enumerate(zip(["/dev/null", *job["files"]], "rww", strict=True)):
        with open(file, mode) as opened:
            os.dup2(opened.fileno(), number)
    if job["jobs"]:

        def execute_script(self, fname, edit=False):
            command = [sys.executable, "-S", "-E", CLIENT, jobs, fname]
            self._execute_cmd("{command:q}", command=command, is_python_script=True)

        PythonScript.execute_script = execute_script
    end_after(cli.main)


def serve(jobs: str) -> None:
    """One run after the other."""
    for name in OF_SNAKEMAKE:
        importlib.import_module(name)
    freeze()
    server = None
    for line in sys.stdin:
        job = json.loads(line)
        if job["jobs"] and not server:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(jobs)
            listening.listen(64)
            if (server := os.fork()) == 0:
                serve_jobs(listening)
            listening.close()
        child = os.fork()
        if child == 0:
            snakemake(job, jobs)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    if server:
        os.kill(server, signal.SIGTERM)
        os.waitpid(server, 0)


def serve_jobs(listening: socket.socket) -> None:
    """Scripts side by side, each in a copy of this process; one whose client ends is ended."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)  # the answers are the other process's
    os.environ["MPLBACKEND"] = "Agg"
    for name in OF_SCRIPTS:
        importlib.import_module(name)
    freeze()
    watchers = set()
    while True:
        connection, _ = listening.accept()
        watchers -= {one for one in watchers if os.waitpid(one, os.WNOHANG)[0]}
        if (watcher := os.fork()) == 0:
            listening.close()
            watch(connection)
        watchers.add(watcher)
        connection.close()


def watch(connection: socket.socket) -> None:
    """Run the script that a client asks for and tell it the status."""
    said, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    child = os.fork()
    if child == 0:
        os.setsid()
        connection.close()
        job = json.loads(said)
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        become(job, job["argv"])
        sys.path[:1] = [os.path.dirname(os.path.abspath(job["argv"][0]))]
        sys.path[1:1] = filter(None, job["environment"].get("PYTHONPATH", "").split(os.pathsep))
        end_after(partial(runpy.run_path, job["argv"][0], run_name="__main__"))
    ended = os.pidfd_open(child)
    if ended not in select.select([connection, ended], [], [])[0]:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        connection.send(str(status).encode())
    os._exit(0)


if __name__ == "__main__":
    # Arrow's allocator has a thread of its own, which it stops for the fork
    warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
    serve(sys.argv[1])
