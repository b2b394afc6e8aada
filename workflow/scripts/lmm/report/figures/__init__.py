"""The figures of a study: which there are, drawing them, writing them.

A figure function takes the study's `Results` and `Fitted` and returns a `Drawing`; each is in its subject's
module. A new figure is one function and one line in `FIGURES`.
"""

import json
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lmm.core import engines as catalogue
from lmm.core.store import write_json, write_text
from lmm.report.figures import comparison, criticism, diagnostics, multiples, prior, ranef, rows
from lmm.report.figures.detail import detail
from lmm.report.figures.fits import Fitted
from lmm.report.figures.style import Drawing, note
from lmm.report.figures.svg import to_svg
from lmm.report.text.criticism import left_out
from lmm.report.text.fits import rounding
from lmm.results.labels import INTERCEPT
from lmm.results.study import Results, read


def effects(results: Results, fitted: Fitted) -> Drawing:
    """`predictors.effects`, imported when it is drawn: its reference grid needs formulaic."""
    from lmm.report.figures import predictors

    return predictors.effects(results, fitted)


FIGURES = {
    "groups": multiples.groups,
    "pooled": rows.pooled,
    "residuals": diagnostics.residuals,
    "influence": criticism.influence,
    "traces": diagnostics.traces,
    "ranks": diagnostics.ranks,
    "priors": prior.priors,
    "predictive": criticism.predictive,
    "prior_predictive": criticism.prior_predictive,
    "loo": criticism.loo,
    "variances": comparison.variances,
    "effects": effects,
    "caterpillar": ranef.caterpillar,
    "differences": ranef.differences,
    "shrinkage": ranef.shrinkage,
}


# Of the rows: they need the model matrix, and with it formulaic, which takes a third of a second to import.
BY_ROWS = ("groups", "pooled", "residuals", "effects")
# Of one grouping factor: where there are several, there is one of each, `caterpillar-1` and so on.
BY_FACTOR = ("groups", "influence", "caterpillar", "differences", "shrinkage")


@dataclass(frozen=True)
class Figure:
    """A finished figure: the SVG's text, and what the report says with it."""

    name: str
    title: str
    caption: str
    alt: str
    width: float
    svg: str
    first: int = 0

    @classmethod
    def of(cls, drawing: Drawing, study: str, name: str) -> "Figure":
        """A drawing as the study's figure of a name."""
        width = round(drawing.canvas.get_figwidth() * 72, 1)
        svg = to_svg(drawing, f"{study}-{name}")
        return cls(name, drawing.title, drawing.caption, drawing.alt, width, svg, drawing.first)


def names(settings: Mapping[str, Any], factors: int = 1) -> list[str]:
    """The figures that a study has, known before its results.

    Parameters
    ----------
    settings : mapping
        `engines`: the names of the study's engines (a mapping or a list).
    factors : int
        Number of grouping factors.

    Returns
    -------
    list of str
        results/<study>/figures/<name>.svg, in the report's order; with a number behind where a figure is of one of
        several grouping factors.
    """
    engines = list(settings["engines"])
    mixed = catalogue.mixed(engines)
    wanted = ["groups", "pooled"]
    wanted += ["residuals"] if engines else []
    wanted += ["influence"] if catalogue.first(engines, catalogue.EXACT) else []
    if catalogue.first(engines, catalogue.BAYES):
        wanted += ["traces", "ranks", "priors", "predictive", "prior_predictive", "loo"]
    wanted += ["variances", "effects"] if engines else []
    wanted += ["caterpillar", "shrinkage"] if mixed else []
    wanted += ["differences"] if len(mixed) > 1 else []
    found = [name for name in FIGURES if name in wanted]
    if factors == 1:
        return found
    return [
        own
        for name in found
        for own in ([f"{name}-{k + 1}" for k in range(factors)] if name in BY_FACTOR else [name])
    ]


@dataclass(frozen=True)
class Drawn:
    """All that a study's report shows beside tables: figures by name, and every group's detail (`detail.detail`)."""

    figures: dict[str, Figure]
    groups: dict[str, Any] | None


def draw(study: str, settings: Mapping[str, Any], paths: Mapping[str, Any], processes: int = 1) -> Drawn:
    """Draw every figure of a study.

    Parameters
    ----------
    study : str
    settings, paths : mapping
        As `results.read` takes them.
    processes : int
        More than one: the figures of rows by this process, the others by a copy of it, where the system can copy one.

    Returns
    -------
    Drawn
        Exactly the figures of `names`; one that the results do not allow says so in its place.
    """
    results = read(study, settings, paths)
    fitted = Fitted(results)
    wanted = names(settings, len(results.groups))
    finish = partial(_finish, results=results, fitted=fitted)
    rows = [name for name in wanted if name.partition("-")[0] in BY_ROWS]
    others = partial(_drawn, finish, [name for name in wanted if name not in rows])
    collect = _aside(others) if processes > 1 and hasattr(os, "fork") else others
    drawn = _drawn(finish, rows)
    details = detail(results, fitted) if len(results.groups) == 1 else None
    drawn |= collect()
    return Drawn({name: drawn[name] for name in wanted}, details)


def _drawn(finish: Callable[[str], Figure], wanted: list[str]) -> dict[str, Figure]:
    return {name: finish(name) for name in wanted}


def _aside(work: Callable[[], dict[str, Figure]]) -> Callable[[], dict[str, Figure]]:
    """Begin in a copy of this process, which ends with its pipe whatever becomes of us; returns what collects."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        try:
            os.close(read_end)
            with os.fdopen(write_end, "wb") as pipe:
                pickle.dump(work(), pipe)
        finally:  # never the parent's way out
            os._exit(0)
    os.close(write_end)

    def collect() -> dict[str, Figure]:
        with os.fdopen(read_end, "rb") as pipe:
            try:
                found = pickle.load(pipe)
            except EOFError:  # it failed: the same error here, where it is seen
                found = work()
        os.wait()
        return found

    return collect


def _finish(name: str, results: Results, fitted: Fitted) -> Figure:
    kind, _, number = name.partition("-")
    if number:
        results = results.by_factor[int(number) - 1]
        fitted = Fitted(results)
    missing = _missing(kind, results, fitted)
    drawing = note(missing) if missing else FIGURES[kind](results, fitted)
    if number:  # no group can be pointed at: the page has the detail of one factor's groups
        drawing = replace(drawing, title=f"{drawing.title} ({results.labels.column(results.group)})", hits=())
    return Figure.of(drawing, results.study, name)


def _missing(name: str, results: Results, fitted: Fitted) -> str:
    """Why a figure cannot be drawn from these results; empty if it can."""
    if name in ("caterpillar", "shrinkage") and not results.mixed:
        return "No engine estimated random effects."
    if name == "differences" and (results.pair is None or "ranef_differences" not in results.tables):
        return "There are no two engines with random effects to compare."
    if name == "differences" and (same := rounding(results)):
        return same
    if name in ("traces", "ranks", "priors") and not results.draws:
        return "There is no posterior: the fit did not end."
    if name == "ranks" and results.one_chain:
        return "There is one chain, and no other to compare it with."
    if name == "influence" and not len(results.tables.get("influence", ())):
        why = results.notes.get("influence_about", {}).get("left_out")
        return f"The influence of each group is left out: {why or 'there is no table of it'}."
    if name in ("predictive", "prior_predictive", "loo"):
        table = results.tables.get("loo" if name == "loo" else "predictive", ())
        why = left_out(results, name)
        if why or not len(table):
            return f"This check of the Bayesian fit is left out: {why or 'there is no table of it'}."
    if name == "effects":
        if results.leading is None:
            return "No engine has estimates."
        if set(results.fixed(results.leading)) <= {INTERCEPT}:
            return "The fixed part has no predictors."
        return "" if results.rows is not None else "The rows were too many to copy."
    if name == "groups" and results.rows is None and not results.mixed:
        return "The rows were too many to copy, and no engine estimated random effects."
    return ""


def write(drawn: Drawn, directory: str | Path) -> None:
    """Write `<name>.svg`, figures.json (name, title, caption, alt, width, first) and groups.json into `directory`."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    for figure in drawn.figures.values():
        write_text(Path(directory) / f"{figure.name}.svg", figure.svg)
    about = [
        {key: value for key, value in asdict(figure).items() if key != "svg"}
        for figure in drawn.figures.values()
    ]
    write_json(Path(directory) / "figures.json", about)
    write_text(
        Path(directory) / "groups.json",
        json.dumps(drawn.groups, separators=(",", ":"), ensure_ascii=False) + "\n",
    )
