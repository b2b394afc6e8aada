"""How many errors in the numerical code the tests notice: a random sample of mutants, each tested on its own.

    make mutate                                         # 60 mutants, seed 1, one after the other
    make mutate ARGS="--seed 2 --number 20 --jobs 2"
    make mutate ARGS="--only likelihood --list"         # what would be changed, without a test

A mutant is the library with one change: a comparison turned round, another constant, another arithmetic operator, or
a term left out. It runs in a copy of the project, by the test files that import the changed module, directly or
through other modules, the nearest first; files that start Snakemake, a cluster or a browser are left out. It is
caught where a test fails or does not end. A survivor is either an error that no test would notice or a change that
means nothing (a tolerance, the size of a batch): the list is there to be read.
"""

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[1]
SCRIPTS = Path("workflow/scripts")
PACKAGES = (
    "core", "model", "moments", "likelihood", "inference", "simulation", "engines", "criticism", "prediction",
    "comparison", "recovery",
)  # fmt: skip
# What a test file says that needs more than the library: it is left out.
SLOW = re.compile(r"\bproject\b|snakemake|playwright|\blab\b")
NEAREST = 6  # test files of a mutant, at most
TIMEOUT = 900  # s for a test file: ten times what the slowest takes
COPIED = ("workflow", "tests", "config", "docs", "benchmarks", "profiles")
COMPARISONS = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mod, ast.Mod: ast.FloorDiv,
}  # fmt: skip


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
        yield from changed(node)
        if isinstance(node, ast.JoinedStr):
            continue
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list"):
                setattr(node, field, [] if isinstance(value, list) else None)
        yield from changes(node)


def changed(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str, str]]:
    """The changes of one node."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        other = COMPARISONS[type(node.ops[0])]()
        yield node, "comparison", f"({ast.unparse(ast.Compare(node.left, [other], node.comparators))})"
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value = node.value
        yield node, "constant", repr(value + 1 if isinstance(value, int) or value == 0.0 else 2.0 * value)
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS and not is_text(node):
        other = OPERATORS[type(node.op)]()
        yield node, "operator", f"({ast.unparse(ast.BinOp(node.left, other, node.right))})"
        if isinstance(node.op, ast.Add | ast.Sub):
            yield node, "dropped term", f"({ast.unparse(node.left)})"
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
        yield node, "dropped term", "pass"


def is_text(node: ast.BinOp) -> bool:
    """Whether an operand is a literal text: its sum is a message, its remainder a formatted one."""
    sides = (node.left, node.right)
    return any(isinstance(part, ast.Constant | ast.JoinedStr) and not is_number(part) for part in sides)


def is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def numerical_modules(root: Path) -> list[Path]:
    """Modules of the packages that compute numbers, relative to the project."""
    folders = [root / SCRIPTS / "lmm" / package for package in PACKAGES]
    return sorted(path.relative_to(root) for folder in folders for path in folder.rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Names of the modules that a file imports, at its top or within functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_files_of(root: Path) -> dict[str, list[str]]:
    """For each module of the library the fast test files that reach it, the nearest and smallest first."""
    library = {".".join(path.relative_to(root / SCRIPTS).with_suffix("").parts): path
               for path in (root / SCRIPTS / "lmm").rglob("*.py")}  # fmt: skip
    helpers = {path.stem: path for path in (root / "tests").glob("*.py")}
    known = {name: imports_of(path) & {*library, *helpers} for name, path in {**library, **helpers}.items()}
    reached: dict[str, list[tuple[int, int, str]]] = {name: [] for name in library}
    for name, path in helpers.items():
        if not name.startswith("test_") or SLOW.search(path.read_text(encoding="utf-8")):
            continue
        distance, border = {name: 0}, [name]
        while border:
            following = [other for one in border for other in known[one]]
            border = []
            for other in following:
                if other not in distance:
                    distance[other] = 1 + min(distance[one] for one in distance if other in known[one])
                    border.append(other)
        for module in distance.keys() & reached.keys():
            reached[module].append((distance[module], len(distance), f"tests/{path.name}"))
    return {module: [file for *_, file in sorted(files)[:NEAREST]] for module, files in reached.items()}


def copy_of(root: Path, to: Path) -> Path:
    """The project without results, with the compiled kernels."""
    for name in COPIED:
        shutil.copytree(root / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "rivals"))
    for path in root.iterdir():
        if path.is_file():
            shutil.copy2(path, to / path.name)
    (to / "results").mkdir()
    compiled = SCRIPTS / "lmm" / "__pycache__"
    shutil.copytree(root / compiled / "kernels", to / compiled / "kernels")
    return to


def passes(file: str, place: Path) -> bool | None:
    """Whether a test file passes there; None where it does not end."""
    environment = os.environ | {
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", file]
    try:
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return None
    return done.returncode in (0, 5)  # 5: no test was selected


def outcome(mutant: Mutant, files: list[str], place: Path) -> str:
    """`survived`, or by which test file a mutant is caught, tested in a copy of the project."""
    module, cache = place / mutant.module, place / SCRIPTS / "lmm/__pycache__/kernels"
    original, compiled = module.read_bytes(), set(cache.iterdir())
    try:
        module.write_text(mutant.source(place), encoding="utf-8")
        for file in files:
            passed = passes(file, place)
            if not passed:
                return f"caught by {file}" + (" (it did not end)" if passed is None else "")
        return "survived"
    finally:
        module.write_bytes(original)
        for own in set(cache.iterdir()) - compiled:
            shutil.rmtree(own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="", help="modules whose path contains this")
    parser.add_argument("--list", action="store_true", help="show the sample and end")
    options = parser.parse_args()
    modules = [path for path in numerical_modules(ROOT) if options.only in str(path)]
    every = [mutant for module in modules for mutant in mutants_of(module, ROOT)]
    sample = random.Random(options.seed).sample(every, min(options.number, len(every)))
    print(f"{len(sample)} of {len(every)} mutants of {len(modules)} modules, seed {options.seed}", flush=True)
    if options.list:
        print("\n".join(mutant.described(ROOT) for mutant in sample))
        return
    files = test_files_of(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        places: SimpleQueue[Path] = SimpleQueue()
        for number in range(options.jobs):
            places.put(copy_of(ROOT, Path(folder) / str(number)))

        def tried(mutant: Mutant) -> str:
            place = places.get()
            try:
                return outcome(mutant, files[mutant.name], place)
            finally:
                places.put(place)

        place = Path(folder) / "0"
        used = sorted({file for mutant in sample for file in files[mutant.name]})
        print(f"{len(used)} test files, first on the unchanged library", flush=True)
        failing = [file for file in used if not passes(file, place)]
        if failing:
            sys.exit(f"fail without any change: {', '.join(failing)}")

        survived = 0
        with ThreadPoolExecutor(options.jobs) as pool:
            for number, (mutant, found) in enumerate(zip(sample, pool.map(tried, sample), strict=True), 1):
                survived += found == "survived"
                print(f"{number:3} {found}\n    {mutant.described(ROOT)}", flush=True)
    caught = len(sample) - survived
    print(f"{caught} of {len(sample)} mutants caught: {caught / len(sample):.0%}")


if __name__ == "__main__":
    main()
