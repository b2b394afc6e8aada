"""The whole pipeline on very many rows: OLS, reml, PyMC and the report, from generated Parquet.

python benchmarks/rows.py --rows 1e8 --directory /tmp/rows      about 2 GB of disk
python benchmarks/rows.py --rows 1e9 --directory /big/disk      about 19 GB, ten files, moments in jobs of their own

Makes the rows (kept for another run with --keep), runs a copy of the project on them in `directory`, and prints what
Snakemake's own benchmark files say of each job: seconds, CPU seconds, peak resident memory.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml
from make_rows import make

ROOT = Path(__file__).resolve().parents[1]
PART = 100_000_000  # rows of a file: about 2 GB
PYMC = {"chains": 2, "tune": 600, "draws": 1000, "seed": 1}


def project(directory: Path, files: list[Path]) -> Path:
    """A copy of the workflow, without results, that is configured for the files."""
    copy = directory / "project"
    shutil.rmtree(copy, ignore_errors=True)
    for name in ("workflow", "profiles", "config"):
        shutil.copytree(ROOT / name, copy / name)
    for name in ("Snakefile", "environment.yml"):
        shutil.copy2(ROOT / name, copy / name)
    (copy / "results").mkdir()
    study = {
        "formula": "y ~ x + (x | g)",
        "data": [str(file) for file in files],
        "engines": {"ols": {}, "mixedlm": {}, "reml": {}, "pymc": PYMC},
    }
    (copy / "config/rows.yaml").write_text(yaml.safe_dump({"studies": {"rows": study}}))
    return copy


def run(copy: Path, cores: int) -> float:
    """Seconds of the run; the reader sees Snakemake's own output."""
    environment = os.environ | {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--configfile", "config/rows.yaml"]
    start = time.perf_counter()
    subprocess.run(command, cwd=copy, env=environment, check=True)
    return time.perf_counter() - start


def jobs(copy: Path) -> list[tuple[str, float, float, float]]:
    """Name, seconds, CPU seconds and peak MB of every job, from Snakemake's benchmark files."""
    found = []
    for path in [*copy.glob("results/rows/benchmarks/*.tsv"), *copy.glob("results/benchmarks/*.tsv")]:
        with open(path, newline="") as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        values = (row["s"], row["cpu_time"], row["max_rss"])
        found.append((path.stem, *(float(value) if value not in ("NA", "-") else 0.0 for value in values)))
    return found


def main() -> None:
    """Parse the command line, make the rows, run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=PART)
    parser.add_argument("--groups", type=lambda text: int(float(text)), default=100_000)
    parser.add_argument("--directory", type=Path, required=True, help="where rows and the run's copy go")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="keep the rows for another run")
    arguments = parser.parse_args()
    directory = arguments.directory.resolve()
    count = -(-arguments.rows // PART)
    files = make(directory, arguments.rows, arguments.groups, count, arguments.cores)
    try:
        copy = project(directory, files)
        seconds = run(copy, arguments.cores)
    finally:
        if not arguments.keep:
            for file in files:
                file.unlink(missing_ok=True)
    table = jobs(copy)
    print(f"| {'job':<12} | seconds | CPU s | peak MB |\n|---|---:|---:|---:|")
    for name, wall, cpu, peak in table:
        print(f"| {name:<12} | {wall:.1f} | {cpu:.1f} | {peak:.0f} |")
    peak = max(row[3] for row in table)
    size = f"{arguments.rows:,} rows, {arguments.groups:,} groups, {arguments.cores} cores"
    print(f"{size}: {seconds:.0f} s, largest job {peak:.0f} MB")


if __name__ == "__main__":
    main()
