"""From a matplotlib figure to a small, self-contained, accessible SVG.

matplotlib's SVG is verbose: style attributes, a group and an id around every artist, six decimals. Here styles
become presentation attributes (which a style sheet may override: that is how the report's dark mode works),
coordinates are rounded to a tenth of a point and written relative to the one before, ids carry the figure's name
so that several figures can share a page, and metadata goes.
"""

import io
import re
import xml.etree.ElementTree as ET
from html import escape

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from lmm.report.figures.layout import lay_out
from lmm.report.figures.style import Drawing
from lmm.report.panels import SVG, written

XLINK = "{http://www.w3.org/1999/xlink}href"
_TOKEN = re.compile(r"[MLCQZzHV]|-?\d+\.?\d*(?:e-?\d+)?")
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PAIRS = {"M": 1, "L": 1, "Q": 2, "C": 3}
_DEFAULTS = {"stroke-linecap": "butt", "stroke-linejoin": "round", "stroke-opacity": "1", "opacity": "1"}


Box = tuple[float, float, float, float]
MARGIN = 2.0  # points around a panel


def to_svg(drawing: Drawing, name: str) -> str:
    """The SVG text of a drawing; `name` prefixes its ids. Its panels are groups that `panels` takes apart."""
    boxes = _mark(drawing)
    legends = {f"panel-{k}" for k in range(len(drawing.canvas.legends))}
    buffer = io.StringIO()
    FigureCanvasSVG(drawing.canvas).print_svg(buffer, metadata={"Date": None, "Creator": None})
    root = ET.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", _legal(buffer.getvalue())))
    for unwanted in root.findall(f"{SVG}metadata"):
        root.remove(unwanted)
    _flatten(root)
    _rename(root, name)
    x0, y0, width, height = root.get("viewBox").split()
    for panel in root.iter(f"{SVG}g"):
        if box := boxes.get(panel.get("class", "").removeprefix("panel ")):
            legend = panel.get("class").removeprefix("panel ") in legends
            panel.set("class", "panel legend" if legend else "panel")
            panel.set("data-box", " ".join(_round(str(value)) for value in box))
            panel.extend(_hits(drawing, box))
    body = "".join(written(child) for child in root)
    return _legal(
        f'<svg xmlns="http://www.w3.org/2000/svg" class="figure" viewBox="{x0} {y0} {_round(width)} {_round(height)}"'
        f' width="{_round(width)}" height="{_round(height)}" role="img" aria-label="{escape(drawing.alt)}"'
        ' font-family="system-ui,-apple-system,Segoe UI,Roboto,Helvetica Neue,Arial,sans-serif"'
        f' stroke-linejoin="round"><desc>{escape(drawing.alt)}</desc>{body}</svg>\n'
    )


def _mark(drawing: Drawing) -> dict[str, Box]:
    """Give each panel (axes, legend) an id; id -> its box in points from the top left corner."""
    figure = drawing.canvas
    inside = lay_out(figure)
    scale, height = 72 / figure.dpi, figure.get_figheight() * 72
    parts = [*figure.legends, *(ax for ax in figure.axes if ax.get_visible())]
    boxes = {}
    for k, part in enumerate(parts):
        part.set_gid(f"panel-{k}")
        found = part.get_window_extent() if part in figure.legends else inside[part]
        left, right, low, high = (value * scale for value in (found.x0, found.x1, found.y0, found.y1))
        boxes[f"panel-{k}"] = (
            left - MARGIN, height - high - MARGIN, right - left + 2 * MARGIN, high - low + 2 * MARGIN,
        )  # fmt: skip
    return _aligned(figure, boxes)


def _aligned(figure: Canvas, boxes: dict[str, Box]) -> dict[str, Box]:
    """Panels of a column have one width, so that a page sets their axes below each other."""
    columns: dict[tuple[int, int], list[str]] = {}
    for ax in figure.axes:
        if (key := ax.get_gid()) in boxes:
            columns.setdefault((id(ax.get_gridspec()), ax.get_subplotspec().colspan.start), []).append(key)
    for keys in columns.values():
        left = min(boxes[key][0] for key in keys)
        right = max(boxes[key][0] + boxes[key][2] for key in keys)
        for key in keys:
            boxes[key] = (left, boxes[key][1], right - left, boxes[key][3])
    return boxes


def _legal(text: str) -> str:
    """The text without what XML cannot have, control characters that a group's name may contain."""
    return _ILLEGAL.sub("\ufffd", text)


def _round(text: str) -> str:
    value = f"{float(text):.1f}".removesuffix(".0")
    return "0" if value == "-0" else value


def _flatten(parent: ET.Element) -> None:
    """Turn styles into attributes and dissolve groups that carry nothing."""
    children = []
    for child in list(parent):
        if child.tag == f"{SVG}style":
            continue
        _attributes(child)
        _flatten(child)
        if child.tag in (f"{SVG}g", f"{SVG}defs") and not len(child):
            continue
        if child.tag == f"{SVG}g" and not child.attrib:
            children.extend(child)
        else:
            children.append(child)
    parent[:] = children


def _attributes(element: ET.Element) -> None:
    style = element.attrib.pop("style", "")
    if element.tag == f"{SVG}g":
        old = element.attrib.pop("id", "")
        if old.startswith("panel-"):
            element.set("class", f"panel {old}")
    for item in filter(None, (part.strip() for part in style.split(";"))):
        key, value = (side.strip() for side in item.split(":", 1))
        if key == "font":
            weight = re.search(r"\b(bold|[5-9]00)\b", value)
            element.set("font-size", _round(re.search(r"([\d.]+)px", value).group(1)))
            if weight:
                element.set("font-weight", weight.group(1))
        elif key == "font-size":
            element.set(key, _round(value.removesuffix("px")))
        elif key not in ("font-family", "font-weight", "stroke-miterlimit") and _DEFAULTS.get(key) != value:
            element.set(key, value)
    for key, value in list(element.attrib.items()):
        if key == "d":
            element.set(key, compact(value))
        elif key == "transform":
            value = re.sub(r"rotate\(-?0(\.0*)?[ ,][^)]*\)|rotate\(-?0\)", "", value).strip()
            value = _NUMBER.sub(lambda found: _round(found.group()), value)
            element.attrib.pop(key) if not value else element.set(key, value)
        elif key not in ("id", "class", XLINK) and _NUMBER.fullmatch(value):
            # widths and opacities need their second decimal, positions do not
            element.set(key, f"{float(value):.2f}".rstrip("0").rstrip(".") if "-" in key else _round(value))


def compact(d: str) -> str:
    """A path's `d` with coordinates rounded to 0.1 and lines relative to the point before, without drift."""
    out, at, i, last = [], (0, 0), 0, ""
    tokens = _TOKEN.findall(d)
    while i < len(tokens):
        command = tokens[i]
        i += 1
        if command in "Zz":
            out.append("z")
            last = "z"
            continue
        count = _PAIRS[command]
        points = [
            (round(float(tokens[i + 2 * k]) * 10), round(float(tokens[i + 2 * k + 1]) * 10))
            for k in range(count)
        ]
        i += 2 * count
        if command == "M":
            # after a z the current point is the subpath's start, which is not tracked: be absolute there
            out.append(
                "M" + _pair(points[0]) if not out or last == "z" else "m" + _pair(_minus(points[0], at))
            )
        elif command == "L":
            step = _minus(points[0], at)
            out.append(
                ("h" + _tenth(step[0]))
                if step[1] == 0
                else ("v" + _tenth(step[1]))
                if step[0] == 0
                else "l" + _pair(step)
            )
        else:
            out.append(command.lower() + " ".join(_pair(_minus(point, at)) for point in points))
        at, last = points[-1], command
    return "".join(out)


def _minus(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return a[0] - b[0], a[1] - b[1]


def _tenth(value: int) -> str:
    sign, value = ("-" if value < 0 else ""), abs(value)
    whole, rest = divmod(value, 10)
    return f"{sign}{whole}" if rest == 0 else f"{sign}{whole or ''}.{rest}"


def _pair(point: tuple[int, int]) -> str:
    first, second = _tenth(point[0]), _tenth(point[1])
    return first + second if second.startswith("-") else f"{first} {second}"


def _rename(root: ET.Element, name: str) -> None:
    """Short ids with the figure's name in front; ids that nothing refers to go."""
    text = ET.tostring(root, encoding="unicode")
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    used = [a or b for a, b in used]
    names = {old: f"{name}-{k}" for k, old in enumerate(sorted(used))}
    for element in root.iter():
        old = element.attrib.pop("id", None)
        if old in names:
            element.set("id", names[old])
        for key, value in list(element.attrib.items()):
            if key == XLINK:
                del element.attrib[key]
                element.set("href", f"#{names[value[1:]]}")
            elif value.startswith("url(#"):
                element.set(key, f"url(#{names[value[5:-1]]})")


def _hits(drawing: Drawing, box: Box) -> list[ET.Element]:
    """The areas in a panel that stand for a group."""
    x, y, width, height = box
    mine = [
        hit
        for hit in drawing.hits
        if x <= hit[1] + hit[3] / 2 <= x + width and y <= hit[2] + hit[4] / 2 <= y + height
    ]
    if not mine:
        return []
    found = ET.Element(f"{SVG}g", {"class": "hits", "fill": "none", "pointer-events": "all"})
    for level, *place in mine:
        names = ("x", "y", "width", "height")
        at = {name: _round(str(value)) for name, value in zip(names, place, strict=True)}
        area = ET.SubElement(found, f"{SVG}rect", {"data-level": str(level), **at})
        ET.SubElement(area, f"{SVG}title").text = str(level)
    return [found]
