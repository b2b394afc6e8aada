"""A configuration proposed for a user's own file: which column is what, told from names and a sample of rows.

Only a proposal: what each column was taken for, and why, is written beside it. Where two columns would do
equally well nothing is guessed, and the error says what was looked at and how to decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.core.words import counted
from lmm.data.source import Source
from lmm.proposal.columns import Column, is_all, look

FEW_LEVELS = 20  # a text predictor with more costs more coefficients than a first model should have
MOST_PREDICTORS = 6
SLOPE_ROWS = 3  # rows a group, on average, below which a slope of its own is mostly noise
GROUPS = 5  # fewer groups say next to nothing of a variance between them
# Words in a column's name that say what it is. A name is no proof, and the file says that it was used.
GROUP_WORDS = {
    "group", "g", "id", "subject", "subj", "participant", "patient", "person", "student", "pupil", "child",
    "animal", "school", "class", "classroom", "teacher", "site", "center", "centre", "clinic", "hospital",
    "batch", "plot", "block", "herd", "litter", "family", "household", "country", "county", "region", "firm",
    "company", "cluster", "item", "rater", "judge",
}  # fmt: skip
RESPONSE_WORDS = {
    "y", "response", "outcome", "score", "reaction", "rt", "yield", "result", "dv", "target",
}  # fmt: skip


@dataclass(frozen=True)
class Proposal:
    """A model for a file, and what it rests on.

    Attributes
    ----------
    formula : str
    columns : tuple of Column
        All of the file's, with the role that each was given.
    rows, groups : int
        Of the sample.
    whole : bool
        Whether the sample is all there is.
    others : tuple of str
        Further formulas to think of.
    files : tuple of str
    """

    formula: str
    columns: tuple[Column, ...]
    rows: int
    groups: int
    whole: bool
    others: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def missing(self) -> int:
        """The most values that are missing in a column used."""
        return max(column.missing for column in self.columns if column.role != "left out")


def propose(patterns: str | Sequence[str], response: str = "", group: str = "") -> Proposal:
    """Propose a mixed model for a file.

    Parameters
    ----------
    patterns : str or sequence of str
        Files or globs, as `data` in the configuration.
    response, group : str, optional
        Columns that the user has named; else they are found.

    Raises
    ------
    StudyError
        The file cannot be read, a named column is not there or cannot be what it is named for, or it cannot be
        told which column is the response or the grouping factor.
    """
    source, frame, columns = look(patterns)
    by_name = {column.name: column for column in columns}
    for key, name in (("RESPONSE", response), ("GROUP", group)):
        if name and name not in by_name:
            raise StudyError(
                source.files[0], f"{key}={name}: no such column, expected one of {', '.join(by_name)}"
            )
    found_group = _group(source, columns, len(frame), group, response)
    level = frame[found_group.name]
    inside = {
        column.name: _varies(frame[column.name], level)
        for column in columns
        if column.numeric and column.name != found_group.name
    }
    found_response = _response(source, columns, found_group, inside, response)
    roles = {found_group.name: found_group, found_response.name: found_response}
    chosen = _predictors(frame, [column for column in columns if column.name not in roles], found_response)
    sizes = level.value_counts()
    enough = len(sizes) >= GROUPS and len(frame) / len(sizes) >= SLOPE_ROWS
    slopes = [c for c in chosen if c.role == "predictor" and inside.get(c.name)] if enough else []
    for column in chosen:
        slope = column in slopes[:1]
        roles[column.name] = replace(column, role="slope", why="differs within groups") if slope else column
    fixed = " + ".join(column.term for column in chosen if column.role == "predictor") or "1"
    first, second = [column.term for column in slopes[:2]] + [""] * (2 - len(slopes[:2]))
    random = [f"{first} | ", f"{first} || ", f"{first} + {second} | "] if first else []
    random = [effects for effects in random if second or "+" not in effects]
    formulas = [
        f"{found_response.term} ~ {fixed} + ({effects}{found_group.term})" for effects in [*random, "1 | "]
    ]
    return Proposal(
        formulas[0],
        tuple(roles[column.name] for column in columns),
        len(frame),
        len(sizes),
        is_all(source, len(frame)),
        tuple(formulas[1:]),
        source.files,
    )


def _varies(values: pd.Series, level: pd.Series) -> bool:
    """Whether a number differs within at least half of the groups."""
    inside = values.groupby(level)
    return bool((inside.max() > inside.min()).mean() >= 0.5)


def _group(source: Source, columns: list[Column], rows: int, named: str, response: str) -> Column:
    """The grouping factor: levels that come back, named like one, text rather than numbers."""

    def repeats(column: Column) -> bool:
        return 2 <= column.levels <= rows / 2 and not (column.numeric and not column.whole)

    if named:
        column = next(column for column in columns if column.name == named)
        if not 2 <= column.levels < rows:
            what = f"GROUP={named}: {counted(column.levels, 'level')} in {rows} rows"
            raise StudyError(
                source.files[0], f"{what}, expected at least 2 levels, and groups of several rows"
            )
        return replace(column, role="group", why="as you said")
    scored = []
    for column in columns:
        hinted = bool(column.words & GROUP_WORDS)
        if column.name != response and repeats(column) and (hinted or column.levels >= GROUPS):
            scored.append((2 * hinted + (not column.numeric), column))
    best = [column for score, column in scored if score == max(score for score, _ in scored)]
    if len(best) == 1:
        why = "named like one" if best[0].words & GROUP_WORDS else "its levels come back"
        return replace(best[0], role="group", why=why)
    raise StudyError(source.files[0], _undecided("grouping factor", "GROUP", best, columns))


def _response(
    source: Source, columns: list[Column], group: Column, inside: dict[str, bool], named: str
) -> Column:
    """The response: a number that differs within groups, named like one, or the only continuous one."""
    if named:
        column = next(column for column in columns if column.name == named)
        if not column.numeric or column.levels < 2 or column.name == group.name:
            what = "is the grouping factor" if column.name == group.name else "is not a number that differs"
            raise StudyError(source.files[0], f"RESPONSE={named}: {what}, expected a column of numbers")
        return replace(column, role="response", why="as you said")
    possible = [c for c in columns if inside.get(c.name) and not c.counts_rows]
    hinted = [column for column in possible if column.words & RESPONSE_WORDS]
    broken = [column for column in possible if not column.whole]
    for best, why in ((hinted, "named like one"), (broken, "the only one with fractions")):
        if len(best) == 1:
            return replace(best[0], role="response", why=why)
    best = hinted or broken or possible
    if len(best) == 1:
        return replace(best[0], role="response", why="the only number that differs within groups")
    raise StudyError(source.files[0], _undecided("response", "RESPONSE", best, columns))


def _undecided(what: str, key: str, best: list[Column], columns: list[Column]) -> str:
    """What was looked at, and how to decide."""
    looked = ", ".join(
        f"{c.name} ({'numbers' if c.numeric else 'text'}, {counted(c.levels, 'distinct value')})"
        for c in (best or columns)[:8]
    )
    name = best[0].name if best else "<column>"
    met = f"{looked} would do equally well" if best else f"none of {looked} looks like one"
    return (
        f"cannot tell the {what}: {met}; expected one choice: add {key}={name} to `make new`, "
        "or write the formula by hand (config/README.md)"
    )


def _predictors(frame: pd.DataFrame, columns: list[Column], response: Column) -> list[Column]:
    """Every column with its role: a predictor, or the reason why it is none."""
    basis = [np.ones(len(frame))]
    decided = []
    for column in columns:
        if column.counts_rows:
            why = "a row number"
        elif column.levels < 2:
            why = "the same in every row"
        elif not column.numeric and column.levels > FEW_LEVELS:
            why = f"text with {column.levels} values"
        elif column.missing > len(frame) / 2:
            why = "missing in most rows"
        elif len(basis) > MOST_PREDICTORS:
            why = f"more than {MOST_PREDICTORS} predictors"
        elif (code := _new(frame[column.name], column, basis)) is None:
            why = "a combination of the columns before it"
        else:
            basis.append(code)
            said = "number" if column.numeric else f"{column.levels} categories, the first is the reference"
            decided.append(replace(column, role="predictor", why=said))
            continue
        decided.append(replace(column, why=why))
    return decided


def _new(values: pd.Series, column: Column, basis: list[np.ndarray]) -> np.ndarray | None:
    """A column as numbers, None where the columns before it make it up."""
    codes = values.to_numpy(float) if column.numeric else pd.factorize(values, sort=True)[0].astype(float)
    codes = np.where(np.isfinite(codes), codes, np.nanmean(codes[np.isfinite(codes)]))
    codes = (codes - codes.mean()) / codes.std()
    left = codes - np.column_stack(basis) @ np.linalg.lstsq(np.column_stack(basis), codes)[0]
    return codes if np.sqrt(np.mean(left**2)) > 1e-6 else None
