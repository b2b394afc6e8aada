"""What calibration ranks in one replicate: draws of quantities, and their values at the truth.

Parameters alone do not notice a missing likelihood (Modrák et al. 2023), so the joint log likelihood and random
effects of some groups are among them.
"""

from typing import Any

import numpy as np
import pandas as pd

from lmm.core.tidy import truth_of
from lmm.engines.pymc.chains import Chains
from lmm.engines.pymc.posterior import draw_groups
from lmm.model.terms import INTERCEPT
from lmm.moments.moments import Moments
from lmm.recovery.calibration.verdicts import (
    DRAWS,
    ICC,
    LOG_LIKELIHOOD,
    ranef_quantity,
    rank_table,
    thin_to_ess,
)

GROUPS = 3  # whose random effects are ranked: the first of those simulated


def log_likelihood(
    moments: Moments,
    fixed: tuple[str, ...],
    random: tuple[str, ...],
    beta: np.ndarray,
    effects: np.ndarray,
    sigma: np.ndarray,
) -> np.ndarray:
    """log p(y | beta, u, sigma) at S draws, from moments.

    Parameters
    ----------
    moments : Moments
        Sufficient statistics of the rows.
    fixed : tuple of str
        Names of X's columns.
    random : tuple of str
        Names of Z's columns.
    beta, effects, sigma : (S, p), (S, J, q), (S,) arrays
        Original units, groups as in the moments.

    Returns
    -------
    (S,) array
    """
    basis, (_, rows, width) = moments.basis, moments.gram.shape
    r, m1 = min(rows, 1 + basis.n_random), width - 1
    gram, scale = moments.gram, basis.y_scale
    # y - X beta - Z u = y_scale (y* - E offset - R_j v_j)
    offset = (beta @ basis.raw(fixed).T - basis.pilot) / scale
    v = effects @ basis.raw(random)[:r].T / scale
    cross = gram[:, :r, -1] - np.einsum("jra,sa->sjr", gram[:, :r, :m1], offset, optimize=True)
    rss = moments.total[-1, -1] - 2.0 * offset @ moments.total[:m1, -1]
    rss = rss + np.einsum("sa,ab,sb->s", offset, moments.total[:m1, :m1], offset, optimize=True)
    rss = rss - 2.0 * np.einsum("sjr,sjr->s", v, cross, optimize=True)
    rss = rss + np.einsum("sjr,jrt,sjt->s", v, gram[:, :r, :r], v, optimize=True)
    return -0.5 * moments.n_rows * np.log(2.0 * np.pi * sigma**2) - 0.5 * rss * scale**2 / sigma**2


def ranks(
    chains: Chains,
    moments: Moments,
    own: Moments,
    truth: dict[str, Any],
    ess: np.ndarray,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Ranks of the true values among thinned draws.

    Parameters
    ----------
    chains : Chains
        Draws, and what follows from them exactly.
    moments, own : Moments
        Of all data that were fitted, and of the replicate alone, whose groups are the last of `moments`
        (posterior calibration; else both are the same).
    truth : dict
        As truth.json, random effects of the replicate's groups under their names in `moments`.
    ess : (p + k,) array
        Effective sample sizes of fixed effects and `Structure.terms`.
    rng : Generator
        For the draws of random effects, and ties.

    Returns
    -------
    DataFrame
        quantity, rank, n_ranks, ess (see `calibration.rank_table`).
    """
    problem = chains.problem
    fixed, structure = problem.fixed, problem.structure
    random, least = structure.random, float(np.min(ess))
    at = thin_to_ess(np.arange(len(chains.sigmas)), least, DRAWS)
    values = chains.draws.values.reshape(len(structure.terms), -1)[:, at]
    beta, sigma = chains.fixed.draws[at], chains.sigmas[at]
    names = [*fixed, *structure.terms]
    draws = dict(zip(names, np.concatenate([beta.T, values]), strict=True))
    true = {name: truth_of(truth, moments.group, name) for name in names}
    drawn = random_effects(chains, at, rng)
    known = np.array([[truth["ranef"][term].get(str(g), np.nan) for term in random] for g in moments.levels])
    where = np.flatnonzero(np.isfinite(known).all(axis=1))
    for k, term in enumerate(random):
        for j in where[:GROUPS]:
            name = ranef_quantity(term, str(moments.levels[j]))
            draws[name], true[name] = drawn[:, j, k], known[j, k]
    if INTERCEPT in random:
        first = values[random.index(INTERCEPT)] ** 2
        draws[ICC] = first / (first + sigma**2)
        true[ICC] = truth["sd"][INTERCEPT] ** 2 / (truth["sd"][INTERCEPT] ** 2 + truth["sigma"] ** 2)
    mine = slice(moments.n_groups - own.n_groups, None)
    draws[LOG_LIKELIHOOD] = log_likelihood(own, fixed, random, beta, drawn[:, mine], sigma)
    at_truth = np.array([[true[term] for term in fixed]]), known[None, mine], np.array([truth["sigma"]])
    true[LOG_LIKELIHOOD] = float(log_likelihood(own, fixed, random, *at_truth)[0])
    return rank_table(draws, true, dict(zip(names, map(float, ess), strict=True)), rng)


def random_effects(chains: Chains, at: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exact draws of all random effects at some of the draws, (S, J, q).

    Parameters
    ----------
    chains : Chains
        Draws, and what follows from them exactly.
    at : (k,) int array
        Positions of the draws.
    rng : Generator
        Source of the random numbers.

    Returns
    -------
    (k, J, q) array
        Original units.
    """
    problem = chains.problem
    beta = (chains.fixed.draws[at] - problem.offset) @ np.linalg.inv(problem.x_map).T
    noise = rng.standard_normal((len(at), problem.n_groups, problem.q))
    return draw_groups(
        chains.packed, problem.z_map, problem.n_groups, beta, chains.factors[at], chains.sigmas[at], noise
    )
