"""What the rules need to know of the library, found by reading its source: nothing here imports it."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).parents[1]
# `from lmm import a, b`, `from lmm.a import ...`, `import lmm.a`; names in parentheses may take several lines
IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(lmm(?:\.\w+)*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)"
    r"|import[ \t]+(lmm\b(?!\w)[\w., \t]*))",
    re.M,
)


def _named(text: str) -> Iterator[str]:
    """Dotted names that a source text imports from lmm; some may be functions."""
    for package, names, whole in IMPORT.findall(text):
        for name in re.sub(r"#[^\n]*", "", names or whole).strip("()").split(","):
            first = (name.split() or [""])[0]
            yield f"{package}.{first}" if package else first


@cache
def _files(name: str) -> tuple[Path, ...]:
    """The files that importing a dotted name executes, packages' __init__ included."""
    parent, _, _ = name.rpartition(".")
    at = SCRIPTS.joinpath(*name.split("."))
    own = [file for file in (at.with_suffix(".py"), at / "__init__.py") if file.is_file()]
    return (*(_files(parent) if parent else ()), *own[:1])


@cache
def _imports(file: Path) -> frozenset[Path]:
    return frozenset(found for name in _named(file.read_text()) for found in _files(name))


@cache
def modules(script: str, *loaded: str) -> tuple[str, ...]:
    """Files of the library that a script uses, directly or not: an edit of one is an edit of its results.

    Parameters
    ----------
    script : str
        Name of a file in workflow/scripts, without its suffix.
    *loaded : str
        Dotted names of modules that it imports by name, such as an engine's.

    Returns
    -------
    tuple of str
        Paths relative to workflow/scripts, sorted.
    """
    seen: set[Path] = set()
    todo = {SCRIPTS / f"{script}.py"}.union(*(_files(name) for name in loaded))
    while todo:
        file = todo.pop()
        seen.add(file)
        todo |= _imports(file) - seen
    return tuple(sorted(str(file.relative_to(SCRIPTS)) for file in seen if file.parent != SCRIPTS))


def templates() -> list[Path]:
    """Files that the report's page is made from."""
    return sorted(file for file in (SCRIPTS.parent / "report/templates").glob("*.*") if file.is_file())
