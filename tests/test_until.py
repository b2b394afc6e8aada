"""Replicates that end at Monte Carlo errors: fixed ends, criteria, chunks; one run by the real Snakemake."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd

from conftest import copy_project
from lmm.recovery import plan
from lmm.recovery.until import ends, judged
from lmm.report.text import recording

CRITERION = {"measure": "coverage", "mcse": 0.005}


def row(design="a", measure="coverage", estimate=0.95, mcse=0.005, n=1900, **keys):
    given = {
        "design": design,
        "measure": measure,
        "estimate": estimate,
        "mcse": mcse,
        "n_used": n,
        "truth": 1.0,
    }
    return given | {"engine": "reml", "term": "x", "subset": "usable"} | keys


def judge(*rows, criteria=(CRITERION,)):
    return judged(pd.DataFrame(rows), criteria)


def test_ends_are_fixed_and_the_last_is_the_most():
    assert ends(20_000) == [500, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 12_000, 16_000, 20_000]
    assert ends(500) == [500]
    assert ends(2000) == [500, 1000, 1500, 2000]
    # nobody's ends but the last depend on `at_most`
    assert ends(3500)[:-1] == ends(20_000)[:5]
    assert ends(5000, summed=True) == [1000, 2000, 3000, 4000, 5000]


def test_a_proportion_meets_its_error_at_the_number_that_it_needs():
    # sqrt(0.95 * 0.05 / n) = 0.005 at n = 1900
    assert judge(row(n=1900))["met"].tolist() == [True]
    assert judge(row(n=1899))["met"].tolist() == [False]
    found = judge(row(n=1899), row(estimate=0.5, mcse=0.01, n=1899, term="sd__x"))
    assert found["term"].tolist() == ["sd__x"]  # the furthest
    assert found["n_needed"].tolist() == [10_000.0]
    one = judge(row(n=3000), row(estimate=0.5, n=3000, term="sd__x"), criteria=[CRITERION | {"term": "x"}])
    assert one["met"].tolist() == [True]


def test_a_coverage_of_one_is_not_enough():
    # of 10: (10 + 2) / 14 stands for P, which needs 0.857 * 0.143 / 0.005^2 = 4898
    found = judge(row(estimate=1.0, mcse=0.0, n=10))
    assert found["met"].tolist() == [False]
    assert found["n_needed"].tolist() == [4898.0]


def test_other_measures_by_their_own_error_and_none_that_is_not_defined():
    bias = {"measure": "bias", "mcse": 0.01, "engine": "reml", "term": "x"}
    rows = [row(measure="bias", estimate=0.0, mcse=0.02, n=500), row("b", "bias", 0.0, 0.01, 500)]
    found = judge(*rows, row("c", "bias", np.nan, np.nan, 0), criteria=[bias]).set_index("design")
    assert found["met"].to_dict() == {"a": False, "b": True, "c": False}
    assert found["n_needed"].to_dict()["a"] == 2000.0


def test_the_report_says_where_designs_ended_and_what_was_kept():
    rows = [row(n_replicates=2000), row("b", estimate=0.9, n=3000, n_replicates=3000)]
    tables = {"performance": pd.DataFrame(rows)}
    recovered = SimpleNamespace(
        settings={"until": [CRITERION | {"term": "x"}], "record": "sums"}, tables=tables
    )
    kept, sums, ended = recording.said(recovered)
    assert "Wald's" in kept
    assert "the first 1,000 replicates of each design" in sums
    assert ended == (  # a coverage of 0.9 needs 3,600
        "Replicates of a design ended with the first batch after which its Monte Carlo errors were small enough "
        "(coverage of x at most 0.005), after 2,000 to 3,000 replicates. 1 of 2 designs met this; the others stopped "
        "at the most replicates allowed."
    )
    assert recording.said(SimpleNamespace(settings={}, tables=tables)) == []


def test_chunks_of_batches_are_built_around_what_is_there(tmp_path):
    """Round 0 of all designs, round 1 of one: files of the second leave those of the first alone."""
    left = [["a", "b"], ["b"], []]
    given = {"keys": ["a", "b"], "seconds": [1.0, 1.0], "count": 2000, "per_job": 400, "summed": False}
    given["ends"] = [500, 1000, 2000]
    first = plan.batches(given, tmp_path, left.__getitem__, 3)
    assert first == [("a-b", 0, 400), ("a-b", 400, 500), ("b", 500, 800), ("b", 800, 1000)]
    for chunk in first:
        (tmp_path / chunk.bundle).mkdir(exist_ok=True)
        (tmp_path / chunk.bundle / f"{chunk.name}.parquet").touch()
    assert plan.batches(given | {"per_job": 100}, tmp_path, left.__getitem__, 3) == first


def test_a_study_ends_design_by_design(tmp_path):
    """The first design needs one batch, the second three, whatever the chunks."""
    study = {
        "formula": "y ~ x + (x | group)",
        "simulate": {"groups": 8, "rows_per_group": 5, "seed": 2, "sigma": [1, 4]},
        "replicates": {"until": {"measure": "bias", "term": "x", "mcse": 0.03}, "at_most": 1500},
        "record": "parameters", "simulate_from": "moments", "engines": {"reml": {}},
    }  # fmt: skip
    project = copy_project(tmp_path)
    project.configure({"u": study | {"replicates_per_job": 300}})
    run = project.snakemake("--cores", "1", "results/u/recovery/performance.csv")
    assert run.returncode == 0, run.stdout + run.stderr
    base = project.root / "results/u/recovery"
    table = pd.read_csv(base / "performance.csv")
    bias = table[(table["measure"] == "bias") & (table["term"] == "x") & (table["subset"] == "usable")]
    # slopes of sd 1 and errors of sd 1 or 4 over 8 groups of 5: EmpSE about 0.4 and 0.8, which need 180 and 700
    assert bias["n_replicates"].tolist() == [500, 1000]
    assert (bias["mcse"] <= 0.03).all()
    judgements = [json.loads((base / f"until/{k}.json").read_text()) for k in (0, 1)]
    assert [len(found["left"]) for found in judgements] == [1, 0]
    assert not (base / "until/2.json").exists()
    again = project.snakemake("--cores", "1", "results/u/recovery/performance.csv")
    assert "Nothing to be done" in again.stdout + again.stderr
