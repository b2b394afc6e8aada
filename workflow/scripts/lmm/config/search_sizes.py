"""What the numbers of a searched design are: sizes of a simulation, columns of tables, quantities of a cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lmm.config.search import OF_ROWS, Search, cost_of
from lmm.config.simulation import Simulation
from lmm.core.words import as_cell
from lmm.model.parts import Formula

GROUPS = ("groups", "rows_per_group")  # of one grouping factor
Pair = tuple[int, int]


def known_sizes(formula: Formula, own_data: bool) -> list[str]:
    """What a search can vary.

    Parameters
    ----------
    formula : Formula
        The study's.
    own_data : bool
        Whether data are given, of which whole levels are drawn again.
    """
    if not formula.several:
        return list(GROUPS)
    if own_data:
        return [factor.group for factor in formula.factors]
    return [*dict.fromkeys(name for key in formula.keys for name in key), *OF_ROWS]


def in_groups(name: str, several: bool) -> bool:
    """Whether a size is under `simulate.groups`, levels of one of several grouping factors."""
    return several and name not in OF_ROWS


def sized(simulate: Mapping[str, Any], sizes: Mapping[str, int], several: bool) -> dict[str, Any]:
    """`simulate` with sizes in it; what cannot have them is left to the checks of simulations.

    Parameters
    ----------
    simulate : mapping
        As the configuration has it, or `Simulation.plain`.
    sizes : mapping of str to int
        By name: `known_sizes`.
    several : bool
        Whether the model has several grouping factors.
    """
    out = dict(simulate)
    for name, size in sizes.items():
        if not in_groups(name, several):
            out[name] = size
            continue
        groups = out.get("groups")
        if groups is None or isinstance(groups, Mapping):
            groups = {} if groups is None else groups
            how = groups.get(name)
            out["groups"] = {**groups, name: {**how, "count": size} if isinstance(how, Mapping) else size}
    return out


@dataclass(frozen=True)
class Frame:
    """The two numbers of a search's designs in the words of a study; a number that does not vary is fixed.

    Attributes
    ----------
    wanted : Search
    simulate : mapping or None
        Settings of the simulation; None for own data.
    several : bool
        Whether the model has several grouping factors.
    """

    wanted: Search
    simulate: Mapping[str, Any] | None
    several: bool

    @property
    def places(self) -> tuple[str, str]:
        """What the two numbers are; of a single size of several factors the first is always 1, and nothing."""
        if not self.several:
            return GROUPS
        first, *others = self.wanted.varied
        return (first, others[0]) if others else ("", first)

    @cached_property
    def own(self) -> Simulation | None:
        """The simulation, of the sizes that `simulate` has."""
        return None if self.simulate is None else Simulation.from_plain(self.simulate)

    @property
    def bounds(self) -> tuple[Pair, Pair]:
        """Smallest and largest of both numbers, equal where one does not vary."""
        first, second = (self.wanted.bounds.get(name, self._alone(name)) for name in self.places)
        return first, second

    def _alone(self, name: str) -> Pair:
        """Bounds of a number that does not vary."""
        size = self._fixed(name) if name in GROUPS and self.own is not None else 1
        return (size, size) if isinstance(size, int) else (1, 1)

    @property
    def ratios(self) -> int:
        """Ratios of variances that the curve has: one for each number that varies; groups of one factor have none."""
        return sum(self.several or name != "groups" for name in self.wanted.varied)

    def sizes(self, at: Any) -> dict[str, Any]:
        """What varies, by name, of a design or of both columns of designs."""
        return {name: own for name, own in zip(self.places, at, strict=True) if name in self.wanted.varied}

    def plain(self, at: Pair) -> dict[str, Any]:
        """The simulation's settings of a design."""
        return sized(self.simulate or {}, self.sizes(at), self.several)

    def cost(self, first: Any, second: Any) -> Any:
        """What designs cost; the number of rows, up to a factor, without a cost."""
        sizes = self.sizes((first, second))
        rows = sizes.get("rows")
        if rows is None:
            rows = self._rows_each() * np.prod(np.broadcast_arrays(*sizes.values()), axis=0)
        if self.wanted.cost is None:
            return rows
        return cost_of(self.wanted.cost, sizes | {"rows": rows})

    def _rows_each(self) -> float:
        """Rows per unit of the product of what varies."""
        if self.own is None:
            return 1.0
        sizes = [low for low, _ in self.wanted.bounds.values()]
        return Simulation.from_plain(self.plain(tuple(low for low, _ in self.bounds))).n_rows / np.prod(sizes)

    def described(self) -> list[dict[str, Any]]:
        """All sizes of a design, for answer.json: tables' column, name, and the column that levels are nested in.

        Levels of a column that is nested in another are counted per level of that one.
        """
        if not self.several:
            return [{"column": name, "name": name, "per": None} for name in GROUPS]
        found, own = [], self.own
        groups = {} if own is None else own.groups
        first = [name for name in self.wanted.varied if in_groups(name, self.several)]
        for name in dict.fromkeys([*first, *groups]):
            per = getattr(groups.get(name), "per", None)
            column = f"groups__{name}" if per is None else f"groups__{name}_per_{per}"
            found.append({"column": column, "name": name, "per": per})
        if own is not None:
            name = "rows" if own.group_rows is None else "rows_per_group"
            found.append({"column": name, "name": name, "per": None})
        return found

    def columns(self, at: np.ndarray) -> dict[str, list]:
        """Columns of tables for designs (k, 2): every size; of rows that differ between groups how they are drawn."""
        at = np.asarray(at).reshape(-1, 2)
        varied, own = self.sizes(at.T.tolist()), self.own
        out = {}
        for size in self.described():
            name = size["name"]
            fixed = None if own is None else self._fixed(name)
            out[size["column"]] = varied.get(name, [fixed] * len(at))
        return out

    def _fixed(self, name: str) -> Any:
        """A size that does not vary."""
        own = self.own
        if name == "rows":
            return own.rows
        if name == "rows_per_group":
            return own.group_rows if isinstance(own.group_rows, int) else as_cell(own.group_rows.plain())
        if not self.several:
            return own.n_groups
        how = own.groups[name]
        return how if isinstance(how, int) else how.count
