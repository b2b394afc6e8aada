"""What random effects or errors that are not normal do to the engines' results, in sentences."""

import pandas as pd

from lmm.core.parameters import spoken
from lmm.core.words import counted, label, listed, percent, with_error
from lmm.recovery.misspecified import SHAPES, paired, twins, unpaired
from lmm.report.text.recovery import ALLOWED
from lmm.results.replicated import Recovered, replicate_rows

NAMED = 3  # differences named in a sentence


def compared(recovered: Recovered) -> pd.DataFrame:
    """Every design of another shape beside its normal twin: see `misspecified.paired`."""
    pairs = twins(recovered.designs)
    if recovered.settings.get("record") == "sums" or recovered.replicates is None or not pairs:
        return unpaired(recovered.performance, pairs)
    return paired(replicate_rows(recovered, {*pairs, *pairs.values()}), pairs)


def said(recovered: Recovered) -> list[str]:
    """Whether coverage differs from that of the normal design, and where most; empty where all designs are normal."""
    designs = recovered.designs
    if not set(SHAPES) <= set(designs):
        return []
    other = designs[(designs[list(SHAPES)] != "normal").any(axis=1)]
    if not len(other):
        return []
    pairs, found = twins(designs), []
    alone = [design for design in other["design"] if design not in pairs]
    if alone:
        found.append(
            f"{counted(len(alone), 'design')} with effects or errors that are not normal "
            f"{'has' if len(alone) == 1 else 'have'} no normal design beside {'it' if len(alone) == 1 else 'them'}: "
            "add normal to the list to see what the shape does."
        )
    table = compared(recovered)
    for engine in recovered.engines if len(table) else ():
        found += _of_engine(recovered, table[table["engine"] == engine].dropna(subset="coverage_difference"))
    return found


def _of_engine(recovered: Recovered, rows: pd.DataFrame) -> list[str]:
    """How one engine's coverage differs between designs and their normal twins."""
    if not len(rows):
        return []
    rows = rows.merge(recovered.designs, on="design")
    clear = rows[rows["coverage_difference"].abs() > ALLOWED * rows["coverage_difference_mcse"]]
    start = (
        f"{label(rows['engine'].iloc[0])}: coverage differs from the normal design's by more than {ALLOWED} Monte "
        f"Carlo standard errors of the difference in {len(clear) or 'none'} of "
        f"{counted(len(rows), 'combination')} of design and term"
    )
    shown = clear if len(clear) else rows
    shown = shown.loc[shown["coverage_difference"].abs().sort_values(ascending=False, kind="stable").index]
    named = [
        f"{spoken(row['term'])} with {recovered.describe(row)}: {percent(row['coverage'])} instead of "
        f"{percent(row['coverage_normal'])} (difference "
        f"{with_error(100 * row['coverage_difference'], 100 * row['coverage_difference_mcse'])} percentage points)"
        for _, row in shown.head(NAMED if len(clear) else 1).iterrows()
    ]
    more = [f"{len(clear) - NAMED} more"] if len(clear) > NAMED else []
    return [f"{start}; the largest: {listed([*named, *more])}."]
