"""A second pass over rows whose groups differ by far more than the rows within them do.

Sums of squares keep about 16 digits of the largest variation. A residual sd of 1e-8 of the groups' is 1e-16 of it:
nothing. So where little is left within groups, the rows are read again and taken about their own group's
least-squares fit, known from the first pass; what is left is added up, and the fits' part is put back in
triangular factors, which have digits for both (`triangular`).
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from lmm.core.compiled import kernel
from lmm.data.levels import union
from lmm.moments.basis import Basis
from lmm.moments.moments import Moments
from lmm.moments.triangular import PIVOT, PIVOT_CENTRED, triangles, turned

# Rows whose products are added up before they join the totals: keeps the rounding of long sums small.
BLOCK = 4096
# Share of the response's square that groups and predictors leave of it, below which it is read again: the criterion
# then has fewer than ten digits, and an sd that it hardly depends on has fewer than seven.
LOST = 1e-6


def read_only(values: np.ndarray, dtype: type) -> np.ndarray:
    """A C-ordered read-only view: numba compiles for those and for writeable ones apart, and rows come as both.

    Parameters
    ----------
    values : array
        For a kernel.
    dtype : type
        Of its elements there.

    Returns
    -------
    array
    """
    view: np.ndarray = np.ascontiguousarray(values, dtype=dtype).view()
    view.flags.writeable = False
    return view


def cancels(moments: Moments) -> bool:
    """Whether plain sums of squares have too few digits of what groups and predictors leave of the response.

    Parameters
    ----------
    moments : Moments
        Sufficient statistics of the rows.

    Returns
    -------
    bool
        Not where groups and predictors take up all rows, nor where the second pass has been made.
    """
    factor, rest = moments.heads
    within, size = _within(moments), np.diag(moments.total)
    if moments.factor is not None or size[-1] == 0.0:
        return False
    below = _below(rest, factor.shape[1], size)
    return bool(within > np.count_nonzero(below[:-1]) and below[-1] ** 2 < LOST * size[-1])


def _within(moments: Moments) -> int:
    """Rows less the ranks of the groups' random effects."""
    factor, _ = moments.heads
    return moments.n_rows - np.count_nonzero(np.einsum("jaa->ja", factor[:, :, : factor.shape[1]]))


def _below(rest: np.ndarray, r: int, size: np.ndarray) -> np.ndarray:
    """Pivots of the columns from r on in `rest`, the response's last: what those before leave, as lengths."""
    least = np.append(size[r:-1], 0.0)
    factor = triangles(np.ascontiguousarray(rest[None, r:, r:]), np.array([len(rest)]), PIVOT, least[None])
    return np.diag(factor[0])


@kernel
def _add(codes, W, first, y, weights, center, inverse, pilot, y_inverse, means, fits, n, gram, total):
    """As `accumulate._add`, of columns about their group's own fit.

    The random effects' columns, from 1 to r - 1, are taken about `means` (J, r); the others about their fits on
    [1, those columns], with coefficients `fits` (J, r, m + 2 - r).
    """
    rows, m, r = gram.shape[1], len(center), means.shape[1]
    e = np.empty(m + 2)
    block = np.zeros((m + 2, m + 2))
    for i in range(len(y)):
        j = codes[i]
        left = y[i] - pilot[0]
        for k in range(m):
            e[k + 1] = (W[i, first + k] - center[k]) * inverse[k]
            left -= pilot[k + 1] * e[k + 1]
        e[0], e[m + 1] = 1.0, left * y_inverse
        for a in range(1, r):
            e[a] -= means[j, a]
        for b in range(r, m + 2):
            for a in range(r):
                e[b] -= fits[j, a, b - r] * e[a]
        if len(weights) > 0:
            e *= np.sqrt(weights[i])
        n[j] += 1
        for a in range(rows):
            for b in range(a, m + 2):
                gram[j, a, b] += e[a] * e[b]
        for a in range(rows, m + 2):
            for b in range(a, m + 2):
                block[a, b] += e[a] * e[b]
        if i % BLOCK == BLOCK - 1:
            total += block
            block[:] = 0.0
    total += block


@kernel
def _fits(factor, means, fits):
    """Fill `means` (J, r) and `fits` (J, r, c - r) of `_add` from the first r rows of triangular factors.

    Where a random effect's column depends on others in a group, it gets no coefficient there.
    """
    n_groups, r, width = factor.shape
    for j in range(n_groups):
        size = factor[j, 0, 0]
        for a in range(1, r):
            means[j, a] = factor[j, 0, a] / size
        for b in range(r, width):
            for a in range(r - 1, 0, -1):
                if factor[j, a, a] == 0.0:
                    continue
                value = factor[j, a, b]
                for k in range(a + 1, r):
                    value -= factor[j, a, k] * fits[j, k, b - r]
                fits[j, a, b - r] = value / factor[j, a, a]
            fits[j, 0, b - r] = factor[j, 0, b] / size


class CentredSums:
    """Triangular moments in the making: the rows of a first pass are added again, in batches, in order.

    The pilot fit of their basis has the slopes within groups of the predictors that are X's alone.

    Parameters
    ----------
    first : Moments
        Of the same rows.
    """

    def __init__(self, first: Moments):
        self.first = rebased(first, refined(first))
        factor, _ = self.first.heads
        r, width = factor.shape[1:]
        self.means, self.fits = np.zeros((len(factor), r)), np.zeros((len(factor), r, width - r))
        _fits(np.ascontiguousarray(factor), self.means, self.fits)
        self.n = np.zeros_like(first.n)
        self.gram, self.total = np.zeros_like(first.gram), np.zeros_like(first.total)

    def add(self, codes: np.ndarray, y: np.ndarray, W: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Add rows.

        Parameters
        ----------
        codes, y, W, weights : arrays
            As for `accumulate.Sums.add`.
        """
        basis = self.first.basis
        codes, y, W = read_only(codes, np.int64), read_only(y, np.float64), read_only(W, np.float64)
        weights = read_only(np.zeros(0) if weights is None else weights, np.float64)
        _add(
            codes, W, W.shape[1] - len(basis.columns), y, weights, basis.center, 1.0 / basis.scale, basis.pilot,
            1.0 / basis.y_scale, self.means, self.fits, self.n, self.gram, self.total,
        )  # fmt: skip

    def moments(self) -> Moments:
        """What has been added, which is to be all rows of the first pass."""
        first, r = self.first, self.fits.shape[1]
        rows, width = self.gram.shape[1:]
        size = np.ascontiguousarray(np.einsum("jaa->ja", first.gram[:, :, :rows]))
        if rows == width:
            size[:, -1] = 0.0  # what is left of the response counts, however little it is
        factor = triangles(self.gram, first.n, PIVOT_CENTRED, size)
        rest = np.zeros((width, width))
        if rows < width:
            below = factor[:, :, r:].reshape(-1, width - r)
            own = np.triu(self.total[r:, r:])
            rest[r:, r:] = own + np.triu(own, 1).T - below.T @ below
        # back from the groups' own fits to the columns themselves
        factor[:, :, r:] += factor[:, :, :r] @ self.fits
        factor[:, :, 1:r] += factor[:, :, :1] * self.means[:, None, 1:]
        return Moments.of_factor(
            first.group, first.levels, first.n, factor, rest, first.basis, first.log_weights
        )


def rebased(moments: Moments, basis: Basis) -> Moments:
    """The moments in a basis that differs in its pilot fit only.

    Parameters
    ----------
    moments : Moments
        Sums or triangular factors.
    basis : Basis
        What they are wanted in.

    Returns
    -------
    Moments

    Raises
    ------
    ValueError
        It differs in more.
    """
    if moments.basis.plain() == basis.plain():
        return moments
    if replace(moments.basis, pilot=basis.pilot).plain() != basis.plain():
        raise ValueError("moments in different bases cannot be merged")
    change = np.eye(len(moments.total))
    change[:-1, -1] = (moments.basis.pilot - basis.pilot) / basis.y_scale
    return moments.changed(change, basis)


def refined(moments: Moments) -> Basis:
    """The moments' basis with the slopes within groups, for predictors that are X's alone, in its pilot fit.

    Least squares of all rows takes what groups differ by for slopes; what that puts into the rows within groups
    would cancel as well.
    """
    basis, (factor, rest) = moments.basis, moments.heads
    r = factor.shape[1]
    size = np.diag(moments.total)[r:-1]
    if _within(moments) <= np.count_nonzero(_below(rest, r, np.diag(moments.total))[:-1]):
        return basis  # too few rows to tell slopes from residuals
    unit = np.sqrt(np.where(size > 0, size, 1.0))
    inner = np.linalg.pinv(rest[r:-1, r:-1] / np.outer(unit, unit), rcond=PIVOT, hermitian=True)
    slopes = np.append(np.zeros(r), inner @ (rest[r:-1, -1] / unit) / unit)
    return replace(basis, pilot=basis.pilot + basis.y_scale * slopes)


def merge_factors(parts: Iterable[Moments], basis: Basis) -> Moments:
    """Moments of all rows from the triangular factors of parts, added in the order given.

    A group's factors in two parts are put on top of one another and turned into one, which loses nothing; their
    products would.

    Parameters
    ----------
    parts : iterable of Moments
        Their bases differ in their pilot fits at most.
    basis : Basis
        That of the result: refined, so that no part has more within groups than there is.

    Returns
    -------
    Moments
    """
    whole = None
    for part in parts:
        own, left = rebased(part, basis).triangular(part.gram.shape[1])
        if whole is None:
            whole = Moments.of_factor(part.group, part.levels, part.n, own, left, basis, part.log_weights)
            continue
        factor, rest = whole.factor, whole.rest
        assert factor is not None and rest is not None
        rows = factor.shape[1]
        levels, at, other = union(whole.levels, part.levels)
        n, stack = np.zeros(len(levels), dtype=np.int64), np.zeros((len(levels), 2 * rows, own.shape[2]))
        n[at], stack[at, :rows] = whole.n, factor
        n[other] += part.n
        stack[other, rows:] = own
        factor, below = turned(stack, rows)
        logs = whole.log_weights + part.log_weights
        whole = Moments.of_factor(whole.group, levels, n, factor, rest + left + below, basis, logs)
    if whole is None:
        raise ValueError("no moments to merge")
    return whole
