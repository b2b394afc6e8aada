"""Tables of a search: the designs that were simulated, and the test at the null."""

import numpy as np
import pandas as pd

from lmm.core.words import capital, given, listed
from lmm.report.tables.table import Column, Table, table
from lmm.report.text.search import NAMES, of_size, plural
from lmm.results.replicated import axis_name
from lmm.results.searched import Searched

ENDINGS = [Column("failed", "Failed", decimals=0), Column("singular", "Singular", decimals=0)]


def _sizes(searched: Searched, frame: pd.DataFrame) -> list[Column]:
    """Columns of what differs between designs."""
    found = []
    for size in searched.varied:
        number = pd.api.types.is_numeric_dtype(frame[size.column])
        found.append(Column(size.column, capital(plural(searched, size)), number, 0 if number else None))
    return found


def _same(searched: Searched, frame: pd.DataFrame) -> str:
    """What all designs have in common, for a caption, such as ` All have 24 items`."""
    known = [size for size in searched.sizes if size not in searched.varied]
    words = [of_size(searched, size, frame[size.column].iloc[0]) for size in known]
    return f" All have {listed(words)}." if words else ""


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
        *(Column(own, axis_name(own).capitalize(), False) for own in truths),
        *_sizes(searched, frame), Column("cost", "Cost"),
        Column("replicates", "Replicates", decimals=0), *ENDINGS,
        Column("estimate", f"{capital(name)}{unit}", error="mcse"), Column("mcse", "±", error="mcse"),
        Column("fitted", f"Fitted{unit}", error="mcse"), Column("used", "Used by the fit", False),
    ]  # fmt: skip
    caption = (
        "Designs that were simulated, ± Monte Carlo standard error. The fit uses the designs near the answer."
    )
    return table("search", caption + _same(searched, frame), frame, columns)


def null(searched: Searched) -> Table | None:
    """The Type I error of the test."""
    frame = searched.tables["null"].copy()
    for name in ("estimate", "mcse"):
        frame[name] = 100.0 * frame[name]
    columns = [
        *_sizes(searched, frame), Column("replicates", "Replicates", decimals=0), *ENDINGS,
        Column("estimate", "Type I error %", error="mcse"), Column("mcse", "±", error="mcse"),
    ]  # fmt: skip
    return table("null", "The test where the effect is 0, ± Monte Carlo standard error.", frame, columns)


def frontier(searched: Searched) -> Table | None:
    """Of each size of the second dimension the smallest of the first that reaches the target, and their cost."""
    frame = pd.DataFrame(searched.scenarios[0].get("frontier", []))
    first, second = searched.varied if len(searched.varied) == 2 else (searched.first, searched.first)
    shown = [Column(own.column, capital(plural(searched, own)), decimals=0) for own in (second, first)]
    caption = (
        f"The fewest {plural(searched, first)} that reach the target by the fit, by the number of "
        f"{plural(searched, second)}."
    )
    return table("frontier", caption, frame, [*shown, Column("cost", "Cost")])
