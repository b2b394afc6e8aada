"""The validated configuration: every mistake becomes one line that names key, value and what was expected.

`load` reads what Snakemake has parsed and gives frozen `Study` objects; rules hand their parts on as plain
built-in types (`.plain()`), from which scripts rebuild them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lmm.config.base import PATTERNS, STUDY, nearest
from lmm.config.checks import (
    check_beside,
    check_effects,
    check_engines,
    check_labels,
    check_models,
    check_replicates,
    check_several,
    check_until,
)
from lmm.config.designs import DesignPoint, expand, point
from lmm.config.file_checks import check_data_files
from lmm.config.messages import message
from lmm.config.recording import recorded
from lmm.config.search_checks import check_search, of_one_engine, smallest
from lmm.config.simulation import Simulation
from lmm.config.simulation_checks import check_simulation
from lmm.config.study import Configuration, Criterion, Report, StudySettings, Until
from lmm.core import engines
from lmm.core.errors import StudyError
from lmm.core.streams import design_key
from lmm.model.formula import parse, regrouped, unweighted
from lmm.model.parts import Formula


@dataclass(frozen=True)
class Study:
    """One study of the configuration.

    Attributes
    ----------
    name : str
        Its directory under results/.
    settings : StudySettings
        Its keys, validated, defaults filled in; `settings.simulate` is None where lists cross into designs
        (see `designs`) and for own data.
    designs : tuple of DesignPoint
        The scalar designs; one for a study without `replicates`. Own data has one, without settings.
    files : tuple of str
        Files of own data that the patterns matched, sorted within each pattern; empty for simulated data.
    until : tuple of dict
        Monte Carlo errors at which a design's replicates end (`settings.replicates` is the most of them): measure,
        mcse, engine, term.
    written : dict
        Formulas of `models` as the configuration has them, where the study's names of grouping factors changed them.
    varied : dict
        `simulate` and `designs` as the configuration has them, where the study has many designs or searches one.
    """

    name: str
    settings: StudySettings
    designs: tuple[DesignPoint, ...]
    files: tuple[str, ...] = ()
    until: tuple[dict[str, Any], ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)
    varied: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Headline, the formula where none is configured."""
        return self.settings.title or unweighted(self.settings.formula)

    @property
    def formula(self) -> Formula:
        """The study's model."""
        return parse(self.settings.formula)

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines to fit."""
        return self.settings.engines.names

    @property
    def simulate(self) -> Simulation | None:
        """What to simulate (of a study with several designs, the first one's); None for own data."""
        return self.designs[0].settings

    @property
    def data(self) -> tuple[str, ...]:
        """The files of own data; empty for simulated data."""
        return self.files

    @property
    def seed(self) -> int:
        """Seed of all that is simulated: `simulate.seed`; for own data that of the Bayesian engine, or 1."""
        if self.simulate is not None:
            return self.simulate.seed
        bayes = self.settings.engines.first(engines.BAYES)
        return bayes.seed if bayes else 1

    @property
    def configuration(self) -> dict[str, Any]:
        """The study as built-in types, defaults filled in: what a page shows and two runs are compared by."""
        found = self.settings.plain() | dict(self.varied)
        if self.until:
            found["replicates"] = {"until": list(self.until), "at_most": self.settings.replicates}
        return found

    @property
    def record(self) -> str:
        """What is kept of each replicate: full, parameters or sums."""
        return recorded(self.settings, self.formula, self.designs)

    @property
    def effects(self) -> list[dict[str, Any]] | None:
        """Means, slopes and contrasts that are asked for; None: the defaults."""
        found = self.settings.effects
        return None if found is None else [entry.plain() for entry in found]

    def engine(self, name: str) -> dict[str, Any]:
        """An engine's settings as plain types."""
        return getattr(self.settings.engines, name).plain()

    def formula_for(self, engine: str) -> Formula:
        """The model that an engine fits: the study's, or its own override."""
        own = self.engine(engine).get("formula")
        return self.formula if own is None else parse(own)

    def plain(self) -> dict[str, Any]:
        """As built-in types, for a rule's params; `from_plain` reads it back."""
        return {
            "name": self.name,
            "settings": self.settings.plain(),
            "designs": [design.plain() for design in self.designs],
            "files": list(self.files),
            "until": list(self.until),
            "written": dict(self.written),
            "varied": dict(self.varied),
        }

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> "Study":
        """The study whose `plain` this is."""
        designs = tuple(DesignPoint.from_plain(design) for design in value["designs"])
        settings = StudySettings.from_plain(value["settings"])
        rest = (tuple(value["files"]), tuple(value["until"]), value["written"], value["varied"])
        return cls(value["name"], settings, designs, *rest)


@dataclass(frozen=True)
class Studies:
    """A whole configuration: studies by name, in its order, and the report's settings."""

    studies: dict[str, Study]
    report: Report


def load(config: Mapping[str, Any], root: str | Path = ".") -> Studies:
    """Validate a configuration.

    Parameters
    ----------
    config : mapping
        As YAML gives it: `studies`, `report`.
    root : str or Path
        Directory that paths of data start from.

    Raises
    ------
    StudyError
        One line, `studies.<study>.<key path>: <value met and what was expected>`, for the first mistake.
    """
    if not isinstance(config, Mapping) or not config:
        raise StudyError("config", f"{config!r}: expected a mapping with the key 'studies'")
    known = list(Configuration.model_fields)
    for key in config:
        if key not in known:
            raise StudyError(str(key), f"unknown key; {nearest(key, known)}")
    studies = config.get("studies")
    if not isinstance(studies, Mapping) or not studies:
        raise StudyError("studies", f"{studies!r}: expected at least one study, by its name")
    loaded = {}
    for name, raw in studies.items():
        check_name(name)
        try:
            loaded[name] = _study(name, raw, Path(root))
        except StudyError as error:
            raise error.within(name) from None
    report = _validated(Report, config.get("report"), ("report",))
    return Studies(loaded, report)


def check_name(name: Any) -> None:
    """Refuse a study's name that cannot be a directory's on every system.

    Raises
    ------
    StudyError
    """
    if not isinstance(name, str) or not re.fullmatch(STUDY, name):
        raise StudyError("studies", f"study name {name!r}: expected {PATTERNS[STUDY]} ([a-z0-9_-]+)")


def _study(name: str, raw: Any, root: Path) -> Study:
    """One study, checked; errors without its name."""
    if not isinstance(raw, Mapping):
        raise StudyError("formula", f"the study is {raw!r}; expected a mapping with the key 'formula'")
    rest = {key: value for key, value in raw.items() if key not in ("simulate", "designs")}
    settings = _validated(StudySettings, rest, ())
    settings = _with_weights(settings)
    until: list[Criterion] = []
    if isinstance(settings.replicates, Until):
        until = settings.replicates.until
        until = until if isinstance(until, list) else [until]
        settings = settings.model_copy(update={"replicates": settings.replicates.at_most})
    formula = parse(settings.formula)
    varied = {}
    if settings.replicates is not None or settings.search is not None:
        varied = {key: raw[key] for key in ("simulate", "designs") if key in raw}
    if settings.search is not None:
        settings, raw = of_one_engine(settings), smallest(settings.search, formula, raw)
    written, settings = settings.models or {}, _with_groupings(settings, formula)
    written = {name: text for name, text in written.items() if text != settings.models[name]}
    crosses = settings.replicates is not None
    simulated = "simulate" in raw or raw.get("designs") is not None
    if simulated and settings.data is not None:
        raise StudyError("data", "the study has `data` and `simulate`; expected one of the two")
    if simulated and settings.truth is not None:
        raise StudyError("truth", f"'{settings.truth}': is for a study with `data`; expected no such key")
    if not simulated and settings.data is None:
        raise StudyError("data", "the study has neither `data` nor `simulate`; expected one of the two")
    if formula.several and "engines" not in settings.model_fields_set:
        unable = [name for name, engine in engines.ENGINES.items() if not engine.several]
        settings = settings.model_copy(
            update={"engines": settings.engines.model_copy(update=dict.fromkeys(unable))}
        )
    check_several(settings, formula)
    if not simulated:
        files = check_data_files(settings, root)
        designs = (DesignPoint(design_key({"data": True}), {}, None),)
    else:
        files = ()
        designs = _designs(raw, crosses)
        for where, design in designs:
            check_simulation(design.settings, formula, where)
        designs = tuple(design for _, design in designs)
        settings = settings.model_copy(update={"simulate": None if crosses else designs[0].settings})
    moments_only = crosses and (not simulated or settings.simulate_from == "moments")
    if moments_only and "engines" not in settings.model_fields_set:
        # engines that fit rows are defaults only where there are some
        settings = settings.model_copy(
            update={"engines": settings.engines.model_copy(update=dict.fromkeys(engines.of_rows()))}
        )
    check_until(until, settings)
    check_replicates(settings, designs)
    recorded(settings, formula, designs)
    check_beside(settings, formula, simulated)
    check_engines(settings, formula, simulated)
    check_effects(settings, formula)
    check_labels(settings, formula)
    check_models(settings, formula, simulated)
    if settings.search is not None:
        check_search(settings, formula, designs)
    ends = tuple(criterion.plain() for criterion in until)
    return Study(name, settings, designs, files, ends, written, varied)


def _with_weights(settings: StudySettings) -> StudySettings:
    """The settings with the column of weights in all formulas."""
    if settings.weights is None:
        return settings

    def written(text: str, where: str) -> str:
        left, mark, right = text.partition("~")
        return f"{left.strip()} | weights(`{settings.weights}`) {mark}{right}"

    return _rewritten(settings, written).model_copy(update={"formula": written(settings.formula, "formula")})


def _with_groupings(settings: StudySettings, formula: Formula) -> StudySettings:
    """The settings with the study's names of grouping factors, `a:b` where it has `a:b` for `b:a`."""
    own = {frozenset(factor.columns): factor.group for factor in formula.factors}
    if settings.loo is not None:
        loo = own.get(frozenset(settings.loo.split(":")), settings.loo)
        settings = settings.model_copy(update={"loo": loo})
    return _rewritten(settings, lambda text, where: regrouped(text, formula.keys, where))


def _rewritten(settings: StudySettings, written: Callable[[str, str], str]) -> StudySettings:
    """The settings with the engines' and the models' formulas rewritten, each given with its key path."""
    fits = {
        name: own.model_copy(update={"formula": written(own.formula, f"engines.{name}.formula")})
        for name in settings.engines.names
        if getattr(own := settings.engines.own(name), "formula", None) is not None
    }
    changed: dict[str, Any] = {"engines": settings.engines.model_copy(update=fits)} if fits else {}
    if settings.models:
        changed["models"] = {name: written(text, f"models.{name}") for name, text in settings.models.items()}
    return settings.model_copy(update=changed)


def _designs(raw: Mapping[str, Any], crosses: bool) -> list[tuple[str, DesignPoint]]:
    simulate, table = raw.get("simulate"), raw.get("designs")
    simulate = {} if simulate is None else simulate
    if not isinstance(simulate, Mapping):
        raise StudyError("simulate", f"{simulate!r}: expected a mapping")
    if table is not None and (not isinstance(table, list) or not table):
        raise StudyError("designs", f"{table!r}: expected a list of mappings, each with keys of `simulate`")
    if table is not None and not crosses:
        raise StudyError("designs", "a table of designs needs `replicates`; expected both or neither")
    found = []
    for scalar, values, where in expand(simulate, table, crosses):
        found.append((where, _validated(Simulation, scalar, (where,)), values, scalar))
    columns = list(dict.fromkeys(path for _, _, values, _ in found for path in values))
    designs: dict[str, tuple[str, DesignPoint]] = {}
    for where, settings, _, scalar in found:
        design = point(settings, {path: _at(scalar, settings, path) for path in columns})
        if design.key in designs:
            raise StudyError(where, f"the design {design.values} appears twice; expected distinct designs")
        designs[design.key] = where, design
    return list(designs.values())


def _at(scalar: Mapping[str, Any], settings: Simulation, path: str) -> Any:
    """Value of a design at a key path: as configured, else the default."""
    for value in (scalar, settings.plain()):
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None


def _validated(model, raw: Any, path: tuple):
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        where, what = message(error, raw)
        raise StudyError(".".join(map(str, (*path, *where))) or "config", what) from None
