"""The report's part on a study with a search: answer, curve, tables, headline numbers."""

from collections.abc import Mapping
from typing import Any

from lmm.report import graph
from lmm.report.card import Card
from lmm.report.tables import search as tables
from lmm.report.text import search as text
from lmm.results.searched import Searched


def card(searched: Searched) -> Card:
    """The answer as a card."""
    found = searched.scenarios[0]
    name = text.NAMES[searched.answer["measure"]]
    tone = "bad" if found["status"] == "not reached" else "good" if found["exact"] else "warn"
    shown = "not within the bounds" if tone == "bad" else text.size(searched, found)
    lines = [("plain", f"{name} {text.value(searched, found['value'])}")]
    if tone != "bad":
        lines.insert(
            0, ("plain", f"interval {text.interval(searched, found)} {text.plural(searched, searched.first)}")
        )
    return Card("search", tone, f"How many for {text.target(searched)}?", shown, tuple(lines))


def sections(searched: Searched, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sections of the study in the form that the report's template takes."""
    made = [
        ("search", "Simulated designs", [], [tables.designs(searched), tables.frontier(searched)], ("cost",)),
        ("null", "Type I error", text.null(searched), [tables.null(searched)], ()),
    ]  # fmt: skip
    return [
        {"key": key, "title": title, "text": said, "points": [], "footer": "", "papers": [],
         "tables": [block for block in blocks if block is not None],
         "figures": [figures[name] for name in names if name in figures]}
        for key, title, said, blocks, names in made
        if key == "search" or said
    ]  # fmt: skip


def headline(searched: Searched) -> dict[str, Any]:
    """Verdicts and headline numbers as plain types, for summary.json."""
    return {
        "title": searched.title,
        "formula": searched.settings.get("formula"),
        "conf_level": searched.conf_level,
        "cards": [card(searched).plain()],
        "answers": text.answers(searched),
        "search": searched.answer,
    }


def study(searched: Searched, figures: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What the report's template needs of the study, in the form that it has for other studies."""
    pairs = [("search", "figures"), ("figures", "report")]
    if not searched.settings.get("simulate", True):
        pairs = [("data", "moments"), ("moments", "search"), *pairs]
    return {
        "name": searched.study,
        "title": searched.title,
        "formula": searched.settings.get("formula", ""),
        "answer": {
            "title": "Answer",
            "text": text.answers(searched),
            "cards": [card(searched)],
            "figures": [figures[name] for name in ("curve",) if name in figures],
        },
        "checks": [],
        "sections": sections(searched, figures),
        "appendix": [],
        "quote": "",
        "methods": text.methods(searched),
        **graph.provenance(searched, pairs, provenance["run_times"]),
        "groups": "null",
        "warnings": [],
    }
