"""What a cell is: writings of numbers, on which `make new`, fit and prediction agree, and names of groups."""

import math

import duckdb
import numpy as np
import pandas as pd
import pytest

from lmm.core.errors import StudyError
from lmm.data import cells, ingest
from lmm.data.source import Part, connect
from lmm.data.summary import group_sizes, summarise
from lmm.model.formula import parse
from lmm.prediction import new_rows
from lmm.proposal import columns

TEXT = None
# Every writing that cells.py decides on: the number that it is, or TEXT. Missing ones are below.
WRITINGS = {
    "12": 12.0, "-12": -12.0, "+5": 5.0, "0": 0.0, "-0": 0.0, "12.": 12.0, ".5": 0.5, "-.5": -0.5, "0.1": 0.1,
    "1e5": 1e5, "1E+5": 1e5, "2.5e-3": 0.0025, "1e-400": 0.0, "007": 7.0, "00.50": 0.5, " 12 ": 12.0, "\t12": 12.0,
    "123456789012345678901": 123456789012345678901.0, "inf": math.inf, "-inf": -math.inf, "Infinity": math.inf,
    "1e400": math.inf,
    "1_1": TEXT, "1_000": TEXT, "1,5": TEXT, "1,000.5": TEXT, "1 000": TEXT, "1'000": TEXT, "0x1F": TEXT,
    "0b11": TEXT, "1d5": TEXT, "1e": TEXT, "e5": TEXT, "1e5.5": TEXT, "1.5.2": TEXT, "++5": TEXT, "--5": TEXT,
    "5-": TEXT, "5%": TEXT, "$5": TEXT, "<0.5": TEXT, "1/2": TEXT, ".": TEXT, "-": TEXT, "+": TEXT, "#N/A": TEXT,
    "true": TEXT, "T": TEXT, "2024-01-01": TEXT, "12:30": TEXT, "٣": TEXT, "１２": TEXT, "½": TEXT, "−5": TEXT,
    "NAN": TEXT, "Nan": TEXT, "None": TEXT, "n/a": TEXT, "Null": TEXT, "na": TEXT, "1_1e5": TEXT, "_1": TEXT,
}  # fmt: skip
MISSING = ("", " ", "\t ", "NA", " NA", "NA ", "N/A", "NaN", "nan", " NaN ", "NULL", "null")


def wide(folder, writings, others=("1", "2", "3")):
    """A file with a column for each writing, `others` below it, and a formula with all of these columns."""
    columns_ = {f"x{k}": [writing, *others] for k, writing in enumerate(writings)}
    frame = pd.DataFrame({"y": [0.5, 1, 4, 9], **columns_, "g": list("aabb")})
    frame.to_csv(folder / "d.csv", index=False)
    return str(folder / "d.csv"), parse(f"y ~ {' + '.join(columns_)} + (1 | g)")


def test_a_writing_is_one_number_or_text_to_make_new(tmp_path):
    found = cells.numbers(pd.DataFrame({"x": list(WRITINGS)}))["x"]
    expected = [math.nan if number is TEXT else number for number in WRITINGS.values()]
    np.testing.assert_array_equal(found, expected)
    file, _ = wide(tmp_path, WRITINGS)
    _, sample, described = columns.look(file)
    for k, (writing, number) in enumerate(zip(WRITINGS, expected, strict=True)):
        column = next(column for column in described if column.name == f"x{k}")
        if math.isnan(
            number
        ):  # text; `make new` may still take the column for numbers, and then says so of the cell
            assert not column.numeric or [odd.value for odd in column.odd] == [writing]
        else:
            assert column.numeric
            assert not column.odd
        if column.numeric:
            np.testing.assert_array_equal(sample[f"x{k}"], [number, 1, 2, 3])


@pytest.mark.parametrize("first", [0, 15, 30, 45])
def test_the_fit_and_rows_to_predict_take_the_same_writings_for_numbers(tmp_path, first):
    # DuckDB plans a query of all 60 columns for seconds
    writings = dict(list(WRITINGS.items())[first:][: 15 if first < 45 else None])
    file, formula = wide(tmp_path, writings)
    found = summarise(ingest.inspect(file, formula.variables, "g"), ()).columns
    for k, number in enumerate(writings.values()):
        column = found[f"x{k}"]
        assert (column.text, column.infinite) == (number is TEXT, number in (math.inf, -math.inf))

    numbers = {
        text: number for text, number in writings.items() if number is not TEXT and math.isfinite(number)
    }
    if not numbers:
        return
    file, formula = wide(tmp_path, numbers)
    source, data = ingest.scan(ingest.inspect(file, formula.variables, "g"), formula)
    with connect(ordered=True) as connection:
        fitted = connection.execute(source.typed(Part(0))).df()
    predicted = new_rows.read(new_rows.check(file, formula, data))
    for k, number in enumerate(numbers.values()):
        assert fitted[f"x{k}"].tolist() == predicted[f"x{k}"].tolist() == [number, 1, 2, 3]


@pytest.mark.parametrize("odd", ["1_1", "inf", "1e400"])
def test_one_value_that_is_no_finite_number_is_named(tmp_path, odd):
    good, formula = wide(tmp_path, ["5"])
    _, data = ingest.scan(ingest.inspect(good, formula.variables, "g"), formula)
    file, _ = wide(tmp_path, [odd])
    said = (
        "column 'x0': '1_1' in row 1 is text, expected a number"
        if odd == "1_1"
        else r"in row 1 \(1 infinite\)"
    )
    for read in (
        lambda: ingest.scan(ingest.inspect(file, formula.variables, "g"), formula),
        lambda: new_rows.check(file, formula, data),
    ):
        with pytest.raises(StudyError, match=said):
            read()


def test_a_column_of_text_is_categories_as_they_are_written(tmp_path):
    text = [writing for writing, number in WRITINGS.items() if number is TEXT][::3]
    file, formula = wide(tmp_path, text, ["u", "u", "v"])
    _, data = ingest.scan(ingest.inspect(file, formula.variables, "g"), formula)
    for k, writing in enumerate(text):
        assert data["columns"][f"x{k}"]["levels"] == sorted([writing, "u", "v"])


def test_what_is_missing_is_missing_in_numbers_text_and_names(tmp_path):
    cells_ = [*MISSING, *(f'"{word}"' for word in MISSING)]
    rows = [",".join(row) for cell in cells_ for row in ((cell, "1", "u", "a"), ("2", cell, "u", "a"))]
    rows += [",".join(row) for cell in cells_ for row in (("3", "3", cell, "b"), ("4", "4", "v", cell))]
    rows += ["5,5,v,b", "6,7,u,b", "7,7,v,a"]
    (tmp_path / "d.csv").write_text("y,x,f,g\n" + "\n".join(rows) + "\n")
    formula, n = parse("y ~ x + f + (1 | g)"), len(cells_)
    source = ingest.inspect(str(tmp_path / "d.csv"), formula.variables, "g", drop=True)
    _, data = ingest.scan(source, formula)
    assert data["dropped"] == {"rows": 4 * n, "columns": {"y": n, "x": n, "f": n, "g": n}}
    _, sample, described = columns.look(str(tmp_path / "d.csv"))
    assert [column.missing for column in described] == [n, n, n, n]
    assert sample["x"].tolist()[-3:] == [5, 7, 7]


def test_parquet_says_itself_what_is_text_and_what_is_missing(tmp_path):
    frame = pd.DataFrame({"y": np.arange(6.0) ** 2, "x": ["1", "NA", "2"] * 2, "g": ["", "NA", "nan"] * 2})
    frame.to_parquet(tmp_path / "d.parquet")
    formula = parse("y ~ x + (1 | g)")
    source, data = ingest.scan(ingest.inspect(str(tmp_path / "d.parquet"), formula.variables, "g"), formula)
    assert data["columns"]["x"]["levels"] == ["1", "2", "NA"]
    assert group_sizes(source, ("g",))[0].tolist() == ["", "NA", "nan"]
    _, _, described = columns.look(str(tmp_path / "d.parquet"))
    assert not any(column.numeric for column in described if column.name != "y")


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        (["2", "10", "1"], [1, 2, 10]),
        (["2.0", "10.0", "1"], [1, 2, 10]),
        (["2e0", "+10", " 1"], [1, 2, 10]),
        (["02", "10", "1"], ["02", "1", "10"]),
        (["2.5", "10", "1"], [1.0, 2.5, 10.0]),
        (["1_1", "10", "1"], ["1", "10", "1_1"]),
    ],
)
def test_numbers_in_c_are_categories_by_their_value_and_codes_by_their_text(tmp_path, values, levels):
    frame = pd.DataFrame({"y": np.arange(9.0) ** 2, "x": values * 3, "g": list("aaabbbccc")})
    frame.to_csv(tmp_path / "d.csv", index=False)
    formula = parse("y ~ C(x) + (1 | g)")
    _, data = ingest.scan(ingest.inspect(str(tmp_path / "d.csv"), formula.variables, "g"), formula)
    assert data["columns"]["x"]["levels"] == levels
    # and the same file to predict
    new_rows.check(str(tmp_path / "d.csv"), formula, data)


def test_doubles_of_whole_numbers_are_whole_categories_in_parquet_too(tmp_path):
    frame = pd.DataFrame({"y": np.arange(6.0) ** 2, "x": [1.0, 2.0, np.nan] * 2, "g": [1, 1, 1, 2, 2, 2]})
    frame.to_parquet(tmp_path / "d.parquet")
    formula = parse("y ~ C(x) + (1 | g)")
    source = ingest.inspect(str(tmp_path / "d.parquet"), formula.variables, "g", drop=True)
    _, data = ingest.scan(source, formula)
    assert data["columns"]["x"]["type"] == "categorical"
    assert (data["columns"]["x"]["kind"], data["columns"]["x"]["levels"]) == ("BIGINT", [1, 2])
    (tmp_path / "new.csv").write_text("x,g\n1.0,1\n2,1\n")
    new_rows.check(str(tmp_path / "new.csv"), formula, data)


# names of groups


def kinds(names: list[str]) -> list[int]:
    rows = [(name,) for name in names]
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE names (name VARCHAR)")
        connection.executemany("INSERT INTO names VALUES (?)", rows)
        return [k for (k,) in connection.sql(f"SELECT {cells.writing('name')} FROM names").fetchall()]


def test_how_names_are_written():
    assert kinds(["7", "-7", "0", "999999999999999999"]) == [cells.PLAIN] * 4
    assert kinds(["007", "00", "-07"]) == [cells.PADDED] * 3
    assert kinds(["7.0", "7.", "+7", " 7", "7 ", "-0", "7.00"]) == [cells.POINT] * 7
    text = [
        "7.5",
        "1e3",
        "7a",
        "",
        " ",
        "7_0",
        "inf",
        "12345678901234567890",
        "9007199254740993.0",
        "007.0x",
        "٧",
    ]
    assert kinds(text) == [cells.TEXT] * len(text)


def read(tmp_path, drop=False, **files):
    """Files of the same rows but for their ids: the groups of all, and data.json's content."""
    for old in tmp_path.glob("*_*.*"):
        old.unlink()
    for k, (name, ids) in enumerate(files.items()):
        n = len(ids)
        frame = pd.DataFrame({"id": ids, "x": np.arange(n) % 5 + k, "y": np.arange(n) ** 2 % 7})
        kind = name.rpartition("_")[2]
        file = tmp_path / f"{name}.{kind}"
        frame.to_csv(file, index=False) if kind == "csv" else frame.to_parquet(file)
    parsed = parse("y ~ x + (1 | id)")
    source = ingest.inspect(str(tmp_path / f"*_*.{kind}"), parsed.variables, "id", drop)
    source, data = ingest.scan(source, parsed)
    return group_sizes(source, ("id",))[0].tolist(), data


@pytest.mark.parametrize(
    ("first", "second", "levels"),
    [
        (["1", "2"], ["2", "3"], ["1", "2", "3"]),
        (["1.0", "2.0"], ["2", "3"], ["1", "2", "3"]),  # a gap in the first file made doubles of its ids
        (["1.0", "2."], [" 2", "+3"], ["1", "2", "3"]),
        (["001", "002"], ["002", "003"], ["001", "002", "003"]),
        (["001", "002"], ["100", "120"], ["001", "002", "100", "120"]),  # of one width
        (["1.1", "1.10"], ["1.10", "2.0"], ["1.1", "1.10", "2.0"]),
        (["s1", "s2"], ["1", "s2"], ["1", "s1", "s2"]),
        (["1", "2"], ["x", "2"], ["1", "2", "x"]),
    ],
)
def test_names_across_text_files(tmp_path, first, second, levels):
    assert read(tmp_path, a_csv=first * 4, b_csv=second * 4)[0] == levels


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            ["1", "2"],
            ["001", "002"],
            r"a_csv.csv: column 'id': '1' in row 1, but '001' in row 1 of .*b_csv.csv",
        ),
        (["001", "002"], ["10", "2"], r"'001' in row 1, but '10' in row 1 of"),
        (["5", "s"], ["5.0", "t"], r"'5' in row 1, but '5.0' in row 1 of"),
        (["5.0", "6.0"], ["s", "005"], r"'5.0' in row 1, but '005' in row 2 of"),
    ],
)
def test_files_that_disagree_end_in_a_message(tmp_path, first, second, said):
    with pytest.raises(StudyError, match=said) as caught:
        read(tmp_path, a_csv=first * 4, b_csv=second * 4)
    assert caught.value.what.endswith("expected every group's name written in the same way in all files")


def test_within_one_file_names_are_text_unless_all_are_whole(tmp_path):
    assert read(tmp_path, a_csv=["1", "01", "001", "1.0"] * 3)[0] == ["001", "01", "1", "1.0"]
    assert read(tmp_path, a_csv=["1.10", "1.1", "None", "n/a"] * 3)[0] == ["1.1", "1.10", "None", "n/a"]
    assert read(tmp_path, a_csv=["1e3", "1e4", "2"] * 3)[0] == ["1e3", "1e4", "2"]  # wells of a plate, say


def test_a_gap_in_a_column_of_ids_changes_no_name(tmp_path):
    ids = pd.Series([1, 2, None, 10] * 3)
    assert read(tmp_path, drop=True, a_csv=ids)[0] == ["1", "2", "10"]
    assert read(tmp_path, drop=True, a_parquet=ids)[0] == ["1", "2", "10"]
    # a last line that has no values of its own, such as a total, is left out before names are looked at
    (tmp_path / "c.csv").write_text("id,x,y\n1.0,1,2\n1.0,3,1\n2.0,2,5\ntotal,,8\n")
    parsed = parse("y ~ x + (1 | id)")
    source, _ = ingest.scan(ingest.inspect(str(tmp_path / "c.csv"), parsed.variables, "id", True), parsed)
    assert group_sizes(source, ("id",))[0].tolist() == ["1", "2"]


def test_parquet_of_integers_and_of_doubles_are_the_same_groups(tmp_path):
    assert read(tmp_path, a_parquet=[1, 2, 3] * 3, b_parquet=[1.0, 2.0, 11.0] * 3)[0] == ["1", "2", "3", "11"]
    assert read(tmp_path, a_parquet=[1, 2, 3] * 3, b_parquet=["3", "x", "4"] * 3)[0] == [
        "1",
        "2",
        "3",
        "4",
        "x",
    ]
    assert read(tmp_path, a_parquet=[1.5, 2.0] * 3)[0] == ["1.5", "2.0"]
    with pytest.raises(StudyError, match=r"column 'id': (large_)?string, expected DOUBLE as in"):
        read(tmp_path, a_parquet=[1.5, 2.0] * 3, b_parquet=["x", "y"] * 3)


def test_text_in_parquet_stays_text(tmp_path):
    assert read(tmp_path, a_parquet=["1.0", "2.0"] * 3)[0] == ["1.0", "2.0"]
    assert read(tmp_path, b_parquet=["5", "2"] * 3)[1]["columns"]["id"]["kind"] == "BIGINT"


def predicted(tmp_path, data, ids, kind="csv"):
    """Levels of the rows to predict whose ids these are."""
    frame = pd.DataFrame({"id": ids, "x": 1.5})
    file = tmp_path / f"new.{kind}"
    frame.to_csv(file, index=False) if kind == "csv" else frame.to_parquet(file)
    return new_rows.read(new_rows.check(str(file), parse("y ~ x + (1 | id)"), data))["id"].tolist()


def test_rows_to_predict_have_the_datas_names(tmp_path):
    _, whole = read(tmp_path, drop=True, a_csv=["1.0", "2.0", None] * 3)
    assert predicted(tmp_path, whole, ["1", "2", "3"]) == ["1", "2", "3"]
    assert predicted(tmp_path, whole, ["1.0", "3.0"]) == ["1", "3"]
    assert predicted(tmp_path, whole, [1.0, 3.0], "parquet") == ["1", "3"]
    assert predicted(tmp_path, whole, [1, 3], "parquet") == ["1", "3"]
    assert predicted(tmp_path, whole, ["1", "new"]) == ["1", "new"]
    for odd in (["001"], ["1.0", "new"]):
        with pytest.raises(StudyError, match="in row 1, where the data have plain whole numbers"):
            predicted(tmp_path, whole, odd)


def test_rows_to_predict_of_text_names_are_text(tmp_path):
    _, text = read(tmp_path, a_csv=["001", "002", "x"] * 3)
    assert predicted(tmp_path, text, ["001", "y"]) == ["001", "y"]
    # in every way that the data write names: `0` is no other spelling of a group of theirs
    _, both = read(tmp_path, a_csv=["001", "0", "2"] * 3)
    assert predicted(tmp_path, both, ["001", "0", "7"]) == ["001", "0", "7"]
    with pytest.raises(StudyError, match=r"'1.0' in row 2, where the data have plain whole numbers"):
        predicted(tmp_path, both, ["001", "1.0"])
    with pytest.raises(StudyError, match="'1' in row 1, where the data have numbers with leading zeros"):
        predicted(tmp_path, text, ["1", "2"])
    with pytest.raises(StudyError, match="in row 1, where the data have numbers with leading zeros"):
        predicted(tmp_path, text, [1, 2], "parquet")
    assert predicted(tmp_path, text, ["100"]) == ["100"]


def test_ids_that_doubles_cannot_tell_apart_are_refused(tmp_path):
    with pytest.raises(StudyError, match="in row 2 as a floating-point number; expected"):
        read(tmp_path, a_parquet=[1.0, 1e17] * 3)
