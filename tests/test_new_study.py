"""`make new`: what is proposed for a file is what a careful reader of its columns would write, or nothing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import new_study
from conftest import ROOT
from lmm.config.load import load
from lmm.core.errors import StudyError
from lmm.proposal.configuration import checked, configuration
from lmm.proposal.model import propose


def rows(groups=12, each=5, seed=0, **columns):
    """A data set with a response, a predictor and a grouping factor, and more where asked for."""
    rng = np.random.default_rng(seed)
    n = groups * each
    frame = pd.DataFrame(
        {
            "y": rng.normal(size=n).round(3),
            "x": rng.normal(size=n).round(3),
            "school": [f"s{k // each}" for k in range(n)],
        }
    )
    return frame.assign(**columns)


def proposed(frame, tmp_path, name="d.csv", **named):
    file = tmp_path / name
    frame.to_parquet(file) if name.endswith("parquet") else frame.to_csv(file, index=False)
    return propose(str(file), **named)


@pytest.mark.parametrize(
    ("file", "formula"),
    [
        ("sleepstudy", "Reaction ~ Days + (Days | Subject)"),  # the model of lme4's own examples
        ("orthodont", "distance ~ age + Sex + (age | Subject)"),
        ("dyestuff", "Yield ~ 1 + (1 | Batch)"),
        ("dyestuff2", "Yield ~ 1 + (1 | Batch)"),
    ],
)
def test_textbook_data_get_textbook_formulas(file, formula):
    assert propose(str(ROOT / f"config/data/{file}.csv")).formula == formula


def test_a_slope_only_where_the_predictor_differs_within_enough_groups(tmp_path):
    between = rows()
    between["x"] = between.groupby("school")["x"].transform("first")
    assert proposed(between, tmp_path).formula == "y ~ x + (1 | school)"
    assert proposed(rows(each=2), tmp_path).formula == "y ~ x + (1 | school)"  # two rows carry no slope
    assert proposed(rows(groups=4), tmp_path).formula == "y ~ x + (1 | school)"  # four groups no correlation
    both = proposed(rows(z=np.arange(60.0) % 7), tmp_path)
    assert both.formula == "y ~ x + z + (x | school)"
    assert both.others == (
        "y ~ x + z + (x || school)", "y ~ x + z + (x + z | school)", "y ~ x + z + (1 | school)"
    )  # fmt: skip


def test_columns_that_are_no_predictors_are_left_out_with_the_reason(tmp_path):
    frame = rows()
    frame = frame.assign(
        row=range(1, 61), one=1, note=[f"text {k}" for k in range(60)], double=2 * frame["x"] + 1,
        rare=[1.5] * 20 + [np.nan] * 40,
    )  # fmt: skip
    found = proposed(frame, tmp_path)
    assert found.formula == "y ~ x + (x | school)"
    assert {column.name: column.why for column in found.columns if column.role == "left out"} == {
        "row": "a row number",
        "one": "the same in every row",
        "note": "text with 60 values",
        "double": "a combination of the columns before it",
        "rare": "the same in every row",
    }


def test_odd_names_stand_in_backticks_and_the_formula_parses(tmp_path):
    frame = rows().rename(columns={"x": "blood pressure", "school": "school id", "y": "class"})
    found = proposed(frame, tmp_path, response="class")
    assert found.formula == "`class` ~ `blood pressure` + (`blood pressure` | `school id`)"
    text = configuration("odd", str(tmp_path / "d.csv"), found, "config/odd.yaml")
    assert checked("odd", text) == text


def test_parquet_with_columns_that_no_model_takes(tmp_path):
    frame = rows(when=pd.Timestamp("2024-01-01"), tags=[["a"]] * 60)
    assert proposed(frame, tmp_path, "d.parquet").formula == "y ~ x + (x | school)"


def test_missing_values_are_left_out_knowingly(tmp_path):
    frame = rows()
    frame.loc[3, "x"] = np.nan
    found = proposed(frame, tmp_path)
    text = configuration("holes", str(tmp_path / "d.csv"), found, "config/holes.yaml")
    assert "missing: drop # a column used lacks values (1 rows of the sample)" in text
    assert yaml.safe_load(checked("holes", text))["studies"]["holes"]["missing"] == "drop"


@pytest.mark.parametrize(
    ("frame", "named", "said"),
    [
        (rows(teacher=[f"t{k % 6}" for k in range(60)]), {},
         "cannot tell the grouping factor: school (text, 12 distinct values), teacher (text, 6 distinct values) "
         "would do equally well; expected one choice: add GROUP=school to `make new`, or write the formula by hand"),
        (rows().drop(columns="school"), {}, "cannot tell the grouping factor: none of y (numbers, "),
        (rows().rename(columns={"y": "a", "x": "b"}), {}, "cannot tell the response: a (numbers, 60 distinct"),
        (rows(), {"response": "Y"}, "RESPONSE=Y: no such column, expected one of y, x, school"),
        (rows(), {"group": "g"}, "GROUP=g: no such column, expected one of y, x, school"),
        (rows(), {"response": "school", "group": "school"}, "RESPONSE=school: is the grouping factor, expected"),
        (rows(t="a"), {"response": "t"}, "RESPONSE=t: is not a number that differs, expected a column of numb"),
        (rows(t="a"), {"group": "t"}, "GROUP=t: 1 level in 60 rows, expected at least 2 levels"),
    ],
)  # fmt: skip
def test_where_it_cannot_be_told_it_says_what_to_do(frame, named, said, tmp_path):
    with pytest.raises(StudyError) as caught:
        proposed(frame, tmp_path, **named)
    assert caught.value.where == str(tmp_path / "d.csv")
    assert caught.value.what.startswith(said)


def test_a_choice_decides(tmp_path):
    frame = rows(teacher=[f"t{k % 6}" for k in range(60)])
    found = proposed(frame, tmp_path, group="teacher")
    assert found.formula == "y ~ x + school + (x | teacher)"


def test_the_written_file_is_a_configuration_and_says_what_it_rests_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    rows().to_csv("d.csv", index=False)
    said = new_study.write("tea", "d.csv", "", "", "")
    assert said[0] == "Wrote config/tea.yaml: y ~ x + (x | school)"
    assert 'make ARGS="--configfile config/tea.yaml"' in said[-1]
    text = Path("config/tea.yaml").read_text()
    assert "#   school: text, 12 levels: grouping factor (named like one)" in text
    assert "all 60 rows, 12 groups" in text
    study = load(yaml.safe_load(text)).studies["tea"]
    assert study.engines == ("ols", "mixedlm", "reml", "pymc")
    with pytest.raises(
        StudyError, match=r"^studies.tea.config/tea.yaml: exists already, expected a new file"
    ):
        new_study.write("tea", "d.csv", "", "", "")


def test_rows_that_no_fit_could_use_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows(x=[np.inf] + [0.5, 1.5] * 29 + [2.5]).to_csv("d.csv", index=False)
    with pytest.raises(StudyError, match=r"^studies.tea.d.csv: column 'x': inf in row 1"):
        new_study.write("tea", "d.csv", "tea.yaml", "", "")
    assert not Path("tea.yaml").exists()


def test_a_sample_is_called_one(tmp_path, monkeypatch):
    monkeypatch.setattr("lmm.proposal.columns.SAMPLE_ROWS", 40)
    found = proposed(rows(), tmp_path)
    assert (found.rows, found.whole) == (40, False)
    assert "a sample of 40 rows" in configuration("a", "d.csv", found, "a.yaml")


def test_make_new(tmp_path):
    """The target, with its options; a GROUP of the shell's own is no choice of the user's."""
    command = ["make", "-s", "-o", ".venv/stamp", "new", "STUDY=sleep"]
    file = tmp_path / "sleep.yaml"
    options = ["DATA=config/data/sleepstudy.csv", f"OUT={file}", "BIN=" + str(Path(sys.executable).parent)]
    run = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "GROUP": "wheel"}
    )
    assert run.returncode == 0, run.stderr
    assert f"Wrote {file}: Reaction ~ Days + (Days | Subject)" in run.stdout
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode != 0
    assert "new: expected a name and a file: make new STUDY=name DATA=file.csv" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("first", [2**53, 2**70])
def test_numbers_too_long_for_a_double_are_identifiers(tmp_path, first, suffix):
    """2^53 and 2^53 + 1 are one double: two groups would have been taken for one."""
    frame = rows(school=[first + k // 5 for k in range(60)])
    if first > 2**63:
        frame["school"] = frame["school"].astype(str)  # Parquet has no such number
    found = proposed(frame, tmp_path, f"d.{suffix}")
    assert found.formula == "y ~ x + (x | school)"
    assert found.groups == 12


def test_pandas_categories_of_numbers_are_proposed_as_categories(tmp_path):
    frame = rows(week=pd.Categorical([k % 3 for k in range(60)]))
    found = proposed(frame, tmp_path, "d.parquet")
    assert {column.name: column.why for column in found.columns}["week"].startswith("3 categories")
