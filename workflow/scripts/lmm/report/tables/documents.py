"""Tables of a paper as files: Word, LaTeX and CSV, with the cells that the page shows.

LaTeX needs the package booktabs and no other; its text is escaped.
"""

import base64
import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from string import ascii_letters
from xml.sax.saxutils import escape

from lmm.core.store import write_whole
from lmm.report.tables.paper import Paper

# what neither XML nor LaTeX can have
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
WIDE = 9  # more columns than this: a page of Word is turned on its side


def _clean(text: str) -> str:
    """Text in one line, without characters that files cannot have."""
    return FORBIDDEN.sub("\ufffd", re.sub(r"[\t\n\r]+", " ", text))


# ---- CSV


def comma_separated(paper: Paper) -> str:
    """The table with one line of headings; minus signs and spaces are ASCII's, which programs read."""
    text = io.StringIO()
    rows = ([cell.replace("−", "-").replace("\u00a0", " ") for cell in row] for row in paper.flat())
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


# ---- LaTeX

LATEX = {
    "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
    "<": "$<$", ">": "$>$", "|": "$|$", "[": "{[}", "]": "{]}", "*": "{*}", "`": "{`}", "\u00a0": "~",
    "−": "$-$", "–": "{--}", "—": "{---}", "×": "$\\times$", "·": "$\\cdot$", "±": "$\\pm$", "≤": "$\\leq$",
    "≥": "$\\geq$", "≈": "$\\approx$", "→": "$\\rightarrow$", "°": "$^{\\circ}$", "µ": "$\\mu$", "…": "\\ldots{}",
} | {mark: f"\\{mark}" for mark in "$&%#_"}  # fmt: skip
LATEX |= {mark: f"$^{{{digit}}}$" for mark, digit in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", [*"0123456789", "-"], strict=True)}
GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma",
    "τ": "tau", "υ": "upsilon", "φ": "varphi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta",
    "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
LATEX |= {letter: f"$\\{name}$" for letter, name in GREEK.items()}


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is; letters of other alphabets than Greek stay, for engines that have them."""
    marks = [LATEX.get(mark, mark) for mark in _clean(text)]
    # two of these would be joined to another mark
    alike = zip(["", *marks], marks, strict=False)
    return "".join(f"{{{mark}}}" if mark in "-'," and mark == before else mark for before, mark in alike)


def latex(paper: Paper) -> str:
    """A floating table in booktabs' style."""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}[htbp]",
        "\\centering\\footnotesize\\setlength{\\tabcolsep}{3pt}",
        f"\\caption{{{latex_text(paper.caption)}}}",
        f"\\label{{tab:{_label(paper.key)}}}",
        f"\\begin{{tabular}}{{l{'r' * (paper.width - 1)}}}",
        "\\toprule",
    ]
    if any(block.title for block in paper.blocks):
        titles, rules = [""], []
        at = 2
        for block in paper.blocks:
            last = at + len(block.columns) - 1
            titles.append(f"\\multicolumn{{{len(block.columns)}}}{{c}}{{{latex_text(block.title)}}}")
            rules += [f"\\cmidrule(lr){{{at}-{last}}}"] * bool(block.title)
            at = last + 1
        lines += [" & ".join(titles) + " \\\\", "".join(rules)]
    heads = ["", *(name for block in paper.blocks for name in block.columns)]
    lines += [_latex_row(heads), "\\midrule"]
    for number, part in enumerate(paper.parts):
        lines += ["\\addlinespace"] * bool(number)
        if part.title:
            lines.append(f"\\multicolumn{{{paper.width}}}{{l}}{{\\textit{{{latex_text(part.title)}}}}} \\\\")
        lines += [_latex_row(row) for row in part.rows]
    lines += ["\\bottomrule", "\\end{tabular}"]
    if paper.note:
        lines += ["", f"\\smallskip\\parbox{{\\linewidth}}{{{latex_text(paper.note)}}}"]
    return "\n".join([*lines, "\\end{table}", ""])


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(map(latex_text, cells)) + " \\\\"


def _label(key: str) -> str:
    return "".join(mark if mark in ascii_letters else "-" for mark in key)


# ---- Word

UNUSED = ("thumbnail", "stylesWithEffects", "customXml", "webSettings")
SPACE = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def word(paper: Paper) -> bytes:
    """A Word document with the table: caption, heading rows that pages repeat, rows, note."""
    import docx  # a quarter of a second, which pages without tables need not spend
    from docx.enum.section import WD_ORIENT
    from docx.oxml import parse_xml
    from docx.shared import Pt

    document = docx.Document()
    document.core_properties.title = _clean(paper.caption)
    document.core_properties.comments = ""
    section = document.sections[0]
    if paper.width > WIDE:
        section.orientation = WD_ORIENT.LANDSCAPE
        section.page_width, section.page_height = section.page_height, section.page_width
    caption = document.add_paragraph(_clean(paper.caption), style="Caption")
    caption.paragraph_format.keep_with_next = True
    caption._p.addnext(parse_xml(_word_table(paper)))
    note = document.add_paragraph()
    note.add_run(_clean(paper.note)).font.size = Pt(9)
    package = document.part.package
    for part in (package, document.part):  # of the library's empty document, half of its size
        unused = [name for name, rel in part.rels.items() if rel.reltype.rpartition("/")[2] in UNUSED]
        for name in unused:
            del part.rels[name]
    file = io.BytesIO()
    document.save(file)
    return _undated(file)


def _word_table(paper: Paper) -> str:
    """The table's XML: rules above and below and under the headings, as papers have them."""
    rule = '<w:{} w:val="single" w:sz="{}" w:space="0" w:color="auto"/>'
    heads = [("", 1)]
    second = [""]
    for block in paper.blocks:
        heads.append((block.title, len(block.columns)))
        second += block.columns
    rows = []
    if any(title for title, _ in heads):
        rows.append(_word_row(heads, header=True, align="center"))
    rows.append(_word_row([(name, 1) for name in second], header=True, below=rule.format("bottom", 6)))
    for part in paper.parts:
        if part.title:
            rows.append(_word_row([(part.title, paper.width)], bold=True))
        rows += [_word_row([(cell, 1) for cell in row]) for row in part.rows]
    outer = rule.format("top", 12) + rule.format("bottom", 12)
    grid = "<w:gridCol/>" * paper.width
    return (
        f'<w:tbl xmlns:w="{SPACE}"><w:tblPr><w:tblW w:w="5000" w:type="pct"/><w:tblBorders>{outer}</w:tblBorders>'
        f'<w:tblLook w:firstRow="1" w:firstColumn="1"/></w:tblPr><w:tblGrid>{grid}</w:tblGrid>{"".join(rows)}</w:tbl>'
    )


def _word_row(
    cells: list[tuple[str, int]],
    header: bool = False,
    bold: bool = False,
    align: str = "right",
    below: str = "",
) -> str:
    """A row of (text, number of columns): the first cell to the left, the others as `align` says."""
    border = f"<w:tcBorders>{below}</w:tcBorders>" * bool(below)
    weight, together = "<w:b/>" * (header or bold), "<w:keepNext/>" * (header or bold)
    parts = []
    for number, (text, span) in enumerate(cells):
        wide = f'<w:gridSpan w:val="{span}"/>' * (span > 1)
        side = "left" if number == 0 else align
        parts.append(
            f'<w:tc><w:tcPr><w:tcW w:w="0" w:type="auto"/>{wide}{border}</w:tcPr><w:p><w:pPr>{together}'
            f'<w:spacing w:before="20" w:after="20" w:line="240" w:lineRule="auto"/><w:jc w:val="{side}"/></w:pPr>'
            f'<w:r><w:rPr>{weight}<w:sz w:val="18"/></w:rPr><w:t xml:space="preserve">{escape(_clean(text))}</w:t>'
            f"</w:r></w:p></w:tc>"
        )
    repeated = "<w:tblHeader/>" * header
    return f"<w:tr><w:trPr><w:cantSplit/>{repeated}</w:trPr>{''.join(parts)}</w:tr>"


def _undated(file: io.BytesIO) -> bytes:
    """The archive with no times of files: the same table is the same bytes."""
    whole = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name), zipfile.ZIP_DEFLATED)
    return whole.getvalue()


# ---- files and links

FORMATS: dict[str, tuple[str, str, Callable[[Paper], str | bytes]]] = {
    "docx": ("Word", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", word),
    "tex": ("LaTeX", "application/x-tex", latex),
    "csv": ("CSV", "text/csv", comma_separated),
}


def _bytes(made: str | bytes) -> bytes:
    return made if isinstance(made, bytes) else made.encode()


def links(paper: Paper) -> Iterator[tuple[str, str, str]]:
    """Of each format its name, its suffix and the file itself as an address that a page can carry."""
    for suffix, (name, kind, made) in FORMATS.items():
        yield name, suffix, f"data:{kind};base64,{base64.b64encode(_bytes(made(paper))).decode()}"


def write(papers: Iterable[Paper], directory: str | Path) -> None:
    """Write each table in each format: `<key>.docx`, `.tex`, `.csv`."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for paper in papers:
        for suffix, (_, _, made) in FORMATS.items():
            content = _bytes(made(paper))
            write_whole(
                directory / f"{paper.key}.{suffix}", lambda name, c=content: Path(name).write_bytes(c)
            )
