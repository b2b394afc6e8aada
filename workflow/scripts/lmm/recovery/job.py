"""What a chunk of replicates needs, from plain settings: where data sets come from, and the engines."""

from collections.abc import Mapping, Sequence
from typing import Any

from lmm.config.designs import stream_key
from lmm.config.simulation import Simulation
from lmm.core.engines import BAYES, first
from lmm.core.errors import StudyError
from lmm.core.store import read_json, read_table
from lmm.data.rows import Rows, from_sources, read_terms, rows_of
from lmm.engines import reml, several_reml
from lmm.engines.pymc.draws import posterior_draws
from lmm.inference import estimable
from lmm.likelihood.problem import layout
from lmm.model.design import Design, numeric_design
from lmm.model.formula import parse
from lmm.model.terms import Terms
from lmm.moments import stage
from lmm.moments.moments import Moments
from lmm.moments.several import narrowed
from lmm.recovery.data import Bootstrap, Simulated, estimates_of
from lmm.recovery.replicate import Engine
from lmm.recovery.several_data import Estimates, SeveralBootstrap, data_set

TRIED = 3  # replicates that are looked at before a design is refused


def simulated(
    settings: Mapping[str, Any], designs: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Simulated], dict[str, Engine]]:
    """Sources and engines of simulated designs.

    Parameters
    ----------
    settings : mapping
        formula, formulas, seed, simulate_from, calibration, engines (name to settings with `formula`).
    designs : sequence of mappings
        As `DesignPoint.plain` gives them.
    """
    models = {text: numeric_design(parse(text)) for text in settings["formulas"]}
    terms = {text: design.terms for text, design in models.items()}
    priors = None
    if settings["calibration"]:
        own = settings["engines"][first(settings["engines"], BAYES)]
        priors = own["priors"] | {"blocks": terms[own["formula"]].by_group}
    formulas = [settings["formula"], *(text for text in settings["formulas"] if text != settings["formula"])]
    moments, sources = settings["simulate_from"] == "moments", {}
    for design in designs:
        own = Simulation.from_plain(design["settings"])
        sources[design["key"]] = Simulated(formulas, stream_key(own), own, settings["seed"], moments, priors)
    for source in sources.values():
        check(source, list(models.values()))
    return sources, engines(settings, terms)


def check(source: Simulated, models: Sequence[Design]) -> None:
    """Refuse a design none of whose first replicates can tell the variance parameters apart.

    One that can is enough: the rows of a replicate may be a matter of chance.

    Parameters
    ----------
    source : Simulated
        A design's replicates.
    models : sequence of Design
        Of the study and its engines.

    Raises
    ------
    StudyError
        See `estimable.check`.
    """
    found = None
    for replicate in range(TRIED):
        try:
            moments = source.draw(replicate).moments
        except Exception:  # a data set that cannot be drawn is every engine's error, replicate by replicate
            return
        try:
            estimable.check(moments, models, "simulate")
        except StudyError as error:
            found = error
        else:
            return
    if found is not None:
        raise found


def bootstrapped(
    settings: Mapping[str, Any], designs: Sequence[Mapping[str, Any]], paths: Mapping[str, Any]
) -> tuple[dict[str, Bootstrap | SeveralBootstrap], dict[str, Engine]]:
    """Source and engines of own data.

    Parameters
    ----------
    settings : mapping
        As in `simulated`, and bootstrap: reml or posterior.
    designs : sequence of mappings
        The one design of own data.
    paths : mapping
        moments, moments_details, design (design.json), and posterior (posterior.nc); with several grouping factors
        data (data.json) and, where it was copied, rows (data.parquet).
    """
    terms = {text: read_terms(paths["design"], text) for text in settings["formulas"]}
    if terms[settings["formula"]].several:
        return _several(settings, designs[0]["key"], paths, terms)
    moments = Moments.read(paths["moments"], paths["moments_details"])
    if settings["bootstrap"] == "reml":
        model = terms[settings["formula"]]
        _, best = reml.fit(moments, model.fixed, model.blocks, profile=False, ranef=False)
        estimates = estimates_of(best, layout(model.blocks))
    else:
        model = terms[settings["engines"][first(settings["engines"], BAYES)]["formula"]]
        estimates = posterior_draws(paths["posterior"], model)
    key = designs[0]["key"]
    source = Bootstrap(moments, model, key, settings["seed"], estimates, settings["calibration"])
    return {key: source}, engines(settings, terms)


def _several(
    settings: Mapping[str, Any], key: str, paths: Mapping[str, Any], terms: Mapping[str, Terms]
) -> tuple[dict[str, SeveralBootstrap], dict[str, Engine]]:
    """`bootstrapped` with several grouping factors: from the rows."""
    rows = own_rows(settings, paths)
    if settings["bootstrap"] == "reml":
        model = terms[settings["formula"]]
        estimates = reml_estimates(rows, model)
    else:
        model = terms[settings["engines"][first(settings["engines"], BAYES)]["formula"]]
        estimates = Estimates.of_posterior(paths["posterior"], model)
    source = SeveralBootstrap(rows, model, key, settings["seed"], estimates, settings["calibration"])
    return {key: source}, engines(settings, terms)


def own_rows(settings: Mapping[str, Any], paths: Mapping[str, Any]) -> Rows:
    """The user's rows, with the columns of all formulas; settings and paths as for `bootstrapped`."""
    data = read_json(paths["data"])
    frame = read_table(paths["rows"]) if paths.get("rows") else from_sources(paths["data"])
    whole, _ = stage.designs(settings["formulas"], data, frame)
    return rows_of(whole, frame)


def reml_estimates(rows: Rows, model: Terms) -> Estimates:
    """REML's estimates of a model of rows with several grouping factors."""
    _, _, best = several_reml.fit(
        narrowed(data_set(rows, {}).moments, [grouping.group for grouping in model.groupings]),
        model.fixed,
        [grouping.blocks for grouping in model.groupings],
        profile=False,
        ranef=False,
    )
    return Estimates.of(best)


def engines(settings: Mapping[str, Any], terms: Mapping[str, Terms]) -> dict[str, Engine]:
    """The study's engines, in its order."""
    return {
        name: Engine(name, own, terms[own["formula"]], settings["calibration"])
        for name, own in settings["engines"].items()
    }
