"""Tables of a search: the designs that were simulated, and the test at the null."""

import numpy as np
import pandas as pd

from lmm.core.words import capital, given
from lmm.report.tables.table import Column, Table, table
from lmm.report.text.search import NAMES
from lmm.results.replicated import axis_name
from lmm.results.searched import Searched

ENDINGS = [Column("failed", "Failed", decimals=0), Column("singular", "Singular", decimals=0)]


def _sizes(frame: pd.DataFrame) -> list[Column]:
    each = pd.api.types.is_numeric_dtype(frame["rows_per_group"])
    return [
        Column("groups", "Groups", decimals=0),
        Column("rows_per_group", "Rows per group", each, 0 if each else None),
    ]


def designs(searched: Searched) -> Table | None:
    """Every design that was simulated, with what the fit makes of it."""
    frame = searched.tables["search"].copy()
    scale = 100.0 if searched.proportion else 1.0
    for name in ("estimate", "mcse", "fitted"):
        frame[name] = scale * frame[name]
    frame["used"] = np.where(frame["used"], "yes", "no")
    truths = [name for name in frame.columns if name.startswith("fixed__")]
    for name in truths:
        frame[name] = frame[name].map(given)
    name, unit = NAMES[searched.answer["measure"]], " %" if searched.proportion else ""
    columns = [
        *(Column(own, axis_name(own).capitalize(), False) for own in truths), *_sizes(frame), Column("cost", "Cost"),
        Column("replicates", "Replicates", decimals=0), *ENDINGS,
        Column("estimate", f"{capital(name)}{unit}", error="mcse"), Column("mcse", "±", error="mcse"),
        Column("fitted", f"Fitted{unit}", error="mcse"), Column("used", "Used by the fit", False),
    ]  # fmt: skip
    caption = (
        "Designs that were simulated, ± Monte Carlo standard error. The fit uses the designs near the answer."
    )
    return table("search", caption, frame, columns)


def null(searched: Searched) -> Table | None:
    """The Type I error of the test."""
    frame = searched.tables["null"].copy()
    for name in ("estimate", "mcse"):
        frame[name] = 100.0 * frame[name]
    columns = [
        *_sizes(frame), Column("replicates", "Replicates", decimals=0), *ENDINGS,
        Column("estimate", "Type I error %", error="mcse"), Column("mcse", "±", error="mcse"),
    ]  # fmt: skip
    return table("null", "The test where the effect is 0, ± Monte Carlo standard error.", frame, columns)


def frontier(searched: Searched) -> Table | None:
    """Of each number of rows per group the fewest groups that reach the target, and their cost."""
    frame = pd.DataFrame(searched.scenarios[0].get("frontier", []))
    columns = [Column("rows_per_group", "Rows per group", decimals=0), Column("groups", "Groups", decimals=0)]
    caption = "The fewest groups that reach the target by the fit, for each number of rows per group."
    return table("frontier", caption, frame, [*columns, Column("cost", "Cost")])
