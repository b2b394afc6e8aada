"""Figures of the parameters: every engine's estimates against the truth."""

import numpy as np
from matplotlib.axes import Axes

from lmm.core import engines as families
from lmm.core.tidy import RESIDUAL
from lmm.core.words import label, listed, number, of_term, percent, titled
from lmm.report.figures.fits import Fitted
from lmm.report.figures.style import COLOURS, INK, MARKERS, Drawing, abreast, colour, key
from lmm.results.study import Results

MANY = 3  # more effects than this: a sentence says the ends of a range


def _interval(ax: Axes, y: float, low: float, high: float, value: float, name: str) -> None:
    if np.isfinite(low) and np.isfinite(high):
        ax.plot([low, high], [y, y], color=colour(name), lw=2, solid_capstyle="round")
    ax.plot([value], [y], marker=MARKERS.get(name, "o"), ms=6.5, color=colour(name), ls="none")


def variances(results: Results, _: Fitted) -> Drawing:
    """Estimate and interval of every sd and correlation by engine, against truth and realised value."""
    terms = [
        term
        for term in results.spread_terms()
        if any(_known(results, engine, term) for engine in results.fits)
    ]
    engines = [name for name in results.fits if any(_known(results, name, term) for term in terms)]
    figure, axes = abreast(len(terms), 46 + 19 * len(engines))
    covered, total, worst = 0, 0, (0.0, "", "")
    for ax, term in zip(axes.flat, terms, strict=False):
        here = [name for name in engines if _known(results, name, term)]
        # least squares has the groups' spread in its residual: an order of magnitude off, it would flatten the others
        shown = [
            name
            for name in here
            if not (name == results.pooled and len(here) > 1 and _far(results, term, here))
        ]
        truth = _truth(results, term)
        if np.isfinite(truth):
            ax.axvline(truth, color=COLOURS["truth"], lw=1.4)
        if np.isfinite(results.realised(term)):
            ax.axvline(results.realised(term), color=COLOURS["realised"], lw=1.4, ls=(0, (4, 2)))
        for k, name in enumerate(shown):
            value, low, high = (
                results.estimate(name, term, c) for c in ("estimate", "conf_low", "conf_high")
            )
            _interval(ax, k, low, high, value, name)
            if np.isfinite(truth) and np.isfinite(low) and name != results.pooled:
                total, covered = total + 1, covered + (low <= truth <= high)
            if (
                np.isfinite(truth)
                and truth != 0
                and name != results.pooled
                and abs(value / truth - 1) >= abs(worst[0])
            ):
                worst = (value / truth - 1, term, name)
        left = [name for name in here if name not in shown]
        ax.set_yticks(range(len(shown)), [label(name) for name in shown], color=INK)
        ax.set_ylim(len(shown) - 0.4, -0.6)
        ax.set_title(
            titled(term)
            + (
                f"   ({label(results.pooled)}: {number(results.estimate(results.pooled, term))}, off the scale)"
                if left
                else ""
            )
        )
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        ax.margins(x=0.08)
    level = f"{100 * results.conf_level:g}\u00a0%"
    if results.truth is None:
        alt = "Estimated standard deviations and correlations by engine: " + "; ".join(
            f"{titled(term)}: "
            + ", ".join(
                f"{label(e)} {of_term(term, results.estimate(e, term))}"
                for e in engines
                if _known(results, e, term)
            )
            for term in terms
        )
        caption = f"Point and {level} interval by engine{_kinds(results, engines)}."
        return Drawing(figure, "Variance components by engine", caption, alt + ".")
    entries = [("truth", {"color": COLOURS["truth"], "lw": 1.4})]
    if any(np.isfinite(results.realised(term)) for term in terms):
        entries.append(
            ("realised in this draw", {"color": COLOURS["realised"], "lw": 1.4, "ls": (0, (4, 2))})
        )
    key(axes[0, 0], entries)
    alt = f"Intervals of the mixed models that contain the value simulated from: {covered} of {total}."
    if worst[1]:
        alt += f" The largest relative error is {percent(worst[0])} ({titled(worst[1])}, {label(worst[2])})."
    dashed = "; dashed: their values in this one draw" if len(entries) > 1 else ""
    caption = (
        f"Solid line: the values simulated from{dashed}; point and {level} interval by "
        f"engine{_kinds(results, engines)}."
    )
    return Drawing(figure, "Were the variances recovered?", caption, alt)


def _kinds(results: Results, engines: list[str]) -> str:
    """What the intervals of variance parameters are, of the engines that have any; empty where none has."""

    def has(name: str) -> bool:
        table = results.fits[name].parameters
        return bool(table.loc[table["effect"] == "ran_pars", "conf_low"].notna().any())

    shown = [name for name in engines if has(name)]
    profile = [label(name) for name in families.of_family(shown, families.LIKELIHOOD, families.EXACT)]
    kinds = [f"profile likelihood for {listed(profile)}"] if profile else []
    kinds += [f"posterior quantiles for {label(results.bayes)}"] if results.bayes in shown else []
    none = [label(name) for name in engines if name not in shown]
    kinds += [f"χ² for {label(results.pooled)}"] if results.pooled in shown else []
    kinds += [f"no interval for {listed(none)}"] if none else []
    return f" ({', '.join(kinds)})" if kinds else ""


def _known(results: Results, engine: str, term: str) -> bool:
    return bool(np.isfinite(results.estimate(engine, term)))


def _truth(results: Results, term: str) -> float:
    values = [results.estimate(name, term, "truth") for name in results.fits]
    return next((value for value in values if np.isfinite(value)), np.nan)


def _far(results: Results, term: str, here: list[str]) -> bool:
    others = [results.estimate(name, term) for name in here if name != results.pooled]
    return term == RESIDUAL and results.estimate(results.pooled, term) > 2 * max(others)
