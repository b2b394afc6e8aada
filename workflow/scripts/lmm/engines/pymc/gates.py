"""What a Bayesian fit must pass before it is believed (docs/statistics.md, section 5).

Vehtari et al. 2021, Bayesian Analysis 16(2).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lmm.core import engines
from lmm.core.compiled import kernel
from lmm.engines.pymc import mixing
from lmm.engines.pymc.order import quantiles
from lmm.inference.unidentified import not_identified

RHAT = 1.01
ESS_PER_CHAIN = 100
BFMI = 0.3
PARETO_K = 0.5  # of importance weights: below it they have a variance (Vehtari et al. 2024, JMLR 25(72))
TAILS = (0.05, 0.95)
LOOSE_RHAT, LOOSE_ESS = 1.05, 100  # the post's rule


def convergence(draws: np.ndarray, points: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Rank-normalised split R-hat, bulk and tail ESS, and the ESS of the mean.

    Parameters
    ----------
    draws : (k, chains, draws) array
        Draws of k quantities.
    points : (chains x draws,) int array, optional
        Of draws that were resampled from independent weighted points: the point of each. They have no R-hat (NaN),
        and the ESS counts a point that is there several times as one.

    Returns
    -------
    dict
        rhat, ess_bulk, ess_tail, ess_mean: (k,) arrays. Quantities that do not vary (a variance held at 0, a
        GLS estimate that the variances do not move) have R-hat 1 and the number of draws as ESS.
    """
    if points is not None:
        flat = draws.reshape(len(draws), -1)
        tails = [flat <= q[:, None] for q in quantiles(flat, TAILS)]
        series = np.concatenate([mixing.scores(flat), *tails, flat])
        bulk, low, high, mean = ess_of_points(series, points).reshape(4, -1)
        return {
            "rhat": np.full(len(flat), np.nan),
            "ess_bulk": bulk,
            "ess_tail": np.minimum(low, high),
            "ess_mean": mean,
        }
    return {
        "rhat": _where_varying(draws, mixing.r_hat, 1.0),
        "ess_bulk": ess_bulk(draws),
        "ess_tail": _where_varying(draws, lambda varying: mixing.tail(varying, TAILS), _size(draws)),
        "ess_mean": ess_mean(draws),
    }


def ess_of_points(draws: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Effective sample size of the mean of resampled draws: their variance over that of the mean.

    The mean is a sum over independent points; its variance is the sum of the squares of their parts.

    Parameters
    ----------
    draws : (k, S) array
        Draws of k quantities.
    points : (S,) int array
        The weighted point of each draw.

    Returns
    -------
    (k,) array
        S for what does not vary.
    """
    total = draws.shape[1]
    error, spread = _of_points(np.ascontiguousarray(draws, dtype=float), points, int(points.max()) + 1)
    varies = error > 1e-24 * total * np.max(np.abs(draws), axis=1, initial=1e-300) ** 2
    return np.where(varies, total * spread / np.where(varies, error, 1.0), float(total))


@kernel
def _of_points(draws, points, count):
    """Sums of squares of the parts that points have in the mean, times S^2, and of the draws about it, (k,) each."""
    error, spread = np.zeros(len(draws)), np.zeros(len(draws))
    for at in range(len(draws)):
        own, parts = draws[at], np.zeros(count)
        mean = own.mean()
        for s in range(len(own)):
            away = own[s] - mean
            parts[points[s]] += away
            spread[at] += away * away
        for part in parts:
            error[at] += part * part
    return error, spread


def ess_mean(draws: np.ndarray, points: np.ndarray | None = None) -> np.ndarray:
    """Effective sample size of the mean, (k,), of draws (k, chains, draws).

    Parameters
    ----------
    draws : (k, chains, draws) array
        Draws of k quantities.
    points : (chains x draws,) int array, optional
        See `convergence`.

    Returns
    -------
    (k,) array
    """
    if points is not None:
        return ess_of_points(draws.reshape(len(draws), -1), points)
    return _where_varying(draws, mixing.mean, _size(draws))


def ess_bulk(draws: np.ndarray, points: np.ndarray | None = None) -> np.ndarray:
    """Bulk effective sample size, (k,), of draws (k, chains, draws).

    Parameters
    ----------
    draws : (k, chains, draws) array
        Draws of k quantities.
    points : (chains x draws,) int array, optional
        See `convergence`.

    Returns
    -------
    (k,) array
    """
    if points is not None:
        return convergence(draws, points)["ess_bulk"]
    return _where_varying(draws, mixing.bulk, _size(draws))


def _size(draws: np.ndarray) -> float:
    """Draws in all chains."""
    return float(draws.shape[1] * draws.shape[2])


def _where_varying(draws: np.ndarray, measure: Callable, otherwise: float) -> np.ndarray:
    """`measure` of each quantity, `otherwise` for one that is constant to rounding."""
    constant = np.ptp(draws, axis=(1, 2)) <= 1e-12 * np.abs(draws).max(axis=(1, 2), initial=1e-300)
    return np.where(constant, otherwise, measure(draws))


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
    energy = stats["energy"]  # E-BFMI of each chain: Betancourt 2016, arXiv:1604.00695
    bfmi = float(np.min(np.mean(np.diff(energy, axis=1) ** 2, axis=1) / energy.var(axis=1, ddof=1)))
    rows = [
        ("R-hat, largest", worst["rhat"], rhat_limit, worst["rhat"] < rhat_limit),
        ("bulk ESS, smallest", worst["ess_bulk"], need, worst["ess_bulk"] >= need),
        ("tail ESS, smallest", worst["ess_tail"], need, worst["ess_tail"] >= need),
        ("divergences", diverging, 0, diverging == 0),
        ("draws at the largest tree depth", deep, 0, deep == 0),
        ("E-BFMI, smallest", bfmi, BFMI, bfmi >= BFMI),
    ]
    return [dict(zip(("name", "value", "limit", "passed"), row, strict=True)) for row in rows]


def gate_importance(measures: Mapping[str, np.ndarray], k: float, chains: int) -> list[dict[str, Any]]:
    """Each gate of importance sampling with its value, its limit and whether it was passed.

    Parameters
    ----------
    measures : dict of (k,) arrays
        From `convergence`, of variance parameters and fixed effects.
    k : float
        Pareto k of the weights.
    chains : int
        The ESS that so many chains would need is needed here.

    Returns
    -------
    list of dict
        name, value, limit, passed of each gate.
    """
    need = ESS_PER_CHAIN * chains
    rows = [("Pareto k of the importance weights", k, PARETO_K, k < PARETO_K)]
    for name in ("bulk", "tail"):
        least = float(np.min(measures[f"ess_{name}"]))
        rows.append((f"{name} ESS, smallest", least, need, least >= need))
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


def loose_rule(measures: dict[str, np.ndarray]) -> dict | None:
    """The post's rule of thumb, R-hat < 1.05 and ESS > 100, for comparison.

    Parameters
    ----------
    measures : dict of (k,) arrays
        From `convergence`.

    Returns
    -------
    dict or None
        rhat, ess_bulk, rule, passed; None for draws without R-hat.
    """
    if np.isnan(measures["rhat"]).any():
        return None
    rhat, ess = float(np.max(measures["rhat"])), float(np.min(measures["ess_bulk"]))
    passed = rhat < LOOSE_RHAT and ess > LOOSE_ESS
    return {"rhat": rhat, "ess_bulk": ess, "rule": "R-hat < 1.05 and ESS > 100", "passed": passed}
