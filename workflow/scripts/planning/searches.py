"""The part of the plan that is about a search for the size of a design."""

from typing import Any

from lmm.core import engines


def search(study, stages: dict[str, Any]) -> dict[str, Any] | None:
    """What the rules need to know of a study's search; None where it has none. Adds the stage's settings."""
    from lmm.model.design import numeric_design

    wanted = study.settings.search
    if wanted is None:
        return None
    own = study.simulate is None
    stages["search"] = {
        "formula": study.formula.text,
        "formulas": stages["moments"]["formulas"],
        "conf_level": study.settings.conf_level,
        "seed": study.seed,
        "simulate_from": "rows",
        "calibration": False,
        "engines": {name: _brief(name, stages[name]) for name in study.engines},
        "simulate": None if own else study.simulate.plain(),
        "fixed": [] if own else list(numeric_design(study.formula).terms.fixed),
        "search": wanted.plain(),
    }
    return {"own": own}


def _brief(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """An engine's settings for many replicates: Wald intervals where nothing else is said."""
    exact = engines.row(name).family == engines.EXACT
    return {"intervals": "wald"} | settings if exact else settings
