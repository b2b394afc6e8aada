"""The pymc engine: variance parameters are sampled, everything else follows exactly."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from lmm.core import engines
from lmm.core.store import write_whole
from lmm.core.tidy import Diagnostics, Fit, group_of, variable
from lmm.core.versions import versions_of
from lmm.engines.base import Fitted, Task
from lmm.engines.pymc.chains import Chains
from lmm.engines.pymc.gates import ess_bulk, loose_rule, status_of
from lmm.engines.pymc.grouped import Grouped
from lmm.engines.pymc.groups import group_draws
from lmm.engines.pymc.model import Sampler, Setting, marginal_model
from lmm.engines.pymc.priors import Priors, resolve
from lmm.engines.pymc.sampling import Compiled, Sampled, sampled
from lmm.engines.pymc.several import Several
from lmm.engines.pymc.several_priors import resolve_several
from lmm.engines.pymc.tables import ENGINE, parameters_table, posterior_tree, ranef_of, ranef_table
from lmm.inference.variance_explained import Component, explained
from lmm.likelihood.marginal import pack_problem
from lmm.likelihood.problem import Problem, problem_of
from lmm.likelihood.several_problem import build
from lmm.model.terms import Terms
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments

# Draws that the random effects' summaries of a replicate look at: their Monte Carlo error is then below a tenth of
# what a replicate tells of RMSE or coverage, and parameters use all draws.
RANEF_DRAWS, RANEF_MIXTURE = 100, 100


class Fitter:
    """The engine with its settings: see `lmm.engines.base.Fitter`.

    For replicates the marginal model is compiled at the first data set that NUTS samples; others are swapped in.
    """

    def __init__(self, settings: Mapping[str, Any], terms: Terms):
        self.settings, self.terms = settings, terms
        self.compiled = Compiled()

    def fit(self, task: Task) -> Fitted:
        """From moments; the full model from the rows."""
        if task.brief:
            return self._brief(task)
        if full(self.settings):
            from lmm.engines.pymc.full import fit_full

            assert task.rows is not None, "the catalogue says that the full model needs rows"
            found, tree = fit_full(task.rows(), task.moments, self.settings, task.truth, task.cores)
        elif self.terms.several:
            found, tree = fit_several(task.moments, self.terms, self.settings, task.truth, task.cores)
        else:
            terms = self.terms
            found, tree = fit(task.moments, terms.fixed, terms.blocks, self.settings, task.truth, task.cores)
        return Fitted(found, {"posterior": lambda path: write(path, tree)}, posterior=tree)

    def _brief(self, task: Task) -> Fitted:
        """Sample one data set of many with `task.seed`, gates and the one refit included."""
        clock, level, moments = time.perf_counter(), self.settings["conf_level"], task.moments
        problem, priors, packed = prepare(
            moments, self.terms.fixed, self.terms.blocks, self.settings["priors"], task.scales
        )
        compiled, before = self.compiled, self.compiled.seconds
        posterior = Grouped(
            problem,
            packed,
            priors,
            moments,
            compiled.of(lambda: Sampler(priors, marginal_model(priors, packed))),
        )
        setting = Setting.of({**self.settings, "seed": task.seed})
        found = sampled(posterior, setting, sampler_of(self.settings))
        chains = found.chains
        parameters = parameters_table(chains, keys_of(problem, moments), task.truth, level)
        ranef = ranef_table(chains, moments, level, task.truth, None, most=RANEF_DRAWS, mixture=RANEF_MIXTURE)
        status, message = status_of(found.gates)
        spent = time.perf_counter() - clock - (compiled.seconds - before)
        diagnostics = Diagnostics(
            ENGINE, status, message, status == "ok", gates=found.gates, warnings=found.warnings,
            summary=found.about, seconds={"sample": spent}, conf_level=level,
        )  # fmt: skip
        explained = explained_summary(chains, moments, level)
        return Fitted(Fit(ENGINE, parameters, ranef, diagnostics), explained=explained, chains=chains)


def full(settings: Mapping[str, Any]) -> bool:
    """Whether random effects are sampled, too."""
    return "full" in (settings["model"], settings["sampler"])


def sampler_of(settings: Mapping[str, Any], several: bool = False) -> str:
    """importance or nuts; auto is nuts for one grouping factor and importance for several.

    Parameters
    ----------
    settings : mapping
        The engine's.
    several : bool
        Whether there are several grouping factors.

    Returns
    -------
    str
    """
    automatic = "importance" if several else "nuts"
    return automatic if settings["sampler"] == "auto" else settings["sampler"]


def keys_of(problem: Problem, moments: Moments) -> list[tuple[str, str]]:
    """Group and term of fixed effects and variance parameters, in the order of a table's rows."""
    own = [(group_of(term, moments.group), term) for term in problem.structure.terms]
    return [*(("", term) for term in problem.fixed), *own]


def prepare(
    moments: Moments,
    fixed: tuple[str, ...],
    blocks: tuple[tuple[str, ...], ...],
    priors: dict,
    scales: Moments | None = None,
) -> tuple[Problem, Priors, np.ndarray]:
    """The model over moments, its priors with numbers, and the vector that the sampler reads.

    `auto` priors take their scales and coordinates from `scales`, or else from the moments themselves.

    Parameters
    ----------
    moments : Moments
        Sufficient statistics of the rows.
    fixed : tuple of str
        Names of X's columns.
    blocks : tuple of tuple of str
        Names of Z's columns in each block of random effects.
    priors : dict
        `priors` of the configuration.
    scales : Moments or None
        Where `auto` priors take their scales from; None: `moments`.

    Returns
    -------
    Problem, Priors, (n,) array

    Raises
    ------
    StudyError
        For priors that the marginal model cannot take.
    """
    problem = problem_of(moments, fixed, blocks)
    resolved = resolve(priors, moments if scales is None else scales, fixed, blocks, marginal=True)
    return problem, resolved, pack_problem(problem, **resolved.normal, random_map=resolved.random_map)


def fit(
    moments: Moments,
    fixed: tuple[str, ...],
    blocks: tuple[tuple[str, ...], ...],
    settings: Mapping[str, Any],
    truth: dict | None = None,
    cores: int = 1,
) -> tuple[Fit, xr.DataTree]:
    """Sample the marginal model by nutpie and summarise it (the full one: `full.fit_full`).

    Parameters
    ----------
    moments : Moments
        Sufficient statistics of the rows.
    fixed : tuple of str
        Names of X's columns.
    blocks : tuple of tuple of str
        Names of Z's columns in each block of random effects.
    settings : dict
        The engine's configuration: priors, chains, tune, draws, seed, target_accept, keep_draws (draws of random
        effects, and of groups' log-likelihoods and means, are kept where each is at most so many numbers), and the
        study's conf_level, of the quantile intervals conf_low and conf_high.
    truth : dict, optional
        truth.json of a simulated study.
    cores : int
        Chains sampled at a time; results do not depend on it.

    Returns
    -------
    Fit, DataTree
        See `tables.posterior_tree`.
    """
    setting = Setting.of(settings, cores)
    conf_level = settings["conf_level"]
    clock = [time.perf_counter()]
    problem, resolved, packed = prepare(moments, fixed, blocks, settings["priors"])
    compiled = Compiled()
    make = compiled.of(lambda: Sampler(resolved, marginal_model(resolved, packed)))
    found = sampled(Grouped(problem, packed, resolved, moments, make), setting, sampler_of(settings))
    chains = found.chains
    clock.append(time.perf_counter())
    parameters = parameters_table(chains, keys_of(problem, moments), truth, conf_level)
    kept, ess = [], None
    if len(chains.sigmas) * problem.n_groups * problem.q <= settings["keep_draws"]:
        kept = [chains.draw_ranef()]
        ess = ess_bulk(kept[0].reshape(*chains.shape, -1).transpose(2, 0, 1), chains.points)
    ranef = ranef_table(chains, moments, conf_level, truth, ess)
    parts = chains.fixed.draws, chains.roots, chains.sigmas
    groups = group_draws(moments, problem, parts, chains.shape, chains.rng, settings["keep_draws"])
    clock.append(time.perf_counter())
    own = {
        "ranef_draws_kept": bool(kept),
        "group_draws_kept": sorted(groups),
        "variance_explained": explained_summary(chains, moments, conf_level),
    }
    diagnostics = diagnostics_of(found, resolved, moments, setting, conf_level, own)
    diagnostics.seconds = seconds_of(clock, compiled.seconds)
    beta = chains.by_chain(chains.fixed.draws)
    values = dict(zip((*fixed, *problem.structure.terms), [*beta, *chains.values], strict=True))
    centred = resolved.centred(beta, chains.draws.values)
    tree = posterior_tree(values, chains.draws.stats, moments, resolved, centred, kept, groups)
    return Fit(ENGINE, parameters, ranef, diagnostics), tree


def fit_several(
    moments: SeveralMoments,
    terms: Terms,
    settings: Mapping[str, Any],
    truth: dict | None = None,
    cores: int = 1,
) -> tuple[Fit, xr.DataTree]:
    """Sample the marginal model of several grouping factors and summarise it, as `fit` does for one.

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

    Returns
    -------
    Fit, DataTree
    """
    setting, level, clock = Setting.of(settings, cores), settings["conf_level"], [time.perf_counter()]
    blocks = [grouping.blocks for grouping in terms.groupings]
    problem = build(moments, terms.fixed, blocks)
    priors = resolve_several(settings["priors"], moments, terms.fixed, blocks)
    found = sampled(Several(problem, priors, moments), setting, sampler_of(settings, several=True))
    chains = found.chains
    clock.append(time.perf_counter())
    parameters = parameters_table(chains, [*(("", term) for term in terms.fixed), *priors.keys], truth, level)
    kept = chains.draw_ranef() if chains.keeps(settings["keep_draws"]) else []
    tables = [
        ranef_of(summary, factor, own.structure.random, truth, chains.ess_ranef(kept[k]) if kept else None)
        for k, (summary, factor, own) in enumerate(
            zip(chains.ranef(level), moments.factors, priors.factors, strict=True)
        )
    ]
    clock.append(time.perf_counter())
    own = {"ranef_draws_kept": bool(kept), "group_draws_kept": []}
    diagnostics = diagnostics_of(found, priors, moments, setting, level, own)
    diagnostics.seconds = seconds_of(clock, 0.0)
    beta = chains.by_chain(chains.fixed.draws)
    names = [*terms.fixed, *(variable(*key, moments.groups) for key in priors.keys)]
    values = dict(zip(names, [*beta, *chains.values], strict=True))
    centred = priors.centred(beta, chains.draws.values)
    tree = posterior_tree(values, chains.draws.stats, moments, priors, centred, kept)
    return Fit(ENGINE, parameters, pd.concat(tables, ignore_index=True), diagnostics), tree


def seconds_of(clock: list[float], compiling: float) -> dict[str, float]:
    """Seconds of compiling, sampling and summarising, from clock times around the last two."""
    start, drawn, end = clock
    return {"compile": compiling, "sample": drawn - start - compiling, "summarise": end - drawn}


def diagnostics_of(
    found: Sampled, priors: Any, moments: Any, setting: Setting, level: float, own: Mapping[str, Any]
) -> Diagnostics:
    """How a fit of the marginal model ended.

    Parameters
    ----------
    found : Sampled
        The draws and their gates.
    priors : Priors or SeveralPriors
        With their numbers.
    moments : Moments or SeveralMoments
        Sufficient statistics of the rows.
    setting : Setting
        Chains, draws, seed and the like.
    level : float
        Of the intervals, between 0 and 1.
    own : mapping
        Further entries of the summary.

    Returns
    -------
    Diagnostics
    """
    status, message = status_of(found.gates)
    summary = {
        "model": "marginal",
        "priors": priors.table().to_dict("records"),
        "prior_centres": priors.centres,
        "loose_rule": loose_rule(found.chains.measures),
        "chains": setting.chains,
        "tune": setting.tune,
        "draws": setting.draws,
        "seed": setting.seed,
    }
    return Diagnostics(
        ENGINE,
        status=status,
        message=message,
        converged=status == "ok",
        gates=found.gates,
        warnings=found.warnings,
        versions=versions_of(*engines.row(ENGINE).packages),
        n_rows=moments.n_rows,
        n_groups=moments.n_groups,
        conf_level=level,
        intervals={"fixed": "posterior quantiles", "ran_pars": "posterior quantiles"},
        summary=summary | found.about | dict(own),
    )


def explained_summary(chains: Chains, moments: Moments, level: float) -> dict[str, dict[str, float]]:
    """Posterior mean and interval of each measure of variance explained (`variance.explained`).

    Parameters
    ----------
    chains : Chains
        Draws, and what follows from them exactly.
    moments : Moments
        Sufficient statistics of the rows.
    level : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    dict
        Measure to estimate, conf_low and conf_high.
    """
    problem = chains.problem
    values = dict(zip(problem.fixed, chains.fixed.draws.T, strict=True))
    flat = chains.values.reshape(len(chains.values), -1)
    values |= dict(zip(problem.structure.terms, flat, strict=True))
    random = problem.structure.random
    own = Component(moments.group, random, moments.mean_zz(random))
    tails = [0.5 - level / 2, 0.5 + level / 2]
    out = {}
    shares = explained(values, problem.fixed, [own], moments.cov_fixed(problem.fixed))
    for (_, name), draws in shares.items():
        low, high = np.quantile(draws, tails)
        out[name] = {"estimate": np.mean(draws), "conf_low": low, "conf_high": high}
    return out


def write(path: str, tree: xr.DataTree) -> None:
    """Write the tree as NetCDF, whole or not at all."""
    write_whole(path, lambda name: tree.to_netcdf(name, engine="h5netcdf"))
