"""The configuration, validated and taken apart into what each stage may know: built-in types only."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmm.core import engines
from planning import files, kept, replicates, searches

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
    sizes, notes = files.look(study, stages.get("ingest", stages["moments"])["formulas"])
    copied = sum(sizes) <= COPY_LIMIT
    many = study.simulate.n_groups > MANY_GROUPS if study.simulate else sum(sizes) > MANY_BYTES
    bayes = settings.engines.first(engines.BAYES)
    fits = (settings.replicates or 0) * len(study.designs)
    return {
        "simulated": bool(study.simulate),
        "truth": settings.truth,
        "files": list(study.data),
        "notes": notes,
        "copied": copied,
        "several": study.formula.several,
        "weighted": bool(study.formula.weights),
        "parts": files.parts(sizes),
        "predict": settings.predict,
        "predicted": settings.replicates is None
        and settings.search is None
        and (copied or settings.predict is not None)
        and bool(stages["predictions"]["engines"]),
        "chains_at_a_time": bayes.chains if bayes and many else 1,
        "large": many or fits > MANY_REPLICATES,
        "engines": list(study.engines),
        "starts": starts(study),
        "reads_rows": [name for name in study.engines if engines.row(name).reads_rows(stages[name])],
        "strict": settings.on_failed_gate == "error",
        "models": _models(settings.models),
        "responses": _responses(settings.models),
        "recovery": replicates.recovery(study, stages, starts(study)),
        "search": searches.search(study, stages),
        "stages": stages,
    }


def _models(models: Mapping[str, str] | None) -> str | None:
    """Whether there are models to compare, and whether one of them has several grouping factors."""
    from lmm.model.formula import parse

    if not models:
        return None
    return "several" if any(parse(text).several for text in models.values()) else "one"


def _responses(models: Mapping[str, str] | None) -> int:
    """Number of responses of the models to compare."""
    from lmm.model.formula import parse

    return len({parse(text).measured for text in (models or {}).values()})


def starts(study) -> list[str]:
    """Engines that start from the exact engine's fit: it is REML's, and of the model that they fit."""
    exact = engines.first(study.engines, engines.EXACT)
    if exact is None or getattr(study.settings.engines, exact).method != "reml":
        return []
    return [
        name
        for name in study.engines
        if engines.row(name).starts and study.formula_for(name) == study.formula_for(exact)
    ]


def _stages(study) -> dict[str, dict[str, Any]]:
    """Settings of each stage, no more than change its artifacts: one that it does not use must not rerun it."""
    from lmm.config.designs import stream_key
    from lmm.model.formula import parse

    texts = [study.formula.text, *(study.formula_for(engine).text for engine in study.engines)]
    formulas = list(dict.fromkeys(texts))
    models = {name: parse(text).text for name, text in (study.settings.models or {}).items()}
    common = {"formula": study.formula.text, "conf_level": study.settings.conf_level}
    shown = common | {"title": study.title, "engines": list(study.engines), "simulate": bool(study.simulate)}
    shown |= {"labels": study.settings.plain()["labels"]}
    deficient = {"rank_deficient": "error" if study.simulate else study.settings.rank_deficient}
    stages = {
        "moments": {"formulas": formulas} | deficient,
        "comparison": common | {"engines": list(study.engines)},
        "figures": shown,
        "report": shown | {"configuration": study.configuration},
    }
    if models:
        alike = [text for text in models.values() if parse(text).measured == study.formula.measured]
        every = {"formulas": list(dict.fromkeys(alike or [study.formula.text]))}
        stages["model_moments"] = every | deficient
        count = study.settings.bootstrap or 0
        about = {"response": study.formula.measured, "bootstrap": count, "seed": study.seed, "bayes": None}
        stages["models"] = {"models": models, "written": dict(study.written)} | about | deficient
    for engine in study.engines:
        stages[engine] = common | study.engine(engine) | {"formula": study.formula_for(engine).text}
    bayes = engines.first(study.engines, engines.BAYES)
    if bayes and study.formula.several:  # its log likelihood by level is of rows
        stages[bayes] |= {"several": True, "loo": study.settings.loo}
    if models and bayes:
        own = ("priors", "chains", "tune", "draws", "seed", "target_accept", "sampler", "conf_level")
        stages["models"]["bayes"] = {name: stages[bayes][name] for name in own} | {"loo": study.settings.loo}
    if exact := engines.first(study.engines, engines.EXACT):
        stages["influence"] = {"formula": stages[exact]["formula"]}
    stages["effect_functions"] = {"formula": study.formula.text, "effects": study.effects}
    stages["effects"] = {"conf_level": study.settings.conf_level, "engines": _effects(study, stages)}
    if bayes:
        own = ("formula", "conf_level", "priors", "seed")
        stages["criticism"] = {name: stages[bayes][name] for name in own} | {"loo": study.settings.loo}
    if study.simulate:
        streams = stream_key(study.simulate)
        stages["simulate"] = common | {"design": streams, "simulate": study.simulate.plain()}
    else:
        every = list(dict.fromkeys([*formulas, *models.values()]))
        own = study.settings.plain()
        stages["ingest"] = {"formulas": every} | {
            key: own[key] for key in ("missing", "missing_values", "csv")
        }
    stages["new_rows"] = {"formulas": stages.get("ingest", stages["moments"])["formulas"]}
    stages["predictions"] = _predictions(study, stages)
    return stages


def _effects(study, stages: dict) -> dict:
    """What the effects stage needs to know of every engine: formula, and which exact fit is of the same model."""
    exact, same = engines.first(study.engines, engines.EXACT), starts(study)
    known = {name: {"formula": stages[name]["formula"]} for name in study.engines}
    for name in engines.of_family(known, engines.LIKELIHOOD):
        known[name]["exact"] = exact if name in same else None
    return known


def _predictions(study, stages: dict) -> dict:
    """The predictions stage's settings: the intervals' level, formula and priors of every engine but OLS."""
    known = {name: {"formula": stages[name]["formula"]} for name in engines.mixed(study.engines)}
    for name in engines.of_family(known, engines.BAYES):
        known[name]["priors"] = stages[name]["priors"]
    return {"conf_level": study.settings.conf_level, "engines": known}
