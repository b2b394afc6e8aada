"""Figures of the data: the response by group, and all rows with the one OLS line."""

import re

import numpy as np
import pandas as pd

from lmm.core.words import (
    counted,
    ends,
    estimated,
    label,
    listed,
    number,
    percent,
    places,
    scaled,
    short_levels,
)
from lmm.report.figures.fits import Fitted
from lmm.report.figures.style import (
    COLOURS,
    FAINT,
    INK,
    MUTED,
    ONE,
    Drawing,
    canvas,
    colour,
    dots,
    key,
    polylines,
)
from lmm.results.study import Results

ROWS = 20_000  # more rows than this: a grid of counts instead of dots
BINS = 60
DOTS = 2000


def chosen(values: np.ndarray, limit: int) -> np.ndarray:
    """Positions of all groups, or of `limit` of them spread evenly over the ranks of `values`."""
    if len(values) <= limit:
        return np.arange(len(values))
    ranks = np.argsort(values, kind="stable")
    return np.sort(ranks[np.linspace(0, len(values) - 1, limit).round().astype(int)])


def strips(results: Results, fitted: Fitted) -> Drawing:
    """The response by group where there is no numeric predictor (or no rows: the groups' estimated means)."""
    figure, axes = canvas(ONE, 260)
    ax = axes[0, 0]
    if results.rows is not None:
        y, codes = fitted.response(), fitted.codes
        means = fitted.own[0]
        rank = np.argsort(np.argsort(means, kind="stable"), kind="stable")
        few = len(y) <= ROWS
        if few:
            dots(ax, rank[codes], y, size=3.2, color=MUTED, alpha=0.7)
        dots(ax, rank, means, size=5, color=COLOURS["no_pooling"], alpha=1)
        kind, said = "means", ends(means.min(), means.max())
        what = "rows (grey) and mean (purple)" if few else "mean"
        caption = "The mean of each group alone, without pooling."
    else:
        effects = results.wide(results.main).iloc[:, 0].to_numpy()
        at = chosen(effects, DOTS)  # in order, a dot a pixel is all that can be seen
        dots(
            ax, np.argsort(np.argsort(effects))[at], effects[at], size=3, color=colour(results.main), alpha=1
        )
        kind, said = "estimated effects", ends(effects.min(), effects.max())
        what, caption = "estimated random effect", "The rows were too many to copy: estimates stand for them."
        caption += f" Drawn: {DOTS:,} of {len(effects):,} groups." if len(effects) > DOTS else ""
    labels = results.labels
    group, response = labels.column(results.group), labels.column(results.response)
    ax.set(xlabel=f"{group}, in order", ylabel=labels.titled(results.response))
    if len(results.levels) <= 40 and results.rows is not None:
        ax.set_xticks(rank, short_levels(results.levels, 10), fontsize=8)
    count = len(results.levels)
    alt = f"{response} by {group}, {count:,} groups in order of their {kind}, which run from {said}."
    return Drawing(
        figure,
        f"{response}, group by group",
        f"{what.capitalize()}, one column per group. {caption}",
        alt,
    )


def pooled(results: Results, fitted: Fitted) -> Drawing:
    """All rows with the one OLS line (counts in a grid above `ROWS` rows)."""
    x_name, y_name = fitted.x, results.response
    figure, axes = canvas(ONE, 270)
    ax = axes[0, 0]
    if results.rows is None or x_name is None:
        return _histogram(results, fitted, figure, ax)
    y, x = fitted.response(), results.rows[x_name].to_numpy(float)
    many = len(y) > ROWS
    if many:
        counts, x_edges, y_edges = np.histogram2d(x, y, bins=BINS)
        at = np.argwhere(counts > 0)
        share = np.sqrt(counts[counts > 0] / counts.max())
        middle = (x_edges[:-1] + x_edges[1:]) / 2, (y_edges[:-1] + y_edges[1:]) / 2
        for low, high in ((0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.01)):
            inside = (share > low) & (share <= high)
            dots(
                ax,
                middle[0][at[inside, 0]],
                middle[1][at[inside, 1]],
                size=5,
                color=MUTED,
                alpha=min(1, high),
            )
    else:
        dots(ax, x, y, size=3.6, color=MUTED, alpha=0.6)
    slope_text, line_text = "", ""
    predictors = results.fixed(results.pooled) if results.pooled else {}
    if predictors:
        grid = np.linspace(x.min(), x.max(), 40)
        typical, held = _typical(fitted, x_name, len(grid))
        typical[x_name] = grid
        line = fitted.predict(results.pooled, typical, None)
        polylines(ax, [np.column_stack([grid, line])], color=colour(results.pooled or ""), lw=2.6)
        key(ax, [(f"{label(results.pooled)}, all rows", {"color": colour(results.pooled or ""), "lw": 2.6})])
        slope_text = _slope(results, x_name, held, float(line[-1] - line[0]) / float(grid[-1] - grid[0] or 1))
        line_text = (
            f"; line: ordinary least squares over all rows, groups ignored{f', at {held}' * bool(held)}"
        )
        if set(predictors) == {"Intercept"}:
            line_text = "; line: the mean of all rows, since OLS has no predictor"
    labels = results.labels
    ax.set(xlabel=labels.titled(x_name), ylabel=labels.titled(y_name))
    alt = f"{labels.column(y_name)} against {labels.column(x_name)}, {len(y):,} rows as one cloud."
    alt += slope_text + _explained(results)
    shown = "Counts in a grid of cells (darker: more rows)" if many else "One dot per row"
    caption = f"{shown}{line_text}."
    return Drawing(figure, "All rows, one line" if line_text else "All rows", caption, alt)


def _explained(results: Results) -> str:
    """How much of the variance the OLS line explains; nothing of a model without predictors."""
    if results.pooled is None or set(results.fixed(results.pooled)) <= {"Intercept"}:
        return ""
    r2 = results.fits[results.pooled].diagnostics.summary.get("r2")
    return (
        ""
        if r2 is None
        else f" OLS explains {percent(r2, 2)} of the variance of {results.labels.column(results.response)}."
    )


def _typical(fitted: Fitted, x_name: str, count: int) -> tuple[pd.DataFrame, str]:
    """So many equal rows, every predictor but `x_name` at its mean or commonest level; which, in words."""
    results = fitted.results
    rows, held = results.rows, []
    typical = rows.iloc[[0] * count].copy()
    for name in rows.columns:
        if name in (x_name, results.response) or name in results.label_columns:
            continue
        if name in fitted.averaged:
            typical[name] = rows[name].mean()
            held.append(f"{name} = {scaled(rows[name].mean(), np.ptp(rows[name]))}")
        else:
            typical[name] = rows[name].mode().iloc[0]
            held.append(f"{name} = {typical[name].iloc[0]}")
    return typical, listed(held)


def _slope(results: Results, x_name: str, held: str, drawn: float) -> str:
    """The line's slope with its interval; without one where it depends on other predictors."""
    slope = results.estimate(results.pooled, x_name)
    mentioned = re.compile(rf"(?<!\w){re.escape(x_name)}(?!\w)")
    others = [term for term in results.fixed(results.pooled) if term != x_name and mentioned.search(term)]
    if others:
        where = f"With {held}, the" if held else "The"
        return f" {where} OLS line changes by {number(drawn)} per unit of {results.labels.column(x_name)}."
    if not np.isfinite(slope):
        return ""
    sides = ("conf_low", "conf_high", "std_error")
    low, high, error = (results.estimate(results.pooled, x_name, side) for side in sides)
    shown, *ends_shown = (estimated(value, places(error)) for value in (slope, low, high))
    crosses = "includes" if low <= 0 <= high else "excludes"
    return f" The OLS slope is {shown} ({' to '.join(ends_shown)}), which {crosses} 0."


def _histogram(results: Results, fitted: Fitted, figure, ax) -> Drawing:
    if results.rows is None:
        centre, spread = (
            results.data["columns"][results.response]["mean"],
            results.data["columns"][results.response]["sd"],
        )
        ax.axvspan(centre - spread, centre + spread, color=FAINT, alpha=0.4)
        ax.axvline(centre, color=INK)
        ax.set_yticks([])
        shown = "Mean and one standard deviation either side; the rows were too many to copy."
    else:
        y = fitted.response()
        centre, spread = y.mean(), y.std(ddof=1)
        ax.hist(y, bins="auto" if len(y) < 5000 else 80, color=FAINT)
        ax.axvline(centre, color=colour(results.pooled or ""), lw=2.4)
        shown = "Histogram of all rows; line: the overall mean."
    ax.set(xlabel=results.response)
    mean = f"mean {scaled(centre, spread)}, SD {number(spread)}"
    alt = f"{results.response} over all {counted(results.data['rows'], 'row')}: {mean}."
    return Drawing(figure, "All rows together", shown, alt)
