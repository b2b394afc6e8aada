"""Replicates of some designs, one after the other, and chunks of them put together."""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lmm.core.progress import Progress
from lmm.core.store import write_whole

TEXT, NUMBER, COUNT = pa.string(), pa.float64(), pa.int64()
REPLICATES = pa.schema(
    [
        ("design", TEXT), ("replicate", COUNT), ("engine", TEXT), ("effect", TEXT), ("group", TEXT), ("term", TEXT),
        ("df", TEXT), ("truth", NUMBER), ("estimate", NUMBER), ("std_error", NUMBER), ("conf_low", NUMBER),
        ("conf_high", NUMBER), ("status", TEXT), ("message", TEXT), ("sampler", TEXT), ("seconds", NUMBER),
    ]
)  # fmt: skip
RANKS = pa.schema(
    [
        ("design", TEXT), ("replicate", COUNT), ("quantity", TEXT), ("rank", COUNT), ("n_ranks", COUNT),
        ("ess", NUMBER), ("status", TEXT),
    ]
)  # fmt: skip


def run(
    sources: Mapping[str, Any], engines: Mapping[str, Any], seed: int, first: int, stop: int
) -> tuple[pa.Table, pa.Table]:
    """Replicates first ... stop - 1 of every design.

    Parameters
    ----------
    sources : mapping
        A design's key to `recovery.data.Simulated` or `Bootstrap`.
    engines : mapping
        Name to `recovery.replicate.Engine`.
    seed : int
        The Bayesian engine's seed, from which each replicate's is derived.
    first : int
        The first replicate.
    stop : int
        The one after the last.

    Returns
    -------
    replicates, ranks : Table
        `REPLICATES` and `RANKS`; the former has the designs' columns and the versions in its metadata.
    """
    from lmm.recovery.data import sampler_seed
    from lmm.recovery.replicate import fit_all, one_line, records, true_explained
    from lmm.recovery.times import versions

    rows, ranked = [], []
    widest = max(engines.values(), key=lambda engine: sum(len(own.random) for own in engine.terms.groupings))
    progress = Progress("replicates", len(sources) * (stop - first))
    with progress, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what matters of them is in the fits' messages
        for key, source in sources.items():
            for replicate in range(first, stop):
                data, true, failure = None, {}, ""
                try:
                    data = source.draw(replicate)
                    true = true_explained(data, widest.terms)
                    done = fit_all(engines, data, sampler_seed(seed, key, replicate))
                except Exception as error:  # a data set that cannot be drawn is every engine's error
                    failure = one_line(error)
                    done = {name: (None, "error", failure, np.nan) for name in engines}
                for name, (outcome, status, message, took) in done.items():
                    found = records(engines[name], outcome, data, true)
                    drawn = "" if outcome is None else outcome.fit.diagnostics.summary.get("sampler", "")
                    rows += [(key, replicate, name, *row, status, message, drawn, took) for row in found]
                    if outcome is not None and outcome.ranks is not None:
                        values = outcome.ranks.itertuples(index=False, name=None)
                        ranked += [(key, replicate, *row, status) for row in values]
                progress.advance()
    about = {
        "designs": {key: source.columns() for key, source in sources.items()},
        "versions": versions(engines),
    }
    return _table(rows, REPLICATES, about), _table(ranked, RANKS, {"designs": {}})


def _table(rows: list[tuple], schema: pa.Schema, about: Mapping[str, Any]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return with_about(pa.Table.from_arrays(arrays, schema=schema), about)


def with_about(table: pa.Table, about: Mapping[str, Any]) -> pa.Table:
    """A table with JSON in its metadata.

    Parameters
    ----------
    table : Table
        Of a chunk.
    about : mapping
        Name to plain values.

    Returns
    -------
    Table
    """
    return table.replace_schema_metadata({name: json.dumps(value) for name, value in about.items()})


def write(path: str | Path, table: pa.Table) -> None:
    """Write a table as Parquet, whole or not at all."""
    write_whole(path, lambda name: pq.write_table(table, name, compression="zstd"))


def read(file: str | Path) -> pa.Table:
    """A chunk's replicates, without what differs from run to run."""
    table = pq.read_table(file).replace_schema_metadata(None)
    return table.drop_columns("seconds")


def merge(files: Iterable[str | Path], keys: Sequence[str]) -> pa.Table:
    """Chunks in the order of designs and replicates, with the designs' columns: the same for any chunks.

    What differs from run to run is left out: `seconds`, and the versions (see `fit_times.diagnostics`).

    Parameters
    ----------
    files : iterable of paths
        Chunks.
    keys : sequence of str
        The designs, in order.

    Returns
    -------
    Table
    """
    tables = [pq.read_table(file) for file in files]
    about: dict[str, dict] = {}
    for table in tables:
        about |= json.loads(table.schema.metadata[b"designs"])
    whole = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    at = pc.index_in(whole["design"], value_set=pa.array(list(keys), TEXT))
    order = pc.sort_indices(
        pa.table({"design": at, "replicate": whole["replicate"]}),
        sort_keys=[("design", "ascending"), ("replicate", "ascending")],
    )  # stable: rows of a replicate stay as they are
    whole, at = whole.take(order).combine_chunks(), at.take(order)
    if "seconds" in whole.column_names:
        whole = whole.drop_columns("seconds")
    for place, (name, values) in enumerate(design_columns(about, keys).items(), start=1):
        whole = whole.add_column(place, name, values.take(at))
    return whole


def design_columns(about: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> dict[str, pa.Array]:
    """Columns that describe designs, one value per design; text where any of them is, empty columns are left out."""
    names = dict.fromkeys(name for key in keys for name in about.get(key, {}))
    out = {}
    for name in names:
        values = [about.get(key, {}).get(name) for key in keys]
        if any(isinstance(value, str) for value in values):
            values = [None if value is None else str(value) for value in values]
        if any(value is not None for value in values):
            out[name] = pa.array(values)
    return out
