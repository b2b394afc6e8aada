"""Mutants: each is one change of the source, in the place that it names."""

import ast
from pathlib import Path

import mutate
from mutants import SCRIPTS, mutants_of

SOURCE = '''"""A text of 3 numbers, 1 and 2: they stay."""


def area(width: float, height: float = 2.5) -> float:
    unit = "é"; total = width * height - 1
    if total < 0:
        raise ValueError(f"{unit}: {total:.3f}" + "!")
    total += (
        width
    )
    asked(total, priority=7)
    for _ in range(30):
        step(-1)
    return total if total > 1e-9 else 0.0
'''
# what the changed line becomes
CHANGES = {
    ("constant", "def area(width: float, height: float = 5.0) -> float:"),
    ("operator", '    unit = "é"; total = (width * height + 1)'),
    ("dropped term", '    unit = "é"; total = (width * height)'),
    ("operator", '    unit = "é"; total = (width / height) - 1'),
    ("constant", '    unit = "é"; total = width * height - 2'),
    ("comparison", "    if (total >= 0):"),
    ("constant", "    if total < 1:"),
    ("dropped term", "    pass"),
    ("rounds", "    for _ in range(1):"),
    ("constant", "        step((0))"),
    ("comparison", "    return total if (total <= 1e-09) else 0.0"),
    ("constant", "    return total if total > 0.1 else 0.0"),
    ("constant", "    return total if total > 1e-9 else 1.0"),
}


def test_every_change_is_made_where_it_is_said(tmp_path):
    module = Path("module.py")
    (tmp_path / module).write_text(SOURCE, encoding="utf-8")
    found = set()
    for mutant in mutants_of(module, tmp_path):
        changed = mutant.source(tmp_path)
        ast.parse(changed)
        before, after = SOURCE.splitlines(), changed.splitlines()
        line = next(k for k, text in enumerate(after) if text != before[k])
        assert mutant.start[0] == line + 1
        assert after[:line] == before[:line]
        assert after[line + 1 :] == before[len(before) - len(after) + line + 1 :]
        found.add((mutant.kind, after[line]))
    assert found == CHANGES


LIBRARY = """LIMIT = 3


@kernel
def inner(x):
    return x + 1


@kernel
def outer(x):
    return inner(x) * 2


def used(x):
    return outer(x) if x < LIMIT else 0


def other(x):
    return x - 1
"""


# another module's names are its own: `far` runs the kernel, `near` something that is only called so
CALLERS = """from lmm.core import made
from lmm.core.made import inner as within


def inner(x):
    return x


def near(x):
    return inner(x)


def far(x):
    return within(x) + made.inner(x)
"""


def test_a_mutant_is_tested_by_the_tests_that_run_it_the_fastest_first(tmp_path, monkeypatch):
    """A kernel and a constant by those that run who mentions them, over any number of steps; within the budgets."""
    module, callers = SCRIPTS / "lmm/core/made.py", SCRIPTS / "lmm/core/callers.py"
    (tmp_path / module).parent.mkdir(parents=True)
    (tmp_path / module).write_text(LIBRARY)
    (tmp_path / callers).write_text(CALLERS)
    used, other, near, far = (
        mutate.Function(str(file), 1 + text[: text.index(f"def {name}")].count("\n"))
        for file, text, name in [
            (module, LIBRARY, "used"), (module, LIBRARY, "other"),
            (callers, CALLERS, "near"), (callers, CALLERS, "far"),
        ]
    )  # fmt: skip
    tests = {
        "slow": (2.0, {used, other}), "fast": (1.0, {used}), "none": (0.1, set()), "near": (0.2, {near}),
        "far": (0.3, {far}),
    }  # fmt: skip
    coverage = mutate.Coverage(tmp_path, tests)
    mutants = mutants_of(module, tmp_path)
    assert {mutant.start[0]: coverage.of(mutant) for mutant in mutants} == {
        1: [["fast", "slow"]], 6: [["far", "fast", "slow"]], 11: [["fast", "slow"]],
        used.line + 1: [["fast", "slow"]], other.line + 1: [["slow"]],
    }  # fmt: skip
    monkeypatch.setattr(mutate, "BUDGETS", (1.5, 1.0))  # a list has one test at least
    assert coverage.of(next(each for each in mutants if each.start[0] == 6)) == [["far", "fast"], ["slow"]]


def test_files_that_need_more_than_the_library_are_left_out():
    files = mutate.files_of(mutate.ROOT)
    assert {"tests/test_reml.py", "tests/test_likelihood.py", "tests/test_study.py"} <= set(files)
    assert not {"tests/test_recovery_workflow.py", "tests/test_browser.py"} & set(files)
