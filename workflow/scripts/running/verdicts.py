"""What is wrong with a run's fits, in one line each: singular, not converged, a failed gate, an error."""

import csv
import json
from collections.abc import Mapping
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
# Engines and designs that a message names; failures.csv has all of them.
NAMED = 6


def problems(endings: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """What has to be said of fits that did not end well.

    Parameters
    ----------
    endings : mapping
        `<study>/<engine>` to the path of its diagnostics.json, `<study>/replicates` to that of failures.csv.

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
        failed = [gate for gate in fit["gates"] if not gate["passed"]]
        gates = ", ".join(f"{gate['name']} {gate['value']} (limit {gate['limit']})" for gate in failed)
        if fit["status"] != "ok":
            said = [WORDS.get(fit["status"], fit["status"]), gates or fit["message"]]
            found.append((study, engine, ": ".join(filter(None, said))))
    return found


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
