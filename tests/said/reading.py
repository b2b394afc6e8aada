"""Every sentence of a report has a check here: its numbers are read back and compared with the artifacts' tables.

A check is a pattern for the whole sentence and a function that takes what the sentence is about (`Results` or
`Recovered`) and the match. A sentence that no pattern fits fails the test: a new one needs a check of its own.
"""

import re

import numpy as np

from lmm.core.parameters import spoken, titled
from lmm.core.words import LABELS

N = r"(?:[−-]?\d[\d,]*(?:\.\d+)?(?:×10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?|–)"  # a number as a reader sees it
E = "|".join(LABELS.values())  # an engine's name
MANY = rf"(?:{E})(?:(?:, | and )(?:{E}))*"  # engines in a list
P = rf"{N} %"
_UP = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
ENGINE = {label: name for name, label in LABELS.items()}


def parsed(text: str) -> tuple[float, float]:
    """A number as written and half a unit of its last digit; trailing zeros of a whole number may be rounding."""
    text = text.replace("−", "-").replace(",", "").removesuffix(" %")
    if text == "–":
        return np.nan, 0.0
    mantissa, _, power = text.partition("×10")
    scale = 10.0 ** int(power.translate(_UP) or 0)
    digits = mantissa.split(".")[1] if "." in mantissa else ""
    whole = len(mantissa) - len(mantissa.rstrip("0")) if not digits and float(mantissa) != 0 else 0
    return float(mantissa) * scale, 0.5 * scale * 10.0 ** (whole - len(digits))


def agree(text: str, value: float) -> None:
    """The number as written is `value`, rounded."""
    number, half = parsed(text)
    if np.isnan(number):
        assert not np.isfinite(value), (text, value)
        return
    # 1e-9: a value half-way between two digits may go to either
    assert abs(number - value) <= half * (1 + 1e-9) + 1e-12 * abs(value), (text, value)


def percents(text: str, share: float) -> None:
    """The percentage as written is the share."""
    agree(text, 100 * share)


def size(text: str, value: float) -> None:
    """`less than 10⁻⁶`, or the number."""
    if text.startswith("less than 10"):
        assert abs(value) < 10.0 ** int(text.removeprefix("less than 10").translate(_UP)), (text, value)
    else:
        agree(text, abs(value))


def p_says(text: str, value: float, least: float = 0.001) -> None:
    """`p = 0.012`, `p < 0.002`, `p > 0.998`: a bound only where p is beyond it, and never 0 or 1."""
    sign, number = re.fullmatch(r"(?:p )?([=<>]?) ?([\d.]+)", text).groups()
    assert float(number) not in (0.0, 1.0)
    if sign == "<":
        assert value < float(number) <= max(least, 0.001) * 1.5, (text, value)
    elif sign == ">":
        assert value > float(number) >= 1 - max(least, 0.001) * 1.5, (text, value)
    else:
        agree(number, value)


def items(text: str) -> list[str]:
    """`a, b and c` taken apart."""
    *some, last = re.split(r", | and ", text) if text else [""]
    return [part for part in (*some, last) if part]


def per_term(text: str) -> dict[str, str]:
    """`9.0 for Intercept and 0.90 for x`: term -> number."""
    pairs = re.findall(rf"({N}) for (\S+?)(?=,| and |$| \()", text)
    assert pairs, text
    return {term: number for number, term in pairs}


def matrix(rows, terms) -> np.ndarray:
    """Model-matrix columns by their names: products of columns and of indicators `f[T.a]`."""
    columns = []
    for term in terms:
        column = np.ones(len(rows))
        for part in term.split(":") if term != "Intercept" else []:
            level = re.fullmatch(r"(.+)\[T\.(.+)\]", part)
            column = column * (rows[level[1]] == level[2] if level else rows[part]).to_numpy(float)
        columns.append(column)
    return np.column_stack(columns)


def term_of(words: str, terms, name=str) -> str:
    """The tidy term that is spoken of, by the names that people call effects by."""
    found = [term for term in terms if words in (spoken(term, name), titled(term, name))]
    assert len(found) == 1, (words, list(terms))
    return found[0]


class Checks:
    """Patterns with their checks, in the order in which they are tried."""

    def __init__(self):
        self.known = []

    def __call__(self, pattern: str):
        def add(check):
            self.known.append((re.compile(pattern), check))
            return check

        return add

    def check(self, about, sentence: str) -> str:
        """Check one sentence; returns the pattern that fits it."""
        sentence = sentence.replace("\u00a0", " ").strip()
        for pattern, check in self.known:
            if found := pattern.fullmatch(sentence):
                try:
                    check(about, found)
                except AssertionError as wrong:
                    raise AssertionError(f"{sentence}\n  {wrong}") from wrong
                return pattern.pattern
        raise AssertionError(f"no check knows this sentence: {sentence}")


def sentences(text: str) -> list[str]:
    """A paragraph's sentences: a full stop ends one before a capital, not within a number or `et al.`."""
    parts = re.split(r"(?<!et al\.)(?<=[.?!])\s+(?=[A-Z\d(]|p: )", text.replace("\u00a0", " "))
    return [part for part in parts if part]


RESIDUAL = "sd__Observation"


def column(r, engine, name="estimate"):
    """A column of an engine's parameters by term."""
    return r.fits[engine].parameters.set_index("term")[name].astype(float)


def mixed(r):
    return [name for name, fit in r.fits.items() if fit.ranef is not None and len(fit.ranef)]


def main(r):
    return next(name for name in ("mixedlm", "reml", "pymc") if name in mixed(r))


def leading(r):
    """The engine whose numbers answer the question."""
    return next((name for name in ("reml", "mixedlm", "pymc") if name in mixed(r)), None)


def random_terms(r):
    return list(dict.fromkeys(r.fits[main(r)].ranef["term"]))


def fixed(r, engine):
    table = r.fits[engine].parameters
    return table[table["effect"] == "fixed"].set_index("term")["estimate"].astype(float)


def share(r, engine, measure):
    table = r.tables["variance_explained"].set_index(["engine", "measure"])["estimate"]
    return table[engine, measure]
