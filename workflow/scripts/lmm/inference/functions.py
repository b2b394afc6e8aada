"""Estimated marginal means, slopes and their contrasts as linear functions of the fixed effects.

All come from one reference grid, over which they average with equal weights, whatever the cells' numbers of rows
(docs/statistics.md, section 11).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from lmm.inference.reference_grid import ReferenceGrid, Request, check
from lmm.model.design import SAME

LISTED = 5  # functions that a warning names


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
