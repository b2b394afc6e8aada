"""Names of groups across files: one group has one name, or the files disagree and a message says where.

How a name is written decides what it may mean (`cells.writing`). Whole numbers in every file compare as such;
otherwise names are text, and text that may be meant for a number that another file writes otherwise (`007` and `7`,
`7.0` and `7`) is an error: the groups would silently be different ones. Within one file text is taken as it stands,
and new rows may write names in every way that the data do.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from lmm.core.errors import StudyError
from lmm.data.cells import EXACT, PADDED, PLAIN, POINT, Writing, writing
from lmm.data.summary import Locator

MEANING = {PLAIN: "plain whole numbers", PADDED: "numbers with leading zeros", POINT: "numbers with a point"}


def agreed(name: str, files: Sequence[Writing], locate: Locator) -> tuple[str, Writing]:
    """The kind of a column of groups' labels, from how each file writes these, and how all write them.

    Parameters
    ----------
    name : str
        The column.
    files : sequence of Writing
        Of the source's files, in their order.
    locate : Locator

    Returns
    -------
    kind : "BIGINT", "DOUBLE" or "VARCHAR"
        BIGINT where the names are whole numbers; else the names are the values' text.
    written : Writing

    Raises
    ------
    StudyError
        Two files write what may be the same number differently, or doubles are too large to tell numbers apart.
    """
    kind, written = _kind(name, files, locate), reduce(Writing.plus, files)
    if kind == "BIGINT":
        return kind, _plain(written)
    for k, here in enumerate(files):
        for m, there in enumerate(files):
            if m != k and (found := here.clash(there)):
                where, row, value = _first(locate, name, k, found[0], there)
                other, at, its = _first(locate, name, m, found[1], here)
                what = f"column {name!r}: {value!r} in row {row}, but {its!r} in row {at} of {other}"
                raise StudyError(
                    where, f"{what}; expected every group's name written in the same way in all files"
                )
    return kind, written


def like(name: str, data: Mapping[str, Any], file: Writing, locate: Locator) -> str:
    """The kind of a column of groups' labels in a file of new rows: they compare with the data's.

    Parameters
    ----------
    name : str
        The column.
    data : mapping
        data.json's content.
    file : Writing
        Of the file.
    locate : Locator
        Of the file.

    Raises
    ------
    StudyError
        The file writes what may be the data's groups differently.
    """
    column, kind = data["columns"][name], _kind(name, [file], locate)
    known = Writing(**column.get("names") or {})
    if kind == column["kind"] == "BIGINT":
        return kind
    if found := file.beyond(known).clash(known):
        where, row, value = _first(locate, name, 0, found[0], known)
        what = f"column {name!r}: {value!r} in row {row}, where the data have {MEANING[found[1]]}"
        raise StudyError(where, f"{what}; expected every group's name written as in the data")
    return locate.source.kinds.get(name, "VARCHAR")


def _kind(name: str, files: Sequence[Writing], locate: Locator) -> str:
    stored = locate.source.kinds.get(name)  # nothing of a text file
    if stored == "DOUBLE" and (large := locate.first(name, f"isfinite(d) AND abs(d) >= {EXACT}")):
        file, row, value = large
        what = f"column {name!r}: {value:.17g} in row {row} as a floating-point number"
        raise StudyError(file, f"{what}; expected numbers of that size as integers or text, to be told apart")
    whole = all(one.whole(stored == "VARCHAR") for one in files)
    return "BIGINT" if whole else stored or "VARCHAR"


def _plain(written: Writing) -> Writing:
    """How whole numbers are written once they count as such."""
    shortest = 1 if written.point else written.shortest
    return Writing(plain=written.plain + written.point, shortest=shortest)


def _first(locate: Locator, name: str, file: int, kind: int, other: Writing) -> tuple[str, int, Any]:
    """The first name in a file that is written in such a way, a plain one shorter than the other's leading zeros."""
    condition = f"{writing('t', locate.source.decimal)} = {kind}"
    if kind == PLAIN and other.longest is not None:
        condition += f" AND strlen(t) < {other.longest}"
    return locate.first(name, condition, [file])
