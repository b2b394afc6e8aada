"""The benchmarks' own machinery: table, machine, ratios, and a tiny run of the real thing."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import datasets
import harness
import machine
import tables
import watched
from harness import Row

HERE = {"lme4": "not installed"}


def test_rows_hold_the_median_against_the_target():
    row = harness.row_of("fit", [3.0, 1.0, 2.0], at_most=2.0)
    assert (row.value, row.low, row.high, row.n, row.met) == (2.0, 1.0, 3.0, 3, True)
    assert harness.row_of("fit", [3.0, 1.0, 2.1], at_most=2.0).met is False
    assert Row("ess", 10.0, at_least=11.0).met is False
    assert Row("ess", np.float64(10.0), at_least=11.0).met is False  # JSON knows no NumPy bool
    assert Row("ess", 10.0).met is None
    assert harness.skipped("lmer", "not installed").met is None


def test_a_ratios_range_is_of_rounds_side_by_side():
    row = harness.ratio_of("a / b", [1.0, 2.0, 3.0], [10.0, 10.0, 10.0], at_most=0.2)
    assert row.value == pytest.approx(0.2)
    assert (row.low, row.high) == (pytest.approx(0.1), pytest.approx(0.3))


def test_the_table_says_what_was_measured_missed_and_skipped(tmp_path):
    rows = [
        Row("reml", 0.0123, "s", 0.011, 0.015, 5, at_most=0.02),
        Row("a | b", 3.0, "×", at_most=1.0),
        harness.skipped("lmer", "not installed"),
    ]
    tables.write(tmp_path, "sizes", "Sizes", machine.describe(ROOT, HERE), rows)
    text = (tmp_path / "results.md").read_text()
    assert "| reml | 0.0123 s | 0.0110 to 0.0150 | 5 | ≤ 0.0200 s | yes |  |" in text
    assert "| a \\| b | 3.00 × |  | 1 | ≤ 1.00 × | **no** |  |" in text
    assert "skipped: not installed" in text
    table = pd.read_csv(tmp_path / "results.csv")
    assert table["value"].tolist()[:2] == [0.0123, 3.0]
    assert table["met"].fillna("").tolist() == [True, False, ""]


def test_another_part_leaves_the_first_and_the_same_part_replaces_it(tmp_path):
    here = machine.describe(ROOT, HERE)
    tables.write(tmp_path, "one", "One", here, [Row("first", 1.0)])
    tables.write(tmp_path, "two", "Two", here, [Row("second", 2.0)])
    tables.write(tmp_path, "one", "One", here, [Row("third", 3.0)])
    parts = json.loads((tmp_path / "results.json").read_text())
    assert [row["measure"] for part in parts.values() for row in part["rows"]] == ["third", "second"]


def test_the_machine_is_described_without_its_name():
    here = machine.describe(ROOT, HERE)
    assert here["cpu"] and here["cores"] >= 1 and here["memory_gb"] > 0
    assert here["versions"]["pymc"] != "missing"
    words = machine.sentence(here)
    assert socket.gethostname() not in words
    assert str(ROOT) not in words
    assert here["date"] in words


def test_a_watched_process_is_timed_and_its_children_are_seen(tmp_path):
    child = "import time; x = bytearray(80_000_000); time.sleep(0.6)"
    parent = (
        f"import subprocess, sys, time; time.sleep(0.4); subprocess.run([sys.executable, '-c', {child!r}])"
    )
    seen = watched.watch([sys.executable, "-c", parent], tmp_path)
    assert seen.seconds > 1.0
    assert seen.peak_mb > 80
    # alone before the child and while both end; the child sleeps 0.6 s
    assert 0.2 < seen.alone < seen.seconds - 0.5
    with pytest.raises(RuntimeError, match="the reason"):
        watched.watch([sys.executable, "-c", "raise SystemExit('the reason')"], tmp_path)


def test_a_worker_that_cannot_start_says_why():
    broken = harness.Worker("broken", [sys.executable, "-c", "raise SystemExit('no such engine')"])
    with broken as worker, pytest.raises(harness.WorkerError, match="no such engine"):
        worker.ask("reml", ROOT)


def test_generated_groups_all_have_rows(tmp_path):
    table = pd.read_csv(datasets.generate(tmp_path / "rows.csv", 60, 40, seed=1))
    assert sorted(table["group"].unique()) == list(range(1, 41))
    assert len(table) == 60


def test_a_tiny_run_from_the_command_line(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "run.py", "sizes", "--smoke", "--output", tmp_path]
    # without R, so that the test is the same everywhere
    only = {**os.environ, "PATH": "/nonexistent"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=only, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "results.json").read_text())["sizes"]["rows"]
    values = {row["measure"]: row["value"] for row in rows}
    assert values["reml, 600 rows, 30 groups"] > 0
    assert values["lme4, 600 rows, 30 groups"] is None
    # statsmodels is started at reml's optimum and must not leave it: 1e-6 is what its own stop is good for
    assert values["warm start, 600 rows, 30 groups: sd's off by"] < 1e-6
    assert "skipped: not installed" in (tmp_path / "results.md").read_text()
