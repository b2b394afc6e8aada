"""A chunk of replicates by the compiled path, as a table or as sums; and chunks of sums put together."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lmm.core.progress import Progress
from lmm.recovery import compact, sums
from lmm.recovery.chunks import design_columns, with_about
from lmm.recovery.performance import reference_engine
from lmm.recovery.plan import KEPT
from lmm.recovery.times import versions


def run(
    sources: Mapping[str, Any], engines: Mapping[str, Any], level: float, first: int, stop: int, summed: bool
) -> tuple[pa.Table, pa.Table]:
    """Replicates first ... stop - 1 of every design.

    Parameters
    ----------
    sources, engines : mappings
        As for `chunks.run`.
    level : float
        Of the intervals.
    first, stop : int
        The first replicate, and the one after the last.
    summed : bool
        Keep only the first `KEPT` replicates of a design as rows.

    Returns
    -------
    replicates, sums : Table
        `chunks.REPLICATES`; and, where they are `summed`, the sums of each block (else no rows), with how the fits
        ended in the metadata.
    """
    about = {
        "designs": {key: source.columns() for key, source in sources.items()},
        "versions": versions(engines),
    }
    rows, parts, endings = [], [], []
    with Progress("replicates", len(sources) * (stop - first)) as progress, np.errstate(all="ignore"):
        for key, source in sources.items():
            for block in compact.Design(source, engines, level).blocks(first, stop):
                if not summed or next(iter(block.values())).first < KEPT:
                    rows.append(compact.table(key, block))
                if summed:
                    own, ended = sums.of_block(key, block, reference_engine(engines))
                    parts.append(own)
                    endings.append(ended)
                progress.advance(len(next(iter(block.values())).status))
    kept = pa.concat_tables(rows) if rows else compact.REPLICATES.empty_table()
    whole = pd.concat(parts) if parts else pd.DataFrame(columns=[*sums.KEYS, *sums.SUMS])
    ended = pd.concat(endings).to_dict("records") if endings else []
    added = pa.Table.from_pandas(whole, preserve_index=False)
    return with_about(kept, about), with_about(added, {"designs": about["designs"], "endings": ended})


def merge(files: Iterable[str | Path], keys: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """performance.csv and failures.csv from chunks of sums: the same bits for any chunks.

    Parameters
    ----------
    files : iterable of paths
        Chunks of sums.
    keys : sequence of str
        The designs, in order.
    """
    tables = [pq.read_table(file) for file in files]
    about: dict[str, dict] = {}
    endings: list[dict] = []
    for table in tables:
        about |= json.loads(table.schema.metadata[b"designs"])
        endings += json.loads(table.schema.metadata[b"endings"])
    designs = pd.DataFrame({"design": list(keys)})
    for name, values in design_columns(about, keys).items():
        designs[name] = values.to_pandas()
    parts = pd.concat([table.to_pandas() for table in tables], ignore_index=True)
    ended = pd.DataFrame(endings).sort_values("block", kind="stable", ignore_index=True)
    return sums.performance(parts, ended, designs), sums.failures(ended, designs)
