"""The long table of a recovery study as arrays: designs x replicates of one engine's term at a time."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lmm.core.engines import ENGINES, UNIDENTIFIED
from lmm.core.errors import StudyError

STATUSES = ("ok", "singular", UNIDENTIFIED, "non-converged", "gate-failed", "error", "skipped")
USABLE = ("ok", "singular")
VALUES = ("truth", "estimate", "std_error", "conf_low", "conf_high")
KEYS = ("design", "replicate", "engine", "effect", "group", "term", "df")
LONG = (*KEYS, *VALUES, "status", "message", "sampler")


def design_columns(replicates: pd.DataFrame) -> list[str]:
    """The columns that describe the design: all that the long table does not have by itself."""
    return [name for name in replicates.columns if name not in LONG]


def place(engine: str) -> tuple[int, str]:
    """Sorts engines into the order of the report."""
    order = list(ENGINES)
    return (order.index(engine) if engine in ENGINES else len(order), engine)


def fits_of(replicates: pd.DataFrame) -> pd.DataFrame:
    """A row for each fit."""
    return replicates.drop_duplicates(["design", "replicate", "engine"]).copy()


def check(replicates: pd.DataFrame) -> None:
    """Raise StudyError unless the long table is whole: columns, known statuses, each term of a fit once."""
    where = "recovery/replicates.parquet"
    missing = [name for name in LONG if name not in replicates]
    if missing:
        raise StudyError(where, f"column {missing[0]} is missing; expected {', '.join(LONG)}")
    unknown = set(replicates["status"].unique()) - set(STATUSES)
    if unknown:
        raise StudyError(where, f"status {min(map(str, unknown))!r}; expected one of {', '.join(STATUSES)}")
    keys = ["design", "replicate", "engine", "effect", "group", "term", "df"]
    twice = replicates.duplicated(keys)
    if twice.any():
        row = replicates.loc[twice.idxmax(), keys]
        raise StudyError(
            where,
            f"{', '.join(filter(None, map(str, row)))} is there twice; expected every term of a fit once",
        )
    if replicates.groupby(keys[:3], observed=True)["status"].nunique().max() > 1:
        raise StudyError(where, "a fit has two statuses; expected one for each design, replicate and engine")


class Grid:
    """The long table as dense arrays, designs x replicates, of one engine's term at a time."""

    def __init__(self, replicates: pd.DataFrame):
        replicates = replicates.reset_index(drop=True)
        self.table = replicates
        about = ["design", *design_columns(replicates)]
        self.designs = replicates[about].drop_duplicates("design", ignore_index=True)
        self.row, _ = pd.factorize(replicates["design"])
        self.column, numbers = pd.factorize(replicates["replicate"], sort=True)
        self.shape = (len(self.designs), len(numbers))
        self.engines = sorted(replicates["engine"].astype(str).unique(), key=place)
        fits = fits_of(replicates)
        at = fits.index.to_numpy()
        self.status = {name: np.full(self.shape, "", dtype="<U13") for name in self.engines}
        for name in self.engines:
            mine = (fits["engine"] == name).to_numpy()
            here = self.row[at[mine]], self.column[at[mine]]
            self.status[name][here] = fits["status"].to_numpy(str)[mine]
        self.usable = {name: np.isin(status, USABLE) for name, status in self.status.items()}
        absent = {name: np.isin(status, ("skipped", "")).all(axis=1) for name, status in self.status.items()}
        managed = [self.usable[name] | absent[name][:, None] for name in self.engines]
        self.common = np.logical_and.reduce(managed)
        named = replicates["term"].fillna("").astype(str) != ""
        keys = ["engine", "effect", "group", "term", "df"]
        self._where = replicates[named].groupby(keys, sort=False, observed=True).indices
        self._rows = np.flatnonzero(named.to_numpy())

    def blocks(self) -> Iterator[tuple[tuple[str, str, str, str, str], np.ndarray]]:
        """(engine, effect, group, term, method of df) and its rows of the table, engines in their usual order."""
        for key in sorted(self._where, key=lambda key: place(key[0])):
            yield key, self._rows[self._where[key]]

    def block(self, engine: str, effect: str, group: str, term: str) -> np.ndarray | None:
        """The rows of one engine's term, by the first of its methods of degrees of freedom."""
        for key, found in self._where.items():
            if key[:4] == (engine, effect, group, term):
                return self._rows[found]
        return None

    def dense(self, block: np.ndarray) -> dict[str, np.ndarray]:
        """`VALUES` as arrays, designs x replicates."""
        out = {}
        for name in VALUES:
            out[name] = np.full(self.shape, np.nan)
            out[name][self.row[block], self.column[block]] = self.table[name].to_numpy(float)[block]
        return out

    def keep(self, engine: str, subset: str) -> np.ndarray:
        """Which replicates of an engine a subset has."""
        return self.usable[engine] & self.common if subset == "common" else self.usable[engine]
