"""Estimated marginal means, slopes and their contrasts, as linear functions of the fixed effects.

All come from one reference grid, over which they average with equal weights, whatever the cells' numbers of rows
(docs/statistics.md, section 11).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lmm.inference.degrees_of_freedom import FixedEffects
from lmm.inference.multiplicity import adjusted_p, critical
from lmm.inference.reference_grid import ReferenceGrid, Request, check
from lmm.model.design import SAME

LISTED = 5  # functions that a warning names

FIRST = ["engine", "effect", "kind"]
LAST = [
    "contrast", "estimate", "std_error", "df", "conf_low", "conf_high", "statistic", "p_value", "p_adjusted",
    "median", "prob_direction",
]  # fmt: skip


@dataclass(frozen=True)
class Functions:
    """Linear functions of the fixed effects that belong together.

    Attributes
    ----------
    effect, kind : str
        Name of the predictors; "mean", "slope" or "contrast".
    cells : DataFrame
        Grid columns, a row for each function.
    contrast : list of str
        Names of contrasts; empty texts else.
    rows : (k, p) array
    offset : (k,) array
        What is added to rows @ beta: the model's offset, at its mean.
    families : (k,) int array
        Functions whose p values are adjusted together.
    means : int
        Number of means (or slopes) that each family compares.
    adjust : str
    """

    effect: str
    kind: str
    cells: pd.DataFrame
    contrast: list[str]
    rows: np.ndarray
    offset: np.ndarray
    families: np.ndarray
    means: int
    adjust: str

    def plain(self) -> dict[str, Any]:
        """Built-in types, for JSON; `from_plain` reads them back."""
        return {
            "effect": self.effect,
            "kind": self.kind,
            "cells": {name: self.cells[name].tolist() for name in self.cells},
            "contrast": self.contrast,
            "rows": self.rows.tolist(),
            "offset": self.offset.tolist(),
            "families": self.families.tolist(),
            "means": self.means,
            "adjust": self.adjust,
        }

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> "Functions":
        """The functions that `plain` described."""
        arrays = {name: np.array(value[name]) for name in ("rows", "offset", "families")}
        cells = pd.DataFrame(value["cells"], index=range(len(value["contrast"])))
        return cls(**(dict(value) | arrays | {"cells": cells}))


def functions(grid: ReferenceGrid, request: Request) -> list[Functions]:
    """The linear functions of one request that the data can tell: means or slopes, then their contrasts.

    Raises
    ------
    StudyError
        See `check`.
    """
    width = len(grid.design.terms.fixed)
    found = []
    for group in _functions(grid, request):
        known = np.flatnonzero(_known(group, width))
        if len(known):
            found.append(
                replace(
                    group,
                    cells=group.cells.iloc[known].reset_index(drop=True),
                    contrast=[group.contrast[k] for k in known],
                    rows=group.rows[known, :width],
                    offset=group.offset[known],
                    families=pd.factorize(group.families[known])[0],
                )
            )
    return found


def not_estimable(grid: ReferenceGrid, request: Request) -> list[str]:
    """A warning where means, slopes or contrasts cannot be told, because fixed effects were dropped."""
    width, out = len(grid.design.terms.fixed), []
    for group in _functions(grid, request):
        lost = np.flatnonzero(~_known(group, width))
        if len(lost):
            cells = [", ".join(map(str, group.cells.iloc[k])) for k in lost[:LISTED]]
            names = [
                " ".join(filter(None, (group.contrast[k], cell)))
                for k, cell in zip(lost, cells, strict=False)
            ]
            shown = "; ".join(names) + ("; ..." if len(lost) > LISTED else "")
            what = f"{len(lost)} of {len(group.rows)} {group.kind}s cannot be told from these data and are left out"
            out.append(f"{request.where}: {group.effect}: {what}" + f": {shown}" * any(names))
    return out


def _known(group: Functions, width: int) -> np.ndarray:
    """Whether each function is one of the fixed effects that were kept."""
    size = np.maximum(np.abs(group.rows[:, :width]).max(axis=1), 1.0)
    return (np.abs(group.rows[:, width:]) <= SAME * size[:, None]).all(axis=1)


def _functions(grid: ReferenceGrid, request: Request) -> list[Functions]:
    """All functions of a request; `rows` have `ReferenceGrid.unknown` behind the fixed effects."""
    check(grid, request)
    slopes = request.kind == "slopes"
    frame = grid.frame(request.at)
    matrix = grid.derivative(frame, request.of[0]) if slopes else grid.matrix(frame)
    matrix = np.hstack([matrix, grid.unknown(frame, request.of[0] if slopes else "")])
    if slopes:  # an offset that is a predictor, too, has a slope of 1
        offset = np.full(len(frame), float(request.of[0] in grid.design.formula.offsets))
    else:
        offset = grid.offset(frame)
    apart = [name for name in request.at if name not in (*request.of, *request.by)]
    # the levels that contrasts compare change fastest
    compared = list(request.by) if slopes else list(request.of)
    if slopes and request.of[0] in request.at:
        apart = [request.of[0], *apart]
    families = apart if slopes else [*request.by, *apart]
    shown = [*compared, *families]
    if shown:
        keys = frame[shown].astype(object)
        number = pd.factorize(pd.MultiIndex.from_frame(keys[[*families, *compared]]))[0]
    else:
        number = np.zeros(len(frame), dtype=int)
    count = int(number.max()) + 1
    sizes = np.bincount(number, minlength=count)
    rows = np.zeros((count, matrix.shape[1]))
    np.add.at(rows, number, matrix)
    rows /= sizes[:, None]
    first = pd.Series(number).drop_duplicates().sort_values().index
    cells = frame.loc[first, shown].reset_index(drop=True)
    family = (
        pd.factorize(pd.MultiIndex.from_frame(cells[families].astype(object)))[0]
        if families
        else np.zeros(count, dtype=int)
    )
    order = np.lexsort((np.arange(count), family))
    cells, rows, family = cells.iloc[order].reset_index(drop=True), rows[order], family[order]
    name = ":".join(request.of)
    kind = "slope" if slopes else "mean"
    each = Functions(
        name, kind, cells, [""] * count, rows, np.bincount(number, offset) / sizes, family, 0, "none"
    )
    if request.contrasts is None:
        return [each]
    return [each, _contrasts(each, request, compared, families)]


def _contrasts(each: Functions, request: Request, compared: list[str], families: list[str]) -> Functions:
    """Contrasts of means or slopes within each family."""
    names, weights, cells, family, means = [], [], [], [], 0
    for number in range(int(each.families.max()) + 1):
        at = np.flatnonzero(each.families == number)
        labels = [" ".join(map(str, each.cells.loc[k, compared])) for k in at]
        means = len(at)
        if not isinstance(request.contrasts, Mapping):
            unit, pairs = np.eye(means), itertools.combinations(range(means), 2)
            chosen = [(f"{labels[a]} - {labels[b]}", unit[a] - unit[b]) for a, b in pairs]
        else:
            chosen = [(title, _weights(given, labels)) for title, given in request.contrasts.items()]
        for title, given in chosen:
            own = np.zeros(len(each.families))
            own[at] = given
            names.append(title)
            weights.append(own)
            family.append(number)
            cells.append(each.cells.loc[at[0], families])
    matrix = np.array(weights)
    table = pd.DataFrame(cells, columns=families).reset_index(drop=True)
    adjust = request.adjust
    return Functions(
        each.effect,
        "contrast",
        table,
        names,
        matrix @ each.rows,
        matrix @ each.offset,
        np.array(family),
        means,
        adjust,
    )


def _weights(given: Mapping | Sequence, labels: list[str]) -> np.ndarray:
    """Weights of a custom contrast by level, (levels,)."""
    if isinstance(given, Mapping):
        by_level = {str(label): float(value) for label, value in given.items()}
        given = [by_level.get(label, 0.0) for label in labels]
    return np.array(given, dtype=float)


def estimates(group: Functions, fixed: FixedEffects, level: float) -> pd.DataFrame:
    """Estimates with t statistics; contrasts' p values and intervals adjusted within their families.

    Parameters
    ----------
    group : Functions
        Linear functions of the fixed effects.
    fixed : FixedEffects
        With their degrees of freedom.
    level : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    DataFrame
        estimate, std_error, df, conf_low, conf_high, statistic, p_value, p_adjusted, behind the grid's
        columns.
    """
    estimate = group.rows @ fixed.beta + group.offset
    std_error = fixed.std_error(group.rows)
    df = fixed.df(group.rows)
    statistic = estimate / std_error
    p = 2.0 * stats.t.sf(np.abs(statistic), df)
    adjusted, reach = np.empty(len(p)), np.empty(len(p))
    for number in range(int(group.families.max()) + 1):
        at = np.flatnonzero(group.families == number)
        adjusted[at] = adjusted_p(group.adjust, statistic[at], df[at], p[at], group.means)
        reach[at] = critical(group.adjust, level, df[at], group.means)
    table = pd.DataFrame(
        {
            "estimate": estimate,
            "std_error": std_error,
            "df": df,
            "conf_low": estimate - reach * std_error,
            "conf_high": estimate + reach * std_error,
            "statistic": statistic,
            "p_value": p,
            "p_adjusted": adjusted if group.kind == "contrast" else np.nan,
        }
    )
    return _labelled(group, table)


def summaries(group: Functions, draws: np.ndarray, level: float) -> pd.DataFrame:
    """Posterior mean, median, sd, credible interval and probability of direction; no p values.

    Parameters
    ----------
    group : Functions
        Linear functions of the fixed effects.
    draws : (S, p) array
        Posterior draws of the fixed effects.
    level : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    DataFrame
        estimate, median, std_error, conf_low, conf_high, prob_direction, behind the grid's columns.
    """
    values = draws @ group.rows.T + group.offset
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail], axis=0)
    table = pd.DataFrame(
        {
            "estimate": values.mean(axis=0),
            "median": np.median(values, axis=0),
            "std_error": values.std(axis=0, ddof=1),
            "conf_low": low,
            "conf_high": high,
            "prob_direction": np.maximum((values > 0.0).mean(axis=0), (values < 0.0).mean(axis=0)),
        }
    )
    return _labelled(group, table)


def grid_name(column: str) -> str:
    """A predictor's column in effects.csv: in backticks where one of the table's own has its name."""
    return f"`{column}`" if column in (*FIRST, *LAST) else column


def _labelled(group: Functions, table: pd.DataFrame) -> pd.DataFrame:
    """A table of estimates behind its grid columns."""
    names = pd.DataFrame({"effect": group.effect, "kind": group.kind}, index=table.index)
    cells = group.cells.rename(columns=grid_name)
    return pd.concat([names, cells, pd.DataFrame({"contrast": group.contrast}), table], axis=1)
