"""Parameters drawn from the priors, for simulation-based calibration (docs/statistics.md, section 7)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lmm.config.simulation import Simulation
from lmm.core.tidy import corr_key
from lmm.model.priors import of_factor, parse_prior
from lmm.model.terms import Terms

CORR = "lkj(2)"  # what `auto` is for correlations


def simulation_from_priors(
    rng: np.random.Generator, settings: Simulation, terms: Terms, priors: Mapping[str, Any]
) -> Simulation:
    """A design with its parameters replaced by a draw from the priors.

    Parameters
    ----------
    rng : Generator
        Source of the random numbers.
    settings : Simulation
        What is not a parameter (groups, rows, predictors) is kept.
    terms : Terms
        Of the simulated model.
    priors : mapping
        `priors` of the pymc engine (fixed, sd, sigma, corr), all proper and with numbers, and `blocks`: the
        engine's blocks of random effects by factor, which may be fewer and smaller than the simulated model's;
        effects that it lacks are simulated with sd 0, correlations that it lacks as 0.

    Returns
    -------
    Simulation
    """
    blocks = {group: [tuple(block) for block in own] for group, own in priors["blocks"].items()}

    def one(kind: str, term: str, setting: Any) -> float:
        text = setting if isinstance(setting, str) else setting[term]
        return float(parse_prior(text, kind, f"engines.pymc.priors.{kind}").sample(rng))

    fixed = {term: one("fixed", term, priors.get("fixed", "auto")) for term in terms.fixed}
    sd: dict[str, dict[str, float]] = {}
    for own in terms.groupings:
        setting = priors.get("sd", "auto")
        setting = of_factor(setting, own.group, own.random) if terms.several else setting
        known = {term for block in blocks.get(own.group, []) for term in block}
        sd[own.group] = {term: one("sd", term, setting) if term in known else 0.0 for term in own.random}
    sigma = one("sigma", "", priors.get("sigma", "auto"))
    text = priors.get("corr", "auto")
    prior = parse_prior(CORR if text == "auto" else text, "corr", "engines.pymc.priors.corr")
    corr: dict[str, dict[str, float]] = {}
    for group, own_blocks in blocks.items():
        for block in own_blocks:
            matrix = prior.sample_corr(rng, len(block))
            for i, first in enumerate(block):
                for j in range(i + 1, len(block)):
                    pair = corr_key(first, block[j])
                    corr.setdefault(group, {})[pair] = float(matrix[i, j])
    drawn = {"fixed": fixed, "sd": sd, "sigma": sigma, "corr": corr or None}
    if not terms.several:
        drawn |= {"sd": sd[terms.group], "corr": corr.get(terms.group)}
    return settings.model_copy(update=drawn)
