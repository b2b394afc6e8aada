"""Moments of one simulated data set after the other in one basis: `simulation.rows` and `moments` without tables.

Every stream is that of the full path, so replicate i is the same data set, to rounding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lmm.config.simulation import Poisson, Predictor, Simulation
from lmm.core.streams import repeated
from lmm.model.design import Design
from lmm.model.parts import Formula
from lmm.moments.accumulate import add_rows
from lmm.moments.basis import Basis
from lmm.moments.pilot import pilot
from lmm.simulation.moments import respond, roots
from lmm.simulation.rows import groups_drawn, predictor_drawn, random_root, unit
from lmm.simulation.truth import fixed, sds


class Drawn(NamedTuple):
    """A data set.

    Attributes
    ----------
    gram : (J, r, m + 2) array
        Products of the constant and the random effects' columns with all columns and y, by group.
    total : (m + 2, m + 2) array
        Over all rows, its upper triangle.
    n_rows : int
    """

    gram: np.ndarray
    total: np.ndarray
    n_rows: int


class Replicates:
    """Replicates of a simulated design; arrays that `draw` returns are valid until its next call.

    Parameters
    ----------
    formula : Formula
        The study's.
    design : Design
        Of the study's and its engines' formulas together.
    model : Design
        Of the study's formula.
    settings : Simulation
        Generator numpy.
    seed : int
    key : str
        The design's.
    from_moments : bool
        Draw the errors' products with the columns instead of errors.
    """

    def __init__(
        self,
        formula: Formula,
        design: Design,
        model: Design,
        settings: Simulation,
        seed: int,
        key: str,
        from_moments: bool,
    ):
        self.settings, self.design, self.from_moments = settings, design, from_moments
        self.terms, random = model.terms, model.terms.random
        self._predictors = [
            (name, settings.predictors.get(name, Predictor()), repeated(seed, key, "predictors", name))
            for name in formula.predictors
        ]
        self._groups = repeated(seed, key, "groups")
        self._effects = [repeated(seed, key, "ranef", name) for name in random]
        self._errors = repeated(seed, key, "moments" if from_moments else "errors")
        self.root = random_root(settings, model.terms)
        self.beta = np.array(list(fixed(settings, model.terms).values()))
        self._fixed_groups = not isinstance(settings.group_rows, Poisson) and settings.group_rows is not None
        self._codes: np.ndarray | None = None
        self.basis = self._basis()
        r, m1 = 1 + self.basis.n_random, len(self.basis.columns) + 1
        groups = settings.n_groups
        self._n = np.zeros(groups, dtype=np.int64)
        self._gram, self._total = np.zeros((groups, r, m1 + 1)), np.zeros((m1 + 1, m1 + 1))
        self._half, self._rest = np.zeros((groups, r, m1)), np.zeros((m1, m1))
        self._products, self._linear = np.zeros((groups, r)), np.zeros(m1)
        self._no_weights = np.zeros(0)
        self._raw = self.basis.raw(random)[:r].T.copy()
        columns = list(design.terms.columns)
        self._at = [columns.index(name) for name in random]
        self._at_fixed = [columns.index(name) for name in model.terms.fixed]

    def _basis(self) -> Basis:
        """Any basis gives the same fits: that of the first replicate's columns, y less the true fixed part."""
        codes, columns = self._rows(0)
        found = pilot(self.design.terms, np.zeros(len(codes)), columns)
        scale = np.sqrt(self.settings.sigma**2 + sum(sd**2 for sd in sds(self.settings, self.terms).values()))
        mean = found.raw(self.terms.fixed) @ self.beta
        return Basis(
            found.columns, found.n_random, found.center, found.scale, mean, 2.0 ** round(np.log2(scale))
        )

    def _rows(self, replicate: int) -> tuple[np.ndarray, np.ndarray]:
        """Group of each row, (N,), and the columns of the model matrices, (N, K)."""
        if self._codes is None or not self._fixed_groups:
            self._codes = groups_drawn(self.settings, self._groups.at(replicate))
        codes = self._codes
        drawn = {
            name: predictor_drawn(how, self.settings.n_groups, codes, stream.at(replicate))
            for name, how, stream in self._predictors
        }
        return codes, self.design.of_arrays(drawn, len(codes))

    def draw(self, replicate: int) -> Drawn:
        """One replicate; from 0."""
        codes, W = self._rows(replicate)
        effects = np.column_stack(
            [unit(self.settings.random_effects, stream.at(replicate), self.settings.n_groups)
             for stream in self._effects]
        ) @ self.root.T  # fmt: skip
        basis, n_rows = self.basis, len(codes)
        self._n[:], self._gram[:], self._total[:] = 0, 0.0, 0.0
        rng = self._errors.at(replicate)
        y = np.zeros(n_rows)
        if not self.from_moments:
            y = np.einsum("nk,nk->n", W[:, self._at], effects[codes])
            y += self.settings.sigma * unit(self.settings.errors, rng, n_rows)
        add_rows(codes, W, basis, y, self._n, self._gram, self._total)
        if self.from_moments:
            self._respond(rng, effects, n_rows)
        return Drawn(self._gram, self._total, n_rows)

    def _respond(self, rng: np.random.Generator, effects: np.ndarray, n_rows: int) -> None:
        """y's products, drawn; groups without rows have no part in them, as in the full path."""
        there = self._n > 0
        whole = bool(there.all())
        gram = self._gram if whole else self._gram[there]
        r, m1 = self._half.shape[1:]
        half = self._half[: len(gram)]
        free = n_rows - roots(gram, self._total, half, self._rest)
        normals, left = rng.standard_normal((len(gram), r)), rng.standard_normal(m1)
        chi2 = rng.chisquare(free) if free > 0 else 0.0
        v = (effects if whole else effects[there]) @ self._raw
        products = self._products[: len(gram)]
        square = respond(
            gram, half, self._rest, normals, left, chi2, v, float(self.settings.sigma), products, self._linear
        )
        scale = 1.0 / self.basis.y_scale
        self._gram[there, :, -1] = products * scale
        self._total[:-1, -1] = self._linear * scale
        self._total[-1, -1] = square * scale**2


class OwnReplicates:
    """Replicates of a user's own design, drawn as moments; see `Replicates`.

    Parameters
    ----------
    made : MomentsDesign
        From `simulation.moments.prepare`.
    fixed, random : tuples of str
        Columns of the simulated model.
    beta, root, sigma : (p,), (q, q) arrays, float
        What is simulated from.
    seed, key : int, str
        Of the study and its design.
    """

    def __init__(self, made, fixed: Sequence[str], beta, random: Sequence[str], root, sigma, seed, key):
        old = made.moments
        self.made, self.root, self.beta, self.sigma = made, root, beta, float(sigma)
        self.n_rows = old.n_rows
        groups, r, m1 = made.half.shape
        mean = old.basis.raw(tuple(fixed)) @ np.asarray(beta, dtype=float)
        scale = np.sqrt(sigma**2 + np.trace(root @ root.T))
        basis = old.basis
        self.basis = Basis(
            basis.columns, basis.n_random, basis.center, basis.scale, mean, 2.0 ** round(np.log2(scale))
        )
        self._raw = basis.raw(tuple(random))[:r].T
        self._ranef, self._moments = repeated(seed, key, "ranef"), repeated(seed, key, "moments")
        self._gram = np.concatenate([made.b, np.zeros((groups, r, 1))], axis=2)
        self._total = np.zeros((m1 + 1, m1 + 1))
        self._total[:m1, :m1] = old.total[:m1, :m1]
        self._products, self._linear = np.zeros((groups, r)), np.zeros(m1)

    def draw(self, replicate: int) -> Drawn:
        """One replicate; from 0."""
        made, (groups, r, m1) = self.made, self.made.half.shape
        effects = self._ranef.at(replicate).standard_normal((groups, len(self.root))) @ self.root.T
        rng = self._moments.at(replicate)
        normals, left = rng.standard_normal((groups, r)), rng.standard_normal(m1)
        chi2 = rng.chisquare(made.free) if made.free > 0 else 0.0
        square = respond(
            made.b, made.half, made.rest, normals, left, chi2, effects @ self._raw, self.sigma,
            self._products, self._linear,
        )  # fmt: skip
        scale = 1.0 / self.basis.y_scale
        self._gram[:, :, -1] = self._products * scale
        self._total[:-1, -1] = self._linear * scale
        self._total[-1, -1] = square * scale**2
        return Drawn(self._gram, self._total, self.n_rows)
