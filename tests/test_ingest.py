"""Own data: what a user can get wrong is said in one line, and what is right is read right."""

import gzip
import io
import math
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lmm.core import progress as progress_module
from lmm.core.errors import StudyError
from lmm.core.progress import Progress
from lmm.data import checks, ingest
from lmm.data.levels import encode
from lmm.data.source import Part
from lmm.model.design import Terms
from lmm.model.formula import parse
from lmm.moments import stage
from lmm.moments.accumulate import compute

GOOD = "y,x,g\n1,0.5,a\n2,1.5,a\n4,2.5,b\n3,3.5,b\n"


def read(tmp_path, content, formula="y ~ x + (x | g)", name="d.csv", drop=False):
    """Write a file, inspect and scan it."""
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    parsed = parse(formula)
    return ingest.scan(ingest.inspect(str(file), parsed.variables, parsed.group, drop), parsed)


def rows(source):
    """All rows as the fits see them."""
    from lmm.data.source import connect

    with connect(ordered=True) as connection:
        return pd.concat([connection.execute(source.typed(Part(k))).df() for k in range(len(source.files))])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("d.csv", "", "is empty"),
        ("d.csv", "\n1,2,a\n", "first line is blank"),
        ("d.csv", "y,x,g\n", "has a header and no rows"),
        ("d.csv", "y,x,g,x\n1,2,a,3\n", "column 'x': twice in the header"),
        ("d.csv", "y,X,g\n1,2,a\n", "column 'x': not there, .*did you mean 'X'?"),
        ("d.csv", "y,x,g,X\n1,2,a,3\n", "column 'x': 'X' differs from it in case only"),
        ("d.csv.gz", "y,x,g\n1,2,a\n", "cannot be read: Not a gzipped file"),
        ("d.parquet", "y,x,g\n1,2,a\n", "cannot be read as Parquet"),
        ("d.xlsx", "y,x,g\n1,2,a\n", "unknown file suffix"),
        ("d.csv", "y,x,g\n1,2\n3,4,a\n", "CSV Error on Line: 2; .*Expected Number of Columns: 3"),
        (
            "d.csv",
            "y,x,g\n1,,a\n2,NA,a\n3,4,b\n,4,b\n",
            "column 'y': missing in 1 of 4 rows, first in row 4, 2 in",
        ),
        ("d.csv", "y,x,g\n1,1,a\n2,2,\n3,4,b\n", "column 'g': missing in 1 of 3 rows, first in row 2"),
        (
            "d.csv",
            "y,x,g\n1,1,a\ntwo,2,a\n3,4,b\n",
            "column 'y': 'two' in row 2 is text, expected the response",
        ),
        ("d.csv", "y,x,g\n1,1,a\n2,inf,a\n3,4,b\n", "column 'x': inf in row 2"),
        ("d.csv", "y,x,g\n1,7,a\n2,7,a\n3,7,b\n", "column 'x': 7 in every row"),
        ("d.csv", "y,x,g\n1,7,a\n1,8,a\n1,9,b\n", "column 'y': 1 in every row, expected the response"),
        ("d.csv", "y,x,g\n1,u,a\n2,u,a\n3,u,b\n", "column 'x': 'u' in every row"),
        ("d.csv", "y,x,g\n1,1,a\n2,2,a\n3,4,a\n", "column 'g': one level in all 3 rows"),
        ("d.csv", "y,x,g\n1,1,a\n2,2,b\n3,4,c\n", "column 'g': only one row in each of 3 groups"),
    ],
)
def test_bad_file_is_one_line_naming_file_and_column(tmp_path, name, content, said):
    with pytest.raises(StudyError, match=said) as caught:
        read(tmp_path, content, name=name)
    assert "\n" not in str(caught.value)
    assert caught.value.where == str(tmp_path / name)
    assert "expected" in caught.value.what


def test_an_identifier_is_no_category(tmp_path):
    lines = "".join(f"{k},id{k},{k % 5}\n" for k in range(ingest.MAX_LEVELS + 1))
    with pytest.raises(StudyError, match="column 'x': text with more than 1000 levels"):
        read(tmp_path, f"y,x,g\n{lines}")


def test_missing_files_directories_and_globs_that_do_not_go_together(tmp_path):
    for pattern, said in [("no.csv", "no such file"), ("", "a directory")]:
        with pytest.raises(StudyError, match=said) as caught:
            ingest.inspect(str(tmp_path / pattern), ("y",), "g")
        assert caught.value.where == "data"
    (tmp_path / "a.csv").write_text(GOOD)
    (tmp_path / "b.csv").write_text("y,z,g\n1,2,a\n")
    with pytest.raises(StudyError, match=r"b.csv: column 'x': not there, expected as in .*a.csv"):
        ingest.inspect(str(tmp_path / "*.csv"), ("y", "x", "g"), "g")
    (tmp_path / "b.tsv").write_text("y\tx\tg\n1\t2\ta\n")
    with pytest.raises(StudyError, match=r"b.tsv: is tsv, expected csv"):
        ingest.inspect([str(tmp_path / "a.csv"), str(tmp_path / "b.tsv")], ("y", "x", "g"), "g")


def test_parquet_types_must_agree_and_be_numbers_or_text(tmp_path):
    frame = pd.DataFrame({"y": [1.0, 2.0], "x": [1.0, 2.0], "g": ["a", "a"]})
    frame.to_parquet(tmp_path / "1.parquet")
    frame.astype({"x": str}).to_parquet(tmp_path / "2.parquet")
    with pytest.raises(
        StudyError, match=r"2.parquet: column 'x': .*string, expected DOUBLE as in .*1.parquet"
    ):
        ingest.inspect(str(tmp_path / "*.parquet"), ("y", "x", "g"), "g")
    frame.assign(x=pd.Timestamp("2024-01-01")).to_parquet(tmp_path / "3.parquet")
    with pytest.raises(StudyError, match=r"column 'x': its type is timestamp"):
        ingest.inspect(str(tmp_path / "3.parquet"), ("y", "x", "g"), "g")
    frame.astype({"y": str}).to_parquet(tmp_path / "4.parquet")
    with pytest.raises(StudyError, match=r"column 'y': '1\.0' in row 1 is text, expected the response"):
        source = ingest.inspect(str(tmp_path / "4.parquet"), ("y", "x", "g"), "g")
        ingest.scan(source, parse("y ~ x + (1 | g)"))


def test_scan_describes_columns(tmp_path):
    text = "id,y,x,d,s,g\n1,1.5,1,2,u,07\n2,2.5,2,1,v,07\n3,4,4,2,u,8\n4,8,1,10,v,8\n"
    source, data = read(tmp_path, text, "y ~ x + C(d) + s + (x | g)")
    assert (data["rows"], data["groups"], data["group"]) == (4, 2, "g")
    assert data["group_rows"] == {"min": 2, "mean": 2.0, "max": 2}
    # Four numbers: exact but for the last bits of a division and a square root.
    assert data["columns"]["y"] == pytest.approx(
        {"type": "numeric", "kind": "DOUBLE", "min": 1.5, "max": 8.0, "mean": 4.0, "sd": math.sqrt(24.5 / 3)}
    )
    d = data["columns"]["d"]  # a number, too, where it stands without C()
    assert {key: d[key] for key in ("type", "kind", "levels")} == {
        "type": "categorical",
        "kind": "BIGINT",
        "levels": [1, 2, 10],
    }
    assert (d["min"], d["max"], d["mean"]) == (1.0, 10.0, 3.75)
    assert data["columns"]["s"] == {"type": "categorical", "kind": "VARCHAR", "levels": ["u", "v"]}
    assert "id" not in data["columns"]
    assert rows(source)["g"].tolist() == ["07", "07", "8", "8"]  # text stays what the file has
    assert data["copied"]


def test_summaries_of_several_files_are_those_of_all_their_rows(tmp_path):
    """Files whose means differ by far more than their spread: merging must add the shift of the means."""
    rng = np.random.default_rng(2)
    parts = [
        pd.DataFrame({"y": rng.normal(at, 1.0, n), "x": rng.normal(at, 2.0, n)})
        for at, n in [(0.0, 10), (50.0, 30), (-40.0, 20)]
    ]
    for k, part in enumerate(parts):
        part.assign(g=[f"g{k}{i % 3}" for i in range(len(part))]).to_csv(tmp_path / f"{k}.csv", index=False)
    whole = pd.concat(parts)
    _, data = ingest.scan(
        ingest.inspect(str(tmp_path / "*.csv"), ("y", "x", "g"), "g"), parse("y ~ x + (1 | g)")
    )
    for name in ("y", "x"):
        found = data["columns"][name]
        expected = whole[name].agg(["min", "max", "mean", "std"])
        # sums of 60 numbers of order 100 in another order
        assert [found[key] for key in ("min", "max", "mean", "sd")] == pytest.approx(
            list(expected), rel=1e-12
        )


def test_missing_drop_leaves_out_and_counts(tmp_path):
    text = "y,x,g\n1,1,a\nNA,9,a\n2,2,a\n5,,b\n,,\n4,4,b\n3,3,b\n"
    source, data = read(tmp_path, text, drop=True)
    assert data["rows"] == 4
    assert data["dropped"] == {"rows": 3, "columns": {"y": 2, "x": 2, "g": 1}}
    assert data["columns"]["x"]["max"] == 4.0  # 9 stands in a row that is left out
    assert rows(source)["y"].tolist() == [1, 2, 4, 3]
    with pytest.raises(StudyError, match="0 complete rows of 1"):
        read(tmp_path, "y,x,g\n,1,a\n", drop=True)


def test_not_a_number_in_parquet_is_missing(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    table = {"y": [1.0, math.nan, 3.0, 4.0], "x": [1.0, 2.0, 4.0, 8.0], "g": [1, 1, 2, 2]}
    parquet.write_table(pa.table(table), tmp_path / "d.parquet")
    formula = parse("y ~ x + (1 | g)")
    with pytest.raises(StudyError, match="column 'y': missing in 1 of 4 rows, first in row 2"):
        ingest.scan(ingest.inspect(str(tmp_path / "d.parquet"), formula.variables, "g"), formula)
    source, data = ingest.scan(
        ingest.inspect(str(tmp_path / "d.parquet"), formula.variables, "g", True), formula
    )
    assert data["columns"]["x"]["mean"] == 13 / 3
    assert rows(source)["y"].tolist() == [1, 3, 4]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz", "parquet"])
def test_formats_read_alike_and_the_copy_keeps_rows_in_order(tmp_path, suffix):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"extra": 1, "g": rng.integers(0, 9, 500), "x": rng.normal(size=500)})
    frame["y"] = rng.normal(size=500) * 10.0 ** rng.integers(-8, 8, 500)
    file = tmp_path / f"d.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(file)
    else:
        text = frame.to_csv(index=False, sep="\t" if suffix == "tsv" else ",", lineterminator="\r\n")
        raw = ("\ufeff" + text).encode()  # Excel's byte-order mark and line ends
        file.write_bytes(gzip.compress(raw) if suffix == "csv.gz" else raw)
    formula = parse("y ~ x + (x | g)")
    source, data = ingest.scan(ingest.inspect(str(file), formula.variables, "g"), formula)
    ingest.copy(source, tmp_path / "out" / "data.parquet")
    copied = pd.read_parquet(tmp_path / "out" / "data.parquet")
    assert list(copied.columns) == ["y", "x", "g"]
    # Every format holds shortest round-trip decimals or the bits themselves: equality, no tolerance.
    assert copied["y"].tolist() == frame["y"].tolist()
    assert copied["x"].tolist() == frame["x"].tolist()
    assert copied["g"].tolist() == frame["g"].astype(str).tolist()
    assert ingest.reopen(data) == source
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["data.parquet"]


def test_a_glob_is_read_in_sorted_order_whatever_the_order_of_columns(tmp_path):
    (tmp_path / "2.csv").write_text("g,y,x\nb,3,3\nb,4,5\n")
    (tmp_path / "1.csv").write_text("x,g,y\n1,a,1\n2,a,2\n")
    formula = parse("y ~ x + (1 | g)")
    source, data = ingest.scan(ingest.inspect(str(tmp_path / "*.csv"), formula.variables, "g"), formula)
    assert data["sources"] == [str(tmp_path / "1.csv"), str(tmp_path / "2.csv")]
    assert rows(source)["x"].tolist() == [1, 2, 3, 5]
    ingest.copy(source, tmp_path / "data.parquet")
    assert pd.read_parquet(tmp_path / "data.parquet")["y"].tolist() == [1, 2, 3, 4]


def test_a_message_about_a_row_names_the_right_file(tmp_path):
    (tmp_path / "1.csv").write_text(GOOD)
    (tmp_path / "2.csv").write_text(GOOD + "5,oops,b\n")
    formula = parse("y ~ x + (1 | g)")
    with pytest.raises(StudyError, match="column 'x': 'oops' in row 5 is text") as caught:
        ingest.scan(ingest.inspect(str(tmp_path / "*.csv"), formula.variables, "g"), formula)
    assert caught.value.where == str(tmp_path / "2.csv")


def test_names_that_sql_would_stumble_over(tmp_path):
    text = 'select,d0,"a ""b""",n,lmm_e1,key\n' + "".join(
        f"{k * k % 7},{k},{k % 3},{k % 2},{(k * 5) % 11},{k % 4}\n" for k in range(40)
    )
    for response, x, g in [("select", "d0", "n"), ("lmm_e1", 'a "b"', "key"), ("d0", "lmm_e1", 'a "b"')]:
        file = tmp_path / "d.csv"
        file.write_text(text)
        source = ingest.inspect(str(file), (response, x, g), g)
        formula = SimpleNamespace(
            predictors=(x,), categorical=(), response=response, group=g, weights="", offsets=()
        )
        _, data = ingest.scan(source, formula)
        frame = pd.read_csv(io.StringIO(text))
        assert data["columns"][x]["mean"] == pytest.approx(frame[x].mean(), rel=1e-14)  # 40 small integers
        assert data["columns"][response]["max"] == frame[response].max()
        assert data["groups"] == frame[g].nunique()


@pytest.mark.parametrize(
    ("rows_", "groups", "fixed", "blocks", "said"),
    [
        (
            6,
            3,
            ("Intercept", "x"),
            (("Intercept", "x"),),
            "2 fixed effects and 4 variance parameters for 6 rows",
        ),
        (
            100,
            2,
            ("Intercept",),
            (("Intercept", "x", "z"),),
            "column 'g': 2 groups for 3 correlated random effects",
        ),
        (100, 2, ("Intercept",), (("Intercept",), ("x",), ("z",)), None),
        (100, 2, ("Intercept", "x"), (("Intercept", "x"),), None),
    ],
)
def test_parameters_that_the_groups_cannot_carry(rows_, groups, fixed, blocks, said):
    terms = Terms.one(fixed, blocks, "g", ("Intercept", "x", "z"))
    if said is None:
        checks.size(rows_, {"g": groups}, terms, "d.csv")
        return
    with pytest.raises(StudyError, match=said) as caught:
        checks.size(rows_, {"g": groups}, terms, "d.csv")
    assert caught.value.where == "d.csv"


def moments_of(columns, n=200):
    """Moments of a fixed-effects matrix with these columns, and their names."""
    rng = np.random.default_rng(1)
    names = tuple(columns)
    W = np.column_stack([np.broadcast_to(column, n).astype(float) for column in columns.values()])
    codes, levels = encode(np.arange(n) % 7)
    terms = Terms.one(fixed=names, blocks=(names[:1],), group="g", columns=names)
    return compute(terms, rng.normal(size=n), W, codes, levels), names


def test_collinear_columns_are_named():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 200))
    far = x + 1e8  # a predictor far from 0 is not collinear with the intercept
    for columns, said in [
        (
            {"Intercept": 1, "x": x, "z": z, "w": 2 * x - z + 3},
            "column 'w': .* of 'x', 'z' in all rows, expected",
        ),
        ({"Intercept": 1, "x": far, "k": 1e-9 * far}, "column 'k': .* of 'x' in all rows, expected"),
        ({"Intercept": 1, "x": x, "c": 4}, "column 'c': .* of 'Intercept'|column 'c': .* of zero"),
        ({"a": (x > 0), "b": (x <= 0), "c": 3}, "column 'c': .* of 'a', 'b' in all rows, expected"),
    ]:
        with pytest.raises(StudyError, match=said):
            checks.collinear(*moments_of(columns), "d.csv")
    for columns in [
        {"Intercept": 1, "x": far, "z": z * 1e-8},
        {"Intercept": 1, "x": x, "z": x + 1e-4 * z},  # close, and R's lm keeps it too
        {"a": (x > 0), "b": (x <= 0), "x": x},
    ]:
        checks.collinear(*moments_of(columns), "d.csv")


PLAIN = ("y,x,z,f,g", "y ~ x + z + f + (x | g)")


def moments_under(folder, header, formula, ending, encoding):
    """Twice: in SQL where all is numbers, in batches where `f` is text."""
    rng = np.random.default_rng(3)
    numbers = rng.normal(size=(40, 3)).tolist()
    lines = [f"{y},{x},{z},{'uvw'[k % 3]},00{k % 5}" for k, (y, x, z) in enumerate(numbers)]
    for numeric in (False, True):
        rows_ = [line.replace(",u,", ",1,").replace(",v,", ",2,").replace(",w,", ",3,") if numeric else line
                 for line in lines]  # fmt: skip
        _, data = read(folder, ending.join([header, *rows_, ""]).encode(encoding), formula)
        design, own = stage.designs([formula], data, None)
        moments = stage.of_sources(design, data)
        stage.checked(moments, own, data)
        assert moments.levels.tolist() == ["000", "001", "002", "003", "004"]
        yield moments.gram, moments.total, len(design.terms.columns)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return list(moments_under(tmp_path_factory.mktemp("plain"), *PLAIN, "\n", "utf-8"))


@pytest.mark.parametrize(
    ("header", "formula"),
    [
        ("log,np,C,f,level", "log ~ np + C + f + (np | level)"),  # functions of formulas
        ('"my y","a ""q"", [1]",z%,1st,s id', '`my y` ~ `a "q", [1]` + `z%` + `1st` + (`a "q", [1]` | `s id`)'),
        ("lambda,class,größe,True,None", "`lambda` ~ `class` + größe + `True` + (`class` | `None`)"),
        ("lmm_y,lmm_e1,n,s0_1,lmm_group", "lmm_y ~ lmm_e1 + n + s0_1 + (lmm_e1 | lmm_group)"),
        ("y , x,a.b,x 1, g", "`y ` ~ ` x` + `a.b` + `x 1` + (` x` | ` g`)"),
    ],
)  # fmt: skip
def test_any_name_and_line_ending_gives_the_same_moments(tmp_path, plain, header, formula):
    """The numbers of plain names, to the last bit; a byte order mark is no part of the first name."""
    odd = moments_under(tmp_path, header, formula, "\r\n", "utf-8-sig")
    for one, other in zip(plain, odd, strict=True):
        assert one[2] == other[2]
        assert (one[0] == other[0]).all()
        assert (one[1] == other[1]).all()


def test_headers_are_read_without_duckdb_or_pandas(tmp_path):
    """The Snakefile inspects at every start: what a header needs must import in no time."""
    (tmp_path / "d.csv").write_text(GOOD)
    code = (
        "import sys; from lmm.data import ingest; ingest.inspect(sys.argv[1], ('y', 'x', 'g'), 'g');"
        "print(sorted({'duckdb', 'pandas', 'pyarrow', 'numba', 'formulaic'} & set(sys.modules)))"
    )
    library = Path(ingest.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "d.csv")],
        capture_output=True, text=True, check=True, cwd=library,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_a_bar_on_a_terminal_lines_in_a_log_and_silent_when_short():
    log, terminal, short = io.StringIO(), Terminal(), io.StringIO()
    with Progress("rows", 4, log, after=0.0) as progress:
        progress.advance(1)
        progress.advance(1)  # within the interval of a log: no second line
    assert [line.split(" after")[0] for line in log.getvalue().splitlines()] == ["rows: 25%", "rows: 100%"]
    with Progress("rows", 4, terminal, after=0.0) as progress:
        progress.advance(2)
    assert re.search(r"\rrows \[#{15} {15}\]  50%", terminal.getvalue())
    assert terminal.getvalue().endswith("\n")
    with Progress("rows", 4, short) as progress:
        progress.advance(4)
    assert short.getvalue() == ""


def test_lines_come_every_five_seconds_a_bar_every_fifth_and_the_time_left_is_linear(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    log, terminal = io.StringIO(), Terminal()
    for stream in (log, terminal):
        with Progress("rows", 8, stream) as progress:
            began = clock.now
            # the first 5 s are silent; more units than were said are no more than all of them
            for seconds, units in ((4.9, 1), (5.0, 2), (5.1, 2), (9.8, 3), (9.9, 4), (10.1, 4), (16.0, 10)):
                clock.now = began + seconds
                progress.at(units)
    lines = ["25% after 5 s, 15 s left", "50% after 10 s, 10 s left", "100% after 16 s", "100% after 16 s"]
    assert log.getvalue().splitlines() == [f"rows: {line}" for line in lines]
    bars = terminal.getvalue().removesuffix("\n").split("\x1b[K")
    assert [bar.rpartition("] ")[2] for bar in bars] == [
        " 25% 5 s, 15 s left", " 38% 10 s, 16 s left", " 50% 10 s, 10 s left", "100% 16 s", "100% 16 s", "",
    ]  # fmt: skip
    assert [bar.count("#") for bar in bars] == [8, 11, 15, 30, 30, 0]


def test_progress_of_unknown_length_counts_and_a_job_shows_it_on_its_terminal_too(monkeypatch):
    log, terminal = io.StringIO(), Terminal()
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(progress_module, "TERMINALS", [(terminal, "coffee: ")])
    with Progress("steps", None, after=0.0) as progress:
        progress.advance()
    progress.advance()  # a thread that is late: after the end nothing is shown
    assert [line.split(" after")[0] for line in log.getvalue().splitlines()] == ["steps: 1", "steps: 1"]
    assert terminal.getvalue().count("\rcoffee: steps: 1 after") == 2
    assert terminal.getvalue().endswith("\n")


def test_progress_outlives_the_place_where_it_is_shown(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(5, "Input/output error")

    with Progress("steps", 2, Gone(), after=0.0) as progress:
        progress.advance()
    assert progress.done == 2


def test_booleans_in_parquet_are_0_and_1(tmp_path):
    generator = np.random.default_rng(1)
    frame = pd.DataFrame({"y": generator.standard_normal(40), "b": generator.random(40) > 0.5})
    frame["g"] = np.arange(40) % 5 > 1  # the grouping factor's levels are true and false
    frame.to_parquet(tmp_path / "d.parquet")
    formula = parse("y ~ b + (1 | g)")
    source = ingest.inspect([str(tmp_path / "d.parquet")], formula.variables, formula.group)
    _, data = ingest.scan(source, formula)
    assert data["columns"]["b"]["type"] == "numeric"
    assert data["columns"]["b"]["mean"] == frame["b"].mean()
    assert (data["groups"], data["missing"]) == (2, "error")
