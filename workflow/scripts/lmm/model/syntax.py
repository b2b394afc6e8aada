"""Reading the text of a formula: brackets, quotes, and the names inside an expression."""

import ast
import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lmm.core.tidy import RESIDUAL, sd_name

STATEFUL = frozenset({"poly", "bs", "cs", "cr", "cc", "center", "scale", "standardize"})
FUNCTIONS = STATEFUL | {"log", "log10", "log2", "exp", "exp2", "exp10", "C", "I"}
# How names of variance parameters begin, and of measures of variance explained.
RESERVED = ("sd__", "cor__", "variance_explained__")
CALL = re.compile(rf"({'|'.join(sorted(FUNCTIONS))}|np\.\w+|contr\.\w+)\(")
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


# Stand-ins are private characters of Unicode, which have no meaning for anyone and seldom occur.
FIRST = 0x10FF00
MARK = chr(FIRST + 0x80)  # behind a name that is none as it stands: a word of Python's, a number, an odd one
STAND_INS = {code: FIRST + code for code in range(0x80) if not (chr(code).isalnum() or chr(code) == "_")}
SIGNS = {FIRST + code: code for code in range(0x80)} | {ord(MARK): ""}


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

    Returns
    -------
    Names
    """
    # an identifier stands in for each `odd name`, so that Python's own parser can read the rest
    pieces = expression.split("`")
    odd = {f"column_{i}_": shown(pieces[i]) for i in range(1, len(pieces), 2)}
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
    """Split at `signs` outside brackets and quotes: (sign before the part, part); a leading sign is kept.

    Parameters
    ----------
    text : str
        Part of a formula.
    signs : str
        The characters to split at.
    fail : callable
        Makes the error for a message.

    Returns
    -------
    list of (str, str)
    """
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


def term_of(column: str) -> str:
    """A column's name in the names of terms: in backticks, as R has them, where it could be read as something else.

    `x:z` is an interaction, `f[T.a]` a level, `log(x)` a function, and the standard deviation of a random effect of
    a column called Observation would have the residual's name.
    """
    odd = column.startswith(RESERVED) or sd_name(column) == RESIDUAL or CALL.match(column)
    return f"`{column}`" if odd or set(":[") & set(column) else column


def is_bare(column: str) -> bool:
    """Whether a formula may have a column's name without backticks and means nothing else by it."""
    return column.isidentifier() and not keyword.iskeyword(column) and term_of(column) == column


def hide(text: str) -> str:
    """A formula whose names in backticks have stand-ins for all signs that formulaic or Python would read.

    formulaic takes a backslash, a tilde or a bracket in a name for its own, and joins names by colons. A level that
    begins with two underscores it leaves out; such a string in quotes gets a stand-in, too (`hide_level`).
    """

    def hidden(found: re.Match) -> str:
        if found[1]:
            return found[1][0] + hide_level(found[1][1:])
        bare = is_bare(found[2]) or found[2].endswith(MARK)
        return f"`{found[2].translate(STAND_INS)}{MARK * (not bare)}`"

    return re.sub(r"('[^']*'|\"[^\"]*\")|`([^`]*)`", hidden, text)


def hide_name(name: str) -> str:
    """A column's name as `hide` leaves it between backticks."""
    return hide(f"`{name}`")[1:-1]


def hide_level(level: str) -> str:
    """A level that formulaic keeps."""
    return chr(FIRST + ord("_")) + level[1:] if level.startswith("__") else level


def shown(text: str) -> str:
    """What `hide` has hidden, as it was."""
    return text.translate(SIGNS)


def spaced(text: str) -> str:
    """`text` with one space wherever there is white space, but for what stands in backticks or quotes."""
    return re.sub(r"(`[^`]*`|'[^']*'|\"[^\"]*\")|\s+", lambda found: found[1] or " ", text).strip()


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
