"""Which columns only label units, and how the labels of one are related to the groups of another."""

from collections.abc import Sequence

import pandas as pd

from lmm.proposal.columns import Column

# Words in a column's name that say that it labels units, by what contains what: a class is in a school.
HIGHEST = {"country", "county", "region", "district", "state"}
HIGH = {
    "school",
    "hospital",
    "clinic",
    "site",
    "center",
    "centre",
    "firm",
    "company",
    "farm",
    "herd",
    "field",
}
MIDDLE = {
    "class",
    "classroom",
    "teacher",
    "ward",
    "department",
    "block",
    "batch",
    "litter",
    "family",
    "household",
}
LOW = {
    "student",
    "pupil",
    "child",
    "patient",
    "person",
    "participant",
    "subject",
    "subj",
    "animal",
    "plot",
    "cask",
}
RANKS = (HIGHEST, HIGH, MIDDLE, LOW)
OTHER = {"group", "g", "id", "cluster", "item", "stimulus", "rater", "judge"}
GROUP_WORDS = HIGHEST | HIGH | MIDDLE | LOW | OTHER
# Words for what numbers the rows of a group.
COUNTER_WORDS = {
    "trial",
    "row",
    "index",
    "nr",
    "no",
    "number",
    "obs",
    "observation",
    "order",
    "sequence",
    "position",
}
SHARE = 0.9


def rank(column: Column) -> int | None:
    """How far down a column's units are, from its name; None where that does not say."""
    return next((k for k, words in enumerate(RANKS) if column.words & words), None)


def labels_units(column: Column) -> bool:
    """Whether its name says that it labels units."""
    return bool(column.words & GROUP_WORDS)


def commonest(inner: Column, outer: Column, frame: pd.DataFrame) -> tuple[str, int]:
    """The level of `inner` that occurs in the most groups of `outer`, and their number."""
    pairs = frame[[inner.name, outer.name]].dropna().drop_duplicates()
    counts = pairs[inner.name].value_counts().sort_index()
    if not len(counts):
        return "", 0
    label = counts.idxmax()
    return f"{label:g}" if inner.numeric else str(label), int(counts.max())


def inside(inner: Column, outer: Column, frame: pd.DataFrame) -> bool:
    """Whether `inner` labels units within the groups of `outer`, with labels that begin anew in each group.

    The groups of `outer` then have the first labels of all. Where each has all labels, as in complete crossing too,
    the names have to say what contains what.
    """
    if (
        inner.name == outer.name
        or commonest(inner, outer, frame)[1] < 2
        or not _begins_anew(inner, outer, frame)
    ):
        return False
    ranks = rank(inner), rank(outer)
    if None not in ranks:
        return ranks[0] > ranks[1]
    return not _begins_anew(outer, inner, frame)


def _begins_anew(inner: Column, outer: Column, frame: pd.DataFrame) -> bool:
    pairs = frame[[inner.name, outer.name]].dropna().drop_duplicates()
    order = {label: k for k, label in enumerate(sorted(pairs[inner.name].unique()))}
    places = pairs[inner.name].map(order).groupby(pairs[outer.name])
    return bool((places.max() + 1 == places.size()).mean() >= SHARE)


def numbers_rows(column: Column, group: Column, frame: pd.DataFrame) -> bool:
    """Whether a column of whole numbers, by its name, numbers the rows of each group."""
    if column.counts_rows or not column.whole or not column.words & COUNTER_WORDS:
        return False
    pairs = frame[[column.name, group.name]].dropna()
    return not pairs.duplicated().any()


def pooled(inner: Column, outers: Sequence[Column], frame: pd.DataFrame) -> Column | None:
    """The column within whose groups `inner` labels units anew, the nearest one; None without one."""
    found = [outer for outer in outers if inside(inner, outer, frame)]
    return max(found, key=lambda outer: outer.levels, default=None)
