"""Replicates until Monte Carlo errors are small enough: batches with fixed ends, judged design by design.

A design ends at the first end at which it meets every criterion. Ends do not depend on chunks, cores or the other
designs, so the result does not either.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lmm.recovery.performance import PROPORTIONS, Targets, needed
from lmm.recovery.plan import BLOCK

FIRST = 500  # replicates of the first batch
SHARES = (1.0, 1.5)  # of each power of two: an end is at most half as far again as the one before


def ends(at_most: int, summed: bool = False) -> list[int]:
    """Fixed ends of batches, the last one `at_most`: 500, 1000, 1500, 2000, 3000, 4000, 6000, ...

    Parameters
    ----------
    at_most : int
        The last end.
    summed : bool
        Only multiples of `plan.BLOCK`, whose sums are kept together.

    Returns
    -------
    list of int
    """
    found, size = [FIRST], 2 * FIRST
    while size < at_most:
        found += [round(size * share) for share in SHARES]
        size *= 2
    return [end for end in found if end < at_most and not (summed and end % BLOCK)] + [at_most]


def judged(performance: pd.DataFrame, criteria: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The row of each design and criterion that is furthest from it.

    A proportion of 0 or 1 has an MCSE of 0, which says that n is small: see `performance.needed`.

    Parameters
    ----------
    performance : DataFrame
        Of `performance.performance`.
    criteria : sequence of mappings
        measure, mcse, perhaps engine and term.

    Returns
    -------
    DataFrame
        design, measure, limit, engine, term, mcse, n_used, n_needed, met. A criterion without any estimate (its
        measure is not defined) is not met.
    """
    rows = []
    usable = performance[performance["subset"] == "usable"]
    for criterion in criteria:
        own = usable[usable["measure"] == criterion["measure"]]
        for key in ("engine", "term"):
            if criterion.get(key) is not None:
                own = own[own[key] == criterion[key]]
        own = own[own["estimate"].notna()]
        limit = criterion["mcse"]
        for design in performance["design"].unique():
            mine = own[own["design"] == design]
            row = {"design": design, "measure": criterion["measure"], "limit": limit}
            if not len(mine):
                rows.append(
                    row
                    | {"engine": criterion.get("engine", ""), "term": criterion.get("term", ""), "met": False}
                )
                continue
            if criterion["measure"] in PROPORTIONS:
                arrays = (mine[name].to_numpy() for name in ("estimate", "mcse", "n_used", "truth"))
                wanted = needed(criterion["measure"], *arrays, Targets(proportion=limit))
            else:
                wanted = mine["n_used"].to_numpy() * (mine["mcse"].to_numpy() / limit) ** 2
            at = int((wanted / mine["n_used"].to_numpy()).argmax())
            worst = mine.iloc[at]
            row |= {name: worst[name] for name in ("engine", "term", "mcse", "n_used")}
            rows.append(row | {"n_needed": float(wanted[at]), "met": bool(wanted[at] <= worst["n_used"])})
    return pd.DataFrame(rows)
