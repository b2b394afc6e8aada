"""Where a report comes from: revision, versions, run times, and the graph of what led to what."""

import csv
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
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
STAGES = ("ols", "mixedlm", "reml", "pymc")


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
    """What Snakemake's benchmark files say: study, rule, seconds, peak memory in MB."""
    files = [("", file) for file in sorted(Path(root).glob("benchmarks/*.tsv"))]
    for study in studies:
        files += [(study, file) for file in sorted((Path(root) / study / "benchmarks").glob("*.tsv"))]
    rows = []
    for study, file in files:
        with open(file, newline="") as lines:
            rows += [
                {
                    "study": study,
                    "rule": file.stem,
                    "seconds": _float(row.get("s")),
                    "memory": _float(row.get("max_rss")),
                }
                for row in csv.DictReader(lines, delimiter="\t")
            ]
    return rows


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


def edges(engines: Iterable[str]) -> list[tuple[str, str]]:
    """What leads to what in a study with these engines."""
    engines = list(engines)
    found = [("data", "moments")]
    for engine in engines:
        found.append(("moments", engine))
        if engine == "mixedlm" and "reml" in engines:
            found.append(("reml", "mixedlm"))
        found.append((engine, "comparison"))
    return [*found, ("comparison", "figures"), ("figures", "report")]


def graph(pairs: Iterable[tuple[str, str]], seconds: Mapping[str, float]) -> str:
    """The stages as an SVG, laid out in columns by the longest way from the start, with their run times."""
    pairs = list(pairs)
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for before, after in pairs:
            depth[after] = max(depth[after], depth[before] + 1)
    middle = [
        name for name in names if name in ("data", "moments", "replicates", "comparison", "figures", "report")
    ]
    lanes = sorted(
        (n for n in names if n not in middle), key=lambda n: STAGES.index(n) if n in STAGES else len(STAGES)
    )
    wide, high, row = 88, 38, 52
    gap = (760 - wide * (max(depth.values()) + 1)) / max(max(depth.values()), 1)
    height = row * max(len(lanes), 1)
    # an engine a lane, so that no line runs behind a box; what all engines share stands in the middle
    at = {
        name: (
            depth[name] * (wide + gap),
            (lanes.index(name) * row if name in lanes else (height - row) / 2) + 7,
        )
        for name in names
    }
    lines = []
    for before, after in pairs:
        (x0, y0), (x1, y1) = at[before], at[after]
        x0, y0, y1 = x0 + wide, y0 + high / 2, y1 + high / 2
        turn = x1 - gap  # straight until the gap before the next box, so that it passes no other
        bend = (turn + x1) / 2
        lines.append(
            f'<path d="M{x0:.0f} {y0:.0f}H{turn:.0f}C{bend:.0f} {y0:.0f} {bend:.0f} {y1:.0f} {x1:.0f} {y1:.0f}"/>'
        )
    boxes = []
    for name, (x, y) in at.items():
        time = f"{seconds[name]:.1f} s" if name in seconds else ""
        boxes.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{wide}" height="{high}" rx="6"/>'
            f'<text x="{x + wide / 2:.0f}" y="{y + (16 if time else 23):.0f}">{escape(name)}</text>'
            + (f'<text class="small" x="{x + wide / 2:.0f}" y="{y + 30:.0f}">{time}</text>' if time else "")
        )
    told = "; ".join(f"{before} to {after}" for before, after in pairs)
    return (
        f'<svg class="figure graph" viewBox="0 0 760 {height}" width="760" role="img" '
        f'aria-label="What led to what: {escape(told)}."><g class="edges">{"".join(lines)}</g><g '
        f'class="nodes">{"".join(boxes)}</g></svg>'
    )
