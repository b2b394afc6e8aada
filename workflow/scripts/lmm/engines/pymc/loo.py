"""Leave-one-group-out cross-validation of the marginal model, by Pareto-smoothed importance sampling (ArviZ).

What is left out is a whole group, its random effects integrated out: the question is how well the model predicts
the rows of a *new* group. Leaving out one row at a time, or conditioning on the group's own effects, asks another
question and has far worse Pareto k (Merkle, Furr & Rabe-Hesketh 2019, Psychometrika 84). See docs/statistics.md,
section 14.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats

from lmm.core.tidy import RESIDUAL, by_term
from lmm.data.rows import Rows
from lmm.engines.pymc.gates import ess_mean
from lmm.engines.pymc.several_loo import ROWS
from lmm.inference.spreads import spaced
from lmm.likelihood.by_group import log_densities
from lmm.likelihood.problem import Problem, roots_of
from lmm.moments.moments import Moments

COLUMNS = ["level", "rows", "elpd", "p_loo", "pareto_k"]


UNREAD = f"rows have weights, and are more than {ROWS:,}"
WORK = 8_000_000  # draws x groups whose densities are held at once (64 MB); beyond it, draws are thinned


def draws_of(posterior: Any, names: tuple[str, ...], n_groups: int) -> dict[str, np.ndarray]:
    """Draws (chains, draws) by name: all where draws x groups allow it, else evenly spaced ones of each chain.

    Parameters
    ----------
    posterior : Dataset
        The group `posterior` of posterior.nc: fixed effects and variance parameters under tidy names.
    names : tuple of str
        Tidy terms.
    n_groups : int
        J.

    Returns
    -------
    dict[str, array]
    """
    at = thinned(posterior.sizes["chain"], posterior.sizes["draw"], n_groups)
    kept = by_term(posterior)
    return {
        name: np.ascontiguousarray(kept[name].transpose("chain", "draw").to_numpy()[:, at]) for name in names
    }


def thinned(chains: int, draws: int, n_groups: int) -> np.ndarray:
    """Positions of the draws of a chain that are looked at: all where draws x groups allow it, evenly spaced else.

    Parameters
    ----------
    chains : int
        Number of chains.
    draws : int
        Draws per chain.
    n_groups : int
        J.

    Returns
    -------
    array
    """
    keep = max(1, min(draws, WORK // max(n_groups * chains, 1)))
    return spaced(draws, keep)


def densities(
    problem: Problem, gram: np.ndarray, moments: Moments, draws: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, float]:
    """log p(y_j | parameters), (chains, draws, J), and the share of draws that count as independent.

    Parameters
    ----------
    problem : Problem
        The model over moments.
    gram : (J, ...) array
        From `by_group` of the same moments.
    moments : Moments
        The data's.
    draws : mapping
        From `draws_of`.

    Returns
    -------
    tuple[array, float]
    """
    beta = np.stack([draws[name].ravel() for name in problem.fixed], axis=1)
    values = np.stack([draws[name].ravel() for name in problem.structure.terms])
    density = log_densities(problem, gram, moments.n, beta, *roots_of(problem.structure, values))
    effective = float(ess_mean(np.stack(list(draws.values()))).mean()) / draws[RESIDUAL].size
    return density.reshape(*draws[RESIDUAL].shape, -1), effective


def log_weights(moments: Moments, read: Callable[[], Rows] | None) -> np.ndarray | None:
    """What rows' weights add to the log density of each group: half of the sum of their logarithms.

    Parameters
    ----------
    moments : Moments
        The data's.
    read : callable or None
        Returns the rows; called only where they have weights, and are few enough.

    Returns
    -------
    (J,) array or None
        None where rows have weights and are not read.
    """
    if not moments.weighted:
        return np.zeros(moments.n_groups)
    if read is None or moments.n_rows > ROWS:
        return None
    rows = read()
    assert rows.weights is not None, "moments are weighted"
    return 0.5 * np.bincount(rows.codes, np.log(rows.weights), minlength=moments.n_groups)


def threshold(draws: int) -> float:
    """Largest Pareto k at which so many draws give a reliable estimate (Vehtari et al. 2024, JMLR 25(72))."""
    return min(1.0 - 1.0 / np.log10(draws), 0.7)


def leave_one_out(
    log_density: np.ndarray, levels: np.ndarray, rows: np.ndarray, relative_ess: float
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Expected log predictive density of every group, each predicted without its own rows.

    Parameters
    ----------
    log_density : (chains, draws, J) array
        log p(y_j | parameters), from `by_group.log_densities`.
    levels : (J,) array of str
        Names of the groups.
    rows : (J,) int array
        n_j.
    relative_ess : float
        Effective over actual number of draws, at most 1.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, one row per group: elpd = log p(y_j | all other groups), p_loo what knowing the group adds.
    dict
        elpd, se (over groups), p_loo, draws, good_k, high (levels with a k above it, the worst first).

    References
    ----------
    Vehtari, Gelman & Gabry 2017 (Stat. Comput. 27); arviz_stats does the smoothing.
    """
    series = np.moveaxis(log_density, 2, 0)
    elpd, k, p_loo = array_stats.loo(series, chain_axis=1, draw_axis=2, r_eff=min(relative_ess, 1.0))
    table = pd.DataFrame(dict(zip(COLUMNS, (levels, rows, elpd, p_loo, k), strict=True)))
    total, error, effective, _ = array_stats.loo_summary(elpd, p_loo)
    draws = int(np.prod(log_density.shape[:2]))
    good = threshold(draws)
    worst = table[table["pareto_k"] > good].sort_values("pareto_k", ascending=False)
    return table, {
        "elpd": float(total),
        "se": float(error),
        "p_loo": float(effective),
        "draws": draws,
        "good_k": float(good),
        "largest_k": float(k.max()),
        "high": worst["level"].astype(str).tolist(),
    }
