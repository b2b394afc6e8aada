"""A configuration proposed for a user's own file: which column is what, told from names and a sample of rows.

Only a proposal: what each column was taken for, and why, is written beside it. Where two columns would do
equally well nothing is guessed, and the error says what was looked at and how to decide.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.core.words import counted
from lmm.data.source import Source
from lmm.model.formula import parse
from lmm.proposal.columns import Column, is_all, look, notes, refuse_quantities
from lmm.proposal.identifiers import labels_units, numbers_rows, pooled
from lmm.proposal.structure import further, pooling, related, with_intercepts

FEW_LEVELS = 20  # a text predictor with more costs more coefficients than a first model should have
MOST_PREDICTORS = 6
SLOPE_ROWS = 3  # rows per group, on average, below which a slope of its own is mostly noise
GROUPS = 5  # fewer groups say next to nothing of a variance between them
ARMS = 5  # a trial has no more arms
# Words in a column's name that say what it is. A name is no proof, and the file says that it was used.
RESPONSE_WORDS = {
    "y", "response", "outcome", "score", "reaction", "rt", "yield", "result", "dv", "target",
}  # fmt: skip
TIME_WORDS = {
    "time", "day", "days", "week", "weeks", "month", "months", "year", "years", "hour", "hours", "minute", "minutes",
    "visit", "wave", "session", "occasion", "date", "age",
}  # fmt: skip
DOSE_WORDS = {"dose", "dosage", "dosis", "conc", "concentration"}
ARM_WORDS = {"arm", "treatment", "treat", "trt", "intervention", "allocation", "therapy", "drug"}
# Of a column that has another value in every row, these words say that it is no number.
ROW_WORDS = {"id", "code", "barcode", "uuid", "serial", "key", "reference", "ref"}
# Levels that others are usually compared with.
CONTROLS = {
    "placebo",
    "control",
    "controls",
    "none",
    "untreated",
    "baseline",
    "sham",
    "standard",
    "usual care",
}


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
    notes : tuple of str
        What the user has to know of how the file was read, and of groups that may be pooled.
    interaction : str
        The arm and the time of a trial in the formula; empty where there are none.
    csv : dict
        What the key `csv` has to state of the files; empty for plain CSV.
    """

    formula: str
    columns: tuple[Column, ...]
    rows: int
    groups: int
    whole: bool
    others: tuple[str, ...]
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()
    interaction: str = ""
    csv: dict[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """The most values that are missing in a column used."""
        return max(column.missing for column in self.columns if column.used)

    def odd(self, marks: bool) -> list[str]:
        """Values that are not numbers in the columns of numbers used: marks of missing values, or the others."""
        found = [odd for column in self.columns if column.used for odd in column.odd]
        return list(dict.fromkeys(odd.value for odd in found if odd.is_mark is marks))


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
    found_group = _group(source, frame, columns, group, response)
    level = frame[found_group.name]
    inside_group = {
        column.name: _varies(frame[column.name], level)
        for column in columns
        if column.numeric and column.name != found_group.name
    }
    left = _left_out(frame, columns, found_group)
    rest = [column for column in columns if column.name not in left or column.name == response]
    measured = {
        name for name, varies in inside_group.items() if varies and not _of_a_unit(name, columns, frame)
    }
    if not response:
        refuse_quantities(source, [column for column in rest if column.name != found_group.name])
    found_response = _response(source, rest, found_group, measured, response)
    roles = left | {found_group.name: found_group, found_response.name: found_response}
    roles[found_response.name] = found_response
    chosen = _predictors(frame, [column for column in columns if column.name not in roles])
    chosen = [_explained(column, level, frame) for column in chosen]
    sizes = level.value_counts()
    enough = len(sizes) >= GROUPS and len(frame) / len(sizes) >= SLOPE_ROWS
    slopes = [c for c in chosen if c.role == "predictor" and inside_group.get(c.name)] if enough else []
    slopes.sort(key=lambda column: not column.words & TIME_WORDS)
    for column in chosen:
        slope = column in slopes[:1]
        roles[column.name] = replace(column, role="slope", why="differs within groups") if slope else column
    used = [column for column in chosen if column.role == "predictor"]
    arm, time = _trial(used, level, frame)
    main = [column.term for column in used]
    product = f"{arm.term} * {time.term}" if arm and time else ""
    fixed = " + ".join(
        [product, *(term for term in main if term not in (arm.term, time.term))] if product else main or ["1"]
    )
    first, second = [column.term for column in slopes[:2]] + [""] * (2 - len(slopes[:2]))
    random = [f"{first} | ", f"{first} || ", f"{first} + {second} | "] if first else []
    random = [effects for effects in random if second or "+" not in effects] + ["1 | "]
    outer = pooled(found_group, [c for c in columns if labels_units(c)], frame)
    beside = [] if group or outer else further(found_group, columns, frame)
    for factor in beside:
        roles[factor.column.name] = replace(factor.column, role="group", why=factor.why)
    known = [roles[column.name] for column in columns]
    units = (
        [f"(1 | {outer.term}/{found_group.term})"] if outer else with_intercepts(found_group, known, frame)
    )
    more = "".join(f" + (1 | {factor.term})" for factor in beside)
    formulas = [
        f"{found_response.term} ~ {fixed} + ({effects}{found_group.term}){more}" for effects in random
    ]
    others = formulas[1:]
    if beside:
        others.append(f"{found_response.term} ~ {fixed} + ({random[0]}{found_group.term})")
    if product:
        others.append(f"{found_response.term} ~ {' + '.join(main)} + ({random[0]}{found_group.term}){more}")
    others += [f"{found_response.term} ~ {fixed} + {groups}" for groups in units]
    columns = [roles[column.name] for column in columns]
    said = [*source.notes, *(note for column in columns for note in notes(column))]
    if outer:
        said.append(pooling(found_group, outer, frame))
    return Proposal(
        formulas[0],
        tuple(columns),
        len(frame),
        len(sizes),
        is_all(source, len(frame)),
        tuple(text for text in others if _reads(text)),
        source.files,
        tuple(said),
        product,
        _csv(source),
    )


def _csv(source: Source) -> dict[str, str]:
    """How text files are written, where all of them are written alike and not as plain CSV."""
    if len({(found.delimiter, found.encoding) for found in source.dialects}) != 1:
        return {}
    usual = {"delimiter": {"csv": ",", "tsv": "\t"}[source.format], "decimal": ".", "encoding": "utf-8"}
    found = {
        "delimiter": source.dialects[0].delimiter,
        "decimal": source.decimal,
        "encoding": source.dialects[0].encoding,
    }
    return {key: value for key, value in found.items() if value != usual[key]}


def _reads(formula: str) -> bool:
    """Whether a formula is one that this version fits."""
    try:
        parse(formula)
    except StudyError:
        return False
    return True


def _left_out(frame: pd.DataFrame, columns: list[Column], group: Column) -> dict[str, Column]:
    """Columns that label or number something, with what they label: they are no predictors."""
    found = {}
    for column in columns:
        if column.name == group.name:
            continue
        outer = pooled(column, [group], frame) if labels_units(column) else None
        if outer:
            why = f"an identifier: {pooling(column, group, frame).partition(': ')[2]}"
        elif numbers_rows(column, group, frame):
            why = "numbers the rows of each group; add it where their order matters"
        elif column.words & ROW_WORDS and column.levels == len(frame):
            why = "an identifier: another one in every row"
        elif labels_units(column) and column.levels >= GROUPS and (column.whole or not column.numeric):
            why = "an identifier; its groups can have random effects of their own"
        else:
            continue
        found[column.name] = replace(column, why=why)
    return found


def _trial(used: list[Column], level: pd.Series, frame: pd.DataFrame) -> tuple[Column | None, Column | None]:
    """The arm of a trial, which does not change within groups, and its time, which does; None without both."""
    arm = next(
        (
            column
            for column in used
            if column.words & ARM_WORDS
            and 2 <= column.levels <= ARMS
            and not frame[[column.name]].assign(level=level).drop_duplicates()["level"].duplicated().any()
        ),
        None,
    )
    time = next(
        (c for c in used if c.numeric and c.words & TIME_WORDS and _varies(frame[c.name], level)), None
    )
    return (arm, time) if arm and time and arm.name != time.name else (None, None)


def _explained(column: Column, level: pd.Series, frame: pd.DataFrame) -> Column:
    """A predictor of text with its reference level, and how to choose another."""
    if column.role != "predictor" or not column.categories:
        return column
    reference = column.categories[0]
    usual = [name for name in column.categories[1:] if name.strip().lower() in CONTROLS]
    other = usual[0] if usual else column.categories[1]
    text = json.dumps(other, ensure_ascii=False) if "'" in other else f"'{other}'"
    why = f"{column.levels} categories, compared with {reference!r}"
    if usual:
        why += f", not with {usual[0]!r}"
    return replace(column, why=f"{why}; C({column.term}, contr.treatment({text})) compares with {other!r}")


def _varies(values: pd.Series, level: pd.Series) -> bool:
    """Whether a number differs within at least half of the groups."""
    inside = values.groupby(level)
    return bool((inside.max() > inside.min()).mean() >= 0.5)


def _of_a_unit(name: str, columns: list[Column], frame: pd.DataFrame) -> bool:
    """Whether a number is the same in all rows of a subject, an item, ...: known of it, not measured on it."""
    units = [
        c for c in columns if labels_units(c) and c.name != name and GROUPS <= c.levels <= len(frame) / 2
    ]
    return any(not _varies(frame[name], frame[unit.name]) for unit in units)


def _group(source: Source, frame: pd.DataFrame, columns: list[Column], named: str, response: str) -> Column:
    """The grouping factor: levels that come back, enough of them, named like one, text rather than numbers."""
    rows = len(frame)

    def repeats(column: Column) -> bool:
        return (
            2 <= column.levels <= rows / 2 and not (column.numeric and not column.whole) and not column.dates
        )

    if named:
        column = next(column for column in columns if column.name == named)
        if not 2 <= column.levels < rows:
            what = f"GROUP={named}: {counted(column.levels, 'level')} in {rows} rows"
            raise StudyError(
                source.files[0], f"{what}, expected at least 2 levels, and groups of several rows"
            )
        return replace(column, role="group", why="as you said")
    possible = [
        column
        for column in columns
        if column.name != response and repeats(column) and (labels_units(column) or column.levels >= GROUPS)
    ]
    known = [column for column in possible if labels_units(column)]
    possible = [column for column in possible if not pooled(column, known, frame)]
    possible = [column for column in possible if not column.words & (TIME_WORDS | DOSE_WORDS)] or possible
    scores = {
        column.name: (
            labels_units(column) and column.levels >= GROUPS,
            labels_units(column),
            not column.numeric,
        )
        for column in possible
    }
    best = [column for column in possible if scores[column.name] == max(scores.values())]
    if len(best) > 1 and all(labels_units(column) and column.levels >= GROUPS for column in best):
        # each of them is a factor: the one with the most levels has the slopes
        most = max(best, key=lambda column: column.levels)
        if all(related(most, column, frame) for column in best if column is not most):
            best = [most]
    if len(best) == 1:
        why = "named like one" if labels_units(best[0]) else "its values repeat"
        return replace(best[0], role="group", why=why)
    raise StudyError(source.files[0], _undecided("grouping factor", "GROUP", best, columns))


def _response(source: Source, columns: list[Column], group: Column, measured: set[str], named: str) -> Column:
    """The response: a number that differs within groups, named like one, or the only continuous one."""
    if named:
        column = next(column for column in columns if column.name == named)
        if not column.numeric or column.levels < 2 or column.name == group.name:
            what = "is the grouping factor" if column.name == group.name else "is not a number that differs"
            raise StudyError(source.files[0], f"RESPONSE={named}: {what}, expected a column of numbers")
        return replace(column, role="response", why="as you said")
    possible = [c for c in columns if c.name in measured and not c.counts_rows]
    possible = [c for c in possible if not c.words & (TIME_WORDS | DOSE_WORDS)] or possible
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
    both = " + ".join(f"(1 | {column.term})" for column in best[:2])
    both = f", with both as in {both}" if key == "GROUP" and len(best) > 1 else ""
    return (
        f"cannot tell the {what}: {met}; expected one choice: add {key}={name} to `make new`, "
        f"or write the formula by hand{both} (config/README.md)"
    )


def _predictors(frame: pd.DataFrame, columns: list[Column]) -> list[Column]:
    """Every column with its role: a predictor, or the reason why it is none."""
    basis = [np.ones(len(frame))]
    decided = []
    for column in columns:
        if column.dates:
            why = ""
        elif column.counts_rows:
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
            decided.append(replace(column, role="predictor", why="number"))
            continue
        decided.append(replace(column, why=why))
    return decided


def _new(values: pd.Series, column: Column, basis: list[np.ndarray]) -> np.ndarray | None:
    """A column as numbers, None where the columns before it make it up."""
    codes = values.to_numpy(float) if column.numeric else pd.factorize(values, sort=True)[0].astype(float)
    known = np.isfinite(codes)
    codes = np.where(known, codes, codes[known].mean() if known.any() else 0.0)
    codes = (codes - codes.mean()) / codes.std()
    left = codes - np.column_stack(basis) @ np.linalg.lstsq(np.column_stack(basis), codes)[0]
    return codes if np.sqrt(np.mean(left**2)) > 1e-6 else None
