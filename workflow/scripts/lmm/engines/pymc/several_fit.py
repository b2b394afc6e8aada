"""The pymc engine for several grouping factors."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import xarray as xr

from lmm.core.columns import Effects
from lmm.core.tidy import Fit, variable
from lmm.data.rows import Rows
from lmm.engines.base import Fitted, Task
from lmm.engines.pymc.attempts import Setting
from lmm.engines.pymc.chains import FEWEST, Ranef
from lmm.engines.pymc.sampling import sampled
from lmm.engines.pymc.several import Several
from lmm.engines.pymc.several_chains import SeveralChains
from lmm.engines.pymc.several_groups import level_densities, replicated_means
from lmm.engines.pymc.several_priors import resolve_several
from lmm.engines.pymc.summary import (
    brief_diagnostics,
    diagnostics_of,
    explained_summary,
    sampler_of,
    seconds_of,
)
from lmm.engines.pymc.tables import ENGINE, parameters_table, posterior_tree, ranef_of
from lmm.inference.spreads import spreads_of
from lmm.inference.variance_explained import components
from lmm.likelihood.several_problem import build
from lmm.model.terms import Terms
from lmm.moments.several import SeveralMoments, narrowed


def brief_several(task: Task, terms: Terms, settings: Mapping[str, Any]) -> Fitted:
    """Sample one data set of many, as `fit.Fitter` does of one factor.

    Parameters
    ----------
    task : Task
        The data set.
    terms : Terms
        Of the model.
    settings : mapping
        The engine's configuration.

    Returns
    -------
    Fitted
    """
    clock, level = time.perf_counter(), settings["conf_level"]
    posterior = several_of(task.moments, terms, settings["priors"], task.scales)
    setting = Setting.of({**settings, "seed": task.seed})
    found = sampled(posterior, setting, sampler_of(settings, terms.fixed, several=True))
    chains = found.chains
    parameters = parameters_table(chains, keys_of(posterior), task.truth, level)
    ranef = several_table(posterior, chains.ranef(level, FEWEST), task.truth, [])
    explained = explained_several(chains, terms, posterior.moments, level)
    diagnostics = brief_diagnostics(found, level, clock, posterior.lost)
    return Fitted(Fit(ENGINE, parameters, ranef, diagnostics), explained=explained, chains=chains)


def fit_several(
    moments: SeveralMoments,
    terms: Terms,
    settings: Mapping[str, Any],
    truth: dict | None = None,
    cores: int = 1,
    rows: Callable[[], Rows] | None = None,
) -> tuple[Fit, xr.DataTree]:
    """Sample the marginal model of several grouping factors and summarise it, as `fit.fit` does for one.

    Parameters
    ----------
    moments : SeveralMoments
        Sufficient statistics of the rows.
    terms : Terms
        Of the model.
    settings : mapping
        The engine's configuration.
    truth : dict or None
        truth.json's content; None for own data.
    cores : int
        Chains of NUTS sampled at a time; results do not depend on it.
    rows : callable, optional
        Reads the rows, for the log likelihood of levels.

    Returns
    -------
    Fit, DataTree
    """
    setting, level, clock = Setting.of(settings, cores), settings["conf_level"], [time.perf_counter()]
    posterior = several_of(moments, terms, settings["priors"])
    moments, priors = posterior.moments, posterior.priors
    found = sampled(posterior, setting, sampler_of(settings, terms.fixed, several=True))
    chains = found.chains
    clock.append(time.perf_counter())
    parameters = parameters_table(chains, keys_of(posterior), truth, level)
    kept = chains.draw_ranef() if chains.keeps(settings["keep_draws"]) else []
    ess = [chains.ess_ranef(draws) for draws in kept]
    ranef = several_table(posterior, chains.ranef(level), truth, ess)
    beta = chains.by_chain(chains.fixed.draws)
    names = [variable(*key, moments.groups) for key in keys_of(posterior)]
    values = dict(zip(names, [*beta, *chains.values], strict=True))
    groups = _group_draws(posterior, terms, chains, values, settings, rows)
    clock.append(time.perf_counter())
    own = {
        "ranef_draws_kept": bool(kept),
        "group_draws_kept": sorted(groups),
        "variance_explained": explained_several(chains, terms, moments, level),
    }
    diagnostics = diagnostics_of(found, priors, moments, setting, level, own, posterior.lost)
    diagnostics.seconds = seconds_of(clock, 0.0)
    centred = priors.centred(beta, chains.draws.values)
    tree = posterior_tree(values, chains.draws.stats, moments, priors, centred, kept, groups)
    return Fit(ENGINE, parameters, ranef, diagnostics), tree


def _group_draws(
    posterior: Several,
    terms: Terms,
    chains: SeveralChains,
    values: Mapping[str, np.ndarray],
    settings: Mapping[str, Any],
    rows: Callable[[], Rows] | None,
) -> dict[str, dict[str, np.ndarray]]:
    """Draws of levels for posterior.nc, as `groups.group_draws` has them: at most `keep_draws` numbers of each.

    log_likelihood is of the factor that `loo` names, or of that with most levels; where there is none, the job's log
    says why.
    """
    most, counts = settings["keep_draws"], posterior.moments.n_groups
    group = settings.get("loo") or posterior.moments.largest
    moments, total = posterior.moments, len(chains.sigmas)
    flat = {name: np.ascontiguousarray(draws.reshape(-1)) for name, draws in values.items()}
    found: dict[str, dict[str, np.ndarray]] = {}
    if rows is not None:
        reason = (
            f"{total:,} draws of {counts[group]:,} levels of {group}, more than keep_draws, {most:,}, numbers"
        )
        if total * counts[group] <= most:
            prior = posterior.priors.shared.normal
            density, reason = level_densities(moments, prior, flat, chains.points, rows, group)
            found["log_likelihood"] = density
        if not found.get("log_likelihood"):
            print(f"pymc: posterior.nc has no log_likelihood: {reason}", file=sys.stderr)
    if total * chains.effects() <= most:
        beta, spreads = np.stack([flat[name] for name in terms.fixed], axis=1), spreads_of(flat, terms)
        found["posterior_predictive"] = replicated_means(moments, terms, beta, spreads, chains.rng)
    return {
        name: {group: array.reshape(*chains.shape, -1) for group, array in own.items()}
        for name, own in found.items()
        if own
    }


def keys_of(posterior: Several) -> list[tuple[str, str]]:
    """Group and term of fixed effects and variance parameters, in the order of a table's rows."""
    return [*(("", term) for term in posterior.problem.fixed), *posterior.priors.keys]


def explained_several(
    chains: SeveralChains, terms: Terms, moments: SeveralMoments, level: float
) -> dict[str, dict[str, float]]:
    """`explained_summary` of several grouping factors.

    Parameters
    ----------
    chains : SeveralChains
        Draws, and what follows from them exactly.
    terms : Terms
        Of the model.
    moments : SeveralMoments
        Sufficient statistics of the rows.
    level : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    dict
        See `explained_summary`.
    """
    names = [*terms.fixed, *(variable(*key, moments.groups) for key in chains.priors.keys)]
    return explained_summary(chains, names, components(terms, moments), moments.cov_fixed(terms.fixed), level)


def several_of(
    moments: SeveralMoments, terms: Terms, priors: Mapping[str, Any], scales: SeveralMoments | None = None
) -> Several:
    """The posterior of a model with several grouping factors.

    Parameters
    ----------
    moments : SeveralMoments
        Of at least the model's factors.
    terms : Terms
        Of the model.
    priors : mapping
        `priors` of the configuration.
    scales : SeveralMoments or None
        Where `auto` priors take their scales from; None: `moments`.

    Returns
    -------
    Several
    """
    groups = [grouping.group for grouping in terms.groupings]
    blocks = [grouping.blocks for grouping in terms.groupings]
    own, scaled = (cast(SeveralMoments, narrowed(found, groups)) for found in (moments, scales or moments))
    return Several(build(own, terms.fixed, blocks), resolve_several(priors, scaled, terms.fixed, blocks), own)


def several_table(
    posterior: Several, summaries: list[Ranef], truth: dict | None, ess: list[np.ndarray]
) -> Effects:
    """Tidy random effects of all factors.

    Parameters
    ----------
    posterior : Several
        The model.
    summaries : list of Ranef
        Of each factor.
    truth : dict or None
        truth.json's content; None for own data.
    ess : list of (J, q) arrays
        Bulk ESS of drawn random effects of each factor; empty where there are none.

    Returns
    -------
    Effects
    """
    parts = zip(summaries, posterior.moments.factors, posterior.problem.structures, strict=True)
    return Effects(
        [
            ranef_of(summary, factor, structure.random, truth, ess[k] if ess else None)
            for k, (summary, factor, structure) in enumerate(parts)
        ]
    )
