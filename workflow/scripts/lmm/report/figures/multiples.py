"""Small multiples: the rows of each group with the group's own least-squares line."""

from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

from lmm.core.words import counted, ends, percent, scaled, short_levels
from lmm.report.figures.fits import Fitted
from lmm.report.figures.rows import chosen, strips
from lmm.report.figures.style import (
    COLOURS,
    GRID,
    INK,
    MUTED,
    TWO,
    Drawing,
    canvas,
    dots,
    polylines,
    segments,
)
from lmm.results.study import Results

FIRST = 24  # groups that a page shows at once
PANELS = 144  # more groups than this: panels of a choice of them
BLOCK, ACROSS = 12, 3  # panels of a block, which a narrow page sets below the one before, and abreast in it
GAP, HEAD, LEFT, FOOT = 8.0, 13.0, 46.0, 30.0  # points: between panels, of a name, of the axes' labels
SIZE = 9.5  # points, of text


@dataclass(frozen=True)
class Axis:
    """A common axis: its range, its ticks and what stands at them."""

    low: float
    high: float
    ticks: np.ndarray
    said: list[str]
    title: str

    @classmethod
    def of(cls, values: np.ndarray, title: str, most: int) -> "Axis":
        """The axis of some values; a tick where they do not vary."""
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        ticks = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        ticks = ticks[(ticks >= low) & (ticks <= high)] if high > low else np.array([low])
        return cls(low, high, ticks, [scaled(tick, high - low) for tick in ticks], title)

    def share(self, values: np.ndarray) -> np.ndarray:
        """How far along the axis, 0 to 1."""
        return (values - self.low) / ((self.high - self.low) or 1.0)


def groups(results: Results, fitted: Fitted) -> Drawing:
    """Small multiples; of many groups those seen first are spread evenly over their slopes.

    Blocks of panels with one matplotlib axes each: a hundred axes take seconds.
    """
    x_name, y_name = fitted.x, results.response
    if results.rows is None or x_name is None:
        return strips(results, fitted)
    y, x = fitted.response(), results.rows[x_name].to_numpy(float)
    intercept, slope = fitted.own
    shown = chosen(np.nan_to_num(slope), PANELS)
    first = shown[chosen(np.nan_to_num(slope)[shown], FIRST)]
    blocks = [*_split(first), *_split(np.setdiff1d(shown, first))]
    across = Axis.of(x, results.labels.titled(x_name), 3)
    up = Axis.of(y, results.labels.titled(y_name), 4)
    columns = min(ACROSS, max(len(block) for block in blocks))
    high = 120.0 if len(shown) <= ACROSS else 58.0
    wide = (TWO - 14.0) / 2
    panel = (wide - LEFT) / columns
    tall = [-(-len(block) // columns) * (high + HEAD + GAP) + FOOT for block in blocks]
    lines = [max(tall[k : k + 2]) for k in range(0, len(tall), 2)]
    size = (wide if len(blocks) == 1 else float(TWO), sum(lines))
    figure, axes = canvas(*size, 1, len(blocks))
    figure.set_layout_engine("none")
    place, hits = np.full(len(results.levels), -1), []
    for k, (block, ax) in enumerate(zip(blocks, axes.flat, strict=True)):
        left, top = (k % 2) * (wide + 14.0), sum(lines[: k // 2])
        ax.set_position([left / size[0], 1 - (top + tall[k]) / size[1], wide / size[0], tall[k] / size[1]])
        ax.axis("off")
        place[:] = -1
        place[block] = np.arange(len(block))
        mine = place[fitted.codes] >= 0
        corners = np.column_stack(
            [
                LEFT + (np.arange(len(block)) % columns) * panel,
                HEAD + (np.arange(len(block)) // columns) * (high + HEAD + GAP),
            ]
        )
        inner = np.array([panel - GAP, high])
        _frames(ax, corners, inner, columns, across, up)
        _rows(ax, corners[place[fitted.codes[mine]]], inner, across.share(x[mine]), up.share(y[mine]))
        own = fitted.own_lines()[block]
        ends_ = np.stack([across.share(own[..., 0]), 1 - up.share(own[..., 1])], axis=2)
        drawn = (corners[:, None] + ends_ * inner)[np.isfinite(slope[block])]
        polylines(ax, drawn, color=COLOURS["no_pooling"], lw=1.4)
        names = short_levels([results.levels[p] for p in block], int((panel - GAP) / (0.6 * SIZE)))
        for (at_x, at_y), name in zip(corners, names, strict=True):
            ax.text(at_x, at_y - 3, name, fontsize=SIZE, color=INK)
        ax.set(xlim=(0, wide), ylim=(tall[k], 0))
        hits += [
            (results.levels[p], left + at_x, top + at_y - HEAD, panel - GAP, high + HEAD)
            for p, (at_x, at_y) in zip(block, corners, strict=True)
        ]
    alt, caption = _said(results, x_name, slope, intercept, len(first), len(shown))
    name = results.labels.column
    title = f"{name(y_name)} against {name(x_name)}, group by group"
    return Drawing(figure, title, caption, alt, tuple(hits), len(_split(first)))


def _split(groups: np.ndarray) -> list[np.ndarray]:
    """Blocks: of few groups of about the same size, else full ones."""
    if len(groups) <= FIRST:
        return np.array_split(groups, -(-len(groups) // BLOCK)) if len(groups) else []
    return np.split(groups, range(BLOCK, len(groups), BLOCK))


def _frames(ax, corners: np.ndarray, inner: np.ndarray, columns: int, across: Axis, up: Axis) -> None:
    """Frames, grid, and the labels of both axes: left of each line of panels, below the last panel of each column."""
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
    polylines(ax, corners[:, None] + square * inner, color=GRID, lw=0.8)
    xs = (corners[:, :1] + across.share(across.ticks) * inner[0]).ravel()
    tops = np.repeat(corners[:, 1], len(across.ticks))
    segments(ax, xs, tops, xs, tops + inner[1], color=GRID, lw=0.6)
    ys = (corners[:, 1:] + (1 - up.share(up.ticks)) * inner[1]).ravel()
    lefts = np.repeat(corners[:, 0], len(up.ticks))
    segments(ax, lefts, ys, lefts + inner[0], ys, color=GRID, lw=0.6)
    style = {"fontsize": SIZE, "color": MUTED}
    for at_y in np.unique(corners[:, 1]):
        for share, said in zip(up.share(up.ticks), up.said, strict=True):
            ax.text(LEFT - 4, at_y + (1 - share) * inner[1], said, ha="right", va="center", **style)
    for at_x in np.unique(corners[:, 0]):
        foot = corners[corners[:, 0] == at_x, 1].max() + inner[1]
        for share, said in zip(across.share(across.ticks), across.said, strict=True):
            ax.text(at_x + share * inner[0], foot + 3, said, ha="center", va="top", **style)
    foot = corners[:, 1].max() + inner[1]
    middle = LEFT + min(columns, len(corners)) * (inner[0] + GAP) / 2
    ax.text(middle, foot + 16, across.title, ha="center", va="top", **style)
    ax.text(4, (HEAD + foot) / 2, up.title, ha="center", va="center", rotation=90, **style)


def _rows(ax, corners: np.ndarray, inner: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """One dot per row."""
    dots(ax, corners[:, 0] + x * inner[0], corners[:, 1] + (1 - y) * inner[1], size=2.6, color=INK, alpha=0.8)


def _said(
    results: Results, x_name: str, slope: np.ndarray, intercept: np.ndarray, first: int, shown: int
) -> tuple[str, str]:
    """What is found, and how to read the figure."""
    valid, count = slope[np.isfinite(slope)], len(slope)
    x_name = results.labels.column(x_name)
    alt = f"{results.labels.column(results.response)} against {x_name} in {counted(count, 'group')}"
    caption = "One panel per group, one dot per row"
    if len(valid):
        rise, own = np.mean(valid > 0), intercept[np.isfinite(slope)]
        each = "each with its" if len(valid) == count else f"{len(valid):,} of them with their"
        alt += (
            f", {each} own least-squares line: {percent(rise, 0)} of the lines rise; the slopes run from "
            f"{ends(valid.min(), valid.max(), 2)} and the intercepts from {ends(own.min(), own.max(), 2)}."
        )
        caption += "; line: ordinary least squares in that group alone."
        level = count - len(valid)
        caption += f" No line: {counted(level, 'group')} in which {x_name} does not vary." if level else ""
    else:
        alt += f"; {x_name} varies in none of them, so there are no lines."
        caption += "."
    if first < count:
        caption += f" Shown first: {first} groups, evenly spread over their slopes"
        caption += f"; {shown} of {count:,} are drawn." if shown < count else "."
    return alt, caption
