"""Nested-loop plot of a grid of designs (Rücker & Schwarzer 2014, BMC Med. Res. Methodol. 14:129)."""

import numpy as np

from lmm.core.parameters import titled
from lmm.core.words import counted, listed
from lmm.report.figures.recovery import TITLES, legend, limits, shown_measure, worst
from lmm.report.figures.style import COLOURS, MUTED, Drawing, canvas, colour, polylines
from lmm.results.replicated import Recovered, axis_name, axis_value


def nested(recovered: Recovered, _: str = "") -> Drawing:
    """Nested-loop plot (Rücker & Schwarzer 2014): every design of a grid on one axis, its settings as steps below."""
    terms = recovered.random_terms()[:3] or recovered.terms[:3]
    order = {design: k for k, design in enumerate(recovered.designs["design"])}
    many, engines = len(order), recovered.engines
    heights = [1.0] * len(terms) + [0.16 + 0.24 * len(recovered.axes)]
    figure, axes = canvas(
        760, 40 + 120 * sum(heights), len(heights), 2, sharex=True, gridspec_kw={"height_ratios": heights}
    )
    for column, name in enumerate(("bias", "coverage")):
        for ax, term in zip(axes[:-1, column], terms, strict=True):
            table, unit, ideal = shown_measure(recovered, name, term)
            ax.axhline(ideal, color=COLOURS["truth"], lw=1.0)
            for engine in engines:
                mine = table[table["engine"] == engine]
                at = mine["design"].map(order).to_numpy(int)
                value = np.full(many, np.nan)
                value[at] = mine["value"]
                polylines(ax, _steps(value), color=colour(engine, engines), lw=1.5)
            ax.set(ylim=limits(table, ideal), xlim=(0, many))
            ax.set_title(f"{titled(term)}: {TITLES[name].lower()}{f' ({unit})' * bool(unit)}", fontsize=9)
            ax.grid(axis="x", visible=False)
        _loops(axes[-1, column], recovered, named=column == 0)
    legend(figure, engines)
    axes_said = listed([axis_name(axis) for axis in recovered.axes])
    caption = (
        f"Nested-loop plot (Rücker & Schwarzer 2014): every one of the {many} designs is a step, in the order of "
        f"{axes_said} (grey steps below: low to high), the last changing fastest."
    )
    alt = f"{counted(many, 'design')} side by side. {worst(recovered, 'coverage', terms)}"
    return Drawing(figure, "The whole grid", caption, alt)


def _steps(value: np.ndarray) -> list[np.ndarray]:
    """A step for each design, as one line; split where a design has no value."""
    lines, line = [], []
    for k, v in enumerate(value):
        if np.isfinite(v):
            line += [(k, v), (k + 1, v)]
        elif line:
            lines.append(np.array(line))
            line = []
    return [*lines, np.array(line)] if line else lines


def _loops(ax, recovered: Recovered, named: bool) -> None:
    """The settings of each design as grey steps, an axis above the other."""
    for k, axis in enumerate(reversed(recovered.axes)):
        values = recovered.values(axis)
        rank = {value: j / max(len(values) - 1, 1) for j, value in enumerate(values)}
        height = np.array([rank[value] for value in recovered.designs[axis]])
        polylines(ax, _steps(k + 0.65 * height), color=MUTED, lw=1.2)
    text = [
        f"{axis_name(a)}: {', '.join(map(axis_value, recovered.values(a)))}" for a in reversed(recovered.axes)
    ]
    ax.set(ylim=(-0.3, len(text)))
    ax.set_yticks(np.arange(len(text)) + 0.3, text if named else [""] * len(text), fontsize=8)
    ax.set_xticks([])
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
