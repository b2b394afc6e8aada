"""A study's search from its settings: where replicates come from, and the tables of what was found."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lmm.config.designs import point
from lmm.config.search import Search
from lmm.config.search_checks import check_terms
from lmm.config.search_sizes import Frame
from lmm.config.simulation import Simulation
from lmm.core.errors import StudyError
from lmm.core.streams import design_key
from lmm.core.tidy import groups_of, variable
from lmm.data.rows import read_terms
from lmm.engines import reml
from lmm.likelihood.problem import layout
from lmm.model.formula import parse
from lmm.moments.moments import Moments
from lmm.recovery import compact, full, job, sums
from lmm.recovery.curve import reached
from lmm.recovery.data import estimates_of, root_of, truth_of_values
from lmm.recovery.search import ENOUGH, Design, Found, Measured, Space, search
from lmm.recovery.several_data import SeveralResized
from lmm.simulation.resized import Resized

AT_NULL = 4000  # replicates of the Type I error: an MCSE of 0.0034 at 5 %
AT_NULL_IN_FULL = 1000  # the same by the full path, whose replicates take far longer: an MCSE of 0.007
MOST_DRAWN = 200  # points of a curve
SUMMED = {"interval_width": "width"}


class Source(NamedTuple):
    """What `compact.Design` takes of a design: replicates, and what they are simulated from."""

    replicates: Any
    truth: Mapping[str, Any]

    def compact(self) -> Any:
        """Replicates for the compiled path."""
        return self.replicates

    def parameters_in_words(self) -> Mapping[str, Any]:
        """fixed, sd, corr and sigma that every replicate is simulated from."""
        return self.truth


Sources = Callable[[Mapping[str, float], Design], tuple[str, compact.Design | full.Design]]


def frame_of(settings: Mapping[str, Any]) -> Frame:
    """What the two numbers of a design are, from the settings of the search's stage."""
    several = parse(settings["formula"]).several
    return Frame(Search.from_plain(settings["search"]), settings["simulate"], several)


def of_simulation(settings: Mapping[str, Any]) -> Sources:
    """Simulated designs: fixed effects and a size -> key and replicates, as a recovery study has them."""
    frame = frame_of(settings)

    def source(truth: Mapping[str, float], at: Design) -> tuple[str, compact.Design | full.Design]:
        plain = frame.plain(at)
        if truth:
            known = plain.get("fixed") or dict.fromkeys(settings["fixed"], 0.0)
            plain["fixed"] = known | dict(truth)
        design = point(Simulation.from_plain(plain), {})
        sources, engines = job.simulated(settings, [design.plain()])
        own = sources[design.key]
        if frame.several:
            return design.key, full.Design(own, engines)
        return design.key, compact.Design(own, engines, settings["conf_level"])

    return source


def of_data(settings: Mapping[str, Any], paths: Mapping[str, Any]) -> Sources:
    """Own data with another number of groups, or of levels of one of several grouping factors."""
    return (of_rows if parse(settings["formula"]).several else of_pilot)(settings, paths)


def of_rows(settings: Mapping[str, Any], paths: Mapping[str, Any]) -> Sources:
    """`of_pilot` with several grouping factors; paths: design, data and, where it was copied, rows."""
    terms = {text: read_terms(paths["design"], text) for text in settings["formulas"]}
    model, wanted = terms[settings["formula"]], Search.from_plain(settings["search"])
    check_terms(wanted, model, terms[settings["engines"][wanted.engine]["formula"]])
    rows = job.own_rows(settings, paths)
    estimates = job.reml_estimates(rows, model)
    engines, (group,) = job.engines(settings, terms), wanted.varied

    def source(truth: Mapping[str, float], at: Design) -> tuple[str, full.Design]:
        beta = estimates.beta.copy()
        for term, value in truth.items():
            beta[0, model.fixed.index(term)] = value
        key = design_key({"data": True, group: at[1], "fixed": dict(truth)})
        own = estimates._replace(beta=beta)
        drawn = SeveralResized(rows, group, at[1], model, key, settings["seed"], own)
        return key, full.Design(drawn, engines)

    return source


def of_pilot(settings: Mapping[str, Any], paths: Mapping[str, Any]) -> Sources:
    """Own data with other numbers of groups: the same, simulated from reml's estimates.

    Parameters
    ----------
    settings : mapping
        Of the search's stage.
    paths : mapping
        moments, moments_details, design.

    Raises
    ------
    StudyError
        The search is of a term that the data do not have, or the moments do not say how groups differ.
    """
    terms = {text: read_terms(paths["design"], text) for text in settings["formulas"]}
    model, wanted = terms[settings["formula"]], Search.from_plain(settings["search"])
    check_terms(wanted, model, terms[settings["engines"][wanted.engine]["formula"]])
    moments = Moments.read(paths["moments"], paths["moments_details"])
    if not moments.whole:
        what = f"{moments.n_groups:,} groups: too many for each to be drawn again; expected a pilot study"
        raise StudyError("data", what)
    _, best = reml.fit(moments, model.fixed, model.blocks, profile=False, ranef=False)
    structure = layout(model.blocks)
    values, p = estimates_of(best, structure)[0], len(model.fixed)
    engines = job.engines(settings, terms)

    def source(truth: Mapping[str, float], at: Design) -> tuple[str, compact.Design]:
        own = values.copy()
        for term, value in truth.items():
            own[model.fixed.index(term)] = value
        key = design_key({"data": True, "groups": at[0], "fixed": dict(truth)})
        root = root_of(structure, own[p:])
        drawn = Resized(
            moments, at[0], model.fixed, own[:p], model.random, root, own[-1], settings["seed"], key
        )
        said = truth_of_values(model, structure, own, np.zeros((0, len(structure.random))), np.zeros(0))
        return key, compact.Design(Source(drawn, said), engines, settings["conf_level"])

    return source


class Evaluator:
    """Replicates of designs in one scenario, more of them whenever they are asked for.

    Parameters
    ----------
    sources : callable
        From `of_simulation` or `of_data`.
    truth : mapping
        Fixed effects of the scenario.
    wanted : Search
    measure : str
        As `sums.measures` calls it.
    """

    def __init__(self, sources: Sources, truth: Mapping[str, float], wanted: Search, measure: str):
        self.sources, self.truth, self.wanted, self.measure = sources, truth, wanted, measure
        self._designs: dict[Design, tuple[str, compact.Design | full.Design]] = {}
        self._parts: dict[Design, list[tuple[pd.DataFrame, pd.DataFrame]]] = {}
        self._drawn: dict[Design, int] = {}

    def __call__(self, at: Design, count: int) -> Measured:
        """All replicates of a design after `count` more."""
        if at not in self._designs:
            self._designs[at] = self.sources(self.truth, at)
        key, design = self._designs[at]
        first = self._drawn.get(at, 0)
        self._drawn[at] = first + count
        parts, name = self._parts.setdefault(at, []), self.wanted.engine
        with np.errstate(all="ignore"):
            parts += [sums.of_block(key, block, name) for block in design.blocks(first, first + count)]
            whole = sums.added(pd.concat([own for own, _ in parts]))
            own = whole[(whole["subset"] == "usable") & self._of_term(whole)]
            measures = sums.measures(own, own["effect"].iloc[0], own["term"].iloc[0])
            estimate, mcse, n = (float(value[0]) for value in measures[self.measure])
        ended = pd.concat([own for _, own in parts]).groupby("status")["count"].sum()
        failed = sum(int(ended.get(status, 0)) for status in compact.STATUSES[2:])
        return Measured(estimate, mcse, int(n), first + count, failed, int(ended.get("singular", 0)), key)

    def _of_term(self, table: pd.DataFrame) -> np.ndarray:
        """Which rows are of the term that is wanted: `sd__x|subject` where there are several grouping factors."""
        groups = groups_of(table)
        named = [variable(*key, groups) for key in zip(table["group"], table["term"], strict=True)]
        return np.array(named) == self.wanted.term


def run(
    settings: Mapping[str, Any], paths: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """The search of a study.

    Parameters
    ----------
    settings : mapping
        formula, formulas, conf_level, seed, engines, simulate (None for own data), fixed (terms of the formula),
        search.
    paths : mapping
        Of own data: as for `of_pilot`.

    Returns
    -------
    designs, curves, null, answer
        search.csv, curve.csv, null.csv and answer.json.
    """
    frame, level = frame_of(settings), settings["conf_level"]
    wanted = frame.wanted
    sources = of_simulation(settings) if settings["simulate"] else of_data(settings, paths)
    space = Space.between(*frame.bounds, frame.cost, frame.ratios)
    smallest = (space.ends(0)[0], space.ends(1)[0])
    null = [_null(sources, frame, smallest)] if wanted.measure == "power" else []
    found: list[Found] = []
    measure = SUMMED.get(wanted.measure, wanted.measure)
    for truth in wanted.truths:
        evaluate = Evaluator(sources, truth, wanted, measure)
        known = [(found[0].best, ENOUGH)] if found else []
        own = search(space, evaluate, wanted.measure, wanted.goal, wanted.tolerance, wanted.at_most, known)
        found.append(own)
    if null and found[0].best != smallest:
        null.append(_null(sources, frame, found[0].best))
    pairs = list(zip(wanted.truths, found, strict=True))
    designs = pd.concat([_designs(k, truth, own, frame) for k, (truth, own) in enumerate(pairs)])
    curves = pd.concat([_curve(k, own, space, frame) for k, own in enumerate(found)])
    at = np.array([own[0] for own in null]).reshape(-1, 2)
    checked = pd.DataFrame(frame.columns(at)).join(
        pd.DataFrame([own[1:] for own in null], columns=list(NULL))
    )
    scenarios = [_scenario(truth, own, found[0], space, frame) for truth, own in pairs]
    about = {"sizes": frame.described(), "vary": wanted.varied}
    about |= {"between": {name: list(ends) for name, ends in wanted.bounds.items()}}
    about |= {"measure": wanted.measure, "term": wanted.term, "engine": wanted.engine, "target": wanted.goal}
    about |= {
        "cost": wanted.cost,
        "tolerance": wanted.tolerance,
        "at_most": wanted.at_most,
        "conf_level": level,
    }
    return designs, curves, checked, about | {"status": found[0].status, "scenarios": scenarios}


NULL = ("design", "replicates", "failed", "singular", "n_used", "estimate", "mcse")


def _null(sources: Sources, frame: Frame, at: Design) -> tuple:
    """The Type I error of the test where the effect is 0, all else as the search assumes."""
    wanted = frame.wanted
    evaluate = Evaluator(sources, wanted.truths[0] | {wanted.term: 0.0}, wanted, "type_1_error")
    own = evaluate(at, AT_NULL_IN_FULL if frame.several else AT_NULL)
    return (at, own.key, own.replicates, own.failed, own.singular, own.n, own.estimate, own.mcse)


def _designs(scenario: int, truth: Mapping[str, float], found: Found, frame: Frame) -> pd.DataFrame:
    """A row for each design that was simulated, smallest first."""
    at = np.array(list(found.designs))
    own = list(found.designs.values())
    table = pd.DataFrame({"scenario": [scenario] * len(at)} | frame.columns(at))
    for term, value in truth.items():
        table[f"fixed__{term}"] = value
    if frame.wanted.cost is not None:
        table["cost"] = frame.cost(*at.T.astype(float))
    table["design"], table["measure"] = [one.key for one in own], frame.wanted.measure
    for name in ("replicates", "failed", "singular"):
        table[name] = [getattr(one, name) for one in own]
    table["n_used"] = [one.n for one in own]
    table["estimate"], table["mcse"] = [one.estimate for one in own], [one.mcse for one in own]
    table["fitted"], table["used"] = found.curve.value(at)[0], found.curve.used
    return table.iloc[np.lexsort((at[:, 0], at[:, 1]))]


def _line(found: Found, space: Space) -> np.ndarray:
    """Designs of the curve: through the answer, as far as the designs that its fit used; (k, 2)."""
    best = int(np.flatnonzero((space.designs == found.best).all(axis=1))[0])
    line = space.designs[space.along(best)]
    sizes = found.curve.size(np.array(list(found.designs))[found.curve.used])
    own = found.curve.size(line)
    near = np.flatnonzero((own >= sizes.min() * (1 - 1e-9)) & (own <= sizes.max() * (1 + 1e-9)))
    return line[near[np.unique(np.linspace(0, len(near) - 1, MOST_DRAWN).round().astype(int))]]


def _curve(scenario: int, found: Found, space: Space, frame: Frame) -> pd.DataFrame:
    at = _line(found, space)
    value, low, high = found.curve.value(at)
    ends = {"estimate": value, "conf_low": low, "conf_high": high}
    return pd.DataFrame({"scenario": [scenario] * len(at)} | frame.columns(at) | ends)


def _scenario(
    truth: Mapping[str, float], found: Found, assumed: Found, space: Space, frame: Frame
) -> dict[str, Any]:
    """What answer.json says of a scenario."""
    at = np.array([found.best])
    value, low, high = (float(own[0]) for own in found.curve.value(at))
    said: dict[str, Any] = {"fixed": dict(truth), "status": found.status}
    said |= {name: own for name, (own,) in frame.columns(at).items()}
    said |= {"low": found.low, "high": found.high, "exact": found.exact}
    if frame.wanted.cost is not None:
        said["cost"] = float(frame.cost(*map(float, found.best)))
        said["frontier"] = _frontier(found, space, frame)
    said |= {"value": value, "value_low": low, "value_high": high, "replicates": found.replicates}
    own = found.designs.values()
    said |= {name: sum(getattr(one, name) for one in own) for name in ("failed", "singular")}
    curve = found.curve
    said["fit"] = {"designs": int(curve.used.sum()), "chi2": curve.chi2, "df": curve.df, "p": curve.p}
    for name, design in (("simulated", found.best), ("at_answer", assumed.best)):
        if (one := found.designs.get(design)) is not None:
            said[name] = {"estimate": one.estimate, "mcse": one.mcse, "replicates": one.replicates}
    return said


def _frontier(found: Found, space: Space, frame: Frame) -> list[dict[str, Any]]:
    """Of each size of the second dimension the smallest of the first that reaches the target, and their cost."""
    wanted = frame.wanted
    there = space.designs[reached(wanted.measure, found.curve.value(space.designs)[0], wanted.goal)]
    out = []
    for m in np.unique(there[:, 1]):
        n = int(there[there[:, 1] == m, 0].min())
        sizes = {name: own for name, (own,) in frame.columns(np.array([[n, m]])).items()}
        out.append(sizes | {"cost": float(frame.cost(float(n), float(m)))})
    return out
