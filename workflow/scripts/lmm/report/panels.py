"""A figure's panels taken apart, for a page that sets them side by side or below each other.

Apart from `figures`, whose modules draw: a page is put together from files, without Matplotlib.
"""

import xml.etree.ElementTree as ET
from html import escape

import numpy as np

SVG = "{http://www.w3.org/2000/svg}"
SCALE = 1.2  # pixels of the page per point of a figure

Box = tuple[float, ...]


def panels(svg: str) -> list[str]:
    """The panels of a figure as SVGs of their own, which a page sets side by side or below each other; legends apart.

    Parameters
    ----------
    svg : str
        As `to_svg` writes it.
    """
    ET.register_namespace("", SVG[1:-1])
    root = ET.fromstring(svg)
    whole_width = float(root.get("viewBox").split()[2])
    found, places = [], {}
    for panel in (one for one in root.findall(f"{SVG}g") if one.get("class", "").startswith("panel")):
        places[panel] = tuple(float(value) for value in panel.attrib["data-box"].split())
    axes = [panel for panel in places if "legend" not in panel.attrib["class"]]
    places |= zip(axes, aligned([places[panel] for panel in axes]), strict=True)
    # as one reads: a legend first, wherever it stands in the file; rows of panels by their lower edges
    for panel in sorted(
        places, key=lambda one: (round((places[one][1] + places[one][3]) / 40), places[one][0])
    ):
        x, y, width, height = places[panel]
        third = " third" if 0.2 < (width - 4) / whole_width < 0.34 else ""
        head = (
            f'<svg class="figure{third}" viewBox="{x:g} {y:g} {width:g} {height:g}" width="{SCALE * width:.0f}" '
            'aria-hidden="true" stroke-linejoin="round">'
        )
        # definitions that stand outside the panels are found anywhere on the page
        shared = "" if found else "".join(written(child) for child in root.findall(f"{SVG}defs"))
        whole = head + shared + "".join(written(child) for child in panel) + "</svg>"
        found.append(f'<div class="legend">{whole}</div>' if "legend" in panel.attrib["class"] else whole)
    return found


def aligned(boxes: list[Box]) -> list[Box]:
    """Boxes as wide as their column and as high as their row: neighbours begin and end alike.

    Parameters
    ----------
    boxes : list of (x, y, width, height)
        In points.
    """
    if not boxes:
        return []
    found = np.array(boxes, dtype=float)
    for side in (0, 1):
        start, size = found[:, side], found[:, side + 2]
        end, centre = start + size, start + size / 2
        near = np.abs(centre[:, None] - centre) < np.minimum(size[:, None], size) / 4
        low = np.where(near, start, np.inf).min(axis=1)
        high = np.where(near, end, -np.inf).max(axis=1)
        found[:, side], found[:, side + 2] = low, high - low
    return [tuple(box) for box in found.tolist()]


def written(element: ET.Element) -> str:
    """An element as text, without namespaces."""
    tag = element.tag.removeprefix(SVG)
    attributes = "".join(f' {key}="{escape(value)}"' for key, value in element.attrib.items())
    inner = escape(element.text or "", quote=False) if tag in ("text", "tspan", "title") else ""
    inner += "".join(written(child) for child in element)
    return f"<{tag}{attributes}>{inner}</{tag}>" if inner else f"<{tag}{attributes}/>"
