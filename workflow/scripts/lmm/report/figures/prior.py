"""The posterior against its prior: what the data added."""

import numpy as np

from lmm.core.errors import StudyError
from lmm.core.tidy import CORRELATIONS, RESIDUAL, read_draws
from lmm.core.words import listed, number, shortened
from lmm.model.priors import parse_prior
from lmm.report.figures.diagnostics import density, few_ticks, grid, others, sampled
from lmm.report.figures.fits import Fitted
from lmm.report.figures.style import COLOURS, INK, Drawing, colour, key, polylines
from lmm.results.study import Results

MARK = " *"  # of parameters that are drawn at the predictors' means


def prior_density(text: str, term: str, x: np.ndarray) -> np.ndarray | None:
    """Density of a prior given as text (`uniform(0, 100)`) at x; None where it is improper or not a named one."""
    try:
        prior = parse_prior(text, kind_of(term), term)
    except StudyError:
        return None
    return np.exp(prior.logpdf(x)) if prior.proper and prior.name != "auto" else None


def kind_of(term: str) -> str:
    """The kind of parameter that a tidy term is, as priors are configured: fixed, sd, sigma, corr."""
    return "sigma" if term == RESIDUAL else {"sd": "sd", "cor": "corr"}.get(term.partition("__")[0], "fixed")


def priors_of(results: Results) -> dict[str, str]:
    """The prior of every parameter as text: as the fit recorded it, with the numbers that `auto` stood for."""
    recorded = results.fits[results.bayes].diagnostics.summary.get("priors", {})
    if isinstance(recorded, list):
        recorded = {results.prior_name(row): row["prior"] for row in recorded}
    frame, table = results.fits[results.bayes].parameters, {}
    for group, term in zip(frame["group"], frame["term"], strict=True):
        own = CORRELATIONS if term.startswith("cor__") else term
        text = recorded.get(results.prior_name({"parameter": own, "group": group}))
        if text is not None:
            table[results.name_of(group, term)] = str(text)
    return table


def priors(results: Results, _: Fitted) -> Drawing:
    """Marginal posterior densities with the prior's density in the same units."""
    draws, given, centred = (
        sampled(results),
        priors_of(results),
        read_draws(results.posterior_file, "posterior_centred"),
    )
    figure, axes = grid(len(draws), 125)
    flat, elsewhere, narrow = [], [], []
    for ax, (name, reported) in zip(axes.flat, draws.items(), strict=False):
        values = centred.get(name, reported)
        low = 0.0 if name.startswith("sd__") else None
        x, height = density(values.ravel(), low=low)
        ax.fill_between(x, height, color=colour(results.bayes), alpha=0.25, lw=0)
        polylines(ax, [np.column_stack([x, height])], color=colour(results.bayes), lw=1.6)
        prior = prior_density(given.get(name, "flat"), name, x)
        if prior is not None:
            ax.plot(x, prior, color=INK, lw=1.2, ls=(0, (3, 2)))
            narrow.append((float(height.max() / max(prior.max(), 1e-300)), name))
        else:
            (flat if given.get(name, "flat") == "flat" else elsewhere).append(name)
        truth = results.estimate(results.bayes, name, "truth")
        if np.isfinite(truth) and name not in centred:
            ax.axvline(truth, color=COLOURS["truth"], lw=1.2)
        ax.set(title=results.titled(name) + MARK * (name in centred), yticks=[], ylim=(0, None))
        few_ticks(ax)
        ax.spines["left"].set_visible(False)
    entries = [("posterior", {"color": colour(results.bayes)})]
    if narrow:
        entries.append(("prior", {"color": INK, "lw": 1.2, "ls": (0, (3, 2))}))
    key(axes[0, 0], entries)
    said = (
        f" Improper (flat) priors, not drawn: {listed([results.titled(name) for name in flat])}."
        if flat
        else ""
    )
    if elsewhere:
        why = [f"{results.titled(name)}, whose prior is {shortened(given[name])}" for name in elsewhere]
        said += f" Not drawn: {listed(why)}."
    if any(name in centred for name in draws):
        said += f" {MARK.strip()} At the predictors' means, as its prior is."
    least = min(narrow, default=None)
    alt = "Posterior densities against their priors" + (
        f": at its peak the posterior of {results.spoken(least[1])}, the least informed, is {number(least[0], 2)} "
        "times as dense as its prior."
        if least
        else "."
    )
    caption = (
        f"Marginal posterior (filled){', prior (dashed)' if narrow else ''}"
        f"{' and the true value (vertical)' if results.truth else ''}.{said}{others(results)}"
    )
    return Drawing(figure, "Posterior against prior", caption, alt)
