"""Categorical predictors: which columns are, their levels, and rows that hold them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.model.parts import Formula
from lmm.model.syntax import hide_level, hide_name


def is_category(column: Any) -> bool:
    """Whether a column is categorical by its type."""
    if isinstance(column, pd.Series):
        return isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(
            column.dtype
        )
    return (column.get("type") if isinstance(column, Mapping) else column) == "categorical"


def levels_of(column: Any) -> list | None:
    """Levels of a column where they can be known."""
    if isinstance(column, pd.Series):
        if isinstance(column.dtype, pd.CategoricalDtype):
            return column.cat.categories.tolist()
        return sorted(column.dropna().unique().tolist())
    return column.get("levels") if isinstance(column, Mapping) else None


def checked_levels(name: str, values: list | None) -> list:
    """Levels in the order of their columns.

    Raises
    ------
    StudyError
        Fewer than two.
    """
    if values is None or len(values) < 2:
        met = "unknown levels" if values is None else f"levels {values}"
        raise StudyError("formula", f"categorical predictor '{name}' has {met}; expected at least two")
    return sorted(values) if are_numbers(values) else list(values)


def are_numbers(levels: list) -> bool:
    """Whether all levels are numbers."""
    return all(isinstance(value, (int, float)) for value in levels)


def with_levels(df: pd.DataFrame, formula: Formula, levels: Mapping[str, list]) -> pd.DataFrame:
    """The predictors, categorical ones with all their levels, others as float64.

    Parameters
    ----------
    df : DataFrame
        Rows with the formula's predictors.
    formula : Formula
        Whose predictors they are.
    levels : mapping
        Categorical predictor to its levels, in order.

    Returns
    -------
    DataFrame
        By the names that formulaic reads.

    Raises
    ------
    StudyError
        A value that is none of the levels.
    """
    out = {}
    for name in formula.predictors:
        if name not in levels:
            out[name] = df[name].to_numpy(dtype=np.float64)
            continue
        codes = pd.Index(levels[name]).get_indexer(df[name].to_numpy())
        strange = np.flatnonzero((codes < 0) & df[name].notna().to_numpy())
        if len(strange):
            value = df[name].iloc[strange[0]]
            known = ", ".join(map(str, levels[name][:10])) + (", ..." if len(levels[name]) > 10 else "")
            what = f"column '{name}': value {value!r} is not among its levels; expected one of: {known}"
            raise StudyError("data", what)
        if name in formula.categorical and are_numbers(levels[name]):
            # C(Days) makes categories of numbers, and (Days | Subject) may stand beside it
            out[name] = df[name].to_numpy(dtype=np.asarray(levels[name]).dtype)
        else:
            names = [hide_level(level) if isinstance(level, str) else level for level in levels[name]]
            out[name] = pd.Categorical.from_codes(codes, categories=names)
    # as formulas name them, in backticks, and as expressions do, such as np.log(Observation)
    both = out | {hide_name(name): values for name, values in out.items()}
    return pd.DataFrame(both, index=df.index)


def example(formula: Formula, levels: Mapping[str, list], ends: Mapping[str, list[float]]) -> pd.DataFrame:
    """Rows with every level: formulaic names the columns and fixes the categories by them.

    Parameters
    ----------
    formula : Formula
        Whose predictors they are.
    levels : mapping
        Categorical predictor to its levels.
    ends : mapping
        Numeric predictor to two numbers, beyond which a spline is not defined; any numbers do for the others.

    Returns
    -------
    DataFrame
    """
    size = max([2, *map(len, levels.values())])
    known = dict(ends) | dict(levels)
    given = {name: known.get(name, [0.25, 0.5]) for name in formula.predictors}
    rows = {name: [values[i % len(values)] for i in range(size)] for name, values in given.items()}
    return pd.DataFrame(rows, index=range(size))
