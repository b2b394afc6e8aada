"""What is wrong with a run's fits, in one line each: singular, not converged, a failed gate, an error."""

import csv
import html
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

WORDS = {
    "singular": "singular fit",
    "unidentified": "variance parameters are not identified",
    "non-converged": "did not converge",
    "gate-failed": "failed its convergence gates",
    "error": "could not be fitted",
    "skipped": "skipped",
}
# Of replicates these are failures: a singular fit is a result of theirs, and a skipped one was left out on purpose.
FAILED = ("unidentified", "non-converged", "gate-failed", "error")
# Engines, designs and sentences that the console shows; failures.csv and the page have all of them.
NAMED = 6


def problems(endings: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """What has to be said of fits that did not end well.

    Parameters
    ----------
    endings : mapping
        `<study>/<engine>` to the path of its diagnostics.json, `<study>/replicates` to that of failures.csv,
        `<study>/search` to that of answer.json.

    Returns
    -------
    list of (study, engine or `replicates`, what)
    """
    found = []
    for name, path in endings.items():
        study, _, engine = name.partition("/")
        if engine == "replicates":
            found += [(study, engine, said) for said in [failed_replicates(path)] if said]
            continue
        fit = json.loads(Path(path).read_text())
        if engine == "search":
            if fit["status"] == "not reached":
                found.append((study, engine, "the target is not reached within the bounds"))
            continue
        failed = [gate for gate in fit["gates"] if not gate["passed"]]
        gates = ", ".join(f"{gate['name']} {gate['value']} (limit {gate['limit']})" for gate in failed)
        if fit["status"] != "ok":
            said = [WORDS.get(fit["status"], fit["status"]), gates or fit["message"]]
            found.append((study, engine, ": ".join(filter(None, said))))
    return found


def closing(studies: Iterable[str], endings: Mapping[str, str]) -> list[str]:
    """What a run ends with: the answers, fits that did not end well, and where pages and tables are.

    Parameters
    ----------
    studies : iterable of str
        Their names.
    endings : mapping
        As `problems` takes it; files that were not made are passed over.

    Returns
    -------
    list of str
        Lines.
    """
    results = Path("results")
    pages = {name: results / name / "report.html" for name in studies}
    summaries = {name: page.with_name("summary.json") for name, page in pages.items()}
    lines = [f"{name}: {said}" for name, path in summaries.items() if path.exists() for said in answer(path)]
    made = {key: path for key, path in endings.items() if Path(path).exists()}
    lines += [f"{study} {where}: {what}" for study, where, what in problems(made)]
    page, paper = results / "report.html", results / "report.pdf"
    shown = [page] if page.exists() else [own for own in pages.values() if own.exists()]
    lines += [f"Report: {own}" for own in shown]
    tables = [own.with_name("tables") for own in pages.values() if own.with_name("tables").exists()]
    if tables:
        lines.append(f"Tables: {tables[0] if len(tables) == 1 else results / '*/tables'}")
    if paper.exists() and page.exists() and paper.stat().st_mtime >= page.stat().st_mtime:
        lines.append(f"PDF: {paper}")
    return lines


def answer(path: str | Path) -> list[str]:
    """The sentences that a study's page begins with, without its markup.

    Parameters
    ----------
    path : str or Path
        A study's summary.json.
    """
    (study,) = json.loads(Path(path).read_text(encoding="utf-8"))["studies"].values()
    said = study.get("answer") or study.get("answers") or []
    plain = (html.unescape(re.sub(r"<[^>]*>", "", line)).replace("\xa0", " ") for line in said)
    return list(plain)[:NAMED]


def failed_replicates(path: str | Path) -> str:
    """How many replicates could not be fitted, by engine and design, the worst first; '' where all could.

    Parameters
    ----------
    path : str or Path
        recovery/failures.csv.
    """
    counts: dict[tuple[str, str], dict[str, int]] = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            own = counts.setdefault((row["engine"], row["design"]), {})
            own[row["status"]] = own.get(row["status"], 0) + int(row["count"])
    failed = {key: sum(own.get(status, 0) for status in FAILED) for key, own in counts.items()}
    worst = sorted((key for key in failed if failed[key]), key=lambda key: -failed[key])
    said = []
    for engine, design in worst[:NAMED]:
        own = counts[engine, design]
        how = ", ".join(f"{own[status]} {status}" for status in FAILED if status in own)
        share = f"{failed[engine, design]:,} of {sum(own.values()):,}"
        said.append(f"{engine} failed in {share} replicates of design {design} ({how})")
    if len(worst) > NAMED:
        left = sum(failed[key] for key in worst[NAMED:])
        said.append(f"and {left:,} fits more of {len(worst) - NAMED} other engines and designs")
    return "; ".join([*said, f"all of them are in {path}"] if said else [])
