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
    for ax, term in zip(axes.flat, terms, strict=False):
        _panel(ax, results, term, [name for name in engines if _known(results, name, term)])
    level = f"{100 * results.conf_level:g}\u00a0%"
    if results.truth is None:
        said = [
            f"{titled(term)}: "
            + ", ".join(
                f"{label(e)} {of_term(term, results.estimate(e, term))}"
                for e in engines
                if _known(results, e, term)
            )
            for term in terms
        ]
        alt = f"Estimated standard deviations and correlations by engine: {'; '.join(said)}."
        caption = f"Point and {level} interval by engine{_kinds(results, engines)}."
        return Drawing(figure, "Variance components by engine", caption, alt)
    entries = [("truth", {"color": COLOURS["truth"], "lw": 1.4})]
    if any(np.isfinite(results.realised(term)) for term in terms):
        entries.append(
            ("realised in this draw", {"color": COLOURS["realised"], "lw": 1.4, "ls": (0, (4, 2))})
        )
    key(axes[0, 0], entries)
    dashed = "; dashed: their values in this one draw" if len(entries) > 1 else ""
    caption = (
        f"Solid line: the values simulated from{dashed}; point and {level} interval by "
        f"engine{_kinds(results, engines)}."
    )
    return Drawing(figure, "Were the variances recovered?", caption, _found(results, terms, engines))


def _panel(ax: Axes, results: Results, term: str, here: list[str]) -> None:
    """A term's estimates and intervals by engine, around its true and its drawn value."""
    # least squares has the groups' spread in its residual: an order of magnitude off, it would flatten the others
    left = [results.pooled] if results.pooled in here and len(here) > 1 and _far(results, term, here) else []
    shown = [name for name in here if name not in left]
    truth, drawn = _truth(results, term), results.realised(term)
    if np.isfinite(truth):
        ax.axvline(truth, color=COLOURS["truth"], lw=1.4)
    if np.isfinite(drawn):
        ax.axvline(drawn, color=COLOURS["realised"], lw=1.4, ls=(0, (4, 2)))
    for k, name in enumerate(shown):
        value, low, high = (results.estimate(name, term, c) for c in ("estimate", "conf_low", "conf_high"))
        _interval(ax, k, low, high, value, name)
    ax.set_yticks(range(len(shown)), [label(name) for name in shown], color=INK)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    off = [f"   ({label(name)}: {number(results.estimate(name, term))}, off the scale)" for name in left]
    ax.set_title("".join([titled(term), *off]))
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    ax.margins(x=0.08)


def _found(results: Results, terms: list[str], engines: list[str]) -> str:
    """How many intervals of the mixed models contain the true value, and the largest relative error."""
    covered, total, worst = 0, 0, (0.0, "", "")
    for term in terms:
        truth = _truth(results, term)
        for name in engines:
            if name == results.pooled or not (np.isfinite(truth) and _known(results, name, term)):
                continue
            value, low, high = (
                results.estimate(name, term, c) for c in ("estimate", "conf_low", "conf_high")
            )
            if np.isfinite(low):
                total, covered = total + 1, covered + (low <= truth <= high)
            if truth != 0 and abs(value / truth - 1) >= abs(worst[0]):
                worst = (value / truth - 1, term, name)
    said = f"Intervals of the mixed models that contain the value simulated from: {covered} of {total}."
    if worst[1]:
        said += f" The largest relative error is {percent(worst[0])} ({titled(worst[1])}, {label(worst[2])})."
    return said


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
