"""Models whose response is a function of the study's column: criteria of one and the same data.

If g(y) has the density p(g(y)), y itself has p(g(y)) |g'(y)|: the sum of log |g'(y)| over the rows makes the log
likelihood of a model of log(y) one of y, to be compared with models of y (Akaike 1978, Ann. Inst. Stat. Math. 30).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lmm.comparison.models import Comparison
from lmm.core.errors import StudyError
from lmm.model.design import Design
from lmm.model.formula import parse
from lmm.moments import stage

STEP = 1e-5  # of a central difference, relative: its error is about 1e-10


def by_response(models: Mapping[str, str], response: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Models with the study's response (`Formula.measured`), and those with each other one.

    Parameters
    ----------
    models : mapping of name to formula
    response : str
        The study's.
    """
    groups: dict[str, dict[str, str]] = {response: {}}
    for name, text in models.items():
        groups.setdefault(parse(text).measured, {})[name] = text
    return groups.pop(response), list(groups.values())


def log_derivative(design: Design, rows: pd.DataFrame) -> float:
    """The sum over the rows of log |g'(y)|, g(y) the design's response.

    Parameters
    ----------
    design : Design
    rows : DataFrame
        With the response's column, numbers.

    Raises
    ------
    StudyError
        The response does not change with the column in some row, as where it is centred at the rows' own mean.
    """
    (name,) = design.formula.measures
    y = rows[name].to_numpy(dtype=np.float64)
    step = STEP * np.where(y != 0.0, np.abs(y), np.std(y))
    high, low = (design.response(rows.assign(**{name: y + sign * step})) for sign in (1.0, -1.0))
    with np.errstate(all="ignore"):
        found = np.log(np.abs(high - low) / (2.0 * step))
    if len(bad := np.flatnonzero(~np.isfinite(found))):
        what = f"response '{design.formula.response}': no derivative at {name} = {y[bad[0]]:g}"
        raise StudyError(
            "models", f"{what}; expected a function of {name} alone that is smooth where the data are"
        )
    return float(found.sum())


def transformed(
    formulas: Mapping[str, str], data: Mapping[str, Any], rows: pd.DataFrame, deficient: str
) -> Comparison:
    """Models with one other response, from the rows.

    Parameters
    ----------
    formulas : mapping of name to formula
    data : mapping
        data.json's content.
    rows : DataFrame
    deficient : str
        What is done where fixed effects are rank-deficient: `drop` or `error`.
    """
    design, own = stage.designs(list(formulas.values()), data, rows)
    moments = stage.of_rows(design, rows, data)
    own = stage.checked(moments, own, data, deficient)
    terms = {name: one.terms for name, one in zip(formulas, own, strict=True)}
    return Comparison(moments, formulas, terms, log_derivative(design, rows), design.formula.response)
