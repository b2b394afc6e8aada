"""What every figure shares: colours by engine, typography, and the type that a figure function returns.

The colours are Okabe and Ito's (colour-blind safe); an engine has the same colour, marker and dash in every
figure. They are written into the SVG as plain hexadecimal attributes, so that the files look right anywhere;
the report's style sheet maps each of those values to a CSS variable, which is what makes dark mode work.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap

import matplotlib
import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from lmm.core.engines import ENGINES
from lmm.report.figures.axes import Axes
from lmm.report.figures.layout import Margins

COLOURS = {name: engine.colour for name, engine in ENGINES.items()} | {
    "bad": "#d55e00",
    "truth": "#1b1f24",
    "realised": "#5f6772",
    "no_pooling": "#cc79a7",
}
ONE, TWO = 400, 760  # points: width of a figure of one panel, and of panels side by side
INK, MUTED, GRID, FAINT = "#1b1f24", "#5f6772", "#dfe3e8", "#b9c0c9"
MARKERS = {name: engine.marker for name, engine in ENGINES.items()} | {"truth": "|", "no_pooling": "x"}
EXTRA = ("#56b4e9", "#f0e442", "#7f3c8d", "#a5aa99")  # engines added later, in the order they come
# A chain is no engine: far from all of their colours, and from one another for colour-blind eyes (test_colours.py)
CHAINS = ("#382080", "#6b9420", "#c33bc3", "#998079", "#802020", "#59244c")

matplotlib.rcParams.update(
    {
        "svg.fonttype": "none",  # text as text: smaller, searchable, and in the page's own font
        "svg.hashsalt": "lmm-recovery",
        "text.parse_math": False,  # names of columns and groups may have dollar signs
        "font.size": 10,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.titlepad": 7,
        "axes.labelsize": 10,
        "axes.edgecolor": FAINT,
        "axes.formatter.useoffset": False,  # nobody adds 9.986e-1 to a tick in his head
        "axes.labelcolor": MUTED,
        "axes.titlecolor": INK,
        "axes.linewidth": 0.8,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.bottom": False,
        "ytick.left": False,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "text.color": INK,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "lines.linewidth": 1.5,
        "axes.unicode_minus": True,
        "path.simplify": False,
    }
)


@dataclass(frozen=True)
class Drawing:
    """A drawn figure before it becomes a file.

    Attributes
    ----------
    canvas : matplotlib Figure
    title, caption, alt : str
        A heading; estimand, estimator and caveat; the finding, for those who do not see the figure.
    hits : tuple of (level, x, y, width, height)
        Areas that stand for a group, in points from the top left corner: the report opens the group's detail.
    first : int
        Number of panels that a page shows at once, the others on demand; 0: all of them.
    """

    canvas: Canvas
    title: str
    caption: str
    alt: str
    hits: tuple[tuple[str, float, float, float, float], ...] = ()
    first: int = 0


def colour(engine: str, others: Sequence[str] = ()) -> str:
    """The engine's colour; engines that this module does not know take a spare one by their place in `others`."""
    if engine in COLOURS:
        return COLOURS[engine]
    spare = [name for name in others if name not in COLOURS]
    return EXTRA[spare.index(engine) % len(EXTRA)] if engine in spare else EXTRA[0]


def canvas(
    width: float, height: float, rows: int = 1, columns: int = 1, **options
) -> tuple[Canvas, np.ndarray]:
    """A figure of `width` x `height` points with a grid of axes (always a 2-d array)."""
    # a pixel is a point, as in the SVG
    figure = Canvas(figsize=(width / 72, height / 72), dpi=72, layout=Margins())
    figure.patch.set_visible(False)
    axes = figure.subplots(rows, columns, squeeze=False, subplot_kw={"axes_class": Axes}, **options)
    for ax in axes.flat:
        ax.patch.set_visible(False)
        for spine in ax.spines.values():  # measured as a line, without the ticks, which are measured anyway
            spine.axis = None
        if options.get("sharex") or options.get("sharey"):  # a page may set panels below each other
            ax.tick_params(labelbottom=True, labelleft=True)
    return figure, axes


def note(text: str) -> Drawing:
    """A sentence in a figure's place."""
    lines = wrap(text, 70)
    figure, axes = canvas(ONE, 34 + 14 * len(lines))
    figure.set_layout_engine("none")
    axes[0, 0].set_position((0, 0, 1, 1))
    axes[0, 0].axis("off")
    axes[0, 0].text(0.5, 0.5, "\n".join(lines), ha="center", va="center", color=MUTED)
    return Drawing(figure, "Not drawn", text, text)


def abreast(count: int, height: float, most: int = 2, **options) -> tuple[Canvas, np.ndarray]:
    """A figure of `count` panels of so many points' height, side by side; what is left over is hidden."""
    columns = max(1, min(count, most))
    lines = max(1, -(-count // columns))
    figure, axes = canvas(ONE if count <= 1 else TWO, height * lines + 14, lines, columns, **options)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return figure, axes


def dots(ax: Axes, x: Iterable[float], y: Iterable[float], size: float = 3.0, **style) -> None:
    """Points as one path of zero-length strokes with round caps: about 10 bytes a point instead of 90."""
    points = np.column_stack([np.asarray(x, float), np.asarray(y, float)])
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return
    codes = np.tile([Path.MOVETO, Path.LINETO], len(points))
    path = Path(np.repeat(points, 2, axis=0), codes)
    ax.add_artist(PathPatch(path, fill=False, lw=size, capstyle="round", **{"alpha": 0.7, **style}))
    ax.update_datalim(points)
    ax.autoscale_view()


def segments(ax: Axes, x0, y0, x1, y1, **style) -> None:
    """Line segments as one path."""
    ends = np.stack([np.column_stack([x0, y0]), np.column_stack([x1, y1])], axis=1).astype(float)
    ends = ends[np.isfinite(ends).all(axis=(1, 2))]
    if not len(ends):
        return
    codes = np.tile([Path.MOVETO, Path.LINETO], len(ends))
    ax.add_artist(PathPatch(Path(ends.reshape(-1, 2), codes), fill=False, **{"lw": 1.0, **style}))
    ax.update_datalim(ends.reshape(-1, 2))
    ax.autoscale_view()


def polylines(ax: Axes, lines: Iterable[np.ndarray], **style) -> None:
    """Several open lines, each (points, 2), as one path."""
    lines = [np.asarray(line, float) for line in lines if len(line) > 1]
    if not lines:
        return
    codes = np.concatenate([[Path.MOVETO] + [Path.LINETO] * (len(line) - 1) for line in lines])
    points = np.concatenate(lines)
    ax.add_artist(PathPatch(Path(points, codes), fill=False, **{"lw": 1.2, **style}))
    ax.update_datalim(points)
    ax.autoscale_view()


def key(ax: Axes, entries: Sequence[tuple[str, dict]]) -> None:
    """A legend above all axes of the figure, from names and line styles, in as many rows as its width needs."""
    from matplotlib.lines import Line2D

    if not entries:
        return
    handles = [Line2D([], [], label=name, **style) for name, style in entries]
    wide = max(len(name) for name, _ in entries) * 4.9 + 34  # points of an entry, at the legend's font size
    columns = int(np.clip((ax.figure.get_figwidth() * 72 - 10) // wide, 1, len(entries)))
    ax.figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        handlelength=1.6,
        columnspacing=1.4,
        borderpad=0.1,
    )
