"""What calibration ranks in one replicate of a model with several grouping factors: as `ranks` does for one."""

from typing import Any

import numpy as np
import pandas as pd

from lmm.core.tidy import truth_of, variable
from lmm.data.rows import Rows
from lmm.engines.pymc.several_chains import SeveralChains
from lmm.engines.pymc.several_draws import draw_effects
from lmm.recovery.calibration.verdicts import DRAWS, LOG_LIKELIHOOD, ranef_quantity, rank_table, thin_to_ess


def log_likelihood(rows: Rows, beta: np.ndarray, effects: list[np.ndarray], sigma: np.ndarray) -> np.ndarray:
    """log p(y | beta, u, sigma) at S draws, from the rows.

    Parameters
    ----------
    rows : Rows
        Of the model's terms.
    beta : (S, p) array
        Original units.
    effects : list of (S, J_k, q_k) arrays
        Of each factor, levels as in `rows`.
    sigma : (S,) array
        Residual sds.

    Returns
    -------
    (S,) array
    """
    left = rows.y - beta @ rows.columns(rows.terms.fixed).T
    for grouping, (codes, _), u in zip(rows.terms.groupings, rows.factors, effects, strict=True):
        left = left - np.einsum("na,sna->sn", rows.columns(grouping.random), u[:, codes])
    return -0.5 * len(rows.y) * np.log(2.0 * np.pi * sigma**2) - 0.5 * (left**2).sum(axis=1) / sigma**2


def random_effects(chains: SeveralChains, at: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Exact draws of all random effects at some of the draws.

    Parameters
    ----------
    chains : SeveralChains
        Draws, and what follows from them exactly.
    at : (S,) int array
        Positions of the draws.
    rng : Generator
        Source of the random numbers.

    Returns
    -------
    list of (S, J_k, q_k) arrays
        Of each factor, original units.
    """
    beta = chains.beta[at] + chains.away[at]
    return draw_effects(chains.density, [root[at] for root in chains.roots], chains.sigmas[at], beta, rng)


def several_ranks(
    chains: SeveralChains, rows: Rows, truth: dict[str, Any], rng: np.random.Generator
) -> pd.DataFrame:
    """Ranks of the true values among thinned draws.

    Parameters
    ----------
    chains : SeveralChains
        Draws, and what follows from them exactly.
    rows : Rows
        Of the model's terms: those that the truth is of. Their levels are the last of those that were fitted (all of
        them, but for posterior calibration).
    truth : dict
        As truth.json.
    rng : Generator
        For the draws of random effects, and ties.

    Returns
    -------
    DataFrame
        quantity, rank, n_ranks, ess (see `verdicts.rank_table`). Quantities are named by `tidy.variable`; of each
        factor the random effects of its first level are ranked.
    """
    groups, ess = [own.group for own in rows.terms.groupings], chains.measures["ess_bulk"]
    keys = [*(("", term) for term in rows.terms.fixed), *chains.priors.keys]
    at = thin_to_ess(np.arange(len(chains.sigmas)), float(np.min(ess)), DRAWS)
    values = chains.values.reshape(len(chains.priors.keys), -1)[:, at]
    beta, sigma, names = chains.fixed.draws[at], chains.sigmas[at], [variable(*key, groups) for key in keys]
    draws = dict(zip(names, np.concatenate([beta.T, values]), strict=True))
    true = {name: truth_of(truth, *key) for name, key in zip(names, keys, strict=True)}
    effects = [
        own[:, own.shape[1] - len(levels) :]
        for own, (_, levels) in zip(random_effects(chains, at, rng), rows.factors, strict=True)
    ]
    known = []
    for k, (grouping, (_, levels)) in enumerate(zip(rows.terms.groupings, rows.factors, strict=True)):
        drawn = truth["ranef"][grouping.group]
        known.append(np.array([[drawn[term][str(level)] for term in grouping.random] for level in levels]))
        for a, term in enumerate(grouping.random):
            name = variable(grouping.group, ranef_quantity(term, str(levels[0])), groups)
            draws[name], true[name] = effects[k][:, 0, a], known[k][0, a]
    draws[LOG_LIKELIHOOD] = log_likelihood(rows, beta, effects, sigma)
    at_truth = np.array([[true[term] for term in rows.terms.fixed]]), [own[None] for own in known]
    true[LOG_LIKELIHOOD] = float(log_likelihood(rows, *at_truth, np.array([truth["sigma"]]))[0])
    return rank_table(draws, true, dict(zip(names, map(float, ess), strict=True)), rng)
