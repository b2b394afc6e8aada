"""A model as statsmodels' MixedLM takes it: its groups, their random effects, and variance components within them.

Of several grouping factors one may contain all others (schools and their classes): its levels are MixedLM's groups,
with correlated random effects, and the others are variance components within them. Factors that cross are variance
components of one group of all rows. Variance components are independent, and their matrices are dense.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import block_diag
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams, VCSpec

from lmm.core.columns import Effects, predicted
from lmm.core.columns import Factor as Table
from lmm.core.tidy import RESIDUAL, Fit, group_of
from lmm.inference.variance_explained import covariance_of
from lmm.model.terms import Grouping, Terms

# Variances below 1e-10 sigma^2 are where statsmodels goes wrong (issue #10239): a start is kept above.
FLOOR = 1.21e-10


@dataclass(frozen=True)
class Start:
    """Where MixedLM starts: beta (p,), each factor's D (q, q) in the data's units, sigma."""

    beta: np.ndarray
    covariances: Sequence[np.ndarray]
    sigma: float

    @classmethod
    def of(cls, fit: Fit, terms: Terms) -> "Start":
        """The estimates of another engine's fit.

        Parameters
        ----------
        fit : Fit
            Another engine's.
        terms : Terms
            Of the model.

        Returns
        -------
        Start
        """
        values, covariances = fit.parameters.set_index("group"), []
        for own in terms.groupings:
            mine = values.loc[[own.group]]
            covariances.append(
                covariance_of(dict(zip(mine["term"], mine["estimate"], strict=True)), own.random)
            )
        sigma = values.loc[group_of(RESIDUAL, ""), "estimate"]
        return cls(np.array([fit.fixed[term] for term in terms.fixed]), covariances, float(sigma))


@dataclass(frozen=True)
class Factor:
    """A grouping factor with its columns of Z.

    Attributes
    ----------
    grouping : Grouping
    codes : (N,) int array
        Each row's level, an index into `levels`.
    levels : (J,) array of str
    Z : (N, q) array
        Divided by `unit`.
    unit : (q,) array
    """

    grouping: Grouping
    codes: np.ndarray
    levels: np.ndarray
    Z: np.ndarray
    unit: np.ndarray

    @property
    def group(self) -> str:
        """The factor's name."""
        return self.grouping.group

    @property
    def random(self) -> tuple[str, ...]:
        """Names of Z's columns."""
        return self.grouping.random

    def within(self, other: "Factor") -> bool:
        """Whether every level lies within one level of another factor."""
        pairs = np.unique(np.column_stack([self.codes, other.codes]), axis=0)
        return len(pairs) == len(self.levels)

    def mask(self) -> np.ndarray:
        """1 where D may differ from 0, (q, q)."""
        block = np.repeat(np.arange(len(self.grouping.blocks)), [len(b) for b in self.grouping.blocks])
        return (block[:, None] == block).astype(float)


@dataclass(frozen=True)
class Block:
    """The rows of one of MixedLM's groups.

    Attributes
    ----------
    rows : (n,) int array
    levels : list of (m_k,) int arrays
        Of each factor, those that occur here.
    matrices : list of (q_k, n, m_k) arrays
        Of each factor, a column for each random effect of a level.
    """

    rows: np.ndarray
    levels: list[np.ndarray]
    matrices: list[np.ndarray]

    def joined(self) -> np.ndarray:
        """All columns, (n, sum of q_k m_k): factor after factor, effect after effect, level after level."""
        return np.concatenate([column for own in self.matrices for column in own], axis=1)


@dataclass(frozen=True)
class Given:
    """What the data say of beta and the random effects where all D_k and sigma are known.

    Attributes
    ----------
    mean, cond_variance, variance : lists of (J_k, q_k) arrays
        Of each factor in units of `Factor.Z`: BLUPs, lme4's condVar, and the variance of the prediction error.
    beta, beta_se : (p,) arrays
        GLS estimate and its standard errors, in units of `Layout.X`.
    """

    mean: list[np.ndarray]
    cond_variance: list[np.ndarray]
    variance: list[np.ndarray]
    beta: np.ndarray
    beta_se: np.ndarray


@dataclass(frozen=True)
class Layout:
    """X and Z in units near 1: statsmodels' tolerances are absolute, its likelihood has no unit.

    The units are powers of 2, so that nothing is rounded on the way there and back.

    Attributes
    ----------
    fixed : tuple of str
    X : (N, p) array
        Divided by `unit_x`.
    unit_x : (p,) array
    factors : list of Factor
        In the formula's order.
    outer : int or None
        The factor whose levels are MixedLM's groups; None where factors cross.
    """

    fixed: tuple[str, ...]
    X: np.ndarray
    unit_x: np.ndarray
    factors: list[Factor]
    outer: int | None

    @classmethod
    def of(cls, terms: Terms, W: np.ndarray, coded: Sequence[tuple[np.ndarray, Any]]) -> "Layout":
        """From the distinct columns W and each factor's codes and levels.

        Parameters
        ----------
        terms : Terms
            Names of the columns, and the grouping factors.
        W : (N, K) array
            Columns `terms.columns`.
        coded : sequence of ((N,) int array, (J,) array of str)
            Codes and levels of each factor.

        Returns
        -------
        Layout
        """
        columns = list(terms.columns)
        length = np.sqrt(np.mean(W**2, axis=0))
        unit = 2.0 ** np.round(np.log2(np.where(length > 0, length, 1.0)))
        x, *z = (
            [columns.index(name) for name in names]
            for names in (terms.fixed, *(own.random for own in terms.groupings))
        )
        factors = [
            Factor(own, codes, np.asarray(levels).astype(str), W[:, at] / unit[at], unit[at])
            for own, (codes, levels), at in zip(terms.groupings, coded, z, strict=True)
        ]
        around = (k for k, one in enumerate(factors) if all(o is one or o.within(one) for o in factors))
        return cls(terms.fixed, W[:, x] / unit[x], unit[x], factors, next(around, None))

    @property
    def codes(self) -> np.ndarray:
        """Each row's group of MixedLM, (N,)."""
        if self.outer is None:
            return np.zeros(len(self.X), dtype=int)
        return self.factors[self.outer].codes

    @property
    def sizes(self) -> np.ndarray:
        """Number of rows of each of MixedLM's groups."""
        return np.bincount(self.codes)

    def lacking(self) -> str:
        """The reason, in a line, why statsmodels has not all of the model; '' if it has."""
        for k, factor in enumerate(self.factors):
            for block in factor.grouping.blocks:
                if k != self.outer and len(block) > 1:
                    return (
                        f"statsmodels' MixedLM has correlated random effects ({', '.join(block)} of {factor.group}) "
                        "only of a factor that contains all others"
                    )
        return ""

    def blocks(self) -> list[Block]:
        """The rows of each of MixedLM's groups, in the order of its codes."""
        order = np.argsort(self.codes, kind="stable")
        found = []
        for rows in np.split(order, np.cumsum(self.sizes)[:-1]):
            levels, matrices = [], []
            for factor in self.factors:
                here, at = np.unique(factor.codes[rows], return_inverse=True)
                levels.append(here)
                matrices.append(factor.Z[rows].T[:, :, None] * (at[:, None] == np.arange(len(here))))
            found.append(Block(rows, levels, matrices))
        return found

    def model(self, y: np.ndarray, blocks: Sequence[Block]) -> MixedLM:
        """statsmodels' model.

        Parameters
        ----------
        y : (N,) array
            Response.
        blocks : sequence of Block
            From `blocks`.

        Returns
        -------
        MixedLM
        """
        parts = [
            (k, a) for k, own in enumerate(self.factors) if k != self.outer for a in range(len(own.random))
        ]
        names = [f"{self.factors[k].group}: {self.factors[k].random[a]}" for k, a in parts]
        labels = [[self.factors[k].levels[block.levels[k]].tolist() for block in blocks] for k, _ in parts]
        matrices = [[block.matrices[k][a] for block in blocks] for k, a in parts]
        components = VCSpec(names, labels, matrices) if parts else None
        Z = None if self.outer is None else self.factors[self.outer].Z
        return MixedLM(y, self.X, self.codes, exog_re=Z, exog_vc=components)

    def params(self, beta: np.ndarray, relative: Sequence[np.ndarray]) -> MixedLMParams:
        """statsmodels' form of a model's parameters, or of which of them are free.

        Parameters
        ----------
        beta : (p,) array
            Fixed effects.
        relative : sequence of (q_k, q_k) arrays
            D_k / sigma^2 of each factor.

        Returns
        -------
        MixedLMParams
        """
        inner = [np.diag(own) for k, own in enumerate(relative) if k != self.outer]
        return MixedLMParams.from_components(
            fe_params=beta,
            cov_re=None if self.outer is None else relative[self.outer],
            vcomp=np.concatenate(inner) if inner else None,
        )

    def start(self, start: Start | None) -> MixedLMParams | None:
        """statsmodels' form of a start, kept off the boundary, where its likelihood is not defined."""
        if start is None:
            return None
        relative = []
        for factor, D in zip(self.factors, start.covariances, strict=True):
            values, vectors = np.linalg.eigh(D * np.outer(factor.unit, factor.unit) / start.sigma**2)
            relative.append((vectors * np.maximum(values, FLOOR)) @ vectors.T * factor.mask())
        return self.params(start.beta * self.unit_x, relative)

    def free(self) -> MixedLMParams | None:
        """Which elements of the D_k are estimated: None for all that MixedLM has."""
        if self.outer is None or self.factors[self.outer].mask().all():
            return None
        return self.params(np.ones(len(self.fixed)), [factor.mask() for factor in self.factors])

    def covariances(self, result: Any) -> list[np.ndarray]:
        """Each factor's D of a result of statsmodels, (q_k, q_k), in units of `Factor.Z`."""
        left, found = np.asarray(result.vcomp), []
        for k, factor in enumerate(self.factors):
            if k == self.outer:
                found.append(np.asarray(result.cov_re))
            else:
                own, left = np.split(left, [len(factor.random)])
                found.append(np.diag(own))
        return found

    def given(
        self,
        y: np.ndarray,
        blocks: Sequence[Block],
        covariances: Sequence[np.ndarray],
        sigma: float,
        beta: np.ndarray,
    ) -> Given:
        """Conditional distributions of the random effects at beta, and GLS beside it, from the rows.

        `lmm.likelihood.conditional` does the same from moments; an engine that reads rows shares nothing with it, so
        that each checks the other. See docs/statistics.md, section 2.

        Parameters
        ----------
        y : (N,) array
            Response.
        blocks : sequence of Block
            From `blocks`.
        covariances : sequence of (q_k, q_k) arrays
            D_k in units of `Factor.Z`; may be singular.
        sigma : float
            Residual sd, units of y.
        beta : (p,) array
            BLUPs are taken at this value, whether it is the GLS estimate or not.

        Returns
        -------
        Given
        """
        s2, left = sigma**2, y - self.X @ beta
        precision, score, parts = self.X.T @ self.X / s2, self.X.T @ left / s2, []
        roots = []
        for D in covariances:
            values, vectors = np.linalg.eigh(D)
            roots.append(vectors * np.sqrt(np.maximum(values, 0.0)))
        for block in blocks:
            A, X = block.joined(), self.X[block.rows]
            own = [np.kron(root, np.eye(len(here))) for root, here in zip(roots, block.levels, strict=True)]
            L = own[0] if len(own) == 1 else block_diag(*own)
            S = A @ L
            V = L @ np.linalg.solve(np.eye(len(L)) + S.T @ S / s2, L.T)
            B = A.T @ X
            K, mean = V @ B / s2, V @ (A.T @ left[block.rows]) / s2
            precision -= B.T @ K / s2
            score -= K.T @ (A.T @ left[block.rows]) / s2
            parts.append((mean, np.diag(V), K))
        cov_beta = np.linalg.inv(precision)
        shapes = [(len(factor.levels), len(factor.random)) for factor in self.factors]
        out = [[np.zeros(shape) for shape in shapes] for _ in range(3)]
        for block, (mean, given, K) in zip(blocks, parts, strict=True):
            whole = given + np.sum((K @ cov_beta) * K, axis=1)
            ends = np.cumsum([own.shape[0] * own.shape[2] for own in block.matrices])[:-1]
            for values, found in zip((mean, given, whole), out, strict=True):
                for k, own in enumerate(np.split(values, ends)):
                    found[k][block.levels[k]] = own.reshape(-1, len(block.levels[k])).T
        means, givens, wholes = out
        return Given(means, givens, wholes, beta + cov_beta @ score, np.sqrt(np.diag(cov_beta)))

    def ranef_table(self, given: Given, z: float, truth: dict[str, Any] | None) -> Effects:
        """The tidy random effects, factor by factor and level by level.

        Parameters
        ----------
        given : Given
            From `given`.
        z : float
            Half-width of the interval, in prediction errors.
        truth : dict or None
            truth.json's content.

        Returns
        -------
        Effects
        """
        tables = []
        for k, factor in enumerate(self.factors):
            columns = predicted(
                given.mean[k] / factor.unit,
                np.sqrt(given.variance[k]) / factor.unit,
                np.sqrt(given.cond_variance[k]) / factor.unit,
                z,
            )
            tables.append(Table(factor.group, factor.levels, factor.random, truth, columns))
        return Effects(tables)
