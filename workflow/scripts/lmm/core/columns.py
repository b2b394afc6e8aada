"""Tables as columns, which become DataFrames where they are asked for.

Making a DataFrame takes longer than many a fit of a replicate, whose numbers are read once and need none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

RANEF = ["group", "level", "term", "estimate", "std_error", "cond_sd", "conf_low", "conf_high", "truth"]
PER_LEVEL = ("estimate", "conf_low", "conf_high", "truth")


class Columns:
    """Columns of equal length by name.

    Parameters
    ----------
    values : mapping
        Name to list or array, in the order of the DataFrame.
    """

    def __init__(self, values: Mapping[str, Any]):
        self.values = values

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def frame(self) -> pd.DataFrame:
        """The same as a DataFrame."""
        return pd.DataFrame(dict(self.values))


@dataclass(frozen=True)
class Factor:
    """Random effects of one factor.

    Attributes
    ----------
    group : str
        Name of the grouping factor.
    levels : (J,) array of str
        Names of the groups.
    random : tuple of str
        The q terms of the random effects.
    truth : dict or None
        truth.json's content.
    columns : mapping of (J, q) arrays or numbers
        Columns of the table, or one value for all rows.
    """

    group: str
    levels: Sequence[str] | np.ndarray
    random: tuple[str, ...]
    truth: Mapping[str, Any] | None
    columns: Mapping[str, Any]

    @property
    def realised(self) -> np.ndarray:
        """The effects that were drawn, (J, q); NaN where they are not known."""
        drawn = (self.truth or {}).get("ranef", {})
        if self.group in drawn and self.group not in self.random:  # by factor, where there are several
            drawn = drawn[self.group]
        if not drawn:
            return np.full((len(self.levels), len(self.random)), np.nan)
        names = np.asarray(self.levels).tolist()
        known = (drawn.get(term, {}) for term in self.random)
        return np.array([[own.get(name, np.nan) for name in names] for own in known], dtype=float).T

    def frame(self) -> pd.DataFrame:
        """Tidy random effects, group by group in the order of `levels`.

        Returns
        -------
        DataFrame
            Columns `RANEF`, then the others; J q rows.
        """
        count, q = len(self.levels), len(self.random)
        names = pd.array(np.asarray(self.levels), dtype="str")
        # columns of text are taken from their few values, not made from an object a row
        table = pd.DataFrame(
            {
                "group": pd.array([self.group], dtype="str").take(np.zeros(count * q, dtype=int)),
                "level": names.repeat(q),
                "term": pd.array(self.random, dtype="str").take(np.tile(np.arange(q), count)),
                **{
                    name: np.ravel(value) if np.ndim(value) else value for name, value in self.columns.items()
                },
                "truth": self.realised.ravel(),
            }
        )
        extra = [name for name in table if name not in RANEF]
        return table.reindex(columns=[*RANEF, *extra])


def predicted(
    mean: np.ndarray, std_error: np.ndarray, cond_sd: np.ndarray, z: float
) -> dict[str, np.ndarray]:
    """Columns of random effects with normal intervals.

    Parameters
    ----------
    mean, std_error, cond_sd : (J, q) arrays
        Predictions, their prediction errors and conditional sds.
    z : float
        Half-width of the interval, in prediction errors.

    Returns
    -------
    dict
    """
    return {
        "estimate": mean,
        "std_error": std_error,
        "cond_sd": cond_sd,
        "conf_low": mean - z * std_error,
        "conf_high": mean + z * std_error,
    }


class Effects:
    """Random effects of all factors.

    Parameters
    ----------
    parts : sequence of Factor
    """

    def __init__(self, parts: Sequence[Factor]):
        self.parts = parts

    def by_term(self) -> Iterator[tuple[tuple[str, str], dict[str, np.ndarray]]]:
        """(group, term) with estimate, conf_low, conf_high and truth of every group, (J,) arrays."""
        for part in self.parts:
            columns = {name: part.columns[name] for name in PER_LEVEL[:-1]} | {"truth": part.realised}
            for k, term in enumerate(part.random):
                yield (part.group, term), {name: values[:, k] for name, values in columns.items()}

    def frame(self) -> pd.DataFrame:
        """`Factor.frame` of all factors, one after the other."""
        if len(self.parts) == 1:
            return self.parts[0].frame()
        return pd.concat([part.frame() for part in self.parts], ignore_index=True)


def by_term(table: Any) -> Iterator[tuple[tuple[str, str], dict[str, np.ndarray]]]:
    """`Effects.by_term`, also of a DataFrame."""
    if isinstance(table, Effects):
        yield from table.by_term()
        return
    for key, part in table.groupby(["group", "term"], sort=False):
        yield key, {name: part[name].to_numpy(float) for name in PER_LEVEL}


class Table:
    """A field that is set to a DataFrame or to what has a `frame`, and is read as a DataFrame.

    Parameters
    ----------
    name : str
        The field's.
    """

    def __init__(self, name: str):
        self.name = name

    def __get__(self, record: Any, owner: type | None = None) -> Any:
        if record is None:
            return self
        value = record.__dict__[self.name]
        if hasattr(value, "frame"):
            value = record.__dict__[self.name] = value.frame()
        return value

    def __set__(self, record: Any, value: Any) -> None:
        record.__dict__[self.name] = value
