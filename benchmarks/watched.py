"""Whole runs: a command with its process tree watched, and a copy of the project to run it in."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from harness import ROOT, environment

WATCH_EVERY = 0.2  # s: the watcher takes time of the cores that the run uses


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
