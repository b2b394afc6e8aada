"""Matplotlib's drawing commands as the elements of a small SVG.

Matplotlib's own SVG is verbose: style attributes, a group and an id around every artist, six decimals. Here styles
are presentation attributes (which a style sheet may override: that is how the report's dark mode works),
coordinates have a tenth of a point and are relative to the one before, and only what is used again has an id.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from html import escape

import numpy as np
from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.colors import rgb2hex
from matplotlib.font_manager import FontProperties, weight_dict
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Transform

ANCHORS = {"left": "start", "right": "end", "center": "middle"}
BLACK = "#000000"
CAPS = {"projecting": "square"}  # Matplotlib's names that are not SVG's
NORMAL = 400  # a font's weight
PANEL = "panel-"  # how the ids of artists begin that are panels
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_POINTS = {Path.MOVETO: 1, Path.LINETO: 1, Path.CURVE3: 2, Path.CURVE4: 3}
_CURVES = {Path.CURVE3: "q", Path.CURVE4: "c"}


class Renderer(RendererBase):
    """Collects the elements of each panel.

    Parameters
    ----------
    width, height : float
        The figure's size in points, which are its pixels.
    name : str
        Prefix of its ids: several figures may share a page.

    Attributes
    ----------
    panels : dict of list of str
        The elements inside an artist whose id begins with `PANEL`, by that id; of all others under the empty name.
    """

    def __init__(self, width: float, height: float, name: str):
        super().__init__()
        self.width, self.height, self.name = width, height, name
        self.panels: dict[str, list[str]] = {"": []}
        self._into = self.panels[""]
        self._open: list[list[str]] = []
        self._ids: dict[tuple[str, str], str] = {}

    def definitions(self) -> str:
        """The element with all that others refer to."""
        inner = "".join(f'<{tag} id="{key}"{rest}' for (tag, rest), key in self._ids.items())
        return f"<defs>{inner}</defs>" if inner else ""

    def get_canvas_width_height(self) -> tuple[float, float]:
        """The figure's size."""
        return self.width, self.height

    def get_text_width_height_descent(
        self, s: str, prop: FontProperties, ismath: bool | str
    ) -> tuple[float, float, float]:
        """Of unhinted letters: those of a page are of any size."""
        return self._text2path.get_text_width_height_descent(s, prop, ismath)

    def open_group(self, s: str, gid: str | None = None) -> None:
        """Elements go to the panel that begins, if one does."""
        self._open.append(self._into)
        if gid and gid.startswith(PANEL):
            self._into = self.panels.setdefault(gid, [])

    def close_group(self, s: str) -> None:
        """Elements go again where they went before."""
        self._into = self._open.pop()

    def draw_path(
        self, gc: GraphicsContextBase, path: Path, transform: Transform, rgbFace: tuple | None = None
    ) -> None:
        """One `path` element; nothing where nothing of a line is to be seen."""
        inside = (0, 0, self.width, self.height) if rgbFace is None else None
        clean = path.cleaned(transform, remove_nans=True, clip=inside, curves=True)
        if data := compact(self._down(clean.vertices), clean.codes):
            self._add("path", {"d": data, **self._clip(gc), **_style(gc, rgbFace)})

    def draw_markers(
        self,
        gc: GraphicsContextBase,
        marker_path: Path,
        marker_trans: Transform,
        path: Path,
        trans: Transform,
        rgbFace: tuple | None = None,
    ) -> None:
        """The marker once, and a `use` element for each point."""
        marker = marker_path.cleaned(marker_trans, remove_nans=True, curves=True)
        points = path.cleaned(trans, remove_nans=True, clip=(0, 0, self.width, self.height)).vertices[:-1]
        if not len(points):
            return
        shape = self._shared("path", f' d="{compact(marker.vertices * (1, -1), marker.codes)}"/>')
        style = _style(gc, rgbFace)
        # of each marker: where two of them overlap one sees both
        opacity = f' opacity="{style.pop("opacity")}"' if "opacity" in style else ""
        used = "".join(
            f'<use x="{rounded(x)}" y="{rounded(y)}"{opacity} href="#{shape}"/>'
            for x, y in self._down(points).tolist()
        )
        self._add("g", self._clip(gc) | style, used)

    def draw_text(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        s: str,
        prop: FontProperties,
        angle: float,
        ismath: bool | str = False,
        mtext: Text | None = None,
    ) -> None:
        """A `text` element, anchored where Matplotlib's is: its letters have other widths than the page's."""
        place, anchor, turn = {}, {}, f"rotate({rounded(-angle)})"
        if mtext is not None and (angle == 0 or mtext.get_rotation_mode() == "anchor"):
            at = mtext.get_transform().transform(mtext.get_unitless_position())
            up = np.array([np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))])
            at = self._down(at[None])[0]
            at = at + up * (up @ ((x, y) - at))
            place = {"x": rounded(at[0]), "y": rounded(at[1])}
            anchor = {"text-anchor": ANCHORS[mtext.get_ha()]}
            turn = f"rotate({rounded(-angle)} {place['x']} {place['y']})"
        elif angle == 0:
            place = {"x": rounded(x), "y": rounded(y)}
        else:
            turn = f"translate({rounded(x)} {rounded(y)}) {turn}"
        weight = weight_dict.get(prop.get_weight(), prop.get_weight())
        colour = rgb2hex(gc.get_rgb())
        alpha = gc.get_alpha() if gc.get_forced_alpha() else gc.get_rgb()[3]
        style = {
            "font-size": rounded(prop.get_size_in_points()),
            **({"font-weight": str(weight)} if weight != NORMAL else {}),
            **({} if anchor.get("text-anchor") == "start" else anchor),
            **({"fill": colour} if colour != BLACK else {}),
            **({"opacity": _short(alpha)} if alpha != 1 else {}),
            **({"transform": turn} if angle else {}),
        }
        self._add("text", place | style, escape(legal(s), quote=False))

    def _add(self, tag: str, attributes: Mapping[str, str], inner: str = "") -> None:
        """An element's text, where elements go."""
        text = "".join(f' {key}="{value}"' for key, value in attributes.items())
        self._into.append(f"<{tag}{text}>{inner}</{tag}>" if inner else f"<{tag}{text}/>")

    def _down(self, points: np.ndarray) -> np.ndarray:
        """Points as SVG has them, from the top."""
        return points * (1, -1) + (0, self.height)

    def _shared(self, tag: str, rest: str) -> str:
        """The id of an element that is there once, by its tag and all that follows."""
        return self._ids.setdefault((tag, rest), f"{self.name}-{len(self._ids)}")

    def _clip(self, gc: GraphicsContextBase) -> dict[str, str]:
        """The attribute that keeps an element inside its axes."""
        found = gc.get_clip_rectangle()
        if found is None:
            return {}
        x, y, width, height = found.bounds
        places = {"x": x, "y": self.height - y - height, "width": width, "height": height}
        text = "".join(f' {key}="{rounded(value)}"' for key, value in places.items())
        return {"clip-path": f"url(#{self._shared('clipPath', f'><rect{text}/></clipPath>')})"}


def _style(gc: GraphicsContextBase, face: tuple | None) -> dict[str, str]:
    """A path's fill and stroke, as attributes; what SVG or the figure's root has by itself is left out."""
    found = {}
    whole = gc.get_forced_alpha()
    if face is None:
        found["fill"] = "none"
    else:
        if (colour := rgb2hex(face)) != BLACK:
            found["fill"] = colour
        if len(face) > 3 and face[3] != 1 and not whole:
            found["fill-opacity"] = _short(face[3])
    if whole and gc.get_alpha() != 1:
        found["opacity"] = _short(gc.get_alpha())
    if not (width := gc.get_linewidth()):
        return found
    offset, dashes = gc.get_dashes()
    if dashes is not None:
        found["stroke-dasharray"] = ",".join(_short(value) for value in dashes)
        found |= {"stroke-dashoffset": _short(offset)} if offset else {}
    stroke = gc.get_rgb()
    found["stroke"] = rgb2hex(stroke)
    if stroke[3] != 1 and not whole:
        found["stroke-opacity"] = _short(stroke[3])
    if width != 1:
        found["stroke-width"] = _short(width)
    if gc.get_joinstyle() != "round":
        found["stroke-linejoin"] = gc.get_joinstyle()
    if gc.get_capstyle() != "butt":
        found["stroke-linecap"] = CAPS.get(gc.get_capstyle(), gc.get_capstyle())
    return found


def legal(text: str) -> str:
    """The text without what XML cannot have, control characters that a group's name may contain."""
    return _ILLEGAL.sub("\ufffd", text)


def rounded(value: float) -> str:
    """A coordinate, to a tenth."""
    return _tenth(round(value * 10))


def _short(value: float) -> str:
    """A width or an opacity, which need their second decimal."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def compact(vertices: np.ndarray, codes: np.ndarray) -> str:
    """A path's `d` with coordinates rounded to 0.1 and each relative to the point before, without drift.

    Parameters
    ----------
    vertices : (n, 2) array
    codes : (n,) array
        Matplotlib's.
    """
    points = np.rint(vertices * 10).astype(np.int64).tolist()
    kinds = codes.tolist()
    out, k, x, y, closed = [], 0, 0, 0, True
    while k < len(points) and (kind := kinds[k]) != Path.STOP:
        if kind == Path.CLOSEPOLY:
            out.append("z")
            closed, k = True, k + 1
            continue
        count = _POINTS[kind]
        steps = [(a - x, b - y) for a, b in points[k : k + count]]
        if kind == Path.MOVETO:
            # after a z the current point is the subpath's start, which is not tracked: be absolute there
            out.append(f"M{_pair(*points[k])}" if closed else f"m{_pair(*steps[0])}")
        elif kind == Path.LINETO:
            (across, down) = steps[0]
            out.append(
                f"h{_tenth(across)}"
                if down == 0
                else f"v{_tenth(down)}"
                if across == 0
                else f"l{_pair(across, down)}"
            )
        else:
            out.append(_CURVES[kind] + " ".join(_pair(*step) for step in steps))
        x, y = points[k + count - 1]
        closed, k = False, k + count
    return "".join(out)


@lru_cache(20_000)
def _tenth(value: int) -> str:
    sign, value = ("-" if value < 0 else ""), abs(value)
    whole, rest = divmod(value, 10)
    return f"{sign}{whole}" if rest == 0 else f"{sign}{whole or ''}.{rest}"


def _pair(x: int, y: int) -> str:
    second = _tenth(y)
    return _tenth(x) + second if second.startswith("-") else f"{_tenth(x)} {second}"
