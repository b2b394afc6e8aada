"""The page on all studies: one self-contained HTML file, and the same verdicts for machines.

Text, tables and figures come from their own modules; here they are put in order. The page carries its style sheet,
its scripts (DataTables, as itables bundles it, once) and its data: nothing is fetched from anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lmm.core.store import plain, read_json, write_json, write_text
from lmm.core.words import label, listed
from lmm.model.formula import unweighted
from lmm.report import adequacy, answer, graph, methods, references, search, sections
from lmm.report.page import assemble
from lmm.report.panels import panels
from lmm.report.tables import documents
from lmm.report.tables.paper import Paper
from lmm.report.text import quote
from lmm.report.verdicts import headline
from lmm.results import replicated as recovered
from lmm.results import searched as search_results
from lmm.results.study import Results, read


@dataclass(frozen=True)
class Page:
    """The rendered report.

    Attributes
    ----------
    html : str
    summary : dict
        Every verdict and headline number on it, as plain types.
    papers : tuple of Paper
        Its tables that are files, too.
    """

    html: str
    summary: dict[str, Any]
    papers: tuple[Paper, ...] = ()


def render(
    studies: Mapping[str, Mapping[str, Any]],
    paths: Mapping[str, Any],
    settings: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> Page:
    """The report on all studies.

    Parameters
    ----------
    studies : mapping
        Name -> settings as plain types: title, formula, engines, conf_level, configuration (the study's, validated).
    paths : mapping
        `<study>/<input>` -> path, inputs as `results.read` names them (for a study with replicates, which has
        `performance` among them, as `recovered.read` does, with a search, which has `answer`, as
        `search_results.read` does), and `<study>/figures`, the directory that `figures.write` filled.
    settings : mapping
        The report's: title.
    provenance : mapping
        As `report_provenance.collect` gives it.
    """
    read_studies, shown, headlines = [], [], {}
    for name, own in studies.items():
        mine = {
            key.removeprefix(f"{name}/"): path for key, path in paths.items() if key.startswith(f"{name}/")
        }
        directory = Path(str(mine["figures"]))
        if "performance" in mine:
            from lmm.report import recovery  # of simulation: slow to import, and most pages are on data

            results = recovered.read(name, own, mine)
            shown.append(recovery.study(results, _figures(directory), provenance))
            headlines[name] = recovery.headline(results)
        elif "answer" in mine:
            results = search_results.read(name, own, mine)
            shown.append(search.study(results, _figures(directory), provenance))
            headlines[name] = search.headline(results)
        else:
            results = read(name, own, mine)
            shown.append(_study(results, directory, provenance))
            headlines[name] = headline(results)
        read_studies.append(results)
    _share_data(shown)
    summary = plain(
        {
            "title": settings.get("title") or _headline(read_studies),
            "studies": headlines,
            "configuration": {name: own.get("configuration") for name, own in studies.items()},
            "provenance": {key: provenance[key] for key in ("rendered", "revision", "versions", "system")},
        }
    )
    html = assemble(
        "report.html.j2",
        title=summary["title"],
        studies=shown,
        provenance=provenance,
        bibtex=references.bibtex(references.used(read_studies)),
        references=references.formatted(references.used(read_studies)),
    )
    parts = [part for study in shown for part in study["sections"]]
    return Page(html, summary, tuple(one for part in parts for one in part["papers"]))


def _share_data(shown: list[dict[str, Any]]) -> None:
    """Refer to an earlier study's section on the data where a later one would say and show the same, in place."""
    seen: dict[tuple, tuple[str, str]] = {}
    for study in shown:
        for part in study["sections"]:
            figures = tuple((figure["alt"], figure["caption"]) for figure in part["figures"])
            content = (study.get("data_sources"), *part["text"], *part["points"], figures)
            if part["key"] == "data" and content in seen:
                part |= {"same": seen[content], "text": [], "points": [], "figures": []}
            elif part["key"] == "data":
                seen[content] = (study["name"], study["title"])


def _headline(studies: list) -> str:
    """What the report is about, if no title is given: a single study's title; a question where there is a truth."""
    if len(studies) == 1:
        return studies[0].title
    if any(
        isinstance(study, recovered.Recovered | search_results.Searched) or study.truth for study in studies
    ):
        return "Do the models recover the variances?"
    return "Linear mixed models by several engines"


def write(page: Page, html: str | Path, summary: str | Path, tables: str | Path | None = None) -> None:
    """Write the page, its verdicts and, to a directory of their own, its tables."""
    write_text(html, page.html)
    write_json(summary, page.summary)
    if tables is not None:
        documents.write(page.papers, tables)


def _figures(directory: Path) -> dict[str, dict[str, Any]]:
    about = read_json(directory / "figures.json")
    return {
        figure["name"]: figure
        | {
            "panels": list(
                map(Markup, panels((directory / f"{figure['name']}.svg").read_text(encoding="utf-8")))
            )
        }
        for figure in about
    }


def _groups(directory: Path) -> Markup:
    """Every group's detail as JSON that may stand in a script element."""
    text = (
        (directory / "groups.json").read_text(encoding="utf-8").strip()
        if (directory / "groups.json").exists()
        else "null"
    )
    return Markup(text.replace("<", "\\u003c"))


def _warnings(results: Results) -> list[tuple[str, str]]:
    """Warnings of the fits, each once, with the engines that gave it."""
    found: dict[str, list[str]] = {}
    for name, fit in results.fits.items():
        for text in fit.diagnostics.warnings:
            found.setdefault(text, []).append(label(name))
    return [(listed(engines), text) for text, engines in found.items()]


def _study(results: Results, directory: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    figures = _figures(directory)
    parts = sections.sections(results, figures)
    shown = ("variances",) if results.truth else ()
    return {
        "name": results.study,
        "title": results.title,
        "formula": unweighted(results.settings.get("formula", "")),
        "data_sources": tuple(results.data["sources"]),
        "answer": {
            "title": "Answer",
            "text": answer.sentences(results),
            "cards": answer.answers(results),
            "figures": [figures[name] for name in shown if name in figures],
        },
        "checks": adequacy.checks(results),
        "sections": [part for part in parts if not part["folded"]],
        "appendix": [part for part in parts if part["folded"]],
        "quote": quote.results_paragraph(results),
        "methods": methods.methods(results),
        **graph.provenance(results, graph.edges(results.fits), provenance["run_times"]),
        "groups": _groups(directory),
        "warnings": _warnings(results),
    }
