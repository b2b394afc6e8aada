"""Tidy tables of a Bayesian fit, and its draws as ArviZ reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from lmm.core.columns import Columns, Effects, Factor
from lmm.core.tidy import DRAWS, PARAMETERS, truth_of, variables
from lmm.engines.pymc.chains import Chains, Ranef
from lmm.engines.pymc.gates import ess_mean
from lmm.engines.pymc.groups import observed_means
from lmm.engines.pymc.order import quantiles
from lmm.engines.pymc.priors import Priors
from lmm.engines.pymc.several_priors import SeveralPriors
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments

ENGINE = "pymc"


def summarise(draws: np.ndarray, level: float) -> dict[str, np.ndarray]:
    """mean, median, sd, mad, quantiles and interval of draws (k, chains, draws); one row each.

    Parameters
    ----------
    draws : (k, chains, draws) array
        Draws of k parameters.
    level : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    dict of (k,) arrays
        estimate (mean), std_error (sd), conf_low, conf_high, median, sd, mad, q5, q95.
    """
    flat = draws.reshape(len(draws), -1)
    low, high = 0.5 - level / 2, 0.5 + level / 2
    q5, median, q95, conf_low, conf_high = quantiles(flat, [0.05, 0.5, 0.95, low, high])
    sd = flat.std(axis=1, ddof=1)
    return {
        "estimate": flat.mean(axis=1),
        "std_error": sd,
        "conf_low": conf_low,
        "conf_high": conf_high,
        "median": median,
        "sd": sd,
        "mad": 1.4826 * quantiles(np.abs(flat - median[:, None]), [0.5])[0],  # as R's mad
        "q5": q5,
        "q95": q95,
    }


def parameters_table(
    chains: Any, keys: Sequence[tuple[str, str]], truth: dict | None, level: float
) -> Columns:
    """Tidy parameters with R-hat, ESS and Monte Carlo errors.

    Parameters
    ----------
    chains : Chains or SeveralChains
        Draws, and what follows from them exactly.
    keys : sequence of (group, term)
        Of fixed effects and variance parameters.
    truth : dict or None
        truth.json's content; None for own data.
    level : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    Columns
        PARAMETERS and DRAWS.
    """
    problem = chains.problem
    fixed = chains.by_chain(chains.fixed.draws)
    draws = np.concatenate([fixed, chains.values])
    measures = chains.measures
    table = summarise(draws, level)
    # fixed effects: Rao-Blackwellised mean and sd; the error of the mean is that of the conditional means
    p = problem.p
    conditional = chains.by_chain(chains.fixed.mean)
    table["estimate"][:p] = chains.fixed.mean.mean(axis=0)
    table["sd"][:p] = np.sqrt(np.diag(chains.fixed.covariance))  # and std_error, which is the same
    spread = table["sd"].copy()
    spread[:p] = chains.fixed.mean.std(axis=0)
    ess = measures["ess_mean"].copy()
    ess[:p] = ess_mean(conditional, chains.points)
    table |= {name: measures[name] for name in ("rhat", "ess_bulk", "ess_tail")}
    return labelled(table | {"mcse_mean": spread / np.sqrt(ess)}, keys, truth)


def labelled(table: Mapping[str, np.ndarray], keys: Sequence[tuple[str, str]], truth: dict | None) -> Columns:
    """Tidy PARAMETERS columns in front of the summaries of fixed effects and variance parameters.

    Parameters
    ----------
    table : dict of (k,) arrays
        From `summarise`, and the rest of DRAWS.
    keys : sequence of (group, term)
        One per row; a fixed effect's group is "".
    truth : dict or None
        truth.json's content; None for own data.

    Returns
    -------
    Columns
        PARAMETERS and DRAWS.
    """
    nothing = np.full(len(keys), np.nan)
    names = {
        "engine": [ENGINE] * len(keys),
        "effect": ["ran_pars" if group else "fixed" for group, _ in keys],
        "group": [group for group, _ in keys],
        "term": [term for _, term in keys],
        "truth": [truth_of(truth, *key) for key in keys],
    }
    known = dict(table) | names
    return Columns({name: known.get(name, nothing) for name in [*PARAMETERS, *DRAWS]})


def ranef_table(
    chains: Chains,
    moments: Moments,
    level: float,
    truth: dict | None,
    ess: np.ndarray | None,
    **how: int,
) -> Effects:
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
    Effects
        With mcse_mean and ess_bulk.
    """
    summary, random = chains.ranef(level, **how), chains.problem.structure.random
    return Effects([ranef_of(summary, moments, random, truth, ess)])


def ranef_of(
    summary: Ranef,
    moments: Moments,
    random: tuple[str, ...],
    truth: dict | None,
    ess: np.ndarray | None,
) -> Factor:
    """Tidy random effects of a factor from their summaries.

    Parameters
    ----------
    summary : Ranef
        Of every level.
    moments : Moments
        The factor's.
    random : tuple of str
        Its terms.
    truth : dict or None
        truth.json's content; None for own data.
    ess : (J, q) array or None
        Bulk ESS of drawn random effects.

    Returns
    -------
    Factor
        With mcse_mean and ess_bulk.
    """
    columns = {
        "estimate": summary.mean,
        "std_error": summary.sd,
        "cond_sd": summary.cond_sd,
        "conf_low": summary.low,
        "conf_high": summary.high,
        "mcse_mean": summary.mcse,
        "ess_bulk": np.nan if ess is None else ess,
    }
    return Factor(moments.group, moments.levels, random, truth, columns)


MEAN = "mean response of each group's rows"


def posterior_tree(
    values: Mapping[str, np.ndarray],
    stats: Mapping[str, np.ndarray],
    moments: Moments | SeveralMoments,
    priors: Priors | SeveralPriors,
    centred: Mapping[str, np.ndarray],
    ranef: Sequence[np.ndarray] = (),
    groups: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> xr.DataTree:
    """ArviZ's DataTree of a fit, its groups as results/README.md lists them.

    Clock times and the like are left out: the same fit gives the same content.

    Parameters
    ----------
    values : dict of (chains, draws) arrays
        Fixed effects and variance parameters by tidy term (of several factors: by `tidy.variable`).
    stats : dict of (chains, draws) arrays
        The sampler's statistics.
    moments : Moments or SeveralMoments
        Sufficient statistics of the rows.
    priors : Priors or SeveralPriors
        Priors with their numbers and coordinates.
    centred : dict of (chains, draws) arrays
        Parameters whose prior is at the predictors' means, there, by tidy term.
    ranef : sequence of (chains, draws, J, q) arrays, optional
        Draws of the random effects of each factor.
    groups : dict of dict of (chains, draws, J) arrays, optional
        log_likelihood and posterior_predictive by factor, as far as they are kept (`groups`, `several_groups`).

    Returns
    -------
    DataTree
    """
    dims: tuple[str, ...] = ("chain", "draw")
    shape = next(iter(values.values())).shape
    chain_draw = {name: np.arange(size) for name, size in zip(dims, shape, strict=True)}

    def drawn(named: Mapping[str, np.ndarray]) -> xr.Dataset:
        own = variables(list(named))
        return xr.Dataset(
            {own[name]: (dims, draws, {"term": name}) for name, draws in named.items()}, chain_draw
        )

    factors = moments.factors if isinstance(moments, SeveralMoments) else (moments,)
    parts = priors.factors if isinstance(priors, SeveralPriors) else (priors,)
    posterior, observed, constant = drawn(values), xr.Dataset(), xr.Dataset()
    of_groups = {name: xr.Dataset(coords=chain_draw) for name in groups or {}}
    for k, (factor, own) in enumerate(zip(factors, parts, strict=True)):
        end = f"|{factor.group}".replace("/", "\N{DIVISION SLASH}") if len(factors) > 1 else ""
        level, term = f"level{end}", f"term{end}"
        of_group: dict[Any, Any] = {level: factor.levels.astype(str)}
        if len(ranef):
            posterior = posterior.assign_coords(of_group | {term: list(own.structure.random)})
            posterior[f"ranef{end}"] = ((*dims, level, term), ranef[k])
        observed = observed.assign_coords(of_group)
        observed[f"y{end}"] = (level, observed_means(factor), {"long_name": MEAN})
        constant = constant.assign_coords(of_group)
        constant[f"rows{end}"] = (level, factor.n)
        for name, by_factor in (groups or {}).items():
            if factor.group in by_factor:
                kept = {f"y{end}": ((*dims, level), by_factor[factor.group])}
                of_groups[name] = of_groups[name].assign_coords(of_group).assign(kept)
    said = [f"{row.parameter} ~ {row.prior} {row.at}".rstrip() for row in priors.table().itertuples()]
    posterior.attrs = {"priors": "; ".join(said)}
    tree = {"posterior": posterior, "sample_stats": drawn(stats)}
    if centred:
        means = "; ".join(f"{name} = {value:.15g}" for name, value in priors.centres.items())
        tree["posterior_centred"] = drawn(centred).assign_attrs(predictors=means)
    return xr.DataTree.from_dict(tree | of_groups | {"observed_data": observed, "constant_data": constant})
