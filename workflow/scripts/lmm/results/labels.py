"""What people call columns, levels and the parameters named after them: `20 mg vs Placebo`, `Days × Sex: F vs M`.

Names come from `labels` of the configuration; a column without one keeps its own.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lmm.core.tidy import RESIDUAL, pair_of

INTERCEPT = "Intercept"
# a categorical factor of a term: column, or C(column, ...), and the level that treatment contrasts compare
_CODED = re.compile(r"(?:C\((?P<call>`[^`]+`|[^\s,()`]+).*\)|(?P<name>.+?))\[T\.(?P<level>.*)\]")


@dataclass(frozen=True)
class Labels:
    """Names for people.

    Attributes
    ----------
    given : mapping
        Column to name, or to a mapping with name, unit and levels, as the configuration has it.
    references : mapping
        Categorical predictor to the level that treatment contrasts compare the others with.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, given: Mapping[str, Any] | None, columns: Mapping[str, Any], terms: Iterable[str]
    ) -> "Labels":
        """Labels of a study.

        Parameters
        ----------
        given : mapping or None
            `labels` of the configuration.
        columns : mapping
            data.json's `columns`.
        terms : iterable of str
            The fixed effects of all engines.
        """
        compared: dict[str, set[str]] = {}
        for term in terms:
            for part in factors(term):
                if found := _CODED.fullmatch(part):
                    compared.setdefault(_column(found), set()).add(found["level"])
        references = {}
        for name, levels in compared.items():
            left = [
                str(level) for level in columns.get(name, {}).get("levels") or () if str(level) not in levels
            ]
            if len(left) == 1:
                references[name] = left[0]
        return cls(given or {}, references)

    def _own(self, column: str) -> Mapping[str, Any]:
        own = self.given.get(column, {})
        return {"name": own} if isinstance(own, str) else own

    def column(self, name: str) -> str:
        """A column's name."""
        return self._own(name).get("name") or name

    def unit(self, column: str) -> str:
        """A column's unit; empty where the configuration gives none."""
        return self._own(column).get("unit") or ""

    def titled(self, column: str) -> str:
        """A column's name with its unit, for an axis: `Reaction time (ms)`."""
        unit = self.unit(column)
        return f"{self.column(column)} ({unit})" if unit else self.column(column)

    def level(self, column: str, level: Any) -> str:
        """A level's name."""
        return (self._own(column).get("levels") or {}).get(str(level), str(level))

    def term(self, term: str) -> str:
        """A fixed or random effect: `Days × Sex: Female vs Male`, `(Intercept)`."""
        if term == INTERCEPT:
            return INTERCEPT
        return " × ".join(self._factor(part) for part in factors(term))

    def _factor(self, part: str) -> str:
        found = _CODED.fullmatch(part)
        if found is None:
            return self.column(part.strip("`")) if part.strip("`") in self.given else part.strip("`")
        column, level = _column(found), found["level"]
        shown = self.level(column, level)
        if column in self.references:
            shown += f" vs {self.level(column, self.references[column])}"
        return f"{self.column(column)}: {shown}"

    def parameter(self, term: str) -> str:
        """A variance parameter without its group: `SD of Days`, `Correlation of a and b`, `Residual SD`."""
        if term == RESIDUAL:
            return "Residual SD"
        kind, _, name = term.partition("__")
        if kind == "cor":
            return "Correlation of " + " and ".join(map(self.term, pair_of(term)))
        return f"SD of {self.term(name)}"


def factors(term: str) -> list[str]:
    """The factors of a term, taken apart at colons outside brackets, parentheses and backticks."""
    parts, depth, quoted, start = [], 0, False, 0
    for at, sign in enumerate(term):
        quoted ^= sign == "`"
        depth += 0 if quoted else (sign in "([") - (sign in ")]")
        if sign == ":" and depth == 0 and not quoted:
            parts.append(term[start:at])
            start = at + 1
    return [*parts, term[start:]]


def _column(found: re.Match) -> str:
    return (found["call"] or found["name"]).strip("`")
