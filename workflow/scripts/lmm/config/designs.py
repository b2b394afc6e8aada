"""Lists inside `simulate:` cross into designs; a table of designs is taken as it is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from lmm.config.simulation import Simulation
from lmm.core.errors import StudyError
from lmm.core.streams import design_key
from lmm.core.words import as_cell

NOT_CROSSED = ("sizes",)
# Of the study: a design is what is simulated, not with which numbers.
SINGLE = ("seed", "generator", "address")
MOST_DESIGNS = 10_000


@dataclass(frozen=True)
class DesignPoint:
    """One scalar design of a study.

    Attributes
    ----------
    key : str
        Stable: hash of the canonical JSON of what differs from the defaults, seed and generator left out.
    values : dict
        The coordinates that tell this design from the others, key path (`groups`, `sd.x`) to value.
    settings : Simulation or None
        What to simulate; None for a study with own data, whose only design is its data's.
    """

    key: str
    values: dict[str, Any]
    settings: Simulation | None

    def plain(self) -> dict[str, Any]:
        """As built-in types, for a rule's params."""
        return {
            "key": self.key,
            "values": self.values,
            "settings": None if self.settings is None else self.settings.plain(),
        }

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> "DesignPoint":
        """The design whose `plain` this is."""
        settings = value["settings"]
        return cls(
            value["key"], value["values"], None if settings is None else Simulation.from_plain(settings)
        )


def point(settings: Simulation, values: dict[str, Any]) -> DesignPoint:
    """A design with its key.

    Values that are mappings become a label (`poisson(8)`), so that they fit in a column of a table.
    """
    values = {path: as_cell(value) for path, value in values.items()}
    canonical = settings.model_dump(mode="json", exclude_defaults=True, exclude=set(SINGLE))
    return DesignPoint(design_key(canonical), values, settings)


def stream_key(settings: Simulation) -> str:
    """What a design's random streams are addressed by: the key of the same design with normal effects and errors.

    Designs that differ in these shapes alone share groups, predictors and all draws that have the same shape.
    """
    shapes = ("random_effects", "errors")
    canonical = settings.model_dump(mode="json", exclude_defaults=True, exclude={*SINGLE, *shapes})
    return design_key(canonical)


def axes(simulate: Mapping[str, Any], path: tuple = ()) -> Iterator[tuple[tuple, list]]:
    """Key paths of the lists that cross, in the order of the configuration."""
    for key, value in simulate.items():
        if isinstance(value, list) and key not in NOT_CROSSED:
            yield (*path, key), value
        elif isinstance(value, Mapping):
            yield from axes(value, (*path, key))


def expand(
    simulate: Mapping[str, Any], table: list | None, crosses: bool
) -> Iterator[tuple[dict, dict, str]]:
    """Scalar `simulate` mappings, each with its coordinates and the key path it came from.

    Parameters
    ----------
    simulate : mapping
        As the configuration has it.
    table : list of mappings, or None
        Explicit designs; each is laid over `simulate`.
    crosses : bool
        Whether the study has replicates.

    Raises
    ------
    StudyError
        For lists without replicates, an empty list, a list where none can be, too many designs.
    """
    rows = [("simulate", simulate, {})]
    if table is not None:
        rows = [(f"designs.{i}", _over(simulate, row, f"designs.{i}"), row) for i, row in enumerate(table)]
    for where, whole, row in rows:
        lists = list(axes(whole))
        for path, values in lists:
            here = ".".join([where, *map(str, path)])
            if not crosses:
                raise StudyError(
                    here, f"{values}: a list crosses into designs; expected one value, or `replicates`"
                )
            if path[0] in SINGLE:
                raise StudyError(here, f"{values}: expected one value for all designs")
            if not values:
                raise StudyError(here, "[]: expected at least one value")
        count = 1
        for _, values in lists:
            count *= len(values)
        if count > MOST_DESIGNS:
            raise StudyError(where, f"crosses into {count} designs; expected at most {MOST_DESIGNS}")
        for chosen in product(*(values for _, values in lists)):
            picked = dict(zip((path for path, _ in lists), chosen, strict=True))
            scalar = _scalar(whole, picked)
            explicit = dict(_leaves(_scalar(row, picked))) if row else {}
            crossed = {".".join(map(str, path)): value for path, value in picked.items()}
            yield scalar, explicit | crossed, where


def _scalar(value: Any, picked: Mapping[tuple, Any], path: tuple = ()) -> Any:
    if path in picked:
        return picked[path]
    if isinstance(value, Mapping):
        return {key: _scalar(item, picked, (*path, key)) for key, item in value.items()}
    return value


def _over(below: Any, above: Any, where: str) -> dict:
    """`above` laid over `below`, mappings of numbers merged; what excludes each other replaces each other."""
    if not isinstance(above, Mapping):
        raise StudyError(where, f"{above!r}: expected a mapping of keys of `simulate`")
    merged = dict(below)
    if "rows" in above:
        merged.pop("rows_per_group", None)
    if "rows_per_group" in above:
        merged.pop("rows", None)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = (
            {**merged[key], **value} if both and key in ("fixed", "sd", "corr", "predictors") else value
        )
    return merged


def _leaves(value: Mapping, path: tuple = ()) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and not path:
            yield from _leaves(item, (*path, key))
        else:
            yield ".".join(map(str, (*path, key))), item
