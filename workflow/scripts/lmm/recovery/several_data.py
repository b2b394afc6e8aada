"""Replicates of a user's own rows with several grouping factors: new responses in memory.

Moments of several factors could be drawn only through a root of the cross-products of all levels; the rows that a
study has copied are cheaper.
"""

from typing import Any

import numpy as np

from lmm.core.streams import repeated, seed_sequence, stream
from lmm.core.tidy import corr_key
from lmm.data.rows import Rows
from lmm.inference.several_optimum import SeveralOptimum
from lmm.model.terms import Terms
from lmm.moments import pilot
from lmm.moments.several_accumulate import compute_several
from lmm.recovery.data_set import DataSet
from lmm.simulation.rows import by_group, realised


def data_set(rows: Rows, truth: dict[str, Any]) -> DataSet:
    """A replicate of rows in memory.

    Parameters
    ----------
    rows : Rows
        With the columns of all formulas.
    truth : dict
        As truth.json.

    Returns
    -------
    DataSet
    """
    codes, levels = ([own[at] for own in rows.factors] for at in (0, 1))
    basis = pilot.of_rows(rows.terms, rows.y, rows.W)
    moments = compute_several(rows.terms, rows.y, rows.W, codes, levels, basis)
    return DataSet(moments, rows, truth, moments, moments)


class SeveralBootstrap:
    """Replicates of a user's own design matrix, from REML's estimates.

    Parameters
    ----------
    rows : Rows
        The user's, with the columns of all formulas.
    terms : Terms
        Of the model that is simulated from.
    key : str
        The design's.
    seed : int
        The study's.
    best : SeveralOptimum
        Its estimates are simulated from.
    """

    augment = False

    def __init__(self, rows: Rows, terms: Terms, key: str, seed: int, best: SeveralOptimum):
        self.rows, self.terms, self.key, self.seed, self.best = rows, terms, key, seed, best

    def draw(self, replicate: int) -> DataSet:
        """One replicate; from 0."""
        y, truth = self.drawn(replicate)
        rows = self.rows
        return data_set(Rows(rows.terms, y, rows.W, rows.codes, rows.levels, rows.others), truth)

    def drawn(self, replicate: int) -> tuple[np.ndarray, dict[str, Any]]:
        """The response of a replicate, (N,), and the truth with what was realised of it."""
        sequence = seed_sequence(self.seed, self.key, replicate)
        errors = self.best.sigma * stream(sequence, "errors").standard_normal(len(self.rows.y))
        y = self.rows.columns(self.terms.fixed) @ self.best.beta + errors
        parts, drawn = {}, {}
        for grouping, root, (codes, levels) in zip(
            self.terms.groupings, self.best.roots, self.rows.factors, strict=True
        ):
            rng = stream(sequence, "ranef", f"{grouping.group}|")
            effects = rng.standard_normal((len(levels), len(root))) @ root.T
            y += np.einsum("na,na->n", self.rows.columns(grouping.random), effects[codes])
            own = self.terms.of(grouping)
            parts[grouping.group] = self._truth(own, root, effects, levels)
            drawn[grouping.group] = realised(own, effects, errors)
        return y, by_group(parts) | {"realised": by_group(drawn)}

    def _truth(
        self, terms: Terms, root: np.ndarray, effects: np.ndarray, levels: np.ndarray
    ) -> dict[str, Any]:
        """Of one grouping factor."""
        sd = np.sqrt((root**2).sum(axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            corr = root @ root.T / np.outer(sd, sd)
        names = list(terms.random)
        return {
            "fixed": dict(zip(terms.fixed, self.best.beta.tolist(), strict=True)),
            "sd": dict(zip(names, sd.tolist(), strict=True)),
            "corr": {
                corr_key(a, b): float(corr[names.index(a), names.index(b)])
                for block in terms.blocks
                for i, a in enumerate(block)
                for b in block[i + 1 :]
            },
            "sigma": self.best.sigma,
            "ranef": {
                name: dict(zip(levels.astype(str), effects[:, k].tolist(), strict=True))
                for k, name in enumerate(names)
            },
        }

    def columns(self) -> dict[str, Any]:
        """The scalars of the design, for the columns of replicates.parquet."""
        out: dict[str, Any] = {
            f"groups__{grouping.group}": len(levels)
            for grouping, (_, levels) in zip(self.terms.groupings, self.rows.factors, strict=True)
        }
        return out | {"rows": len(self.rows.y)}


class SeveralResized:
    """Replicates of the user's rows with another number of levels of one grouping factor.

    Of n levels every one of the data's J is there n // J times, and n % J of them once more, drawn anew for each
    replicate, each with all its rows; factors that are combined with it get new levels with them, other factors keep
    theirs: what simr's `extend` makes along a factor.

    Parameters
    ----------
    rows : Rows
        The user's.
    group : str
        The factor.
    count : int
        Its number of levels.
    terms, key, seed, best : as for `SeveralBootstrap`
    """

    def __init__(
        self, rows: Rows, group: str, count: int, terms: Terms, key: str, seed: int, best: SeveralOptimum
    ):
        self.rows, self.group, self.count = rows, group, count
        self._model = (terms, key, seed, best)
        self._chosen = repeated(seed, key, "groups")

    def draw(self, replicate: int) -> DataSet:
        """One replicate; from 0."""
        return SeveralBootstrap(self.resized(replicate), *self._model).draw(replicate)

    def resized(self, replicate: int) -> Rows:
        """The rows of a replicate's levels; their response is the data's."""
        data, groupings = self.rows, self.rows.terms.groupings
        own = next(grouping for grouping in groupings if grouping.group == self.group)
        codes, levels = data.factors[groupings.index(own)]
        copies, more = divmod(self.count, len(levels))
        chosen = np.tile(np.arange(len(levels)), copies)
        if more:
            drawn = self._chosen.at(replicate).permutation(len(levels))[:more]
            chosen = np.concatenate([chosen, np.sort(drawn)])
        order = np.argsort(codes, kind="stable")
        starts = np.searchsorted(codes[order], np.arange(len(levels) + 1))
        parts = [order[starts[level] : starts[level + 1]] for level in chosen]
        at, place = np.concatenate(parts), np.repeat(np.arange(len(chosen)), [len(part) for part in parts])
        factors = []
        for grouping, (given, names) in zip(groupings, data.factors, strict=True):
            if set(own.columns) <= set(grouping.columns):
                _, new = np.unique(place * len(names) + given[at], return_inverse=True)
                factors.append((new, np.arange(1, new.max() + 2).astype(str).astype(object)))
            else:
                factors.append((given[at], names))
        first, *others = factors
        return Rows(data.terms, data.y[at], data.W[at], *first, tuple(others))
