"""Estimates of fixed effects: standard errors, degrees of freedom and F tests of their combinations.

From the small matrices that the fit left behind (docs/statistics.md, section 11): nothing here needs the data or
the likelihood, so that a report can read them without either.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

# A contrast matrix's directions with less than this share of the largest variance are redundant (lmerTest's).
REDUNDANT = 1.5e-8


class Test(NamedTuple):
    """An F test: numerator and denominator degrees of freedom, F (scaled for Kenward-Roger)."""

    num_df: int
    den_df: float
    statistic: float


@dataclass(frozen=True)
class FixedEffects:
    """Estimates of fixed effects with all that tests and intervals of their contrasts need.

    Attributes
    ----------
    method : str
        One of `METHODS`, or "residual": the same df for all.
    beta : (p,) array
    covariance : (p, p) array
        Of beta, without adjustment; in original units.
    adjusted : (p, p) array
        Kenward-Roger's covariance of beta; `covariance` for other methods.
    slopes : (n, p, p) array
        Derivatives of beta's covariance matrix in the variance parameters; empty for `normal`.
    spread : (n, n) array
        Covariance of the estimated variance parameters.
    residual : float
        Degrees of freedom of "residual".
    """

    method: str
    beta: np.ndarray
    covariance: np.ndarray
    adjusted: np.ndarray
    slopes: np.ndarray
    spread: np.ndarray
    residual: float = np.inf

    @classmethod
    def with_df(cls, beta: np.ndarray, covariance: np.ndarray, df: float) -> "FixedEffects":
        """Estimates whose every statistic has the same degrees of freedom (inf: normal).

        Parameters
        ----------
        beta : (p,) array
            Estimates, original units.
        covariance : (p, p) array
            Their covariance matrix.
        df : float
            Of every statistic; inf: normal.

        Returns
        -------
        FixedEffects
        """
        method, p = "normal" if np.isinf(df) else "residual", len(beta)
        nothing = np.zeros((0, p, p)), np.zeros((0, 0))
        return cls(method, np.asarray(beta), covariance, covariance, *nothing, residual=df)

    def plain(self) -> dict[str, Any]:
        """Plain values, for `from_plain`."""
        return asdict(self)

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> "FixedEffects":
        """What `plain` described and JSON kept, to the bit."""
        p = len(value["beta"])
        shapes = {"beta": (p,), "covariance": (p, p), "adjusted": (p, p), "slopes": (-1, p, p)}
        arrays = {name: np.array(value[name], dtype=float).reshape(shape) for name, shape in shapes.items()}
        n = len(arrays["slopes"])
        spread = np.array(value["spread"], dtype=float).reshape(n, n)
        residual = np.inf if value["residual"] is None else value["residual"]
        return cls(value["method"], **arrays, spread=spread, residual=residual)

    def std_error(self, contrasts: np.ndarray) -> np.ndarray:
        """Standard errors of the rows' combinations of beta, (k,).

        Parameters
        ----------
        contrasts : (k, p) array
            Rows are combinations of beta.

        Returns
        -------
        (k,) array
        """
        return np.sqrt(np.einsum("ka,ab,kb->k", contrasts, self.adjusted, contrasts))

    def df(self, contrasts: np.ndarray) -> np.ndarray:
        """Degrees of freedom of each row's t statistic, (k,); inf for normal.

        Parameters
        ----------
        contrasts : (k, p) or (p,) array
            Rows are combinations of beta.

        Returns
        -------
        (k,) array
        """
        contrasts = np.atleast_2d(contrasts)
        if self.method in ("normal", "residual"):
            return np.full(len(contrasts), self.residual)
        if self.method == "kenward-roger":
            return np.array([self._kenward_roger(row[None, :])[0] for row in contrasts])
        variance = np.einsum("ka,ab,kb->k", contrasts, self.covariance, contrasts)
        gradient = np.einsum("ka,nab,kb->kn", contrasts, self.slopes, contrasts)
        with np.errstate(divide="ignore"):  # a variance that depends on no parameter has infinitely many
            return 2.0 * variance**2 / np.einsum("kn,nm,km->k", gradient, self.spread, gradient)

    def test(self, contrasts: np.ndarray) -> Test:
        """F test of all rows' combinations being 0; chi-square / rank with infinite df for `normal`.

        Parameters
        ----------
        contrasts : (k, p) array
            Rows are combinations of beta; may be redundant.

        Returns
        -------
        Test
        """
        values, vectors = np.linalg.eigh(contrasts @ self.covariance @ contrasts.T)
        kept = values > max(REDUNDANT * values.max(), 0.0)
        rows = vectors[:, kept].T @ contrasts
        count = int(kept.sum())
        effect = rows @ self.beta
        if self.method == "kenward-roger":
            den_df, scale = self._kenward_roger(rows)
            square = effect @ np.linalg.solve(rows @ self.adjusted @ rows.T, effect)
            return Test(count, den_df, float(scale * square / count))
        statistic = float(np.sum(effect**2 / values[kept]) / count)
        own = self.df(rows)
        return Test(count, _pooled(own), statistic)

    def _kenward_roger(self, rows: np.ndarray) -> tuple[float, float]:
        """Denominator df and the scale of F for independent rows (Kenward & Roger 1997, section 3)."""
        count = len(rows)
        half = np.linalg.solve(np.linalg.cholesky(rows @ self.covariance @ rows.T), rows)
        u = np.einsum(
            "ka,nab,lb->nkl", half, self.slopes, half
        )  # similar to Theta Phi P_i Phi, up to its sign
        own = np.einsum("nkk->n", u)
        a1 = own @ self.spread @ own
        a2 = np.einsum("nm,nkl,mlk->", self.spread, u, u)
        if a2 == 0.0:
            return np.inf, 1.0
        b = (a1 + 6.0 * a2) / (2.0 * count)
        g = ((count + 1.0) * a1 - (count + 4.0) * a2) / ((count + 2.0) * a2)
        below = 3.0 * count + 2.0 * (1.0 - g)
        v0 = 1.0 + g / below * b
        v1 = 1.0 - (count - g) / below * b
        v2 = 1.0 - (count + 2.0 - g) / below * b
        v0 = 0.0 if abs(v0) < 1e-10 else v0
        shrink = 1.0 - a2 / count
        ratio = 1.0 if abs(shrink) < 1e-14 and abs(v1) < 1e-14 else shrink / v1
        rho = ratio**2 * v0 / v2 / count
        df = 4.0 + (count + 2.0) / (count * rho - 1.0)
        return float(df), 1.0 if abs(df - 2.0) < 1e-2 else float(df * shrink / (df - 2.0))


def _pooled(own: np.ndarray) -> float:
    """Denominator df of a sum of squared t statistics with `own` df each, so that its mean is that of F."""
    if len(own) == 1 or np.all(np.isinf(own)) or np.all(np.abs(np.diff(own)) < 1e-8):
        return float(own.mean())
    if np.any(own <= 2.0):
        return 2.0
    expected = np.sum(1.0 / (1.0 - 2.0 / own))  # of nu / (nu - 2), finite at infinite nu
    return float(2.0 * expected / (expected - len(own)))
