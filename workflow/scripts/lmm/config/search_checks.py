"""What types and bounds cannot say of a search: whether it can be done, and has a meaning. Before any job."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from lmm.config.designs import DesignPoint
from lmm.config.recording import only_full
from lmm.config.search import OF_ROWS, PROPORTIONS, Search
from lmm.config.search_sizes import Frame, in_groups, known_sizes, sized
from lmm.config.simulation import Simulation
from lmm.config.simulation_checks import check_simulation, not_among
from lmm.config.study import StudySettings
from lmm.core import engines
from lmm.core.errors import StudyError
from lmm.core.tidy import RESIDUAL, cor_name, sd_name, variable
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


def smallest(search: Search, formula: Formula, raw: Mapping[str, Any]) -> dict[str, Any]:
    """What is configured under `simulate`, with the lower bounds of the search in it.

    Raises
    ------
    StudyError
        Bounds that do not fit, or values of what is varied.
    """
    simulate = raw.get("simulate", ()) if raw.get("simulate", ()) is not None else {}
    own_data = raw.get("data") is not None
    check_bounds(search, known_sizes(formula, own_data))
    if not isinstance(simulate, Mapping):  # own data; or a mistake, which is found later
        return {**raw}
    for name in search.varied:
        groups = in_groups(name, formula.several)
        given, where = (simulate.get("groups"), f"groups.{name}") if groups else (simulate, name)
        how = given.get(name) if isinstance(given, Mapping) else None
        if groups and isinstance(how, Mapping):
            how, where = how.get("count"), f"{where}.count"
        if how is not None:
            raise StudyError(f"simulate.{where}", "the search varies it; expected no such key")
    if "rows" in simulate and "rows" not in search.varied:
        what = "spreads the same rows over more groups; expected no such key"
        raise StudyError("simulate.rows", what)
    lows = {name: low for name, (low, _) in search.bounds.items()}
    return {**raw, "simulate": sized(simulate, lows, formula.several)}


def check_bounds(search: Search, known: Sequence[str]) -> None:
    """Refuse bounds that do not fit what is varied, and what cannot be; `known` can."""
    given = [search.vary] if isinstance(search.vary, str) else search.vary
    if len(set(given)) < len(given):
        raise StudyError("search.vary", f"{', '.join(given)}: one is there twice; expected each once")
    for name in given:
        if name not in known:
            what = not_among(name, known, "what a search of this study can vary")
            raise StudyError("search.vary", f"'{name}': {what}")
    if len(given) == 2 and set(given) <= set(OF_ROWS):
        what = f"{' and '.join(given)}: both say how many rows there are; expected one of them"
        raise StudyError("search.vary", what)
    if isinstance(search.between, dict) != (len(given) > 1) or set(search.bounds) != set(given):
        example = ", ".join(f"{name}: [2, 100]" for name in given)
        form = "[10, 400]" if len(given) == 1 else f"{{{example}}}"
        raise StudyError(
            "search.between", f"{search.between}: expected bounds of {' and '.join(given)}: {form}"
        )
    count = 1
    for name, (low, high) in search.bounds.items():
        least = 1 if name == "rows_per_group" else 2
        if low >= high or low < least:
            what = f"[{low}, {high}] for {name}: expected the smaller bound, at least {least}, and then the larger"
            raise StudyError("search.between", what)
        count *= high - low + 1
    if count > MOST_DESIGNS:
        raise StudyError("search.between", f"{count:,} designs; expected at most {MOST_DESIGNS:,}")
    if (search.cost is None) == (len(given) > 1):
        missing = search.cost is None
        pair = ", ".join(given if missing else known[:2])
        what = "is missing; two dimensions need it" if missing else "is for two dimensions"
        raise StudyError("search.cost", f"{what}; expected it with vary: [{pair}]")


def check_cost(frame: Frame) -> None:
    """Refuse a cost that is not arithmetic of a design's sizes, or that is not more for larger designs."""
    text, names = frame.wanted.cost, frame.wanted.varied
    if text is None:
        return
    low, high = zip(*frame.bounds, strict=True)
    ends = np.array([low, (low[0], high[1]), (high[0], low[1]), high], dtype=float)
    try:
        with np.errstate(all="ignore"):
            values = np.broadcast_to(frame.cost(ends[:, 0], ends[:, 1]), 4)
    except ValueError:
        sizes = [*names, *(name for name in ("rows",) if name not in names)]
        what = f"expected arithmetic of {', '.join(sizes)}, such as 50 * {names[0]} + 2 * {sizes[-1]}"
        raise StudyError("search.cost", f"'{text}': {what}") from None
    if not (np.isfinite(values).all() and (values > 0).all() and values[0] < min(values[1:])):
        what = f"'{text}': expected a positive cost that grows with {' and with '.join(names)}"
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
    if simulation is None and (len(search.varied) > 1 or "rows_per_group" in search.varied):
        given = "groups" if not formula.several else formula.factors[0].group
        what = f"{', '.join(search.varied)}: own data keep their groups' rows; expected vary: {given}"
        raise StudyError("search.vary", what)
    if reason := unable(settings, formula, designs):
        raise StudyError("search", f"{reason}; expected a study that it can fit")
    check_target(search, settings.conf_level)
    if len(search.truths) > MOST_TRUTHS:
        what = f"crosses into {len(search.truths)} scenarios; expected at most {MOST_TRUTHS}"
        raise StudyError("search.fixed", what)
    if simulation is None:
        return
    frame = Frame(search, simulation.plain(), formula.several)
    check_cost(frame)
    first, second = frame.bounds
    check_simulation(Simulation.from_plain(frame.plain((first[1], second[1]))), formula, "simulate")
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


def unable(settings: StudySettings, formula: Formula, designs: Sequence[DesignPoint]) -> str:
    """Why a search cannot fit a study; empty if it can. Several grouping factors take the full path."""
    if not formula.several:
        return only_full(settings, formula, designs)
    return "replicates have neither weights nor offsets" if formula.weights or formula.offsets else ""


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


def of_blocks(blocks: Sequence[Sequence[str]]) -> list[str]:
    """Names of the sd's and correlations of blocks of random effects."""
    pairs = [pair for block in blocks for pair in combinations(block, 2)]
    names = [name for block in blocks for name in block]
    return [*map(sd_name, names), *(cor_name(*pair) for pair in pairs)]


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
    groups = [own.group for own in fitted.groupings]
    random = [variable(own.group, term, groups) for own in fitted.groupings for term in of_blocks(own.blocks)]
    known = [*fitted.fixed, *random, RESIDUAL]
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
