"""Two folders of results held against each other: configuration, versions, estimates.

A number has changed if it differs by more than what the same run would differ by:

- sampled ones (pymc's posterior means, measures of a recovery study) by more than `SIGMAS` Monte Carlo standard
  errors of their difference, sqrt(mcse_a^2 + mcse_b^2), as if the two runs were drawn independently. Runs that share
  seeds differ by less, so that a change that this finds is one;
- all others by more than `RELATIVE` of the larger of the two, or of `SMALL` residual sd's where that is larger (a
  random effect near 0 has no digits of its own to lose).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lmm.core import engines
from lmm.core.errors import StudyError
from lmm.core.parameters import titled
from lmm.core.store import read_json, read_table
from lmm.core.tidy import RESIDUAL
from lmm.recovery.performance import COLUMNS as PERFORMANCE

SIGMAS = 4.0  # one false alarm in 16,000 numbers that did not change
RELATIVE = 1e-8  # the exactness that reml's optimum is certified to
SMALL = 1e-3
SUMMARY = "summary.json"
# What is compared of a table besides its estimates, where nothing in it is sampled.
EXACT = ("estimate", "std_error", "conf_low", "conf_high")
KEYS = {"parameters": ["effect", "group", "term"], "ranef": ["group", "level", "term"]}


@dataclass(frozen=True)
class Run:
    """A folder of results.

    Attributes
    ----------
    folder : Path
    summary : dict
        summary.json of the run, and those of studies that finished in others.
    studies : dict of str to Path
        Studies that the run's report is on and whose artifacts are there.
    """

    folder: Path
    summary: dict[str, Any]
    studies: dict[str, Path]

    def fits(self, study: str) -> dict[str, dict]:
        """Diagnostics of a study's fits, by engine, in the report's order."""
        files = self.studies[study].glob("*/diagnostics.json") if study in self.studies else ()
        found = {file.parent.name: read_json(file) for file in files}
        return dict((name, found[name]) for name in engines.ordered(found))


def read(folder: str | Path) -> Run:
    """A run that came to its end.

    Raises
    ------
    StudyError
        The folder is not there, or no finished run's.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StudyError(str(folder), "no such folder, expected one of results, as a finished run leaves it")
    # a study's own, made as soon as the study was finished, says more than the last run's
    files = [file for file in (folder / SUMMARY, *sorted(folder.glob(f"*/{SUMMARY}"))) if file.is_file()]
    if not files:
        raise StudyError(str(folder), f"has no {SUMMARY}, expected the results of a run that made its report")
    read_ = [read_json(file) for file in files]
    summary = read_[0]
    for own in read_[1:]:
        for key in ("studies", "configuration"):
            summary[key] = summary.get(key, {}) | own[key]
    studies = {name: folder / name for name in summary["studies"] if (folder / name).is_dir()}
    return Run(folder, summary, studies)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Key path and text of everything in nested mappings; lists are one value."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif value is not None:
        yield path, str(value)


def _different(a: Mapping[str, str], b: Mapping[str, str], first: str) -> pd.DataFrame:
    keys = dict.fromkeys([*a, *b])
    rows = [(key, a.get(key, "–"), b.get(key, "–")) for key in keys if a.get(key) != b.get(key)]
    return pd.DataFrame(rows, columns=[first, "a", "b"])


def settings(a: Run, b: Run) -> pd.DataFrame:
    """Settings (key, a, b) that differ, and the data's size and response where these do."""
    return _different(dict(_settings(a)), dict(_settings(b)), "key")


def _settings(run: Run) -> Iterator[tuple[str, str]]:
    yield from leaves(run.summary.get("configuration", {}), "studies")
    for name, folder in run.studies.items():
        if (folder / "data/data.json").is_file():
            data = read_json(folder / "data/data.json")
            response = data["columns"].get(data["response"], {})
            yield f"data of {name}: rows", f"{data['rows']:,}"
            yield f"data of {name}: groups", f"{data['groups']:,}"
            yield f"data of {name}: mean of {data['response']}", f"{response.get('mean', np.nan):.10g}"


def versions(a: Run, b: Run) -> pd.DataFrame:
    """Versions (what, a, b) that differ: of the project, the system, and what each fit recorded."""
    return _different(dict(_versions(a)), dict(_versions(b)), "what")


def _versions(run: Run) -> Iterator[tuple[str, str]]:
    provenance = run.summary["provenance"]
    yield "revision of the project", provenance.get("revision") or "–"
    yield "system", provenance.get("system") or "–"
    found: dict[str, set[str]] = {}
    for study in run.studies:
        for fit in run.fits(study).values():
            for package, version in (fit.get("versions") or {}).items():
                found.setdefault(package, set()).add(version)
    for package, version in provenance["versions"].items():
        found.setdefault(package, {version})
    for package, numbers in found.items():
        yield package, ", ".join(sorted(numbers))


def fits(a: Run, b: Run) -> pd.DataFrame:
    """How every fit of either run ended: study, engine, status_a, status_b, criterion_a, criterion_b."""
    rows = []
    for study in dict.fromkeys([*a.studies, *b.studies]):
        left, right = a.fits(study), b.fits(study)
        for engine in dict.fromkeys([*left, *right]):
            pair = (left.get(engine, {}), right.get(engine, {}))
            ends = [fit.get("status", "not there") for fit in pair]
            if not any("status" in fit for fit in pair):  # of replicates: their endings are measures
                continue
            rows.append((study, engine, *ends, *(fit.get("criterion") for fit in pair)))
    return pd.DataFrame(
        rows, columns=["study", "engine", "status_a", "status_b", "criterion_a", "criterion_b"]
    )


def numbers(a: Run, b: Run) -> pd.DataFrame:
    """Every number of both runs.

    Returns
    -------
    DataFrame
        study, engine, table (parameters, ranef, performance), item (the term; level and term; design, term and
        measure), number (estimate, std_error, ...), a, b, difference, limit (what it may differ by), ratio
        (difference over limit, signed), verdict: identical, same (within the limit), changed, only in A, only in B.
    """
    parts = []
    for study in dict.fromkeys([*a.studies, *b.studies]):
        folders = [run.studies.get(study, Path("-")) for run in (a, b)]
        for engine in dict.fromkeys([*a.fits(study), *b.fits(study)]):
            parts += _of_engine(study, engine, folders)
        if any((folder / "recovery/performance.csv").is_file() for folder in folders):
            tables = [_table(folder / "recovery/performance.csv") for folder in folders]
            parts += _of_recovery(study, tables)
    columns = [
        "study",
        "engine",
        "table",
        "item",
        "number",
        "a",
        "b",
        "difference",
        "limit",
        "ratio",
        "verdict",
    ]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _table(path: Path) -> pd.DataFrame:
    text = ["df"] if path.name == "performance.csv" else []
    return read_table(path, text) if path.is_file() else pd.DataFrame()


def _of_engine(study: str, engine: str, folders: list[Path]) -> Iterator[pd.DataFrame]:
    parameters = [_table(folder / engine / "parameters.csv") for folder in folders]
    residual = [frame.loc[frame["term"] == RESIDUAL, "estimate"].max() for frame in parameters if len(frame)]
    scale = SMALL * np.nanmax([*residual, 0.0])
    pairs = {
        "parameters": parameters,
        "ranef": [_table(folder / engine / "ranef.parquet") for folder in folders],
    }
    for name, pair in pairs.items():
        known = [frame for frame in pair if len(frame)]
        if not known:
            continue
        sampled = any("mcse_mean" in frame for frame in known)
        for number in ("estimate",) if sampled else [n for n in EXACT if n in known[0]]:
            long = _paired(pair, KEYS[name], number, "mcse_mean" if sampled else None, scale)
            item = long["term"] if name == "parameters" else long["level"].astype(str) + " " + long["term"]
            yield long.assign(study=study, engine=engine, table=name, item=item, number=number)


def _of_recovery(study: str, pair: list[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    about = ("engine", "effect", "group", "term", "df", "subset", "measure")
    known = [frame for frame in pair if len(frame)]
    designs = [name for name in known[0] if name not in PERFORMANCE]
    keys = [name for name in (*designs, *about) if all(name in frame for frame in known)]
    long = _paired(pair, keys, "estimate", "mcse", 0.0)
    differ = [name for name in designs if name in keys and len(long[name].unique()) > 1]
    place = [" ".join(f"{name} {row[name]}" for name in differ) for _, row in long.iterrows()]
    item = [
        " ".join(filter(None, parts))
        for parts in zip(place, long["term"], long["measure"], long["subset"], strict=True)
    ]
    yield long.assign(study=study, table="performance", item=item, number="estimate")


def _paired(
    pair: list[pd.DataFrame], keys: list[str], number: str, error: str | None, scale: float
) -> pd.DataFrame:
    """Both runs' numbers side by side, with the verdict on each."""
    sides = []
    for frame, side in zip(pair, "ab", strict=True):
        frame = frame if len(frame) else pd.DataFrame(columns=[*keys, number])
        values = frame[keys].astype(object).assign(**{side: frame[number].astype(float), f"in_{side}": True})
        mcse = frame[error].astype(float) if error in frame else np.nan
        sides.append(values.assign(**{f"mcse_{side}": mcse}))
    both = sides[0].merge(sides[1], on=keys, how="outer", sort=False)
    a, b = both["a"].to_numpy(float), both["b"].to_numpy(float)
    mcse = np.hypot(*(np.nan_to_num(both[f"mcse_{side}"].to_numpy(float)) for side in "ab"))
    # a quantity without an error of its own (a measure that is 0 in every replicate) is compared as a number
    exact = RELATIVE * np.fmax(np.fmax(np.abs(a), np.abs(b)), scale)
    limit = np.where(mcse > 0, SIGMAS * mcse, exact)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (b - a) / limit
    there = [both[f"in_{side}"].notna().to_numpy() for side in "ab"]
    one_is_empty = np.isnan(a) != np.isnan(b)
    verdict = np.select(
        [~there[1], ~there[0], (a == b) | (np.isnan(a) & np.isnan(b)), one_is_empty | (np.abs(ratio) > 1)],
        ["only in A", "only in B", "identical", "changed"],
        "same",
    )
    return both.assign(difference=b - a, limit=limit, ratio=ratio, verdict=verdict)


def counts(compared: pd.DataFrame) -> pd.DataFrame:
    """A row for each study, engine and table: how many numbers were compared, and with what verdict."""
    rows = []
    for (study, engine, table), part in compared.groupby(["study", "engine", "table"], sort=False):
        verdict = part["verdict"].value_counts()
        moved = part[part["verdict"].isin(["same", "changed"]) & np.isfinite(part["ratio"].astype(float))]
        most = moved.loc[moved["ratio"].abs().idxmax()] if len(moved) else None
        rows.append(
            {
                "study": study,
                "engine": engine,
                "table": table,
                "numbers": len(part),
                **{name: int(verdict.get(name, 0)) for name in ("identical", "same", "changed")},
                "alone": int(verdict.get("only in A", 0) + verdict.get("only in B", 0)),
                "largest": np.nan if most is None else abs(most["ratio"]),
                "at": "" if most is None else f"{titled(most['item'])} ({most['number']})",
            }
        )
    return pd.DataFrame(rows)
