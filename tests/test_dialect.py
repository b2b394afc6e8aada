"""Text files however they are written: the same rows as from plain CSV, and a line that says what was found."""

import gzip
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lmm.core.errors import StudyError
from lmm.data import dialect, ingest
from lmm.data.dialect import Reading
from lmm.data.source import Part, connect
from lmm.model.formula import parse
from lmm.prediction import new_rows

FRAME = pd.DataFrame(
    {
        "Größe": [1.25, -0.5, 3.0, 1e-3, 7.5, 2.25],
        "Dosis": [0, 1, 2, 0, 1, 2],
        "Art": ["süß", "sauer; bitter", 'so "so"', "süß", "sauer; bitter", "süß"],
        "g": ["ä1", "ä1", "b", "b", "c", "c"],
    }
)
FORMULA = "Größe ~ Dosis + Art + (1 | g)"


def write(path, frame=FRAME, delimiter=",", decimal=".", encoding="utf-8"):
    text = frame.to_csv(index=False, sep=delimiter, decimal=decimal)
    raw = text.encode(encoding)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def read(path, formula=FORMULA, drop=False, **stated):
    """The source after a scan, its data.json, and all rows as fits see them."""
    parsed = parse(formula)
    source = ingest.inspect(
        str(path), parsed.variables, parsed.group, drop, stated=Reading(**stated), dates=parsed.dates
    )
    source, data = ingest.scan(source, parsed)
    with connect(ordered=True) as connection:
        rows = pd.concat(
            [connection.execute(source.typed(Part(k))).df() for k in range(len(source.files))],
            ignore_index=True,
        )
    return source, data, rows


@pytest.mark.parametrize(
    ("name", "delimiter", "decimal", "encoding", "said"),
    [
        ("d.csv", ",", ".", "utf-8", ""),
        ("d.csv", ",", ".", "utf-8-sig", ""),
        ("d.csv", ";", ",", "latin-1", "fields separated by semicolons, decimal commas, Latin-1 (Windows-1252)"),
        ("d.csv", ";", ".", "utf-8", "fields separated by semicolons"),
        ("d.csv", ",", ",", "utf-8", "decimal commas"),
        ("d.csv", "\t", ",", "utf-16", "fields separated by tabs, decimal commas, UTF-16"),
        ("d.csv", "|", ".", "latin-1", "fields separated by vertical bars, Latin-1 (Windows-1252)"),
        ("d.tsv", ",", ".", "utf-8", "fields separated by commas"),
        ("d.tsv", "\t", ",", "utf-8", "decimal commas"),
        ("d.csv.gz", ";", ",", "latin-1", "fields separated by semicolons, decimal commas, Latin-1 (Windows-1252)"),
    ],
)  # fmt: skip
def test_the_same_rows_however_a_file_is_written(tmp_path, name, delimiter, decimal, encoding, said):
    file = write(tmp_path / name, FRAME, delimiter, decimal, encoding)
    source, data, rows = read(file)
    pd.testing.assert_frame_equal(rows[list(FRAME)], FRAME, check_dtype=False)
    expected = [f"{file}: read with {said} (found in the file; the key `csv` states it)"] if said else []
    assert data["read_as"] == list(source.notes) == expected
    # what was found, once stated, is no news; and data.json says how to read the files again
    plain = encoding.removesuffix("-sig") if encoding != "utf-8-sig" else "utf-8"
    source, data, again = read(file, delimiter=delimiter, decimal=decimal, encoding=plain)
    pd.testing.assert_frame_equal(again, rows)
    assert source.notes == () and data["csv"]["delimiter"] == delimiter
    assert ingest.reopen(data).notes == ()


def test_bytes_of_windows_are_its_characters(tmp_path):
    (tmp_path / "d.csv").write_bytes("y,x,g\n1,€ 5,a\n2,’x’,a\n3,€ 5,b\n4,’x’,b\n".encode("cp1252"))
    _, data, rows = read(tmp_path / "d.csv", "y ~ x + (1 | g)")
    assert rows["x"].tolist() == ["€ 5", "’x’", "€ 5", "’x’"]
    assert data["columns"]["x"]["levels"] == ["€ 5", "’x’"] or data["columns"]["x"]["levels"] == [
        "’x’",
        "€ 5",
    ]


def test_commas_of_thousands_are_not_decimal(tmp_path):
    """Quoted in a file of commas, 1,234 may be either: it is left to the user."""
    (tmp_path / "d.csv").write_text('y,x,g\n1,"1,234",a\n2,"2,500",a\n3,"1,234",b\n4,"2,500",b\n')
    with pytest.raises(
        StudyError, match=r"text such as '1,234', expected numbers .* `csv: \{decimal: \",\"\}`"
    ):
        read(tmp_path / "d.csv", "y ~ x + (1 | g)")
    _, _, rows = read(tmp_path / "d.csv", "y ~ x + (1 | g)", decimal=",")
    assert rows["x"].tolist() == [1.234, 2.5, 1.234, 2.5]
    # a point beside decimal commas marks thousands: no number is guessed from it
    (tmp_path / "e.csv").write_text("y;x;g\n1;0,5;a\n2;1.234,5;a\n3;0,25;b\n")
    with pytest.raises(StudyError, match=r"'1.234,5' in row 2 is text, expected a number"):
        read(tmp_path / "e.csv", "y ~ x + (1 | g)")


def test_files_of_one_study_may_be_written_differently(tmp_path):
    """Delimiter and encoding are each file's own; a file without decimal numbers fits any decimal mark."""
    whole = FRAME.assign(**{"Größe": [1, 2, 3, 4, 5, 6]})
    write(tmp_path / "1.csv", whole)
    write(tmp_path / "2.csv", FRAME, ";", ",", "latin-1")
    source, _, rows = read(tmp_path / "*.csv")
    pd.testing.assert_frame_equal(
        rows[list(FRAME)], pd.concat([whole, FRAME], ignore_index=True), check_dtype=False
    )
    assert source.decimal == "," and len(source.notes) == 1


numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
words = st.text("abXY;,.:'\"|%/-üß€é’", min_size=1, max_size=8).map(lambda text: f"w{text}")


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.tuples(numbers, words, st.sampled_from("abc")), min_size=4, max_size=12),
    delimiter=st.sampled_from(",;\t"),
    decimal=st.sampled_from(".,"),
    encoding=st.sampled_from(["utf-8", "cp1252", "utf-16"]),
)
def test_any_table_is_found_out(tmp_path_factory, rows, delimiter, decimal, encoding):
    """Values survive any combination of marks that a program writes, whatever their text."""
    frame = pd.DataFrame(rows, columns=["y", "note", "g"])
    frame.loc[0, "y"] = 0.5  # some number has a decimal mark
    file = write(tmp_path_factory.mktemp("any") / "d.csv", frame, delimiter, decimal, encoding)
    # in Windows-1252 two characters may look like one of UTF-8, and nothing can tell which is meant
    assume(encoding != "cp1252" or not dialect.MULTIBYTE.search(file.read_bytes()))
    _, records = dialect.detect(str(file), "csv", Reading())
    assert records[0] == ["y", "note", "g"]
    with connect(ordered=True) as connection:
        source = ingest.inspect(str(file), ("y", "note", "g"), "g")
        back = connection.execute(f"SELECT note, {source.number('y')} AS y FROM ({source.raw(Part(0))})").df()
    assert back["note"].tolist() == frame["note"].tolist()
    # 1,234 beside 0,5 is no thousand: a file of decimal commas has some number that says so
    np.testing.assert_array_equal(back["y"], frame["y"])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_missing_values_are_those_that_the_study_states(tmp_path, suffix):
    frame = pd.DataFrame(
        {"y": ["1.5", ".", "2.5", "4", "3"], "x": [1, -999, 3, 2, 5], "f": ["u", "v", "n/a", "u", "v"],
         "g": list("aabbb")}
    )  # fmt: skip
    file = tmp_path / f"d.{suffix}"
    if suffix == "csv":
        frame.to_csv(file, index=False)
    else:
        frame.assign(y=[1.5, -999.0, 2.5, 4, 3]).to_parquet(file)
    _, data, rows = read(file, "y ~ x + f + (1 | g)", drop=True, missing=(".", "-999", "n/a"))
    assert rows["y"].tolist() == [1.5, 4, 3] and rows["x"].tolist() == [1, 2, 5]
    assert rows["f"].tolist() == ["u", "u", "v"]
    assert data["dropped"] == {"rows": 2, "columns": {"y": 1, "x": 1, "f": 1}}
    assert data["missing_values"] == [".", "-999", "n/a"]
    with pytest.raises(StudyError, match=r"column '.': missing in 1 of 5 rows, first in row 2"):
        read(file, "y ~ x + f + (1 | g)", missing=(".", "-999", "n/a"))


def test_a_mark_may_have_the_delimiter_and_the_quote_in_it(tmp_path):
    (tmp_path / "d.csv").write_text('y,x,g\n1,"1,234.5",a\n2,"{it\'s 50 %}",a\n3,2,b\n4,3,a\n5,4,a\n')
    _, _, rows = read(tmp_path / "d.csv", "y ~ x + (1 | g)", drop=True, missing=("1,234.5", "{it's 50 %}"))
    assert rows["x"].tolist() == [2, 3, 4]


def test_rows_to_predict_are_read_by_the_same_rules(tmp_path):
    write(tmp_path / "d.csv", FRAME, ";", ",", "latin-1")
    formula = parse(FORMULA)
    _, data, _ = read(tmp_path / "d.csv", missing=(".",))
    new = FRAME[["Dosis", "Art", "g"]].assign(Dosis=[0.5, 1.5, 2, 0, 1, 2])
    source = new_rows.check(str(write(tmp_path / "p.csv", new, ";", ",", "latin-1")), formula, data)
    pd.testing.assert_frame_equal(new_rows.read(source)[list(new)], new, check_dtype=False)
    write(tmp_path / "q.csv", new.astype({"Dosis": object}).replace({0.5: "."}))
    with pytest.raises(StudyError, match=r"column 'Dosis': missing in 1 of 6 rows, first in row 1"):
        new_rows.check(str(tmp_path / "q.csv"), formula, data)


DAYS = [date(2023, 12, 31) + timedelta(days=k) for k in (0, 1, 59, 60, 366, 400)]
SINCE = [(day - date(1970, 1, 1)).days for day in DAYS]


@pytest.mark.parametrize("kind", ["csv", "text", "date", "timestamp[ns]", "days"])
def test_dates_are_numbers_of_days(tmp_path, kind):
    """As Python's own calendar counts them, leap day included, from whatever a file has."""
    frame = FRAME.assign(when=DAYS)
    if kind == "csv":
        write(tmp_path / "d.csv", frame, ";", ",")
    else:
        when = {"text": [str(day) for day in DAYS], "date": DAYS, "days": SINCE}.get(kind)
        when = pd.to_datetime(DAYS) if when is None else when
        frame.assign(when=when).to_parquet(tmp_path / "d.parquet")
    file = next(tmp_path.iterdir())
    source, data, rows = read(file, "Größe ~ as_date(when) + (1 | g)")
    assert rows["when"].tolist() == SINCE
    assert data["columns"]["when"]["type"] == "numeric"
    assert ingest.reopen(data).kinds["when"] == source.kinds["when"]


def test_a_time_of_day_is_a_part_of_a_day(tmp_path):
    (tmp_path / "d.csv").write_text(
        "y,t,g\n1,1970-01-02 12:00:00,a\n2,1970-01-03,a\n4, 1970-01-01T06:00:00 ,b\n"
    )
    _, _, rows = read(tmp_path / "d.csv", "y ~ as_date(t) + (1 | g)")
    assert rows["t"].tolist() == [1.5, 2.0, 0.25]
