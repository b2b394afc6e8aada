"""Whether the files that a study names are there, and a file of truths says what data were simulated from."""

import glob
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmm.config.study import StudySettings
from lmm.core.errors import StudyError
from lmm.core.store import read_json

BRACES = re.compile(r"\{[^{}]+\}")  # what Snakemake takes for a wildcard


def check_data_files(settings: StudySettings, root: Path) -> tuple[str, ...]:
    """The files that `data` names; each pattern must match some. Their content is ingest's to check."""
    patterns = [settings.data] if isinstance(settings.data, str) else settings.data
    files = []
    for pattern in patterns:
        found = sorted(glob.glob(str(pattern), root_dir=root, recursive=True))
        if not found:
            raise StudyError(
                "data", f"'{pattern}': no such file; expected CSV, TSV or Parquet files in {root}"
            )
        files += found
    for file in files:
        check_path(file, "data", root)
        if (root / file).is_dir():
            raise StudyError(
                "data", f"'{file}' is a directory; expected files, such as '{file.rstrip('/')}/*.csv'"
            )
    if not files:
        raise StudyError("data", "[]: expected at least one file")
    if settings.predict is not None and not (root / settings.predict).is_file():
        raise StudyError(
            "predict", f"'{settings.predict}': no such file; expected new rows as CSV, TSV or Parquet"
        )
    for key in ("predict", "truth"):
        if (file := getattr(settings, key)) is not None:
            check_path(file, key, root)
    if settings.truth is not None:
        check_truth(settings, root)
    return tuple(files)


def check_path(file: str, key: str, root: Path) -> None:
    """Refuse a link that leads nowhere, and a name that Snakemake does not take for a file's."""
    if (root / file).is_symlink() and not (root / file).exists():
        raise StudyError(key, f"'{file}': a link to a file that is not there, or to itself; expected a file")
    if BRACES.search(file):
        raise StudyError(
            key, f"'{file}': Snakemake reads {{...}} as a wildcard; expected a path without braces"
        )


def check_truth(settings: StudySettings, root: Path) -> None:
    """Refuse a file that does not say what data were simulated from."""
    if settings.replicates is not None:
        raise StudyError("truth", f"'{settings.truth}': replicates have their own; expected no such key")
    try:
        found = read_json(root / settings.truth)
    except (OSError, ValueError, RecursionError):
        raise StudyError("truth", f"'{settings.truth}': cannot be read; expected a JSON file") from None
    for key, kind in (("fixed", dict), ("sd", dict), ("corr", dict), ("sigma", (int, float))):
        if not isinstance(found, dict) or not isinstance(found.get(key), kind):
            what = "a number" if key == "sigma" else "a mapping of terms to numbers"
            raise StudyError("truth", f"'{settings.truth}': has no '{key}'; expected {what}")
    numbers = {
        f"{key}.{name}": value for key in ("fixed", "sd", "corr") for name, value in _flat(found[key]).items()
    }
    for name, value in {**numbers, "sigma": found["sigma"]}.items():
        kind = name.partition(".")[0]
        if value is None and kind == "corr":  # beside an sd of 0
            continue
        least, most = {"corr": (-1, 1), "sd": (0, math.inf), "sigma": (0, math.inf)}.get(
            kind, (-math.inf, math.inf)
        )
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not least <= value <= most:
            what = {"corr": "a number from -1 to 1", "fixed": "a finite number"}.get(
                kind, "a number of at least 0"
            )
            raise StudyError("truth", f"'{settings.truth}': {name} is {str(value)[:40]}; expected {what}")


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by term, or by factor and term where there are several grouping factors."""
    out = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        out |= {f"{name}.{term}": own for term, own in value.items()} if nested else {name: value}
    return out
