"""How a fit was sampled and what of it goes into its diagnostics, of one grouping factor or several."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lmm.core import engines
from lmm.core.tidy import Diagnostics, variable
from lmm.core.versions import versions_of
from lmm.engines.pymc.attempts import Setting
from lmm.engines.pymc.gates import loose_rule, status_of
from lmm.engines.pymc.order import quantiles
from lmm.engines.pymc.sampling import Sampled
from lmm.engines.pymc.tables import ENGINE
from lmm.inference.variance_explained import Component, explained

# Fixed effects from which an evaluation, cubic in them, costs so much that NUTS takes a minute.
MANY = 100


def full(settings: Mapping[str, Any]) -> bool:
    """Whether random effects are sampled, too."""
    return "full" in (settings["model"], settings["sampler"])


def sampler_of(
    settings: Mapping[str, Any], fixed: Sequence[str], several: bool = False, brief: bool = False
) -> str:
    """importance or nuts; auto is nuts for a single fit of one grouping factor and fewer than `MANY` fixed effects.

    Parameters
    ----------
    settings : mapping
        The engine's.
    fixed : sequence of str
        Names of X's columns.
    several : bool
        Whether there are several grouping factors.
    brief : bool
        Whether the data set is a replicate.

    Returns
    -------
    str
    """
    automatic = "importance" if several or brief or len(fixed) >= MANY else "nuts"
    return automatic if settings["sampler"] == "auto" else settings["sampler"]


def brief_diagnostics(found: Sampled, level: float, clock: float, lost: list[str]) -> Diagnostics:
    """How a replicate's fit ended.

    Parameters
    ----------
    found : Sampled
        The draws and their gates.
    level : float
        Of the intervals, between 0 and 1.
    clock : float
        When it began, seconds.
    lost : list of str
        Variance parameters that the data do not determine.

    Returns
    -------
    Diagnostics
    """
    status, message = status_of(found.gates, lost)
    return Diagnostics(
        ENGINE, status, message, status == "ok", gates=found.gates, unidentified=lost, warnings=found.warnings,
        summary=found.about, seconds={"sample": time.perf_counter() - clock}, conf_level=level,
    )  # fmt: skip


def seconds_of(clock: list[float], compiling: float) -> dict[str, float]:
    """Seconds of compiling, sampling and summarising, from clock times around the last two."""
    start, drawn, end = clock
    return {"compile": compiling, "sample": drawn - start - compiling, "summarise": end - drawn}


def diagnostics_of(
    found: Sampled,
    priors: Any,
    moments: Any,
    setting: Setting,
    level: float,
    own: Mapping[str, Any],
    lost: list[str],
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
    lost : list of str
        Variance parameters that the data do not determine.

    Returns
    -------
    Diagnostics
    """
    status, message = status_of(found.gates, lost)
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
        unidentified=lost,
        warnings=found.warnings,
        versions=versions_of(*engines.row(ENGINE).packages),
        n_rows=moments.n_rows,
        n_groups=moments.n_groups,
        conf_level=level,
        intervals={"fixed": "posterior quantiles", "ran_pars": "posterior quantiles"},
        summary=summary | found.about | dict(own),
    )


def explained_summary(
    chains: Any, names: Sequence[str], factors: Sequence[Component], cov_fixed: np.ndarray, level: float
) -> dict[str, dict[str, float]]:
    """Posterior mean and interval of each measure of variance explained (`variance_explained.explained`).

    Parameters
    ----------
    chains : Chains or SeveralChains
        Draws, and what follows from them exactly.
    names : sequence of str
        Of fixed effects and variance parameters, by `tidy.variable`.
    factors : sequence of Component
        The grouping factors.
    cov_fixed : (p, p) array
        Covariance of X's rows.
    level : float
        Of the intervals, between 0 and 1.

    Returns
    -------
    dict
        Measure (`tidy.variable` of group and measure) to estimate, conf_low and conf_high.
    """
    flat = chains.values.reshape(len(chains.values), -1)
    values = dict(zip(names, [*chains.fixed.draws.T, *flat], strict=True))
    tails, groups = [0.5 - level / 2, 0.5 + level / 2], [factor.group for factor in factors]
    found = explained(values, chains.problem.fixed, factors, cov_fixed)
    draws = np.array(list(found.values()))
    rows = np.column_stack([draws.mean(axis=1), *quantiles(draws, tails)])
    return {
        variable(*key, groups): dict(zip(("estimate", "conf_low", "conf_high"), row, strict=True))
        for key, row in zip(found, rows, strict=True)
    }
