"""What is wrong with a run's fits, in one line each: singular, not converged, a failed gate, an error."""

import json
from collections.abc import Iterable
from pathlib import Path

WORDS = {
    "singular": "singular fit",
    "non-converged": "did not converge",
    "gate-failed": "failed its convergence gates",
    "error": "could not be fitted",
    "skipped": "skipped",
}


def problems(diagnostics: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """What has to be said of fits that did not end well.

    Parameters
    ----------
    diagnostics : iterable of (study, engine, path of its diagnostics.json)

    Returns
    -------
    list of (study, engine, what)
    """
    found = []
    for study, engine, path in diagnostics:
        fit = json.loads(Path(path).read_text())
        failed = [gate for gate in fit["gates"] if not gate["passed"]]
        gates = ", ".join(f"{gate['name']} {gate['value']} (limit {gate['limit']})" for gate in failed)
        if fit["status"] != "ok":
            said = [WORDS.get(fit["status"], fit["status"]), gates or fit["message"]]
            found.append((study, engine, ": ".join(filter(None, said))))
    return found
