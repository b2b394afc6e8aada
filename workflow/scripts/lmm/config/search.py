"""Settings of a search for the size of a design, and the arithmetic of what a design costs."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from lmm.config.base import Settings

Bounds = Annotated[list[Annotated[int, Field(ge=1, le=10**6)]], Field(min_length=2, max_length=2)]
PROPORTIONS = ("power", "coverage")
SIGNS: dict[type, Callable] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.UAdd: operator.pos, ast.USub: operator.neg,
}  # fmt: skip
OF_ROWS = ("rows_per_group", "rows")  # sizes that are not levels of a grouping factor


def cost_of(text: str, known: Mapping[str, Any]) -> Any:
    """What designs cost, of arrays as of numbers.

    Parameters
    ----------
    text : str
        Arithmetic of the sizes of a design, such as `50 * groups + 2 * rows`.
    known : mapping of str to numbers or arrays
        The sizes by name.

    Raises
    ------
    ValueError
        What in the text is not arithmetic of these.
    """
    try:
        return _value(ast.parse(text.strip(), mode="eval").body, known)
    except (SyntaxError, OverflowError, ZeroDivisionError, RecursionError, MemoryError) as error:
        raise ValueError(type(error).__name__) from None


def _value(node: ast.AST, known: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return float(node.value)
    if isinstance(node, ast.Name) and node.id in known:
        return known[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in SIGNS:
        return SIGNS[type(node.op)](_value(node.left, known), _value(node.right, known))
    if isinstance(node, ast.UnaryOp) and type(node.op) in SIGNS:
        return SIGNS[type(node.op)](_value(node.operand, known))
    raise ValueError(ast.unparse(node))


class Search(Settings):
    """The smallest design that reaches a target, found by simulation."""

    vary: str | Annotated[list[str], Field(min_length=1, max_length=2)] = "groups"
    """What is searched for: groups, rows_per_group, or both (with `cost`). With several grouping factors: levels of
    one, such as subject, rows_per_group or rows, or two of these. Everything else is as under `simulate`."""
    between: Bounds | dict[str, Bounds]
    """Smallest and largest value: [10, 400]; of two dimensions {groups: [10, 200], rows_per_group: [2, 20]}."""
    measure: Literal["power", "coverage", "rmse", "interval_width"] = "power"
    """power and coverage: at least the target; rmse and interval_width (mean width of the interval): at most."""
    term: str
    """The parameter that it is of, such as x; power is of a fixed effect. With several grouping factors sd__x|subject
    and the like."""
    engine: str = "reml"
    """The engine that fits: reml or ols."""
    target: float | None = Field(None, gt=0)
    """What to reach; 0.8 for power where nothing is said."""
    fixed: dict[str, float | Annotated[list[float], Field(min_length=1)]] = Field(default_factory=dict)
    """Fixed effects instead of those of `simulate`, or of the fit to `data`: the smallest effects of interest. A
    list: the first value is what the search assumes, and each other gets an answer and a curve of its own."""
    cost: str | None = None
    """Of two dimensions: arithmetic of what varies and of rows, such as 50 * groups + 2 * rows. The cheapest design
    is the answer."""
    tolerance: int = Field(1, ge=1)
    """Replicates end when the Monte Carlo interval of the answer reaches no further than so many groups (or what else
    varies) to either side."""
    at_most: int = Field(40_000, ge=2000, le=10**7)
    """Replicates of a search at most; the answer's interval then says how exact it is."""

    @property
    def varied(self) -> list[str]:
        """The dimensions, rows last."""
        given = [self.vary] if isinstance(self.vary, str) else self.vary
        return sorted(given, key=lambda name: name in OF_ROWS)

    @property
    def bounds(self) -> dict[str, tuple[int, int]]:
        """By dimension."""
        if isinstance(self.between, dict):
            return {name: (low, high) for name, (low, high) in self.between.items()}
        return dict.fromkeys(self.varied, (self.between[0], self.between[1]))

    @property
    def goal(self) -> float | None:
        """The target, with the default of power."""
        return 0.8 if self.target is None and self.measure == "power" else self.target

    @property
    def truths(self) -> list[dict[str, float]]:
        """Fixed effects of each scenario, the assumed one first: lists cross."""
        found: list[dict[str, float]] = [{}]
        for term, value in self.fixed.items():
            values = value if isinstance(value, list) else [value]
            found = [own | {term: float(each)} for own in found for each in values]
        return found
