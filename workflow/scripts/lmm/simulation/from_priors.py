"""Parameters drawn from the priors, for simulation-based calibration (docs/statistics.md, section 7)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lmm.config.simulation import Simulation
from lmm.core.tidy import corr_key
from lmm.model.priors import parse_prior
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
        engine's blocks of random effects, which may be fewer and smaller than the simulated model's; effects
        that it lacks are simulated with sd 0, correlations that it lacks as 0.

    Returns
    -------
    Simulation
    """
    blocks = [tuple(block) for block in priors["blocks"]]
    known = [term for block in blocks for term in block]

    def one(kind: str, term: str) -> float:
        setting = priors.get(kind, "auto")
        text = setting if isinstance(setting, str) else setting[term]
        return float(parse_prior(text, kind, f"engines.pymc.priors.{kind}").sample(rng))

    fixed = {term: one("fixed", term) for term in terms.fixed}
    sd = {term: one("sd", term) if term in known else 0.0 for term in terms.random}
    sigma = one("sigma", "")
    text = priors.get("corr", "auto")
    prior = parse_prior(CORR if text == "auto" else text, "corr", "engines.pymc.priors.corr")
    corr = {}
    for block in blocks:
        matrix = prior.sample_corr(rng, len(block))
        for i, first in enumerate(block):
            for j in range(i + 1, len(block)):
                corr[corr_key(first, block[j])] = float(matrix[i, j])
    drawn = {"fixed": fixed, "sd": sd, "sigma": sigma, "corr": corr or None}
    return settings.model_copy(update=drawn)
