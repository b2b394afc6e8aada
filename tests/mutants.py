"""Changes of the numerical code, each of which some test should notice.

Some constants are treated apart, as no value of any result depends on their last digit. A float below 1e-5 is a
tolerance or a guard against zero: twice it is as good, so it becomes 0.1. The number of rounds that a loop may take,
`for _ in range(30)`, becomes 1. What the catalogue of engines asks of a scheduler (`RESOURCES`) orders jobs and
reserves memory and time: it is not changed. -1 is one constant: the next integer is 0.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path("workflow/scripts")
PACKAGES = (
    "core", "model", "moments", "likelihood", "inference", "simulation", "engines", "criticism", "prediction",
    "comparison", "recovery",
)  # fmt: skip
COMPARISONS = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mod, ast.Mod: ast.FloorDiv,
}  # fmt: skip
SMALL = 1e-5
RESOURCES = ("priority", "megabytes", "minutes")


@dataclass(frozen=True)
class Mutant:
    """One change: the text between two places of a module (line from 1, byte of the line from 0) is replaced."""

    module: Path
    kind: str
    start: tuple[int, int]
    stop: tuple[int, int]
    text: str

    @property
    def name(self) -> str:
        """The module's name as it is imported."""
        return ".".join(self.module.relative_to(SCRIPTS).with_suffix("").parts)

    def source(self, root: Path) -> str:
        """The module with the change."""
        lines = (root / self.module).read_bytes().splitlines(keepends=True)
        first, last = self.start[0] - 1, self.stop[0] - 1
        changed = lines[first][: self.start[1]] + self.text.encode() + lines[last][self.stop[1] :]
        return b"".join([*lines[:first], changed, *lines[last + 1 :]]).decode()

    def before(self, root: Path) -> str:
        """The text that is replaced, on one line."""
        lines = (root / self.module).read_bytes().splitlines(keepends=True)[self.start[0] - 1 : self.stop[0]]
        lines[-1] = lines[-1][: self.stop[1]]
        return " ".join((b"".join(lines)[self.start[1] :]).decode().split())

    def described(self, root: Path) -> str:
        """Place, and what becomes what."""
        place = f"{self.module.relative_to(SCRIPTS)}:{self.start[0]}"
        return f"{place}: {self.kind}: `{self.before(root)}` -> `{self.text}`"


def mutants_of(module: Path, root: Path) -> list[Mutant]:
    """Every mutant of a module."""
    found = []
    for node, kind, text in changes(ast.parse((root / module).read_text(encoding="utf-8"))):
        start, stop = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
        found.append(Mutant(module, kind, start, stop, text))
    return found


def changes(tree: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str, str]]:
    """Each place that can be changed, the kind of change and the new text; annotations and texts are passed over."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.keyword) and node.arg in RESOURCES:
            continue
        yield from changed(node)
        if isinstance(node, ast.JoinedStr) or is_negative(node):
            continue
        if isinstance(node, ast.For) and is_limit(node):
            yield node.iter.args[0], "rounds", "1"
            node.iter.args = []
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list"):
                setattr(node, field, [] if isinstance(value, list) else None)
        yield from changes(node)


def changed(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str, str]]:
    """The changes of one node."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        other = COMPARISONS[type(node.ops[0])]()
        yield node, "comparison", f"({ast.unparse(ast.Compare(node.left, [other], node.comparators))})"
    elif is_number(node):
        yield node, "constant", repr(another(node.value))
    elif is_negative(node):
        yield node, "constant", f"({another(-node.operand.value)!r})"
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS and not is_text(node):
        other = OPERATORS[type(node.op)]()
        yield node, "operator", f"({ast.unparse(ast.BinOp(node.left, other, node.right))})"
        if isinstance(node.op, ast.Add | ast.Sub):
            yield node, "dropped term", f"({ast.unparse(node.left)})"
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
        yield node, "dropped term", "pass"


def another(value: float) -> float:
    """The next integer, 1 for 0.0, 0.1 for a small float, twice any other."""
    if isinstance(value, int) or value == 0.0:
        return value + 1
    return 0.1 if abs(value) < SMALL else 2.0 * value


def is_negative(node: ast.AST) -> bool:
    """Whether a node is a negative number."""
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and is_number(node.operand)


def is_limit(node: ast.For) -> bool:
    """Whether a loop counts rounds that nothing in it asks for, up to a number."""
    called = (
        isinstance(node.iter, ast.Call)
        and ast.unparse(node.iter.func) == "range"
        and len(node.iter.args) == 1
    )
    counts = isinstance(node.target, ast.Name) and node.target.id == "_"
    return called and counts and is_number(node.iter.args[0])


def is_text(node: ast.BinOp) -> bool:
    """Whether an operand is a literal text: its sum is a message, its remainder a formatted one."""
    sides = (node.left, node.right)
    return any(isinstance(part, ast.Constant | ast.JoinedStr) and not is_number(part) for part in sides)


def is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def numerical_modules(root: Path) -> list[Path]:
    """Modules of the packages that compute numbers, relative to the project."""
    folders = [root / SCRIPTS / "lmm" / package for package in PACKAGES]
    return sorted(path.relative_to(root) for folder in folders for path in folder.rglob("*.py"))
