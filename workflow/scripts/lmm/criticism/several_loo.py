"""Log densities of all rows of a level given all others, where there are several grouping factors.

Rows of different levels of a factor share levels of the others, so that the likelihood does not factorise over them
(Bürkner, Gabry & Vehtari 2021, Comput. Stat. 36). Given the D_k and sigma, with beta integrated out, y is normal with
precision P / sigma^2,

    P = I - T G T',   T = [Z_1 ... Z_K X],   G = Lambda (E + Lambda'T'T Lambda)^-1 Lambda',

E = I for the random effects and sigma^2 times the prior precision for beta. With Q the block of P of a level's n rows
and g = P y there

    log p(rows | all others) = (log|Q| - g'Q^-1 g / sigma^2 - n log(2 pi sigma^2)) / 2.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import sparse

from lmm.core.progress import Progress
from lmm.data.rows import Rows
from lmm.inference.spreads import Spreads

MATRICES = 4_000_000  # numbers in all matrices of a step
SMALL = 1e-9  # of 1: an eigenvalue of Q below it means that the other rows do not determine some fixed effect


class Block(NamedTuple):
    """A level's rows (n,), the columns of T that they meet (m,), and T there (n, m)."""

    rows: np.ndarray
    columns: np.ndarray
    T: np.ndarray


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
        X = rows.columns(rows.terms.fixed)
        basis, back = np.linalg.qr(X)  # any basis of X's columns gives the same density
        p, at, parts, self.places = X.shape[1], 0, [], []
        for (codes, levels), grouping in zip(rows.factors, rows.terms.groupings, strict=True):
            Z, q = rows.columns(grouping.random), len(grouping.random)
            places = at + np.arange(len(levels) * q).reshape(len(levels), q)
            row = np.repeat(np.arange(len(Z)), q)
            parts.append((row, places[codes].ravel(), Z.ravel()))
            self.places.append(places)
            at += places.size
        parts.append((np.repeat(np.arange(len(X)), p), np.tile(at + np.arange(p), len(X)), basis.ravel()))
        row, column, value = (np.concatenate(own) for own in zip(*parts, strict=True))
        self.T = sparse.csr_array((value, (row, column)), shape=(len(X), at + p))
        self.gram = (self.T.T @ self.T).toarray()
        mean = prior["mean"] if prior else np.linalg.solve(back, basis.T @ rows.y)
        self.y = rows.y - X @ mean
        self.precision = np.zeros((p, p))
        if prior:
            root = np.linalg.solve(back.T, prior["root"].T).T
            self.precision = root.T @ root
        codes, levels = rows.factors[factor]
        self.blocks = []
        for level in range(len(levels)):
            mine = np.flatnonzero(codes == level)
            own = self.T[mine]
            columns = np.unique(own.indices)
            self.blocks.append(Block(mine, columns, own[:, columns].toarray()))

    @property
    def cost(self) -> float:
        """About how many products of two numbers a set of covariance parameters needs."""
        each = [
            len(b.rows) * len(b.columns) * (len(b.rows) + len(b.columns)) + len(b.rows) ** 3
            for b in self.blocks
        ]
        return float(len(self.gram)) ** 3 + float(sum(each))

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
        count = len(spreads.sigmas)
        out = np.empty((count, len(self.blocks)))
        step = max(1, min(MATRICES // len(self.gram) ** 2, count))
        with Progress("cross-validation by level", count) as progress:
            for first in range(0, count, step):
                some = slice(first, first + step)
                sigma = spreads.sigmas[some]
                factors = [root[some] / sigma[:, None, None] for root in spreads.roots]
                out[some] = self._at(factors, sigma)
                progress.advance(len(sigma))
        return out

    def _at(self, factors: list[np.ndarray], sigma: np.ndarray) -> np.ndarray:
        """See `densities`; of c relative factors, (c, q, q)."""
        square = sigma**2
        H = self._scaled(np.broadcast_to(self.gram, (len(sigma), *self.gram.shape)), factors)
        H = self._scaled(H.transpose(0, 2, 1), factors)
        random = len(self.gram) - len(self.precision)
        H[:, np.arange(random), np.arange(random)] += 1.0
        H[:, random:, random:] += square[:, None, None] * self.precision
        G = self._scaled(np.linalg.inv(H), factors, transposed=True)
        G = self._scaled(G.transpose(0, 2, 1), factors, transposed=True)
        g = self.y - (self.T @ (G @ (self.T.T @ self.y)).T).T
        out = np.empty((len(sigma), len(self.blocks)))
        for j, block in enumerate(self.blocks):
            n = len(block.rows)
            Q = np.eye(n) - block.T @ G[:, block.columns[:, None], block.columns] @ block.T.T
            values, vectors = np.linalg.eigh(Q)
            along = np.einsum("cnk,cn->ck", vectors, g[:, block.rows])
            known = values[:, 0] >= SMALL
            values = np.where(known[:, None], values, 1.0)
            far = np.sum(along**2 / values, axis=1) / square
            density = 0.5 * (np.log(values).sum(axis=1) - far - n * np.log(2.0 * np.pi * square))
            out[:, j] = np.where(known, density, np.nan)
        return out

    def _scaled(self, matrix: np.ndarray, factors: list[np.ndarray], transposed: bool = False) -> np.ndarray:
        """matrix Lambda, or matrix Lambda', of c matrices."""
        out = matrix.copy()
        for places, factor in zip(self.places, factors, strict=True):
            own = matrix[:, :, places.ravel()].reshape(len(matrix), -1, places.shape[1])
            by = factor.transpose(0, 2, 1) if transposed else factor
            out[:, :, places.ravel()] = (own @ by).reshape(*matrix.shape[:2], -1)
        return out
