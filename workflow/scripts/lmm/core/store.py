"""Reading and writing artifacts: whole or not at all.

A file is written under a temporary name beside its destination and then renamed, so that a job killed in
mid-write, or a second copy of it on another node, never leaves half an artifact under its final name.
"""

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Columns of names and words in the tables that are CSV: CSV has no types, and a level may look like a number.
TEXT = [
    "alternative", "contrast", "design", "diagnosis", "difference_of", "effect", "engine", "finding", "formula",
    "group", "kind", "level", "measure", "message", "mixture", "model", "null", "quantity", "status", "subset",
    "term", "type", "verdict",
]  # fmt: skip


def write_whole(path: str | Path, write: Callable[[str], Any]) -> None:
    """Call `write` on a temporary name beside `path`, then rename it to `path`.

    Parameters
    ----------
    path : str or Path
        Destination; its directory is made if it is missing.
    write : callable
        Takes the temporary name (same suffix as `path`) and writes the whole file there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        write(name)
        os.chmod(name, 0o644)  # mkstemp makes files that colleagues cannot read
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """`value` with NumPy scalars and arrays as built-in types and NaN or infinity as None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    write_whole(path, lambda name: Path(name).write_text(text, encoding="utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinities become null, so that any parser can read it."""
    write_text(path, json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """The content of a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as CSV or Parquet, by the suffix of `path`, in full float precision."""
    if str(path).endswith(".csv"):
        write_whole(path, lambda name: table.to_csv(name, index=False))
    else:
        write_whole(path, lambda name: table.to_parquet(name, index=False))


def read_table(path: str | Path, text: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table that `write_table` wrote.

    An empty cell is '' among text and missing among numbers, and nothing else is missing: a level may be called NA.

    Parameters
    ----------
    path : str or Path
        A CSV or Parquet file.
    text : sequence of str
        Columns of a CSV that are text whatever stands in them, beside those of `TEXT`.
    """
    if not str(path).endswith(".csv"):
        return pd.read_parquet(path)
    columns = pd.read_csv(path, nrows=0).columns
    words = columns.intersection([*TEXT, *text])
    numbers = {name: [""] for name in columns.difference(words)}
    return pd.read_csv(
        path,
        dtype=dict.fromkeys(words, str),
        na_values=numbers,
        keep_default_na=False,
    )


def existing(paths: Mapping[str, Any]) -> dict[str, str]:
    """The single files among a job's inputs that are there; lists of files (the library, templates) are left out."""
    single = {name: str(path) for name, path in paths.items() if path and isinstance(path, str | Path)}
    return {name: path for name, path in single.items() if Path(path).exists()}
