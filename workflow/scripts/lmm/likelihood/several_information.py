"""V^-1 at one Lambda, as products with Z and X: average information, and what tests of fixed effects need.

Everything is relative to sigma^2 and in the kernel's coordinates: V = I + sum_k Z_k (I x D_k) Z_k', D_k = lambda_k
lambda_k'. Per factor, in the formula's order, F_k = Z_k'V^-1 X and e_k = Z_k'P y stand level by level, and
`bilinear` gives h'Z'V^-1 Z h without forming Z'V^-1 Z (docs/statistics.md, sections 10 and 11).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmm.likelihood.leading import cells_times, transposed_times
from lmm.likelihood.remainder import Terms, scaled_rows
from lmm.likelihood.several_problem import SeveralProblem

# D is raised by LIFT^2 I where a root of it is wanted that can be inverted; derivatives in D change by as little.
LIFT = 1e-6


@dataclass(frozen=True)
class Information:
    """The terms at one Lambda with their derivatives.

    Attributes
    ----------
    problem : SeveralProblem
    factors : tuple of (q_k, q_k) arrays
        lambda_k of each factor.
    terms : Terms
        With derivatives.
    reml : bool
    """

    problem: SeveralProblem
    factors: tuple[np.ndarray, ...]
    terms: Terms
    reml: bool

    @classmethod
    def at(cls, problem: SeveralProblem, factors: Sequence[np.ndarray], reml: bool = True) -> "Information":
        """Evaluate the terms.

        Parameters
        ----------
        problem : SeveralProblem
            The model over moments, in the kernels' coordinates.
        factors : sequence of (q_k, q_k) arrays
            lambda_k of each factor, in the formula's order.
        reml : bool
            Whether beta is integrated out; else it is profiled out (ML).

        Returns
        -------
        Information
        """
        terms = problem.terms(problem.packed(factors), reml, True)
        return cls(problem, tuple(factors), terms, reml)

    @property
    def finite(self) -> bool:
        """Whether X'V^-1 X is positive definite, numerically."""
        return bool(np.isfinite(self.terms.logdet))

    def errors(self, k: int) -> np.ndarray:
        """e_k = Z_k'P y of factor k, (J_k, q_k)."""
        return self.terms.e0 if k == self.problem.order[0] else self.terms.e[self.problem.places[k]]

    def fixed(self, k: int) -> np.ndarray:
        """F_k = Z_k'V^-1 X of factor k, (J_k, q_k, p)."""
        return self.terms.fixed0 if k == self.problem.order[0] else self.terms.fixed[self.problem.places[k]]

    def slope(self, k: int) -> np.ndarray:
        """T_k lambda_k, (q_k, q_k): half the derivative of logdet in lambda_k."""
        at, q = self.problem.order.index(k), len(self.factors[k])
        found = self.terms.slopes[at, :q, :q]
        return found @ self.factors[k] if at == 0 else found

    def trace(self, k: int) -> np.ndarray:
        """T_k, (q_k, q_k): derivative of logdet in D_k; lambda_k of a factor that does not lead must be invertible.

        For REML the sum over levels of the diagonal blocks of Z_k'P Z_k, for ML of Z_k'V^-1 Z_k. Use `lifted` where
        lambda_k may be singular.
        """
        at, q = self.problem.order.index(k), len(self.factors[k])
        found = self.terms.slopes[at, :q, :q]
        if at == 0:
            return found
        out = np.linalg.solve(self.factors[k].T, found.T).T
        return 0.5 * (out + out.T)

    def bilinear(self, vectors: Sequence[np.ndarray]) -> np.ndarray:
        """h'Z'V^-1 Z h for columns h that belong to one factor each.

        Parameters
        ----------
        vectors : sequence of (J_k, q_k, m_k) arrays
            The columns of each factor; m_k may be 0.

        Returns
        -------
        (m, m) array, m = sum of m_k
            Columns factor after factor in the formula's order.
        """
        problem, terms = self.problem, self.terms
        first, R = problem.order[0], len(terms.e)
        counts = [values.shape[2] for values in vectors]
        ends = np.cumsum([0, *counts])
        lead = np.ascontiguousarray(vectors[first])
        own = slice(ends[first], ends[first + 1])
        rest = np.zeros((R, ends[-1]))
        for k, values in enumerate(vectors):
            if k != first:
                rest[problem.places[k], ends[k] : ends[k + 1]] = values
        S_rest = problem.product(terms, rest)
        out = rest.T @ S_rest
        levels, q = lead.shape[:2]
        flat = lead.reshape(levels * q, -1)
        out[own, own] += flat.T @ (terms.kept @ lead).reshape(levels * q, -1)
        across = flat.T @ cells_times(problem.lead, terms.F, rest).reshape(levels * q, -1)
        out[own] += across
        out[:, own] += across.T
        lams = problem.packed(self.factors)
        scaled = scaled_rows(problem.layout, lams, S_rest)
        scaled[:, own] += transposed_times(problem.lead, terms.FL, lead, R)
        out -= scaled.T @ problem.solve(terms, scaled)
        return out

    def average(self) -> "Average":
        """Average information in the elements of D_k / sigma^2 and log sigma^2, at y'P y / sigma^2 = df.

        Half the sum of the observed and the expected information of -2 log L in variance parameters is y'P V_i P V_j
        P y (Gilmour, Thompson & Cullis 1995, Biometrics 51); V is linear in them. The parameters are the elements
        (a, b) of the lower triangle of each block of each D_k.
        """
        problem, terms = self.problem, self.terms
        vectors, q = [], []
        for k, structure in enumerate(problem.structures):
            e = self.errors(k)
            h = np.zeros((*e.shape, len(structure.rows)))
            for at, (a, b) in enumerate(zip(structure.rows, structure.cols, strict=True)):
                h[:, a, at] += e[:, b]
                if a != b:
                    h[:, b, at] += e[:, a]
            vectors.append(h)
            q.append(np.einsum("ja,jat->t", e, h))
        both = self.bilinear(vectors)
        fixed = np.hstack([np.einsum("jap,jat->pt", self.fixed(k), vectors[k]) for k in range(len(vectors))])
        both -= fixed.T @ terms.phi @ fixed
        return Average(both, np.concatenate(q), float(terms.rss))


@dataclass(frozen=True)
class Average:
    """Average information, relative to sigma^2.

    Attributes
    ----------
    matrix : (m, m) array
        y'P V_i P V_j P y for the elements of all D_k / sigma^2, V_i the derivative of V / sigma^2.
    linear : (m,) array
        y'P V_i P y.
    rss : float
        y'P y.
    """

    matrix: np.ndarray
    linear: np.ndarray
    rss: float

    def whole(self, s2: float) -> np.ndarray:
        """With log sigma^2 as the last parameter, (m + 1, m + 1), at sigma^2 = s2."""
        out = np.empty((len(self.linear) + 1,) * 2)
        out[:-1, :-1], out[-1, -1] = self.matrix, self.rss
        out[-1, :-1] = out[:-1, -1] = self.linear
        return out / s2

    def profiled(self, s2: float) -> np.ndarray:
        """With sigma^2 profiled out, (m, m)."""
        return (self.matrix - np.outer(self.linear, self.linear) / self.rss) / s2


def lifted(factors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Invertible roots of D_k + LIFT^2 I, to evaluate derivatives in D_k where some D_k is singular.

    Parameters
    ----------
    factors : sequence of (q_k, q_k) arrays
        lambda_k of each factor.

    Returns
    -------
    list of (q_k, q_k) arrays
    """
    return [np.linalg.cholesky(factor @ factor.T + LIFT**2 * np.eye(len(factor))) for factor in factors]
