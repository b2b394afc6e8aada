"""What a data set was simulated from, as truth.json has it: parameters, and what was realised of them."""

from typing import Any

import numpy as np

from lmm.config.simulation import Simulation
from lmm.config.simulation_checks import correlations
from lmm.core.tidy import corr_key
from lmm.model.terms import Terms


def fixed(settings: Simulation, terms: Terms) -> dict[str, float]:
    """Fixed effects by term, defaults filled in."""
    return {name: settings.fixed.get(name, 0.0) for name in terms.fixed}


def sds(settings: Simulation, terms: Terms) -> dict[str, float]:
    """Standard deviations of the random effects by term, defaults filled in."""
    return {name: settings.sd.get(name, 1.0) for name in terms.random}


def truth_of_parameters(
    settings: Simulation, terms: Terms, effects: np.ndarray, levels: np.ndarray
) -> dict[str, Any]:
    """The part of the truth that is known without errors: parameters and random effects.

    Parameters
    ----------
    settings : Simulation
        A scalar design.
    terms : Terms
        Names of the columns of X and Z, and of the grouping factor.
    effects : (J, q) array
        Random effects.
    levels : (J,) array of str
        Names of the groups.

    Returns
    -------
    dict
        fixed, sd, corr, sigma, ranef.
    """
    corr = {
        corr_key(first, block[j]): float(matrix[i, j])
        for block, matrix in zip(terms.blocks, correlations(settings, terms), strict=True)
        for i, first in enumerate(block)
        for j in range(i + 1, len(block))
    }
    return {
        "fixed": fixed(settings, terms),
        "sd": sds(settings, terms),
        "corr": corr,
        "sigma": settings.sigma,
        "ranef": {
            name: dict(zip(levels.tolist(), effects[:, k].tolist(), strict=True))
            for k, name in enumerate(terms.random)
        },
    }


def realised(terms: Terms, effects: np.ndarray, errors: np.ndarray) -> dict[str, Any]:
    """sd's (ddof 1) and correlations of the random effects (J, q) that were drawn, and the sd of the errors (N,).

    Parameters
    ----------
    terms : Terms
        Names of the columns of X and Z, and of the grouping factor.
    effects : (J, q) array
        Random effects.
    errors : (N,) array
        Errors.

    Returns
    -------
    dict
        sd, corr (null beside an effect without variance), sigma.
    """
    names = list(terms.random)
    corr = {}
    for block in terms.blocks:
        for i, first in enumerate(block):
            for second in block[i + 1 :]:
                drawn = effects[:, [names.index(first), names.index(second)]]
                spread = np.ptp(drawn, axis=0).min() > 0  # an effect without variance correlates with nothing
                corr[corr_key(first, second)] = float(np.corrcoef(drawn.T)[0, 1]) if spread else None
    return {
        "sd": {name: float(np.std(effects[:, k], ddof=1)) for k, name in enumerate(names)},
        "corr": corr,
        "sigma": float(np.std(errors, ddof=1)),
    }


def by_group(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The truth of several grouping factors from that of each: sd, corr and ranef by factor, the rest as in any.

    Parameters
    ----------
    found : dict
        Grouping factor to its part.

    Returns
    -------
    dict
    """
    first = next(iter(found.values()))
    return {
        key: {group: own[key] for group, own in found.items()} if key in ("sd", "corr", "ranef") else value
        for key, value in first.items()
    }
