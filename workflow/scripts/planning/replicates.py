"""The part of the plan that is about replicates."""

from typing import Any

from lmm.core import engines
from lmm.recovery import protocol
from lmm.recovery.plan import seconds
from lmm.recovery.until import ends


def recovery(study, stages: dict[str, Any], starts: list[str]) -> dict[str, Any] | None:
    """What the rules need to know of a study's replicates; None where it has none.

    `starts` are the engines that start from the exact engine's fit.

    The settings of a chunk do not say how many replicates there are, nor how they are divided: more of them leave
    finished chunks as they are.
    """
    settings = study.settings
    if settings.replicates is None:
        return None
    own = study.simulate is None
    source = settings.bootstrap or ("posterior" if settings.calibration else "reml")
    fitted = {name: stages[name] for name in study.engines}
    for name in fitted:
        if engines.row(name).starts:
            fitted[name] = fitted[name] | {"exact_start": name in starts}
    record = study.record
    stages["replicates"] = {
        "record": record,
        "formula": study.formula.text,
        "formulas": stages["moments"]["formulas"],
        "conf_level": settings.conf_level,
        "seed": study.seed,
        "simulate_from": "moments" if own else settings.simulate_from or "rows",
        "calibration": settings.calibration,
        "bootstrap": source if own else None,
        "engines": fitted,
    }
    stages["report"]["replicates"] = stages["figures"]["replicates"] = settings.replicates
    plan = protocol.protocol(study, stages["replicates"])
    stages["report"] |= {"until": list(study.until), "record": record, "plan": plan}
    costs = []
    for design in study.designs:
        simulated = design.settings
        groups, rows = (simulated.n_groups, simulated.n_rows) if simulated else (1000, 0)
        costs.append(seconds(fitted, groups, rows, record != "full"))
    return {
        "plan": plan,
        "count": settings.replicates,
        "until": list(study.until),
        "ends": ends(settings.replicates, record == "sums") if study.until else [settings.replicates],
        "per_job": settings.replicates_per_job,
        "keys": [design.key for design in study.designs],
        "seconds": costs,
        "designs": {design.key: design.plain() for design in study.designs},
        "ranked": settings.calibration,
        "summed": record == "sums",
        "own": own,
        "from_posterior": own and source == "posterior",
    }
