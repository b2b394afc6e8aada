"""What a report on a simulation study should answer, item after item, and where it departs from the frozen plan.

Items: Morris, White & Crowther 2019 (ADEMP); Siepe et al. 2024 (planning, registration, failures, software).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lmm.core.words import as_cell, capital, counted, listed, percent
from lmm.recovery.deviations import deviations, digest, leaves
from lmm.recovery.grid import STATUSES, USABLE
from lmm.report.plan_page import before
from lmm.report.text import plan as text
from lmm.report.text import recovery
from lmm.results.replicated import Recovered, axis_name, axis_value

COMPUTED, AUTHOR, MISSING = "computed", "author", "needs an author's words"


class Item(NamedTuple):
    """An item of reporting, its answer, and where that comes from."""

    item: str
    answer: str
    source: str


def items(recovered: Recovered) -> list[Item]:
    """Every item with its answer."""
    parts = (sentence.split(": ", 1) for sentence in recovery.ademp(recovered))
    said = {part: capital(answer) for part, answer in parts}
    plan = recovered.settings.get("plan")
    found = [
        _words(plan, "aims", "Aims"),
        Item("Data-generating mechanisms", said["Data"], COMPUTED),
        _words(plan, "data", "Choice of mechanisms and values"),
        Item("Estimands", said["Estimands"], COMPUTED),
        Item("Methods", said["Methods"], COMPUTED),
        _words(plan, "methods", "Choice of methods"),
        Item("Performance measures", said["Performance"], COMPUTED),
        _words(plan, "measures", "Choice of measures"),
    ]
    if plan:
        found.append(Item("Number of replicates, with reason", " ".join(text.justified(plan)), COMPUTED))
    found += [Item("Monte Carlo errors reached", reached(recovered), COMPUTED)]
    found += [Item("Failures: number", failed(recovered), COMPUTED)]
    if plan:
        found += [
            Item("Failures: handling", text.failures(plan), COMPUTED),
            Item("Seeds", text.seeds(plan), COMPUTED),
            Item("Plan written beforehand", frozen(recovered), COMPUTED),
            Item("Deviations from the plan", departures(recovered), COMPUTED),
        ]
    return [
        *found,
        Item("Software", "Versions: at the end of this page, and in recovery/diagnostics.json.", COMPUTED),
        Item(
            "Code and data",
            "The configuration is in the appendix, the revision of the code on top of this page. The same "
            "configuration makes the same tables; make replay makes any replicate again.",
            COMPUTED,
        ),
        Item(
            "Results of all designs and methods",
            "The tables of performance above; all measures are in recovery/performance.csv.",
            COMPUTED,
        ),
        Item("Interpretation, and what it does not say", "Not answered by this report.", MISSING),
    ]


def _words(plan: Mapping[str, Any] | None, key: str, item: str) -> Item:
    """An item that only the author can answer."""
    said = text.words(plan, key) if plan else ""
    where = "aims" if key == "aims" else f"rationale.{key}"
    return Item(item, said, AUTHOR) if said else Item(item, f"Not stated (key: {where}).", MISSING)


def reached(recovered: Recovered) -> str:
    """The largest Monte Carlo standard errors of the measures that matter most."""
    found = []
    for measure, name in (("coverage", "coverage"), ("power", "power"), ("relative_bias", "relative bias")):
        rows = recovered.rows(measure)
        rows = rows[rows["effect"].isin(["fixed", "ran_pars"]) & rows["mcse"].notna()]
        if len(rows):
            found.append(f"{name} {percent(rows['mcse'].max())}")
    return f"Largest Monte Carlo standard errors: {listed(found)}." if found else "There are none."


def failed(recovered: Recovered) -> str:
    """How many fits could not be used; said where there are none, too."""
    counts = recovered.tables["failures"].groupby("status")["count"].sum()
    total = int(counts.sum())
    lost = {status: int(counts[status]) for status in STATUSES if status in counts and status not in USABLE}
    singular = int(counts.get("singular", 0))
    used = f" {counted(singular, 'fit was', 'fits were')} singular and used." if singular else ""
    if not lost:
        return f"None of {total:,} fits failed.{used}"
    number_lost = sum(lost.values())
    parts = listed([f"{count:,} {status}" for status, count in lost.items()])
    return (
        f"{number_lost:,} of {total:,} fits ({percent(number_lost / total, 2)}) were not used: {parts}.{used}"
    )


def frozen(recovered: Recovered) -> str:
    """When the plan was written."""
    record = recovered.plan
    if record is None:
        return "There is no plan.json."
    when = record["written"].replace("T", " ").replace("Z", " UTC")
    return f"{when}, {before(record)}; SHA-256 {record['sha256']} (recovery/plan.json, plan.html)."


def departures(recovered: Recovered) -> str:
    """Whether this run's plan is the one that was frozen."""
    if recovered.plan is None:
        return "Unknown: there is no plan.json."
    if not (found := changes(recovered)):
        return "None: this run's plan is the one that was written first."
    parts = listed(list(dict.fromkeys(part for part, *_ in found)))
    return (
        f"{counted(len(found), 'deviation')} ({parts}), listed below. This run's plan: SHA-256 "
        f"{digest(recovered.settings['plan'])}."
    )


def changes(recovered: Recovered) -> list[tuple[str, str, str, str]]:
    """Deviations from the plan: ADEMP's part, what, as planned, as carried out; in words.

    A design is described by what varies among all designs of both plans.
    """
    if recovered.plan is None or "plan" not in recovered.settings:
        return []
    first, now = recovered.plan["plan"], recovered.settings["plan"]
    designs = [*first["data"].get("designs", {}).values(), *now["data"].get("designs", {}).values()]
    flat = [dict(leaves(design)) for design in designs]
    paths = dict.fromkeys(path for design in flat for path in design)
    varied = [path for path in paths if len({str(design.get(path)) for design in flat}) > 1]

    def written(what: str, value: Any) -> str:
        if value is None:
            return "–"
        if what.startswith("designs."):
            own = dict(leaves(value))
            return ", ".join(
                f"{axis_name('__'.join(path))} {axis_value(own.get(path, 'none'))}" for path in varied
            )
        return "; ".join(str(as_cell(one)) for one in value) if isinstance(value, list) else axis_value(value)

    return [
        (
            part,
            "a design" if what.startswith("designs.") else what,
            written(what, planned),
            written(what, done),
        )
        for part, what, planned, done in deviations(first, now)
    ]


def summary(recovered: Recovered) -> dict[str, Any] | None:
    """The plan's hash and time, that of this run, and deviations, for summary.json; None without a plan."""
    if recovered.plan is None or "plan" not in recovered.settings:
        return None
    keys = ("part", "what", "planned", "done")
    return {key: recovered.plan[key] for key in ("sha256", "written", "chunks_before")} | {
        "sha256_of_this_run": digest(recovered.settings["plan"]),
        "deviations": [dict(zip(keys, found, strict=True)) for found in changes(recovered)],
    }
