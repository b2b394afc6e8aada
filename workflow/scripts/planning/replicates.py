"""The part of the plan that is about replicates."""

from typing import Any

from lmm.recovery.plan import seconds


def recovery(study, stages: dict[str, Any], starts_at_reml: bool) -> dict[str, Any] | None:
    """What the rules need to know of a study's replicates; None where it has none.

    `starts_at_reml` says whether MixedLM starts from the reml engine's fit.

    The settings of a chunk do not say how many replicates there are, nor how they are divided: more of them leave
    finished chunks as they are.
    """
    settings = study.settings
    if settings.replicates is None:
        return None
    own = study.simulate is None
    source = settings.bootstrap or ("posterior" if settings.calibration else "reml")
    engines = {name: stages[name] for name in study.engines}
    if "mixedlm" in engines:
        engines["mixedlm"] = engines["mixedlm"] | {"reml_is_start": starts_at_reml}
    stages["replicates"] = {
        "formula": study.formula.text,
        "formulas": stages["moments"]["formulas"],
        "conf_level": settings.conf_level,
        "seed": study.seed,
        "simulate_from": "moments" if own else settings.simulate_from or "rows",
        "calibration": settings.calibration,
        "bootstrap": source if own else None,
        "engines": engines,
    }
    stages["report"]["replicates"] = stages["figures"]["replicates"] = settings.replicates
    costs = []
    for design in study.designs:
        simulated = design.settings
        groups, rows = (simulated.n_groups, simulated.n_rows) if simulated else (1000, 0)
        costs.append(seconds(engines, groups, rows))
    return {
        "count": settings.replicates,
        "per_job": settings.replicates_per_job,
        "keys": [design.key for design in study.designs],
        "seconds": costs,
        "designs": {design.key: design.plain() for design in study.designs},
        "ranked": settings.calibration,
        "own": own,
        "from_posterior": own and source == "posterior",
    }
