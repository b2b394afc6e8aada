"""Leave-one-group-out influence: what every estimate would be without each group, by exact refits from moments.

A group is taken out by subtraction, never by reading rows again: its part of [X y]'[X y] is subtracted and its lane
of the packed Gram matrices set to 0, which is a group of no rows. Each refit starts at the full optimum and is
certified like it. Above `REFITS` groups only those are left out whose one-step influence (a Newton step from the
full optimum, O(J) for all groups together) is largest.
"""

from typing import Any

import numpy as np
import pandas as pd

from lmm.core.tidy import group_of
from lmm.inference.intervals import standard_errors, variance_values
from lmm.inference.newton import NONE, criterion
from lmm.inference.optimum import Optimum, fill, optimum
from lmm.likelihood.by_group import by_group, log_densities
from lmm.likelihood.problem import Problem, problem_of
from lmm.moments.moments import Moments

REFITS = 2_000  # groups; all refits together cost O(J^2): a few seconds there
CHOSEN = 20  # groups refitted where there are more
FEWEST = 3  # groups: of one group alone no variance between groups can be estimated
COLLINEAR = 1e-10  # share of a column's square that is left to it after the columns before it
COLUMNS = ["group", "level", "term_group", "term", "estimate_without", "change", "standardised", "status"]


def influence(
    moments: Moments,
    fixed: tuple[str, ...],
    blocks: tuple[tuple[str, ...], ...],
    most: int = REFITS,
    chosen: int = CHOSEN,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Refit by REML without each group.

    Parameters
    ----------
    moments : Moments
        Sufficient statistics of the rows.
    fixed : tuple of str
        Names of X's columns.
    blocks : tuple of tuple of str
        Names of Z's columns in each block of random effects.
    most : int
        More groups than this: only `chosen` of them, those of the largest one-step influence.
    chosen : int
        How many are then refitted.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, one row per group and parameter: `group` and `level` are left out, `term_group` and `term`
        are the parameter's key. change = estimate_without - estimate; standardised = change over the full fit's
        standard error (NaN where that has none); status is `ok`, `singular`, `non-converged` or `not estimable`
        (without the group a fixed effect has no estimate).
    dict
        groups, refits, left_out (why there are none or not all; empty: all groups).
    """
    about: dict[str, Any] = {"groups": moments.n_groups, "refits": 0, "left_out": ""}
    empty = pd.DataFrame(columns=COLUMNS)
    if moments.n_groups < FEWEST:
        about["left_out"] = f"it needs at least {FEWEST} groups"
        return empty, about
    problem = problem_of(moments, fixed, blocks)
    gram = by_group(moments, problem)
    if gram is None:
        about["left_out"] = "the groups are too many for the moments that it needs"
        return empty, about
    full = optimum(problem)
    estimates = _estimates(problem, full)
    errors = np.append(np.sqrt(np.diag(full.cov_beta)), standard_errors(problem, full))
    which = np.arange(moments.n_groups)
    if len(which) > most:
        steps = one_step(problem, gram, moments.n, full) / np.where(errors > 0, errors, np.nan)
        size = np.nan_to_num(np.abs(steps)).max(axis=1)
        which = np.sort(np.argsort(-size, kind="stable")[:chosen])
        about["left_out"] = (
            f"only {len(which)} of {moments.n_groups:,} groups were left out, those of the largest one-step influence"
        )
    about["refits"] = len(which)
    own = full.sigma / problem.y_scale
    starts = [fill(problem.structure, full.phi) / own]
    if full.singular:  # a minimum may lie elsewhere without the group: not only from the boundary
        starts.append(np.eye(problem.q))
    names = np.array([*problem.fixed, *problem.structure.terms], dtype=object)
    groups = np.array(
        [*[""] * problem.p, *(group_of(term, moments.group) for term in problem.structure.terms)],
        dtype=object,
    )
    found, status = np.empty((len(which), len(names))), []
    packed = problem.sums[0].copy()
    for row, j in enumerate(which):
        block, lane = divmod(int(j), packed.shape[3])
        kept = packed[block, :, :, lane].copy()
        packed[block, :, :, lane] = 0.0
        found[row], word = _refit(problem, packed, gram[j], int(moments.n[j]), starts)
        packed[block, :, :, lane] = kept
        status.append(word)
    change = found - estimates
    standardised = change / np.where(errors > 0, errors, np.nan)
    return pd.DataFrame(
        {
            "group": moments.group,
            "level": np.repeat(moments.levels[which].astype(str), len(names)),
            "term_group": np.tile(groups, len(which)),
            "term": np.tile(names, len(which)),
            "estimate_without": found.ravel(),
            "change": change.ravel(),
            "standardised": standardised.ravel(),
            "status": np.repeat(status, len(names)),
        }
    ), about


def _estimates(problem: Problem, best: Optimum) -> np.ndarray:
    """Fixed effects, then the variance parameters in the order of `Structure.terms`."""
    return np.append(best.beta, variance_values(best.root, best.sigma, problem.structure.correlations))


def _refit(
    problem: Problem, packed: np.ndarray, own: np.ndarray, rows: int, starts: list[np.ndarray]
) -> tuple[np.ndarray, str]:
    """Estimates without a group, whose Gram matrix is `own` and whose lane of `packed` is already 0; its status."""
    q, p = problem.q, problem.p
    total = problem.sums[1] - own[q:, q:]
    nothing = np.full(p + len(problem.structure.terms), np.nan)
    if problem.n_rows - rows <= p or collinear(total[:p, :p]):
        return nothing, "not estimable"
    less = problem.with_sums(packed, total, problem.n_rows - rows, problem.n_groups - 1)
    best = optimum(less, starts)
    return _estimates(less, best), status_of(best)


def status_of(best: Any) -> str:
    """How a refit ended: `ok`, `singular` or `non-converged`."""
    if not best.certified:
        return "non-converged"
    return "singular" if best.singular else "ok"


def collinear(gram: np.ndarray) -> bool:
    """Whether columns with this Gram matrix depend on one another.

    Parameters
    ----------
    gram : (p, p) array
        Products of the columns.

    Returns
    -------
    bool
    """
    size = np.sqrt(np.maximum(np.diag(gram), 0.0))
    if not np.all(size > 0.0):
        return True
    return bool(np.linalg.eigvalsh(gram / np.outer(size, size))[0] < COLLINEAR)


def one_step(problem: Problem, gram: np.ndarray, rows: np.ndarray, full: Optimum) -> np.ndarray:
    """Change of every estimate without each group to first order: minus the group's score over the information.

    Cook & Weisberg 1982 (Residuals and Influence in Regression, section 5.2). Scores by central differences of the
    groups' log densities.

    Parameters
    ----------
    problem : Problem
        The model over moments, in the kernel's coordinates.
    gram : (J, q + p + 1, q + p + 1) array
        Gram matrices of [Z X y], from `by_group.by_group`.
    rows : (J,) int array
        n_j.
    full : Optimum
        Of all groups.

    Returns
    -------
    (J, p + number of `Structure.terms`) array
        In the order and units of the estimates.
    """
    structure, p, m = problem.structure, problem.p, len(full.phi)
    scale = np.append(np.sqrt(np.diag(full.cov_beta)), np.maximum(np.abs(full.phi), 1e-2))
    steps = 1e-4 * scale  # the error of a central difference is of the order of its square
    points = np.concatenate([np.diag(steps), -np.diag(steps)])
    beta, phi = full.beta + points[:, :p], full.phi + points[:, p:]
    roots = np.stack([problem.z_map @ fill(structure, own) for own in phi])
    sigmas = problem.y_scale * np.exp(phi[:, -1])
    density = log_densities(problem, gram, rows, beta, roots, sigmas)
    scores = (density[: p + m] - density[p + m :]).T / (2.0 * steps)
    values = np.stack(
        [variance_values(r, s, structure.correlations) for r, s in zip(roots, sigmas, strict=True)]
    )
    jacobian = ((values[p : p + m] - values[2 * p + m :]) / (2.0 * steps[p:, None])).T
    information = 0.5 * criterion(full.phi, NONE, *problem.model(np.eye(problem.q)))[3]
    moved = -scores[:, p:] @ np.linalg.pinv(information, rcond=1e-10, hermitian=True) @ jacobian.T
    return np.hstack([-scores[:, :p] @ full.cov_beta, moved])
