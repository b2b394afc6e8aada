"""The pymc engine: NUTS on the variance parameters, everything else exactly afterwards."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from lmm.core import engines
from lmm.core.store import write_whole
from lmm.core.tidy import Diagnostics, Fit
from lmm.core.versions import versions_of
from lmm.engines.base import Fitted, Task
from lmm.engines.pymc.chains import Chains, sample_until_passed
from lmm.engines.pymc.gates import ess_bulk, loose_rule, status_of
from lmm.engines.pymc.groups import group_draws
from lmm.engines.pymc.model import Sampler, Setting, marginal_model
from lmm.engines.pymc.priors import Priors, resolve
from lmm.engines.pymc.tables import ENGINE, parameters_table, posterior_tree, ranef_table
from lmm.inference.identified import unidentified_at
from lmm.inference.variance_explained import Component, explained
from lmm.likelihood.marginal import pack_problem
from lmm.likelihood.problem import Problem, problem_of
from lmm.model.terms import Terms
from lmm.moments.moments import Moments

# Draws that the random effects' summaries of a replicate look at: their Monte Carlo error is then below a tenth of
# what a replicate tells of RMSE or coverage, and parameters use all draws.
RANEF_DRAWS, RANEF_MIXTURE = 100, 100


class Fitter:
    """The engine with its settings: see `lmm.engines.base.Fitter`.

    For replicates the marginal model is compiled at the first data set, and others are swapped in. A model that
    could not be compiled is not tried again: its error is every further data set's.
    """

    def __init__(self, settings: Mapping[str, Any], terms: Terms):
        self.settings, self.terms = settings, terms
        self.sampler: Sampler | None = None
        self.failure: Exception | None = None

    def fit(self, task: Task) -> Fitted:
        """From moments; the full model from the rows."""
        if task.brief:
            return self._brief(task)
        if self.settings["model"] == "full":
            from lmm.engines.pymc.full import fit_full

            assert task.rows is not None, "the catalogue says that the full model needs rows"
            found, tree = fit_full(task.rows(), task.moments, self.settings, task.truth, task.cores)
        else:
            terms = self.terms
            found, tree = fit(task.moments, terms.fixed, terms.blocks, self.settings, task.truth, task.cores)
        return Fitted(found, {"posterior": lambda path: write(path, tree)}, posterior=tree)

    def _brief(self, task: Task) -> Fitted:
        """Sample one data set of many with `task.seed`, gates and the one refit included."""
        if self.failure is not None:
            raise self.failure.with_traceback(None)  # else it would keep every data set alive
        clock, level, moments = time.perf_counter(), self.settings["conf_level"], task.moments
        problem, priors, packed = prepare(
            moments, self.terms.fixed, self.terms.blocks, self.settings["priors"], task.scales
        )
        if self.sampler is None:
            self.sampler = self._compiled(priors, packed)
            clock = time.perf_counter()
        setting = Setting.of({**self.settings, "seed": task.seed})
        chains, gates, retried = sample_until_passed(self.sampler, problem, packed, priors, setting)
        parameters, _ = parameters_table(chains, moments.group, level, task.truth)
        ranef = ranef_table(chains, moments, level, task.truth, None, most=RANEF_DRAWS, mixture=RANEF_MIXTURE)
        lost = unidentified_at(problem, chains.values.mean(axis=(1, 2)))
        status, message = status_of(gates, lost)
        diagnostics = Diagnostics(
            ENGINE, status, message, status == "ok", gates=gates, unidentified=lost, summary={"retried": retried},
            seconds={"sample": time.perf_counter() - clock}, conf_level=level,
        )  # fmt: skip
        explained = explained_summary(chains, moments, level)
        return Fitted(Fit(ENGINE, parameters, ranef, diagnostics), explained=explained, chains=chains)

    def _compiled(self, priors: Priors, packed: np.ndarray) -> Sampler:
        try:
            return Sampler(priors, marginal_model(priors, packed))
        except Exception as error:
            self.failure = error
            raise


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
    sampler = Sampler(resolved, marginal_model(resolved, packed))
    clock.append(time.perf_counter())
    chains, gates, retried = sample_until_passed(sampler, problem, packed, resolved, setting)
    clock.append(time.perf_counter())
    parameters, measures = parameters_table(chains, moments.group, conf_level, truth)
    draws, ess = None, None
    if len(chains.sigmas) * problem.n_groups * problem.q <= settings["keep_draws"]:
        draws = chains.draw_ranef()
        ess = ess_bulk(draws.reshape(*chains.shape, -1).transpose(2, 0, 1))
    ranef = ranef_table(chains, moments, conf_level, truth, ess)
    parts = chains.fixed.draws, chains.roots, chains.sigmas
    groups = group_draws(moments, problem, parts, chains.shape, chains.rng, settings["keep_draws"])
    clock.append(time.perf_counter())
    lost = unidentified_at(problem, chains.values.mean(axis=(1, 2)))
    status, message = status_of(gates, lost)
    diagnostics = Diagnostics(
        ENGINE,
        status=status,
        message=message,
        converged=status == "ok",
        gates=gates,
        unidentified=lost,
        warnings=["the first attempt failed a gate; refitted with longer warm-up"] if retried else [],
        seconds=dict(zip(("compile", "sample", "summarise"), np.diff(clock).tolist(), strict=True)),
        versions=versions_of(*engines.row(ENGINE).packages),
        n_rows=moments.n_rows,
        n_groups=moments.n_groups,
        conf_level=conf_level,
        intervals={"fixed": "posterior quantiles", "ran_pars": "posterior quantiles"},
        summary={
            "model": "marginal",
            "priors": resolved.table().to_dict("records"),
            "prior_centres": resolved.centres,
            "loose_rule": loose_rule(measures),
            "retried": retried,
            "chains": setting.chains,
            "tune": setting.tune,
            "draws": setting.draws,
            "seed": setting.seed,
            "gradient_evaluations": int(chains.draws.stats["n_steps"].sum()),
            "ranef_draws_kept": draws is not None,
            "group_draws_kept": sorted(groups),
            "variance_explained": explained_summary(chains, moments, conf_level),
        },
    )
    beta = chains.by_chain(chains.fixed.draws)
    values = dict(zip((*fixed, *problem.structure.terms), [*beta, *chains.values], strict=True))
    centred = resolved.centred(beta, chains.draws.values)
    tree = posterior_tree(values, chains.draws.stats, moments, resolved, centred, draws, groups)
    return Fit(ENGINE, parameters, ranef, diagnostics), tree


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
