"""results.json, results.csv and results.md: all parts ever run here, each with its machine and date."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

from harness import Row
from machine import sentence

HEAD = ["what", "median", "range", "n", "target", "met", "note"]


def number(value: float | None, unit: str = "") -> str:
    """Three significant digits with the unit."""
    if value is None:
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 4
        words = f"{value:,.{digits}f}"
    else:
        words = f"{value:.2g}" if abs(value) < 1 else f"{value:,.0f}"
    return f"{words} {unit}".strip()


def target(row: Row) -> str:
    """The target in words."""
    parts = [("≤", row.at_most), ("≥", row.at_least)]
    return " and ".join(f"{sign} {number(limit, row.unit)}" for sign, limit in parts if limit is not None)


def cells(row: Row) -> list[str]:
    """A line of the table."""
    spread = f"{number(row.low)} to {number(row.high)}" if row.n > 1 and row.low is not None else ""
    met = {None: "", True: "yes", False: "**no**"}[row.met]
    return [
        row.measure,
        number(row.value, row.unit),
        spread,
        str(row.n) if row.n else "",
        target(row),
        met,
        row.note,
    ]


def said(row: Row) -> str:
    """A line for the terminal."""
    what, value, spread, n, wanted, met, note = cells(row)
    words = [f"  {what}: {value}"]
    words += [f"({spread}, n = {n})"] if spread else []
    words += [f"[target {wanted}: {met.strip('*') or '?'}]"] if wanted else []
    words += [note] if note else []
    return " ".join(words)


def markdown(rows: list[Row]) -> str:
    """A table."""
    out = [f"| {' | '.join(HEAD)} |", "|---|" + "---:|" * 3 + "---|" * 3]
    out += ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells(row)) + " |" for row in rows]
    return "\n".join(out)


def read(folder: Path) -> dict[str, dict]:
    """Parts of earlier runs."""
    path = folder / "results.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(folder: Path, part: str, title: str, machine: dict, rows: list[Row]) -> dict[str, dict]:
    """Put one part's rows in the place of that part's earlier ones, and write all three files.

    Parameters
    ----------
    folder : Path
    part, title : str
        The part's key and heading.
    machine : dict
        From `machine.describe`.
    rows : list of Row

    Returns
    -------
    dict
        All parts, as results.json has them.
    """
    parts = read(folder)
    parts[part] = {
        "title": title,
        "machine": machine,
        "rows": [asdict(row) | {"met": row.met} for row in rows],
    }
    parts = dict(sorted(parts.items()))
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(parts, indent=1, ensure_ascii=False) + "\n"
    (folder / "results.json").write_text(text, encoding="utf-8")
    with open(folder / "results.csv", "w", newline="", encoding="utf-8") as file:
        fields = ["part", "date", *asdict(Row("", None)), "met"]
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        for name, value in parts.items():
            for row in value["rows"]:
                writer.writerow({"part": name, "date": value["machine"]["date"]} | row)
    (folder / "results.md").write_text(page(parts), encoding="utf-8")
    return parts


def page(parts: dict[str, dict]) -> str:
    """results.md."""
    out = [
        "# Benchmarks",
        "",
        "Written by `make bench`; README.md beside it says what is measured and how. Medians and ranges of "
        "repetitions that took turns; one thread a process unless a line says otherwise.",
    ]
    for value in parts.values():
        rows = [Row(**{name: item for name, item in row.items() if name != "met"}) for row in value["rows"]]
        out += ["", f"## {value['title']}", "", sentence(value["machine"]), "", markdown(rows)]
    return "\n".join(out) + "\n"
