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
from lmm.model.formula import parse
from lmm.report.figures import comparison, criticism, diagnostics, multiples, predictors, prior, ranef, rows
from lmm.report.figures.detail import detail
from lmm.report.figures.fits import Fitted
from lmm.report.figures.style import Drawing, note
from lmm.report.figures.svg import to_svg
from lmm.report.text.criticism import left_out
from lmm.report.text.fits import rounding
from lmm.results.study import Results, read

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
    "effects": predictors.effects,
    "caterpillar": ranef.caterpillar,
    "differences": ranef.differences,
    "shrinkage": ranef.shrinkage,
}


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


def names(settings: Mapping[str, Any]) -> list[str]:
    """The figures that a study has, known from its settings alone.

    Parameters
    ----------
    settings : mapping
        `engines`: the names of the study's engines (a mapping or a list); `formula`.

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
    count = len(parse(settings["formula"]).factors) if "formula" in settings else 1
    if count == 1:
        return found
    return [
        own
        for name in found
        for own in ([f"{name}-{k + 1}" for k in range(count)] if name in BY_FACTOR else [name])
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
        More than one: two figures are drawn at a time, where the system can copy a process.

    Returns
    -------
    Drawn
        Exactly the figures of `names(settings)`; one that the results do not allow says so in its place.
    """
    results = read(study, settings, paths)
    fitted = Fitted(results)
    wanted = names(settings)
    finish = partial(_finish, results=results, fitted=fitted)
    drawn = _by_two(finish, wanted) if processes > 1 and hasattr(os, "fork") else list(map(finish, wanted))
    details = detail(results, fitted) if len(results.groups) == 1 else None
    return Drawn(dict(zip(wanted, drawn, strict=True)), details)


def _by_two(finish: Callable[[str], Figure], wanted: list[str]) -> list[Figure]:
    """Every second figure drawn by a copy of this process, which ends with its pipe whatever becomes of us."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        try:
            os.close(read_end)
            with os.fdopen(write_end, "wb") as pipe:
                pickle.dump([finish(name) for name in wanted[1::2]], pipe)
        finally:  # never the parent's way out
            os._exit(0)
    os.close(write_end)
    mine = [finish(name) for name in wanted[::2]]
    with os.fdopen(read_end, "rb") as pipe:
        try:
            others = pickle.load(pipe)
        except EOFError:  # it failed: the same error here, where it is seen
            others = [finish(name) for name in wanted[1::2]]
    os.wait()
    return [(mine, others)[k % 2][k // 2] for k in range(len(wanted))]


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
    if name in ("traces", "ranks", "priors") and results.posterior is None:
        return "There is no posterior: the fit did not end."
    if name == "ranks" and results.posterior["posterior"].sizes["chain"] == 1:
        return "There is one chain, and no other to compare it with."
    if name == "influence" and not len(results.tables.get("influence", ())):
        why = (results.notes.get("influence_about") or {}).get("left_out")
        return f"The influence of each group is left out: {why or 'there is no table of it'}."
    if name in ("predictive", "prior_predictive", "loo"):
        table = results.tables.get("loo" if name == "loo" else "predictive", ())
        why = left_out(results, name)
        if why or not len(table):
            return f"This check of the Bayesian fit is left out: {why or 'there is no table of it'}."
    if name == "effects":
        return predictors.missing(results, fitted)
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
