"""What types and bounds cannot say of a search: whether it can be done, and has a meaning. Before any job."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from lmm.config.designs import DesignPoint
from lmm.config.recording import only_full
from lmm.config.search import PROPORTIONS, Search, cost_of
from lmm.config.simulation import Simulation
from lmm.config.simulation_checks import check_simulation, not_among
from lmm.config.study import StudySettings
from lmm.core import engines
from lmm.core.errors import StudyError
from lmm.core.tidy import RESIDUAL, cor_name, sd_name
from lmm.model.design import numeric_design
from lmm.model.formula import parse
from lmm.model.parts import Formula
from lmm.model.terms import Terms

ALONE = ("replicates", "models", "effects", "predict", "truth", "designs")
MOST_DESIGNS, MOST_TRUTHS = 1_000_000, 12


def of_one_engine(settings: StudySettings) -> StudySettings:
    """The settings with the engine of the search alone.

    Raises
    ------
    StudyError
        Another engine is listed, or none of that name.
    """
    name, listed = settings.search.engine, settings.engines.names
    able = engines.of_family(engines.ENGINES, engines.POOLED, engines.EXACT)
    if name not in able:
        what = not_among(name, able, "an engine that a search can use (its replicates are compiled)")
        raise StudyError("search.engine", f"'{name}': {what}")
    if "engines" in settings.model_fields_set and list(listed) != [name]:
        what = (
            f"{', '.join(listed) or 'none'}: a search fits {name} alone; expected engines: {{{name}: {{}}}}"
        )
        raise StudyError("engines", what)
    others = dict.fromkeys(other for other in engines.ENGINES if other != name)
    return settings.model_copy(update={"engines": settings.engines.model_copy(update=others)})


def smallest(search: Search, raw: Mapping[str, Any]) -> dict[str, Any]:
    """What is configured under `simulate`, with the lower bounds of the search in it.

    Raises
    ------
    StudyError
        Bounds that do not fit, or values of what is varied.
    """
    check_bounds(search)
    simulate = raw.get("simulate", ()) if raw.get("simulate", ()) is not None else {}
    if not isinstance(simulate, Mapping):  # own data; or a mistake, which is found later
        return {**raw}
    for name in (*search.varied, "rows"):
        if name in simulate:
            what = (
                "the search varies it" if name in search.varied else "spreads the same rows over more groups"
            )
            raise StudyError(f"simulate.{name}", f"{what}; expected no such key")
    return {**raw, "simulate": {**simulate, **{name: low for name, (low, _) in search.bounds.items()}}}


def check_bounds(search: Search) -> None:
    """Refuse bounds and costs that do not fit what is varied."""
    given = [search.vary] if isinstance(search.vary, str) else search.vary
    if len(set(given)) < len(given):
        raise StudyError("search.vary", f"{', '.join(given)}: one is there twice; expected each once")
    if isinstance(search.between, dict) != (len(given) > 1) or set(search.bounds) != set(given):
        example = ", ".join(f"{name}: [2, 100]" for name in given)
        form = "[10, 400]" if len(given) == 1 else f"{{{example}}}"
        raise StudyError(
            "search.between", f"{search.between}: expected bounds of {' and '.join(given)}: {form}"
        )
    count = 1
    for name, (low, high) in search.bounds.items():
        least = 2 if name == "groups" else 1
        if low >= high or low < least:
            what = f"[{low}, {high}] for {name}: expected the smaller bound, at least {least}, and then the larger"
            raise StudyError("search.between", what)
        count *= high - low + 1
    if count > MOST_DESIGNS:
        raise StudyError("search.between", f"{count:,} designs; expected at most {MOST_DESIGNS:,}")
    if (search.cost is None) == (len(given) > 1):
        what = "is missing; two dimensions need it" if search.cost is None else "is for two dimensions"
        raise StudyError("search.cost", f"{what}; expected it with vary: [groups, rows_per_group]")
    if search.cost is not None:
        low, high = zip(search.bounds["groups"], search.bounds["rows_per_group"], strict=True)
        ends = np.array([low, (low[0], high[1]), (high[0], low[1]), high], dtype=float)
        with np.errstate(all="ignore"):
            values = np.broadcast_to(cost_of(search.cost, ends[:, 0], ends[:, 1]), 4)
        if not (np.isfinite(values).all() and (values > 0).all() and values[0] < min(values[1:])):
            what = f"'{search.cost}': expected a positive cost that grows with groups and with rows_per_group"
            raise StudyError("search.cost", what)


def check_search(settings: StudySettings, formula: Formula, designs: Sequence[DesignPoint]) -> None:
    """Refuse a search that cannot be done, or whose measure has no meaning.

    Parameters
    ----------
    settings : StudySettings
        With `search`.
    formula : Formula
        The study's.
    designs : sequence of DesignPoint
        The smallest design; of own data the one without settings.
    """
    search, simulation = settings.search, designs[0].settings
    for key in ALONE:
        if getattr(settings, key):
            raise StudyError(key, "is for a study without `search`; expected one of the two")
    if simulation is None and search.varied != ["groups"]:
        what = "rows_per_group: own data keep their groups' rows; expected vary: groups"
        raise StudyError("search.vary", what)
    if reason := only_full(settings, formula, designs):
        raise StudyError("search", f"{reason}; expected a study that it can fit")
    check_target(search, settings.conf_level)
    if len(search.truths) > MOST_TRUTHS:
        what = f"crosses into {len(search.truths)} scenarios; expected at most {MOST_TRUTHS}"
        raise StudyError("search.fixed", what)
    if simulation is None:
        return
    largest = simulation.plain() | {name: high for name, (_, high) in search.bounds.items()}
    check_simulation(Simulation.from_plain(largest), formula, "simulate")
    own = settings.engines.own(search.engine)
    text = getattr(own, "formula", None)
    check_terms(search, numeric_design(formula).terms, numeric_design(parse(text) if text else formula).terms)
    known = simulation.fixed or dict.fromkeys(numeric_design(formula).terms.fixed, 0.0)
    if search.measure == "power":
        for truth in search.truths:
            if (known | truth)[search.term] == 0:
                where = "search.fixed" if search.term in search.fixed else "simulate.fixed"
                what = "0: there is no effect to detect; expected the smallest effect of interest"
                raise StudyError(f"{where}.{search.term}", what)


def check_target(search: Search, level: float) -> None:
    """Refuse a target that a measure cannot have."""
    if search.goal is None:
        what = f"is missing; expected the {search.measure} to reach"
        raise StudyError("search.target", what)
    if search.measure in PROPORTIONS and search.goal >= 1:
        what = f"{search.goal:g}: {search.measure} is a proportion; expected less than 1"
        raise StudyError("search.target", what)
    if search.measure == "power" and search.goal <= 1 - level:
        what = f"{search.goal:g}: not more than the test's Type I error, {1 - level:.4g}; expected more"
        raise StudyError("search.target", what)


def check_terms(search: Search, simulated: Terms, fitted: Terms) -> None:
    """Refuse a term that the engine does not estimate, or that the measure has no meaning for.

    Parameters
    ----------
    search : Search
    simulated, fitted : Terms
        Of the study's formula and of the engine's.

    Raises
    ------
    StudyError
    """
    for term in search.fixed:
        if term not in simulated.fixed:
            raise StudyError(f"search.fixed.{term}", not_among(term, simulated.fixed, "a fixed effect"))
    pairs = [pair for block in fitted.blocks for pair in combinations(block, 2)]
    known = [*fitted.fixed, *map(sd_name, fitted.random), *(cor_name(*pair) for pair in pairs), RESIDUAL]
    if search.term not in known:
        raise StudyError("search.term", f"'{search.term}': {not_among(search.term, known, 'a parameter')}")
    if search.term in fitted.fixed:
        return
    if search.measure == "power":
        what = (
            f"'{search.term}': power is of a fixed effect's test; expected one of {', '.join(fitted.fixed)}"
        )
        raise StudyError("search.term", what)
    if engines.row(search.engine).family == engines.POOLED:
        what = (
            "its residual SD is of another model" if search.term == RESIDUAL else "it has no random effects"
        )
        raise StudyError("search.term", f"'{search.term}': {search.engine} takes rows as independent, and {what}; "
                         f"expected one of {', '.join(fitted.fixed)}")  # fmt: skip
