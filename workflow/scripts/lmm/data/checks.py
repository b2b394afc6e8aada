"""What makes rows unusable for a mixed model; each is one line that names column, value and expectation."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from lmm.core.errors import StudyError
from lmm.model.syntax import named
from lmm.model.terms import Terms

PASSED = (
    "headers", "missing values", "numbers", "infinite values", "constant columns", "levels of predictors",
    "grouping factor",
)  # fmt: skip
# A column of which the others leave no more than this share of the variance is their combination. Products
# carry relative errors of about 1e-15; a column 4e-6 of its sd away from a combination still passes.
COLLINEAR = 1e-11
# Weights below it, of columns of length 1, are rounding.
NO_PART = 1e-5
# Text with fewer levels may be a category even where it has more levels than half the rows.
FEW = 10
# Numbers as they are written where the comma is decimal or marks thousands.
COMMAS = re.compile(r"[-+]?([0-9]*,[0-9]+|[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?|[0-9]{1,3}(\.[0-9]{3})+,[0-9]+)")
# Dates as they are written, with or without a time; the first form is the one that is read.
ISO = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}")
DAY = r"[0-9]{1,2}([./-])[0-9]{1,2}\2([0-9]{4}|[0-9]{2})"
DATE = re.compile(rf"({ISO.pattern}|{DAY})([ T][0-9]{{1,2}}:[0-9:.]+.*)?")
# A residual sd below 1e-12 of the response's is what rounding leaves of an exact fit.
EXACT = 1e-24


def header(
    file: str, header: Sequence[str], columns: Sequence[str], first: str, other: Sequence[str] | None
) -> None:
    """Every column used is there once; `other` is the header of the `first` file of the same study."""
    twice = [name for at, name in enumerate(header) if name and name in header[:at]]
    if twice:
        raise StudyError(file, f"column {twice[0]!r}: twice in the header, expected every name once")
    for name in columns:
        if name not in header:
            near = difflib.get_close_matches(name.lower(), [item.lower() for item in header], 1, 0.6)
            hint = "".join(f"; did you mean {item!r}?" for item in header if near and item.lower() == near[0])
            known = f"as in {first}, " if other is not None else ""
            shown = ", ".join(header[:12]) + (", ..." if len(header) > 12 else "")
            raise StudyError(
                file, f"column {name!r}: not there, expected {known}one of the columns {shown}{hint}"
            )
        for item in header:
            if item != name and item.lower() == name.lower():
                what = f"column {name!r}: {item!r} differs from it in case only, expected distinct names"
                raise StudyError(file, what)


def missing(summary: dict[str, Any], total: int, complete: int, drop: bool, locate) -> None:
    """Missing values stop a study, unless it drops incomplete rows and some are left."""
    holes = {name: column.missing for name, column in summary.items() if column.missing}
    if total == 0 or (drop and complete == 0):
        raise StudyError(locate.where, f"{complete} complete rows of {total}, expected at least one")
    if not holes or drop:
        return
    name, count = next(iter(holes.items()))
    file, row, _ = locate.first(name, "v IS NULL")
    others = "".join(f", {n} in column {other!r}" for other, n in holes.items() if other != name)
    what = f"column {name!r}: missing in {count} of {total} rows, first in row {row}{others}"
    raise StudyError(file, f"{what}; expected none, or `missing: drop` to leave out such rows")


def kind(name: str, column, is_response: bool, in_c: bool, locate) -> str:
    """DuckDB's type of a column: BIGINT for categories that are numbers, DOUBLE, or VARCHAR.

    Raises
    ------
    StudyError
        The response has text, or a predictor has numbers and text.
    """
    stored = locate.source.kinds.get(name)
    if stored == "DAYS":
        if column.text:
            file, row, value = locate.first(name, "v IS NOT NULL AND d IS NULL")
            what = f"column {name!r}: {value!r} in row {row} is not a date, expected dates such as 2024-01-31"
            raise StudyError(file, f"{what}{_or_missing(value)}")
        return "DAYS"
    if column.text == 0:
        whole = stored == "BIGINT" or (in_c and column.whole == column.numbers)
        return "BIGINT" if whole else "DOUBLE"
    if is_response or (column.numbers and not in_c):
        # Parquet's text is text even where it looks like a number.
        at = locate.first(name, "v IS NOT NULL" if stored == "VARCHAR" else "v IS NOT NULL AND d IS NULL")
        file, row, value = at
        _no_date(name, locate)
        role = "the response to be numbers" if is_response else "a number as in the other rows"
        advice = "" if is_response else f", or C({named(name)}) if its values are categories"
        advice += _or_missing(value) if column.numbers > column.text else ""
        raise StudyError(file, f"column {name!r}: {value!r} in row {row} is text, expected {role}{advice}")
    if not in_c:
        _no_date(name, locate)
    return "VARCHAR"


def days_of(name: str) -> str:
    """How a formula uses a column of dates."""
    return f"as_date({named(name)}) is the number of days since 1970-01-01"


def dates(file: str, name: str, type_: Any) -> bool:
    """Whether a column in as_date(...) of a Parquet file has dates, times or text, and not numbers of days.

    Raises
    ------
    StudyError
        It has times with a zone: which day it is depends on where one is.
    """
    from pyarrow import types

    if types.is_timestamp(type_) and type_.tz is not None:
        what = f"column {name!r}: its type is {type_}, expected dates or times without a time zone"
        raise StudyError(file, what)
    return not (types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_))


def _or_missing(value: str) -> str:
    """How to say that a value means missing."""
    return f", or `missing_values: [{json.dumps(value, ensure_ascii=False)}]` if it means missing"


def _no_date(name: str, locate) -> None:
    """Refuse a column of text that begins with a date: as categories, dates are hardly ever meant."""
    file, row, value = locate.first(name, "v IS NOT NULL")
    if not isinstance(value, str) or not DATE.fullmatch(value.strip()):
        return
    what = f"column {name!r}: {value!r} in row {row} is a date, expected a number: "
    if not ISO.match(value.strip()):
        what += "where dates are written as 2024-01-31, "
    what += f"{days_of(name)}; or C({named(name)}) if dates are categories"
    raise StudyError(file, what)


def finite(name: str, column, locate) -> None:
    """No infinite values."""
    if column.infinite:
        file, row, value = locate.first(name, "isinf(d)")
        what = f"column {name!r}: {value} in row {row} ({column.infinite} infinite), expected finite numbers"
        raise StudyError(file, what)


def positive(name: str, column, locate) -> None:
    """Weights are above 0: a row of weight 0 would count among the rows and say nothing."""
    if column.low <= 0.0:
        file, row, value = locate.first(name, "d <= 0")
        raise StudyError(file, f"column {name!r}: {value} in row {row}, expected weights above 0")


def constant(name: str, column, is_response: bool, locate) -> None:
    """A response or numeric predictor has at least two values."""
    if column.low == column.high:
        what = "the response" if is_response else "a predictor"
        said = f"column {name!r}: {column.low:g} in every row, expected {what} with at least two values"
        raise StudyError(locate.where, said)


def levels(name: str, found: Sequence, most: int, rows: int, stated: bool, locate) -> None:
    """A categorical predictor has at least two levels, and not as many as an identifier, or a number, would have.

    Parameters
    ----------
    name : str
    found : sequence
        Its levels.
    most : int
        No categorical predictor has more.
    rows : int
    stated : bool
        The formula says C(name): text that looks like numbers is meant to be categories.
    locate : Locator
    """
    if len(found) == 1:
        what = f"column {name!r}: {found[0]!r} in every row, expected a predictor with two levels or more"
        raise StudyError(locate.where, what)
    if len(found) > most:
        what = f"column {name!r}: text with more than {most} levels, for example {found[0]!r}"
        raise StudyError(locate.where, f"{what}; expected numbers or a categorical predictor with few levels")
    if stated or not isinstance(found[0], str):
        return
    advice = f"or C({name}) if its values are categories"
    if all(COMMAS.fullmatch(level.strip()) for level in found):
        what = f"column {name!r}: text such as {found[0]!r}, expected numbers with a decimal point and no other comma"
        what += ', or `csv: {decimal: ","}`'
        raise StudyError(locate.where, f"{what}, {advice}")
    if len(found) > max(rows / 2, FEW):
        what = f"column {name!r}: text with {len(found)} levels in {rows} rows, for example {found[0]!r}"
        raise StudyError(
            locate.where, f"{what}; expected numbers, a categorical predictor with few levels, {advice}"
        )


def labels(key: Sequence[str], columns: Mapping[str, Mapping[str, Any]], locate) -> None:
    """No number that is a predictor as well is part of a grouping factor: its text is not the file's."""
    for name in key:
        if columns[name]["type"] != "group" and columns[name]["kind"] == "DOUBLE":
            what = f"column {name!r}: numbers of a predictor, which {':'.join(key)!r} cannot take for labels as well"
            raise StudyError(locate.where, f"{what}; expected text, or a copy of it under another name")


def groups(name: str, sizes: np.ndarray, locate) -> None:
    """The grouping factor has at least two levels, and a group with more than one row."""
    if len(sizes) < 2:
        what = f"column {name!r}: one level in all {sizes.sum()} rows, expected two levels or more"
        raise StudyError(locate.where, what)
    if sizes.max() == 1:
        what = (
            f"column {name!r}: only one row in each of {len(sizes)} groups, expected groups of several rows"
        )
        raise StudyError(
            locate.where, f"{what}: with single rows, group effects cannot be told from residuals"
        )


def size(
    rows: int,
    groups: Mapping[str, int],
    terms: Terms,
    where: str,
    levels: Mapping[str, Sequence] = MappingProxyType({}),
) -> None:
    """No more parameters than rows and groups can carry.

    Parameters
    ----------
    rows : int
    groups : mapping of str to int
        Levels of each grouping factor.
    terms : Terms
    where : str
        The file, or the key, that the message begins with.
    levels : mapping, optional
        Categorical predictors and their levels.

    Raises
    ------
    StudyError
        As many fixed effects and variance parameters as rows, or more random effects in a block than groups
        (their covariance matrix would be singular for any data).
    """
    blocks = [(grouping.group, block) for grouping in terms.groupings for block in grouping.blocks]
    variances = 1 + sum(len(block) * (len(block) + 1) // 2 for _, block in blocks)
    if len(terms.fixed) + variances >= rows:
        what = f"{len(terms.fixed)} fixed effects and {variances} variance parameters for {rows} rows"
        if levels:
            most = max(levels, key=lambda name: len(levels[name]))
            what = f"column {most!r}: {len(levels[most])} levels; {what}"
        raise StudyError(where, f"{what}, expected more rows than parameters")
    for group, block in blocks:
        if len(block) > groups[group]:
            what = f"column {group!r}: {groups[group]} groups for {len(block)} correlated random effects"
            what = f"{what} ({', '.join(block)})"
            raise StudyError(
                where, f"{what}, expected at least as many groups, or independent effects with ||"
            )


def different(moments, where: str) -> None:
    """No two grouping factors have the same groups of rows, and none has one level.

    Parameters
    ----------
    moments : SeveralMoments
    where : str
        The file, or the key, that the message begins with.

    Raises
    ------
    StudyError
        It names the factors: their variances could not be told apart.
    """
    for (k, m), cells in moments.cells.items():
        one, other = moments.factors[k], moments.factors[m]
        if len(cells.i) == one.n_groups == other.n_groups:
            what = (
                f"columns {one.group!r} and {other.group!r}: each level of one meets one level of the other"
            )
            raise StudyError(
                where, f"{what}, expected grouping factors that differ; take one out of the formula"
            )


def combinations(moments, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Columns of a model matrix that are linear combinations of those before them.

    Parameters
    ----------
    moments : Moments
    names : sequence of str
        The fixed effects, or the random effects of a block.

    Returns
    -------
    dict
        Column to the columns that make it up and their weights, in `basis.stable` coordinates. The columns are
        those that R's pivoted QR decomposition moves to the end.

    Notes
    -----
    Gaussian elimination of the cross-products in centred and scaled columns: what is left on the diagonal is
    the variance that the columns before do not explain.
    """
    combine, _ = moments.basis.stable(tuple(names))
    gram = combine.T @ moments.total[:-1, :-1] @ combine
    norms = np.sqrt(np.diag(gram))
    # A column of zeros has no norm; it is a combination of anything.
    norms = np.where(norms > 0, norms, 1.0)
    gram = gram / np.outer(norms, norms)
    kept: list[int] = []
    found = {}
    for k, name in enumerate(names):
        weights = np.linalg.solve(gram[np.ix_(kept, kept)], gram[kept, k])
        if gram[k, k] - gram[kept, k] @ weights > COLLINEAR:
            kept.append(k)
            continue
        parts = zip(kept, weights, strict=True)
        found[name] = {names[i]: float(w * norms[k] / norms[i]) for i, w in parts if abs(w) > NO_PART}
    return found


def collinear(moments, names: Sequence[str], where: str) -> None:
    """No column of a model matrix is a combination of those before it.

    Parameters
    ----------
    moments, names
        As for `combinations`.
    where : str
        The file, or the key, that the message begins with.

    Raises
    ------
    StudyError
        It names the first such column and the columns that make it up.
    """
    for name, weights in combinations(moments, names).items():
        parts = ", ".join(map(repr, weights)) or "zero"
        what = f"column {name!r}: a linear combination of {parts} in all rows"
        raise StudyError(where, f"{what}, expected columns that are not; take one out of the formula")


def exact(moments, response: str, names: Sequence[str], where: str) -> None:
    """The fixed effects leave something to explain: else there is no variance to estimate.

    Parameters
    ----------
    moments : Moments
    response : str
    names : sequence of str
        The fixed effects, not collinear.
    where : str
        The file, or the key, that the message begins with.
    """
    fit = moments.ols(tuple(names))
    if fit.rss <= EXACT * fit.tss:
        what = f"column {response!r}: fitted exactly by {', '.join(names)}"
        raise StudyError(where, f"{what}, expected a response that varies around the fixed effects")
