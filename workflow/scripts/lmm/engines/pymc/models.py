"""Models of the same rows by what they predict of new groups: elpd by leave-one-group-out, paired over groups."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lmm.engines.pymc import loo
from lmm.engines.pymc.fit import fit
from lmm.likelihood.by_group import by_group
from lmm.likelihood.problem import problem_of
from lmm.model.terms import Terms
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments


def sampled(
    moments: Moments | SeveralMoments,
    models: Mapping[str, Terms],
    settings: Mapping[str, Any],
    cores: int = 1,
) -> tuple[pd.DataFrame | None, list[str]]:
    """Sample every model and compare their elpds.

    Parameters
    ----------
    moments : Moments or SeveralMoments
        With the columns of all models.
    models : mapping of name to Terms
        The models to compare.
    settings : mapping
        The engine's; a prior by term is of the models that have the term.
    cores : int
        Chains sampled at a time.

    Returns
    -------
    DataFrame or None
        See `compared`; also largest_pareto_k. None where the groups are too many, or the factors several.
    list of str
        What to be careful about: fits that failed a gate, groups that importance sampling does not do justice to.
    """
    if isinstance(moments, SeveralMoments):
        return None, ["elpd is left out: it is for models of one grouping factor"]
    elpds, largest, notes = {}, {}, []
    for name, terms in models.items():
        own = {**settings, "priors": _of_terms(settings["priors"], terms), "keep_draws": 0}
        fitted, tree = fit(moments.within(terms.fixed), terms.fixed, terms.blocks, own, cores=cores)
        if fitted.diagnostics.status != "ok":
            notes.append(f"PyMC's fit of {name}: {fitted.diagnostics.status}: {fitted.diagnostics.message}")
        found = of_model(moments, terms, tree["posterior"])
        if found is None:
            return None, ["elpd is left out: the groups are too many for the moments that it needs"]
        table, about = found
        if about["high"]:
            levels = ", ".join(about["high"])
            notes.append(f"elpd of {name}: Pareto k is above {about['good_k']:.2f} for {levels}")
        elpds[name], largest[name] = table["elpd"].to_numpy(), about["largest_k"]
    table = compared(elpds)
    return table.assign(largest_pareto_k=table["model"].map(largest)), notes


def _of_terms(priors: Mapping[str, Any], terms: Terms) -> dict[str, Any]:
    """Priors without those of terms that a model does not have."""
    kinds = {"fixed": terms.fixed, "sd": terms.random}
    return dict(priors) | {
        kind: {term: prior for term, prior in priors[kind].items() if term in names}
        for kind, names in kinds.items()
        if isinstance(priors[kind], Mapping)
    }


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
