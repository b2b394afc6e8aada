"""The figure of reml's cost against rows and against groups."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

COLOURS = {"all": "#1b4965", "moments": "#ca6702"}


def draw(curves: dict[str, list[tuple[int, int, float, float]]], path: Path) -> None:
    """Two panels, both axes logarithmic.

    Parameters
    ----------
    curves : dict
        `rows` and `groups`: (rows, groups, median seconds, median seconds of the moments) a size.
    path : Path
        An SVG file.
    """
    matplotlib.rcParams["svg.hashsalt"] = "growth"  # the same figure gives the same bytes
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    groups = curves["rows"][0][1]
    each = curves["groups"][0][0] // curves["groups"][0][1]
    panels = (
        (left, "rows", 0, f"rows N, at {groups:,} groups"),
        (right, "groups", 1, f"groups J, {each} rows each"),
    )
    for axis, kind, at, label in panels:
        sizes = [point[at] for point in curves[kind]]
        for name, column in (("all", 2), ("moments", 3)):
            seconds = [point[column] for point in curves[kind]]
            text = "moments and fit" if name == "all" else "moments alone"
            axis.plot(sizes, seconds, "o-", color=COLOURS[name], markersize=4, label=text)
        # what a cost proportional to size would be
        scale = curves[kind][-1][2] / sizes[-1]
        axis.plot(sizes, [scale * size for size in sizes], ":", color="#888888", label="proportional")
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.grid(alpha=0.3, which="major")
        axis.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("seconds, from a data frame")
    left.legend(frameon=False, fontsize="small")
    figure.savefig(path, metadata={"Date": None})
