"""The report's tables of influence, cross-validation, predictive checks and prior sensitivity."""

from functools import partial

import pandas as pd

from lmm.core.words import p_value
from lmm.report.tables.table import Column, Table, table
from lmm.report.text.criticism import any_group, text
from lmm.results.study import Results, natural


def _there(results: Results, name: str) -> pd.DataFrame | None:
    found = results.tables.get(name)
    return found if found is not None and len(found) else None


def influence(results: Results) -> Table | None:
    """Change of every estimate without each group, in standard errors; in its own unit where it has none."""
    frame = _there(results, "influence")
    if frame is None:
        return None
    frame = frame.assign(level=frame["level"].astype(str))
    parts, columns = {}, [Column("level", results.labels.column(results.group), False)]
    for term, mine in frame.groupby("term", sort=False):
        name = "standardised" if mine["standardised"].notna().any() else "change"
        parts[term] = mine.set_index("level")[name]
        columns.append(
            Column(
                term,
                results.titled(term) + " (change)" * (name != "standardised"),
                decimals=3,
                coarse=name == "standardised",
            )
        )
    wide = pd.DataFrame(parts)
    wide = wide.reindex(sorted(wide.index, key=natural)).reset_index(names="level")
    status = frame.drop_duplicates("level").set_index("level")["status"]
    if (status != "ok").any():
        wide["status"] = wide["level"].map(status)
        columns.append(Column("status", "Fit without it", False))
    what = any_group(results.one_of_several)
    note = f"reml without each {what}: change of every estimate in standard errors of the full fit."
    return table("influence", f"{note} In their units: reml/influence.parquet.", wide, columns)


def loo(results: Results) -> Table | None:
    """Log predictive density and Pareto k of every group."""
    frame = _there(results, "loo")
    if frame is None:
        return None
    frame = frame.assign(level=frame["level"].astype(str)).sort_values(
        "level", key=lambda column: column.map(natural)
    )
    about = results.notes["criticism"]["loo"]
    factor = about.get("group", "")
    columns = [
        Column("level", factor or results.group, False),
        Column("rows", "Rows", decimals=0),
        Column("elpd", "elpd", decimals=2),
        Column("p_loo", "p_loo", decimals=3),
        Column("pareto_k", "Pareto k", decimals=2, coarse=True),
    ]
    note = f"Each {any_group(factor)} predicted from all others: log predictive density (elpd), what knowing the "
    note += (
        f"{'level' if factor else 'group'} adds (p_loo), and Pareto k, reliable up to {about['good_k']:.2f}."
    )
    return table("loo", note, frame, columns)


def predictive(results: Results) -> Table | None:
    """Observed statistics with the intervals of replicated data."""
    frame = _there(results, "predictive")
    if frame is None:
        return None
    frame = frame.assign(about=[text(name) for name in frame["statistic"]])
    columns = [
        Column("about", "Statistic", False),
        Column("observed", "Observed", decimals=3),
        Column("mean", "Replicates: mean", decimals=3),
        Column("low", "Low", decimals=3),
        Column("high", "High", decimals=3),
        Column("p_value", "p", said=partial(p_value, least=1.0 / results.notes["criticism"]["replicates"])),
        Column("prior_low", "Prior: low", decimals=3),
        Column("prior_high", "Prior: high", decimals=3),
    ]
    note = (
        "Predictive checks: statistics of the data, and of data replicated from posterior and, where proper, "
    )
    note += "prior; "
    note += (
        f"Low and High: central {100 * results.conf_level:g} %; p: share of the replicates at least as large."
    )
    return table("predictive", note, frame, columns)


def sensitivity(results: Results) -> Table | None:
    """Power-scaling sensitivity of every estimate."""
    frame = _there(results, "sensitivity")
    if frame is None:
        return None
    frame = frame.assign(verdict=frame["diagnosis"].fillna("").replace("", "✓"))
    columns = [
        Column("term", "Term", False, said=results.titled),
        Column("prior", "To the prior", decimals=3),
        Column("likelihood", "To the likelihood", decimals=3),
        Column("verdict", "Diagnosis", False),
    ]
    note = "Sensitivity to a power of prior and likelihood (Kallioinen et al. 2024); above 0.05 there is one."
    return table("sensitivity", note, frame, columns)
