"""Criticism of a Bayesian fit from its draws and the moments: cross-validation, predictive checks, prior sensitivity.

Nothing is sampled anew and PyMC is not needed. Each check has a bound on its size; a check that is left out says
why, and the report repeats it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.parameters import titled
from lmm.core.store import write_json, write_table
from lmm.core.tidy import RESIDUAL, sd_name
from lmm.core.words import listed
from lmm.criticism import predictive, sensitivity
from lmm.criticism.predictive import Parameters
from lmm.data.rows import Rows
from lmm.engines.pymc import loo
from lmm.engines.pymc.priors import Priors, resolve
from lmm.inference.spreads import spaced
from lmm.likelihood.by_group import by_group
from lmm.likelihood.problem import Problem, problem_of, roots_of
from lmm.moments.moments import Moments

GROUPS = 10_000  # more groups than this: nothing here is computed
CHECKS = ("loo", "predictive", "prior_predictive", "sensitivity")
STUCK = "the draws do not vary"  # chains that never moved: why checks of draws are left out


@dataclass(frozen=True)
class Criticism:
    """What became of a fit under criticism.

    Attributes
    ----------
    loo : DataFrame
        `loo.COLUMNS`.
    predictive, replicates : DataFrame
        `predictive.SUMMARY` and `predictive.DRAWS`.
    sensitivity : DataFrame
        `sensitivity.COLUMNS`.
    about : dict
        loo (`loo.leave_one_out`'s numbers), replicates (their number), left_out (check -> why; those of `CHECKS`
        that were computed are not in it).
    """

    loo: pd.DataFrame
    predictive: pd.DataFrame
    replicates: pd.DataFrame
    sensitivity: pd.DataFrame
    about: dict[str, Any]

    def write(self, **paths: str) -> None:
        """Write every table, and `about`, under its attribute's name."""
        for name in ("loo", "predictive", "replicates", "sensitivity"):
            write_table(paths[name], getattr(self, name))
        write_json(paths["about"], self.about)


def unchecked(reason: str = "") -> Criticism:
    """No check at all, and why.

    Parameters
    ----------
    reason : str
        Of every check; "": to be filled.

    Returns
    -------
    Criticism
    """
    return Criticism(
        pd.DataFrame(columns=loo.COLUMNS),
        pd.DataFrame(columns=predictive.SUMMARY),
        pd.DataFrame(columns=predictive.DRAWS),
        pd.DataFrame(columns=sensitivity.COLUMNS),
        {"loo": None, "replicates": 0, "left_out": dict.fromkeys(CHECKS, reason) if reason else {}},
    )


def criticise(
    moments: Moments,
    fixed: tuple[str, ...],
    blocks: tuple[tuple[str, ...], ...],
    tree: Any,
    settings: dict,
    read: Callable[[], Rows] | None = None,
) -> Criticism:
    """Every check of a fit.

    Parameters
    ----------
    moments : Moments
        Sufficient statistics of the rows.
    fixed : tuple of str
        Names of X's columns.
    blocks : tuple of tuple of str
        Names of Z's columns in each block of random effects.
    tree : DataTree
        posterior.nc: its group `posterior`, and `posterior_centred` where priors are at the predictors' means.
    settings : dict
        The engine's priors and seed, and the study's conf_level.
    read : callable, optional
        Returns the rows; called only where they have weights, and are few enough.

    Returns
    -------
    Criticism
    """
    if moments.n_groups > GROUPS:
        return unchecked(f"{moments.n_groups:,} groups are more than {GROUPS:,}")
    problem = problem_of(moments, fixed, blocks)
    names = (*fixed, *problem.structure.terms)
    out = unchecked()
    about, left = out.about, out.about["left_out"]
    draws = loo.draws_of(tree["posterior"], names, moments.n_groups)
    priors = resolve(settings["priors"], moments, fixed, blocks, marginal=False)
    own = draws
    if priors.moved:
        own = draws | loo.draws_of(tree["posterior_centred"], tuple(priors.moved), moments.n_groups)
    parameters = _parameters(problem, priors, draws, own)
    found: dict[str, Any] = {}
    gram = by_group(moments, problem)
    if gram is None:
        left |= dict.fromkeys(("loo", "sensitivity"), "the groups are too many for the moments that it needs")
    else:
        density, effective = loo.densities(problem, gram, moments, draws)
        logs = loo.log_weights(moments, read)
        levels = moments.levels.astype(str)
        still = np.ptp(draws[RESIDUAL]) == 0.0  # chains that never moved: a failed fit is data, too
        if still:
            left |= dict.fromkeys(("loo", "sensitivity"), STUCK)
        elif logs is None:
            left["loo"] = loo.UNREAD
        else:
            found["loo"], about["loo"] = loo.leave_one_out(density + logs, levels, moments.n, effective)
        if sensitivity.constant(priors):
            left["sensitivity"] = "every prior is flat or uniform, which power-scaling does not change"
        elif not still:
            weight = sensitivity.log_prior(priors, own)
            found["sensitivity"] = sensitivity.power_scaling(draws, weight, density.sum(axis=2))
    seeds = np.random.SeedSequence(settings["seed"], spawn_key=(2,)).spawn(3)
    rngs = dict(zip(("posterior", "prior", "parameters"), map(np.random.default_rng, seeds), strict=True))
    about["replicates"] = count = predictive.replicates(moments.n_groups)
    improper = improper_priors(priors)
    prior = None
    if improper:
        named = listed([titled(name) for name in improper])
        left["prior_predictive"] = f"improper priors cannot be drawn from: {named}"
    else:
        prior = prior_parameters(rngs["parameters"], priors, count)
    size = len(parameters.sigmas)
    chosen = spaced(size, count)
    found["predictive"], found["replicates"] = predictive.check(
        moments,
        fixed,
        problem.structure.random,
        Parameters(*(values[chosen] for values in parameters)),
        prior,
        rngs,
        settings["conf_level"],
    )
    return Criticism(**{name: found.get(name, getattr(out, name)) for name in out.__dict__})


def _values(draws: Any, name: str, at: np.ndarray) -> np.ndarray:
    """Some draws of each chain, (chains, draws)."""
    return np.ascontiguousarray(draws[name].transpose("chain", "draw").to_numpy()[:, at])


def _parameters(
    problem: Problem, priors: Priors, draws: dict[str, np.ndarray], own: dict[str, np.ndarray]
) -> Parameters:
    """Draws by tidy name as sets of parameters, chain after chain; `own`: in the priors' coordinates."""
    beta = np.stack([draws[name].ravel() for name in problem.fixed], axis=1)
    roots, sigmas = roots_of(problem.structure, np.stack([own[n].ravel() for n in problem.structure.terms]))
    return Parameters(beta, priors.random_map @ roots, sigmas)


def improper_priors(priors: Priors) -> list[str]:
    """Parameters whose prior has no finite integral."""
    named = (
        priors.fixed | {sd_name(term): prior for term, prior in priors.sd.items()} | {RESIDUAL: priors.sigma}
    )
    return [name for name, prior in named.items() if not prior.proper]


def prior_parameters(rng: np.random.Generator, priors: Priors, count: int) -> Parameters:
    """Sets of parameters drawn from proper priors, in the coordinates of the reported ones.

    Parameters
    ----------
    rng : Generator
        Source of the random numbers.
    priors : Priors
        Priors with their numbers.
    count : int
        Number of sets.

    Returns
    -------
    predictive.Parameters
        `count` sets.
    """
    structure = priors.structure
    own = np.stack([prior.sample(rng, count) for prior in priors.fixed.values()])
    beta = np.linalg.solve(priors.fixed_map, own).T
    sds = np.stack([prior.sample(rng, count) for prior in priors.sd.values()], axis=1)
    sigmas = priors.sigma.sample(rng, count)
    roots = np.zeros((count, sds.shape[1], sds.shape[1]))
    for start, stop in structure.blocks:
        for r in range(count):
            corr = priors.corr.sample_corr(rng, stop - start) if stop - start > 1 else np.eye(1)
            roots[r, start:stop, start:stop] = sds[r, start:stop, None] * np.linalg.cholesky(corr)
    return Parameters(beta, priors.random_map @ roots, sigmas)
