"""One replicate of a study as a study of its own: the same data set and the same fits, with the full report."""

from typing import Any

from lmm.config.designs import DesignPoint, stream_key
from lmm.config.load import Studies, Study
from lmm.core import engines
from lmm.core.errors import StudyError
from lmm.recovery.data import Simulated, sampler_seed

ROWS, TRUTH = "rows.parquet", "truth.json"


def find(
    studies: Studies, name: str, replicate: int, design: str | None = None
) -> tuple[Study, DesignPoint, bool]:
    """The study and the design of a replicate, and whether it is drawn as moments.

    Parameters
    ----------
    studies : Studies
        The configuration that has the study.
    name : str
        The study.
    replicate : int
        From 0, as in replicates.parquet.
    design : str, optional
        The design's key, or the beginning of it; a study with one design needs none.

    Returns
    -------
    Study, DesignPoint, bool

    Raises
    ------
    StudyError
        There is no such study, design or replicate.
    """
    if name not in studies.studies:
        raise StudyError("studies", f"no study '{name}'; expected one of {', '.join(studies.studies)}")
    study = studies.studies[name]
    count = study.settings.replicates
    if count is None:
        raise StudyError(
            "replicates", "the study has none to replay; expected a study with `replicates`", name
        )
    if not 0 <= replicate < count:
        raise StudyError("replicates", f"no replicate {replicate}; expected 0 to {count - 1}", name)
    moments = study.simulate is None or study.settings.simulate_from == "moments"
    return study, _design(study, design), moments


def simulation(study: Study, point: DesignPoint, replicate: int) -> dict[str, Any]:
    """A configuration that simulates a replicate's rows again; fits and samples of PyMC are its own to the bit."""
    terms = {engine: study.formula_for(engine).text for engine in study.engines}
    formulas = list(dict.fromkeys([study.formula.text, *terms.values()]))
    streams = stream_key(point.settings)
    source = Simulated(formulas, streams, point.settings, study.seed, priors=_priors(study))
    simulate = source.parameters(replicate).plain() | {
        "seed": study.seed,
        "address": {"design": streams, "replicate": replicate},
    }
    return _configuration(study, point, replicate, {"simulate": simulate})


def analysis(
    study: Study, point: DesignPoint, replicate: int, response: str, priors: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A configuration that analyses the rows of a replicate that was drawn as moments (`replay_rows`).

    Parameters
    ----------
    study : Study
        From `find`.
    point : DesignPoint
        From `find`.
    replicate : int
        Its number, from 0.
    response : str
        The response's column.
    priors : dict, optional
        PyMC's, where they are not those configured.

    Returns
    -------
    dict
    """
    made = _configuration(study, point, replicate, {"data": ROWS, "truth": TRUTH})
    own = made["studies"][study.name]
    for settings in (own, *own["engines"].values()):
        if "formula" in settings:
            settings["formula"] = f"{response} ~ {settings['formula'].partition('~')[2].strip()}"
    if priors is not None:
        own["engines"][engines.first(study.engines, engines.BAYES)]["priors"] = priors
    return made


def _configuration(study: Study, point: DesignPoint, replicate: int, data: dict[str, Any]) -> dict[str, Any]:
    """As YAML would have it."""
    listed = study.settings.engines.plain()
    if (bayes := engines.first(listed, engines.BAYES)) is not None:
        seed = sampler_seed(listed[bayes]["seed"], point.key, replicate)
        listed[bayes] = listed[bayes] | {"seed": seed}
        if listed[bayes]["sampler"] == "auto":  # which is another one for a study without replicates
            listed[bayes]["sampler"] = "importance"
    where = ", ".join(f"{path} {value}" for path, value in point.values.items())
    title = f"{study.title}: replicate {replicate}" + (f" of {where}" if where else "")
    own = {
        "title": title,
        "formula": study.formula.text,
        **data,
        "engines": listed,
        "conf_level": study.settings.conf_level,
        "on_failed_gate": study.settings.on_failed_gate,
    }
    return {"studies": {study.name: own}, "report": {"title": title}}


def _design(study: Study, key: str | None) -> DesignPoint:
    """The design that is meant."""
    found = [point for point in study.designs if point.key.startswith(key or "")]
    if len(found) == 1:
        return found[0]
    known = "; ".join(
        f"{point.key} ({', '.join(f'{path} {value}' for path, value in point.values.items())})"
        for point in study.designs[:20]
    )
    met = (
        f"no design '{key}'"
        if key and not found
        else f"'{key}' is not one design"
        if key
        else "no design named"
    )
    raise StudyError("designs", f"{met}; expected one of {known}", study.name)


def _priors(study: Study) -> dict[str, Any] | None:
    """What calibration draws parameters from; None without it."""
    if not study.settings.calibration:
        return None
    from lmm.model.design import numeric_design

    bayes = engines.first(study.engines, engines.BAYES)
    blocks = numeric_design(study.formula_for(bayes)).terms.by_group
    return study.engine(bayes)["priors"] | {"blocks": blocks}
