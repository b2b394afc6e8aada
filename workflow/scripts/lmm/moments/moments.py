"""Moments: the exact sufficient statistics of a linear mixed model with one grouping factor.

They are kept as Gram matrices in a *basis* of centred and scaled columns, E = [1, (w_1 - c_1)/s_1, ..., y*], where
y* is the response less a pilot least-squares fit, over its scale. Sums of raw squares would cancel (a shift of
y by 1e8 destroys them silently); these do not, and they still add up over any split of the rows. Where groups differ
so much that these cancel too, triangular factors of the groups' rows stand beside them (`triangular`,
docs/statistics.md, section 1).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from lmm.core.store import read_json, read_table, write_json, write_table
from lmm.model.terms import INTERCEPT
from lmm.moments.basis import Basis
from lmm.moments.triangular import PIVOT, triangles


class Ols(NamedTuple):
    """Least squares from moments: estimates, (X'X)^-1, and the sums of squares, in original units."""

    beta: np.ndarray
    cov_unscaled: np.ndarray
    rss: float
    tss: float
    tss_uncentred: float
    df_resid: int


@dataclass(frozen=True)
class Moments:
    """Cross-products of the rows, by group and in all.

    Attributes
    ----------
    group : str
        Name of the grouping factor.
    levels : (J,) array of str
    n : (J,) array of int
        Rows of each group.
    gram : (J, r, m + 2) array
        The first r rows of each group's Gram matrix of E: at least the constant and the random effects' columns,
        all m + 2 where leave-one-group-out work is wanted and the size allows it.
    total : (m + 2, m + 2) array
        Gram matrix of E over all rows.
    basis : Basis
    log_weights : float
        Sum over the rows of the logarithms of their precision weights; the products are weighted then, as if each
        row were multiplied by the root of its weight. 0 without weights.
    factor : (J, r, m + 2) array or None
        The first r rows of each group's triangular factor (T_j'T_j is the Gram matrix of E), where sums of squares
        would lose digits: `gram` is theirs then.
    rest : (m + 2, m + 2) array or None
        With `factor`: Gram matrix, over all groups, of the rows of the factors that it does not keep.
    """

    group: str
    levels: np.ndarray
    n: np.ndarray
    gram: np.ndarray
    total: np.ndarray
    basis: Basis
    log_weights: float = 0.0
    factor: np.ndarray | None = None
    rest: np.ndarray | None = None

    @classmethod
    def of_factor(cls, group, levels, n, factor, rest, basis, log_weights=0.0) -> "Moments":
        """Moments whose triangular factors are known, and not only their products.

        Parameters
        ----------
        group, levels, n, factor, rest, basis, log_weights : str, arrays, Basis, float
            See `Moments`.

        Returns
        -------
        Moments
        """
        rows, flat = factor.shape[1], factor.reshape(-1, factor.shape[2])
        gram = np.einsum("jka,jkb->jab", factor[:, :, :rows], factor, optimize=True)
        return cls(group, levels, n, gram, flat.T @ flat + rest, basis, log_weights, factor, rest)

    def changed(self, change: np.ndarray, basis: Basis) -> "Moments":
        """The moments in the columns E @ change, which differ in the response alone.

        Parameters
        ----------
        change : (m + 2, m + 2) array
            The identity but for its last column.
        basis : Basis
            Of the new columns.

        Returns
        -------
        Moments
        """
        about = (self.group, self.levels, self.n)
        if self.factor is not None:
            rest = change.T @ self.rest @ change
            return Moments.of_factor(*about, self.factor @ change, rest, basis, self.log_weights)
        half = self.gram @ change
        gram = change.T @ half if self.whole else half
        return Moments(*about, gram, change.T @ self.total @ change, basis, self.log_weights)

    @property
    def n_rows(self) -> int:
        """N."""
        return int(self.n.sum())

    @property
    def n_groups(self) -> int:
        """J."""
        return len(self.levels)

    @property
    def weighted(self) -> bool:
        """Whether rows have weights that are not all 1: their sum is N and their product 1 for those alone."""
        slack = 1e-9 * self.n_rows
        return abs(self.total[0, 0] - self.n_rows) > slack or abs(self.log_weights) > slack

    @property
    def whole(self) -> bool:
        """Whether each group's whole Gram matrix was kept."""
        return self.gram.shape[1] == self.gram.shape[2]

    @cached_property
    def heads(self) -> tuple[np.ndarray, np.ndarray]:
        """`triangular` in the constant and all random effects' columns."""
        return self.triangular(1 + self.basis.n_random)

    def triangular(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """The first rows of each group's triangular factor, and the Gram matrix of all that they leave.

        Parameters
        ----------
        rows : int
            At most those of `gram`.

        Returns
        -------
        factor : (J, rows, m + 2) array
        rest : (m + 2, m + 2) array
            Summed over groups; 0 in the first `rows` columns.
        """
        if self.factor is not None:
            below = self.factor[:, rows:].reshape(-1, self.factor.shape[2])
            return self.factor[:, :rows], self.rest + below.T @ below
        gram = np.ascontiguousarray(self.gram[:, :rows])
        size = np.ascontiguousarray(np.einsum("jaa->ja", gram[:, :, :rows]))
        factor = triangles(gram, np.asarray(self.n, dtype=np.int64), PIVOT, size)
        flat = factor.reshape(-1, factor.shape[2])
        rest = self.total - flat.T @ flat
        rest[:rows] = rest[:, :rows] = 0.0
        if np.count_nonzero(np.einsum("jaa->ja", factor[:, :, :rows])) == self.n_rows:
            rest[:] = 0.0  # no row is left
        return factor, rest

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance matrix (divisor N) of E's columns over the rows, weighted if they are, (m + 2, m + 2)."""
        mean = self.total[0] / self.total[0, 0]
        return self.total / self.total[0, 0] - np.outer(mean, mean)

    @property
    def y_mean(self) -> float:
        """Mean of the response over all rows."""
        return float(self.total[0] @ self.basis.response / self.total[0, 0])

    @property
    def y_sd(self) -> float:
        """Standard deviation (divisor N - 1) of the response over all rows."""
        response = self.basis.response
        return float(np.sqrt(response @ self.covariance @ response * self.n_rows / (self.n_rows - 1)))

    def mean_zz(self, names: tuple[str, ...]) -> np.ndarray:
        """Mean over the rows of zz', z columns in their original units, (q, q); weighted if they are."""
        raw = self.basis.raw(names)
        return raw.T @ self.total[:-1, :-1] @ raw / self.total[0, 0]

    def cov_fixed(self, names: tuple[str, ...]) -> np.ndarray:
        """Covariance matrix (divisor N) over the rows of columns in their original units, (p, p)."""
        raw = self.basis.raw(names)
        return raw.T @ self.covariance[:-1, :-1] @ raw

    def ols(self, names: tuple[str, ...]) -> Ols:
        """Least squares of y on `names`, as R's lm has it.

        Raises
        ------
        numpy.linalg.LinAlgError
            The columns are collinear.
        """
        if (own := self.within(names)) is not self:
            return own.ols(names)
        combine, back = self.basis.stable(names)
        root = np.linalg.cholesky(combine.T @ self.total[:-1, :-1] @ combine)
        z = np.linalg.solve(root, combine.T @ self.total[:-1, -1])
        inverse = np.linalg.solve(root.T, np.eye(len(names)))
        response = self.basis.response
        uncentred = response @ self.total @ response
        return Ols(
            beta=self.basis.y_scale * back @ inverse @ z + self.pilot_beta(names),
            cov_unscaled=back @ inverse @ inverse.T @ back.T,
            rss=float((self.total[-1, -1] - z @ z) * self.basis.y_scale**2),
            tss=float(response @ self.covariance @ response * self.total[0, 0]),
            tss_uncentred=float(uncentred),
            df_resid=self.n_rows - len(names),
        )

    def within(self, fixed: tuple[str, ...]) -> "Moments":
        """The same moments with a pilot fit in the span of `fixed`, where they have it not.

        The moments of several models have the columns of all of them; a fit takes y* for what the pilot fit, a
        combination of its own fixed effects, leaves of y.
        """
        basis = self.basis
        own = [0 if name == INTERCEPT else basis.columns.index(name) + 1 for name in fixed]
        others = np.delete(basis.pilot, [*own, 0])
        constant = np.append(basis.pilot[0], -(basis.pilot[1:] * (basis.center / basis.scale)))
        level = INTERCEPT in fixed or abs(constant.sum()) <= 1e-12 * np.abs(constant).sum()
        if level and not others.any():
            return self
        combine, _ = basis.stable(fixed)
        gram = self.total[:-1, :-1]
        found = np.linalg.solve(combine.T @ gram @ combine, combine.T @ gram @ basis.pilot)
        change = np.eye(len(self.total))
        change[:-1, -1] = (basis.pilot - combine @ found) / basis.y_scale
        pilot = np.zeros_like(basis.pilot)
        pilot[own] = found
        if INTERCEPT not in fixed:
            pilot[0] = np.sum(pilot[1:] * (basis.center / basis.scale))
        return self.changed(change, replace(basis, pilot=pilot))

    def pilot_beta(self, names: tuple[str, ...]) -> np.ndarray:
        """The pilot fit's coefficients on the fixed effects `names`, in original units; see `within`."""
        _, back = self.basis.stable(names)
        at = [0 if name == INTERCEPT else self.basis.columns.index(name) + 1 for name in names]
        return back @ self.basis.pilot[at]

    def products(self, combine_z: np.ndarray, combine_x: np.ndarray) -> np.ndarray:
        """Z_j'[Z_j X y*] of every group, (J, q, q + p + 1), for columns given as combinations of E.

        Parameters
        ----------
        combine_z, combine_x : (m + 1, q), (m + 1, p) arrays
            See `Basis.stable`; Z's use the rows that `gram` keeps.

        Returns
        -------
        (J, q, q + p + 1) array
        """
        rows = self.gram.shape[1]
        top = combine_z[: min(rows, len(combine_z))]
        if combine_z[len(top) :].any():
            raise ValueError("moments lack the groups' sums of a random effect's column")
        half = np.einsum("ra,jrc->jac", top, self.gram[:, : len(top)], optimize=True)
        return np.concatenate(
            [half[:, :, :-1] @ combine_z, half[:, :, :-1] @ combine_x, half[:, :, -1:]], axis=2
        )

    def write(self, table: str, details: str) -> None:
        """Write moments.parquet (one row per group) and moments.json (global sums, basis).

        A column `a * b` has the groups' sums of products or, where moments.json has `rest`, the elements of their
        triangular factors, in the row of `a`.
        """
        rows, kept = self.gram.shape[1], self.gram if self.factor is None else self.factor
        columns: dict[str, np.ndarray] = {"level": self.levels, "n": self.n}
        columns |= {name: kept[:, a, b] for name, a, b in _products(self.basis, rows)}
        write_table(table, pd.DataFrame(columns))
        value = {"group": self.group, "rows": rows, "basis": self.basis.plain(), "total": self.total}
        value |= {"log_weights": self.log_weights, "rest": self.rest}
        write_json(details, value | {"n_rows": self.n_rows, "n_groups": self.n_groups})

    @classmethod
    def read(cls, table: str, details: str) -> "Moments":
        """Read what `write` wrote."""
        frame, value = read_table(table), read_json(details)
        basis = Basis.from_plain(value["basis"])
        kept = np.zeros((len(frame), value["rows"], len(basis.columns) + 2))
        for name, a, b in _products(basis, value["rows"]):
            kept[:, a, b] = frame[name]
        about = value["group"], frame["level"].to_numpy(dtype=object), frame["n"].to_numpy()
        if value["rest"] is not None:
            return cls.of_factor(*about, kept, np.array(value["rest"]), basis, value["log_weights"])
        for a in range(value["rows"]):
            kept[:, a, :a] = kept[:, :a, a]
        return cls(*about, kept, np.array(value["total"]), basis, value["log_weights"])


def _products(basis: Basis, rows: int) -> list[tuple[str, int, int]]:
    """The columns of moments.parquet, `x * y*` for x and the response, and the elements of `gram` that they are."""
    names = ["1", *basis.columns, "y*"]
    found: dict[str, tuple[int, int]] = {}
    for a in range(rows):
        for b in range(a, len(names)):
            name = f"{names[a]} * {names[b]}"
            while name in found:  # columns of the data may be called 1 and `x * x`
                name += "'"
            found[name] = (a, b)
    return [(name, a, b) for name, (a, b) in found.items()]
