"""Model matrices of a formula, the same in every batch and in every process.

Sums of numeric columns are read here, all other terms evaluated by formulaic (`evaluation`); levels of categorical
predictors (treatment contrasts) and the bases of poly(), bs() and the like are fixed when the design is built,
so that a batch that lacks a level, or a job on another machine, makes the same columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.model.categories import checked_levels, example, is_category, levels_of, with_levels
from lmm.model.formula import parse
from lmm.model.parts import Formula
from lmm.model.sides import sides
from lmm.model.syntax import plain_sum
from lmm.model.terms import Grouping, Terms

INTERCEPT = "Intercept"
SAME = 1e-6  # relative; combinations are found to about 3e-6 of a column's sd (checks.COLLINEAR)


@dataclass(frozen=True)
class Design:
    """A formula with everything fixed that its model matrices depend on; made by `build`.

    Attributes
    ----------
    formula : Formula
    terms : Terms
    levels : dict of str to list
        Categories of each categorical predictor, the reference first.
    plain : dict of str to str, or None
        Term name to column of the data where every term and the response is a plain numeric column (so that
        SQL can do the work); None otherwise. The intercept is not in it.
    transforms : tuple of str
        formulaic's transform state of the fixed part and of each block (of each term `(f || g)` with a categorical
        f), as text.
    names : tuple of tuple of str
        Of the columns of each of these: formulaic's, but for columns that `term_of` puts in backticks.
    ends : dict of str to list
        Least and greatest value of numeric predictors, where a term's basis depends on all rows.
    dropped : dict of str to dict
        Fixed effects that were dropped, each with the columns that it is a combination of and their weights.
    """

    formula: Formula
    terms: Terms
    levels: dict[str, list]
    plain: dict[str, str] | None
    transforms: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    ends: dict[str, list[float]]
    dropped: dict[str, dict[str, float]] = field(default_factory=dict)

    @cached_property
    def specs(self) -> tuple[Any, ...]:
        """formulaic's specifications of the fixed part and of each block."""
        # a third of a second, which sums of columns need not wait
        from lmm.model.evaluation import specifications

        frame = with_levels(example(self.formula, self.levels, self.ends), self.formula, self.levels)
        return specifications(self.formula, self.levels, frame, self.transforms)

    @property
    def stateful(self) -> tuple[str, ...]:
        """Terms whose basis depends on all rows: the design must be built from the whole frame."""
        return self.formula.stateful

    @property
    def by_sql(self) -> bool:
        """Whether SQL can add up its moments: from plain numeric columns, each row counting once."""
        return self.plain is not None and not self.formula.weights

    def predictors(self, df: pd.DataFrame) -> np.ndarray:
        """Distinct columns W of a batch.

        Parameters
        ----------
        df : DataFrame
            Has the formula's predictors.

        Returns
        -------
        (n, K) float64 array, C order, columns as `terms.columns`.

        Raises
        ------
        StudyError
            For a category that is not among the levels.
        """
        if self.plain is not None:
            columns = self.plain.values()
            return self.of_arrays({name: df[name].to_numpy(dtype=np.float64) for name in columns}, len(df))
        found = self._evaluated(df)
        return np.ascontiguousarray(np.column_stack([found[name] for name in self.terms.columns]))

    def of_arrays(self, values: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
        """`predictors` of arrays: to make a table of few rows takes longer than to fit them.

        Parameters
        ----------
        values : mapping of str to (n,) array
            The formula's predictors.
        rows : int
            n.

        Returns
        -------
        (n, K) float64 array
        """
        if self.plain is None:
            return self.predictors(pd.DataFrame(dict(values), index=range(rows)))
        out = np.ones((rows, len(self.terms.columns)))
        for k, name in enumerate(self.terms.columns):
            if name != INTERCEPT:
                out[:, k] = values[self.plain[name]]
        return out

    def _evaluated(self, df: pd.DataFrame) -> dict[str, np.ndarray]:
        """Every column of the model matrices, dropped ones too."""
        from lmm.model.evaluation import evaluated

        frame = with_levels(df, self.formula, self.levels)
        found: dict[str, np.ndarray] = {}
        for spec, names in zip(self.specs, self.names, strict=True):
            if not set(names) <= found.keys():
                matrix = evaluated(spec, frame)
                found |= {name: matrix[:, k] for k, name in enumerate(names)}
        return found

    def without(self, dropped: Mapping[str, Mapping[str, float]]) -> "Design":
        """The design without some of its fixed effects; they stay columns where a random effect has them."""
        fixed = tuple(name for name in self.terms.fixed if name not in dropped)
        random = {name for grouping in self.terms.groupings for name in grouping.random}
        columns = tuple(name for name in self.terms.columns if name not in dropped or name in random)
        terms = replace(self.terms, fixed=fixed, columns=columns, dropped=tuple(dropped))
        return replace(self, terms=terms, dropped={name: dict(weights) for name, weights in dropped.items()})

    def estimable(self, df: pd.DataFrame) -> np.ndarray:
        """Whether the model says what the mean of each row is, (n,) bool.

        It does not where a dropped column differs from the combination of others that it is in the data: there the
        fit depends on which column was dropped.
        """
        size = np.maximum(np.abs(self.predictors(df)).max(axis=1, initial=1.0), 1.0)
        return (np.abs(self.unknown(df)) <= SAME * size[:, None]).all(axis=1)

    def unknown(self, df: pd.DataFrame) -> np.ndarray:
        """What each dropped column has beyond the combination of others that it is in the data, (n, d)."""
        found = self._evaluated(df) if self.dropped else {}
        beyond = [
            found[name] - sum(weight * found[other] for other, weight in weights.items())
            for name, weights in self.dropped.items()
        ]
        return np.column_stack(beyond) if beyond else np.empty((len(df), 0))

    def response(self, df: pd.DataFrame) -> np.ndarray:
        """The response of a batch, its offsets subtracted, (n,) float64."""
        name = self.formula.response
        bare = name[1:-1] if name.startswith("`") else name
        if bare in df.columns:
            y = df[bare].to_numpy(dtype=np.float64)
        else:
            from lmm.model.evaluation import response

            y = response(name, df)
        return y - self.offset(df) if self.formula.offsets else y

    def offset(self, df: pd.DataFrame) -> np.ndarray:
        """The sum of a batch's offsets, (n,) float64."""
        return sum((df[name].to_numpy(dtype=np.float64) for name in self.formula.offsets), np.zeros(len(df)))

    def weights(self, df: pd.DataFrame) -> np.ndarray | None:
        """Precision weights of a batch, (n,) float64; None without.

        Raises
        ------
        StudyError
            A weight that is not positive.
        """
        name = self.formula.weights
        if not name:
            return None
        found = df[name].to_numpy(dtype=np.float64)
        if not np.all(found > 0.0):
            what = f"column {name!r}: {found[~(found > 0.0)][0]:g}, expected weights above 0"
            raise StudyError("data", what)
        return found

    def matrix(self, df: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Response (n,) and distinct columns (n, K) of a batch; see `response` and `predictors`."""
        return self.response(df), self.predictors(df)

    def state(self) -> dict[str, Any]:
        """Everything another process needs to rebuild this design, as JSON-able built-in types."""
        return {
            "formula": self.formula.text,
            "levels": self.levels,
            "transforms": list(self.transforms),
            "ends": self.ends,
            "dropped": self.dropped,
        }


def build(
    formula: Formula, schema: pd.DataFrame | Mapping[str, Any], levels: Mapping[str, list] | None = None
) -> Design:
    """Fix a formula's model matrices.

    Parameters
    ----------
    formula : Formula
        The parsed formula.
    schema : DataFrame or mapping
        The data (needed for poly(), bs() and other transformations whose basis depends on all rows), or
        the predictors' types: column to "numeric" or "categorical", or data.json's `columns`.
    levels : mapping, optional
        Column to its categories, the reference level first. Categorical columns that are not listed take
        their sorted distinct values from the frame, or `levels` of data.json's columns.

    Returns
    -------
    Design

    Raises
    ------
    StudyError
        For a missing column, a categorical predictor without known levels or with fewer than two, a
        stateful transformation without the data.
    """
    known: dict[str, list | None] = dict(levels or {})
    categorical = set(formula.categorical)
    for name in formula.predictors:
        if name not in schema:
            present = ", ".join(map(str, schema)) or "none"
            raise StudyError("formula", f"column '{name}' is not there; expected one of: {present}")
        if name in known or is_category(schema[name]):
            categorical.add(name)
        if name in categorical and name not in known:
            known[name] = levels_of(schema[name])
    checked = {name: checked_levels(name, known[name]) for name in formula.predictors if name in categorical}
    transforms, ends = ["{}"] * (1 + len(sides(formula, checked))), {}
    if formula.stateful:
        if not isinstance(schema, pd.DataFrame):
            what = f"'{formula.stateful[0]}' depends on all rows; expected a formula without it here"
            raise StudyError("formula", what)
        from lmm.model.evaluation import specifications, states

        transforms = states(
            specifications(formula, checked, with_levels(schema, formula, checked), transforms)
        )
        numeric = [name for name in formula.predictors if name not in checked]
        ends = {name: [float(schema[name].min()), float(schema[name].max())] for name in numeric}
    return _finish(formula, checked, transforms, ends)


def rebuild(state: Mapping[str, Any]) -> Design:
    """The design whose `state` this is."""
    formula = parse(state["formula"])
    levels = {name: list(values) for name, values in state["levels"].items()}
    design = _finish(formula, levels, state["transforms"], state["ends"])
    return design.without(state["dropped"]) if state["dropped"] else design


def _finish(
    formula: Formula, levels: dict[str, list], transforms: list[str], ends: dict[str, list[float]]
) -> Design:
    """The design whose categories are those of `levels`, whatever rows were there."""
    texts = (formula.fixed, *(rhs for _, rhs, _ in sides(formula, levels)))
    simple = not levels and formula.response in formula.variables
    sums = [plain_sum(text) for text in texts]
    if simple and all(columns is not None for columns in sums):
        named = tuple(tuple(name or INTERCEPT for name in columns or ()) for columns in sums)
        plain = {name: name for columns in sums for name in columns or () if name}
        specs = None
    else:
        from lmm.model.evaluation import named_columns, specifications, states

        frame = with_levels(example(formula, levels, ends), formula, levels)
        specs = specifications(formula, levels, frame, transforms)
        named, plain = named_columns(specs, formula)
        transforms = states(specs)
    fixed, *found = named
    blocks: list[list[tuple[str, ...]]] = [[] for _ in formula.factors]
    for (at, _, split), names in zip(sides(formula, levels), found, strict=True):
        blocks[at] += [(name,) for name in names] if split else [names]
    random = [name for names in found for name in names]
    distinct = dict.fromkeys([*random, *fixed])
    columns = ([INTERCEPT] if INTERCEPT in distinct else []) + [n for n in distinct if n != INTERCEPT]
    groupings = [Grouping(f.columns, tuple(own)) for f, own in zip(formula.factors, blocks, strict=True)]
    terms = Terms(fixed, tuple(groupings), tuple(columns))
    simple &= distinct.keys() - {INTERCEPT} <= plain.keys()
    design = Design(formula, terms, levels, plain if simple else None, tuple(transforms), named, ends)
    if specs is not None:
        design.__dict__["specs"] = specs
    return design


@cache
def numeric_design(formula: Formula) -> Design:
    """Design of a formula all of whose predictors are numbers, as in simulated data."""
    return build(formula, dict.fromkeys(formula.predictors, "numeric"))
