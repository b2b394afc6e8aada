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
from lmm.core.engines import ENGINES
from lmm.core.errors import StudyError
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.proposal.configuration import checked, configuration
from lmm.proposal.model import propose
from planning import plan


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
        (rows(teacher=[f"t{k % 6}" for k in range(60)]).rename(columns={"school": "p", "teacher": "q"}), {},
         "cannot tell the grouping factor: p (text, 12 distinct values), q (text, 6 distinct values) "
         "would do equally well; expected one choice: add GROUP=p to `make new`, or write the formula by hand"),
        (rows().drop(columns="school"), {}, "cannot tell the grouping factor: none of y (numbers, "),
        (rows().rename(columns={"y": "a", "x": "b"}), {}, "cannot tell the response: a (numbers, 60 distinct"),
        (rows().assign(y=[f"{k + 0.25:.2f} %" for k in range(60)]), {},
         "column 'y': '0.25 %' in row 1, like the others: a number with a sign, a unit or separators, expected "),
        (rows().assign(y=[f"{1000 * k + 1000.5:,.1f}" for k in range(60)]), {},
         "column 'y': '1,000.5' in row 1, like the others: a number with a sign, a unit or separators, expected "),
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


def test_shares_that_come_back_are_categories(tmp_path):
    found = proposed(rows(dose=[f"{5 * (k % 3)}%" for k in range(60)]), tmp_path)
    assert "dose" in found.formula
    assert found.formula.startswith("y ~ ")


def test_a_choice_decides(tmp_path):
    frame = rows(teacher=[f"t{k % 6}" for k in range(60)])
    found = proposed(frame, tmp_path, group="teacher")
    assert found.formula == "y ~ x + (x | teacher)"  # 12 schools are no predictor of 11 coefficients
    assert {c.name: c.why for c in found.columns}["school"].startswith("an identifier")


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


ODD = ["#N/A", ".", "-", "n/a", "%", "<0.5", "1,234.5", "12 %", "lost"]


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("column", ["y", "x"])
def test_a_few_values_that_are_not_numbers_do_not_change_the_question(tmp_path, monkeypatch, value, column):
    """The model is that of the file without the value; a mark means missing, the rest is the user's to decide."""
    monkeypatch.chdir(tmp_path)
    frame = rows().astype({column: object})
    frame.loc[7, column] = value
    frame.to_csv("d.csv", index=False)
    said = new_study.write("tea", "d.csv", "tea.yaml", "y", "")
    written = yaml.safe_load(Path("tea.yaml").read_text())["studies"]["tea"]
    assert written["formula"] == "y ~ x + (x | school)"
    mark = value in ODD[:5]
    note = f"Note: column {column!r}: {value!r} in row 8"
    assert said[1].startswith(
        f"{note} read as missing" if mark else f"{note}: not a number; a run stops there"
    )
    assert "`missing_values`" in said[1]
    assert written.get("missing_values") == ([value] if mark else None)
    assert written["missing"] == "drop"
    study = load({"studies": {"tea": written}}).studies["tea"]
    if mark:
        assert plan.study_plan(study)["stages"]["ingest"]["missing_values"] == [value]
    else:
        with pytest.raises(
            StudyError, match=rf"column '{column}': '.*' in row 8 is text, .*missing_values: "
        ):
            plan.study_plan(study)


def test_text_with_some_numbers_in_it_is_text(tmp_path):
    """Doses with one named level, and codes of which some are digits, are no numbers with slips."""
    dose = rows(dose=[["0", "10", "20", "placebo"][k % 4] for k in range(60)])
    assert {c.name: c.numeric for c in proposed(dose, tmp_path, response="y").columns}["dose"] is False
    code = rows(code=[["1A", "2", "B3", "4C"][k % 4] for k in range(60)])
    assert {c.name: c.numeric for c in proposed(code, tmp_path, response="y").columns}["code"] is False


def trial(arms=("10 mg", "Placebo"), dates=True):
    """A trial: patients in arms, measured at weeks, on dates."""
    rng = np.random.default_rng(1)
    weeks = [0, 2, 4, 8]
    made = pd.DataFrame(
        {
            "Patient ID": np.repeat([f"P-{k:03}" for k in range(30)], 4),
            "Visit Date": [f"2024-0{1 + k % 4}-{10 + k // 8}" for k in range(120)],
            "Visit (week)": weeks * 30,
            "Treatment Arm": np.repeat(np.resize(arms, 30), 4),
            "Age": np.repeat(rng.integers(40, 70, 30), 4),
            "BP (mmHg)": rng.normal(140, 10, 120).round(1),
        }
    )
    return made if dates else made.drop(columns="Visit Date")


def test_in_a_trial_arms_differ_in_their_course_and_the_reference_is_named(tmp_path):
    found = proposed(trial(), tmp_path)
    assert found.formula == (
        "`BP (mmHg)` ~ `Treatment Arm` * `Visit (week)` + Age + (`Visit (week)` | `Patient ID`)"
    )
    why = {column.name: column for column in found.columns}
    assert why["Treatment Arm"].why == (
        "2 categories, compared with '10 mg', not with 'Placebo'; "
        "C(`Treatment Arm`, contr.treatment('Placebo')) compares with 'Placebo'"
    )
    assert why["Visit Date"].dates and why["Visit Date"].role == "left out"
    text = configuration("bp", str(tmp_path / "d.csv"), found, "bp.yaml")
    assert "as_date(`Visit Date`) is the number of days since 1970-01-01" in text
    assert '# or: "`BP (mmHg)` ~ `Visit (week)` + `Treatment Arm` + Age' in text  # the arms' difference alone
    # what the comment says parses, and compares with what it says
    other = parse("y ~ C(`Treatment Arm`, contr.treatment('Placebo')) + (1 | g)")
    frame = trial().assign(y=1.0, g="a")
    assert build(other, frame).terms.fixed[1] == "C(`Treatment Arm`, contr.treatment('Placebo'))[T.10 mg]"


def pupils(sizes=(13, 11, 14)):
    """Pupils numbered in classes that are called A, B, C in every school."""
    rng = np.random.default_rng(2)
    made = [
        {
            "school": s,
            "class": c,
            "pupil": p + 1,
            "ses": round(rng.normal(), 2),
            "score": round(rng.normal(50, 9), 1),
        }
        for s in range(1, 13)
        for c, size in zip("ABC", sizes, strict=True)
        for p in range(size - s % 3)
    ]
    return pd.DataFrame(made)


def test_classes_that_are_numbered_anew_in_every_school_are_not_pooled(tmp_path):
    found = proposed(pupils(), tmp_path)
    assert found.formula == "score ~ ses + (ses | school) + (1 | school:`class`)"
    why = {column.name: column.why for column in found.columns}
    assert why["class"] == "nested: its labels begin anew in each school"
    assert "score ~ ses + (ses | school)" in found.others
    assert why["pupil"].startswith("an identifier")
    # where the user asks for them as groups, it is said
    found = proposed(pupils(), tmp_path, group="class")
    assert found.notes[0].startswith(
        "column 'class': its level 'A' occurs in 12 levels of 'school'; if these are"
    )
    assert "score ~ ses + (1 | school/`class`)" in found.others


def words(complete=True):
    """Subjects who read items in an order of their own."""
    rng = np.random.default_rng(3)
    made = [
        {"subject": f"s{s:02}", "item": f"i{i:02}", "trial": place + 1, "condition": ["a", "b"][i % 2],
         "rt": int(rng.normal(600, 90))}
        for s in range(12) for place, i in enumerate(rng.permutation(10))
    ]  # fmt: skip
    return pd.DataFrame(made)


def test_crossed_identifiers_are_factors_and_never_predictors(tmp_path):
    found = proposed(words(), tmp_path)
    assert found.formula == "rt ~ condition + (1 | subject) + (1 | item)"
    why = {column.name: column.why for column in found.columns}
    assert why["item"] == "crossed: on average its levels meet 12 levels of subject each"
    written = yaml.safe_load(configuration("w", "d.csv", found, "w.yaml"))["studies"]["w"]
    parsed = parse(written["formula"])
    assert {name for name in written["engines"] if not ENGINES[name].several} == set()
    assert parsed.several
    found = proposed(words(), tmp_path, group="subject")
    assert found.formula == "rt ~ condition + (1 | subject)"
    why = {column.name: column.why for column in found.columns}
    assert why["item"] == "an identifier; its groups can have random effects of their own"
    assert why["trial"] == "numbers the rows of each group; add it where their order matters"


def test_what_is_known_of_a_subject_is_not_the_response(tmp_path):
    """The one number of lme4's VerbAgg is each subject's anger score; its response is text."""
    frame = words().drop(columns=["rt", "trial"])
    frame["anger"] = frame["subject"].str[1:].astype(int) * 3 + 11
    frame["said"] = np.where(frame.index % 3, "no", "yes")
    with pytest.raises(StudyError, match="cannot tell the response: none of"):
        proposed(frame, tmp_path)


def test_times_are_no_grouping_factor_where_there_is_another(tmp_path):
    """Rats on days, both numbers that come back: nlme's BodyWeight."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        [(rat, day) for rat in range(1, 17) for day in range(1, 78, 7)], columns=["rat", "day"]
    )
    frame["grams"] = 240 + frame["day"] * 0.6 + rng.normal(0, 3, len(frame)).round(1)
    assert proposed(frame, tmp_path).formula == "grams ~ day + (day | rat)"


def test_classes_with_names_of_their_own_are_nested(tmp_path):
    frame = pupils()
    frame["class"] = frame["school"].astype(str) + frame["class"]
    found = proposed(frame.drop(columns="pupil"), tmp_path, name="own.csv")
    assert found.formula == "score ~ ses + (ses | `class`) + (1 | school)"
    why = {column.name: column.why for column in found.columns}
    assert why["school"] == "contains class: each of whose levels is in one school"
    frame["school"] = "s" + frame["school"].astype(str)
    found = proposed(
        frame.drop(columns="pupil").rename(columns={"class": "cl", "school": "group"}), tmp_path, "b.csv"
    )
    assert found.formula == "score ~ ses + (ses | group)", "a column whose name says nothing is no factor"


def test_identifiers_of_rows_are_no_predictors(tmp_path):
    codes = np.random.default_rng(1).permutation(60) + 5000
    found = proposed(rows(barcode=codes, sample_id=codes[::-1]), tmp_path)
    assert found.formula == "y ~ x + (x | school)"
    why = {column.name: column.why for column in found.columns}
    assert why["barcode"] == why["sample_id"] == "an identifier: another one in every row"


def test_a_file_of_another_country_is_written_down_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows(**{"Größe": 1.5}).drop(columns="Größe").rename(columns={"x": "Höhe"}).to_csv(
        "d.csv", index=False, sep=";", decimal=",", encoding="latin-1"
    )
    said = new_study.write("tea", "d.csv", "tea.yaml", "y", "")
    assert said[1] == (
        "Note: d.csv: read with fields separated by semicolons, decimal commas, Latin-1 (Windows-1252) "
        "(found in the file; the key `csv` states it)"
    )
    written = yaml.safe_load(Path("tea.yaml").read_text())["studies"]["tea"]
    assert written["csv"] == {"delimiter": ";", "decimal": ",", "encoding": "latin-1"}
    assert plan.study_plan(load({"studies": {"tea": written}}).studies["tea"])["notes"] == []
