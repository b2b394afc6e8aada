"""Docstrings where numbers are made: parameters, results and sources of every public function that takes arrays.

ruff asks for a sentence everywhere and for every parameter's description where there is a section of them; here it is
asked that there are sections.
"""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "workflow/scripts/lmm"
PACKAGES = ("core", "model", "moments", "likelihood", "inference", "simulation", "engines", "criticism")
MODULES = sorted(
    [
        *(file for package in PACKAGES for file in (LIBRARY / package).rglob("*.py")),
        *(LIBRARY / "recovery/calibration").glob("*.py"),
        LIBRARY / "recovery/measures.py",
        LIBRARY / "recovery/performance.py",
    ]
)


def public_functions(tree: ast.Module) -> list[tuple[ast.FunctionDef, list[ast.arg]]]:
    """Functions and methods with their arguments, `self` and `cls` left out."""
    found = []
    for node in tree.body:
        inner = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [node]
        for function in inner:
            if isinstance(function, ast.FunctionDef) and not function.name.startswith("_"):
                own = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
                static = any(ast.unparse(one) == "staticmethod" for one in function.decorator_list)
                found.append((function, own[1:] if function is not node and not static else own))
    return found


def takes_arrays(function: ast.FunctionDef, arguments: list[ast.arg]) -> bool:
    """By its annotations; a kernel has none and takes arrays."""
    kernel = any(ast.unparse(one) == "kernel" for one in function.decorator_list)
    annotated = [ast.unparse(one.annotation) for one in arguments if one.annotation is not None]
    return any("ndarray" in text for text in annotated) or (kernel and bool(arguments))


def returns(function: ast.FunctionDef) -> bool:
    """Whether it returns or yields a value, functions within it left out."""
    inside = [*function.body]
    while inside:
        node = inside.pop()
        if isinstance(node, ast.Return | ast.Yield) and node.value is not None:
            return True
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            inside.extend(ast.iter_child_nodes(node))
    return False


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_functions_of_arrays_or_of_many_arguments_have_all_sections(module):
    lacking = []
    for function, arguments in public_functions(ast.parse(module.read_text(encoding="utf-8"))):
        if len(arguments) < 3 and not takes_arrays(function, arguments):
            continue
        text = ast.get_docstring(function) or ""
        sections = ["Parameters"] if arguments else []
        sections += ["Returns"] if returns(function) and "Yields\n------" not in text else []
        lacking += [
            (function.name, name) for name in sections if f"\n{name}\n{'-' * len(name)}\n" not in text
        ]
    assert lacking == []


def test_the_check_sees_what_is_missing():
    source = '''
class Public:
    def scale(self, x: np.ndarray) -> np.ndarray:
        """Twice x."""
        def inner():
            return 1
        return 2 * x

@kernel
def fill(out):
    """Fill out."""
    out[:] = 1.0
'''
    (scale, own), (fill, all_) = public_functions(ast.parse(source))
    assert [one.arg for one in own] == ["x"]
    assert takes_arrays(scale, own)
    assert takes_arrays(fill, all_)
    assert returns(scale)
    assert not returns(fill)
