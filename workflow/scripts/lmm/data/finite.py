"""Where a model's columns have no finite value: the logarithm of 0, and the like; file, row and column by name."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lmm.core.errors import StudyError
from lmm.data import ingest
from lmm.data.source import BATCH_ROWS, Part, connect


def columns_in(term: str, names: Iterable[str]) -> list[str]:
    """Those of the columns `names` that a term of the model mentions."""
    return [name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", term)]


def first(design: Any, y: np.ndarray, W: np.ndarray) -> tuple[int, str, float] | None:
    """Row number, term and value of the first term, the response before all, that is not finite in some row."""
    for term, values in (
        (design.formula.response, y),
        *zip(design.terms.columns, W.T, strict=True),
    ):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            return int(bad[0]), term, float(values[bad[0]])
    return None


def in_files(design: Any, data: Mapping[str, Any]) -> StudyError | None:
    """The first row of the user's files where the model has no finite value, as a message; None without one.

    Parameters
    ----------
    design : Design
    data : mapping
        data.json's content, of files and not of simulated rows.
    """
    source = ingest.reopen(data)
    numbers = [name for name, about in data["columns"].items() if about["type"] == "numeric"]
    for at, file in enumerate(source.files):
        rows = f"SELECT *, row_number() OVER () AS lmm_row FROM ({source.typed(Part(at), every=True)})"
        with connect(ordered=True) as connection:
            for batch in connection.sql(rows).to_arrow_reader(BATCH_ROWS):
                frame = batch.to_pandas()
                frame = frame[frame["lmm_complete"]]
                with np.errstate(all="ignore"):
                    found = first(design, *design.matrix(frame))
                if found is None:
                    continue
                place, term, value = found
                row, used = frame.iloc[place], columns_in(term, numbers)
                met = ", ".join(f"{row[name]:g}" for name in used)
                named = f"column{'s' * (len(used) > 1)} {', '.join(map(repr, used))}"
                what = f"{named}: {met} in row {row['lmm_row']}, where {term!r} is {value}"
                return StudyError(file, f"{what}; expected numbers that give it a finite value")
    return None
