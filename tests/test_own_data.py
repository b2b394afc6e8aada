"""Own data through the real command line: what cannot be used stops before any fit, in one line; scattered files."""

import os
import time

import numpy as np
import pandas as pd
import pytest

from lmm.core.errors import StudyError
from lmm.data import ingest
from lmm.model.formula import parse, together
from lmm.moments import stage
from lmm.moments.moments import Moments
from planning import plan
from planning.files import parts

FORMULA = "y ~ x + (x | g)"


def frame(n=120, groups=8):
    rng = np.random.default_rng(2)
    codes = rng.integers(0, groups, n)
    x, z = rng.normal(size=(2, n))
    u = rng.normal(size=(groups, 2))
    y = 3 + x + u[codes, 0] + u[codes, 1] * x + rng.normal(size=n)
    f = rng.choice(["a", "b"], n)
    return pd.DataFrame({"y": y, "x": x, "z": z, "w": 2 * x - z + 1, "f": f, "g": [f"s{k}" for k in codes]})


def stopped(project, study, begins, *parts, options=()):
    """The run ended with one line of ours, said once, no traceback and no fit."""
    project.configure({"mine": study})
    run = project.snakemake("--cores", "1", *options)
    said = run.stdout + run.stderr
    assert run.returncode != 0
    lines = [line for line in said.splitlines() if line.startswith("studies.mine.")]
    assert len(lines) == 1, said
    (line,) = lines
    assert line.startswith(f"studies.mine.{begins}"), line
    for part in parts:
        assert part in line, line
    assert "Traceback" not in said
    for engine in ("ols", "reml", "mixedlm", "pymc"):
        assert not (project.root / "results/mine" / engine).exists()


@pytest.mark.parametrize(
    "study, begins, parts",
    [
        ({"formula": "y ~ g + (1 | g)"}, "formula:", ["grouping factor 'g' is also a predictor"]),
        ({"formula": "y ~ x + (g | g)"}, "formula:", ["'g' is also a predictor"]),
        ({"formula": "y ~ x + (1 | g / g)"}, "formula:", ["g"]),
        (
            {"formula": "y ~ x + (1 | g) + (1 | x)"},
            "formula:",
            ["the grouping factor 'x' is also a predictor"],
        ),
        ({"formula": FORMULA, "offset": "w"}, "offset:", ["write + offset(column) in the formula"]),
        ({"formula": "y ~ q + (1 | g)"}, "d.csv:", ["column 'q'", "expected"]),
        ({"formula": FORMULA, "predict": "none.csv"}, "predict:", ["no such file"]),
        ({"formula": FORMULA, "predict": "p.csv"}, "p.csv:", ["column 'x'", "not there"]),
    ],
)
def test_what_the_headers_tell_stops_while_jobs_are_planned(tmp_path, monkeypatch, study, begins, parts):
    monkeypatch.chdir(tmp_path)
    frame().to_csv(tmp_path / "d.csv", index=False)
    (tmp_path / "p.csv").write_text("z,g\n1,s1\n")
    with pytest.raises(StudyError) as raised:
        plan.make({"studies": {"mine": {"data": "d.csv", **study}}}, tmp_path)
    assert str(raised.value).startswith(f"studies.mine.{begins}")
    for part in parts:
        assert part in str(raised.value)


def test_a_plan_that_cannot_be_made_ends_in_one_line_before_any_job(project):
    frame().to_csv(project.root / "d.csv", index=False)
    stopped(project, {"data": "d.csv", "formula": "y ~ q + (1 | g)"}, "d.csv:", "column 'q'", "expected")
    assert not list((project.root / "results").rglob("*.json"))


@pytest.mark.parametrize(
    "study, begins, parts",
    [
        (
            {"formula": "y ~ x + z + w + (1 | g)", "rank_deficient": "error"},
            "d.csv:",
            ["column 'w'", "'x', 'z'"],
        ),
        (
            {"formula": "y ~ x + bs(z, df=4) + (x | g)", "predict": "far.csv"},
            "far.csv:",
            [
                "column 'z': 9 in row 3, where 'bs(z, df=4)' has no value",
                "expected numbers like the data's, -",
            ],
        ),
    ],
)
def test_what_only_rows_tell_stops_before_any_fit(project, study, begins, parts):
    frame().to_csv(project.root / "d.csv", index=False)
    (project.root / "far.csv").write_text("x,z,g\n1,0,s1\n9,0,new\n0,9,s2\n")
    stopped(project, {"data": "d.csv", **study}, begins, *parts)


def test_a_message_is_said_once_where_snakemake_does_not_show_logs_too(project):
    """Without the profile nobody but the job puts it on the console; the log has it in any case."""
    frame().assign(x="oops").to_csv(project.root / "d.csv", index=False)
    study = {"data": "d.csv", "formula": "y ~ x + (x | g)", "missing": "error"}
    options = ("--workflow-profile", "none")
    stopped(project, study, "d.csv:", "column 'x': 'oops' in every row", options=options)
    log = (project.root / "results/mine/logs/ingest.log").read_text()
    assert log.count("studies.mine.d.csv: column 'x': 'oops' in every row") == 1


def test_rows_to_predict_are_checked_with_every_engines_formula_in_simulated_studies(project):
    (project.root / "p.csv").write_text("x,z,g\n1,1,s1\n1,-1,new\n")
    study = {
        "formula": "y ~ x + z + (1 | g)",
        "simulate": {"groups": 10, "rows_per_group": 5, "predictors": {"z": {"uniform": {"low": 1, "high": 2}}}},
        "engines": {"reml": {"formula": "y ~ x + z + (np.log(z) | g)"}},
        "predict": "p.csv",
    }  # fmt: skip
    stopped(project, study, "p.csv:", "column 'z': -1 in row 2, where 'np.log(z)' has no value")


def test_other_rows_to_predict_are_predicted_without_a_new_fit(project):
    frame().to_csv(project.root / "d.csv", index=False)
    (project.root / "p.csv").write_text("x,g\n1,s1\n")
    (project.root / "q.csv").write_text("x,g\n2,s1\n3,new\n")
    study = {"data": "d.csv", "formula": FORMULA, "engines": {"reml": {}}}
    project.configure({"mine": study | {"predict": "p.csv"}})
    run = project.snakemake("--cores", "1")
    assert run.returncode == 0, run.stdout + run.stderr
    assert not project.planned()
    project.configure({"mine": study | {"predict": "q.csv"}}, "config/other.yaml")
    again = project.planned("--configfile", "config/other.yaml")
    assert {"new_rows", "predictions", "report"} <= again.keys()
    fits = {"ingest", "moments", "reml", "influence", "comparison"}
    assert not fits & again.keys()
    project.configure({"mine": study}, "config/none.yaml")
    assert not (fits | {"new_rows"}) & project.planned("--configfile", "config/none.yaml").keys()
    # the same file with other rows
    os.utime(project.root / "p.csv", (time.time() + 5, time.time() + 5))
    (project.root / "p.csv").write_text("x,g\n9,s1\n")
    assert not fits & project.planned().keys()


def scanned(tmp_path, formulas, data=None, files=1):
    data = frame() if data is None else data
    for k, part in enumerate(np.array_split(np.arange(len(data)), files)):
        data.iloc[part].to_parquet(tmp_path / f"{k}.parquet")
    formula = together(formulas)
    source = ingest.inspect(str(tmp_path / "*.parquet"), formula.variables, "g")
    return ingest.scan(source, formula)[1]


@pytest.mark.parametrize(
    "formula, change, said",
    [
        (
            "y ~ x + (x + z + w | g)",
            {},
            r"column 'w': a linear combination of 'x', 'z' in all rows, expected",
        ),
        ("y ~ x + I(x * 2) + (1 | g)", {}, r"a linear combination of 'x' in all rows, expected"),
        (
            "y ~ np.sign(k) + (1 | g)",
            {"k": np.arange(1, 121)},
            r"column 'np.sign\(k\)': a linear combination",
        ),
        (
            "y ~ x + (x + z | g)",
            {"g": np.repeat(["a", "b"], 60)},
            r"column 'g': 2 groups for 3 correlated random effects",
        ),
    ],
)
def test_designs_that_rows_or_groups_cannot_carry(tmp_path, formula, change, said):
    data = scanned(tmp_path, [formula], frame().assign(**change))
    with pytest.raises(StudyError, match=said):
        design, own = stage.designs([formula], data, None)
        stage.checked(stage.of_sources(design, data), own, data)


def test_engines_own_formulas_are_checked_too(tmp_path):
    formulas = ["y ~ x + (1 | g)", "y ~ x + (x + z + w || g)", "y ~ x + (x + z + w | g)"]
    data = scanned(tmp_path, formulas)
    design, own = stage.designs(formulas, data, None)
    moments = stage.of_sources(design, data)
    assert stage.checked(moments, own[:2], data) == own[:2]  # each effect is a block of its own
    with pytest.raises(StudyError, match="column 'w'"):
        stage.checked(moments, own, data)


def test_bs_and_poly_of_rows_in_memory():
    data = {"rows": 120, "groups": 8, "columns": {}, "factors": [{"group": "g", "levels": 8}]}
    design, _ = stage.designs(["y ~ poly(x, 2) + bs(z, df=4) + (1 | g)"], data, frame())
    moments = stage.of_rows(design, frame())
    # R: poly's columns are orthonormal and orthogonal to 1; 120 rows of sums near 1e-16 each
    polynomial = moments.cov_fixed(("poly(x, 2)[1]", "poly(x, 2)[2]")) * 120
    np.testing.assert_allclose(polynomial, np.eye(2), atol=1e-13)


def test_moments_of_parts_are_those_of_one_job(tmp_path):
    data = scanned(tmp_path, [FORMULA], frame(900, 40), files=5)
    design, own = stage.designs([FORMULA], data, None)
    whole = stage.of_sources(design, data)
    paths = []
    for k, span in enumerate([(0, 2), (2, 3), (3, 5)]):
        path = (str(tmp_path / f"part-{k}"), str(tmp_path / f"part-{k}.json"))
        stage.of_sources(design, data, span).write(f"{path[0]}.pq", path[1])
        paths.append((f"{path[0]}.pq", path[1]))
    merged, _ = stage.merged(paths, own, data)
    assert isinstance(merged, Moments)
    assert merged.basis.plain() == whole.basis.plain()
    assert merged.levels.tolist() == whole.levels.tolist()
    assert (merged.n == whole.n).all()
    # The same products, added in another order: (a + b) + (c + d) for ((a + b) + c) + d
    np.testing.assert_allclose(merged.gram, whole.gram, rtol=0, atol=1e-12 * np.abs(whole.gram).max())
    np.testing.assert_allclose(merged.total, whole.total, rtol=0, atol=1e-12 * np.abs(whole.total).max())


def test_files_are_put_together_into_parts():
    GB = 1024**3
    assert parts([9 * GB]) == []
    assert parts([2 * GB, 2 * GB]) == []
    assert parts([2 * GB, 2 * GB, 1 * GB]) == [[0, 1], [1, 2], [2, 3]]
    assert parts([GB // 2] * 9) == [[0, 2], [2, 4], [4, 6], [6, 9]]
    assert parts([5 * GB, 1, 1]) == [[0, 3]]


def test_many_large_files_are_scattered_over_jobs(project):
    for module, name, value in [
        ("planning/files.py", "SCATTER_BYTES, PART_BYTES", "1000, 1000"),
        ("lmm/data/ingest.py", "COPY_LIMIT", "0"),
    ]:
        path = project.root / "workflow/scripts" / module
        lines = path.read_text().splitlines()
        changed = [f"{name} = {value}" if line.startswith(f"{name} = ") else line for line in lines]
        assert changed != lines
        path.write_text("\n".join(changed) + "\n")
    data = frame(300)
    for k in range(3):
        data.iloc[k * 100 : (k + 1) * 100].to_csv(project.root / f"d{k}.csv", index=False)
    project.configure({"mine": {"formula": FORMULA, "data": "d*.csv", "engines": {"reml": {}}}})
    target = "results/mine/moments/moments.parquet"
    run = project.snakemake("--cores", "2", target)
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    assert said.count(": moments, part ") == 3
    left = sorted(path.name for path in (project.root / target).parent.glob("part-*"))
    assert left == []  # they were temporary
    formula = parse(FORMULA)
    source = ingest.inspect(str(project.root / "d*.csv"), formula.variables, "g")
    _, details = ingest.scan(source, formula)
    design, _ = stage.designs([FORMULA], details, None)
    expected = stage.of_sources(design, details)
    found = Moments.read(project.root / target, project.root / "results/mine/moments/moments.json")
    np.testing.assert_allclose(found.gram, expected.gram, rtol=0, atol=1e-12 * np.abs(expected.gram).max())
