"""A figure's panels taken apart, for a page that sets them side by side or below each other.

Apart from `figures`, whose modules draw: a page is put together from files, without Matplotlib.
"""

import re

SCALE = 1.2  # pixels of the page per point of a figure
_PANEL = re.compile(r'<g class="panel( legend)?" data-box="([^"]*)">')


def panels(svg: str) -> list[str]:
    """The panels of a figure as SVGs of their own, which a page sets side by side or below each other; legends apart.

    Parameters
    ----------
    svg : str
        As `to_svg` writes it: the panels in the order of reading, at its end.
    """
    head, *parts = _PANEL.split(svg.strip().removesuffix("</svg>"))
    columns = len({box.split()[0] for legend, box in zip(parts[::3], parts[1::3], strict=True) if not legend})
    size = {3: " third", 4: " quarter"}.get(columns, "")  # of a row, where there is room for one
    # what stands outside the panels, definitions above all, is found anywhere on the page
    shared = head.partition("</desc>")[2]
    found = []
    for legend, box, inner in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        width = float(box.split()[2])
        whole = (
            f'<svg class="figure{size}" viewBox="{box}" width="{SCALE * width:.0f}" aria-hidden="true" '
            f'stroke-linejoin="round">{shared}{inner.removesuffix("</g>")}</svg>'
        )
        found.append(f'<div class="legend">{whole}</div>' if legend else whole)
        shared = ""
    return found
