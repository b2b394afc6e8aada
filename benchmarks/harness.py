"""What every benchmark uses: rows of the table, interleaved timings, workers, watched processes."""

import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SCRIPTS = ROOT / "workflow" / "scripts"
WATCH_EVERY = 0.05


@dataclass(frozen=True)
class Row:
    """One line of the table: the median of `n` repetitions with their range, held against a target."""

    measure: str
    value: float | None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    n: int = 1
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None without a value or a target."""
        if self.value is None or (self.at_most is None and self.at_least is None):
            return None
        high = self.at_most is not None and self.value > self.at_most
        low = self.at_least is not None and self.value < self.at_least
        return not (high or low)


def row_of(measure: str, values: Sequence[float], unit: str = "s", **more) -> Row:
    """Median and range of repetitions."""
    return Row(measure, statistics.median(values), unit, min(values), max(values), len(values), **more)


def ratio_of(measure: str, above: Sequence[float], below: Sequence[float], **more) -> Row:
    """Ratio of two medians; its range is that of the rounds' own ratios, each pair measured side by side."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    value = statistics.median(above) / statistics.median(below)
    return Row(measure, value, "×", min(ratios), max(ratios), len(ratios), **more)


def skipped(measure: str, why: str) -> Row:
    """A line for what could not be measured."""
    return Row(measure, None, n=0, note=f"skipped: {why}")


@dataclass(frozen=True)
class Options:
    """How to run: `smoke` is the tiny version, `large` adds what takes long, `rivals` a Python with competitors."""

    scratch: Path
    smoke: bool = False
    large: bool = False
    rivals: str | None = None
    cores: int = os.cpu_count() or 1

    def rounds(self, usual: int) -> int:
        """Repetitions."""
        return 2 if self.smoke else usual


def environment(**more: str) -> dict[str, str]:
    """One thread a process for every BLAS and runtime; bytecode as `make` has it."""
    out = {name: value for name, value in os.environ.items() if not name.startswith("SNAKEMAKE")}
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH"):
        out.pop(name, None)
    threads = ("OPENBLAS", "OMP", "MKL", "RAYON")
    return out | {f"{name}_NUM_THREADS": "1" for name in threads} | {"MPLBACKEND": "Agg"} | more


class WorkerError(RuntimeError):
    """A worker that could not start or could not do what it was asked."""


class Worker:
    """A process that stays warm: takes `how<TAB>data file`, answers with numbers, its own seconds first.

    Each engine is timed inside its own process, so that neither starting nor reading data counts, and
    engines can take turns.
    """

    def __init__(self, name: str, command: Sequence[str]):
        self.name, self.command = name, list(command)

    def __enter__(self) -> "Worker":
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            self.command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment()
        )
        return self

    def __exit__(self, *_) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def ask(self, how: str, data: Path) -> list[float]:
        """Have it done once."""
        try:
            self.process.stdin.write(f"{how}\t{data}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(f"{self.name}: {_last_line(self.process.stderr.read())}") from None
        answer = self.process.stdout.readline()
        if not answer or answer.startswith("error"):
            raise WorkerError(f"{self.name}: {answer.strip() or _last_line(self.process.stderr.read())}")
        return [float(word) for word in answer.split()]


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no message"


def take_turns(what: dict[str, Callable[[], list[float]]], rounds: int) -> dict[str, list[list[float]]]:
    """Each once to warm up, then A B C A B C ...: a slow spell of the machine hits all alike."""
    for once in what.values():
        once()
    out: dict[str, list[list[float]]] = {name: [] for name in what}
    for _ in range(rounds):
        for name, once in what.items():
            out[name].append(once())
    return out


def start(stack: ExitStack, workers: dict[str, Worker | None]) -> dict[str, Worker]:
    """Those of the workers that exist, started."""
    return {name: stack.enter_context(worker) for name, worker in workers.items() if worker is not None}


def own_worker() -> Worker:
    """This project's engines and statsmodels, from a data frame."""
    return Worker("lmm-recovery", [sys.executable, str(HERE / "fit_lmm.py")])


@dataclass(frozen=True)
class Watched:
    """A finished process: wall time, largest memory of it and all its children, time without any child."""

    seconds: float
    peak_mb: float
    alone: float
    output: str


def watch(command: Sequence[str], cwd: Path, **more: str) -> Watched:
    """Run a command, its whole tree watched.

    Raises
    ------
    RuntimeError
        With the end of its output, where it fails.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        list(command), cwd=cwd, env=environment(**more), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    seen = {"peak": 0.0, "alone": 0.0}
    watcher = threading.Thread(target=_look, args=(process, seen), daemon=True)
    watcher.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - began
    watcher.join()
    if process.returncode:
        raise RuntimeError(
            f"{' '.join(map(str, command))} ended with {process.returncode}:\n{output[-3000:]}"
        )
    return Watched(seconds, seen["peak"] / 1e6, seen["alone"], output)


def _look(process: subprocess.Popen, seen: dict[str, float]) -> None:
    root, last = psutil.Process(process.pid), time.perf_counter()
    while process.poll() is None:
        try:
            children = root.children(recursive=True)
            total = sum(_memory(one) for one in [root, *children])
        except psutil.NoSuchProcess:
            break
        now = time.perf_counter()
        seen["peak"] = max(seen["peak"], total)
        seen["alone"] += 0.0 if children else now - last
        last = now
        time.sleep(WATCH_EVERY)


def _memory(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0.0


def clone(to: Path) -> Path:
    """What a run needs of the project, results left out, on the same environment."""
    to.mkdir(parents=True)
    leave = shutil.ignore_patterns("__pycache__")
    for name in ("workflow", "config", "profiles"):
        shutil.copytree(ROOT / name, to / name, ignore=leave)
    for name in ("Snakefile", "Makefile", "environment.yml", "requirements.lock", ".python-version"):
        shutil.copy2(ROOT / name, to / name)
    (to / "results").mkdir()
    (to / ".venv").symlink_to(sys.prefix)
    return to


def empty(project: Path) -> None:
    """No results and no memory of a run."""
    for path in (project / "results", project / ".snakemake"):
        shutil.rmtree(path, ignore_errors=True)
    (project / "results").mkdir()
