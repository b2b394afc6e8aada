"""The graph of what led to what in a study, with run times, as an SVG of the report."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import yaml
from markupsafe import Markup

from lmm.core import engines as catalogue
from lmm.core.store import plain
from lmm.results.base import Reported

# In the middle of the engines' lanes; every other stage has a lane of its own, those that are none of these below.
SHARED = ("data", "moments", "replicates", "performance", "search", "comparison", "figures", "report")
CHECKS = ("influence", "criticism", "calibration")
# Rules whose name is not their stage's.
STAGE = {
    "simulate": "data", "ingest": "data", "recovery": "performance", "recovery_figures": "figures",
    "search_figures": "figures",
}  # fmt: skip
WIDE, HIGH, ROW, ACROSS = 88, 38, 52, 760  # of a box, of a lane, of the picture, in its own units
MARGIN = 7  # above the first lane


def edges(engines: Iterable[str]) -> list[tuple[str, str]]:
    """What leads to what in a study with these engines."""
    engines = list(engines)
    found, checks = [("data", "moments")], []
    exact, bayes = (catalogue.first(engines, family) for family in (catalogue.EXACT, catalogue.BAYES))
    for engine in engines:
        found.append(("moments", engine))
        if exact and engine in catalogue.ENGINES and catalogue.row(engine).starts:
            found.append((exact, engine))
        found.append((engine, "comparison"))
    if exact:
        checks += [("moments", "influence"), ("influence", "figures")]
    if bayes:
        checks += [(bayes, "criticism"), ("criticism", "figures")]
    return [*found, *checks, ("comparison", "figures"), ("figures", "report")]


def provenance(
    study: Reported, pairs: Iterable[tuple[str, str]], run_times: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """A study's configuration as YAML and its graph, as the report's template takes them.

    Parameters
    ----------
    study : Reported
    pairs : iterable of (before, after)
        The graph.
    run_times : iterable of mapping
        Rows of `report_provenance.run_times`.
    """
    seconds: dict[str, float] = {}
    for row in run_times:
        if row["study"] in (study.study, "") and row["seconds"] is not None:
            stage = STAGE.get(row["rule"], row["rule"])
            seconds[stage] = seconds.get(stage, 0.0) + row["seconds"]
    configuration = plain(study.settings.get("configuration", {}))
    return {
        "configuration": yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True),
        "graph": Markup(graph(pairs, seconds)),
    }


def graph(pairs: Iterable[tuple[str, str]], seconds: Mapping[str, float]) -> str:
    """The stages as an SVG, laid out in columns by the longest way from the start, with their run times."""
    pairs = list(pairs)
    depth = _depths(pairs)
    gap = (ACROSS - WIDE * (max(depth.values()) + 1)) / max(max(depth.values()), 1)
    at, height = _places(depth, gap)
    lines = []
    for before, after in pairs:
        (x0, y0), (x1, y1) = at[before], at[after]
        x0, y0, y1 = x0 + WIDE, y0 + HIGH / 2, y1 + HIGH / 2
        turn = x1 - gap  # straight until the gap before the next box, so that it passes no other
        bend = (turn + x1) / 2
        lines.append(
            f'<path d="M{x0:.0f} {y0:.0f}H{turn:.0f}C{bend:.0f} {y0:.0f} {bend:.0f} {y1:.0f} {x1:.0f} {y1:.0f}"/>'
        )
    boxes = [_box(name, *place, seconds.get(name)) for name, place in at.items()]
    told = "; ".join(f"{before} to {after}" for before, after in pairs)
    return (
        f'<svg class="figure graph" viewBox="0 0 {ACROSS} {height:.0f}" width="{ACROSS}" role="img" '
        f'aria-label="What led to what: {escape(told)}."><g class="edges">{"".join(lines)}</g><g '
        f'class="nodes">{"".join(boxes)}</g></svg>'
    )


def _depths(pairs: list[tuple[str, str]]) -> dict[str, int]:
    """Column of every stage: the most steps that lead to it."""
    depth = {name: 0 for pair in pairs for name in pair}
    for _ in depth:
        for before, after in pairs:
            depth[after] = max(depth[after], depth[before] + 1)
    return depth


def _places(depth: Mapping[str, int], gap: float) -> tuple[dict[str, tuple[float, float]], float]:
    """Corner of every box, and the picture's height.

    A stage a lane, so that no line runs behind a box; what all engines share stands in the middle of their lanes.
    """
    engines = [name for name in depth if name not in SHARED + CHECKS]
    engines = catalogue.ordered(engines)
    lanes = [*engines, *(name for name in CHECKS if name in depth)]
    if not engines:
        lanes = ["", *lanes]  # the shared stages have the first
    middle = (max(len(engines), 1) - 1) / 2
    at = {
        name: (depth[name] * (WIDE + gap), ROW * (lanes.index(name) if name in lanes else middle) + MARGIN)
        for name in depth
    }
    return at, ROW * len(lanes)


def _box(name: str, x: float, y: float, seconds: float | None) -> str:
    middle = f"{x + WIDE / 2:.0f}"
    text = f'<text x="{middle}" y="{y + (23 if seconds is None else 16):.0f}">{escape(name)}</text>'
    if seconds is not None:
        text += f'<text class="small" x="{middle}" y="{y + 30:.0f}">{seconds:.1f} s</text>'
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{WIDE}" height="{HIGH}" rx="6"/>{text}'
