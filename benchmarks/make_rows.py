"""Write rows of `y ~ x + (x | g)` as Parquet, any number of them in bounded memory.

python benchmarks/make_rows.py --rows 1e8 --groups 1e5 --files 1 --directory /tmp/rows

Row i's numbers are hashes of i: the same rows whatever the threads, the number of files or the machine.
About 19 bytes a row. Truth: beta (3, 0.5), sd's (2, 1) with correlation 0.3, sigma 1.
"""

import argparse
import shutil
from pathlib import Path

import duckdb

BYTES_A_ROW = 20
ROW_GROUP = 1_000_000


def _uniform(row: str, stream: int) -> str:
    """SQL of a uniform number in (0, 1) for a row or group and one of several streams."""
    return f"((hash({row}::BIGINT * 32 + {stream}) >> 11)::DOUBLE + 0.5) / 9007199254740992.0"


def _normal(row: str, stream: int) -> str:
    """SQL of a standard normal number (Box and Muller)."""
    radius = f"sqrt(-2 * ln({_uniform(row, stream)}))"
    return f"{radius} * cos(2 * pi() * {_uniform(row, stream + 1)})"


def query(start: int, stop: int, groups: int) -> str:
    """SELECT of rows `start` to `stop`: y, x, g."""
    group = f"(hash(i * 32) % {groups})::INTEGER AS g"
    rows = f"SELECT {group}, {_normal('i', 1)} AS x, {_normal('i', 3)} AS e FROM range({start}, {stop}) t(i)"
    effects = f"SELECT *, {_normal('g', 11)} AS a, {_normal('g', 13)} AS b FROM ({rows})"
    slope = "0.5 + 0.3 * a + sqrt(1 - 0.09) * b"
    return f"SELECT 3 + 2 * a + ({slope}) * x + e AS y, x, g FROM ({effects})"


def make(directory: Path, rows: int, groups: int, files: int = 1, threads: int = 2) -> list[Path]:
    """Write rows-<k>.parquet into `directory`; a file that is there already is kept.

    Raises
    ------
    SystemExit
        The disk has less than the rows take, and a tenth more.
    """
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if rows * BYTES_A_ROW * 1.1 > free:
        raise SystemExit(
            f"{directory}: {free / 1e9:.1f} GB free, {rows * BYTES_A_ROW * 1.1 / 1e9:.1f} GB needed"
        )
    made = []
    for k in range(files):
        path = directory / f"rows-{rows}-{groups}-{files}-{k:03d}.parquet"
        made.append(path)
        if path.exists():
            continue
        unfinished = path.with_suffix(".part")
        with duckdb.connect(config={"threads": threads, "memory_limit": "1GiB"}) as connection:
            connection.execute("SET preserve_insertion_order = false; SET enable_progress_bar = false")
            options = f"FORMAT parquet, ROW_GROUP_SIZE {ROW_GROUP}"
            span = query(rows * k // files, rows * (k + 1) // files, groups)
            connection.execute(f"COPY ({span}) TO '{unfinished}' ({options})")
        unfinished.rename(path)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=10_000_000)
    parser.add_argument("--groups", type=lambda text: int(float(text)), default=100_000)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--directory", type=Path, required=True)
    arguments = parser.parse_args()
    for file in make(arguments.directory, arguments.rows, arguments.groups, arguments.files):
        print(file)
