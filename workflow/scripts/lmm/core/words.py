"""Numbers and lists as a reader wants them: significant digits, a true minus sign, no needless exponent."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lmm.core.engines import ENGINES

LISTED = 20  # most numbers of a list that a table's cell has
LABELS = {"no_pooling": "no pooling"} | {name: engine.label for name, engine in ENGINES.items()}


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def label(engine: str) -> str:
    """The engine's name as figures and report print it."""
    return LABELS.get(engine, engine)


def number(value: float | None, digits: int = 3) -> str:
    """`value` to so many significant digits; – for a missing one."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    if 1e-4 <= abs(rounded) < 1e6:
        return fixed(rounded, max(0, digits - 1 - math.floor(math.log10(abs(rounded)))))
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(_RAISED)}".replace("-", "−")


def given(value: float | None) -> str:
    """A number that someone chose (a truth, a limit): as they would write it."""
    if value is None or not math.isfinite(value):
        return "–"
    return _grouped(value, ".0f" if abs(value) < 1e15 and value == round(value) else ".6g")


def scaled(value: float, width: float, digits: int = 3) -> str:
    """A value of a column whose values span `width`: so many digits of the width, no zeros behind them.

    2008 on an axis from 2008 to 2017, not 2010 as three digits of its own would make it.

    Parameters
    ----------
    value : float
        The value.
    width : float
        Width of the interval.
    digits : int
        Significant digits.

    Returns
    -------
    str
    """
    if not math.isfinite(value):
        return "–"
    if not 1e-6 < abs(width) < 1e15:
        return given(value)
    decimals = digits - 1 - math.floor(math.log10(abs(width)))
    text = fixed(round(value, decimals), max(decimals, 0))
    return text.rstrip("0").rstrip(".") if "." in text else text


def ends(low: float, high: float, digits: int = 3) -> str:
    """A range, `2008 to 2017`: both ends to so many digits of its width.

    Parameters
    ----------
    low : float
        Lower end.
    high : float
        Upper end.
    digits : int
        Significant digits.

    Returns
    -------
    str
    """
    return f"{scaled(low, high - low, digits)} to {scaled(high, high - low, digits)}"


def whole(count: float | None) -> str:
    """A number of rows, draws or fits, thousands separated; – for a missing one."""
    return "–" if count is None or not math.isfinite(count) else f"{count:,.0f}"


def gate(value: float | None, limit: float) -> str:
    """What a gate measured: in whole draws where its limit is a number of draws, else to four digits."""
    return whole(value) if float(limit).is_integer() else number(value, 4)


def shortened(text: str, digits: int = 4) -> str:
    """A prior or another expression, its long decimals rounded to so many significant digits."""
    return re.sub(r"\d+\.\d+(?:e[-+]?\d+)?", lambda found: f"{float(found[0]):.{digits}g}", text)


def fixed(value: float | None, decimals: int) -> str:
    """`value` with so many decimals; – for a missing one."""
    if value is None or not math.isfinite(value):
        return "–"
    text = _grouped(value, f".{decimals}f")
    return text.removeprefix("−") if not text.strip("−0.,") else text


def _grouped(value: float, form: str) -> str:
    """Thousands separated from five digits on, for 2010 may be a year; a true minus sign."""
    comma = "," if abs(value) >= 10_000 else ""
    return f"{value:{comma}{form}}".replace("-", "−")


def decimals(values: Sequence[float], digits: int = 4, most: int = 6) -> int:
    """Decimals for a column: enough for `digits` significant ones of its typical size.

    Parameters
    ----------
    values : sequence of float
        The numbers of a column.
    digits : int
        Significant digits of the smallest that matters.
    most : int
        Decimals at most.

    Returns
    -------
    int
    """
    sizes = np.abs(np.asarray(values, float))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not len(sizes):
        return 0
    if np.all(sizes == np.round(sizes)):
        return 0
    return int(np.clip(digits - 1 - math.floor(math.log10(np.median(sizes))), 0, most))


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage, its sign kept."""
    return f"{fixed(100 * share, digits)}\u00a0%"


def short_levels(levels: Sequence[str], most: int) -> list[str]:
    """Group names for a place of so many characters: what all begin with left out, then the end as an ellipsis.

    `patient 7`, `patient 12` become `7`, `12` where they are too long; names that would fall together by their
    beginnings keep their ends instead.
    """
    levels = [str(level) for level in levels]
    if max(map(len, levels), default=0) <= most:
        return levels
    first, last = min(levels), max(levels)  # what these two begin with alike, all between them do
    same = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    shared = re.sub(r"[^\W_]*$", "", first[:same])  # not half a word or number
    rest = [level.removeprefix(shared) for level in levels]
    heads = [name if len(name) <= most else name[: most - 1].rstrip() + "…" for name in rest]
    tails = [name if len(name) <= most else "…" + name[1 - most :].lstrip() for name in rest]
    return tails if len(set(tails)) > len(set(heads)) else heads


def error_size(value: float | None, least: float = 1e-6) -> str:
    """The size of an error: below `least` as such, for its digits are rounding."""
    if value is None or not math.isfinite(value):
        return "–"
    exponent = str(round(math.log10(least))).translate(_RAISED)
    return f"less than 10{exponent}" if abs(value) < least else number(abs(value), 2)


def in_errors(share: float) -> str:
    """A difference in standard errors: `3.6 % of a standard error`, `1.4 standard errors`."""
    if share >= 1:
        return f"{number(share, 2)} standard errors"
    return f"{percent(share) if share >= 0.001 else f'less than {percent(0.001)}'} of a standard error"


def places(error: float | None, most: int = 6) -> int | None:
    """Decimals that show two significant digits of a standard error; None where there is none.

    Parameters
    ----------
    error : float or None
        A standard error, in the estimate's unit.
    most : int
        Decimals at most.

    Returns
    -------
    int or None
    """
    if error is None or not math.isfinite(error) or error <= 0:
        return None
    return int(np.clip(1 - int(f"{error:.1e}".partition("e")[2]), 0, most))


def estimated(value: float | None, decimals: int | None, digits: int = 3) -> str:
    """An estimate with so many decimals, by `places`; to `digits` significant ones where it has no error.

    Parameters
    ----------
    value : float or None
        The estimate.
    decimals : int or None
        Decimals.
    digits : int
        Significant digits without decimals.

    Returns
    -------
    str
    """
    return number(value, digits) if decimals is None else fixed(value, decimals)


def with_error(value: float | None, error: float | None, unit: str = "") -> str:
    """An estimate with its (Monte Carlo) standard error, two digits of which decide the decimals: `−0.090 ± 0.010`.

    Parameters
    ----------
    value, error : float or None
        The estimate and its standard error.
    unit : str
        Stands behind both: `91.2 % ± 1.0 %`.

    Returns
    -------
    str
    """
    decimals, behind = places(error, most=12), f"\u00a0{unit}" if unit else ""
    return f"{estimated(value, decimals)}{behind} ± {estimated(error, decimals, 2)}{behind}"


def share(estimate: float, error: float) -> str:
    """A share with its standard error in percent: `91.2 % ± 1.0 %`."""
    return with_error(100 * estimate, 100 * error, "%")


def some(items: Sequence[str], where: str = "", most: int = 5) -> str:
    """`a, b and c` of few; of many the first and how many more there are (and where): `a, b and 7 more (table x)`.

    Parameters
    ----------
    items : sequence of str
        What is listed.
    where : str
        Where all of them are.
    most : int
        Named of many; one more than that is not worth leaving out.

    Returns
    -------
    str
    """
    items = list(items)
    if len(items) <= most + 1:
        return listed(items)
    return listed([*items[:most], f"{len(items) - most} more{f' ({where})' if where else ''}"])


def p_value(value: float | None, least: float = 0.001) -> str:
    """A p-value to three decimals, without the zero before them: `.012`, `< .001`, `> .999`, never 0 or 1.

    `least` is larger where p is a share of few replicates: none of 500 is `< .002`.
    """
    if value is None or not math.isfinite(value):
        return "–"
    least = max(least, 0.001)
    if value < least * (1 - 1e-9):
        return f"< {number(least, 1).removeprefix('0')}"
    if value > 1.0 - least * (1 - 1e-9):
        return f"> {given(1.0 - float(f'{least:.1g}')).removeprefix('0')}"
    return f"{value:.3f}".removeprefix("0")


def p_said(text: str) -> str:
    """`p_value`'s text in a sentence: `p = .012`, `p < .001`."""
    return f"p {text}" if text[0] in "<>" else f"p = {text}"


def stars(value: float | None) -> str:
    """R's significance codes."""
    if value is None or not math.isfinite(value):
        return ""
    return next(
        (mark for limit, mark in ((0.001, "***"), (0.01, "**"), (0.05, "*"), (0.1, ".")) if value < limit), ""
    )


def listed(items: Sequence[str], word: str = "and") -> str:
    """`a, b and c`."""
    items = list(items)
    return f"{', '.join(items[:-1])} {word} {items[-1]}" if len(items) > 1 else "".join(items)


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 group`, `1,000 rows`.

    Parameters
    ----------
    count : int
        How many there are.
    noun : str
        What is counted, in the singular.
    plural : str
        The plural where it is not noun + s.

    Returns
    -------
    str
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def plural_of(name: str) -> str:
    """The plural of a column's name that reads as an English noun: `subjects`, `classes`; empty for other names."""
    if not re.fullmatch(r"[A-Za-z]{3,}", name) or re.search(r"[^s]s$", name):
        return ""
    if re.search(r"(ss|x|z|ch|sh)$", name):
        return f"{name}es"
    return f"{name[:-1]}ies" if re.search(r"[^aeiou]y$", name) else f"{name}s"


def capital(text: str) -> str:
    """First letter in upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def uncapital(text: str) -> str:
    """First letter in lower case, the rest as it is."""
    return text[:1].lower() + text[1:]


def as_cell(value: Any) -> Any:
    """`{poisson: 8}` as `poisson(8)`, so that it fits in a column of a table; of a long list the beginning."""
    if isinstance(value, Mapping):
        inner = {
            key: given(item) if isinstance(item, float) else as_cell(item) for key, item in value.items()
        }
        return ", ".join(f"{key}({item})" for key, item in inner.items())
    if not isinstance(value, list):
        return value
    more = [f"... {len(value):,} in all"] if len(value) > LISTED else []
    return ", ".join([*map(str, value[:LISTED]), *more])
