"""Prior sensitivity by power-scaling: how the posterior would move if prior or likelihood counted a little more.

Kallioinen, Paananen, Bürkner & Vehtari 2024 (Stat. Comput. 34, 57), as R's priorsense and ArviZ's psense have it:
importance weights p(theta)^(alpha - 1) or p(y | theta)^(alpha - 1) at the draws, Pareto-smoothed, and the
cumulative Jensen-Shannon distance of each parameter's distribution, per doubling of alpha. Random effects are
integrated out: their distribution counts as likelihood, the priors of its standard deviations as prior.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats

from lmm.core.tidy import RESIDUAL, cor_name, sd_name
from lmm.engines.pymc.priors import Priors

ALPHAS = (0.99, 1.01)
LIMIT = 0.05  # priorsense's: a sensitivity above it is one
CONFLICT = "prior and data conflict, or a strong prior"
STRONG = "strong prior or weak data"
COLUMNS = ["term", "prior", "likelihood", "diagnosis"]


def constant(priors: Priors) -> bool:
    """Whether the joint prior has the same density wherever it has one: then no power of it changes anything."""
    own = [*priors.fixed.values(), *priors.sd.values(), priors.sigma]
    lkj = priors.structure.correlations and priors.corr.args[0] != 1.0
    return not lkj and all(prior.name in ("flat", "uniform") for prior in own)


def log_prior(priors: Priors, draws: Mapping[str, np.ndarray]) -> np.ndarray:
    """Log density of the joint prior at draws, up to a constant; flat priors add nothing.

    Parameters
    ----------
    priors : Priors
        Priors with their numbers and coordinates.
    draws : mapping
        Tidy term -> values in the priors' coordinates, all of one shape.

    Returns
    -------
    array of the draws' shape
    """
    return log_prior_shared(priors, draws) + log_prior_random(priors, draws)


def log_prior_shared(priors: Priors, draws: Mapping[str, np.ndarray]) -> np.ndarray:
    """`log_prior` of the fixed effects and sigma, which all factors share.

    Parameters
    ----------
    priors : Priors
        Of any factor.
    draws : mapping
        As for `log_prior`.

    Returns
    -------
    array of the draws' shape
    """
    total = priors.sigma.logpdf(draws[RESIDUAL])
    for term, prior in priors.fixed.items():
        total = total + prior.logpdf(draws[term])
    return total


def log_prior_random(priors: Priors, draws: Mapping[str, np.ndarray]) -> np.ndarray:
    """`log_prior` of a factor's standard deviations and correlations.

    Parameters
    ----------
    priors : Priors
        Of the factor.
    draws : mapping
        As for `log_prior`, of the factor's terms.

    Returns
    -------
    array of the draws' shape
    """
    structure = priors.structure
    total = np.sum([prior.logpdf(draws[sd_name(term)]) for term, prior in priors.sd.items()], axis=0)
    for start, stop in structure.blocks:
        if stop - start < 2:
            continue
        names = structure.random[start:stop]
        corr = np.broadcast_to(np.eye(len(names)), (*total.shape, len(names), len(names))).copy()
        for a, first in enumerate(names):
            for b in range(a + 1, len(names)):
                corr[..., a, b] = corr[..., b, a] = draws[cor_name(first, names[b])]
        total = total + (priors.corr.args[0] - 1.0) * np.linalg.slogdet(corr)[1]
    return total


def power_scaling(draws: Mapping[str, np.ndarray], prior: np.ndarray, likelihood: np.ndarray) -> pd.DataFrame:
    """Sensitivity of every parameter's marginal posterior to the prior and to the likelihood.

    Parameters
    ----------
    draws : mapping
        Tidy term -> (chains, draws) array.
    prior, likelihood : (chains, draws) arrays
        Log densities at the draws, up to a constant.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. The diagnosis is empty, or `CONFLICT` where both sensitivities exceed `LIMIT`, or `STRONG`
        where the prior's alone does.
    """
    weights = {}
    for name, log_density in (("prior", prior), ("likelihood", likelihood)):
        both = [array_stats.power_scale_lw(log_density, alpha=alpha, axis=(-2, -1)) for alpha in ALPHAS]
        both = [np.exp(log_weight - log_weight.max()) for log_weight in both]
        weights[name] = [weight / weight.sum() for weight in both]
    rows = []
    for term, values in draws.items():
        found = {
            name: float(array_stats.power_scale_sense(values, *both, *ALPHAS))
            for name, both in weights.items()
        }
        strong, informed = found["prior"] >= LIMIT, found["likelihood"] >= LIMIT
        diagnosis = (CONFLICT if informed else STRONG) if strong else ""
        rows.append({"term": term, **found, "diagnosis": diagnosis})
    return pd.DataFrame(rows, columns=COLUMNS)
