"""Replicates of a user's own rows with several grouping factors: new responses in memory.

Moments of several factors could be drawn only through a root of the cross-products of all levels; the rows that a
study has copied are cheaper.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from lmm.core.streams import seed_sequence, stream
from lmm.core.tidy import corr_key, read_draws
from lmm.data.levels import suffix
from lmm.data.rows import Rows
from lmm.inference.several_optimum import SeveralOptimum
from lmm.inference.spreads import spreads_of
from lmm.model.terms import Terms
from lmm.moments import pilot
from lmm.moments.basis import Basis
from lmm.moments.several import SeveralMoments
from lmm.moments.several_accumulate import compute_several
from lmm.recovery.data_set import DataSet
from lmm.simulation.resized import Levels
from lmm.simulation.truth import by_group, realised


def data_set(rows: Rows, truth: dict[str, Any], basis: Basis | None = None) -> DataSet:
    """A replicate of rows in memory.

    Parameters
    ----------
    rows : Rows
        With the columns of all formulas.
    truth : dict
        As truth.json.
    basis : Basis, optional
        Of the moments; their own where there is none.

    Returns
    -------
    DataSet
    """
    codes, levels = ([own[at] for own in rows.factors] for at in (0, 1))
    basis = basis or pilot.of_rows(rows.terms, rows.y, rows.W)
    moments = compute_several(rows.terms, rows.y, rows.W, codes, levels, basis)
    return DataSet(moments, rows, truth, moments, moments, rows)


class Estimates(NamedTuple):
    """Values that replicates are simulated from: one set of them, or draws of the posterior.

    Attributes
    ----------
    beta : (S, p) array
    roots : list of (S, q_k, q_k) arrays
        L_k with D_k = L_k L_k' of each factor, in the order of the terms.
    sigma : (S,) array
    """

    beta: np.ndarray
    roots: list[np.ndarray]
    sigma: np.ndarray

    @classmethod
    def of(cls, best: SeveralOptimum) -> "Estimates":
        """REML's."""
        return cls(best.beta[None], [root[None] for root in best.roots], np.array([best.sigma]))

    @classmethod
    def of_posterior(cls, path: str, terms: Terms) -> "Estimates":
        """All draws of a posterior.nc of the model."""
        draws = {name: values.ravel() for name, values in read_draws(path).items()}
        spreads = spreads_of(draws, terms)
        return cls(np.column_stack([draws[term] for term in terms.fixed]), spreads.roots, spreads.sigmas)


class SeveralBootstrap:
    """Replicates of a user's own design matrix.

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
    estimates : Estimates
        What is simulated from; of several draws each replicate takes one at random.
    augment : bool
        Posterior calibration (arXiv 2502.03279): engines fit the user's rows and the replicate together, all of the
        replicate's levels being new ones.
    """

    def __init__(
        self, rows: Rows, terms: Terms, key: str, seed: int, estimates: Estimates, augment: bool = False
    ):
        self.rows, self.terms, self.key, self.seed = rows, terms, key, seed
        self.estimates, self.augment = estimates, augment

    @cached_property
    def observed(self) -> SeveralMoments:
        """Moments of the user's rows."""
        return data_set(self.rows, {}).moments

    def draw(self, replicate: int) -> DataSet:
        """One replicate; from 0."""
        y, truth = self.drawn(replicate)
        rows = self.rows
        if not self.augment:
            return data_set(Rows(rows.terms, y, rows.W, rows.codes, rows.levels, rows.others), truth)
        basis = self.observed.basis
        factors = [(codes, renamed(levels)) for codes, levels in rows.factors]
        first, *others = factors
        own = Rows(rows.terms, y, rows.W, *first, tuple(others))
        first, *others = (
            (np.concatenate([codes, codes + len(levels)]), np.concatenate([levels, new]))
            for (codes, levels), (_, new) in zip(rows.factors, factors, strict=True)
        )
        every = Rows(rows.terms, np.append(rows.y, y), np.vstack([rows.W, rows.W]), *first, tuple(others))
        whole, alone = data_set(every, truth, basis), data_set(own, truth, basis)
        return replace(whole, own=alone.moments, own_rows=own, prior_moments=self.observed)

    def drawn(self, replicate: int) -> tuple[np.ndarray, dict[str, Any]]:
        """The response of a replicate, (N,), and the truth with what was realised of it."""
        sequence = seed_sequence(self.seed, self.key, replicate)
        at = 0
        if len(self.estimates.sigma) > 1:
            at = int(stream(sequence, "parameters").integers(len(self.estimates.sigma)))
        beta, sigma = self.estimates.beta[at], float(self.estimates.sigma[at])
        errors = sigma * stream(sequence, "errors").standard_normal(len(self.rows.y))
        y = self.rows.columns(self.terms.fixed) @ beta + errors
        parts, realised_of = {}, {}
        groups = [grouping.group for grouping in self.rows.terms.groupings]
        for grouping, roots in zip(self.terms.groupings, self.estimates.roots, strict=True):
            codes, levels = self.rows.factors[groups.index(grouping.group)]
            rng, root = stream(sequence, "ranef", f"{grouping.group}|"), roots[at]
            effects = rng.standard_normal((len(levels), len(root))) @ root.T
            y += np.einsum("na,na->n", self.rows.columns(grouping.random), effects[codes])
            own, names = self.terms.of(grouping), renamed(levels) if self.augment else levels
            parts[grouping.group] = truth_of_draw(own, beta, root, sigma, effects, names)
            realised_of[grouping.group] = realised(own, effects, errors)
        return y, by_group(parts) | {"realised": by_group(realised_of)}

    def columns(self) -> dict[str, Any]:
        """The scalars of the design, for the columns of replicates.parquet."""
        out: dict[str, Any] = {
            f"groups__{grouping.group}": len(levels)
            for grouping, (_, levels) in zip(self.rows.terms.groupings, self.rows.factors, strict=True)
        }
        return out | {"rows": len(self.rows.y)}


def renamed(levels: np.ndarray) -> np.ndarray:
    """Levels of a replicate beside those of the user's rows."""
    behind = suffix(levels)
    return np.array([f"{level}{behind}" for level in levels], dtype=object)


def truth_of_draw(
    terms: Terms, beta: np.ndarray, root: np.ndarray, sigma: float, effects: np.ndarray, levels: np.ndarray
) -> dict[str, Any]:
    """The truth of one grouping factor.

    Parameters
    ----------
    terms : Terms
        With this factor alone.
    beta, root, sigma : (p,) array, (q, q) array, float
        What was simulated from.
    effects, levels : (J, q), (J,) arrays
        The random effects that were drawn, and the names of the levels.
    """
    sd = np.sqrt((root**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        corr = root @ root.T / np.outer(sd, sd)
    names = list(terms.random)
    return {
        "fixed": dict(zip(terms.fixed, beta.tolist(), strict=True)),
        "sd": dict(zip(names, sd.tolist(), strict=True)),
        "corr": {
            corr_key(a, b): float(corr[names.index(a), names.index(b)])
            for block in terms.blocks
            for i, a in enumerate(block)
            for b in block[i + 1 :]
        },
        "sigma": sigma,
        "ranef": {
            name: dict(zip(levels.astype(str), effects[:, k].tolist(), strict=True))
            for k, name in enumerate(names)
        },
    }


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
    terms, key, seed, estimates : as for `SeveralBootstrap`
    """

    def __init__(
        self, rows: Rows, group: str, count: int, terms: Terms, key: str, seed: int, estimates: Estimates
    ):
        self.rows = rows
        self._model = (terms, key, seed, estimates)
        groupings = rows.terms.groupings
        self._at = next(k for k, grouping in enumerate(groupings) if grouping.group == group)
        self._levels = Levels(len(rows.factors[self._at][1]), count, seed, key)

    def draw(self, replicate: int) -> DataSet:
        """One replicate; from 0."""
        return SeveralBootstrap(self.resized(replicate), *self._model).draw(replicate)

    def resized(self, replicate: int) -> Rows:
        """The rows of a replicate's levels; their response is the data's."""
        data, groupings = self.rows, self.rows.terms.groupings
        own, (codes, levels) = groupings[self._at], data.factors[self._at]
        chosen = self._levels.at(replicate)
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
