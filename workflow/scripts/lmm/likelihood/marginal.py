"""Marginal log likelihood of (L, sigma) over packed moments: the kernel as the sampler calls it.

Everything that belongs to a data set travels in one vector (`pack_problem`), so that the same compiled sampler
takes another data set, of another size too, by a change of its data alone.
"""

from typing import Any

import llvmlite.binding
import numba
import numpy as np

from lmm.core.compiled import c_function, digest_of, kernel
from lmm.likelihood.grouped import reml_terms, solve_triangle
from lmm.likelihood.problem import Problem
from lmm.likelihood.whitened import without_floor

# q, p, blocks of groups, N - p, y's scale, constant, groups per block, normal priors of beta, columns of the floor
HEADER = 9
DIGEST = digest_of(__file__)
SYMBOL = f"lmm_log_density_{DIGEST}"

_pointer = numba.types.CPointer(numba.types.double)
_SIGNATURE = numba.types.void(_pointer, _pointer, numba.types.double, _pointer)


def pack_problem(
    problem: Problem,
    mean: np.ndarray | None = None,
    root: np.ndarray | None = None,
    random_map: np.ndarray | None = None,
) -> np.ndarray:
    """One vector that holds all that the likelihood needs of a data set.

    Parameters
    ----------
    problem : Problem
        The model over moments, in the kernel's coordinates.
    mean, root : (p,), (r, p) arrays, optional
        Normal prior of beta, original units: root @ (beta - mean) ~ N(0, I); flat in other directions, and
        altogether without them.
    random_map : (q, q) array, optional
        The likelihood takes a root of the covariance matrix of v, u = random_map @ v; of u without it.

    Returns
    -------
    (n,) array
        Header, the map from L to the kernel's coordinates, Gram matrices of the rows and of the prior, a root of
        the latter, the groups; where there is a floor (`Problem.white`), its root and the groups' plain moments.
    """
    q, p = problem.q, problem.p
    prior, spread, constant, rank = np.zeros((p + 1, p + 1)), np.zeros((p, p)), problem.constant, 0
    if root is not None:
        rank = len(root)
        prior, upper, gain = prior_of_fixed(problem, mean, root)
        spread[:, : len(upper)] = upper.T
        constant += gain
    gram, total = problem.sums
    floor = np.zeros((q, 0)) if problem.white is None else problem.white.floor
    header = [
        q, p, len(gram), problem.n_rows - p, problem.y_scale, constant, gram.shape[-1], rank, floor.shape[1]
    ]  # fmt: skip
    transform = np.linalg.inv(problem.z_map)
    if random_map is not None:
        transform = transform @ random_map
    parts = [transform, total, prior, spread, gram, *([] if problem.white is None else [floor, problem.gram])]
    return np.concatenate([np.array(header, dtype=float), *[part.ravel() for part in parts]])


def prior_of_fixed(
    problem: Any, mean: np.ndarray | None, root: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """The normal prior of beta in the kernel's coordinates.

    Parameters
    ----------
    problem : Problem or SeveralProblem
        The model over moments.
    mean, root : (p,), (r, p) arrays
        In original units: root @ (beta - mean) ~ N(0, I).

    Returns
    -------
    (p + 1, p + 1) array
        Gram matrix of root [X y].
    (min(r, p), p) array
        Upper triangular root of its part for beta.
    float
        What -2 log p(y | L, sigma) is above its value with a flat prior; 0 where the prior leaves a direction flat,
        and the density is defined up to a factor.
    """
    p = problem.p
    columns = np.column_stack([root @ problem.x_map, root @ (mean - problem.offset)])
    upper = np.linalg.qr(columns[:, :p], mode="r")
    gain = 0.0
    if len(root) == p:
        scales = np.abs(np.diag(upper))
        gain = p * np.log(2.0 * np.pi) + 2.0 * (np.linalg.slogdet(problem.x_map)[1] - np.log(scales).sum())
    return columns.T @ columns, upper, gain


@kernel
def views(data):
    """The views of a packed vector.

    Parameters
    ----------
    data : (n,) array
        From `pack_problem`.

    Returns
    -------
    transform : (q, q) array
        The map of L.
    total, prior, spread : (p + 1, p + 1), (p + 1, p + 1), (p, p) arrays
        Gram matrices of the rows and of the prior, and a root of the latter.
    gram : packed (blocks, q, q + p + 1, lanes) array
        The groups, as the density takes them.
    floor : (q, k) array
        A root of what the density takes off D / sigma^2; k = 0 without one.
    plain : packed (blocks, q, q + p + 1, lanes) array
        The groups, as random effects given D and sigma take them.
    """
    q, p, blocks, lanes = int(data[0]), int(data[1]), int(data[2]), int(data[6])
    w = p + 1
    at = HEADER + q * q
    transform = data[HEADER:at].reshape((q, q))
    total = data[at : at + w * w].reshape((w, w))
    prior = data[at + w * w : at + 2 * w * w].reshape((w, w))
    at += 2 * w * w
    spread = data[at : at + p * p].reshape((p, p))
    at += p * p
    size, k = blocks * q * (q + w) * lanes, int(data[8])
    gram = data[at : at + size].reshape((blocks, q, q + w, lanes))
    floor = data[at + size : at + size + q * k].reshape((q, k))
    at += (size + q * k) * min(k, 1)
    plain = data[at : at + size].reshape((blocks, q, q + w, lanes))
    return transform, total, prior, spread, gram, floor, plain


@kernel
def terms_at(transform, total, prior, gram, floor, y_scale, root, sigma, derive=True):
    """`reml_terms` at L (`root`) and sigma in original units; the relative factor and sigma in the kernel's.

    The matrices come from `views`: dividing the vector takes time that a loop over draws can save.

    Parameters
    ----------
    transform, total, prior, gram, floor : arrays
        From `views`.
    y_scale : float
        Scale of the response.
    root : (q, q) array
        L.
    sigma : float
        Residual sd, original units.
    derive : bool
        Whether derivatives are wanted.

    Returns
    -------
    tuple, (q, q) array, float
        log|V| is infinite where D / sigma^2 is below the floor.
    """
    q = len(transform)
    own = sigma / y_scale
    factor = np.zeros((q, q))
    for a in range(q):
        for b in range(q):
            for k in range(q):
                factor[a, b] += transform[a, k] * root[k, b] / own
    if floor.shape[1] == 0:
        return reml_terms(gram, total, factor, prior * (own * own), derive), factor, own
    reduced, found = without_floor(factor, floor)
    logdet, rss, beta, root_x, d_logdet, d_rss = reml_terms(gram, total, reduced, prior * (own * own), derive)
    return (logdet if found else np.inf, rss, beta, root_x, d_logdet, d_rss), factor, own


@kernel
def log_density_of(logdet, rss, own, df, constant):
    """Log marginal likelihood from the criterion's terms.

    Parameters
    ----------
    logdet, rss : float
        Relative to sigma^2.
    own : float
        sigma in the kernel's units.
    df : float
        N - p.
    constant : float
        What -2 log L gains by the change of coordinates and the prior of beta.

    Returns
    -------
    float
    """
    return -0.5 * (df * np.log(2.0 * np.pi * own * own) + logdet + rss / (own * own) + constant)


@kernel
def trace_of_solved(root, spread):
    """tr((root root')^-1 spread spread'), both lower triangular.

    Parameters
    ----------
    root : array
        Lower Cholesky factor.
    spread : array
        Matrix whose solved trace is taken.

    Returns
    -------
    array
    """
    solved = spread.copy()
    solve_triangle(root, solved)
    total = 0.0
    for a in range(len(root)):
        for c in range(a + 1):
            total += solved[a, c] * solved[a, c]
    return total


@c_function(_SIGNATURE)
def _density(data_, root_, sigma, out_):
    """Log density and its derivatives: out = [log p(y | L, sigma), d/dL (q x q), d/dsigma]."""
    q, p, blocks, lanes = int(data_[0]), int(data_[1]), int(data_[2]), int(data_[6])
    w = p + 1
    groups, k = blocks * q * (q + w) * lanes, int(data_[8])
    size = HEADER + q * q + 2 * w * w + p * p + groups + (groups + q * k) * min(k, 1)
    data = numba.carray(data_, (size,))
    root = numba.carray(root_, (q, q))
    out = numba.carray(out_, (q * q + 2,))
    transform, total, prior, spread, gram, floor, _ = views(data)
    found, factor, own = terms_at(transform, total, prior, gram, floor, data[4], root, sigma)
    logdet, rss, beta, root_x, d_logdet, d_rss = found
    df, s2 = data[3], own * own
    out[0] = log_density_of(logdet, rss, own, df, data[5])
    d_own = 2.0 * df / own - 2.0 * rss / (s2 * own)
    slope = np.zeros((q, q))
    for a in range(q):
        for b in range(q):
            for k in range(q):
                slope[a, b] += 2.0 * (d_logdet[a, k] + d_rss[a, k] / s2) * factor[k, b]
            d_own -= slope[a, b] * factor[a, b] / own
    for a in range(q):
        for b in range(q):
            s = 0.0
            for k in range(q):
                s += transform[k, a] * slope[k, b]
            out[1 + a * q + b] = -0.5 * s / own
    if data[7] > 0.0:  # d/dsigma of log|S_X + s2 P| + (beta, -1)' s2 P (beta, -1) / s2
        d_own += 2.0 * own * trace_of_solved(root_x, spread)
        quadratic = prior[p, p]
        for a in range(p):
            quadratic -= 2.0 * beta[a] * prior[a, p]
            for b in range(p):
                quadratic += beta[a] * prior[a, b] * beta[b]
        d_own += 2.0 * quadratic / own
    out[q * q + 1] = -0.5 * d_own / data[4]


# A symbol, not a call that numba would compile into every caller (see grouped.py): nutpie compiles its
# wrapper anew in every process.
llvmlite.binding.add_symbol(SYMBOL, _density.address)
_call: Any = numba.types.ExternalFunction(SYMBOL, _SIGNATURE)


@kernel
def log_density(data, root, sigma):
    """Log marginal likelihood and its derivatives.

    Parameters
    ----------
    data : (n,) array
        From `pack_problem`.
    root : (q, q) C-contiguous array
        Any root L of D = L L', original units.
    sigma : float
        Residual sd, original units.

    Returns
    -------
    (q * q + 2,) array
        log p(y | L, sigma) with beta integrated out (flat prior: the REML likelihood), its derivatives with
        respect to L, row by row, and to sigma.
    """
    out = np.empty(root.size + 2)
    _call(data.ctypes, root.ctypes, sigma, out.ctypes)
    return out
