"""The pymc engine: variance parameters are sampled, everything else follows exactly."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from lmm.core.store import write_whole
from lmm.core.tidy import Fit, group_of
from lmm.engines.base import Fitted, Task
from lmm.engines.pymc.attempts import Setting
from lmm.engines.pymc.chains import Chains
from lmm.engines.pymc.gates import ess_bulk
from lmm.engines.pymc.grouped import Grouped
from lmm.engines.pymc.groups import group_draws
from lmm.engines.pymc.priors import Priors, resolve
from lmm.engines.pymc.sampling import Compiled, sampled
from lmm.engines.pymc.several_fit import brief_several, fit_several
from lmm.engines.pymc.summary import (
    brief_diagnostics,
    diagnostics_of,
    explained_summary,
    full,
    sampler_of,
    seconds_of,
)
from lmm.engines.pymc.tables import ENGINE, parameters_table, posterior_tree, ranef_table
from lmm.inference.unidentified import unidentified_at
from lmm.inference.variance_explained import Component
from lmm.likelihood.marginal import pack_problem
from lmm.likelihood.problem import Problem, problem_of
from lmm.model.terms import Terms
from lmm.moments.moments import Moments

# Draws that the random effects' summaries of a replicate look at: their Monte Carlo error is then below a tenth of
# what a replicate tells of RMSE or coverage, and parameters use all draws.
RANEF_DRAWS, RANEF_MIXTURE = 100, 50


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
            if self.terms.several:
                return brief_several(task, self.terms, self.settings)
            return self._brief(task)
        if full(self.settings):
            from lmm.engines.pymc.full import fit_full

            assert task.rows is not None, "the catalogue says that the full model needs rows"
            found, tree = fit_full(task.rows(), task.moments, self.settings, task.truth, task.cores)
        elif self.terms.several:
            about = self.terms, self.settings, task.truth, task.cores
            found, tree = fit_several(task.moments, *about, rows=task.rows)
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
            compiled.of(lambda: compile_marginal(priors, packed)),
        )
        setting = Setting.of({**self.settings, "seed": task.seed})
        sampler = sampler_of(self.settings, self.terms.fixed, brief=True)
        found = sampled(posterior, setting, sampler, first=setting.quick())
        chains = found.chains
        parameters = parameters_table(chains, keys_of(problem, moments), task.truth, level)
        ranef = ranef_table(chains, moments, level, task.truth, None, most=RANEF_DRAWS, mixture=RANEF_MIXTURE)
        lost = unidentified_at(problem, chains.values.mean(axis=(1, 2)))
        diagnostics = brief_diagnostics(found, level, clock + compiled.seconds - before, lost)
        explained = explained_one(chains, moments, level)
        return Fitted(Fit(ENGINE, parameters, ranef, diagnostics), explained=explained, chains=chains)


def compile_marginal(priors: Priors, packed: np.ndarray) -> Any:
    """nutpie's sampler of the marginal model; PyMC, whose import takes two seconds, is imported where it is needed.

    Parameters
    ----------
    priors : Priors
        With their numbers.
    packed : (n,) array
        From `likelihood.marginal.pack_problem`.

    Returns
    -------
    model.Sampler
    """
    from lmm.engines.pymc.model import Sampler, marginal_model

    return Sampler(priors, marginal_model(priors, packed))


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
    make = compiled.of(lambda: compile_marginal(resolved, packed))
    found = sampled(Grouped(problem, packed, resolved, moments, make), setting, sampler_of(settings, fixed))
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
    lost = unidentified_at(problem, chains.values.mean(axis=(1, 2)))
    own = {
        "ranef_draws_kept": bool(kept),
        "group_draws_kept": sorted(groups),
        "variance_explained": explained_one(chains, moments, conf_level),
    }
    diagnostics = diagnostics_of(found, resolved, moments, setting, conf_level, own, lost)
    diagnostics.seconds = seconds_of(clock, compiled.seconds)
    beta = chains.by_chain(chains.fixed.draws)
    values = dict(zip((*fixed, *problem.structure.terms), [*beta, *chains.values], strict=True))
    centred = resolved.centred(beta, chains.draws.values)
    tree = posterior_tree(values, chains.draws.stats, moments, resolved, centred, kept, groups)
    return Fit(ENGINE, parameters, ranef, diagnostics), tree


def explained_one(chains: Chains, moments: Moments, level: float) -> dict[str, dict[str, float]]:
    """`explained_summary` of one grouping factor.

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
        See `explained_summary`.
    """
    problem = chains.problem
    random = problem.structure.random
    own = Component(moments.group, random, moments.mean_zz(random))
    names = [*problem.fixed, *problem.structure.terms]
    return explained_summary(chains, names, [own], moments.cov_fixed(problem.fixed), level)


def write(path: str, tree: xr.DataTree) -> None:
    """Write the tree as NetCDF, whole or not at all."""
    write_whole(path, lambda name: tree.to_netcdf(name, engine="h5netcdf"))
