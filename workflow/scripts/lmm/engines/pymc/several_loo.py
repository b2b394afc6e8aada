"""Log densities of all rows of a level given all others, where there are several grouping factors.

Rows of different levels of a factor share levels of the others, so that the likelihood does not factorise over them
(Bürkner, Gabry & Vehtari 2021, Comput. Stat. 36). Given the D_k and sigma, the effects of the level's own factor are
integrated out of its rows, z_j and T_j their columns of the own factor and of all others and of X:

    W_j = I - z_j V_j z_j',   V_j = lambda (I + lambda'z_j'z_j lambda)^-1 lambda',
    S = E + Lambda'(sum_j T_j'W_j T_j) Lambda,

E = I for the random effects and sigma^2 times the prior precision for beta. With G = Lambda S^-1 Lambda', b = G sum_j
T_j'W_j y_j, Q = W_j - W_j T_j G T_j'W_j and g = W_j (y_j - T_j b) there is for the n rows of level j

    log p(rows | all others) = (log|Q| - g'Q^-1 g / sigma^2 - n log(2 pi sigma^2)) / 2.

Only S is of the size of the other factors, and it is the same for all levels. Rows of a precision weight w are
multiplied by its root, which adds log(w) / 2 to the density.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg.lapack import dpotrf, dpotri

from lmm.core.compiled import kernel
from lmm.core.progress import Progress
from lmm.data.rows import Rows
from lmm.inference.spreads import Spreads

ROWS = 20_000  # more rows than this: they are not read, and what needs them is left out
WORK = 2e11  # products of two numbers that densities of all levels may cost
LEVELS = 1_000_000  # draws x levels: some 12 microseconds each
# A squared pivot of Q, of 1, below which the other rows do not determine some fixed effect.
SMALL = 1e-9


class Level(NamedTuple):
    """The rows of a level, (n,) in number, or as many rows as have the same products with one another.

    Attributes
    ----------
    z : (n, q) array
        Columns of the own factor.
    columns : (m,) int array
        Columns of T that the rows meet.
    T : (n, m) array
    y : (n,) array
    """

    z: np.ndarray
    columns: np.ndarray
    T: np.ndarray
    y: np.ndarray


class Stacked(NamedTuple):
    """All levels, one after the other.

    Attributes
    ----------
    ptr : (J + 1,) int array
        First row of each level.
    z, y : (rows, q), (rows,) arrays
    row_ptr : (rows + 1,), at : (entries,) int arrays, values : (entries,) array
        Elements of T that are not 0: their places among the columns that the level meets.
    met_ptr : (J + 1,), met : (columns,) int arrays
        These columns.
    A : (J, q, q) array
        z'z of each level.
    C : (columns, q) array
        T'z.
    c : (J, q) array
        z'y.
    """

    ptr: np.ndarray
    z: np.ndarray
    y: np.ndarray
    row_ptr: np.ndarray
    at: np.ndarray
    values: np.ndarray
    met_ptr: np.ndarray
    met: np.ndarray
    A: np.ndarray
    C: np.ndarray
    c: np.ndarray


def _stacked(levels: list[Level]) -> Stacked:
    def starts(counts: list[int]) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    rows = [sparse.csr_array(level.T) for level in levels]
    return Stacked(
        starts([len(level.y) for level in levels]),
        np.concatenate([level.z for level in levels]),
        np.concatenate([level.y for level in levels]),
        starts(np.concatenate([np.diff(own.indptr) for own in rows]).tolist()),
        np.concatenate([own.indices for own in rows]).astype(np.int64),
        np.concatenate([own.data for own in rows]),
        starts([len(level.columns) for level in levels]),
        np.concatenate([level.columns for level in levels]).astype(np.int64),
        np.stack([level.z.T @ level.z for level in levels]),
        np.concatenate([level.T.T @ level.z for level in levels]),
        np.stack([level.z.T @ level.y for level in levels]),
    )


@kernel
def _subtract(stacked, V, S, s):
    """Subtract sum_j C_j'V_j C_j from S, (R, R), and sum_j C_j'V_j c_j from s, (R,)."""
    q = V.shape[1]
    along = np.empty(q)
    for j in range(len(V)):
        first, last = stacked.met_ptr[j], stacked.met_ptr[j + 1]
        for a in range(first, last):
            for k in range(q):
                along[k] = 0.0
                for i in range(q):
                    along[k] += stacked.C[a, i] * V[j, i, k]
            row = stacked.met[a]
            for k in range(q):
                s[row] -= along[k] * stacked.c[j, k]
            for b in range(first, last):
                for k in range(q):
                    S[row, stacked.met[b]] -= along[k] * stacked.C[b, k]


@kernel
def _densities(stacked, V, G, b, s2, small):
    """(log|Q| - g'Q^-1 g / sigma^2) / 2 of each level, (J,); NaN where Q is singular."""
    J, q = V.shape[0], V.shape[1]
    most, widest = 0, 0
    for j in range(J):
        most = max(most, stacked.ptr[j + 1] - stacked.ptr[j])
        widest = max(widest, stacked.met_ptr[j + 1] - stacked.met_ptr[j])
    out, Q, g = np.empty(J), np.empty((most, most)), np.empty(most)
    zV, Bz, left = np.empty((most, q)), np.empty((most, q)), np.empty((most, q))
    along, inner, outer = np.empty(widest), np.empty((q, q)), np.empty((q, q))
    sums = np.empty(q)
    for j in range(J):
        first, n, met = stacked.ptr[j], stacked.ptr[j + 1] - stacked.ptr[j], stacked.met_ptr[j]
        m = stacked.met_ptr[j + 1] - met
        z = stacked.z[first : first + n]
        sums[:] = 0.0
        for r in range(n):  # B = T G T', row by row, and y - T b
            begin, end = stacked.row_ptr[first + r], stacked.row_ptr[first + r + 1]
            along[:m] = 0.0
            g[r] = stacked.y[first + r]
            for e in range(begin, end):
                own, value = stacked.met[met + stacked.at[e]], stacked.values[e]
                g[r] -= value * b[own]
                for d in range(m):
                    along[d] += value * G[own, stacked.met[met + d]]
            for t in range(r + 1):
                total = 0.0
                for e in range(stacked.row_ptr[first + t], stacked.row_ptr[first + t + 1]):
                    total += stacked.values[e] * along[stacked.at[e]]
                Q[r, t] = total
            for k in range(q):
                sums[k] += z[r, k] * g[r]
        for r in range(n):  # B z, and z V
            for k in range(q):
                total, other = 0.0, 0.0
                for t in range(n):
                    total += (Q[r, t] if t <= r else Q[t, r]) * z[t, k]
                for i in range(q):
                    other += z[r, i] * V[j, i, k]
                Bz[r, k], zV[r, k] = total, other
        for a in range(q):  # V + V z'B z V
            for k in range(q):
                outer[a, k] = 0.0
                for r in range(n):
                    outer[a, k] += zV[r, a] * Bz[r, k]
        for a in range(q):
            for k in range(q):
                inner[a, k] = V[j, a, k]
                for i in range(q):
                    inner[a, k] += outer[a, i] * V[j, i, k]
        for r in range(n):
            for k in range(q):
                left[r, k] = 0.0
                for i in range(q):
                    left[r, k] += z[r, i] * inner[i, k]
        for r in range(n):  # Q = I - B + z V (B z)' + (B z) V z' - z (V + V z'B z V) z', and W (y - T b)
            for t in range(r + 1):
                total = (1.0 if t == r else 0.0) - Q[r, t]
                for k in range(q):
                    total += zV[r, k] * Bz[t, k] + Bz[r, k] * zV[t, k] - left[r, k] * z[t, k]
                Q[r, t] = total
            for k in range(q):
                g[r] -= zV[r, k] * sums[k]
        logdet, far = 0.0, 0.0
        for r in range(n):
            for t in range(r + 1):
                total = Q[r, t]
                for i in range(t):
                    total -= Q[r, i] * Q[t, i]
                if t < r:
                    Q[r, t] = total / Q[t, t]
                elif total >= small:
                    Q[r, r] = np.sqrt(total)
                    logdet += np.log(total)
                else:
                    logdet = np.nan
            if np.isnan(logdet):
                break
            for t in range(r):
                g[r] -= Q[r, t] * g[t]
            g[r] /= Q[r, r]
            far += g[r] * g[r]
        out[j] = 0.5 * (logdet - far / s2)
    return out


class Joint:
    """All rows of a model, ready for any covariance parameters.

    Parameters
    ----------
    rows : Rows
        In memory.
    factor : int
        The factor whose levels are left out, by its place in the formula.
    prior : mapping
        `mean` and `root` of a normal prior of beta (`SeveralMarginal.of`); empty for a flat one.
    """

    def __init__(self, rows: Rows, factor: int, prior: Mapping[str, np.ndarray]):
        scale = np.ones(len(rows.y)) if rows.weights is None else np.sqrt(rows.weights)
        X = scale[:, None] * rows.columns(rows.terms.fixed)
        basis, back = np.linalg.qr(X)  # any basis of X's columns gives the same density
        p, at, parts, self.places, self.factor = X.shape[1], 0, [], [], factor
        for k, ((codes, levels), grouping) in enumerate(zip(rows.factors, rows.terms.groupings, strict=True)):
            Z, q = scale[:, None] * rows.columns(grouping.random), len(grouping.random)
            if k == factor:
                self.places.append(np.empty((0, q), dtype=np.int64))
                own, codes_own, count = Z, codes, len(levels)
                continue
            places = at + np.arange(len(levels) * q).reshape(len(levels), q)
            parts.append((np.repeat(np.arange(len(Z)), q), places[codes].ravel(), Z.ravel()))
            self.places.append(places)
            at += places.size
        parts.append((np.repeat(np.arange(len(X)), p), np.tile(at + np.arange(p), len(X)), basis.ravel()))
        row, column, value = (np.concatenate(part) for part in zip(*parts, strict=True))
        T = sparse.csr_array((value, (row, column)), shape=(len(X), at + p))
        self.gram = (T.T @ T).toarray()
        mean = prior["mean"] if prior else np.linalg.solve(back, basis.T @ (scale * rows.y))
        y = scale * rows.y - X @ mean
        self.edge = T.T @ y
        self.precision = np.zeros((p, p))
        if prior:
            root = np.linalg.solve(back.T, prior["root"].T).T
            self.precision = root.T @ root
        self.counts = np.bincount(codes_own, minlength=count)
        self.log_weights = np.bincount(codes_own, np.log(scale), minlength=count)
        by_level = np.split(np.argsort(codes_own, kind="stable"), np.cumsum(self.counts)[:-1])
        self.levels = [_level(own[mine], T[mine], y[mine]) for mine in by_level]
        self.stacked = _stacked(self.levels)

    @property
    def cost(self) -> float:
        """About how many products of two numbers a set of covariance parameters needs."""
        stacked = self.stacked
        rows = np.diff(stacked.ptr).astype(float)
        met = np.diff(stacked.met_ptr).astype(float)
        entries = np.add.reduceat(np.diff(stacked.row_ptr), stacked.ptr[:-1]).astype(float)
        each = entries * (met + rows) + rows**3 / 6.0 + met**2
        return float(len(self.gram)) ** 3 + float(each.sum())

    def densities(self, spreads: Spreads) -> np.ndarray:
        """Log density of each level's rows given all others, at S sets of covariance parameters.

        Parameters
        ----------
        spreads : Spreads
            S sets.

        Returns
        -------
        (S, J) array
            NaN where the other rows do not determine the fixed effects.
        """
        roots, sigmas = spreads.roots, spreads.sigmas
        out = np.empty((len(sigmas), len(self.counts)))
        with Progress("cross-validation by level", len(sigmas)) as progress:
            for s, sigma in enumerate(sigmas):
                out[s] = self._at([root[s] / sigma for root in roots], sigma)
                progress.advance()
        return out

    def _at(self, factors: list[np.ndarray], sigma: float) -> np.ndarray:
        """See `densities`; of relative factors, (q_k, q_k)."""
        own = factors[self.factor]
        M = np.eye(len(own)) + own.T @ self.stacked.A @ own
        V = np.ascontiguousarray(own @ np.linalg.inv(M) @ own.T)
        S, s = self.gram.copy(), self.edge.copy()
        _subtract(self.stacked, V, S, s)
        H = self._scaled(self._scaled(S, factors).T, factors)
        random = len(H) - len(self.precision)
        H[np.arange(random), np.arange(random)] += 1.0
        H[random:, random:] += sigma**2 * self.precision
        root, bad = dpotrf(H, lower=1)
        if bad:
            return np.full(len(self.counts), np.nan)
        inverse, _ = dpotri(root, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        G = self._scaled(self._scaled(inverse, factors, True).T, factors, True)
        found = _densities(self.stacked, V, np.ascontiguousarray(G), G @ s, sigma**2, SMALL)
        return found + self.log_weights - 0.5 * self.counts * np.log(2.0 * np.pi * sigma**2)

    def _scaled(self, matrix: np.ndarray, factors: list[np.ndarray], transposed: bool = False) -> np.ndarray:
        """matrix Lambda, or matrix Lambda'."""
        out = matrix.copy()
        for places, factor in zip(self.places, factors, strict=True):
            by = factor.T if transposed else factor
            mine = matrix[:, places.ravel()].reshape(len(matrix), *places.shape)
            out[:, places.ravel()] = (mine @ by).reshape(len(matrix), -1)
        return out


def _level(z: np.ndarray, T: sparse.csr_array, y: np.ndarray) -> Level:
    """A level's rows; a triangular factor of them where that is shorter: densities need products of rows only."""
    columns = np.unique(T.indices)
    dense = T[:, columns].toarray()
    if len(y) > z.shape[1] + len(columns) + 1:
        factor = np.linalg.qr(np.column_stack([z, dense, y]), mode="r")
        z, dense, y = factor[:, : z.shape[1]], factor[:, z.shape[1] : -1], factor[:, -1]
    return Level(z, columns, dense, y)


def most_draws(joint: Joint, levels: int) -> int:
    """At how many draws the densities of all levels may be computed.

    Parameters
    ----------
    joint : Joint
        Of the model.
    levels : int
        J.

    Returns
    -------
    int
    """
    return int(min(WORK / joint.cost, LEVELS // levels))
