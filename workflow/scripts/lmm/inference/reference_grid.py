"""The reference grid of estimated means and slopes, and what may be asked of it.

As emmeans has it (Searle, Speed & Milliken 1980, Am. Stat. 34, 216-221): every combination of the levels of the
categorical predictors, numeric ones at their means (at their two values, if they have only two).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.data.levels import two_valued
from lmm.model.design import Design
from lmm.model.syntax import hide_name

PAIRWISE = "pairwise"
STEP = 1e-4  # of a slope's difference quotient, in standard deviations; exact up to quadratic terms
LARGEST = 1_000_000  # rows of a reference grid
MOST_PAIRED = 50  # levels that are all compared where nothing is asked for: 1,225 contrasts


@dataclass(frozen=True)
class Request:
    """One entry of a study's `effects`.

    Attributes
    ----------
    kind : str
        "means" or "slopes".
    of : tuple of str
        Categorical predictors whose combinations' means, or the one numeric predictor whose slope is wanted.
    by : tuple of str
        Predictors for whose combinations that is done separately.
    at : mapping of str to sequence
        Values of predictors; a row for each of their combinations.
    contrasts : "pairwise", mapping of str to weights, or None
        Weights of each custom contrast, by level or in the order of the levels.
    adjust : str
        How p values and intervals of the contrasts are adjusted, within each combination of `by` and `at`.
    where : str
        Key path for messages.
    """

    kind: str
    of: tuple[str, ...]
    by: tuple[str, ...] = ()
    at: Mapping[str, Sequence] = field(default_factory=dict)
    contrasts: str | Mapping[str, Any] | None = None
    adjust: str = "none"
    where: str = "effects"


class ReferenceGrid:
    """The fixed effects' predictors and their values.

    Parameters
    ----------
    design : Design
    columns : mapping
        data.json's `columns`: levels of categorical predictors, mean, sd, min and max of numeric ones.
    rows : int
        Number of rows of the data.
    """

    def __init__(self, design: Design, columns: Mapping[str, Any], rows: int):
        self.design, self.columns = design, columns
        used = {str(name) for name in design.specs[0].required_variables}
        self.predictors = [name for name in design.formula.predictors if hide_name(name) in used]
        self.values = {name: self._values(name, rows) for name in design.formula.predictors}

    def _values(self, name: str, rows: int) -> list:
        if name in self.design.levels:
            return list(self.design.levels[name])
        known = self.columns[name]
        return [known["min"], known["max"]] if two_valued(known, rows) else [known["mean"]]

    @property
    def categorical(self) -> list[str]:
        """Categorical predictors of the fixed effects."""
        return [name for name in self.predictors if name in self.design.levels]

    @property
    def numeric(self) -> list[str]:
        """Numeric predictors of the fixed effects."""
        return [name for name in self.predictors if name not in self.design.levels]

    def default(self) -> list[Request]:
        """Every categorical predictor's means, every numeric one's slope; pairwise contrasts of few levels."""
        means = [
            Request("means", (name,), contrasts=PAIRWISE, adjust="tukey")
            if len(self.values[name]) <= MOST_PAIRED
            else Request("means", (name,))
            for name in self.categorical
        ]
        return means + [Request("slopes", (name,)) for name in self.numeric]

    def unpaired(self) -> list[str]:
        """What `default` leaves out, for the user."""
        return [
            f"effects: the {len(self.values[name])} levels of {name!r} are not compared with each other, which is "
            f"done by itself up to {MOST_PAIRED} levels; add {{means: {name}, contrasts: pairwise}}"
            for name in self.categorical
            if len(self.values[name]) > MOST_PAIRED
        ]

    def frame(self, at: Mapping[str, Sequence]) -> pd.DataFrame:
        """All combinations of values, the first predictor's changing fastest."""
        names = list(self.values)
        values = [list(at.get(name, self.values[name])) for name in names]
        values = [
            own if name in self.predictors else own[:1] for name, own in zip(names, values, strict=True)
        ]
        size = int(np.prod([len(own) for own in values], dtype=float))
        if size > LARGEST:
            raise StudyError("effects", f"a reference grid of {size:,} rows; expected at most {LARGEST:,}")
        combined = [row[::-1] for row in itertools.product(*reversed(values))]
        return pd.DataFrame(combined, columns=names)

    def matrix(self, frame: pd.DataFrame) -> np.ndarray:
        """X at the rows of a frame, (n, p)."""
        terms = self.design.terms
        return self.design.predictors(frame)[:, [terms.columns.index(name) for name in terms.fixed]]

    def offset(self, frame: pd.DataFrame) -> np.ndarray:
        """The offsets at the rows of a frame, (n,): at their means, as emmeans has it, unless they are predictors."""
        found = np.zeros(len(frame))
        for name in self.design.formula.offsets:
            found += frame[name].to_numpy(float) if name in self.predictors else self.columns[name]["mean"]
        return found

    def unknown(self, frame: pd.DataFrame, name: str = "") -> np.ndarray:
        """`Design.unknown` of a frame's rows, or its derivative in a numeric predictor, (n, d)."""
        if not name:
            return self.design.unknown(frame)
        step = STEP * self.columns[name]["sd"]
        ends = [
            self.design.unknown(frame.assign(**{name: frame[name] + sign * step})) for sign in (1.0, -1.0)
        ]
        return (ends[0] - ends[1]) / (2.0 * step)

    def derivative(self, frame: pd.DataFrame, name: str) -> np.ndarray:
        """Derivative of X in a numeric predictor, (n, p)."""
        step = STEP * self.columns[name]["sd"]
        ends = [self.matrix(frame.assign(**{name: frame[name] + sign * step})) for sign in (1.0, -1.0)]
        return (ends[0] - ends[1]) / (2.0 * step)


def check(grid: ReferenceGrid, request: Request) -> None:
    """Refuse a request that the model has no answer to.

    Raises
    ------
    StudyError
        A predictor that is not in the fixed effects, a mean of a numeric one, a slope of a categorical one,
        contrasts of one level, weights that do not fit the levels.
    """

    def fail(what: str) -> StudyError:
        return StudyError(request.where, what)

    slopes, levels = request.kind == "slopes", grid.design.levels
    for name in (*request.of, *request.by, *request.at):
        if name not in grid.predictors:
            present = ", ".join(grid.predictors) or "none"
            raise fail(f"'{name}' is not a predictor of the fixed effects; expected one of: {present}")
    if slopes and request.of[0] in levels:
        name = request.of[0]
        raise fail(
            f"'{name}' is categorical and has no slope; expected a numeric predictor, or means: {name}"
        )
    for name in request.by if slopes else (*request.of, *request.by):
        if name not in levels and name not in request.at:
            raise fail(f"'{name}' is numeric; expected a categorical predictor, or its values under `at`")
    for name, values in request.at.items():
        known = levels.get(name)
        strange = [
            value
            for value in values
            if (known is None and isinstance(value, str)) or value not in (known or values)
        ]
        if strange or not values:
            said = "a number" if known is None else f"one of its levels {', '.join(map(str, known))}"
            raise fail(f"at: {name}: {strange[0] if strange else 'no value'!r}; expected {said}")
    if request.contrasts is None:
        return
    compared = request.by if slopes else request.of
    labels = [
        " ".join(map(str, reversed(combined)))
        for combined in itertools.product(
            *(request.at.get(name, grid.values[name]) for name in reversed(compared))
        )
    ]
    if len(labels) < 2:
        what = "slope; expected `by` a categorical predictor" if slopes else "level; expected two or more"
        raise fail(f"contrasts of one {what}")
    if not isinstance(request.contrasts, Mapping):
        return
    for title, given in request.contrasts.items():
        strange = (
            [str(label) for label in given if str(label) not in labels] if isinstance(given, Mapping) else []
        )
        if strange or (not isinstance(given, Mapping) and len(given) != len(labels)):
            met = f"'{strange[0]}'" if strange else f"{len(given)} weights"
            raise fail(f"contrasts: {title}: {met}; expected weights of the levels {', '.join(labels)}")


def outside(grid: ReferenceGrid, request: Request) -> list[str]:
    """A warning for each value under `at` outside the range of the data."""
    out = []
    for name, values in request.at.items():
        if name in grid.columns and "min" in grid.columns[name]:
            low, high = grid.columns[name]["min"], grid.columns[name]["max"]
            out += [
                f"{request.where}: at: {name}: {value:g} is outside the data's range [{low:g}, {high:g}]"
                for value in values
                if not low <= value <= high
            ]
    return out
