"""The configuration, validated and taken apart into what each stage may know: built-in types only."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planning import files, kept, replicates

# Beyond either, sampling takes longer than its imports and compilation: chains then have a thread each.
MANY_GROUPS, MANY_BYTES = 2_000, 20_000_000
# Beyond it, merging replicates and drawing them takes longer and more memory than a login node has to give.
MANY_REPLICATES = 20_000


def make(config: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Plan of all studies.

    Parameters
    ----------
    config : mapping
        As Snakemake has it.
    root : Path
        Directory that paths of data start from.

    Returns
    -------
    dict
        `studies`: name -> what `study_plan` returns; `report`: the report's settings.

    Raises
    ------
    StudyError
        The configuration, or a data file's header, cannot be used.
    """
    key = kept.fingerprint(config, root)
    if (found := kept.read(root, key)) is not None:
        return found
    from lmm.config.load import load

    loaded = load(config, root)
    studies = {name: study_plan(study) for name, study in loaded.studies.items()}
    plan = json.loads(json.dumps({"studies": studies, "report": loaded.report.plain()}))
    kept.keep(root, key, plan)
    return plan


def study_plan(study) -> dict[str, Any]:
    """What the rules need to know of a study, and the settings of each of its stages.

    Parameters
    ----------
    study : Study
        Of `lmm.config.load`.

    Returns
    -------
    dict
        Which rules apply to the study, its files and threads; `stages`: stage -> its settings.

    Raises
    ------
    StudyError
        The header of one of its files does not fit its formulas.
    """
    from lmm.data.ingest import COPY_LIMIT

    settings = study.settings
    stages = _stages(study)
    sizes = files.sizes(study, stages.get("ingest", stages["moments"])["formulas"])
    copied = sum(sizes) <= COPY_LIMIT
    many = study.simulate.n_groups > MANY_GROUPS if study.simulate else sum(sizes) > MANY_BYTES
    chains = settings.engines.pymc.chains if settings.engines.pymc else 1
    fits = (settings.replicates or 0) * len(study.designs)
    return {
        "simulated": bool(study.simulate),
        "truth": settings.truth,
        "files": list(study.data),
        "copied": copied,
        "parts": files.parts(sizes),
        "predict": settings.predict,
        "predicted": settings.replicates is None
        and (copied or settings.predict is not None)
        and bool(stages["predictions"]["engines"]),
        "chains_at_a_time": chains if many else 1,
        "large": many or fits > MANY_REPLICATES,
        "engines": list(study.engines),
        "reml_is_start": reml_is_start(study),
        "strict": settings.on_failed_gate == "error",
        "models": bool(settings.models),
        "recovery": replicates.recovery(study, stages, reml_is_start(study)),
        "stages": stages,
    }


def reml_is_start(study) -> bool:
    """Whether the reml engine's fit is the optimum that MixedLM looks for."""
    return (
        {"reml", "mixedlm"} <= set(study.engines)
        and study.formula_for("reml") == study.formula_for("mixedlm")
        and study.settings.engines.reml.method == "reml"
    )


def _stages(study) -> dict[str, dict[str, Any]]:
    """Settings of each stage, no more than change its artifacts: one that it does not use must not rerun it."""
    from lmm.model.formula import parse

    texts = [study.formula.text, *(study.formula_for(engine).text for engine in study.engines)]
    formulas = list(dict.fromkeys(texts))
    models = {name: parse(text).text for name, text in (study.settings.models or {}).items()}
    common = {"formula": study.formula.text, "conf_level": study.settings.conf_level}
    shown = common | {"title": study.title, "engines": list(study.engines), "simulate": bool(study.simulate)}
    stages = {
        "moments": {"formulas": formulas},
        "comparison": common | {"engines": list(study.engines)},
        "figures": shown,
        "report": shown | {"configuration": study.settings.plain()},
    }
    if models:
        stages["model_moments"] = {"formulas": list(dict.fromkeys(models.values()))}
        count = study.settings.bootstrap or 0
        stages["models"] = {"models": models, "bootstrap": count, "seed": study.seed}
    for engine in study.engines:
        stages[engine] = common | study.engine(engine) | {"formula": study.formula_for(engine).text}
    if "reml" in stages:
        if study.settings.replicates is None and not isinstance(stages["reml"]["df"], str):
            (stages["reml"]["df"],) = stages["reml"]["df"]
        stages["influence"] = {"formula": stages["reml"]["formula"]}
    stages["effect_functions"] = {"formula": study.formula.text, "effects": study.effects}
    stages["effects"] = {"conf_level": study.settings.conf_level, "engines": _effects(stages, study.engines)}
    if "pymc" in stages:
        own = ("formula", "conf_level", "priors", "seed")
        stages["criticism"] = {name: stages["pymc"][name] for name in own}
    if study.simulate:
        design = study.designs[0].key
        stages["simulate"] = common | {"design": design, "simulate": study.simulate.plain()}
        if study.settings.predict is not None:  # else the engines' formulas are nothing to it
            stages["simulate"]["formulas"] = formulas
    else:
        every = list(dict.fromkeys([*formulas, *models.values()]))
        stages["ingest"] = {"formulas": every, "missing": study.settings.missing}
    stages["predictions"] = _predictions(study, stages)
    return stages


def _effects(stages: dict, engines) -> dict:
    """What the effects stage has to know of every engine."""
    out = {name: {"formula": stages[name]["formula"]} for name in engines}
    own = stages.get("reml", {"df": "satterthwaite", "method": "reml"})
    if "reml" in out:
        out["reml"] |= {"df": own["df"], "method": own["method"]}
    if "mixedlm" in out:
        out["mixedlm"] |= {"df": own["df"]}
    return out


def _predictions(study, stages: dict) -> dict:
    """The predictions stage's settings: the intervals' level, formula and priors of every engine but OLS."""
    engines = {name: {"formula": stages[name]["formula"]} for name in study.engines if name != "ols"}
    if "pymc" in engines:
        engines["pymc"]["priors"] = stages["pymc"]["priors"]
    return {"conf_level": study.settings.conf_level, "engines": engines}
