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
from lmm.core.tidy import RESIDUAL, Diagnostics, Fit, ranef_frame, sd_name
from lmm.core.versions import versions_of
from lmm.data.rows import Rows
from lmm.engines.pymc.gates import RHAT, convergence, gate_fit, loose_rule
from lmm.engines.pymc.model import Sampler, Setting, covariance_root, positive
from lmm.engines.pymc.priors import Priors, resolve
from lmm.engines.pymc.tables import ENGINE, labelled, posterior_tree, summarise
from lmm.likelihood.problem import Structure, layout
from lmm.model.terms import INTERCEPT
from lmm.moments.moments import Moments


def fixed_effects(names: tuple[str, ...], priors: Priors, middle: np.ndarray) -> pt.TensorVariable:
    """The fixed effects with their priors; the intercept's prior is at the predictors' means where `centred`.

    Parameters
    ----------
    names : tuple of str
        Names of X's columns.
    priors : Priors
        Priors with their numbers.
    middle : (p,) array
        Means of the fixed effects' columns: where the intercept's prior is centred.

    Returns
    -------
    variable
        (p,) vector.
    """
    families: dict[str, Callable] = {
        "flat": lambda label: pm.Flat(label),
        "normal": lambda label, mean, sd: pm.Normal(label, mean, sd),
        "student_t": lambda label, df, mean, sd: pm.StudentT(label, nu=df, mu=mean, sigma=sd),
        "uniform": lambda label, low, high: pm.Uniform(label, low, high),
    }
    betas = []
    for name, prior in priors.fixed.items():
        shifted = name == INTERCEPT and priors.centred
        betas.append(families[prior.name](f"{name}_centred" if shifted else name, *prior.args))
    if priors.centred:
        at = names.index(INTERCEPT)
        others = sum(middle[k] * beta for k, beta in enumerate(betas) if k != at)
        betas[at] = pm.Deterministic(INTERCEPT, betas[at] - others)
    return pt.stack(betas)


def full_model(rows: Rows, structure: Structure, priors: Priors) -> pm.Model:
    """y ~ normal(X beta + Z u, sigma) on the rows, u_j ~ normal(0, D) sampled as beta + u_j.

    Parameters
    ----------
    rows : Rows
        Response, model-matrix columns and groups of all rows.
    structure : Structure
        The random effects, and which elements of L are free.
    priors : Priors
        Priors with their numbers.

    Returns
    -------
    pymc.Model
    """
    fixed, random = rows.terms.fixed, structure.random
    X, Z = rows.columns(fixed), rows.columns(random)
    numbers = {term: np.array(prior.args) for term, prior in priors.sd.items()}
    with pm.Model() as model:
        beta = fixed_effects(fixed, priors, X.mean(axis=0))
        sds = [positive(sd_name(term), priors.sd[term], numbers[term]) for term in random]
        sigma = positive(RESIDUAL, priors.sigma, np.array(priors.sigma.args))
        root = covariance_root(structure, sds, priors.corr, priors.corr.args[0])
        around = pt.stack([beta[fixed.index(term)] if term in fixed else 0.0 for term in random])
        shape = (len(rows.levels), len(random))
        coefficients = pm.MvNormal("coefficients", mu=around, chol=root, shape=shape)
        pm.Deterministic("ranef", coefficients - around)
        alone = [k for k, term in enumerate(fixed) if term not in random]
        mean = (coefficients[rows.codes] * Z).sum(axis=1)
        if alone:
            mean = mean + pt.dot(X[:, alone], beta[alone])
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
    structure, fixed = layout(rows.terms.blocks), rows.terms.fixed
    priors = resolve(settings["priors"], moments, fixed, structure.random, marginal=False)
    sampler = Sampler(structure, priors, full_model(rows, structure, priors), (*fixed, "ranef"))
    clock.append(time.perf_counter())
    setting = Setting.of(settings, cores)
    tree = sampler.tree(setting)
    clock.append(time.perf_counter())
    posterior, draws = tree["posterior"], sampler.draws(tree)
    values = np.concatenate([np.stack([posterior[name].to_numpy() for name in fixed]), draws.values])
    ranef = posterior["ranef"].to_numpy()  # chains, draws, J, q
    flat = np.ascontiguousarray(ranef.reshape(*ranef.shape[:2], -1).transpose(2, 0, 1))
    measures, ranef_measures = convergence(values), convergence(flat)
    limit = 1.0 + (RHAT - 1.0) * max(1.0, np.log10(len(values) + len(flat)))
    watched = {name: np.append(measures[name], ranef_measures[name]) for name in measures}
    gates = gate_fit(watched, draws.stats, setting.chains, limit)
    table = summarise(values, level).assign(
        rhat=measures["rhat"],
        ess_bulk=measures["ess_bulk"],
        ess_tail=measures["ess_tail"],
    )
    table["mcse_mean"] = table["sd"] / np.sqrt(measures["ess_mean"])
    table = labelled(table, structure, fixed, moments.group, truth)
    effects = summarise(flat, level)
    out = ranef_frame(
        moments.group,
        moments.levels,
        structure.random,
        truth,
        estimate=effects["estimate"].to_numpy(),
        std_error=effects["sd"].to_numpy(),
        cond_sd=np.nan,
        conf_low=effects["conf_low"].to_numpy(),
        conf_high=effects["conf_high"].to_numpy(),
        mcse_mean=effects["sd"].to_numpy() / np.sqrt(ranef_measures["ess_mean"]),
        ess_bulk=ranef_measures["ess_bulk"],
    )
    priors_table = priors.table(bool(structure.correlations)).to_dict("records")
    names = (*fixed, *structure.terms)
    stored = posterior_tree(names, values, draws.stats, moments, structure.random, ranef, priors_table)
    passed = all(gate["passed"] for gate in gates)
    diagnostics = Diagnostics(
        ENGINE,
        status="ok" if passed else "gate-failed",
        message="; ".join(gate["name"] for gate in gates if not gate["passed"]),
        converged=passed,
        gates=gates,
        seconds=dict(zip(("compile", "sample"), np.diff(clock).tolist(), strict=True)),
        versions=versions_of(*engines.row(ENGINE).packages),
        n_rows=moments.n_rows,
        n_groups=moments.n_groups,
        conf_level=level,
        summary={
            "model": "full",
            "priors": priors_table,
            "loose_rule": loose_rule(watched),
        },
    )
    return Fit(ENGINE, table, out, diagnostics), stored
