"""Where the axes of a figure stand: margins that their labels need, measured once or twice.

Matplotlib's constrained layout does the same for any figure, by a solver and four measurements of every axes; a
study has sixty axes, and measuring them took longer than drawing them.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import LayoutEngine
from matplotlib.transforms import Bbox

PAD = 2.9  # points around the axes with their labels
GUESS = (44.0, 8.0, 34.0, 22.0)  # points left, right, below and above: about what labels and titles take
CLOSE = 1.5  # points by which a margin may be wrong: axes of another size may have other ticks
TURNS = 3  # ticks that come and go with the size that they cause end here
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
    """Place the axes for good, where nobody has; returns the boxes of the visible ones with labels, in pixels.

    Parameters
    ----------
    figure : matplotlib Figure
        Its axes are a grid, its legends above or below the grid.
    """
    shown = [ax for ax in figure.axes if ax.get_visible()]
    renderer = figure._get_renderer()
    waits = isinstance(figure.get_layout_engine(), Margins)
    figure.set_layout_engine("none")
    margins = {ax: GUESS for ax in shown}
    for _ in range(TURNS if waits else 1):
        if waits:
            _place(figure, margins, renderer)
        boxes = {ax: ax.get_tightbbox(renderer, for_layout_only=True) for ax in shown}
        before, margins = margins, {ax: _margins(ax, box) for ax, box in boxes.items()}
        if all(abs(a - b) < CLOSE for ax in shown for a, b in zip(margins[ax], before[ax], strict=True)):
            break
    for ax in shown:
        _settle(ax)
    # room is made for labels along their own axis, not across it: there they reach as far as they do
    return {ax: Bbox.union([box, *_labels(ax, renderer)]) for ax, box in boxes.items()}


def _settle(ax: Axes) -> None:
    """Keep the ticks that were found: Matplotlib finds them anew whenever something asks where they are."""
    for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
        axis._update_ticks = partial(list, axis._update_ticks())


def _labels(ax: Axes, renderer) -> list[Bbox]:
    texts = (ax.title, ax._left_title, ax._right_title, ax.xaxis.label, ax.yaxis.label)
    return [text.get_window_extent(renderer) for text in texts if ax.axison and text.get_text()]


def _margins(ax: Axes, box: Bbox) -> Margin:
    """What labels take around the axes, in points: left, right, below, above."""
    inner, scale = ax.get_window_extent(), 72 / ax.figure.dpi
    sides = inner.x0 - box.x0, box.x1 - inner.x1, inner.y0 - box.y0, box.y1 - inner.y1
    return tuple(scale * side for side in sides)


def _place(figure: Canvas, margins: Mapping[Axes, Margin], renderer) -> None:
    """Give the grid's cells equal widths, and heights as its ratios want them, between margins."""
    width, height = 72 * figure.get_figwidth(), 72 * figure.get_figheight()
    for legend in figure.legends:
        height -= legend.get_window_extent(renderer).height * 72 / figure.dpi + 2 * PAD
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
