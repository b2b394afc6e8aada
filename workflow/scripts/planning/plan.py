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
    from lmm.study import load

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
        Of `lmm.study`.

    Returns
    -------
    dict
        Which rules apply to the study, its files and threads; `stages`: stage -> its settings.

    Raises
    ------
    StudyError
        The header of one of its files does not fit its formulas.
    """
    from lmm.ingest import COPY_LIMIT

    settings = study.settings
    stages = _stages(study)
    sizes, notes = files.look(study, stages["moments"]["formulas"])
    copied = sum(sizes) <= COPY_LIMIT
    many = study.simulate.n_groups > MANY_GROUPS if study.simulate else sum(sizes) > MANY_BYTES
    chains = settings.engines.pymc.chains if settings.engines.pymc else 1
    fits = (settings.replicates or 0) * len(study.designs)
    return {
        "simulated": bool(study.simulate),
        "truth": settings.truth,
        "files": list(study.data),
        "notes": notes,
        "copied": copied,
        "parts": files.parts(sizes),
        "predict": settings.predict,
        "predicted": settings.replicates is None
        and (copied or settings.predict is not None)
        and bool(stages["predictions"]["engines"]),
        "chains_at_a_time": chains if many else 1,
        "large": many or fits > MANY_REPLICATES,
        "engines": list(study.engines),
        "reml_is_start": {"reml", "mixedlm"} <= set(study.engines)
        and study.formula_for("reml") == study.formula_for("mixedlm"),
        "strict": settings.on_failed_gate == "error",
        "recovery": replicates.recovery(study, stages),
        "stages": stages,
    }


def _stages(study) -> dict[str, dict[str, Any]]:
    """Settings of each stage, no more than change its artifacts: one that it does not use must not rerun it."""
    texts = [study.formula.text, *(study.formula_for(engine).text for engine in study.engines)]
    formulas = list(dict.fromkeys(texts))
    common = {"formula": study.formula.text, "conf_level": study.settings.conf_level}
    shown = common | {"title": study.title, "engines": list(study.engines), "simulate": bool(study.simulate)}
    stages = {
        "moments": {
            "formulas": formulas,
            "rank_deficient": "error" if study.simulate else study.settings.rank_deficient,
        },
        "comparison": common | {"engines": list(study.engines)},
        "figures": shown,
        "report": shown | {"configuration": study.settings.plain()},
    }
    for engine in study.engines:
        stages[engine] = common | study.engine(engine) | {"formula": study.formula_for(engine).text}
    if "reml" in stages:
        stages["influence"] = {"formula": stages["reml"]["formula"]}
    if "pymc" in stages:
        own = ("formula", "conf_level", "priors", "seed")
        stages["criticism"] = {name: stages["pymc"][name] for name in own}
    if study.simulate:
        design = study.designs[0].key
        stages["simulate"] = common | {"design": design, "simulate": study.simulate.plain()}
        if study.settings.predict is not None:  # else the engines' formulas are nothing to it
            stages["simulate"]["formulas"] = formulas
    else:
        own = study.settings.plain()
        stages["ingest"] = {"formulas": formulas} | {
            key: own[key] for key in ("missing", "missing_values", "csv")
        }
    stages["predictions"] = _predictions(study, stages)
    return stages


def _predictions(study, stages: dict) -> dict:
    """The predictions stage's settings: the intervals' level, formula and priors of every engine but OLS."""
    engines = {name: {"formula": stages[name]["formula"]} for name in study.engines if name != "ols"}
    if "pymc" in engines:
        engines["pymc"]["priors"] = stages["pymc"]["priors"]
    return {"conf_level": study.settings.conf_level, "engines": engines}
