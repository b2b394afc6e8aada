"""The full model, group effects sampled: the oracle that the marginal model is held against.

Hierarchically centred: a group's coefficients vary around the fixed effects of the same columns, because the
intercept and a hundred group intercepts around 0 are nearly collinear (docs/statistics.md, section 2).
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr

from lmm.core import engines
from lmm.core.columns import Effects, Factor
from lmm.core.tidy import RESIDUAL, Diagnostics, Fit, group_of
from lmm.core.versions import versions_of
from lmm.data.rows import Rows
from lmm.engines.pymc.attempts import Setting
from lmm.engines.pymc.coordinates import transformed
from lmm.engines.pymc.gates import RHAT, convergence, gate_fit, loose_rule, status_of
from lmm.engines.pymc.groups import group_draws
from lmm.engines.pymc.model import Sampler, covariance_root, positive
from lmm.engines.pymc.priors import CENTRED, Priors, resolve
from lmm.engines.pymc.tables import ENGINE, labelled, posterior_tree, summarise
from lmm.inference.unidentified import unidentified_at
from lmm.likelihood.problem import problem_of, roots_of
from lmm.model.terms import INTERCEPT
from lmm.moments.moments import Moments


def fixed_effects(priors: Priors) -> pt.TensorVariable:
    """The fixed effects with their priors, each in its own coordinates."""
    families: dict[str, Callable] = {
        "flat": lambda label: pm.Flat(label),
        "normal": lambda label, mean, sd: pm.Normal(label, mean, sd),
        "student_t": lambda label, df, mean, sd: pm.StudentT(label, nu=df, mu=mean, sigma=sd),
        "uniform": lambda label, low, high: pm.Uniform(label, low, high),
    }
    moved = priors.moved_fixed
    own = [
        families[prior.name](name + CENTRED * bool(elsewhere), *prior.args)
        for (name, prior), elsewhere in zip(priors.fixed.items(), moved, strict=True)
    ]
    beta = pt.dot(np.linalg.inv(priors.fixed_map), pt.stack(own))
    for k, name in enumerate(priors.fixed):
        if moved[k]:
            pm.Deterministic(name, beta[k])
    return beta


def full_model(rows: Rows, priors: Priors) -> pm.Model:
    """y ~ normal(X beta + Z u, sigma) on the rows, u_j ~ normal(0, D) sampled as beta + u_j.

    All of it in the priors' coordinates: columns Z @ random_map have the coefficients random_map^-1 (beta + u).
    """
    structure = priors.structure
    fixed, random, back = rows.terms.fixed, structure.random, priors.random_map
    X, Z = rows.columns(fixed), rows.columns(random) @ back
    names = priors.names
    with pm.Model() as model:
        beta = fixed_effects(priors)
        own = zip(names, priors.sd.values(), strict=False)
        sds = [positive(name, prior, np.array(prior.args)) for name, prior in own]
        sigma = positive(RESIDUAL, priors.sigma, np.array(priors.sigma.args))
        root = covariance_root(structure, names, sds, priors.corr.args[0])
        around = pt.stack([beta[fixed.index(term)] if term in fixed else 0.0 for term in random])
        around, mean = pt.dot(np.linalg.inv(back), around), 0.0
        if alone := [k for k, term in enumerate(fixed) if term not in random]:
            # groups' intercepts at the means of these columns, or they and the columns' effects are nearly collinear
            intercept = np.array([float(term == INTERCEPT) for term in random])
            middle = X[:, alone].mean(axis=0) * intercept.any()
            around = around + intercept * pt.dot(middle, beta[alone])
            mean = pt.dot(X[:, alone] - middle, beta[alone])
        shape = (len(rows.levels), len(random))
        coefficients = pm.MvNormal("coefficients", mu=around, chol=root, shape=shape)
        pm.Deterministic("ranef", pt.dot(coefficients - around, back.T))
        mean = mean + (coefficients[rows.codes] * Z).sum(axis=1)
        pm.Normal("y", mean, sigma, observed=rows.y)
    return model


def fit_full(
    rows: Rows, moments: Moments, settings: Mapping[str, Any], truth: dict | None = None, cores: int = 1
) -> tuple[Fit, xr.DataTree]:
    """Sample the full model by nutpie; the same tables as `bayes.fit`, from draws alone.

    Random effects are gated too, with the R-hat limit scaled to their number.

    Parameters
    ----------
    rows : Rows
        Response, model-matrix columns and groups of all rows.
    moments : Moments
        Sufficient statistics of the rows.
    settings : mapping
        The engine's configuration.
    truth : dict or None
        truth.json's content; None for own data.
    cores : int
        Chains sampled at a time; results do not depend on it.

    Returns
    -------
    Fit, DataTree
    """
    level, clock = settings["conf_level"], [time.perf_counter()]
    fixed, blocks = rows.terms.fixed, rows.terms.blocks
    priors = resolve(settings["priors"], moments, fixed, blocks, marginal=False)
    structure = priors.structure
    sampler = Sampler(priors, full_model(rows, priors), (*fixed, "ranef"))
    clock.append(time.perf_counter())
    setting = Setting.of(settings, cores)
    tree = sampler.tree(setting)
    clock.append(time.perf_counter())
    posterior, draws = tree["posterior"], sampler.draws(tree)
    beta = np.stack([posterior[name].to_numpy() for name in fixed])
    values = np.concatenate([beta, transformed(structure, priors.random_map, draws.values)])
    centred = priors.centred(beta, draws.values)
    ranef = posterior["ranef"].to_numpy()  # chains, draws, J, q
    flat = np.ascontiguousarray(ranef.reshape(*ranef.shape[:2], -1).transpose(2, 0, 1))
    measures, ranef_measures = convergence(values), convergence(flat)
    limit = 1.0 + (RHAT - 1.0) * max(1.0, np.log10(len(values) + len(flat)))
    watched = {name: np.append(measures[name], ranef_measures[name]) for name in measures}
    if centred:
        own = convergence(np.stack(list(centred.values())))
        watched = {name: np.append(watched[name], own[name]) for name in watched}
    gates = gate_fit(watched, draws.stats, setting.chains, limit)
    table = summarise(values, level) | {name: measures[name] for name in ("rhat", "ess_bulk", "ess_tail")}
    table["mcse_mean"] = table["sd"] / np.sqrt(measures["ess_mean"])
    keys = [*(("", term) for term in fixed), *((group_of(t, moments.group), t) for t in structure.terms)]
    effects = summarise(flat, level)
    columns = {
        "estimate": effects["estimate"],
        "std_error": effects["sd"],
        "cond_sd": np.full(len(flat), np.nan),
        "conf_low": effects["conf_low"],
        "conf_high": effects["conf_high"],
        "mcse_mean": effects["sd"] / np.sqrt(ranef_measures["ess_mean"]),
        "ess_bulk": ranef_measures["ess_bulk"],
    }
    wide = {name: values.reshape(len(moments.levels), -1) for name, values in columns.items()}
    out = Effects([Factor(moments.group, moments.levels, structure.random, truth, wide)])
    problem = problem_of(moments, fixed, blocks)
    flat_values = draws.values.reshape(len(draws.values), -1)
    roots, sigmas = roots_of(structure, flat_values)
    parts = beta.reshape(len(beta), -1).T, priors.random_map @ roots, sigmas
    rng = np.random.default_rng(np.random.SeedSequence(setting.seed, spawn_key=(1,)))
    groups = group_draws(moments, problem, parts, values.shape[1:], rng, settings["keep_draws"])
    named = dict(zip((*fixed, *structure.terms), values, strict=True))
    stored = posterior_tree(named, draws.stats, moments, priors, centred, [ranef], groups)
    lost = unidentified_at(problem, values[len(fixed) :].mean(axis=(1, 2)))
    status, message = status_of(gates, lost)
    diagnostics = Diagnostics(
        ENGINE,
        status=status,
        message=message,
        converged=status == "ok",
        gates=gates,
        unidentified=lost,
        seconds=dict(zip(("compile", "sample"), np.diff(clock).tolist(), strict=True)),
        versions=versions_of(*engines.row(ENGINE).packages),
        n_rows=moments.n_rows,
        n_groups=moments.n_groups,
        conf_level=level,
        summary={
            "model": "full",
            "sampler": "nuts",
            "priors": priors.table().to_dict("records"),
            "prior_centres": priors.centres,
            "loose_rule": loose_rule(watched),
        },
    )
    return Fit(ENGINE, labelled(table, keys, truth), out, diagnostics), stored
