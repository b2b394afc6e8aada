"""Parameters as a reader knows them: names of tidy terms in headings and sentences, and their estimates."""

import re
from collections.abc import Callable

from lmm.core.tidy import RESIDUAL, pair_of
from lmm.core.words import fixed, number

# A variance parameter of one of several grouping factors, as `tidy.variable` names it.
OF_FACTOR = re.compile(r"((?:sd|cor)__.+)\|([^|`]+)")


def titled(term: str, name: Callable[[str], str] = str) -> str:
    """A tidy term as a heading or a table's cell: `SD of x`, `cor(Intercept, x)`, `residual SD`.

    Parameters
    ----------
    term : str
        A tidy term; of one of several grouping factors as `tidy.variable` names it.
    name : callable
        What people call an effect or a column: `Labels.term`.

    Returns
    -------
    str
    """
    if term == RESIDUAL:
        return "residual SD"
    if found := OF_FACTOR.fullmatch(term):
        return f"{titled(found[1], name)}, {name(found[2])}"
    kind, _, own = term.partition("__")
    if kind == "cor" and own:
        return f"cor({', '.join(map(name, pair_of(term)))})"
    return f"SD of {name(own)}" if kind == "sd" and own else name(term)


def spoken(term: str, name: Callable[[str], str] = str) -> str:
    """A tidy term as one says it: `the SD of x`, `the correlation of Intercept and x`, `the fixed effect of x`.

    Parameters
    ----------
    term : str
        A tidy term.
    name : callable
        As for `titled`.

    Returns
    -------
    str
    """
    if found := OF_FACTOR.fullmatch(term):
        return f"{spoken(found[1], name)} of {name(found[2])}"
    kind, _, own = term.partition("__")
    if kind == "cor" and own:
        return f"the correlation of {' and '.join(map(name, pair_of(term)))}"
    return f"the {titled(term, name)}" if kind == "sd" and own else f"the fixed effect of {name(term)}"


def of_term(term: str, value: float | None, digits: int = 3) -> str:
    """An estimate of a tidy term: correlations and shares by decimals, others to so many significant digits.

    Parameters
    ----------
    term : str
        A tidy term.
    value : float or None
        The estimate.
    digits : int
        Significant digits.

    Returns
    -------
    str
    """
    if term.startswith("variance explained"):
        return fixed(value, 4)
    return fixed(value, 3) if term.startswith("cor__") else number(value, digits)
