"""Where the axes of a figure stand: margins that their labels need, measured once or twice.

Matplotlib's constrained layout does the same for any figure, by a solver and four measurements of every axes; a
study has sixty axes, and measuring them took longer than drawing them.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import LayoutEngine
from matplotlib.transforms import Bbox

PAD = 2.9  # points around the axes with their labels
GUESS = (44.0, 8.0, 34.0, 22.0)  # points left, right, below and above: about what labels and titles take
CLOSE = 1.5  # points by which a margin may be wrong: axes of another size may have other ticks
TURNS = 3  # ticks that come and go with the size that they cause end here
RENDERER = RendererBase()  # measures texts; one of them, since each keeps what it has measured
LEAST = 20.0  # points that axes keep where labels take all

Margin = tuple[float, float, float, float]


class Margins(LayoutEngine):
    """A grid of axes of equal size, apart by the widest margins of each row and column."""

    _adjust_compatible = True
    _colorbar_gridspec = False

    def execute(self, fig: Canvas) -> None:
        """Place the axes."""
        lay_out(fig)


def lay_out(figure: Canvas) -> dict[Axes, Bbox]:
    """Place axes and labels for good, where nobody has; returns the boxes of the visible ones with labels, in pixels.

    Parameters
    ----------
    figure : matplotlib Figure
        Its axes are a grid, its legends above or below the grid.
    """
    shown = [ax for ax in figure.axes if ax.get_visible()]
    waits = isinstance(figure.get_layout_engine(), Margins)
    figure.set_layout_engine("none")
    margins = {ax: GUESS for ax in shown}
    for _ in range(TURNS if waits else 1):
        if waits:
            _place(figure, margins)
        parts = {ax: _parts(ax) for ax in shown}
        before, margins = margins, {ax: _margins(ax, *boxes) for ax, boxes in parts.items()}
        if all(abs(a - b) < CLOSE for ax in shown for a, b in zip(margins[ax], before[ax], strict=True)):
            break
    for ax in shown:
        _settle(ax)
    return {
        ax: Bbox.union([ax.get_window_extent(), *boxes, *(box for _, box in labels)])
        for ax, (boxes, labels) in parts.items()
    }


def _settle(ax: Axes) -> None:
    """Keep ticks and places of labels: Matplotlib finds them anew, several times, while it draws."""
    ax._autotitlepos = False
    for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
        axis._update_ticks = partial(list, axis._update_ticks())
        axis._autolabelpos = False


def _parts(ax: Axes) -> tuple[list[Bbox], list[tuple[int, Bbox]]]:
    """Place both axes' labels; boxes of ticks' labels and texts, then of labels with the direction across them."""
    if not ax.axison:  # whoever turns it off has everything inside
        return [], []
    boxes = [text.get_window_extent(RENDERER) for text in ax.texts]
    labels = [(1, text) for text in (ax.title, ax._left_title, ax._right_title) if text.get_text()]
    inner = ax.get_window_extent()
    for axis, side in ((ax.xaxis, 1), (ax.yaxis, 0)):
        own = axis._get_ticklabel_bboxes(axis._update_ticks(), RENDERER)[0]
        axis.offsetText.set_text(axis.major.formatter.get_offset())
        if axis.offsetText.get_text():
            axis._update_offset_text_position(own, [])
            boxes.append(axis.offsetText.get_window_extent(RENDERER))
        boxes += own
        if axis.label.get_text():
            place = list(axis.label.get_position())
            least = min([inner.min[side], *(box.min[side] for box in own)])
            place[side] = least - axis.labelpad * ax.figure.dpi / 72
            axis.label.set_position(place)
            labels.append((side, axis.label))
    if ax.yaxis.offsetText.get_text():  # above the axes: titles stand above it
        ax._update_title_position(RENDERER)
    return boxes, [(side, text.get_window_extent(RENDERER)) for side, text in labels]


def _margins(ax: Axes, boxes: list[Bbox], labels: list[tuple[int, Bbox]]) -> Margin:
    """What is around the axes, in points: left, right, below, above.

    Room is made for labels across their own axis, not along it: there they reach as far as they do.
    """
    inner, scale = ax.get_window_extent(), 72 / ax.figure.dpi
    low = np.min([inner.min, *(box.min for box in boxes)], axis=0)
    high = np.max([inner.max, *(box.max for box in boxes)], axis=0)
    for side, box in labels:
        low[side], high[side] = min(low[side], box.min[side]), max(high[side], box.max[side])
    left, below = scale * (inner.min - low)
    right, above = scale * (high - inner.max)
    return left, right, below, above


def _place(figure: Canvas, margins: Mapping[Axes, Margin]) -> None:
    """Give the grid's cells equal widths, and heights as its ratios want them, between margins."""
    width, height = 72 * figure.get_figwidth(), 72 * figure.get_figheight()
    for legend in figure.legends:
        height -= legend.get_window_extent(RENDERER).height * 72 / figure.dpi + 2 * PAD
    grid = figure.axes[0].get_gridspec()
    places = {ax: ax.get_subplotspec() for ax in margins}
    columns = _cells(
        width, [1.0] * grid.ncols, [(places[ax].colspan.start, m[0], m[1]) for ax, m in margins.items()]
    )
    ratios = grid.get_height_ratios()
    rows = _cells(height, ratios, [(places[ax].rowspan.start, m[3], m[2]) for ax, m in margins.items()])
    for ax in figure.axes:
        place = ax.get_subplotspec()
        (x, wide), (y, high) = columns[place.colspan.start], rows[place.rowspan.start]
        full = 72 * figure.get_figwidth(), 72 * figure.get_figheight()
        ax.set_position((x / full[0], (height - y - high) / full[1], wide / full[0], high / full[1]))


def _cells(
    length: float, ratios: Sequence[float], margins: Iterable[tuple[int, float, float]]
) -> list[tuple[float, float]]:
    """Start and length of each cell along a side; margins are (cell, before, behind), the widest holds."""
    before, behind = np.zeros(len(ratios)), np.zeros(len(ratios))
    for k, first, second in margins:
        before[k], behind[k] = max(before[k], first), max(behind[k], second)
    around = before + behind + 2 * PAD
    sizes = max(length - around.sum(), LEAST) * np.asarray(ratios) / np.sum(ratios)
    starts = np.cumsum(around + sizes) - sizes - behind - PAD
    return list(zip(starts, sizes, strict=True))
