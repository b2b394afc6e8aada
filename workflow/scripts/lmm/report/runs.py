"""The page on two runs: verdicts first, then what changed in configuration, versions, fits and numbers."""

from pathlib import Path

import numpy as np
import pandas as pd

from lmm.core.words import capital, counted, label, listed, number
from lmm.report.card import Card
from lmm.report.page import assemble
from lmm.report.tables.table import Column, table
from lmm.results import runs
from lmm.results.runs import RELATIVE, SIGMAS, SMALL, Run

MOST_LINES = 6  # of a card
SHOWN = {"parameters": "parameters", "ranef": "random effects", "performance": "performance measures"}


def render(a: Run, b: Run) -> str:
    """The page's HTML."""
    settings, versions, fits, compared = (
        runs.settings(a, b),
        runs.versions(a, b),
        runs.fits(a, b),
        runs.numbers(a, b),
    )
    tally = runs.counts(compared)
    sections = [
        _section(
            "settings", "Configuration", _settings_text(a, b, settings), _two("settings", settings, "Setting")
        ),
        _section("versions", "Versions", _versions_text(versions), _two("versions", versions, "Of")),
        _section("fits", "Fits", _fits_text(fits), _fits_table(fits)),
        _section("numbers", "Numbers", rule(), _tally_table(tally), _parameters(compared), _moved(compared)),
    ]
    cards = [_numbers_card(tally), _fits_card(fits), _changes_card("settings", "Configuration", settings)]
    return assemble(
        "runs/runs.html.j2",
        title="What changed between two runs?",
        answer=answer(tally, fits, settings, versions),
        cards=[*cards, _changes_card("versions", "Versions", versions)],
        sections=sections,
        folders=[(name, str(run.folder), _about(run)) for name, run in zip("AB", (a, b), strict=True)],
    )


def answer(tally: pd.DataFrame, fits: pd.DataFrame, settings: pd.DataFrame, versions: pd.DataFrame) -> str:
    """What changed, in two sentences: numbers and fits, then what may be the cause.

    Parameters
    ----------
    tally : DataFrame
        From `results.runs.counts`.
    fits, settings, versions : DataFrames
        From `results.runs`.

    Returns
    -------
    str
    """
    total, changed = (int(tally[name].sum()) if len(tally) else 0 for name in ("numbers", "changed"))
    if not total:
        said = "The two runs have no numbers in common"
    elif not changed:
        said = f"None of {counted(total, 'number')} changed beyond error"
    else:
        most = tally.loc[tally["changed"].idxmax()]
        share = "most of them " if int((tally["changed"] > 0).sum()) > 1 else ""
        said = f"{changed:,} of {counted(total, 'number')} changed beyond error ({share}{label(most['engine'])} in "
        said += f"{most['study']})"
    moved = len(_ended_otherwise(fits))
    if moved:
        said += f"; {counted(moved, 'fit')} changed status"
    parts = [
        counted(len(frame), noun)
        for frame, noun in ((settings, "setting"), (versions, "version"))
        if len(frame)
    ]
    if not parts:
        return f"{said}. Configuration and versions are the same."
    differ = "differs" if len(parts) == 1 and parts[0].startswith("1 ") else "differ"
    return f"{said}. {capital(listed(parts))} {differ}."


def _about(run: Run) -> str:
    provenance = run.summary["provenance"]
    revision = f", revision {provenance['revision']}" if provenance.get("revision") else ""
    return f"{counted(len(run.studies), 'study', 'studies')}, rendered {provenance['rendered']}{revision}"


def rule() -> str:
    """What counts as a change, in words."""
    near = number(RELATIVE, 1).removeprefix("1×")
    return (
        "A sampled number (PyMC's posterior means, measures over replicates) has changed if it differs by more "
        f"than {SIGMAS:g} Monte Carlo standard errors, √(MCSE_A² + MCSE_B²), as of independent runs; any other "
        f"number (and its standard error and interval) if it differs by more than {near} of the "
        f"larger one, or of {SMALL:g} residual SDs where that is larger. Run times are not compared."
    )


def _section(key: str, title: str, text: str, *tables) -> dict:
    return {"key": key, "title": title, "text": text, "tables": [each for each in tables if each is not None]}


def _settings_text(a: Run, b: Run, settings: pd.DataFrame) -> str:
    silent = [name for name, run in zip("AB", (a, b), strict=True) if "configuration" not in run.summary]
    if silent:
        whose = "Run A and run B" if len(silent) == 2 else f"Run {silent[0]}"
        return f"{whose} did not record the configuration (an older version); only the data are compared."
    if not len(settings):
        return "Both runs had the same configuration, and the same data as far as their size and mean say."
    return f"{counted(len(settings), 'setting')} {'differs' if len(settings) == 1 else 'differ'}."


def _versions_text(versions: pd.DataFrame) -> str:
    if not len(versions):
        return "Both runs were made by the same revision with the same packages."
    return f"{counted(len(versions), 'version')} {'differs' if len(versions) == 1 else 'differ'}."


def _fits_text(fits: pd.DataFrame) -> str:
    moved = _ended_otherwise(fits)
    if not len(fits):
        return "There are no single fits; how the fits of replicates ended is among the numbers."
    if len(fits) == 1 and not len(moved):
        return "The one fit ended the same way in both runs."
    if not len(moved):
        return f"All {len(fits):,} fits ended the same way in both runs."
    return f"{counted(len(moved), 'fit')} changed status from A to B."


def _ended_otherwise(fits: pd.DataFrame) -> pd.DataFrame:
    return fits[fits["status_a"] != fits["status_b"]]


def _changes_card(key: str, title: str, frame: pd.DataFrame) -> Card:
    if not len(frame):
        return Card(key, "good", title, "the same")
    lines = [
        ("plain", f"{row.iloc[0]}: {row['a']} → {row['b']}") for _, row in frame.head(MOST_LINES).iterrows()
    ]
    more = [("plain", f"and {len(frame) - MOST_LINES} more")] if len(frame) > MOST_LINES else []
    return Card(key, "plain", title, f"{len(frame)} changed", tuple(lines + more))


def _fits_card(fits: pd.DataFrame) -> Card:
    moved = _ended_otherwise(fits)
    lines = [
        ("warn", f"{r.study}, {label(r.engine)}: {r.status_a} → {r.status_b}") for r in moved.itertuples()
    ]
    if not len(fits):
        return Card("fits", "plain", "Fits", "no single fits")
    same = f"all {len(fits)} ended the same way" if len(fits) > 1 else "the one fit ended the same way"
    value = f"{len(moved)} of {len(fits)} changed status" if lines else same
    return Card("fits", "warn" if lines else "good", "Fits", value, tuple(lines[:MOST_LINES]))


def _numbers_card(tally: pd.DataFrame) -> Card:
    if not len(tally):
        return Card("numbers", "plain", "Numbers", "none to compare")
    changed, alone = int(tally["changed"].sum()), int(tally["alone"].sum())
    lines = [
        ("warn", f"{r.study}, {label(r.engine)}: {r.changed} of {counted(r.numbers, SHOWN[r.table][:-1])}")
        for r in tally[tally["changed"] > 0].itertuples()
    ]
    lines = lines[:MOST_LINES] + [("plain", f"{counted(alone, 'number')} in one run only")] * bool(alone)
    if not lines:
        same, near = int(tally["identical"].sum()), int(tally["same"].sum())
        lines = [("good", f"{same:,} identical" + f", {near:,} within error" * bool(near))]
    value = f"{changed:,} changed" if changed else "none changed beyond error"
    return Card("numbers", "warn" if changed or alone else "good", "Numbers", value, tuple(lines))


def _two(key: str, frame: pd.DataFrame, first: str):
    if not len(frame):
        return None
    columns = [Column(frame.columns[0], first, False), Column("a", "A", False), Column("b", "B", False)]
    return table(key, f"{capital(key)}: what differs.", frame, columns)


def _labelled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(engine=frame["engine"].map(label))


def _fits_table(fits: pd.DataFrame):
    columns = [
        Column("study", "Study", False), Column("engine", "Engine", False),
        Column("status_a", "A", False), Column("status_b", "B", False),
        Column("criterion_a", "Criterion A", decimals=6), Column("criterion_b", "Criterion B", decimals=6),
    ]  # fmt: skip
    return table("fits", "How every fit ended, and its REML criterion.", _labelled(fits), columns)


def _tally_table(tally: pd.DataFrame):
    if not len(tally):
        return None
    shown = _labelled(tally).assign(table=tally["table"].map(SHOWN), at=tally["at"].replace("", np.nan))
    columns = [
        Column("study", "Study", False), Column("engine", "Engine", False), Column("table", "Of", False),
        *(Column(name, title, decimals=0) for name, title in (
            ("numbers", "Numbers"), ("identical", "Identical"), ("same", "Within error"), ("changed", "Changed"),
            ("alone", "In one only"))),
        Column("largest", "Largest, in limits", decimals=2), Column("at", "There", False),
    ]  # fmt: skip
    return table(
        "tally",
        "Number of values by the size of their difference. Limit: a larger difference is a change.",
        shown,
        columns,
    )


VALUES = (
    Column("a", "A"), Column("b", "B"), Column("difference", "B − A"), Column("limit", "Limit"),
    Column("verdict", "Verdict", False),
)  # fmt: skip


def _parameters(compared: pd.DataFrame):
    of = compared[(compared["table"] == "parameters") & (compared["number"] == "estimate")]
    columns = [
        Column("study", "Study", False), Column("engine", "Engine", False), Column("item", "Term", False), *VALUES,
    ]  # fmt: skip
    return table("parameters", "Estimates of all parameters.", _labelled(of), columns)


def _moved(compared: pd.DataFrame):
    of = compared[compared["verdict"].isin(["changed", "only in A", "only in B"])]
    shown = _labelled(of).assign(table=of["table"].map(SHOWN))
    columns = [
        Column("study", "Study", False), Column("engine", "Engine", False), Column("table", "Of", False),
        Column("item", "Item", False), Column("number", "Number", False), *VALUES,
    ]  # fmt: skip
    return table("changed", "Every number that changed beyond error, or is in one run only.", shown, columns)


def compare(a: str | Path, b: str | Path) -> str:
    """The page on two folders of results.

    Raises
    ------
    StudyError
        One of them is not a finished run's.
    """
    return render(runs.read(a), runs.read(b))
