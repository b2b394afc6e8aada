"""Mutants: each is one change of the source, in the place that it names."""

import ast
from pathlib import Path

import mutate

SOURCE = '''"""A text of 3 numbers, 1 and 2: they stay."""


def area(width: float, height: float = 2.5) -> float:
    unit = "é"; total = width * height - 1
    if total < 0:
        raise ValueError(f"{unit}: {total:.3f}" + "!")
    total += (
        width
    )
    return total
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
}


def test_every_change_is_made_where_it_is_said(tmp_path):
    module = Path("module.py")
    (tmp_path / module).write_text(SOURCE, encoding="utf-8")
    found = set()
    for mutant in mutate.mutants_of(module, tmp_path):
        changed = mutant.source(tmp_path)
        ast.parse(changed)
        before, after = SOURCE.splitlines(), changed.splitlines()
        line = next(k for k, text in enumerate(after) if text != before[k])
        assert mutant.start[0] == line + 1
        assert after[:line] == before[:line]
        assert after[line + 1 :] == before[len(before) - len(after) + line + 1 :]
        found.add((mutant.kind, after[line]))
    assert found == CHANGES


def test_a_module_is_tested_by_the_files_that_reach_it():
    files = mutate.test_files_of(mutate.ROOT)
    assert files["lmm.criticism.loo"][0] == "tests/test_criticism.py"
    assert "tests/test_reml.py" in files["lmm.inference.newton"]
    assert files["lmm.likelihood.elimination"][0] == "tests/test_likelihood.py"
    assert not any("test_workflow" in file for found in files.values() for file in found)
