"""The configuration, validated and taken apart into what each stage may know: built-in types only.

Validation imports formulaic and pydantic, which takes as long as Snakemake's own start. Its result is
therefore kept in .snakemake/ and used again while configuration and library are the same to the byte, and
data files to size and time of change. A bad configuration is never kept.
"""

import glob
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plan_data
import plan_recovery

KEPT = Path(".snakemake/lmm-plan.json")
# Beyond either, sampling takes longer than its imports and compilation: chains then have a thread each.
MANY_GROUPS, MANY_BYTES = 2_000, 20_000_000


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
    key = _fingerprint(config, root)
    try:
        kept = json.loads((root / KEPT).read_text())
        if kept["key"] == key:
            return kept["plan"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none kept, or not a whole one
    from lmm.study import load

    loaded = load(config, root)
    studies = {name: study_plan(study) for name, study in loaded.studies.items()}
    plan = json.loads(json.dumps({"studies": studies, "report": loaded.report.plain()}))
    _keep(root / KEPT, {"key": key, "plan": plan})
    return plan


def study_plan(study) -> dict[str, Any]:
    """What the rules need to know of a study, and the settings of each of its stages.

    A stage's settings are no more than changes its artifacts: a setting that it does not use must not
    rerun it.
    """
    from lmm.ingest import COPY_LIMIT

    texts = [study.formula.text, *(study.formula_for(engine).text for engine in study.engines)]
    formulas = list(dict.fromkeys(texts))
    common = {"formula": study.formula.text, "conf_level": study.settings.conf_level}
    shown = common | {"title": study.title, "engines": list(study.engines), "simulate": bool(study.simulate)}
    stages = {
        "moments": {"formulas": formulas},
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
    else:
        stages["ingest"] = {"formulas": formulas, "missing": study.settings.missing}
    sizes = plan_data.sizes(study, formulas)
    stages["predictions"] = plan_data.predictions(study, stages)
    size = sum(sizes)
    many = study.simulate.n_groups > MANY_GROUPS if study.simulate else size > MANY_BYTES
    chains = study.settings.engines.pymc.chains if study.settings.engines.pymc else 1
    return {
        "simulated": bool(study.simulate),
        "files": list(study.data),
        "copied": size <= COPY_LIMIT,
        "parts": plan_data.parts(sizes),
        "predict": study.settings.predict,
        "predicted": study.settings.replicates is None
        and (size <= COPY_LIMIT or study.settings.predict is not None)
        and bool(stages["predictions"]["engines"]),
        "chains_at_a_time": chains if many else 1,
        "engines": list(study.engines),
        "reml_is_start": {"reml", "mixedlm"} <= set(study.engines)
        and study.formula_for("reml") == study.formula_for("mixedlm"),
        "strict": study.settings.on_failed_gate == "error" and study.settings.replicates is None,
        "recovery": plan_recovery.recovery(study, stages),
        "stages": stages,
    }


def _fingerprint(config: Mapping[str, Any], root: Path) -> str:
    """Changes with everything that a plan depends on."""
    studies = config.get("studies")
    patterns = [
        pattern
        for study in (studies.values() if isinstance(studies, Mapping) else ())
        if isinstance(study, Mapping)
        for pattern in [
            *(study["data"] if isinstance(study.get("data"), list) else [study.get("data")]),
            study.get("predict"),
        ]
        if isinstance(pattern, str)
    ]
    files = sorted(
        {file for pattern in patterns for file in glob.glob(pattern, root_dir=root, recursive=True)}
    )
    stats = [os.stat(root / file) for file in files]
    data = [(file, stat.st_size, stat.st_mtime_ns) for file, stat in zip(files, stats, strict=True)]
    known = json.dumps([config, data, sys.version, sys.prefix], sort_keys=True, default=repr)
    digest = hashlib.sha256(known.encode())
    for module in [
        *sorted(Path(__file__).parent.glob("plan*.py")),
        *sorted(Path(__file__).parent.glob("lmm/*.py")),
    ]:
        digest.update(module.read_bytes())
    return digest.hexdigest()


def _keep(path: Path, value: dict[str, Any]) -> None:
    """Write the plan whole or not at all; a directory that cannot be written costs a second, not the run."""
    try:
        path.parent.mkdir(exist_ok=True)
        name = path.with_suffix(f".{os.getpid()}")
        name.write_text(json.dumps(value))
        name.replace(path)
    except OSError:
        pass
