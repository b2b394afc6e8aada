"""Models of the same rows by what they predict of new groups: elpd by leave-one-group-out, paired over groups."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.tidy import RESIDUAL
from lmm.criticism import several
from lmm.criticism.stage import STUCK
from lmm.data.rows import Rows
from lmm.engines.pymc import loo
from lmm.engines.pymc.fit import fit
from lmm.engines.pymc.several_fit import fit_several
from lmm.engines.pymc.several_priors import resolve_several
from lmm.inference.spreads import spaced_draws
from lmm.likelihood.by_group import by_group
from lmm.likelihood.problem import problem_of
from lmm.model.priors import of_factor
from lmm.model.terms import Terms
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments, narrowed


def sampled(
    moments: Moments | SeveralMoments,
    models: Mapping[str, Terms],
    settings: Mapping[str, Any],
    read: Callable[[str], Rows],
    cores: int = 1,
) -> tuple[pd.DataFrame | None, list[str]]:
    """Sample every model and compare their elpds.

    Parameters
    ----------
    moments : Moments or SeveralMoments
        With the columns and grouping factors of all models.
    models : mapping of name to Terms
        The models to compare.
    settings : mapping
        The engine's; a prior by term is of the models that have the term. `loo`: the factor whose levels are left out
        (None: of those that all models have, the one with most levels).
    read : callable
        Rows through the design of a model, by its name; called only for models of several factors.
    cores : int
        Chains sampled at a time.

    Returns
    -------
    DataFrame or None
        See `compared`; also largest_pareto_k. None where some model cannot be judged by its predictions.
    list of str
        What to be careful about, or why there is no elpd.
    """
    group, elpds, largest, notes = None, {}, {}, []
    if isinstance(moments, SeveralMoments):
        group = _shared_factor(moments, models, settings.get("loo"))
        if group is None:
            return None, ["elpd is left out: the models have no grouping factor in common"]
    for name, terms in models.items():
        names = [grouping.group for grouping in terms.groupings]
        mine, own = narrowed(moments, names).within(terms.fixed), {**settings, "keep_draws": 0}
        own["priors"] = _of_terms(settings["priors"], terms)
        if terms.several:
            fitted, tree = fit_several(mine, terms, own, cores=cores)
            found, why = _of_several(mine, terms, own, tree, group, partial(read, name))
        elif mine.weighted:
            found, why = None, f"rows have weights, and {name} has one grouping factor"
        else:
            fitted, tree = fit(mine, terms.fixed, terms.blocks, own, cores=cores)
            found = of_model(mine, terms, tree["posterior"])
            why = "the groups are too many for the moments that it needs"
        if found is None:
            return None, [f"elpd is left out: {why}"]
        if fitted.diagnostics.status != "ok":
            notes.append(f"PyMC's fit of {name}: {fitted.diagnostics.status}: {fitted.diagnostics.message}")
        table, about = found
        if about["high"]:
            levels = ", ".join(about["high"])
            notes.append(f"elpd of {name}: Pareto k is above {about['good_k']:.2f} for {levels}")
        elpds[name], largest[name] = table["elpd"].to_numpy(), about["largest_k"]
    if group is not None:
        notes.insert(0, f"elpd leaves out the levels of {group}")
    table = compared(elpds)
    return table.assign(largest_pareto_k=table["model"].map(largest)), notes


def _shared_factor(moments: SeveralMoments, models: Mapping[str, Terms], wanted: str | None) -> str | None:
    """The factor whose levels are left out, in every model."""
    counts = moments.n_groups
    owned = [{grouping.group for grouping in terms.groupings} for terms in models.values()]
    shared = [group for group in counts if all(group in own for own in owned)]
    return wanted if wanted in shared else max(shared, key=lambda group: counts[group], default=None)


def _of_several(
    moments: SeveralMoments,
    terms: Terms,
    settings: Mapping[str, Any],
    tree: Any,
    group: str | None,
    read: Callable[[], Rows],
) -> tuple[tuple[pd.DataFrame, dict[str, Any]] | None, str]:
    """`several.leave_one_out` of a posterior, or None and the reason."""
    if why := several.too_many(moments):
        return None, why
    draws, left = spaced_draws(tree["posterior"], several.DRAWS), {}
    if np.ptp(draws[RESIDUAL]) == 0.0:
        return None, STUCK
    blocks = [grouping.blocks for grouping in terms.groupings]
    priors = resolve_several(settings["priors"], moments, terms.fixed, blocks)
    table, about = several.leave_one_out(read(), moments, priors, draws, group, left)
    return (None if table is None else (table, about)), left.get("loo", "")


def _of_terms(priors: Mapping[str, Any], terms: Terms) -> dict[str, Any]:
    """Priors without those of terms and grouping factors that a model does not have."""
    sd: Any = priors["sd"]
    if isinstance(sd, Mapping):
        sd = {
            grouping.group: _among(of_factor(sd, grouping.group, grouping.random), grouping.random)
            for grouping in terms.groupings
        }
        if not terms.several:
            (sd,) = sd.values()
    return dict(priors) | {"fixed": _among(priors["fixed"], terms.fixed), "sd": sd}


def _among(prior: Any, names: tuple[str, ...]) -> Any:
    """A prior by term, of some terms."""
    if not isinstance(prior, Mapping):
        return prior
    return {term: own for term, own in prior.items() if term in names}


def of_model(moments: Moments, terms: Terms, posterior: Any) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """`loo.leave_one_out` of a posterior; None where the groups are too many for the moments that it needs.

    Parameters
    ----------
    moments : Moments
        Sufficient statistics of the rows.
    terms : Terms
        Names of the model's columns.
    posterior : Any
        The group `posterior` of a fit.

    Returns
    -------
    tuple[pd.DataFrame, dict[str, Any]] or None
    """
    moments = moments.within(terms.fixed)
    problem = problem_of(moments, terms.fixed, terms.blocks)
    gram = by_group(moments, problem)
    if gram is None:
        return None
    draws = loo.draws_of(posterior, (*terms.fixed, *problem.structure.terms), moments.n_groups)
    density, effective = loo.densities(problem, gram, moments, draws)
    return loo.leave_one_out(density, moments.levels.astype(str), moments.n, effective)


def compared(elpds: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Models by elpd: the paired difference from the best one, and its standard error over groups.

    Parameters
    ----------
    elpds : mapping of model to (J,) array
        Of the same groups in the same order.

    Returns
    -------
    DataFrame
        model, elpd, elpd_se, delta_elpd, delta_elpd_se; in the mapping's order.
    """
    best = max(elpds, key=lambda name: elpds[name].sum())

    def error(values: np.ndarray) -> float:
        return float(np.sqrt(len(values) * np.var(values)))

    rows = [
        (name, own.sum(), error(own), (own - elpds[best]).sum(), error(own - elpds[best]))
        for name, own in elpds.items()
    ]
    return pd.DataFrame(rows, columns=["model", "elpd", "elpd_se", "delta_elpd", "delta_elpd_se"])
