"""The order in which people read levels, terms and contrasts: `5 mg` before `10 mg`, the reference first."""

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from lmm.core.tidy import EFFECTS_FIRST, EFFECTS_LAST
from lmm.results.labels import factors
from lmm.results.study import Results, natural

_LEVEL = re.compile(r"(.+)\[T\.(.*)\]")
TURNED = ("estimate", "statistic")  # numbers whose sign a contrast's direction decides, beside its interval


def levels(results: Results, column: str) -> list[str]:
    """A categorical column's levels: in their own order if they have one, else numbers in names as numbers."""
    found = [str(level) for level in results.data["columns"].get(column, {}).get("levels") or ()]
    return sorted(found, key=natural) if found == sorted(found) else found


def reference(results: Results, column: str) -> str | None:
    """The level that the formula names as the one to compare with: `C(arm, Treatment('placebo'))`.

    Of two levels it is the one that the coefficient compares with: the contrast then has the coefficient's direction.
    """
    if len(levels(results, column)) == 2:
        return results.labels.references.get(column)
    named = re.compile(rf"C\(\s*`?{re.escape(column)}`?\s*,.*\)\[T\..*")
    terms = {part for fit in results.fits.values() for term in fit.fixed for part in factors(term)}
    return results.labels.references.get(column) if any(map(named.fullmatch, terms)) else None


def arranged(results: Results, column: str, values: Iterable[Any]) -> list[Any]:
    """Values of a categorical column in the order of `levels`."""
    place = {level: k for k, level in enumerate(levels(results, column))}
    return sorted(values, key=lambda value: place.get(str(value), len(place)))


def terms(names: Iterable[str]) -> list[str]:
    """Fixed effects in the model's order, those of one predictor's levels with numbers in names as numbers.

    Parameters
    ----------
    names : iterable of str
        Terms; levels that are not in the order of their characters keep theirs.
    """
    names = list(names)
    kinds: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    own = {name: _parted(name) for name in names}
    for kind, found in own.values():
        kinds.setdefault(kind, []).append(found)
    place = {kind: k for k, kind in enumerate(kinds)}
    plain = {kind for kind, found in kinds.items() if found == sorted(found)}
    return sorted(
        names,
        key=lambda name: (
            place[own[name][0]],
            [natural(level) for level in own[name][1]] if own[name][0] in plain else [],
        ),
    )


def _parted(term: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A term without its levels, and these."""
    found = [(part, _LEVEL.fullmatch(part)) for part in factors(term)]
    return tuple(one[1] if one else part for part, one in found), tuple(one[2] for _, one in found if one)


def pair(results: Results, effect: str, contrast: str) -> tuple[str, str, str] | None:
    """The column and the two levels that a pairwise contrast compares; None of a custom one."""
    columns = results.data["columns"]
    own = [name for name in effect.split(":") if columns.get(name, {}).get("levels")]
    for name in own or [name for name, about in columns.items() if about.get("levels")]:
        known = set(levels(results, name))
        for cut in re.finditer(" - ", contrast):
            a, b = contrast[: cut.start()], contrast[cut.end() :]
            if a in known and b in known:
                return name, a, b
    return None


def effects(results: Results) -> pd.DataFrame | None:
    """The table of means, slopes and contrasts as people read it.

    Returns
    -------
    DataFrame or None
        effects.csv with rows in the order of levels; of contrasts the reference is the second level and its
        comparisons come first; numbers in names put the earlier level first.
    """
    table = results.tables.get("effects")
    if table is None or not len(table):
        return table
    grid = [name for name in table if name not in (*EFFECTS_FIRST, *EFFECTS_LAST)]
    rows, keys = table.to_dict("records"), []
    blocks: dict[tuple[str, str], int] = {}
    for row in rows:
        block = blocks.setdefault((row["effect"], row["kind"]), len(blocks))
        cells = [_rank(results, name.strip("`"), row[name]) for name in grid]
        keys.append((block, cells, _turned(results, row) if row["kind"] == "contrast" else (0, 0, 0)))
    order = sorted(range(len(rows)), key=keys.__getitem__)
    return pd.DataFrame([rows[k] for k in order], columns=table.columns)


def _rank(results: Results, column: str, level: Any) -> int:
    known = levels(results, column)
    return known.index(str(level)) if str(level) in known else -1


def _turned(results: Results, row: dict[str, Any]) -> tuple[int, int, int]:
    """A contrast's place among its like; turns it round, in place, where its first level should be the second."""
    found = pair(results, str(row["effect"]), str(row["contrast"]))
    if found is None:
        return (2, 0, 0)
    name, a, b = found
    known, base = levels(results, name), reference(results, name)
    table = [str(level) for level in results.data["columns"][name]["levels"]]
    if a == base or (b != base and known != table and known.index(a) > known.index(b)):
        a, b = b, a
        row["contrast"] = f"{a} - {b}"
        row["conf_low"], row["conf_high"] = -row["conf_high"], -row["conf_low"]
        for column in TURNED:
            row[column] = -row[column]
    return (int(base is not None and b != base), known.index(a), known.index(b))
