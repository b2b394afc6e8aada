"""From a matplotlib figure to a small, self-contained, accessible SVG, whose panels a page sets as it likes."""

from collections.abc import Callable
from html import escape

from matplotlib.axes import Axes

from lmm.report.figures.layout import lay_out
from lmm.report.figures.renderer import PANEL, Renderer, legal, rounded
from lmm.report.figures.style import Drawing

Box = tuple[float, float, float, float]
Place = tuple[int, int]
MARGIN = 2.0  # points around a panel


def to_svg(drawing: Drawing, name: str) -> str:
    """The SVG text of a drawing; `name` prefixes its ids. Its panels are groups that `panels` takes apart."""
    figure = drawing.canvas
    width, height = (72 * float(side) for side in figure.get_size_inches())
    inside = lay_out(figure)
    renderer = Renderer(width, height, name)
    # as one reads, which is the order on the page: legends first, wherever they stand
    parts = [*figure.legends, *sorted(inside, key=place)]
    for k, part in enumerate(parts):
        part.set_gid(f"{PANEL}{k}")
    figure.draw(renderer)
    boxes = {}
    for part in parts:
        x0, y0, x1, y1 = (inside[part] if part in inside else part.get_window_extent(renderer)).extents
        boxes[part] = (x0 - MARGIN, height - y1 - MARGIN, x1 - x0 + 2 * MARGIN, y1 - y0 + 2 * MARGIN)
    wide = aligned({part: boxes[part] for part in inside}, place)
    panels = "".join(
        f'<g class="panel{"" if part in inside else " legend"}" '
        f'data-box="{" ".join(map(rounded, wide.get(part, boxes[part])))}">'
        f"{''.join(renderer.panels.get(part.get_gid(), []))}{_hits(drawing, boxes[part])}</g>"
        for part in parts
    )
    across, down, alt = rounded(width), rounded(height), escape(legal(drawing.alt))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="figure" viewBox="0 0 {across} {down}"'
        f' width="{across}" height="{down}" role="img" aria-label="{alt}"'
        ' font-family="system-ui,-apple-system,Segoe UI,Roboto,Helvetica Neue,Arial,sans-serif"'
        f' stroke-linejoin="round"><desc>{alt}</desc>{renderer.definitions()}'
        f"{''.join(renderer.panels[''])}{panels}</svg>\n"
    )


def place(ax: Axes) -> Place:
    """Row and column of the axes in their grid."""
    spec = ax.get_subplotspec()
    return spec.rowspan.start, spec.colspan.start


def aligned[Part](boxes: dict[Part, Box], place: Callable[[Part], Place]) -> dict[Part, Box]:
    """Boxes as high as their row and as wide as their column, so that a page sets axes below each other.

    Parameters
    ----------
    boxes : dict of (x, y, width, height)
        In points.
    place : callable
        A key's row and column.
    """
    found = dict(boxes)
    for side in (1, 0):
        for line in {place(part)[1 - side] for part in boxes}:
            mine = [part for part in boxes if place(part)[1 - side] == line]
            low = min(boxes[part][side] for part in mine)
            high = max(boxes[part][side] + boxes[part][side + 2] for part in mine)
            for part in mine:
                box = list(found[part])
                box[side], box[side + 2] = low, high - low
                found[part] = tuple(box)
    return found


def _hits(drawing: Drawing, box: Box) -> str:
    """The areas in a panel that stand for a group."""
    x, y, width, height = box
    found = ""
    for level, left, top, wide, high in drawing.hits:
        if x <= left + wide / 2 <= x + width and y <= top + high / 2 <= y + height:
            name = legal(str(level))
            places = {"x": left, "y": top, "width": wide, "height": high}
            text = "".join(f' {key}="{rounded(value)}"' for key, value in places.items())
            title = escape(name, quote=False)
            found += f'<rect data-level="{escape(name)}"{text}><title>{title}</title></rect>'
    return f'<g class="hits" fill="none" pointer-events="all">{found}</g>' if found else ""
