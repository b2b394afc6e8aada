"""What every benchmark uses: rows of the table, interleaved timings, workers."""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SCRIPTS = ROOT / "workflow" / "scripts"


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
    """One thread a process for every BLAS and runtime; bytecode as `make` has it; no ARGS of a `make` above us."""
    out = {name: value for name, value in os.environ.items() if not name.startswith("SNAKEMAKE")}
    makes = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ARGS")
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", *makes):
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
