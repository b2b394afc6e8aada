"""What the report shows of one group: its rows, every engine's fit of it, its random effects."""

from typing import Any

import numpy as np

from lmm.core.engines import ENGINES
from lmm.core.words import label
from lmm.report.figures.fits import Fitted
from lmm.results.study import Results

MOST_GROUPS, MOST_ROWS = 2000, 50_000  # beyond either a page cannot carry every group's detail


def detail(results: Results, fitted: Fitted) -> dict[str, Any] | None:
    """Every group's detail, rounded to what a small figure can show; None where there are too many.

    Returns
    -------
    dict or None
        x, y: names of the axes; terms; engines; looks: engine or `own` -> label, colour, dash; groups: id, x, y
        (rows), lines (engine or `own` -> [[x...], [y...]]), effects (engine -> term -> [estimate, standard error,
        low, high]), truth (term -> value).
    """
    if (
        not results.levels
        or len(results.levels) > MOST_GROUPS
        or results.data["rows"] > MOST_ROWS
        or not results.mixed
    ):
        return None
    groups = [{"id": level} for level in results.levels]
    if results.rows is not None:
        _rows(groups, results, fitted)
    _effects(groups, results)
    return {
        "x": fitted.x,
        "y": results.response,
        "group": results.group,
        "terms": results.random_terms,
        "engines": list(results.mixed),
        "looks": _looks(results),
        "groups": groups,
    }


def _looks(results: Results) -> dict[str, dict[str, str]]:
    """Name in the key, colour and dash of every line and table row of a group."""
    found = {"own": {"label": "its own least squares", "colour": "var(--own)", "dash": ""}}
    for name in filter(None, (results.pooled, *results.mixed)):
        engine = ENGINES.get(name)
        found[name] = {
            "label": f"{label(name)}, all groups" if name == results.pooled else label(name),
            "colour": f"var(--{name})" if engine else "var(--sky)",
            "dash": engine.dash if engine else "",
        }
    return found


def _short(values: np.ndarray, digits: int = 5) -> list[float | None]:
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in np.ravel(values)]


def _rows(groups: list[dict], results: Results, fitted: Fitted) -> None:
    y = fitted.response()
    x = results.rows[fitted.x].to_numpy(float) if fitted.x else None
    order = np.argsort(fitted.codes, kind="stable")
    parts = np.split(order, np.searchsorted(fitted.codes[order], np.arange(1, len(groups))))
    for group, part in zip(groups, parts, strict=True):
        group["y"] = _short(y[part])
        if x is not None:
            group["x"] = _short(x[part])
    if x is None:
        return
    lines = {"own": fitted.own_lines()}
    for engine in filter(None, (results.pooled, *results.mixed)):
        if len(results.fits[engine].parameters):
            lines[engine] = fitted.lines(engine)
    for engine, curves in lines.items():
        for group, curve in zip(groups, curves, strict=True):
            group.setdefault("lines", {})[engine] = [_short(curve[:, 0]), _short(curve[:, 1])]


def _effects(groups: list[dict], results: Results) -> None:
    for engine in results.mixed:
        parts = [
            results.wide(engine, column) for column in ("estimate", "std_error", "conf_low", "conf_high")
        ]
        for term in results.random_terms:
            table = np.column_stack([part[term].to_numpy(float) for part in parts])
            for group, row in zip(groups, table, strict=True):
                group.setdefault("effects", {}).setdefault(engine, {})[term] = _short(row)
    drawn = (results.truth or {}).get("ranef") or {}
    for term in results.random_terms:
        if term in drawn:
            for group in groups:
                group.setdefault("truth", {})[term] = _short(
                    np.array([drawn[term].get(group["id"], np.nan)])
                )[0]
