"""Tidy tables of a Bayesian fit."""

import numpy as np
import pandas as pd
import xarray as xr

from lmm.core.tidy import DRAWS, PARAMETERS, group_of, ranef_frame, truth_of, variables
from lmm.engines.pymc.chains import Chains
from lmm.engines.pymc.gates import ess_mean
from lmm.likelihood.problem import Structure
from lmm.moments.moments import Moments

ENGINE = "pymc"


def summarise(draws: np.ndarray, level: float, q: tuple[float, float] = (0.05, 0.95)) -> pd.DataFrame:
    """mean, median, sd, mad, quantiles and interval of draws (k, chains, draws); one row each.

    Parameters
    ----------
    draws : (k, chains, draws) array
        Draws of k parameters.
    level : float
        Of the intervals, between 0 and 1.
    q : (float, float)
        Probabilities of the columns q5 and q95.

    Returns
    -------
    DataFrame
        A row per parameter: estimate (mean), std_error (sd), conf_low, conf_high, median, sd, mad, q5, q95.
    """
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
    """Tidy parameters with R-hat, ESS and Monte Carlo errors; the convergence measures beside them.

    Parameters
    ----------
    chains : Chains
        Draws, and what follows from them exactly.
    group : str
        The grouping factor.
    level : float
        Of the intervals, between 0 and 1.
    truth : dict or None
        truth.json's content; None for own data.

    Returns
    -------
    DataFrame, dict
        Columns PARAMETERS and DRAWS; the measures of `gates.convergence`.
    """
    problem = chains.problem
    fixed = chains.by_chain(chains.fixed.draws)
    draws = np.concatenate([fixed, chains.draws.values])
    measures = chains.measures
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
    return labelled(table, problem.structure, problem.fixed, group, truth), measures


def labelled(
    table: pd.DataFrame, structure: Structure, fixed: tuple[str, ...], group: str, truth: dict | None
) -> pd.DataFrame:
    """Tidy PARAMETERS columns in front of the summaries of fixed effects and `Structure.terms`.

    Parameters
    ----------
    table : DataFrame
        From `summarise`.
    structure : Structure
        The random effects, and which elements of L are free.
    fixed : tuple of str
        Names of X's columns.
    group : str
        The grouping factor.
    truth : dict or None
        truth.json's content; None for own data.

    Returns
    -------
    DataFrame
        Columns PARAMETERS and DRAWS.
    """
    terms = [*fixed, *structure.terms]
    names = {
        "engine": ENGINE,
        "effect": ["fixed"] * len(fixed) + ["ran_pars"] * len(structure.terms),
        "group": [""] * len(fixed) + [group_of(term, group) for term in structure.terms],
        "term": terms,
        "truth": [truth_of(truth, group, term) for term in terms],
    }
    return table.assign(**names).reindex(columns=[*PARAMETERS, *DRAWS])


def ranef_table(
    chains: Chains,
    moments: Moments,
    level: float,
    truth: dict | None,
    ess: np.ndarray | None,
    **how: int,
) -> pd.DataFrame:
    """Tidy random effects with Monte Carlo errors; `how`: see `Chains.ranef`.

    Parameters
    ----------
    chains : Chains
        Draws, and what follows from them exactly.
    moments : Moments
        Sufficient statistics of the rows.
    level : float
        Of the intervals, between 0 and 1.
    truth : dict or None
        truth.json's content; None for own data.
    ess : (J, q) array or None
        Bulk ESS of drawn random effects.
    **how : int
        See `Chains.ranef`.

    Returns
    -------
    DataFrame
        Columns RANEF, mcse_mean and ess_bulk.
    """
    summary = chains.ranef(level, **how)
    return ranef_frame(
        moments.group,
        moments.levels,
        chains.problem.structure.random,
        truth,
        estimate=summary.mean,
        std_error=summary.sd,
        cond_sd=summary.cond_sd,
        conf_low=summary.low,
        conf_high=summary.high,
        mcse_mean=summary.mcse,
        ess_bulk=np.nan if ess is None else ess,
    )


def posterior_tree(
    names: tuple[str, ...],
    values: np.ndarray,
    stats: dict[str, np.ndarray],
    moments: Moments,
    random: tuple[str, ...],
    ranef: np.ndarray | None,
    priors: list[dict],
) -> xr.DataTree:
    """ArviZ's DataTree of a fit: posterior, sample_stats, observed_data (rows of each group).

    Clock times and the like are left out: the same fit gives the same content.

    Parameters
    ----------
    names : tuple of str
        Tidy terms.
    values : (k, chains, draws) array
        Their draws.
    stats : dict of (chains, draws) arrays
        The sampler's statistics.
    moments : Moments
        Sufficient statistics of the rows.
    random : tuple of str
        Names of Z's columns.
    ranef : (chains, draws, J, q) array or None
        Draws of the random effects.
    priors : list of dict
        Rows of `Priors.table`.

    Returns
    -------
    DataTree
    """
    dims = ("chain", "draw")
    chain_draw = {name: np.arange(size) for name, size in zip(dims, values.shape[1:], strict=True)}
    levels = moments.levels.astype(str)
    own = variables(names)
    posterior = xr.Dataset(
        {own[name]: (dims, draws, {"term": name}) for name, draws in zip(names, values, strict=True)},
        chain_draw,
    )
    if ranef is not None:
        posterior = posterior.assign_coords(level=levels, term=list(random))
        posterior["ranef"] = ((*dims, "level", "term"), ranef)
    posterior.attrs = {"priors": "; ".join(f"{row['parameter']} ~ {row['prior']}" for row in priors)}
    sample_stats = xr.Dataset({name: (dims, value) for name, value in stats.items()}, chain_draw)
    observed = xr.Dataset({"rows": ("level", moments.n)}, {"level": levels})
    groups = {"posterior": posterior, "sample_stats": sample_stats, "observed_data": observed}
    return xr.DataTree.from_dict(groups)
