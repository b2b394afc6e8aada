"""How many errors in the numerical code the tests notice: a random sample of mutants, each tested on its own.

    make mutate                                         # 60 mutants, seed 1
    make mutate ARGS="--seed 2 --number 20"
    make mutate ARGS="--only likelihood --tests tests/test_likelihood.py"
    make mutate ARGS="--only likelihood inference --list"    # what would be changed, without a test

A mutant is the library with one change: a comparison turned round, another constant, another arithmetic operator, or
a term left out. It runs in a copy of the project, by the tests that run the changed function; those of files that
import its module come first. One run of the unchanged library records which these are, and `--record FILE` keeps that
for the next sample. Tests that start Snakemake, a cluster or a browser are left out.
It is caught where a test fails or does not end. What survives a minute of tests is tried by the others that run it.
A survivor is either an error that no test would notice or a change that means nothing (a tolerance, the size of a
batch): the list is there to be read.
"""

import argparse
import ast
import contextlib
import hashlib
import importlib
import inspect
import os
import pickle
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mutants import PACKAGES, SCRIPTS, Mutant, mutants_of, numerical_modules

ROOT = Path(__file__).parents[1]
# What a test or a fixture mentions that needs more than the library: it is left out.
SLOW = re.compile(r"\bproject\b|snakemake|playwright|\blab\b|\"make\"")
DRAWING = re.compile(r"lmm\.report(\.figures.*|\.page|\.[a-z]+)?$")
IMPORTS = re.compile(
    rf"^(?:from|import) lmm\.(?:{'|'.join(PACKAGES[1:])})\b|^from lmm\.core(?: import|\.(?!errors|store)\w)"
    r"|^import (?:problems|several)\b",
    re.M,
)
OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slurm and not faults and not long")
BUDGETS = (60.0, 300.0)  # CPU s of tests for a mutant, and of further ones where it survives these
# Decorators of functions that do not run as Python.
COMPILED = re.compile("kernel|summed|c_function|njit")
COMPILATION = 300.0  # s that a changed kernel and all that use it may take to compile
# What the library and its tests import: a mutant's process begins with it.
IMPORTED = (
    "scipy.stats", "scipy.optimize", "pandas", "pyarrow.parquet", "numba", "formulaic", "statsmodels.api", "pymc",
    "nutpie", "arviz", "xarray", "hypothesis", "matplotlib.figure", "matplotlib.backends.backend_svg", "jinja2",
)  # fmt: skip
COPIED = ("workflow", "tests", "config", "docs", "benchmarks", "profiles")


@dataclass(frozen=True)
class Function:
    """A function, or a statement at a module's top, by the file in the project and the line where it begins."""

    file: str
    line: int


@dataclass(frozen=True)
class Definition:
    """A function or a statement of a module: where it ends, what it is called, what its names mean elsewhere.

    A name is one of a file: `(file, name)`.
    """

    at: Function
    stop: int
    names: frozenset[tuple[str, str]]
    mentions: frozenset[tuple[str, str]]
    is_run: bool  # as Python, when a test calls it: not so a kernel, a constant, a field of a class


def file_of(module: str, root: Path) -> str:
    """The file of a module of the library or of the tests in the project; empty for another's."""
    for folder in (SCRIPTS, Path("tests")):
        path = folder.joinpath(*module.split(".")).with_suffix(".py")
        if (root / path).is_file():
            return str(path)
    return ""


def imported(tree: ast.AST, root: Path) -> dict[str, tuple[str, str]]:
    """What the names are that a module imports from others: `(file, name)`, no name where it is the module."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                module = file_of(f"{node.module}.{alias.name}", root)
                found[alias.asname or alias.name] = (module, "") if module else (
                    file_of(node.module, root), alias.name
                )  # fmt: skip
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name] = (file_of(alias.name, root), "")
    return found


def imported_files(path: Path, root: Path) -> set[str]:
    """The files of the library and of the tests that a file imports; none for a file that does not exist."""
    tree = ast.parse(path.read_text(encoding="utf-8") if path.is_file() else "")
    return {file for file, _ in imported(tree, root).values()}


def definitions(file: str, text: str, root: Path) -> list[Definition]:
    """Every function of a module, and what stands outside of them."""
    found, tree = [], ast.parse(text)
    others = imported(tree, root)

    def mentioned(node: ast.AST) -> Iterator[tuple[str, str]]:
        for each in ast.walk(node):
            if isinstance(each, ast.Name):
                yield others.get(each.id, (file, each.id))
            elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
                module, name = others.get(each.value.id, ("", ""))
                if not name:
                    yield module, each.attr

    def add(node: ast.AST, names: set[str], is_run: bool) -> None:
        decorators = getattr(node, "decorator_list", [])
        start = min([node.lineno, *(each.lineno for each in decorators)])
        own = frozenset((file, name) for name in names)
        found.append(
            Definition(Function(file, start), node.end_lineno, own, frozenset(mentioned(node)), is_run)
        )

    def visit(node: ast.AST, owner: set[str], inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef):
                compiled = [COMPILED.search(ast.unparse(decorator)) for decorator in child.decorator_list]
                add(child, {child.name}, not any(compiled))
                visit(child, {child.name}, True)
            elif isinstance(child, ast.ClassDef):
                visit(child, {child.name}, inside)
            elif (
                isinstance(child, ast.stmt)
                and not inside
                and not isinstance(child, ast.Import | ast.ImportFrom)
            ):
                names = {each.id for each in ast.walk(child)
                         if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}  # fmt: skip
                # a call changes what it mentions
                add(
                    child,
                    owner or names or {name for place, name in mentioned(child) if place == file},
                    False,
                )

    visit(tree, set(), False)
    return found


class Coverage:
    """Which tests run which functions, from one run of the tests.

    Parameters
    ----------
    root : Path
        The project that they ran in.
    tests : dict
        For each test its CPU seconds and the functions of the library and of the tests that it ran, fixtures too.
    """

    def __init__(self, root: Path, tests: dict[str, tuple[float, set[Function]]]):
        self.tests = tests
        self.all = [
            each
            for folder in (root / SCRIPTS / "lmm", root / "tests")
            for path in folder.rglob("*.py")
            for each in definitions(str(path.relative_to(root)), path.read_text(encoding="utf-8"), root)
        ]
        modules = {test: root / test.partition("::")[0] for test in tests}
        files = {path: imported_files(path, root) for path in set(modules.values())}
        self.imported = {test: files[path] for test, path in modules.items()}
        self.by_function: dict[Function, list[str]] = {}
        for test, (_, functions) in tests.items():
            for function in functions:
                self.by_function.setdefault(function, []).append(test)

    def running(self, definition: Definition) -> set[str]:
        """Tests that run a definition, or who mentions it where none does: compiled code does not run as Python."""
        met, left, found = set(), [definition], set()
        while left:
            one = left.pop()
            met.add(one)
            ran = self.by_function.get(one.at, ()) if one.is_run else ()
            found.update(ran)
            if not ran:
                left += [each for each in self.all if each not in met and one.names & each.mentions]
        return found

    def of(self, mutant: Mutant) -> list[list[str]]:
        """Tests that run what a mutant changes, a list for each of `BUDGETS`: those of files that import it first.

        What does not run as Python (a kernel, a constant) is run by who mentions its name, over any number of steps.
        """
        file, line = str(mutant.module), mutant.start[0]
        around = [each for each in self.all if each.at.file == file and each.at.line <= line <= each.stop]
        # a function within another that nothing runs as Python is compiled there: the outer one stands for it
        found = next((tests for each in reversed(around) if (tests := self.running(each))), set())
        left = sorted(found, key=lambda test: (file not in self.imported[test], self.tests[test][0]))
        chosen = []
        for budget in BUDGETS:
            seconds, now, later = 0.0, [], []
            for test in left:
                seconds += self.tests[test][0]
                (now if seconds < budget or not now else later).append(test)
            left = later
            chosen += [now] if now else []
        return chosen


class Recorder:
    """A plugin of pytest that notes for each test its CPU seconds and the functions that it runs."""

    def __init__(self, root: Path):
        self.root = f"{root}/"
        self.begins = (str(root / SCRIPTS / "lmm"), str(root / "tests"))
        self.tests: dict[str, tuple[float, set[Function]]] = {}
        self.of_fixture: dict[object, set[Function]] = {}
        self.now: set[Function] = set()
        self.failed: list[str] = []
        self.tool = sys.monitoring.COVERAGE_ID
        sys.monitoring.use_tool_id(self.tool, "mutate")
        sys.monitoring.register_callback(self.tool, sys.monitoring.events.PY_START, self.started)
        sys.monitoring.set_events(self.tool, sys.monitoring.events.PY_START)

    def started(self, code, _) -> object:
        if code.co_filename.startswith(self.begins):
            self.now.add(Function(code.co_filename.removeprefix(self.root), code.co_firstlineno))
        return sys.monitoring.DISABLE

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        """What a shared fixture runs is run by every test that has it."""
        before, self.now = self.now, set()
        sys.monitoring.restart_events()
        try:
            return (yield)
        finally:
            self.of_fixture[fixturedef] = self.now
            self.now = before | self.now

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        """One test."""
        self.now, begun = set(), time.process_time()
        sys.monitoring.restart_events()
        try:
            return (yield)
        finally:
            for each in item._fixtureinfo.name2fixturedefs.values():
                self.now.update(*(self.of_fixture.get(own, ()) for own in each))
            self.tests[item.nodeid] = (time.process_time() - begun, self.now)

    def pytest_runtest_logreport(self, report):
        """Tests have to pass where nothing is changed."""
        if report.failed:
            self.failed.append(report.nodeid)


class OfTheLibrary:
    """A plugin of pytest that leaves out tests that need more than the library, and those that draw a page."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        """Look at each test's text, and at its fixtures'."""
        items[:] = [item for item in items if not needs_more(item)]


def needs_more(item: pytest.Function) -> bool:
    """Whether a test or one of its fixtures mentions Snakemake, a browser or what draws figures and pages."""
    fixtures = [each.func for own in item._fixtureinfo.name2fixturedefs.values() for each in own]
    texts = [inspect.getsource(each) for each in (item.function, *fixtures) if inspect.isfunction(each)]
    modules = {name: getattr(value, "__module__", None) or getattr(value, "__name__", None)
               for name, value in vars(item.module).items()}  # fmt: skip
    drawing = {name for name, module in modules.items() if DRAWING.match(str(module))}
    trees = [ast.parse(textwrap.dedent(text)) for text in texts]
    used = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return bool(used & drawing) or any(SLOW.search(text) for text in texts)


def files_of(root: Path) -> list[str]:
    """Test files that import the packages that compute numbers."""
    paths = sorted((root / "tests").glob("test_*.py"))
    return [f"tests/{path.name}" for path in paths if IMPORTS.search(path.read_text(encoding="utf-8"))]


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


def in_a_copy(run: Callable[[], object], place: Path, seconds: float) -> object:
    """What `run` returns in a copy of this process that has the project at `place`; None where it does not end.

    This process has imported what the library imports, and nothing of the library.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.setsid()
        os.chdir(place)
        silent = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(silent, number)
        sys.path[:0] = [str(place / SCRIPTS), str(place / "tests")]
        try:
            found = pickle.dumps(run())
            with os.fdopen(write, "wb") as pipe:
                pipe.write(found)
        finally:
            os._exit(0)
    os.close(write)
    try:
        with os.fdopen(read, "rb") as pipe:
            if not select.select([pipe], [], [], seconds)[0]:
                return None
            return pickle.load(pipe)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)


def recorded(files: list[str], place: Path, record: Path | None) -> Coverage:
    """Which tests run what, by running them all where nothing is changed; `record` keeps that between runs.

    A kept file of tests is run again if it, the library or what the tests share has changed.
    """
    kept = pickle.loads(record.read_bytes()) if record and record.is_file() else {}
    shared = hashlib.sha256()
    for path in sorted({*(place / SCRIPTS / "lmm").rglob("*.py"), *(place / "tests").glob("*.py")}):
        if not path.name.startswith("test_") and path.name not in ("mutate.py", "mutants.py"):
            shared.update(path.read_bytes())
    digests = {
        file: shared.hexdigest() + hashlib.sha256((place / file).read_bytes()).hexdigest() for file in files
    }
    left = [file for file in files if kept.get(file, ("",))[0] != digests[file]]

    def run():
        recorder = Recorder(place)
        pytest.main([*OPTIONS, *left], plugins=[recorder, OfTheLibrary()])
        return recorder.tests, recorder.failed

    found = in_a_copy(run, place, 3600) if left else ({}, [])
    if found is None or found[1]:
        sys.exit(f"fail without any change: {found and ', '.join(found[1])}")
    for file in left:
        kept[file] = (
            digests[file],
            {test: each for test, each in found[0].items() if test.startswith(f"{file}::")},
        )
    if record:
        record.write_bytes(pickle.dumps(kept))
    return Coverage(place, {test: each for file in files for test, each in kept[file][1].items()})


def outcome(mutant: Mutant, coverage: Coverage, place: Path) -> str:
    """`survived`, or by which test a mutant is caught, tested in a copy of the project."""
    batches = coverage.of(mutant)
    for tests in batches:
        caught = caught_by(mutant, tests, coverage, place)
        if caught:
            return f"caught by {caught}"
    return f"survived {sum(map(len, batches))} tests"


def caught_by(mutant: Mutant, tests: list[str], coverage: Coverage, place: Path) -> str:
    """Which of some tests catches a mutant, or how else it is noticed; empty where it is not."""
    module, cache = place / mutant.module, place / SCRIPTS / "lmm/__pycache__/kernels"
    original, compiled = module.read_bytes(), set(cache.iterdir())

    def run():
        recorder = Failures()
        status = pytest.main([*OPTIONS, "-x", *tests], plugins=[recorder])
        return recorder.failed or ([] if status == 0 else ["the imports"])

    seconds = 60 + 4 * sum(coverage.tests[test][0] for test in tests)
    if COMPILED.search(original.decode()):
        seconds += COMPILATION
    try:
        module.write_text(mutant.source(place), encoding="utf-8")
        try:
            failed = in_a_copy(run, place, seconds)
        except (
            EOFError
        ):  # compiled code that reads beyond an array ends the process, but so may another's memory
            failed = in_a_copy(run, place, seconds)
    except EOFError:
        return "the end of the process"
    finally:
        module.write_bytes(original)
        for own in set(cache.iterdir()) - compiled:
            shutil.rmtree(own)
    if failed is None:
        return "tests that do not end"
    return failed[0] if failed else ""


class Failures:
    """A plugin of pytest that notes which tests fail."""

    def __init__(self):
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report):
        """A test, or a part of one."""
        if report.failed:
            self.failed.append(report.nodeid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, default=60)
    parser.add_argument("--only", nargs="*", default=[""], help="modules whose path contains one of these")
    parser.add_argument("--tests", nargs="*", help="test files to choose tests from")
    parser.add_argument(
        "--record", type=Path, help="file that keeps which tests run what, for further samples"
    )
    parser.add_argument("--list", action="store_true", help="show the sample and end")
    options = parser.parse_args()
    modules = [path for path in numerical_modules(ROOT) if any(part in str(path) for part in options.only)]
    every = [mutant for module in modules for mutant in mutants_of(module, ROOT)]
    sample = random.Random(options.seed).sample(every, min(options.number, len(every)))
    print(f"{len(sample)} of {len(every)} mutants of {len(modules)} modules, seed {options.seed}", flush=True)
    if options.list:
        print("\n".join(mutant.described(ROOT) for mutant in sample))
        return
    # a changed kernel and all that call it are compiled anew: without LLVM's optimisation in a third of the time, and
    # with a look at every index, as a write beyond an array may do nothing that is seen
    os.environ |= {"NUMBA_OPT": "0", "NUMBA_BOUNDSCHECK": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    for name in IMPORTED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        place, survived = copy_of(ROOT, Path(folder).resolve() / "copy"), 0
        begun = time.perf_counter()
        coverage = recorded(options.tests or files_of(place), place, options.record)
        seconds = time.perf_counter() - begun
        print(f"{len(coverage.tests)} tests of the unchanged library in {seconds:.0f} s", flush=True)
        for number, mutant in enumerate(sample, 1):
            begun = time.perf_counter()
            found = outcome(mutant, coverage, place)
            survived += found.startswith("survived")
            seconds = time.perf_counter() - begun
            print(f"{number:3} {found} ({seconds:.0f} s)\n    {mutant.described(ROOT)}", flush=True)
    caught = len(sample) - survived
    print(f"{caught} of {len(sample)} mutants caught: {caught / len(sample):.0%}")


if __name__ == "__main__":
    main()
