"""Influence of each level of each grouping factor, where there are several: exact refits without its rows.

A level's rows are other factors' rows as well, and moments do not hold what they share with each level of these. So
moments are made anew from the rows that are left. Each refit starts at the full optimum and is certified like it.
"""

from typing import Any

import numpy as np
import pandas as pd

from lmm.core.progress import Progress
from lmm.criticism.influence import COLUMNS, FEWEST, collinear, status_of
from lmm.data.rows import Rows
from lmm.inference.several_intervals import names, standard_errors, values
from lmm.inference.several_optimum import SeveralOptimum, optimum
from lmm.likelihood.several_problem import SeveralProblem, build
from lmm.moments.basis import Basis
from lmm.moments.pilot import of_rows
from lmm.moments.several_accumulate import compute_several

ROWS = 20_000  # up to so many rows a refit takes milliseconds, and every level is left out
LEVELS = 500  # of a factor that are left out then, at most
CHOSEN = 20  # levels of a factor beyond these limits: those with the largest random effects


def influence(rows: Rows) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Refit by REML without each level of each factor.

    Parameters
    ----------
    rows : Rows
        In memory.

    Returns
    -------
    DataFrame
        As `influence.influence` returns it.
    dict
        groups, refits; factors: by factor groups, refits, left_out.
    """
    terms, basis = rows.terms, of_rows(rows.terms, rows.y, rows.W)
    problem = _problem(rows, basis)
    full = optimum(problem)
    estimates = estimates_of(problem, full)
    errors = np.append(np.sqrt(np.diag(full.cov_beta)), standard_errors(problem, full))
    starts = [list(full.factors)]
    if full.singular:  # a minimum may lie elsewhere without the level: not only from the boundary
        starts.append([np.eye(len(factor)) for factor in full.factors])
    chosen = {k: chosen_levels(problem, full, k, len(rows.y)) for k in range(len(terms.groupings))}
    parts, about = [], {}
    with Progress("refits without a level", sum(map(len, chosen.values()))) as progress:
        for k, which in chosen.items():
            count, left_out = len(problem.levels[k]), ""
            if not len(which):
                left_out = f"it needs at least {FEWEST} groups"
            elif len(which) < count:
                left_out = f"only {len(which)} of {count:,} groups were left out, those of the largest random effects"
            about[problem.groups[k]] = {"groups": count, "refits": len(which), "left_out": left_out}
            for j in which:
                found, status = _refit(rows, basis, rows.factors[k][0] != j, starts)
                change = found - estimates
                parts.append(
                    pd.DataFrame(
                        {
                            "group": problem.groups[k],
                            "level": str(problem.levels[k][j]),
                            "term_group": [*[""] * len(terms.fixed), *(group for group, _ in names(problem))],
                            "term": [*terms.fixed, *(term for _, term in names(problem))],
                            "estimate_without": found,
                            "change": change,
                            "standardised": change / np.where(errors > 0, errors, np.nan),
                            "status": status,
                        }
                    )
                )
                progress.advance()
    total = {key: sum(own[key] for own in about.values()) for key in ("groups", "refits")}
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
    return table, total | {"left_out": "", "factors": about}


def estimates_of(problem: SeveralProblem, best: SeveralOptimum) -> np.ndarray:
    """Fixed effects, then the variance parameters in the order of `several_intervals.names`."""
    return np.append(best.beta, values(problem, best.roots, best.sigma))


def chosen_levels(problem: SeveralProblem, full: SeveralOptimum, k: int, rows: int) -> np.ndarray:
    """Positions of the levels of factor k that are left out, one after the other.

    Parameters
    ----------
    problem : SeveralProblem
        The model over moments.
    full : SeveralOptimum
        Its optimum.
    k : int
        The factor.
    rows : int
        N.

    Returns
    -------
    int array
        All levels, or those with the largest sums of squares Z_kj'P y relative to their information.
    """
    count = len(problem.levels[k])
    if count < FEWEST:
        return np.empty(0, dtype=int)
    if rows <= ROWS and count <= LEVELS:
        return np.arange(count)
    u = full.information.errors(k) @ full.factors[k]  # lambda'Z_kj'P y: random effects over sigma and lambda
    return np.sort(np.argsort(-(u**2).sum(axis=1), kind="stable")[:CHOSEN])


def _problem(rows: Rows, basis: Basis) -> SeveralProblem:
    """The model over moments of the rows."""
    terms = rows.terms
    codes, levels = ([own[at] for own in rows.factors] for at in (0, 1))
    moments = compute_several(terms, rows.y, rows.W, codes, levels, basis, weights=rows.weights)
    return build(moments, terms.fixed, [grouping.blocks for grouping in terms.groupings])


def _refit(
    rows: Rows, basis: Basis, kept: np.ndarray, starts: list[list[np.ndarray]]
) -> tuple[np.ndarray, str]:
    """Estimates from the rows that are kept, and how the fit ended."""
    terms, factors = rows.terms, []
    for codes, levels in rows.factors:
        left, place = np.unique(codes[kept], return_inverse=True)
        factors.append((place.astype(np.int64), levels[left]))
    variances = [len(block) * (len(block) + 1) // 2 for own in terms.groupings for block in own.blocks]
    nothing = np.full(len(terms.fixed) + sum(variances) + 1, np.nan)
    if kept.sum() <= len(terms.fixed):
        return nothing, "not estimable"
    weights = None if rows.weights is None else rows.weights[kept]
    own = Rows(terms, rows.y[kept], rows.W[kept], *factors[0], tuple(factors[1:]), weights)
    problem = _problem(own, basis)
    if collinear(problem.total[:-1, :-1]):
        return nothing, "not estimable"
    best = optimum(problem, starts=starts)
    return estimates_of(problem, best), status_of(best)
