"""How long fits took, and by which versions: kept in chunks, told in recovery/diagnostics.json and in no table."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lmm.core.engines import row
from lmm.core.versions import versions_of
from lmm.recovery.grid import USABLE, fits_of, place

COLUMNS = ["design", "replicate", "engine", "status", "seconds"]


def versions(engines: Iterable[str]) -> dict[str, str]:
    """Versions of what some engines compute with."""
    return versions_of(*sorted({"numpy"}.union(*(row(engine).packages for engine in engines))))


def diagnostics(files: Iterable[str | Path], keys: Sequence[str]) -> dict[str, Any]:
    """What recovery/diagnostics.json says.

    Parameters
    ----------
    files : iterable of paths
        Chunks, as `chunks.run` makes them.
    keys : sequence of str
        The designs, in order.

    Returns
    -------
    dict
        seconds : for each design and engine, design, engine, number (fits that were tried), usable (of them), and of
        their wall-clock seconds median, low and high (5 and 95 %), mean and total. The first fit of PyMC in a job
        includes its compilation.
        versions : package to version; several, of chunks made at different times, are listed.
    """
    tables = [pq.read_table(file, columns=COLUMNS) for file in files]
    found: dict[str, set[str]] = {}
    for table in tables:
        for package, version in json.loads(table.schema.metadata[b"versions"]).items():
            found.setdefault(package, set()).add(version)
    whole = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    fits = fits_of(whole.to_pandas())
    groups = {key: own for key, own in fits.groupby(["design", "engine"])}
    order = sorted(groups, key=lambda key: (keys.index(key[0]), place(key[1])))
    return {
        "seconds": [
            {"design": design, "engine": engine} | _summary(groups[design, engine])
            for design, engine in order
        ],
        "versions": {package: ", ".join(sorted(found[package])) for package in sorted(found)},
    }


def _summary(fits: pd.DataFrame) -> dict[str, float]:
    """Of the fits of one engine in one design; those of data sets that could not be drawn took no time."""
    took = fits["seconds"]
    low, median, high = took.quantile([0.05, 0.5, 0.95])
    usable = int(fits["status"].isin(USABLE).sum())
    return {
        "number": int(took.notna().sum()), "usable": usable, "median": median, "low": low, "high": high,
        "mean": took.mean(), "total": took.sum(),
    }  # fmt: skip
