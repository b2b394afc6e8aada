"""Tables of a paper as files: Word, LaTeX and CSV have the page's cells, and names are escaped."""

import base64
import csv
import io
import re
import time
import zipfile
from html.parser import HTMLParser
from types import SimpleNamespace

import docx
import numpy as np
import pandas as pd
import pytest
from jinja2 import Environment, FileSystemLoader

from lmm.core.store import read_json
from lmm.report.page import TEMPLATES
from lmm.report.tables import documents, effects
from lmm.report.tables.paper import Block, Paper, Part, together
from stages import Run

ODD = ["5 % & more", "a_b {c} \\d", "<i>$x^2$</i>", "#1 ~ [n] | *"]


class Tables(HTMLParser):
    """The page's tables of papers: rows of cells, those that span several columns repeated; links to files."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tables, self.files, self.row, self.span, self.inside = {}, {}, None, 1, ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "table":
            self.inside = given.get("id", "")
        elif self.inside and tag == "tr":
            self.row = []
        elif self.row is not None and tag in ("td", "th"):
            self.span = int(given.get("colspan", 1))
            self.row += [""] * self.span
        elif tag == "a" and given.get("class") == "file":
            self.files[given["download"]] = base64.b64decode(given["href"].partition(",")[2])

    def handle_endtag(self, tag):
        if tag == "tr" and self.row is not None:
            self.tables.setdefault(self.inside, []).append([cell.replace("\u00a0", " ") for cell in self.row])
            self.row = None
        elif tag == "table":
            self.inside = ""

    def handle_data(self, data):
        if self.row:
            for at in range(len(self.row) - self.span, len(self.row)):
                self.row[at] += data


def of_word(content):
    """Every row of a document's table, its cells as they span; its caption and heading rows."""
    document = docx.Document(io.BytesIO(content))
    (table,) = document.tables
    rows = [[cell.text.replace("\u00a0", " ") for cell in row.cells] for row in table.rows]
    heads = [row._tr.trPr is not None and b"tblHeader" in row._tr.xml.encode() for row in table.rows]
    assert document.paragraphs[0].style.name == "Caption"
    return rows, document.paragraphs[0].text, heads.index(False)


BACK = {value: mark for mark, value in documents.LATEX.items()} | {"{-}": "-", "{'}": "'", "{,}": ","}
TOKEN = re.compile("|".join(map(re.escape, sorted(BACK, key=len, reverse=True))) + r"|[\w\s,.;:()/=+'\"!?@-]")


def text_of(source):
    """Text that LaTeX prints for a cell; fails on anything that LaTeX would take for a command of its own."""
    assert "".join(found[0] for found in TOKEN.finditer(source)) == source
    return "".join(BACK.get(found[0], found[0]) for found in TOKEN.finditer(source)).replace("\u00a0", " ")


def of_latex(content):
    """Every row between LaTeX's rules, its cells as they span; the caption."""
    source = content.decode()
    assert set(re.findall(r"\\(\w+)\{(\w+)\}", source)) & {("usepackage", "booktabs")}
    begun = re.findall(r"\\(begin|end)\{(\w+)\}", source)
    assert begun == [("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table")]
    columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", source)[1])
    inner = source.partition("\\toprule\n")[2].partition("\\bottomrule")[0]
    rows = []
    for line in inner.splitlines():
        if re.fullmatch(r"(\\cmidrule\(lr\)\{\d+-\d+\})+|\\midrule|\\addlinespace|", line):
            continue
        assert line.endswith(" \\\\")
        row = []
        for cell in re.split(r"(?<!\\)&", line.removesuffix(" \\\\")):
            found = re.fullmatch(r"\\multicolumn\{(\d+)\}\{[lc]\}\{(?:\\textit\{)?(.*?)\}?\}", cell.strip())
            row += [text_of(found[2])] * int(found[1]) if found else [text_of(cell.strip())]
        assert len(row) == columns, line
        rows.append(row)
    caption = re.search(r"\\caption\{(.*)\}", source)[1]
    return rows, text_of(caption)


def of_csv(content):
    return [*csv.reader(io.StringIO(content.decode()))]


def same(page, key, study="own"):
    """A table's files have the page's cells; its rows."""
    rows = page.tables[f"{study}-table-{key}"]
    files = {suffix: page.files[f"{study}-{key}.{suffix}"] for suffix in ("docx", "tex", "csv")}
    by_word, caption, heads = of_word(files["docx"])
    by_latex, title = of_latex(files["tex"])
    assert by_word == rows
    assert by_latex == rows
    assert caption == title
    assert heads == (2 if len(set(rows[0])) > 1 and rows[0][0] == rows[1][0] == "" else 1)
    # CSV: headings in one line, a part's title in front of each of its rows
    body, part, flat = rows[heads:], "", []
    for row in body:
        if len(set(row)) == 1 and len(row) > 1:
            part = row[0]
        else:
            flat.append([part] * bool(part) + row)
    made = of_csv(files["csv"])
    assert made[1:] == [[cell.replace("−", "-") for cell in row] for row in flat]
    first = (
        [f"{a}: {b}" if a else b for a, b in zip(rows[0], rows[1], strict=True)] if heads == 2 else rows[0]
    )
    assert made[0][len(made[0]) - len(first) + 1 :] == first[1:]
    return rows


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A study whose columns and levels have names that Word, LaTeX, CSV and HTML might take for their own."""
    folder, rng = tmp_path_factory.mktemp("papers"), np.random.default_rng(3)
    g, n = np.repeat(np.arange(8), 9), 72
    x, arm = rng.normal(size=n).round(2), np.arange(n) % 3
    y = 5 + x - 2 * arm * x + 100 * arm + rng.normal(size=8)[g] + rng.normal(size=n)
    frame = pd.DataFrame({"Price ($)": y.round(3), "x_1 & <b>": x, "arm, 50%": np.array(ODD)[arm], "g": g})
    frame.to_csv(folder / "rows.csv", index=False)
    formula = "`Price ($)` ~ `x_1 & <b>` * `arm, 50%` + (1 | g)"
    file = str(folder / "rows.csv")
    with pytest.MonkeyPatch.context() as patch:
        run = Run(folder, {"formula": formula, "data": file, "predict": file, "title": "50 % of $_{}"}, patch)
        page = run.everything()
    return run, Tables(page)


def test_files_have_the_pages_cells(ran):
    run, page = ran
    for key in ("results", "effects", "tests"):
        rows = same(page, key)
        assert len(rows) > 3
    assert rows[-1][0] == "x_1 & <b> × arm, 50%"
    slope = next(row for row in page.tables["own-table-effects"] if row[0].startswith("x_1"))
    assert slope[0] == "x_1 & <b>"
    (answer,) = read_json(run.base / "summary.json")["studies"].values()
    assert sum("depends on arm, 50%" in one for one in answer["answer"]) == 1
    names = {row[0] for row in page.tables["own-table-results"]}
    assert "x_1 & <b>" in names
    assert any("<i>$x^2$</i>" in name and "arm, 50%" in name for name in names)


def test_the_folder_has_what_the_page_carries(ran):
    run, page = ran
    made = {file.name: file.read_bytes() for file in (run.base / "tables").iterdir()}
    assert {f"own-{name}": content for name, content in made.items()} == page.files
    assert len(made) == 9


def compared():
    """Results with models that are compared, one of them under an odd name."""
    models = pd.DataFrame(
        {"model": ["full", "no_x"], "formula": ["y ~ x + (1 | g)", "y ~ 1 + (1 | g)"], "parameters": [4, 3],
         "logLik": [-100.25, -104.5], "AIC": [208.5, 215.0], "delta_AIC": [0.0, 6.5], "weight": [0.96, 0.04],
         "BIC": [214.1, 219.2], "delta_BIC": [0.0, 5.1], "status": "ok"}
    )  # fmt: skip
    tests = pd.DataFrame(
        {"null": ["no_x"], "alternative": ["full"], "method": ["ML"], "chisq": [8.5], "df": [1],
         "p_value": [0.00355], "p_mixture": [np.nan], "p_bootstrap": [np.nan]}
    )  # fmt: skip
    own = {"models": models, "model_tests": tests}
    return SimpleNamespace(tables=own, title="Own data")


def page_of(*papers):
    """A page that has these tables alone."""
    part = {"key": "results", "title": "Results", "text": [], "points": [], "papers": papers, "tables": [],
            "figures": [], "footer": ""}  # fmt: skip
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    environment.filters["links"] = documents.links
    source = '{% from "parts.html.j2" import section %}{{ section(part, "own", 3) }}'
    return Tables(environment.from_string(source).render(part=part))


def test_comparisons_of_models_are_files():
    page = page_of(effects.models(compared()), effects.model_tests(compared()))
    assert same(page, "models")[2][:2] == ["no_x: y ~ 1 + (1 | g)", "3"]
    assert same(page, "model_tests")[1] == ["no_x within full", "ML", "8.50", "1", ".004"]


def test_engines_share_columns_unless_a_number_differs_by_as_much_as_is_shown():
    row = {"estimate": -0.61, "conf_low": -1.06, "conf_high": -0.1650001, "std_error": 0.22}
    other = row | {"conf_high": -0.1649999}  # rounds to another last digit
    unknown = row | {"std_error": np.nan}
    far = row | {"estimate": -0.6085}
    heads = ("Estimate", "95 % CI")
    engines = {"a": (heads, {"x": row}), "b": (heads, {"x": other}), "c": (heads, {"x": unknown})}
    assert together(engines) == [["a", "b", "c"]]
    assert together({"a": engines["a"], "b": (heads, {"x": far})}) == [["a"], ["b"]]
    assert together({"a": engines["a"], "b": (("Estimate",), {"x": row})}) == [["a"], ["b"]]
    assert together({"a": engines["a"], "b": (heads, {"y": row})}) == [["a"], ["b"]]


def test_any_text_is_escaped():
    marks = "".join(map(chr, range(33, 127)))
    cells = (marks, "a--b ''c'' ,, –—", "−1.2×10⁻⁵ R² χ² Δ ± ≤ μ σ", "é ü ß Жук", "")
    paper = Paper("results", f"Caption {marks}", "Study", "", (Block("A & B_", ("x%", "$y")), Block("", ("z", "#"))),
                  (Part("P {1}", (cells,)), Part("Q", (("q", "1", "2", "3", "4"),))))  # fmt: skip
    page = page_of(paper)
    assert same(page, "results")[3] == list(cells)
    source = documents.latex(paper)
    assert source.count("{") - source.count("\\{") == source.count("}") - source.count("\\}")
    # pdfTeX knows ASCII and European letters; letters of other alphabets need another engine
    assert {mark for mark in source if ord(mark) > 0x17F} == set("Жук")


def test_words_file_is_the_same_bytes_and_takes_any_character():
    paper = Paper("results", "A\x00\tB", "C", "", (Block("", ("x",)),), (Part("", (("\x0b\ud800", "1"),)),))
    content = documents.word(paper)
    assert content == documents.word(paper)
    rows, caption, _ = of_word(content)
    assert caption == "A\ufffd B: C."
    assert rows == [["", "x"], ["\ufffd\ufffd", "1"]]
    assert all(
        info.date_time == (1980, 1, 1, 0, 0, 0) for info in zipfile.ZipFile(io.BytesIO(content)).infolist()
    )
    assert len(content) < 25_000


def test_a_thousand_rows_take_no_time():
    rows = tuple((f"row {k}", *["1.25"] * 12) for k in range(1225))
    paper = Paper("effects", "Many", "C", "", (Block("", tuple("abcdefghijkl")),), (Part("", rows),))
    documents.word(paper)
    start = time.process_time()
    documents.word(paper)
    # python-docx's own cells take time quadratic in their number: minutes
    assert time.process_time() - start < 3
