"""Uncertainty of REML's variance parameters: observed information and profile likelihood."""

from collections.abc import Sequence

import numpy as np
from scipy import special

from lmm.core.progress import Progress
from lmm.inference.newton import NONE, criterion
from lmm.inference.optimum import Optimum, lower
from lmm.inference.profile import profile_limit
from lmm.inference.wald import errors_at, values_at
from lmm.likelihood.problem import Problem

SMALL = 1e-6  # sd's below this fraction of sigma (in the kernel's units) are at the boundary


def variance_values(root: np.ndarray, sigma: float, pairs: list[tuple[int, int]]) -> np.ndarray:
    """sd's, correlations of `pairs` and the residual sd, in the order of `Structure.terms`.

    A correlation with an effect whose sd is 0 is NaN.

    Parameters
    ----------
    root : (q, q) array
        Any root of D.
    sigma : float
        Residual sd, units of y.
    pairs : list of (int, int)
        Effects whose correlation is a parameter.

    Returns
    -------
    (k,) array
        In the units of root and sigma.
    """
    sds = np.sqrt((root**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        cors = [root[k] @ root[m] / (sds[k] * sds[m]) for k, m in pairs]
    return np.array([*sds, *cors, sigma])


def standard_errors(problem: Problem, best: Optimum) -> np.ndarray:
    """From the observed information of the REML criterion, by the delta method; order of `Structure.terms`.

    NaN for every parameter of D where the optimum is singular: a quadratic approximation says nothing there.
    """
    rows, cols, *_ = model = problem.model(np.eye(problem.q))
    hessian = criterion(best.phi, NONE, *model)[3]
    pairs = np.array(problem.structure.correlations, dtype=np.int64).reshape(-1, 2)
    _, jacobian = values_at(best.phi, rows, cols, pairs, problem.z_map, problem.y_scale)
    return errors_at(hessian, best.singular, jacobian)


def wald_intervals(
    values: np.ndarray, errors: np.ndarray, terms: Sequence[str], level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Normal intervals of log sd's and of Fisher's z of correlations, transformed back (Pinheiro & Bates 2000, 2.4).

    Parameters
    ----------
    values, errors : (..., k) arrays
        Variance parameters and their standard errors; NaN: none.
    terms : sequence of str
        Their tidy names.
    level : float
        Confidence level.

    Returns
    -------
    low, high : (..., k) arrays
        NaN where there is no standard error.
    """
    z = special.ndtri(0.5 + level / 2)
    inner = [k for k, term in enumerate(terms) if term.startswith("cor__")]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        reach = np.exp(z * errors / values)
        low, high = values / reach, values * reach
        r = values[..., inner]
        center, reach = np.arctanh(r), z * errors[..., inner] / (1.0 - r**2)
        low[..., inner], high[..., inner] = np.tanh(center - reach), np.tanh(center + reach)
    return low, high


def profile_intervals(problem: Problem, best: Optimum, level: float) -> tuple[np.ndarray, list[str]]:
    """Profile-likelihood intervals of sd's, correlations and sigma (Bates et al. 2015, section 5.1).

    Parameters
    ----------
    problem : Problem
        The model over moments, in the kernel's coordinates.
    best : Optimum
        The optimum of the same problem.
    level : float
        Confidence level; the criterion rises by the chi-square(1) quantile.

    Returns
    -------
    (number of terms, 2) array
        In the order of `Structure.terms`; 0 and +-1 are limits where the criterion does not rise that far
        before the edge of the parameter space. Where an sd may be 0, every correlation with it is possible:
        [-1, 1].
    list of str
        One warning per limit that was not found.
    """
    structure = problem.structure
    target = float(2.0 * special.gammaincinv(0.5, level))
    value = best.criterion - problem.constant
    sds = np.sqrt(np.diag(best.covariance))
    floor = np.abs(np.diag(problem.z_map)) * best.sigma / problem.y_scale
    unit = np.where(sds > SMALL * floor, sds, floor)  # rows of L in units of their own size
    back = np.linalg.inv(problem.z_map)
    out: list[list[float]] = []
    words: list[str] = []

    def limits(first: tuple[int, ...], kind: str) -> None:
        """Both limits of one parameter, its random effects first in their block."""
        order = np.arange(problem.q)
        for start, stop in structure.blocks:
            if first and start <= first[0] < stop:
                order[start:stop] = [*first, *(k for k in range(start, stop) if k not in first)]
        scaled = (best.root / unit[:, None])[order]
        ordered = np.zeros_like(scaled)
        for start, stop in structure.blocks:
            ordered[start:stop, start:stop] = lower(scaled[start:stop, start:stop])
        phi = np.append(ordered[structure.rows, structure.cols], best.phi[-1])
        transform = np.ascontiguousarray((back * unit)[:, order])
        pair = int(NONE)
        if kind == "sigma":
            # in the kernel's coordinates: at a shifted predictor's 0 effects may be all but the same
            phi, transform = best.phi.copy(), np.eye(problem.q)
            at, edges = len(phi) - 1, (-np.inf, np.inf)
        else:
            start = next(start for start, stop in structure.blocks if start <= first[0] < stop)
            at = int(np.flatnonzero((structure.rows == start) & (structure.cols == start))[0])
            edges = (0.0, np.inf)
        if kind == "cor":
            along, across = phi[at + 1], phi[at + 2]
            size = np.hypot(along, across)
            pair, at, edges = at + 1, at + 1, (-1.0, 1.0)
            phi[pair], phi[pair + 1] = (along / size if size > 0 else 0.0), size
        ends = []
        for edge in edges:
            limit, ok = profile_limit(phi, value, at, edge, target, pair, *problem.model(transform))
            progress.advance()
            ends.append(limit if ok else np.nan)
        if kind == "sd":
            ends = [end * unit[first[0]] for end in ends]
        elif kind == "sigma":
            ends = [np.exp(end) * problem.y_scale for end in ends]
        out.append(ends)

    with Progress("REML profile likelihood", 2 * len(structure.terms)) as progress:
        for k in range(problem.q):
            limits((k,), "sd")
        for k, m in structure.correlations:
            if 0.0 in (out[k][0], out[m][0]):
                out.append([-1.0, 1.0])
            else:
                limits((k, m), "cor")
        limits((), "sigma")
    for term, ends in zip(structure.terms, out, strict=True):
        if not np.all(np.isfinite(ends)):
            words.append(not_found(term, ends))
    return np.array(out), words


def not_found(what: str, ends: Sequence[float]) -> str:
    """What to say of a profile interval without a finite lower or upper limit.

    Parameters
    ----------
    what : str
        The parameter.
    ends : sequence of float
        Its limits.

    Returns
    -------
    str
    """
    sides = [side for side, end in zip(("lower", "upper"), ends, strict=True) if not np.isfinite(end)]
    return f"the profile of {what} has no finite {' and no '.join(sides)} limit that could be found"
