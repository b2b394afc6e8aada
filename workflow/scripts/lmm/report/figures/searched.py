"""The figures of a study with a search: the fitted measure against the design, and what designs cost."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lmm.core.parameters import titled
from lmm.core.words import capital, given
from lmm.report.figures import Drawn, Figure
from lmm.report.figures.style import (
    CHAINS,
    COLOURS,
    INK,
    MUTED,
    ONE,
    Drawing,
    canvas,
    dots,
    key,
    segments,
)
from lmm.report.text.search import NAMES, answers, plural, size, target
from lmm.results.searched import Searched, read


def shades(count: int, engine: str) -> list[str]:
    """A colour for each scenario, the engine's first."""
    return [COLOURS[engine], *CHAINS * 2][:count]


def scenario_name(searched: Searched, scenario: int) -> str:
    """`x 0.5`, of the values that a scenario sets."""
    own = searched.scenarios[scenario]["fixed"]
    return ", ".join(f"{titled(term)} {given(value)}" for term, value in own.items()) or "estimated effects"


def curve(searched: Searched) -> Drawing:
    """Simulated designs with error bars, the fitted curve with its band, the target and the answer."""
    figure, axes = canvas(ONE, 260)
    ax, scale = axes[0, 0], 100.0 if searched.proportion else 1.0
    colours = shades(len(searched.scenarios), searched.engine)
    first = searched.scenarios[0]
    ax.axhline(scale * searched.answer["target"], color=COLOURS["truth"], lw=1.0)
    for k, (colour, found) in enumerate(zip(colours, searched.scenarios, strict=True)):
        points, line = (_along(searched, table, found, k) for table in ("search", "curve"))
        x = points[searched.first.column].to_numpy(float)
        y, error = (scale * points[name].to_numpy(float) for name in ("estimate", "mcse"))
        segments(ax, x, y - 1.96 * error, x, y + 1.96 * error, color=colour)
        dots(ax, x, y, 5.0, color=colour, alpha=1.0)
        at = line[searched.first.column].to_numpy(float)
        ends = (scale * line[name].to_numpy(float) for name in ("conf_low", "conf_high"))
        ax.fill_between(at, *ends, color=colour, alpha=0.18, lw=0)
        ax.plot(at, scale * line["estimate"].to_numpy(float), color=colour, lw=1.5)
    if first["status"] != "not reached":
        low, high = first["low"], first["high"]
        ax.axvline(first[searched.first.column], color=INK, lw=1.0, ls=":")
        if low is not None and high is not None:
            ax.axvspan(low, high, color=MUTED, alpha=0.12, lw=0)
    name = NAMES[searched.answer["measure"]]
    title = capital(name)
    ax.set(xlabel=plural(searched, searched.first), ylabel=f"{title} (%)" if searched.proportion else title)
    if len(colours) > 1:
        names = [scenario_name(searched, k) for k in range(len(colours))]
        key(ax, [(own, {"color": shade, "lw": 2.0}) for own, shade in zip(names, colours, strict=True)])
    caption = (
        "Points: simulated designs, bars 1.96 Monte Carlo standard errors either side. Curve: monotone fit to the "
        "designs near the answer, with its 95 % band. Horizontal line: the target; dotted line and grey area: the "
        "answer and its interval."
    )
    return Drawing(
        figure, f"{title} against {plural(searched, searched.first)}", caption, answers(searched)[0]
    )


def _along(searched: Searched, table: str, found: Mapping[str, Any], scenario: int) -> pd.DataFrame:
    """A scenario's rows, of designs that differ from its answer in the first dimension only, in order."""
    rows = searched.tables[table]
    rows = rows[rows["scenario"] == scenario]
    for other in searched.varied[1:]:
        rows = rows[rows[other.column] == found[other.column]]
    return rows.sort_values(searched.first.column)


def cost(searched: Searched) -> Drawing:
    """What the smallest designs that reach the target cost, against the second dimension."""
    found, (first, second) = searched.scenarios[0], searched.varied
    frame = pd.DataFrame(found["frontier"])
    figure, axes = canvas(ONE, 240)
    ax = axes[0, 0]
    colour, (many, others) = COLOURS[searched.engine], (plural(searched, own) for own in (first, second))
    ax.plot(frame[second.column], frame["cost"], color=colour, marker="o", ms=3.5, lw=1.2)
    ax.plot([found[second.column]], [found["cost"]], "o", ms=9, mfc="none", mec=INK)
    ax.set(xlabel=others, ylabel=f"cost: {searched.answer['cost']}")
    caption = f"For each number of {others}: the cost of the fewest {many} that have {target(searched)}."
    alt = f"The cheapest design is {size(searched, found)} at a cost of {given(round(found['cost'], 6))}."
    return Drawing(figure, f"Cost against {others}", caption, alt)


def draw(study: str, settings: Mapping[str, Any], paths: Mapping[str, Any]) -> Drawn:
    """Draw every figure of a study with a search; `figures.write` writes them.

    Parameters
    ----------
    study : str
    settings, paths : mapping
        As `searched.read` takes them.
    """
    searched = read(study, settings, paths)
    made = {"curve": curve}
    if searched.scenarios[0].get("frontier"):
        made["cost"] = cost
    return Drawn({name: Figure.of(function(searched), study, name) for name, function in made.items()}, None)
