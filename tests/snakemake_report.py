"""Snakemake's own report, taken apart: what it says of every artifact in it."""

import json
import re
import zipfile
from pathlib import Path


def read(path: Path) -> list[dict]:
    """Every artifact of the report: its `path`, `category`, `labels` and `caption`.

    Parameters
    ----------
    path : Path
        The .zip or the .html that `snakemake --report` wrote.
    """
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            (page,) = (name for name in archive.namelist() if name.count("/") == 1 and name.endswith(".html"))
            text = archive.read(page).decode()
    else:
        text = path.read_text(encoding="utf-8")
    results, categories = _value(text, "results"), _value(text, "categories")
    return [
        {"path": file, "category": category} | {name: results[file][name] for name in ("labels", "caption")}
        for category, parts in categories.items()
        for files in parts.values()
        for file in files
    ]


def _value(text: str, name: str) -> dict:
    """What a script element named after it sets a variable to."""
    start = re.search(rf'<script id="{name}">\s*var {name} = ', text).end()
    return json.JSONDecoder().raw_decode(text, start)[0]
