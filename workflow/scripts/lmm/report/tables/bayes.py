"""Tables of the Bayesian fit: posterior, gates, priors."""

import pandas as pd

from lmm.core.words import gate, given, listed, number, shortened
from lmm.report.tables.table import Column, Table, table
from lmm.results.study import Results


def posterior(results: Results) -> Table | None:
    """The summary of what was sampled."""
    frame = results.fits[results.bayes].parameters
    keys = zip(frame["group"], frame["term"], strict=True)
    frame = frame.assign(term=[results.name_of(*key) for key in keys])
    names = ["estimate", "median", "sd", "mad", "q5", "q95", "rhat", "ess_bulk", "ess_tail", "mcse_mean"]
    titles = ["Mean", "Median", "SD", "MAD", "q5", "q95", "R-hat", "ESS bulk", "ESS tail", "MCSE"]
    places = {"rhat": 4, "ess_bulk": 0, "ess_tail": 0, "mcse_mean": 5}
    columns = [Column("term", "Term", False, said=results.titled)] + [
        Column(name, title, decimals=places.get(name, 3)) for name, title in zip(names, titles, strict=True)
    ]
    if results.truth:
        columns.append(Column("truth", "True value", decimals=3))
    note = (
        "Posterior: mean, quantiles and sampling diagnostics. MCSE: Monte Carlo error of the mean. A fixed "
        "effect's mean is that of its exact conditional means, which differ by less than its draws."
    )
    return table("posterior", note, frame, columns)


def gates(results: Results) -> Table | None:
    """Every gate: value, limit, verdict."""
    recorded = results.fits[results.bayes].diagnostics.gates
    frame = pd.DataFrame(
        [
            {
                "name": g["name"],
                "value": gate(g["value"], g["limit"]),
                "limit": given(g["limit"]),
                "passed": "✓ passed" if g["passed"] else "✗ failed",
            }
            for g in recorded
        ]
    )
    columns = [
        Column("name", "Gate", False),
        Column("value", "Value", False),
        Column("limit", "Limit", False),
        Column("passed", "Verdict", False),
    ]
    return table("gates", "Convergence gates (Vehtari et al. 2021).", frame, columns)


def priors(results: Results) -> Table | None:
    """The priors, with the numbers that defaults stood for."""
    recorded = results.fits[results.bayes].diagnostics.summary.get("priors") or []
    if isinstance(recorded, dict):
        recorded = [{"parameter": name, "prior": text} for name, text in recorded.items()]
    columns = [Column("parameter", "Parameter", False, said=results.titled), Column("prior", "Prior", False)]
    note = "Priors, numbers to four digits; in full: pymc/diagnostics.json."
    if any(row.get("at") for row in recorded):
        columns.append(Column("at", "Applies", False))
    if centres := results.fits[results.bayes].diagnostics.summary.get("prior_centres"):
        means = [f"{results.labels.term(name)} {number(value, 4)}" for name, value in centres.items()]
        note += f" Means of the predictors: {listed(means)}."
    rows = [
        row | {"prior": shortened(row["prior"]), "parameter": results.prior_name(row)} for row in recorded
    ]
    return table("priors", note, pd.DataFrame(rows), columns)
