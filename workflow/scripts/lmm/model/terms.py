"""Names of a model's columns: all that engines need to know of a formula, readable without formulaic."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Grouping:
    """A grouping factor and its random effects.

    Attributes
    ----------
    columns : tuple of str
        Columns of the data whose combinations are the factor's levels; one, unless factors are combined.
    blocks : tuple of tuples of str
        Columns of Z, a tuple for each independent block of random effects.
    """

    columns: tuple[str, ...]
    blocks: tuple[tuple[str, ...], ...]

    @property
    def group(self) -> str:
        """The factor's name, lme4's: `cask:batch` for combinations; its levels are `a:A`."""
        return ":".join(self.columns)

    @property
    def random(self) -> tuple[str, ...]:
        """Columns of Z, block after block."""
        return tuple(name for block in self.blocks for name in block)


INTERCEPT = "Intercept"


@dataclass(frozen=True)
class Terms:
    """Names of a design's columns, formulaic's (`Intercept`, `x`, `C(Diet)[T.2]`).

    Attributes
    ----------
    fixed : tuple of str
        Columns of X.
    groupings : tuple of Grouping
        The grouping factors in the formula's order.
    columns : tuple of str
        Distinct columns W of Z and X: the intercept first where there is one, then Z's, then X's own.
    dropped : tuple of str
        Columns of the fixed effects that are linear combinations of those before them: they are not in X.
    """

    fixed: tuple[str, ...]
    groupings: tuple[Grouping, ...]
    columns: tuple[str, ...]
    dropped: tuple[str, ...] = ()

    @classmethod
    def one(
        cls, fixed: tuple[str, ...], blocks: tuple[tuple[str, ...], ...], group: str, columns: tuple[str, ...]
    ) -> "Terms":
        """The terms of a model with one grouping factor, a column of the data.

        Parameters
        ----------
        fixed : tuple of str
            Names of X's columns.
        blocks : tuple of tuple of str
            Names of Z's columns in each block of random effects.
        group : str
            The grouping factor.
        columns : tuple of str
            All distinct model-matrix columns.

        Returns
        -------
        Terms
        """
        return cls(fixed, (Grouping((group,), blocks),), columns)

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> "Terms":
        """The terms that `dataclasses.asdict` described."""
        groupings = tuple(
            Grouping(tuple(item["columns"]), tuple(tuple(block) for block in item["blocks"]))
            for item in value["groupings"]
        )
        return cls(tuple(value["fixed"]), groupings, tuple(value["columns"]), tuple(value["dropped"]))

    @property
    def only(self) -> Grouping:
        """The grouping factor, where there is one."""
        (grouping,) = self.groupings
        return grouping

    @property
    def by_group(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """Blocks of random effects of each grouping factor."""
        return {own.group: own.blocks for own in self.groupings}

    @property
    def several(self) -> bool:
        """Whether there are several grouping factors."""
        return len(self.groupings) > 1

    @property
    def group(self) -> str:
        """Name of the grouping factor, where there is one."""
        return self.only.group

    @property
    def blocks(self) -> tuple[tuple[str, ...], ...]:
        """Blocks of random effects of the grouping factor, where there is one."""
        return self.only.blocks

    @property
    def random(self) -> tuple[str, ...]:
        """Columns of Z of the grouping factor, where there is one."""
        return self.only.random

    def of(self, grouping: Grouping) -> "Terms":
        """The same terms with one of the grouping factors alone."""
        return replace(self, groupings=(grouping,))
