"""What a Bayesian fit must pass before it is believed (docs/statistics.md, section 5).

Vehtari et al. 2021, Bayesian Analysis 16(2).
"""

from collections.abc import Callable, Sequence

import numpy as np
from arviz_stats.base import array_stats

from lmm.core import engines
from lmm.inference.identified import not_identified

RHAT = 1.01
ESS_PER_CHAIN = 100
BFMI = 0.3
LOOSE_RHAT, LOOSE_ESS = 1.05, 100  # the post's rule


def convergence(draws: np.ndarray) -> dict[str, np.ndarray]:
    """Rank-normalised split R-hat, bulk and tail ESS, and the ESS of the mean.

    Parameters
    ----------
    draws : (k, chains, draws) array
        Draws of k quantities.

    Returns
    -------
    dict
        rhat, ess_bulk, ess_tail, ess_mean: (k,) arrays. Quantities that do not vary (a variance held at 0, a
        GLS estimate that the variances do not move) have R-hat 1 and the number of draws as ESS.
    """
    return {
        "rhat": _where_varying(draws, array_stats.rhat, 1.0),
        "ess_bulk": ess_bulk(draws),
        "ess_tail": _where_varying(draws, array_stats.ess, _size(draws), method="tail", prob=(0.05, 0.95)),
        "ess_mean": ess_mean(draws),
    }


def ess_mean(draws: np.ndarray) -> np.ndarray:
    """Effective sample size of the mean, (k,), of draws (k, chains, draws).

    Parameters
    ----------
    draws : (k, chains, draws) array
        Draws of k quantities.

    Returns
    -------
    (k,) array
    """
    return _where_varying(draws, array_stats.ess, _size(draws), method="mean")


def ess_bulk(draws: np.ndarray) -> np.ndarray:
    """Bulk effective sample size, (k,), of draws (k, chains, draws).

    Parameters
    ----------
    draws : (k, chains, draws) array
        Draws of k quantities.

    Returns
    -------
    (k,) array
    """
    return _where_varying(draws, array_stats.ess, _size(draws), method="bulk")


def _size(draws: np.ndarray) -> float:
    """Draws in all chains."""
    return float(draws.shape[1] * draws.shape[2])


def _where_varying(draws: np.ndarray, measure: Callable, otherwise: float, **options) -> np.ndarray:
    """`measure` of each quantity, `otherwise` for one that is constant to rounding."""
    constant = np.ptp(draws, axis=(1, 2)) <= 1e-12 * np.abs(draws).max(axis=(1, 2), initial=1e-300)
    value = np.atleast_1d(measure(draws, chain_axis=1, draw_axis=2, **options))
    return np.where(constant, otherwise, value)


def gate_fit(
    measures: dict[str, np.ndarray], stats: dict[str, np.ndarray], chains: int, rhat_limit: float = RHAT
) -> list[dict]:
    """Each gate with its value, its limit and whether it was passed.

    Parameters
    ----------
    measures : dict of (k,) arrays
        From `convergence`, of what NUTS sampled and of fixed effects.
    stats : dict of (chains, draws) arrays
        diverging, maxdepth_reached, energy.
    chains : int
        Number of chains.
    rhat_limit : float
        Larger where very many parameters are gated: the largest of 200 passes 1.01 by chance.

    Returns
    -------
    list of dict
        name, value, limit, passed of each gate.
    """
    worst = {name: float(np.max(value)) for name, value in measures.items() if name == "rhat"}
    worst |= {name: float(np.min(value)) for name, value in measures.items() if name.startswith("ess")}
    need = ESS_PER_CHAIN * chains
    diverging, deep = int(stats["diverging"].sum()), int(stats["maxdepth_reached"].sum())
    bfmi = float(np.min(array_stats.bfmi(stats["energy"], chain_axis=0, draw_axis=1)))
    rows = [
        ("R-hat, largest", worst["rhat"], rhat_limit, worst["rhat"] < rhat_limit),
        ("bulk ESS, smallest", worst["ess_bulk"], need, worst["ess_bulk"] >= need),
        ("tail ESS, smallest", worst["ess_tail"], need, worst["ess_tail"] >= need),
        ("divergences", diverging, 0, diverging == 0),
        ("draws at the largest tree depth", deep, 0, deep == 0),
        ("E-BFMI, smallest", bfmi, BFMI, bfmi >= BFMI),
    ]
    return [dict(zip(("name", "value", "limit", "passed"), row, strict=True)) for row in rows]


def status_of(gates: list[dict], lost: Sequence[str]) -> tuple[str, str]:
    """A fit's status, `ok`, `gate-failed` or `unidentified`, and why.

    Parameters
    ----------
    gates : list of dict
        From `gate_fit`.
    lost : sequence of str
        Variance parameters that the data do not determine: the priors alone do.

    Returns
    -------
    status, message : str
    """
    failed = [
        f"{gate['name']} is {gate['value']:.4g} (limit {gate['limit']})"
        for gate in gates
        if not gate["passed"]
    ]
    if lost:
        return engines.UNIDENTIFIED, "; ".join([not_identified(lost), *failed])
    return ("gate-failed" if failed else "ok"), "; ".join(failed)


def loose_rule(measures: dict[str, np.ndarray]) -> dict:
    """The post's rule of thumb, R-hat < 1.05 and ESS > 100, for comparison.

    Parameters
    ----------
    measures : dict of (k,) arrays
        From `convergence`.

    Returns
    -------
    dict
        rhat, ess_bulk, rule, passed.
    """
    rhat, ess = float(np.max(measures["rhat"])), float(np.min(measures["ess_bulk"]))
    passed = rhat < LOOSE_RHAT and ess > LOOSE_ESS
    return {"rhat": rhat, "ess_bulk": ess, "rule": "R-hat < 1.05 and ESS > 100", "passed": passed}
