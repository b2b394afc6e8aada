"""The artifacts of a study with a search, read back: what its figures and its report see of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from lmm.core.store import read_json, read_table
from lmm.results.base import Reported

TABLES = ("search", "curve", "null")


class Size(NamedTuple):
    """A number that describes a design.

    Attributes
    ----------
    column : str
        Of the tables, and of the answer's scenarios.
    name : str
        groups, rows_per_group, rows, or the column of a grouping factor.
    per : str or None
        The column that its levels are nested in, and counted per level of.
    """

    column: str
    name: str
    per: str | None

    @property
    def factor(self) -> bool:
        """Whether it counts levels of one of several grouping factors."""
        return self.column.startswith("groups__")


@dataclass(frozen=True)
class Searched(Reported):
    """What a search left behind, beside the study's name and settings.

    Attributes
    ----------
    answer : dict
        answer.json.
    tables : dict of DataFrame
        search, curve, null.
    """

    answer: dict[str, Any]
    tables: dict[str, pd.DataFrame]

    @property
    def scenarios(self) -> list[dict[str, Any]]:
        """What was found of each truth, the assumed one first."""
        return self.answer["scenarios"]

    @property
    def engine(self) -> str:
        """The engine that fitted."""
        return self.answer["engine"]

    @property
    def fits(self) -> dict[str, None]:
        """The engine's name where `Results` has its fits."""
        return {self.engine: None}

    @property
    def sizes(self) -> list[Size]:
        """All that describes a design."""
        return [Size(**own) for own in self.answer["sizes"]]

    @property
    def varied(self) -> list[Size]:
        """What was searched for, in the order of the search's dimensions."""
        return [next(own for own in self.sizes if own.name == name) for name in self.answer["vary"]]

    @property
    def first(self) -> Size:
        """The dimension of the answer's interval."""
        return self.varied[0]

    @property
    def proportion(self) -> bool:
        """Whether the measure is a proportion, to be at least the target; else it is to be at most the target."""
        return self.answer["measure"] in ("power", "coverage")

    def truth(self, scenario: int) -> dict[str, float]:
        """Fixed effects in which a scenario differs from the assumed one."""
        assumed, own = self.scenarios[0]["fixed"], self.scenarios[scenario]["fixed"]
        return {term: value for term, value in own.items() if value != assumed.get(term)}


def read(study: str, settings: Mapping[str, Any], paths: Mapping[str, Any]) -> Searched:
    """Read the artifacts of a search.

    Parameters
    ----------
    study : str
    settings : mapping
        As in `Searched`.
    paths : mapping
        search, curve, null, answer.
    """
    tables = {name: read_table(paths[name]) for name in TABLES}
    return Searched(study, dict(settings), read_json(paths["answer"]), tables)
