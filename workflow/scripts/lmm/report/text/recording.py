"""What a study with replicates kept of them, and where its replicates ended, in sentences."""

from collections.abc import Mapping
from typing import Any

from lmm.core.words import counted, listed
from lmm.recovery.plan import KEPT
from lmm.recovery.until import judged
from lmm.results.replicated import Recovered

COMPILED = (
    "Recorded: fixed effects, standard deviations and correlations, by the compiled path of OLS and reml. "
    "Intervals of standard deviations and correlations are Wald's; group effects and variance explained are not "
    "computed."
)
MEASURES = {
    "type_1_error": "Type I error", "relative_bias": "relative bias", "empirical_se": "the empirical SE",
    "model_se": "the model-based SE", "rmse": "the RMSE", "width": "interval width",
}  # fmt: skip


def said(recovered: Recovered) -> list[str]:
    """What is kept where it is not everything, and how many replicates it took where that was left open."""
    record, until = recovered.settings.get("record", "full"), recovered.settings.get("until") or []
    found = [COMPILED] if record != "full" else []
    if record == "sums":
        found.append(
            f"Only performance measures are kept, and the first {KEPT:,} replicates of each design: those are in "
            "replicates.parquet and in figures of single replicates. Bias-eliminated coverage is not computed."
        )
    if not until:
        return found
    table = recovered.tables["performance"]
    ends = table.groupby("design")["n_replicates"].max()
    met = judged(table, until).groupby("design")["met"].all()
    low, high = int(ends.min()), int(ends.max())
    took = f"after {low:,} replicates" if low == high else f"after {low:,} to {high:,} replicates"
    found.append(
        f"Replicates of a design ended with the first batch after which its Monte Carlo errors were small enough "
        f"({listed([wanted(criterion) for criterion in until])}), {took}. {_met(int(met.sum()), len(met))}"
    )
    return found


def wanted(criterion: Mapping[str, Any]) -> str:
    """A Monte Carlo error to reach: `coverage of reml of x at most 0.005`."""
    of = " ".join(f"of {criterion[key]}" for key in ("engine", "term") if criterion.get(key))
    name = MEASURES.get(criterion["measure"], criterion["measure"])
    return " ".join(filter(None, [name, of, f"at most {criterion['mcse']:g}"]))


def _met(count: int, designs: int) -> str:
    if count == designs:
        return "Every design met this." if designs > 1 else "The design met this."
    return f"{count} of {counted(designs, 'design')} met this; the others stopped at the most replicates allowed."
