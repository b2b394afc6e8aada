"""Reading the text of a formula: brackets, quotes, and the names inside an expression."""

import ast
import keyword
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

STATEFUL = frozenset({"poly", "bs", "cs", "cr", "cc", "center", "scale", "standardize"})
FUNCTIONS = STATEFUL | {"log", "log10", "log2", "exp", "exp2", "exp10", "C", "I", "as_date"}
# How names of variance parameters begin, and of measures of variance explained.
RESERVED = ("sd__", "cor__", "variance_explained__")
CALL = re.compile(rf"({'|'.join(sorted(FUNCTIONS))}|np\.\w+|contr\.\w+)\(")
CONTRASTS = frozenset({"Treatment", "Poly", "Sum", "Helmert", "Diff"})
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # a name that means itself everywhere
ARITHMETIC = (
    ast.BinOp, ast.UnaryOp, ast.Compare, ast.Constant, ast.Tuple, ast.List,
    ast.operator, ast.unaryop, ast.cmpop, ast.expr_context,
)  # fmt: skip
NO_NUMBERS = (ast.BitXor, ast.BitAnd, ast.BitOr, ast.LShift, ast.RShift, ast.MatMult, ast.Invert, ast.Not)
# Stands behind a function's name while formulaic evaluates an expression; see `evaluable`.
SHADOW = "_lmm_"
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
MARK = chr(FIRST + 0x80)  # behind a name that is none as it stands: a keyword of Python, a number, an odd one
STAND_INS = {code: FIRST + code for code in range(0x80) if not (chr(code).isalnum() or chr(code) == "_")}
SIGNS = {FIRST + code: code for code in range(0x80)} | {ord(MARK): ""}


def plain_sum(text: str) -> tuple[str, ...] | None:
    """Columns of a sum of plain names such as `1 + x + z`, the constant first, as "", where it is there.

    None of any other right-hand side, which formulaic has to read, and of one that does not say first whether it
    has the constant.
    """
    first, *names = (part.strip() for part in text.split("+"))
    if first not in ("0", "1") or not all(PLAIN.fullmatch(name) for name in names):
        return None
    if any(keyword.iskeyword(name) for name in names):
        return None
    return ("",) * (first == "1") + tuple(dict.fromkeys(names))


@dataclass
class Names:
    """What one Python expression of a formula uses.

    Attributes
    ----------
    columns, categorical, dates : list of str
        Columns; those in C(...); those in as_date(...).
    bare : list of str
        Columns outside as_date(...).
    stateful, call : bool
        Whether a function's basis depends on all rows; whether the whole is a call.
    """

    columns: list[str]
    categorical: list[str]
    dates: list[str]
    bare: list[str]
    stateful: bool
    call: bool


def named(name: str) -> str:
    """A column as a formula has it: odd names in backticks."""
    return name if is_bare(name) else f"`{name}`"


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
    text, odd = _plain(expression)
    odd = {stand_in: shown(name) for stand_in, name in odd.items()}
    tree = ast.parse(text, mode="eval")  # formulaic has parsed it before
    visitor = _Visitor(odd, fail)
    visitor.names.call = isinstance(tree.body, ast.Call)
    visitor.visit(tree.body)
    return visitor.names


def _plain(expression: str) -> tuple[str, dict[str, str]]:
    """The expression with an identifier for each `odd name`, so that Python's parser reads it; and these names."""
    pieces = expression.split("`")
    odd = {f"column_{i}_": pieces[i] for i in range(1, len(pieces), 2)}
    return "".join(f"column_{i}_" if i % 2 else piece for i, piece in enumerate(pieces)), odd


def evaluable(expression: str, columns: Collection[str]) -> str:
    """An expression as formulaic evaluates it rightly, whatever the columns are called.

    formulaic takes any name for a column first. So a function, module or contrast that has the name of one of the
    `columns` gets `SHADOW` behind its name; `original` takes it away again.
    """
    text, odd = _plain(expression)
    shadowed = [node for node in _functions(ast.parse(text, mode="eval")) if node.id in columns]
    for node in sorted(shadowed, key=lambda node: -node.col_offset):
        end = len(text.encode()[: node.col_offset].decode()) + len(node.id)
        text = text[:end] + SHADOW + text[end:]
    for stand_in, name in odd.items():
        text = text.replace(stand_in, f"`{name}`")
    return text


def original(name: str) -> str:
    """A name in a model matrix, or a formula's text, without `SHADOW`."""

    def unmarked(found: re.Match) -> str:
        return found[1] if found[1] in FUNCTIONS | CONTRASTS | {"np", "contr"} else found[0]

    return re.sub(rf"\b(\w+?){SHADOW}", unmarked, name)


def _functions(tree: ast.AST) -> Iterator[ast.Name]:
    """The names in an expression that are not columns: what is called, modules, contrasts in C(...)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func
            if node.func.id == "C":
                others = [*node.args[1:], *(word.value for word in node.keywords)]
                yield from (arg for arg in others if isinstance(arg, ast.Name))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value


class _Visitor(ast.NodeVisitor):
    def __init__(self, odd: dict[str, str], fail: Callable[[str], Exception]):
        self.odd, self.fail = odd, fail
        self.names = Names([], [], [], [], False, False)

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
        others = [*node.args, *(word.value for word in node.keywords)]
        if name in ("C", "as_date"):
            if not node.args or not isinstance(node.args[0], ast.Name):
                raise self.fail(f"'{self.shown(node)}': expected the name of a column in {name}(...)")
            column = self.column(node.args[0])
            (self.names.categorical if name == "C" else self.names.dates).append(column)
        if name == "C":
            if any(word.arg == "levels" for word in node.keywords):
                what = (
                    "other levels would count as the reference; write contr.treatment('level') to choose it"
                )
                raise self.fail(f"'{self.shown(node)}': {what}")
            contrasts = [arg for arg in others[1:] if isinstance(arg, ast.Name) and arg.id in CONTRASTS]
            others = [arg for arg in others if arg not in contrasts]
        if name == "as_date":
            if len(others) > 1:
                raise self.fail(f"'{self.shown(node)}': expected the name of a column and nothing else")
            self.names.columns.append(column)
            others = []
        for item in others:
            self.visit(item)

    def column(self, node: ast.Name) -> str:
        return self.odd.get(node.id, node.id)

    def shown(self, node: ast.AST) -> str:
        """Source of a part of the expression, odd names in backticks."""
        text = ast.unparse(node)
        for stand_in, name in self.odd.items():
            text = text.replace(stand_in, f"`{name}`")
        return text

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.BitXor):
            raise self.fail("^ is not a power inside a function; write ** as in I(x ** 2)")
        self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        if not isinstance(node, ARITHMETIC) or isinstance(getattr(node, "op", None), NO_NUMBERS):
            raise self.fail(f"'{self.shown(node)}': expected arithmetic on columns")
        super().generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        column = self.column(node)
        self.names.columns.append(column)
        self.names.bare.append(column)

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
    from lmm.core.tidy import RESIDUAL, sd_name  # here, because headers are looked at without pandas

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


def labels(predictors: Collection[str]) -> Callable[[str], str]:
    """What turns formulaic's name of a column or a term into the one that tables have.

    Parameters
    ----------
    predictors : collection of str
        Columns of the data.
    """
    odd = {hide_name(name): name for name in predictors if hide_name(name) != name}
    longest_first = sorted(odd, key=len, reverse=True)  # one may be a part of another

    def label(name: str) -> str:
        for token in longest_first:
            column = odd[token]
            name = name.replace(f"`{token}`", f"`{column}`").replace(token, term_of(column))
        return shown(original(name))

    return label


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
