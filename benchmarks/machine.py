"""The machine and the versions, in words that name no host."""

import datetime
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = ("snakemake", "pymc", "nutpie", "pytensor", "numba", "numpy", "statsmodels", "pandas", "duckdb")


def processor() -> str:
    """The CPU's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def revision(root: Path) -> str:
    """Short Git revision, marked if files differ from it."""
    git = ["git", "-C", str(root)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "workflow", "config"], capture_output=True, text=True
        )
    except OSError:
        return "unknown"
    if commit.returncode:
        return "unknown"
    return commit.stdout.strip() + (" with changes" if changed.stdout.strip() else "")


def describe(root: Path, rivals: dict[str, str]) -> dict:
    """What a table's reader must know: date, CPU, cores, memory, load, versions of ours and of competitors."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "missing"
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": processor(),
        "cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
        "revision": revision(root),
        "versions": versions,
        "rivals": rivals,
    }


def sentence(machine: dict) -> str:
    """One paragraph."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    rivals = ", ".join(f"{name} {number}" for name, number in machine["rivals"].items())
    return (
        f"{machine['date']}, revision {machine['revision']}: {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}; load average {machine['load_before']} at the start. "
        f"{versions}. Beside them: {rivals}."
    )
