"""The report's part on a study with replicates: verdict cards, sections, tables, headline numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lmm.core import engines
from lmm.core.parameters import titled
from lmm.core.words import fixed, label, listed, p_said, p_value, share
from lmm.report import graph
from lmm.report.card import Card
from lmm.report.tables import recovery as tables
from lmm.report.text import calibration, recording, reporting, shapes
from lmm.report.text import recovery as text
from lmm.results.replicated import Recovered, quantity_name

# Of shortfall of coverage, relative bias, failure rate, beyond `text.ALLOWED` Monte Carlo standard errors: to look
# at, and bad
LIMITS = {
    "coverage": (text.NEAR, 0.1),
    "ranef_coverage": (text.NEAR, 0.1),
    "relative_bias": (0.05, 0.25),
    "failure_rate": (0.05, 0.2),
}
TONES = ("good", "warn", "bad")


def answer(recovered: Recovered) -> list[str]:
    """The plain answer: calibration first where the study is about it."""
    first = calibration.said(recovered) if "calibration" in recovered.tables else []
    return [*first, *text.answers(recovered)]


def cards(recovered: Recovered) -> list[Card]:
    """A card for each engine, and one for calibration."""
    found = [_engine(recovered, engine) for engine in recovered.engines]
    return [_calibration(recovered), *found] if "calibration" in recovered.tables else found


def worst(recovered: Recovered, engine: str, measure: str) -> pd.Series | None:
    """The row of an engine's measure that is furthest off: lowest coverage, largest bias, highest failure rate."""
    rows = recovered.rows(measure, engine=engine)
    if engines.belongs(engine, engines.POOLED):
        rows = rows[rows["effect"] != "ran_pars"]  # its residual sd is of another model
    rows = rows[rows["effect"] != "explained"]
    if measure == "relative_bias":
        rows = rows[recovered.far_from_zero(rows)]
    if not len(rows):
        return None
    value = rows["estimate"].abs() if measure == "relative_bias" else rows["estimate"]
    return rows.loc[value.idxmin() if measure.endswith("coverage") else value.idxmax()]


def _tone(recovered: Recovered, measure: str, row: pd.Series | None) -> str:
    if row is None:
        return "plain"
    size = recovered.conf_level - row["estimate"] if measure.endswith("coverage") else abs(row["estimate"])
    size -= text.ALLOWED * np.nan_to_num(row["mcse"])
    return TONES[sum(size > limit for limit in LIMITS[measure])]


def _engine(recovered: Recovered, engine: str) -> Card:
    lines, tones = [], []
    said = {
        "coverage": "lowest coverage {} ({})",
        "ranef_coverage": "lowest coverage of group effects {} ({})",
        "relative_bias": "largest bias {} ({})",
        "failure_rate": "{} of fits not usable{}",
    }
    rows = {measure: worst(recovered, engine, measure) for measure in said}
    covered = [name for name in ("coverage", "ranef_coverage") if rows[name] is not None]
    covered.sort(key=lambda name: rows[name]["estimate"])  # the card's value is that of its first line
    for measure in (*covered, "relative_bias", "failure_rate"):
        row, words = rows[measure], said[measure]
        if row is None:
            continue
        value = share(row["estimate"], row["mcse"])
        if measure == "failure_rate" and row["estimate"] == 0:
            lines.append(("plain", "all fits usable"))
            continue
        where = f", {recovered.describe(row)}" if recovered.axes else ""
        tones.append(_tone(recovered, measure, row))
        place = f" at most{where}" if recovered.axes else ""
        place = f"{titled(row['term'])}{where}" if measure != "failure_rate" else place
        lines.append((tones[-1] if tones[-1] != "good" else "plain", words.format(value, place)))
    least = rows[covered[0]]["estimate"] if covered else None
    value = "no intervals" if least is None else f"covers {fixed(100 * least, 1)} % at worst"
    tone = max(tones, key=TONES.index) if tones else "plain"
    return Card(f"recovery-{engine}", tone, f"{label(engine)}: recovered?", value, tuple(lines))


def _calibration(recovered: Recovered) -> Card:
    bayes = listed([label(name) for name in engines.of_family(recovered.engines, engines.BAYES)])
    verdicts = recovered.tables["calibration"]
    judged = verdicts[verdicts["verdict"] != "too few"]
    wrong = judged[judged["verdict"] == "not calibrated"]
    if not len(judged):
        return Card("calibration", "warn", f"Is {bayes} calibrated?", "too few replicates")
    lines = [("bad", f"{quantity_name(row.quantity)}: {row.finding}") for row in wrong.head(3).itertuples()]
    if not lines:
        low = judged.loc[judged["p_adjusted"].idxmin()]
        lines = [
            (
                "plain",
                f"smallest adjusted {p_said(p_value(low['p_adjusted']))} ({quantity_name(low['quantity'])})",
            )
        ]
    value = f"{len(judged) - len(wrong)} of {len(judged)} quantities"
    return Card(
        "calibration", "bad" if len(wrong) else "good", f"Is {bayes} calibrated?", value, tuple(lines)
    )


def sections(recovered: Recovered, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The study's sections in the form that the report's template takes."""
    measures = ("summary", "bias", "coverage", "rmse", "grid", "zip")
    effects = [tables.ranef(recovered), tables.explained(recovered)]
    performance = [tables.performance(recovered), tables.methods(recovered)]
    plan = [tables.reporting(recovered), tables.deviations(recovered), tables.designs(recovered)]
    beside = shapes.said(recovered)
    made = [
        ("performance", "Performance by design, term and engine", [], performance, measures),
        ("shapes", "Random effects or errors that are not normal", beside, [tables.misspecified(recovered)], ()),
        ("effects", "Group effects and variance explained", text.effects(recovered), effects, ()),
        ("failures", "How the fits ended", text.failures(recovered), [tables.endings(recovered)], ("endings",)),
        ("aims", "Plan and reporting (ADEMP)", recording.said(recovered), plan, ()),
    ]  # fmt: skip
    if "calibration" in recovered.tables:
        blocks = [tables.verdicts(recovered)]
        made.insert(0, ("calibration", "Ranks of the true values", [], blocks, ("calibration",)))
    return [
        {"key": key, "title": title, "text": [], "points": said, "footer": "", "papers": [],
         "tables": [block for block in blocks if block is not None],
         "figures": [figures[name] for name in names if name in figures]}
        for key, title, said, blocks, names in made
        if said or key in ("performance", "calibration", "aims")
    ]  # fmt: skip


def headline(recovered: Recovered) -> dict[str, Any]:
    """Verdicts and headline numbers as plain types, for summary.json."""
    numbers: dict[str, Any] = {}
    for engine in recovered.engines:
        found = {measure: worst(recovered, engine, measure) for measure in LIMITS}
        numbers[engine] = {
            measure: {name: row[name] for name in ("estimate", "mcse", "term", "design")}
            for measure, row in found.items()
            if row is not None
        }  # fmt: skip
    verdicts = recovered.tables.get("calibration")
    return {
        "title": recovered.title,
        "formula": recovered.settings.get("formula"),
        "conf_level": recovered.conf_level,
        "replicates": recovered.n_replicates,
        "designs": len(recovered.designs),
        "cards": [card.plain() for card in cards(recovered)],
        "answers": text.answers(recovered),
        "plan": reporting.summary(recovered),
        "worst": numbers,
        "calibration": None
        if verdicts is None
        else dict(zip(verdicts["quantity"], verdicts["verdict"], strict=True)),
    }


def study(recovered: Recovered, figures: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What the report's template needs of the study, in the form that it has for studies without replicates."""
    steps = ["performance", "calibration"] if "calibration" in recovered.tables else ["performance"]
    pairs = [("replicates", step) for step in steps] + [(step, "figures") for step in steps]
    return {
        "name": recovered.study,
        "title": recovered.title,
        "formula": recovered.settings.get("formula", ""),
        "answer": {
            "title": "Answer",
            "points": True,
            "text": answer(recovered),
            "cards": cards(recovered),
            "figures": [],
        },
        "checks": [],
        "sections": sections(recovered, figures),
        "appendix": [],
        "quote": "",
        "methods": text.methods(recovered),
        **graph.provenance(recovered, [*pairs, ("figures", "report")], provenance["run_times"]),
        "groups": "null",
        "warnings": [],
    }
