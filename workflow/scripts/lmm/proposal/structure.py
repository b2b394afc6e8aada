"""Further grouping factors of a file: which identifiers cross the first one or are nested, from their levels."""

from dataclasses import dataclass

import pandas as pd

from lmm.core.words import counted
from lmm.proposal.columns import Column
from lmm.proposal.identifiers import commonest, inside, labels_units

FEWEST = 5  # levels: fewer say next to nothing of a variance between them


@dataclass(frozen=True)
class Further:
    """A further grouping factor.

    Attributes
    ----------
    column : Column
        What labels its levels.
    term : str
        The factor in a formula: the column, or its combination with the first factor's.
    why : str
        How its levels meet those of the first factor.
    """

    column: Column
    term: str
    why: str


def further(group: Column, columns: list[Column], frame: pd.DataFrame) -> list[Further]:
    """The identifiers that have random intercepts of their own beside the first grouping factor.

    Parameters
    ----------
    group : Column
        The first grouping factor.
    columns : list of Column
        All of the file's.
    frame : DataFrame
        The sample of the rows.

    Returns
    -------
    list of Further
        Nested ones first. A column whose levels are those of another, or that is told apart by more than the first
        factor, is left out.
    """
    found: list[Further] = []
    for column in columns:
        if column.name == group.name or not labels_units(column) or (column.numeric and not column.whole):
            continue
        factor = related(group, column, frame)
        if factor is None:
            continue
        others = [c for c in columns if labels_units(c) and c.name not in (group.name, column.name)]
        if any(inside(column, other, frame) for other in others):
            continue  # it labels units within another identifier's groups
        found.append(factor)
    return sorted(found, key=lambda factor: factor.why.startswith("crossed"))


def related(group: Column, column: Column, frame: pd.DataFrame) -> Further | None:
    """How the levels of a column meet those of the first grouping factor; None where they are no factor beside it."""
    pairs = frame[[group.name, column.name]].dropna()
    counts = pairs.value_counts()
    rows, met = len(pairs), pairs.drop_duplicates()
    if inside(column, group, frame):
        if not FEWEST <= len(counts) <= rows / 2:
            return None
        why = f"nested: its labels begin anew in each {group.name}"
        return Further(column, f"{group.term}:{column.term}", why)
    if not FEWEST <= column.levels <= rows / 2:
        return None
    per_column, per_group = met[column.name].value_counts(), met[group.name].value_counts()
    if per_column.max() == 1:
        if per_group.max() == 1:
            return None  # the same groups under other names
        return Further(column, column.term, f"nested: each of its levels is in one {group.name}")
    if per_group.max() == 1:
        return Further(
            column, column.term, f"contains {group.name}: each of whose levels is in one {column.name}"
        )
    several = counted(round(per_column.mean()), "level")
    return Further(column, column.term, f"crossed: on average its levels meet {several} of {group.name} each")


def with_intercepts(group: Column, columns: list[Column], frame: pd.DataFrame) -> list[str]:
    """Random intercepts with the identifiers that were left out as further factors, nested or crossed."""
    found = []
    for column in columns:
        if column.used or not labels_units(column) or not 2 <= column.levels < len(frame) / 2:
            continue
        if any(
            inside(column, other, frame)
            for other in columns
            if labels_units(other) and other.name != group.name
        ):
            continue  # it labels units within another one's groups
        nested = inside(column, group, frame)
        found.append(
            f"(1 | {group.term}/{column.term})" if nested else f"(1 | {group.term}) + (1 | {column.term})"
        )
    return found


def pooling(inner: Column, outer: Column, frame: pd.DataFrame) -> str:
    """That groups with the same label may be different ones."""
    label, number = commonest(inner, outer, frame)
    return (
        f"column {inner.name!r}: its level {label!r} occurs in {number} levels of {outer.name!r}; if these are "
        f"different units, the groups are {outer.term}:{inner.term}, nested as in (1 | {outer.term}/{inner.term})"
    )
