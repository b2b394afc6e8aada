"""Rows that have given moments: a response for known model matrices, so that a drawn replicate can be looked at.

The response is sought as y* = E s + R_j h_j + z in the columns that moments are made of (see `simulate_moments`): s
and h_j are the coefficients that give R_j'y* and E'y*, and z, normal numbers orthogonal to all of R_j and E, has the
length that gives y*'y*. Which direction z takes is not in the moments, and no fit from them depends on it.
"""

import numpy as np

from lmm.moments.moments import Moments
from lmm.simulation.moments import NOTHING, MomentsDesign

# Rows that a replay writes: 0.5 GB of memory, and as much on disk at the most.
MOST_ROWS = 5_000_000


def response(
    rng: np.random.Generator, design: MomentsDesign, drawn: Moments, W: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """A response whose moments are those drawn, to rounding.

    Parameters
    ----------
    rng : Generator
        For the direction that moments do not tell.
    design : MomentsDesign
        What `drawn` was drawn from.
    drawn : Moments
        Drawn from `design`.
    W : (N, K) array
        Model-matrix columns, in the order of `Terms.columns`.
    codes : (N,) int array
        The group of each row, an index into the moments' levels.

    Returns
    -------
    (N,) array
        In original units.
    """
    basis, (n_groups, r, m1) = drawn.basis, design.b.shape
    columns = (W[:, W.shape[1] - len(basis.columns) :] - basis.center) / basis.scale
    E = np.column_stack([np.ones(len(W)), columns])
    inverse = np.linalg.pinv(design.a, rcond=NOTHING, hermitian=True)
    spread, axes = np.linalg.eigh(design.rest @ design.rest.T)
    real = spread > NOTHING * max(np.trace(design.moments.total[:m1, :m1]), 1e-300)
    rest = (axes[:, real] / spread[real]) @ axes[:, real].T

    def sums(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """R_j'y_j, (J, r), and E'y."""
        groups = [np.bincount(codes, E[:, k] * y, minlength=n_groups) for k in range(r)]
        return np.column_stack(groups), E.T @ y

    def solved(groups: np.ndarray, total: np.ndarray) -> np.ndarray:
        """The shortest y with these sums, (N,)."""
        own = np.einsum("jab,jb->ja", inverse, groups)
        s = rest @ (total - np.einsum("jra,jr->a", design.b, own))
        own -= np.einsum("jab,jb->ja", inverse, design.b @ s)
        return E @ s + np.einsum("nk,nk->n", E[:, :r], own[codes])

    wanted = drawn.gram[:, :r, -1], drawn.total[:-1, -1]
    y = solved(*wanted)
    found = sums(y)
    y += solved(wanted[0] - found[0], wanted[1] - found[1])  # what rounding left
    length = drawn.total[-1, -1] - y @ y
    if design.free > 0 and length > 0:
        z = rng.standard_normal(len(y))
        for _ in range(2):  # the second time takes away what rounding left
            z -= solved(*sums(z))
        y += z * np.sqrt(length / (z @ z))
    return E @ basis.pilot + basis.y_scale * y
