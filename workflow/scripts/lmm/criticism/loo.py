"""Leave-one-group-out cross-validation of the marginal model, by Pareto-smoothed importance sampling (ArviZ).

What is left out is a whole group, its random effects integrated out: the question is how well the model predicts
the rows of a *new* group. Leaving out one row at a time, or conditioning on the group's own effects, asks another
question and has far worse Pareto k (Merkle, Furr & Rabe-Hesketh 2019, Psychometrika 84).
"""

from typing import Any

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats

COLUMNS = ["level", "rows", "elpd", "p_loo", "pareto_k"]


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
    levels, rows : (J,) arrays
    relative_ess : float
        Effective over actual number of draws, at most 1.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, a row a group: elpd = log p(y_j | all other groups), p_loo what knowing the group adds.
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
