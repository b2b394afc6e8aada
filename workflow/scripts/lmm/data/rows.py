"""A study's model matrices as its moments stage fixed them, for the stages after it.

design.json has, for each formula that an engine of the study fits, the names of its columns and what rebuilds
its design. Names alone are read without formulaic, whose import costs more than a fit from moments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lmm.core.store import read_json, read_table, write_json
from lmm.model.syntax import spaced
from lmm.model.terms import Terms


@dataclass(frozen=True)
class Rows:
    """Rows in memory.

    Attributes
    ----------
    terms : Terms
    y : (N,) array
    W : (N, K) array
        Columns `terms.columns`.
    codes : (N,) int array
        Each row's group, an index into `levels`.
    levels : (J,) array of str
        Sorted.
    others : tuple of (codes, levels)
        The same of further grouping factors.
    weights : (N,) array or None
        Precision weights.
    """

    terms: Terms
    y: np.ndarray
    W: np.ndarray
    codes: np.ndarray
    levels: np.ndarray
    others: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    weights: np.ndarray | None = None

    @property
    def factors(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Codes and levels of each grouping factor, in the formula's order."""
        return ((self.codes, self.levels), *self.others)

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """Columns by name, (N, len(names))."""
        return self.W[:, [self.terms.columns.index(name) for name in names]]


def write_designs(path: str, designs: Sequence[Any]) -> None:
    """Write design.json: formula -> names of its columns, and the state that rebuilds its `Design`."""
    write_json(
        path,
        {d.formula.text: {"terms": asdict(d.terms), "state": d.state()} for d in designs},
    )


def read_terms(path: str, formula: str) -> Terms:
    """Names of a formula's columns, from design.json."""
    return Terms.from_plain(read_json(path)[spaced(formula)]["terms"])


def read_design(path: str, formula: str) -> Any:
    """A formula's `Design`, from design.json."""
    from lmm.model.design import rebuild

    return rebuild(read_json(path)[spaced(formula)]["state"])


def read_rows(where: Mapping[str, Any], designs: str, formula: str) -> Rows:
    """Rows through a formula's design.

    Parameters
    ----------
    where : mapping
        `rows`, the path of data.parquet; where the rows were not copied, `data`, that of data.json.
    designs : str
        Path of design.json.
    formula : str
    """
    design = read_design(designs, formula)
    frame = read_table(where["rows"]) if where.get("rows") else from_sources(where["data"])
    return rows_of(design, frame)


def rows_of(design: Any, frame: Any) -> Rows:
    """Rows of a frame through a design.

    Parameters
    ----------
    design : Design
        Of a formula.
    frame : DataFrame
        Response, predictors and grouping factors.

    Returns
    -------
    Rows
    """
    from lmm.data.levels import encode, level_names

    own, *others = (encode(level_names(frame, grouping.columns)) for grouping in design.terms.groupings)
    return Rows(design.terms, *design.matrix(frame), *own, tuple(others), design.weights(frame))


def from_sources(data: str) -> Any:
    """The user's files as one frame."""
    import pandas as pd

    from lmm.data.ingest import reopen
    from lmm.data.source import Part, connect

    source = reopen(read_json(data))
    with connect(ordered=True) as connection:
        parts = [connection.execute(source.typed(Part(at))).df() for at in range(len(source.files))]
    return pd.concat(parts, ignore_index=True)
