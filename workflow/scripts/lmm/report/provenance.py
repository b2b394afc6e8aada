"""Where a report comes from: revision, versions, run times."""

import csv
import math
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "snakemake",
    "numpy",
    "scipy",
    "pandas",
    "statsmodels",
    "pymc",
    "nutpie",
    "arviz",
    "duckdb",
    "formulaic",
    "matplotlib",
)


def revision(root: str | Path) -> str:
    """The Git revision of `root`, with `+` where files that Git knows were changed; empty outside Git."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return ""


def versions() -> dict[str, str]:
    """Versions of Python and the packages that results depend on; those that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def run_times(root: str | Path, studies: Iterable[str]) -> list[dict[str, Any]]:
    """What Snakemake's benchmark files say: study, rule, seconds, peak memory in MB.

    A rule with many jobs of one study has a folder of such files and here one row: all seconds, the highest peak.
    """
    rows = []
    for study in ("", *studies):
        folder = Path(root) / study / "benchmarks"
        for file in sorted(folder.glob("*.tsv")):
            rows += [{"study": study, "rule": file.stem} | measured for measured in _measured(file)]
        for rule in sorted(path for path in folder.glob("*") if path.is_dir()):
            jobs = [measured for file in rule.rglob("*.tsv") for measured in _measured(file)]
            seconds = [job["seconds"] for job in jobs if job["seconds"] is not None]
            peaks = [job["memory"] for job in jobs if job["memory"] is not None]
            found = {"seconds": math.fsum(seconds) if seconds else None, "memory": max(peaks, default=None)}
            rows += [{"study": study, "rule": rule.name} | found]
    return rows


def _measured(file: Path) -> list[dict[str, float | None]]:
    with open(file, newline="") as lines:
        return [
            {"seconds": _float(row.get("s")), "memory": _float(row.get("max_rss"))}
            for row in csv.DictReader(lines, delimiter="\t")
        ]


def _float(text: str | None) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def collect(root: str | Path, results: str | Path, studies: Iterable[str]) -> dict[str, Any]:
    """All of it, as the report shows it.

    Parameters
    ----------
    root : str or Path
        The project (a Git working tree or not).
    results : str or Path
        The folder of all results.
    studies : iterable of str
    """
    return {
        "rendered": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "revision": revision(root),
        "versions": versions(),
        "system": f"{platform.system()} {platform.machine()}",
        "run_times": run_times(results, studies),
    }
