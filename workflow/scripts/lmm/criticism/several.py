"""Criticism of a Bayesian fit with several grouping factors: the checks of `stage`, from draws, moments and rows."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lmm.core.parameters import titled
from lmm.core.tidy import RESIDUAL, sd_name, variable
from lmm.core.words import listed
from lmm.criticism import predictive, sensitivity
from lmm.criticism.stage import STUCK, Criticism, prior_parameters, unchecked
from lmm.data.rows import Rows
from lmm.engines.pymc import loo
from lmm.engines.pymc.gates import ess_mean
from lmm.engines.pymc.several_loo import ROWS, WORK, Joint, most_draws
from lmm.engines.pymc.several_priors import SeveralPriors, resolve_several
from lmm.inference.spreads import Spreads, spaced, spaced_draws, spreads_of
from lmm.likelihood.several_marginal import SeveralMarginal
from lmm.likelihood.several_problem import build
from lmm.model.terms import Terms
from lmm.moments.basis import Basis
from lmm.moments.several import SeveralMoments
from lmm.moments.several_accumulate import compute_several

DRAWS = 1_000  # of the posterior that are looked at, at most
FEWEST = 200  # fewer draws than this estimate no tail
REPLICATED = 5_000_000  # replicates x rows


def criticise(
    moments: SeveralMoments, terms: Terms, tree: Any, settings: Mapping[str, Any], read: Callable[[], Rows]
) -> Criticism:
    """Every check of a fit.

    Parameters
    ----------
    moments : SeveralMoments
        Of the model's factors.
    terms : Terms
        Of the model.
    tree : DataTree
        posterior.nc: its group `posterior`, and `posterior_centred` where priors are at the predictors' means.
    settings : mapping
        The engine's priors and seed, the study's conf_level, and loo: the factor whose levels are left out (None:
        the one with most levels).
    read : callable
        Returns the rows; called only where they are few enough.

    Returns
    -------
    Criticism
    """
    blocks = [grouping.blocks for grouping in terms.groupings]
    priors = resolve_several(settings["priors"], moments, terms.fixed, blocks)
    problem = build(moments, terms.fixed, blocks)
    maps = [np.eye(len(grouping.random)) for grouping in terms.groupings]
    density = SeveralMarginal.of(problem, maps, **priors.shared.normal)
    out, found = unchecked(), {}
    left = out.about["left_out"]
    draws = spaced_draws(tree["posterior"], DRAWS)
    if np.ptp(draws[RESIDUAL]) == 0.0:  # chains that never moved: a failed fit is data, too
        left |= dict.fromkeys(("loo", "sensitivity"), STUCK)
    else:
        found["sensitivity"] = _sensitivity(density, priors, terms, tree, left)
    rngs = _generators(settings["seed"])
    if reason := too_many(moments):
        left |= dict.fromkeys(("loo", "predictive", "prior_predictive"), reason)
    else:
        rows = read()
        if "loo" not in left:
            found["loo"], out.about["loo"] = leave_one_out(
                rows, moments, priors, draws, settings.get("loo"), left
            )
        count = int(min(predictive.REPLICATES, max(predictive.FEWEST, REPLICATED // moments.n_rows)))
        out.about["replicates"] = count
        posterior = _thinned(draws, terms, count)
        prior = _from_priors(priors, rngs["parameters"], count, left)
        level = settings["conf_level"]
        found["predictive"], found["replicates"] = check(rows, moments.basis, posterior, prior, rngs, level)
    tables = {name: found.get(name) for name in ("loo", "predictive", "replicates", "sensitivity")}
    known = {name: getattr(out, name) if table is None else table for name, table in tables.items()}
    return Criticism(**known, about=out.about)


def too_many(moments: SeveralMoments) -> str:
    """Why the rows are not read; empty where they are few enough."""
    return f"{moments.n_rows:,} rows are more than {ROWS:,}" if moments.n_rows > ROWS else ""


def _generators(seed: int) -> dict[str, np.random.Generator]:
    """Random numbers of the replicates from posterior and prior, and of the prior's parameters."""
    seeds = np.random.SeedSequence(seed, spawn_key=(2,)).spawn(3)
    return dict(zip(("posterior", "prior", "parameters"), map(np.random.default_rng, seeds), strict=True))


# ---- prior sensitivity


def log_likelihood(density: SeveralMarginal, beta: np.ndarray, spreads: Spreads) -> np.ndarray:
    """log p(y | beta, all D, sigma) at S sets of parameters, up to a constant.

    It is log p(y | D, sigma) + log p(beta | D, sigma, y) - log p(beta): no row is needed.

    Parameters
    ----------
    density : SeveralMarginal
        In original units.
    beta : (S, p) array
        Original units.
    spreads : Spreads
        S sets.

    Returns
    -------
    (S,) array
    """
    problem, p = density.problem, density.problem.p
    value, mean, phi, own = density.over(spreads.roots, spreads.sigmas)
    gamma = np.linalg.solve(problem.x_map, (beta - problem.offset).T).T
    away = (gamma - mean) / own[:, None]
    square = np.einsum("sa,sa->s", away, np.linalg.solve(phi, away[:, :, None])[:, :, 0])
    value = value - 0.5 * (square + np.linalg.slogdet(phi)[1]) - p * np.log(own)
    around = np.column_stack([gamma, -np.ones(len(gamma))])
    return value + 0.5 * np.einsum("sa,ab,sb->s", around, density.prior, around)


def _sensitivity(
    density: SeveralMarginal, priors: SeveralPriors, terms: Terms, tree: Any, left: dict[str, str]
) -> Any:
    """`sensitivity.power_scaling` of all parameters; None with the reason in `left`."""
    if all(sensitivity.constant(own) for own in priors.factors):
        left["sensitivity"] = "every prior is flat or uniform, which power-scaling does not change"
        return None
    most = min(DRAWS, int(WORK / density.problem.cost))
    if most < FEWEST:
        left["sensitivity"] = "an evaluation of the likelihood takes too long"
        return None
    draws = spaced_draws(tree["posterior"], most)
    own = draws
    if "posterior_centred" in tree:
        own = draws | spaced_draws(tree["posterior_centred"], most)
    groups = priors.groups
    prior = sensitivity.log_prior_shared(priors.shared, own)
    for group, factor in zip(groups, priors.factors, strict=True):
        mine = {term: own[variable(group, term, groups)] for term in factor.structure.terms[:-1]}
        prior = prior + sensitivity.log_prior_random(factor, mine)
    beta = np.stack([draws[name] for name in terms.fixed], axis=1)
    likelihood = log_likelihood(density, beta, spreads_of(draws, terms))
    known = {name: values[None] for name, values in draws.items()}
    return sensitivity.power_scaling(known, prior[None], likelihood[None])


# ---- leave one level out


def leave_one_out(
    rows: Rows,
    moments: SeveralMoments,
    priors: SeveralPriors,
    draws: dict[str, np.ndarray],
    factor: str | None,
    left: dict[str, str],
) -> tuple[Any, dict[str, Any] | None]:
    """`loo.leave_one_out` by the levels of a factor.

    Parameters
    ----------
    rows, moments : Rows, SeveralMoments
        Of the model.
    priors : SeveralPriors
        Resolved for these moments.
    draws : mapping
        `spaced_draws` of the posterior.
    factor : str or None
        Whose levels are left out; None: the one with most levels.
    left : dict
        Receives the reason as `loo` where there is no table.

    Returns
    -------
    tuple of DataFrame and dict, or of None and None
    """
    counts = moments.n_groups
    group = factor or moments.largest
    k = moments.groups.index(group)
    joint = Joint(rows, k, priors.shared.normal)
    most = min(len(draws[RESIDUAL]), most_draws(joint, counts[group]))
    if most < FEWEST:
        left["loo"] = f"the random effects are too many to leave out every level of {group}"
        return None, None
    total = len(draws[RESIDUAL])
    at = spaced(total, most)
    some = {name: values[at] for name, values in draws.items()}
    density = joint.densities(spreads_of(some, rows.terms))
    levels = moments.of(group).levels.astype(str)
    lost = [str(level) for level in levels[np.isnan(density).any(axis=0)]]
    if lost:
        shown = listed(lost[:5])
        left["loo"] = f"without level {shown} of {group} the other rows do not determine the fixed effects"
        return None, None
    effective = float(ess_mean(np.stack([values[None] for values in some.values()])).mean()) / most
    distinct = len(np.unique(some[RESIDUAL])) / most  # draws of importance sampling repeat points
    table, about = loo.leave_one_out(density[None], levels, moments.of(group).n, min(effective, distinct))
    return table, about | {"group": group}


# ---- predictive checks


class Sets(NamedTuple):
    """Parameters of R replicates: beta (R, p), roots of each D_k (R, q_k, q_k), sigmas (R,); original units."""

    beta: np.ndarray
    roots: list[np.ndarray]
    sigmas: np.ndarray


def statistics(rows: Rows, y: np.ndarray, basis: Basis) -> dict[str, float]:
    """`predictive.statistics` of each factor, named `<statistic>|<factor>`; `sd_y` is the response's.

    Parameters
    ----------
    rows : Rows
        The design.
    y : (N,) array
        The response, observed or replicated.
    basis : Basis
        The moments' coordinates.

    Returns
    -------
    dict
    """
    codes, levels = ([own[at] for own in rows.factors] for at in (0, 1))
    moments = compute_several(rows.terms, y, rows.W, codes, levels, basis)
    found = {}
    for factor in moments.factors:
        for name, value in predictive.statistics(factor).items():
            found[name if name == "sd_y" else f"{name}|{factor.group}"] = value
    return found


def check(
    rows: Rows,
    basis: Basis,
    posterior: Sets,
    prior: Sets | None,
    rngs: Mapping[str, np.random.Generator],
    level: float,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Posterior and, where there are draws from it, prior predictive checks; see `predictive.check`.

    Replicates have new random effects of every level in the same design, errors of sd sigma / sqrt(weight) where rows
    have weights. Statistics count every row once.

    Parameters
    ----------
    rows : Rows
        The observed data.
    basis : Basis
        The moments' coordinates.
    posterior, prior : Sets
        A data set is replicated for each set.
    rngs : mapping
        Generators `posterior` and `prior`.
    level : float
        Of the central intervals.

    Returns
    -------
    summary, draws : DataFrame
        See `predictive.compared`.
    """
    X = rows.columns(rows.terms.fixed)
    Z = [rows.columns(grouping.random) for grouping in rows.terms.groupings]
    shrink = 1.0 if rows.weights is None else 1.0 / np.sqrt(rows.weights)
    values = {}
    for kind, sets in (("posterior", posterior), ("prior", prior)):
        if sets is None:
            continue
        rng, drawn = rngs[kind], []
        for r, sigma in enumerate(sets.sigmas):
            y = X @ sets.beta[r] + sigma * shrink * rng.standard_normal(len(X))
            for z, root, (codes, levels) in zip(Z, sets.roots, rows.factors, strict=True):
                u = rng.standard_normal((len(levels), z.shape[1])) @ root[r].T
                y += np.einsum("na,na->n", z, u[codes])
            drawn.append(statistics(rows, y, basis))
        values[kind] = predictive.joined(drawn)
    return predictive.compared(statistics(rows, rows.y, basis), values, level)


def _thinned(draws: Mapping[str, np.ndarray], terms: Terms, count: int) -> Sets:
    """Sets of parameters from evenly spaced draws."""
    at = spaced(len(draws[RESIDUAL]), count)
    some = {name: values[at] for name, values in draws.items()}
    spreads = spreads_of(some, terms)
    return Sets(np.stack([some[name] for name in terms.fixed], axis=1), spreads.roots, spreads.sigmas)


def _from_priors(
    priors: SeveralPriors, rng: np.random.Generator, count: int, left: dict[str, str]
) -> Sets | None:
    """Sets of parameters drawn from proper priors; None with the reason in `left`."""
    improper = [name for name, own in priors.shared.fixed.items() if not own.proper]
    for group, factor in zip(priors.groups, priors.factors, strict=True):
        own = (variable(group, sd_name(term), priors.groups) for term, p in factor.sd.items() if not p.proper)
        improper += own
    improper += [RESIDUAL] * (not priors.shared.sigma.proper)
    if improper:
        named = listed([titled(name) for name in improper])
        left["prior_predictive"] = f"improper priors cannot be drawn from: {named}"
        return None
    first, *others = (prior_parameters(rng, factor, count) for factor in priors.factors)
    return Sets(first.beta, [first.roots, *(own.roots for own in others)], first.sigmas)
