"""A search in sentences: the answer, the test at the null, other truths, failures, methods: all from results."""

from typing import Any

from lmm.core.parameters import spoken
from lmm.core.words import (
    capital,
    counted,
    fixed,
    given,
    label,
    listed,
    number,
    percent,
    plural_of,
    share,
    with_error,
)
from lmm.results.searched import Searched, Size

NAMES = {"power": "power", "coverage": "coverage", "rmse": "RMSE", "interval_width": "mean interval width"}
PLURALS = {"groups": "groups", "rows_per_group": "rows per group", "rows": "rows"}
MODELS = {
    "power": "a monotone probit regression on the root of the sample size",
    "coverage": "a monotone probit regression on the inverse of the sample size",
    "rmse": "a monotone regression of its logarithm on that of the sample size",
    "interval_width": "a monotone regression of its logarithm on that of the sample size",
}
ALLOWED = 3  # Monte Carlo standard errors that a Type I error may be above nominal


def value(searched: Searched, estimate: float, digits: int = 1) -> str:
    """A value of the measure: `80.5 %`, or a number in the response's unit."""
    return percent(estimate, digits) if searched.proportion else number(estimate)


def target(searched: Searched) -> str:
    """`a power of 80 % for x`."""
    name = NAMES[searched.answer["measure"]]
    goal = searched.answer["target"]
    size = f"{given(100 * goal)}\u00a0%" if searched.proportion else given(goal)
    most = "" if searched.proportion else "at most "
    return f"{'an' if name[0] in 'RiI' else 'a'} {name} of {most}{size} for {spoken(searched.answer['term'])}"


def plural(searched: Searched, size: Size) -> str:
    """What a number of a design counts: `groups`, `subjects`, `classes per school`, `levels of subj_id`."""
    if not size.factor:
        several = any(own.factor for own in searched.sizes)
        return (
            "rows per combination of levels"
            if several and size.name == "rows_per_group"
            else PLURALS[size.name]
        )
    per = "" if size.per is None else f" per {size.per}"
    many = plural_of(size.name)
    return f"{many or f'levels of {size.name}'}{per}"


def _counted(size: Size, count: int) -> str:
    """`27 subjects`, `3 classes per school`, `1 level of subj_id`."""
    per = "" if size.per is None else f" per {size.per}"
    many = plural_of(size.name)
    noun = counted(count, size.name, many) if many else f"{counted(count, 'level')} of {size.name}"
    return f"{noun}{per}"


def of_size(searched: Searched, size: Size, value: Any) -> str:
    """`24 items`, `1 row per combination of levels`, `poisson(8) rows per group`."""
    if size.factor:
        return _counted(size, int(value))
    noun = plural(searched, size)
    if isinstance(value, str):
        return f"{value} {noun}"
    return f"{given(value)} {noun.replace('rows', 'row', 1) if value == 1 else noun}"


def size(searched: Searched, found: dict[str, Any]) -> str:
    """A design in words: `27 groups of 10 rows`; only what is varied, where rows differ between groups.

    With several grouping factors `27 subjects and 24 items`, and rows where there is not one per combination.
    """
    factors = [own for own in searched.sizes if own.factor]
    if not factors:
        groups, each = counted(found["groups"], "group"), found["rows_per_group"]
        if isinstance(each, (int, float)) and each == each:  # NaN where a table has none
            return f"{groups} of {counted(int(each), 'row')}"
        return groups
    said = [_counted(own, int(found[own.column])) for own in factors]
    each, rows = found.get("rows_per_group"), found.get("rows")
    if isinstance(each, (int, float)) and each != 1:
        said.append(f"{counted(int(each), 'row')} per combination of levels")
    if isinstance(rows, (int, float)):
        said.append(counted(int(rows), "row"))
    return listed(said)


def interval(searched: Searched, found: dict[str, Any]) -> str:
    """`25 to 29`, in the answer's first dimension."""
    most = searched.answer["between"][searched.first.name][1]
    low = f"more than {most:,}" if found["low"] is None else f"{found['low']:,}"
    high = f"more than {most:,}" if found["high"] is None else f"{found['high']:,}"
    return low if low == high else f"{low} to {high}"


def answers(searched: Searched) -> list[str]:
    """What a planner wants to know, in the order of importance."""
    said = [*_assumed(searched), *null(searched)]
    said += [other(searched, k) for k in range(1, len(searched.scenarios))]
    return [*said, failures(searched)]


def _assumed(searched: Searched) -> list[str]:
    found, what = searched.scenarios[0], target(searched)
    where, name = size(searched, found), NAMES[searched.answer["measure"]]
    level = "95\u00a0% Monte Carlo interval"
    estimated = f"{value(searched, found['value'])} ({level} {_band(searched, found)})"
    if found["status"] == "not reached":
        bound = "the largest design" if not _inside(searched, found) else "the best design found"
        return [
            f"Not reached: within the bounds no design has {what}. With {where}, {bound}, {name} is {estimated}."
        ]
    cheapest = searched.answer["cost"] is not None
    verb = "are the cheapest design with" if cheapest else "are enough for"
    if found["status"] == "smallest":
        verb = "are enough, the smallest design allowed, for"
    span = f"{level} {interval(searched, found)} {plural(searched, searched.first)}"
    if found["low"] == found["high"]:
        span = f"no other number is in the {level}"
    paid = f"cost {given(round(found['cost'], 6))}; " if cheapest else ""
    said = [
        f"{where} {verb} {what} by {label(searched.engine)} ({paid}{span}).",
        f"There, {name} is {estimated}.",
    ]
    if not found["exact"]:
        said.append(
            f"The interval is wider than asked for: the search ended with {found['replicates']:,} replicates, the "
            "most that `at_most` allows."
        )
    return said


def _inside(searched: Searched, found: dict[str, Any]) -> bool:
    """Whether the best design is none at the upper bounds."""
    between = searched.answer["between"]
    return any(found[own.column] < between[own.name][1] for own in searched.varied)


def _band(searched: Searched, found: dict[str, Any]) -> str:
    low, high = found["value_low"], found["value_high"]
    if searched.proportion:
        return f"{fixed(100 * low, 1)} to {percent(high)}"
    return f"{number(low)} to {number(high)}"


def null(searched: Searched) -> list[str]:
    """How often the test rejects where there is no effect; empty for other measures than power."""
    table = searched.tables["null"]
    if not len(table):
        return []
    nominal = 1 - searched.conf_level
    shares = [
        f"{share(row['estimate'], row['mcse'])} with {size(searched, row)}"
        for row in table.to_dict("records")
    ]
    said = f"Type I error: where {spoken(searched.answer['term'])} is 0, the test rejects in {listed(shares)}"
    said += f" (nominal {given(100 * nominal)}\u00a0%)."
    if (table["estimate"] - ALLOWED * table["mcse"] > nominal).any():
        said += " It rejects too often: such power is partly that of false positives."
    return [said]


def other(searched: Searched, scenario: int) -> str:
    """What changes where the truth is not the assumed one."""
    found, assumed = searched.scenarios[scenario], searched.scenarios[0]
    changed = [
        f"{spoken(term)} is {given(own)} instead of "
        + (given(assumed["fixed"][term]) if term in assumed["fixed"] else "the estimate")
        for term, own in searched.truth(scenario).items()
    ]
    told = f"{size(searched, found)} are needed ({interval(searched, found)})"
    if found["status"] == "smallest":
        told = f"{size(searched, found)}, the smallest design allowed, are enough"
    if found["status"] == "not reached":
        reached = (
            f"with {size(searched, found)}, the best design found, it is {value(searched, found['value'])}"
        )
        told = f"the target is not reached within the bounds ({reached})"
    said = f"If {listed(changed)}, {told}"
    at = found["at_answer"]
    told = (share if searched.proportion else with_error)(at["estimate"], at["mcse"])
    name = NAMES[searched.answer["measure"]]
    return f"{said}; {size(searched, assumed)} then have {name} {told}."


def failures(searched: Searched) -> str:
    """How many fits there were, and how they ended."""
    parts = [searched.tables["search"], searched.tables["null"]]
    total, failed, singular = (
        sum(int(table[name].sum()) for table in parts) for name in ("replicates", "failed", "singular")
    )
    said = (
        f"Of {total:,} fits, {failed:,} could not be used" if failed else f"All {total:,} fits could be used"
    )
    said += f"; {singular:,} of those used were singular." if singular else "; none was singular."
    own = searched.tables["search"]
    missing = int((own["replicates"] - own["failed"] - own["n_used"]).sum())
    if missing:
        name = NAMES[searched.answer["measure"]]
        said += (
            f" {missing:,} usable ones have no interval (estimates at a boundary): {name} is of the others."
        )
    return said


def methods(searched: Searched) -> str:
    """How the search was done, as one quotable paragraph."""
    answer, first = searched.answer, searched.scenarios[0]
    own = not searched.settings.get("simulate", True)
    again = plural(searched, searched.first)
    origin = f"REML's fit of the pilot data, whose {again} were drawn again" if own else "the assumed model"
    ends = [answer["between"][size.name] for size in searched.varied]
    bounds = [
        f"{low:,} to {high:,} {plural(searched, size)}"
        for size, (low, high) in zip(searched.varied, ends, strict=True)
    ]
    name = NAMES[answer["measure"]]
    said = [
        f"We searched {listed(bounds)} for the smallest design with {target(searched)}, fitting "
        f"{searched.settings.get('formula', 'the model')} by {label(searched.engine)} to data simulated from "
        f"{origin}."
    ]
    if len(searched.tables["null"]):
        count = int(searched.tables["null"]["replicates"].iloc[0])
        said.append(f"The test's Type I error was estimated from {count:,} data sets without the effect.")
    said.append(
        f"{capital(name)} was estimated at {counted(first['fit']['designs'], 'design')} near the answer "
        f"({first['replicates']:,} data sets in the whole search) and smoothed by {MODELS[answer['measure']]}. Data "
        f"sets were added until the 95\u00a0% interval of the answer reached at most {answer['tolerance']} to "
        f"either side, or {answer['at_most']:,} were used."
    )
    return " ".join(said)
