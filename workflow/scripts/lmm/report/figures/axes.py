"""Matplotlib's axes without what these figures never show: marks of ticks, labels on two sides, a closed frame.

A tick of Matplotlib's is five artists with deep copies of their styles, and a study has a thousand: they took
longer than everything else that is drawn.
"""

from typing import Any

from matplotlib import axes, axis, rcParams
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.spines import Spine
from matplotlib.text import Text


class _Nothing(Artist):
    """Stands where Matplotlib has an artist that is never drawn."""

    def get_visible(self) -> bool:
        """Never."""
        return False

    def draw(self, renderer: Any) -> None:
        """Draw nothing."""

    def set(self, *_: Any, **__: Any) -> None:
        """Take any property."""

    set_visible = set_xdata = set_ydata = set_x = set_y = set_transform = set
    set_marker = set_markersize = set_markeredgewidth = set_text = _internal_update = set


_NOTHING = _Nothing()


class _Tick(axis.Tick):
    """A grid line and a label."""

    def __init__(self, axes: axes.Axes, loc: float, *, major: bool = True, **options: Any):
        Artist.__init__(self)
        self.set_figure(axes.get_figure(root=False))
        self.axes, self._loc, self._major = axes, loc, major
        name = self.__name__
        self._size = rcParams[f"{name}.major.size"]
        self._width, self._base_pad = rcParams[f"{name}.major.width"], rcParams[f"{name}.major.pad"]
        self._zorder = Line2D.zorder + 0.01
        self.tick1line = self.tick2line = self.label2 = _NOTHING
        self._set_labelrotation(0)
        self._apply_tickdir(None)
        line = {"linestyle": rcParams["grid.linestyle"], "linewidth": rcParams["grid.linewidth"]}
        self.gridline = Line2D([], [], color=rcParams["grid.color"], alpha=rcParams["grid.alpha"], **line)
        place, vertical, horizontal = self._get_text1_transform()
        self.label1 = Text(
            0, 0, transform=place, verticalalignment=vertical, horizontalalignment=horizontal,
            fontsize=rcParams[f"{name}.labelsize"], color=rcParams[f"{name}.color"],
        )  # fmt: skip
        for artist in (self.gridline, self.label1):
            self._set_artist_props(artist)
        self._apply_params(**options)


class _XTick(_Tick, axis.XTick):
    def __init__(self, *args: Any, **options: Any):
        _Tick.__init__(self, *args, **options)
        self.gridline.set(data=([0, 0], [0, 1]), transform=self.axes.get_xaxis_transform("grid"))


class _YTick(_Tick, axis.YTick):
    def __init__(self, *args: Any, **options: Any):
        _Tick.__init__(self, *args, **options)
        self.gridline.set(data=([0, 1], [0, 0]), transform=self.axes.get_yaxis_transform("grid"))


class _Axis(axis.Axis):
    """An axis whose ticks are made when they are drawn, as the axis says and not as the first of them."""

    def set_clip_path(self, path: Any, transform: Any = None) -> None:
        """Clip what is the axis's own: grid lines end where the axes end."""
        Artist.set_clip_path(self, path, transform)

    def _copy_tick_props(self, src: axis.Tick, dest: axis.Tick) -> None:
        pass


class _XAxis(_Axis, axis.XAxis):
    _tick_class = _XTick


class _YAxis(_Axis, axis.YAxis):
    _tick_class = _YTick


class Axes(axes.Axes):
    """Axes with a line on the left and at the bottom."""

    def _gen_axes_spines(self) -> dict[str, Spine]:
        return {side: Spine.linear_spine(self, side) for side in ("left", "bottom")}

    def _init_axis(self) -> None:
        self.xaxis, self.yaxis = _XAxis(self, clear=False), _YAxis(self, clear=False)
        self.spines.bottom.register_axis(self.xaxis)
        self.spines.left.register_axis(self.yaxis)
