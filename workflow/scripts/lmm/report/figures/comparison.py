"""Figures of the parameters: every engine's estimates against the truth."""

import numpy as np
from matplotlib.axes import Axes

from lmm.core.tidy import RESIDUAL
from lmm.core.words import label, number, of_term, percent, titled
from lmm.report.figures.fits import Fitted
from lmm.report.figures.style import COLOURS, INK, MARKERS, Drawing, canvas, colour
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
    columns = min(len(terms), 2) or 1
    lines = int(np.ceil(len(terms) / columns)) or 1
    figure, axes = canvas(760, lines * (46 + 19 * len(engines)) + 26, lines, columns)
    covered, total, worst = 0, 0, (0.0, "", "")
    for ax, term in zip(axes.flat, terms, strict=False):
        here = [name for name in engines if _known(results, name, term)]
        # OLS throws the groups' spread into its residual: an order of magnitude off, it would flatten the others
        shown = [name for name in here if not (name == "ols" and len(here) > 1 and _far(results, term, here))]
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
            if np.isfinite(truth) and np.isfinite(low) and name != "ols":
                total, covered = total + 1, covered + (low <= truth <= high)
            if (
                np.isfinite(truth)
                and truth != 0
                and name != "ols"
                and abs(value / truth - 1) >= abs(worst[0])
            ):
                worst = (value / truth - 1, term, name)
        left = [name for name in here if name not in shown]
        ax.set_yticks(range(len(shown)), [label(name) for name in shown], color=INK)
        ax.set_ylim(len(shown) - 0.4, -0.6)
        ax.set_title(
            titled(term)
            + (f"   (OLS: {number(results.estimate('ols', term))}, off the scale)" if left else "")
        )
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        ax.margins(x=0.08)
    for ax in axes.flat[len(terms) :]:
        ax.set_visible(False)
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
        return Drawing(
            figure, "Variance components by engine", f"Point and {level} interval of each engine.", alt + "."
        )
    entries = [("truth", {"color": COLOURS["truth"], "lw": 1.4})]
    if any(np.isfinite(results.realised(term)) for term in terms):
        entries.append(
            ("realised in this draw", {"color": COLOURS["realised"], "lw": 1.4, "ls": (0, (4, 2))})
        )
    figure.legend(
        handles=[_line(name, style) for name, style in entries],
        loc="outside lower right",
        ncols=2,
        fontsize=9,
    )
    alt = f"Of {total} intervals of the mixed models, {covered} contain the value simulated from."
    if worst[1]:
        alt += f" The largest relative error is {percent(worst[0])} ({titled(worst[1])}, {label(worst[2])})."
    caption = (
        "Estimand: the sd's and correlations simulated from (solid line); dashed: their values in this one "
        "draw. Point and "
        f"{level} interval by engine: profile likelihood (MixedLM's where it reached reml's optimum), posterior "
        "quantiles for PyMC. One data set: coverage needs many."
    )
    return Drawing(figure, "Were the variances recovered?", caption, alt)


def _line(name: str, style: dict):
    from matplotlib.lines import Line2D

    return Line2D([], [], label=name, **style)


def _known(results: Results, engine: str, term: str) -> bool:
    return bool(np.isfinite(results.estimate(engine, term)))


def _truth(results: Results, term: str) -> float:
    values = [results.estimate(name, term, "truth") for name in results.fits]
    return next((value for value in values if np.isfinite(value)), np.nan)


def _far(results: Results, term: str, here: list[str]) -> bool:
    others = [results.estimate(name, term) for name in here if name != "ols"]
    return term == RESIDUAL and results.estimate("ols", term) > 2 * max(others)


def _widths(ratios: list[tuple[float, str]], other: str) -> str:
    """How wide OLS's intervals are beside another engine's: each of a few, the ends of many."""
    if len(ratios) > MANY:
        ends = [f"{number(ratio, 2)} ({term})" for ratio, term in (min(ratios), max(ratios))]
        return f"OLS's intervals are {ends[0]} to {ends[1]} times as wide as {other}'s"
    return "; ".join(
        f"{term}: OLS's interval is {number(ratio, 2)} times as wide as {other}'s" for ratio, term in ratios
    )


def effects(results: Results, _: Fitted) -> Drawing:
    """Fixed effects with their intervals by engine, against the truth."""
    engines = [name for name in results.fits if results.fixed(name)]
    terms = list(dict.fromkeys(term for name in engines for term in results.fixed(name)))
    columns = min(len(terms), 2)
    lines = int(np.ceil(len(terms) / columns))
    figure, axes = canvas(760, lines * (44 + 19 * len(engines)), lines, columns)
    ratios = []
    for ax, term in zip(axes.flat, terms, strict=False):
        truth = _truth(results, term)
        if np.isfinite(truth):
            ax.axvline(truth, color=COLOURS["truth"], lw=1.4)
        widths = {}
        for k, name in enumerate(engines):
            value, low, high = (
                results.estimate(name, term, c) for c in ("estimate", "conf_low", "conf_high")
            )
            _interval(ax, k, low, high, value, name)
            widths[name] = high - low
        ax.set_yticks(range(len(engines)), [label(name) for name in engines], color=INK)
        ax.set_ylim(len(engines) - 0.4, -0.6)
        ax.set_title(term)
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        ax.margins(x=0.08)
        other = results.main
        if "ols" in widths and other and widths[other] > 0:
            ratios.append((widths["ols"] / widths[other], term))
    for ax in axes.flat[len(terms) :]:
        ax.set_visible(False)
    alt = f"Fixed effects by engine with {100 * results.conf_level:.0f} % intervals. "
    alt += _widths(ratios, label(results.main) if results.main else "")
    caption = (
        "Estimand: the fixed effects"
        + (" (vertical line: the value simulated from)" if results.truth else "")
        + ". Intervals: t for OLS, Wald "
        "for MixedLM and reml, posterior quantiles for PyMC. OLS takes rows for independent: its "
        "interval is not to be trusted."
    )
    return Drawing(figure, "Fixed effects by engine", caption, alt.rstrip(". ") + ".")
