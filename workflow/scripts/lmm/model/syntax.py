"""Reading the text of a formula: brackets, quotes, and the names inside an expression."""

import ast
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STATEFUL = frozenset({"poly", "bs", "cs", "cr", "cc", "center", "scale", "standardize"})
FUNCTIONS = STATEFUL | {"log", "log10", "log2", "exp", "exp2", "exp10", "C", "I"}
CONTRASTS = frozenset({"Treatment", "Poly", "Sum", "Helmert", "Diff"})
ARITHMETIC = (
    ast.BinOp, ast.UnaryOp, ast.Compare, ast.Constant, ast.Tuple, ast.List,
    ast.operator, ast.unaryop, ast.cmpop, ast.expr_context,
)  # fmt: skip
REFUSED = {
    "offset": "an offset stands alone; write y ~ x + offset(column) + (x | group)",
    "weights": "weights stand left of '~'; write y | weights(column) ~ x + (x | group)",
    "lag": "`lag` depends on the order of rows; make it a column of the data",
    "hashed": "`hashed` categories are not supported; make it a column of the data",
    "s": "smooth terms are not supported; bs(x, df=4) is a spline",
    "te": "smooth terms are not supported; bs(x, df=4) is a spline",
    "gr": "brms's `gr` is not supported; write (x | group)",
    "mm": "multiple membership is not supported; one grouping factor is",
    "cbind": "only one response is supported",
    "factor": "write C(...) for a categorical predictor",
    "as.factor": "write C(...) for a categorical predictor",
}


@dataclass
class Names:
    """What one Python expression of a formula uses."""

    columns: list[str]
    categorical: list[str]
    stateful: bool
    call: bool


def names_in(expression: str, fail: Callable[[str], Exception]) -> Names:
    """Columns and functions of an expression such as `np.log(x)`; what is neither is refused.

    Parameters
    ----------
    expression : str
        Odd column names in backticks.
    fail : callable
        Makes the exception to raise from a message.
    """
    # an identifier stands in for each `odd name`, so that Python's own parser can read the rest
    pieces = expression.split("`")
    odd = {f"column_{i}_": pieces[i] for i in range(1, len(pieces), 2)}
    text = "".join(f"column_{i}_" if i % 2 else piece for i, piece in enumerate(pieces))
    tree = ast.parse(text, mode="eval")  # formulaic has parsed it before
    visitor = _Visitor(odd, fail)
    visitor.names.call = isinstance(tree.body, ast.Call)
    visitor.visit(tree.body)
    return visitor.names


class _Visitor(ast.NodeVisitor):
    def __init__(self, odd: dict[str, str], fail: Callable[[str], Exception]):
        self.odd, self.fail = odd, fail
        self.names = Names([], [], False, False)

    def visit_Call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func)
        root, _, leaf = name.rpartition(".")
        ufunc = root == "np" and isinstance(getattr(np, leaf, None), np.ufunc)
        if name in REFUSED:
            raise self.fail(REFUSED[name])
        if not (ufunc or name in FUNCTIONS or name in CONTRASTS or root == "contr"):
            if isinstance(getattr(np, name, None), np.ufunc):  # R's sqrt, abs, ...
                raise self.fail(f"unknown function '{name}'; write np.{name}(...)")
            raise self.fail(
                f"unknown function '{name}'; expected np.<elementwise function> or one of "
                + ", ".join(sorted(FUNCTIONS))
            )
        self.names.stateful |= name in STATEFUL
        if name == "C":
            if not node.args or not isinstance(node.args[0], ast.Name):
                raise self.fail(f"'{ast.unparse(node)}': expected the name of a column in C(...)")
            if any(word.arg == "levels" for word in node.keywords):
                what = (
                    "other levels would count as the reference; write contr.treatment('level') to choose it"
                )
                raise self.fail(f"'{ast.unparse(node)}': {what}")
            column = node.args[0].id
            self.names.categorical.append(self.odd.get(column, column))
        for item in [*node.args, *(word.value for word in node.keywords)]:
            self.visit(item)

    def generic_visit(self, node: ast.AST) -> None:
        if not isinstance(node, ARITHMETIC):
            raise self.fail(f"'{ast.unparse(node)}': expected arithmetic on columns")
        super().generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id not in CONTRASTS:
            self.names.columns.append(self.odd.get(node.id, node.id))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = ast.unparse(node)
        constant = name.startswith("np.") and isinstance(getattr(np, node.attr, None), float)
        if not constant and not name.startswith("contr."):
            raise self.fail(f"'{name}': expected the name of a column (in backticks if it has a dot)")


def unquoted(text: str) -> str:
    """`text` without what stands in backticks or quotes."""
    out, quote = [], ""
    for c in text:
        if quote:
            quote = "" if c == quote else quote
        elif c in "`'\"":
            quote = c
        else:
            out.append(c)
    return "".join(out)


def split(text: str, signs: str, fail: Callable[[str], Exception]) -> list[tuple[str, str]]:
    """Split at `signs` outside brackets and quotes: (sign before the part, part); a leading sign is kept."""
    parts: list[tuple[str, str]] = []
    depth, quote, start, sign = [], "", 0, "+"
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "`'\"":
            quote = c
        elif c in "([{":
            depth.append(c)
        elif c in ")]}":
            if not depth or "([{".index(depth.pop()) != ")]}".index(c):
                raise fail(f"'{c}' closes nothing; expected its other half before it")
        elif c in signs and not depth:
            if text[start:i].strip() or (parts and signs != "+-") or signs != "+-":
                parts.append((sign, text[start:i]))
            elif parts:
                raise fail(f"'{sign}' is followed by '{c}'; expected a term between them")
            sign, start = c, i + 1
    if quote or depth:
        raise fail(f"'{quote or depth[-1]}' is never closed; expected its other half after it")
    return [*parts, (sign, text[start:])]


def strip(text: str) -> str:
    """`text` without the brackets that enclose all of it."""
    text = text.strip()
    while text.startswith("(") and text.endswith(")"):
        depth = 0
        for i, c in enumerate(text):
            depth += (c == "(") - (c == ")")
            if depth == 0 and i < len(text) - 1:
                return text
        text = text[1:-1].strip()
    return text
