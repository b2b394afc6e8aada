"""Tidy tables of a Bayesian fit."""

import numpy as np
import pandas as pd

from lmm.chains import Chains
from lmm.gates import convergence, ess_mean
from lmm.moments import Moments
from lmm.tidy import RESIDUAL, truth_of

ENGINE = "pymc"


def summarise(draws: np.ndarray, level: float, q: tuple[float, float] = (0.05, 0.95)) -> pd.DataFrame:
    """mean, median, sd, mad, quantiles and interval of draws (k, chains, draws); one row each."""
    flat = draws.reshape(len(draws), -1)
    median = np.median(flat, axis=1)
    low, high = 0.5 - level / 2, 0.5 + level / 2
    quantiles = np.quantile(flat, [*q, low, high], axis=1)
    return pd.DataFrame(
        {
            "estimate": flat.mean(axis=1),
            "std_error": flat.std(axis=1, ddof=1),
            "conf_low": quantiles[2],
            "conf_high": quantiles[3],
            "median": median,
            "sd": flat.std(axis=1, ddof=1),
            "mad": 1.4826 * np.median(np.abs(flat - median[:, None]), axis=1),  # as R's mad
            "q5": quantiles[0],
            "q95": quantiles[1],
        }
    )


def parameters_table(chains: Chains, group: str, level: float, truth: dict | None) -> tuple:
    """Tidy parameters with R-hat, ESS and Monte Carlo errors; the convergence measures beside them."""
    problem = chains.problem
    fixed = chains.by_chain(chains.fixed.draws)
    draws = np.concatenate([fixed, chains.draws.values])
    measures = convergence(draws)
    table = summarise(draws, level)
    # fixed effects: Rao-Blackwellised mean and sd; the error of the mean is that of the conditional means
    p = problem.p
    conditional = chains.by_chain(chains.fixed.mean)
    table.loc[: p - 1, "estimate"] = chains.fixed.mean.mean(axis=0)
    sd = np.sqrt(np.diag(chains.fixed.covariance))
    table.loc[: p - 1, "sd"] = sd
    table.loc[: p - 1, "std_error"] = sd
    spread = table["sd"].to_numpy(copy=True)
    spread[:p] = chains.fixed.mean.std(axis=0)
    ess = measures["ess_mean"].copy()
    ess[:p] = ess_mean(conditional)
    table["rhat"], table["ess_bulk"] = measures["rhat"], measures["ess_bulk"]
    table["ess_tail"], table["mcse_mean"] = measures["ess_tail"], spread / np.sqrt(ess)
    terms = [*problem.fixed, *problem.structure.terms]
    table.insert(0, "engine", ENGINE)
    table.insert(1, "effect", ["fixed"] * p + ["ran_pars"] * (len(terms) - p))
    owner = [""] * p + ["Residual" if term == RESIDUAL else group for term in terms[p:]]
    table.insert(2, "group", owner)
    table.insert(3, "term", terms)
    table.insert(6, "statistic", np.nan)
    table.insert(7, "p_value", np.nan)
    table.insert(10, "truth", [truth_of(truth, term) for term in terms])
    return table, measures


def ranef_table(
    chains: Chains, moments: Moments, level: float, truth: dict | None, ess: np.ndarray | None
) -> pd.DataFrame:
    """Tidy random effects with Monte Carlo errors."""
    summary, random = chains.ranef(level), chains.problem.structure.random
    q = len(random)
    realised = np.full(summary.mean.shape, np.nan)
    if truth is not None:
        for k, term in enumerate(random):
            values = truth["ranef"].get(term, {})
            realised[:, k] = [values.get(str(name), np.nan) for name in moments.levels]
    return pd.DataFrame(
        {
            "group": moments.group,
            "level": np.repeat(moments.levels, q),
            "term": np.tile(np.array(random, dtype=object), len(moments.levels)),
            "estimate": summary.mean.ravel(),
            "std_error": summary.sd.ravel(),
            "cond_sd": summary.cond_sd.ravel(),
            "conf_low": summary.low.ravel(),
            "conf_high": summary.high.ravel(),
            "truth": realised.ravel(),
            "mcse_mean": summary.mcse.ravel(),
            "ess_bulk": np.nan if ess is None else ess.ravel(),
        }
    )
