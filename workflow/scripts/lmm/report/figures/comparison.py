"""Figures of the parameters: every engine's estimates against the truth."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from lmm.core import engines as families
from lmm.core.parameters import of_term
from lmm.core.tidy import RESIDUAL, group_of
from lmm.core.words import label, listed, number, percent
from lmm.report.answer import relative_error
from lmm.report.figures.fits import Fitted
from lmm.report.figures.style import COLOURS, INK, MARKERS, Drawing, abreast, colour, key
from lmm.results.study import Results

MANY = 3  # more effects than this: a sentence says the ends of a range


def _interval(ax: Axes, y: float, low: float, high: float, value: float, name: str) -> None:
    if np.isfinite(low) and np.isfinite(high):
        ax.plot([low, high], [y, y], color=colour(name), lw=2, solid_capstyle="round")
    ax.plot([value], [y], marker=MARKERS.get(name, "o"), ms=6.5, color=colour(name), ls="none")


class _Spread(NamedTuple):
    """A standard deviation or correlation, and the results of the factor that it belongs to."""

    own: Results
    term: str
    title: str

    def of(self, engine: str, column: str = "estimate") -> float:
        return self.own.estimate(engine, self.term, column)

    @property
    def group(self) -> str:
        """The parameter's group in the tidy table."""
        return group_of(self.term, self.own.group)

    @property
    def truth(self) -> float:
        values = [self.of(name, "truth") for name in self.own.fits]
        return next((value for value in values if np.isfinite(value)), np.nan)

    @property
    def engines(self) -> list[str]:
        """Those that estimate it."""
        return [name for name in self.own.fits if np.isfinite(self.of(name))]


def _spreads(results: Results) -> list[_Spread]:
    """sd's of all factors, the residual sd, which belongs to none of them and stands once, correlations."""
    several = len(results.by_factor) > 1
    found = [
        _Spread(own, term, results.titled(term) + (f", {own.group}" if several and term != RESIDUAL else ""))
        for k, own in enumerate(results.by_factor)
        for term in own.spread_terms()
        if k == 0 or term != RESIDUAL
    ]
    known = [one for one in found if one.engines]
    return sorted(known, key=lambda one: (not one.term.startswith("sd__"), one.term == RESIDUAL))


def variances(results: Results, _: Fitted) -> Drawing:
    """Estimate and interval of every sd and correlation by engine, against truth and realised value."""
    spreads = _spreads(results)
    engines = [name for name in results.fits if any(name in one.engines for one in spreads)]
    figure, axes = abreast(len(spreads), 46 + 19 * len(engines))
    covered, total, worst = 0, 0, (0.0, "", "")
    for ax, one in zip(axes.flat, spreads, strict=False):
        here = one.engines
        # least squares has the groups' spread in its residual: an order of magnitude off, it would flatten the others
        left = results.pooled in here and len(here) > 1 and _far(results, one)
        shown = [name for name in here if not (left and name == results.pooled)]
        truth, realised = one.truth, one.own.realised(one.term)
        if np.isfinite(truth):
            ax.axvline(truth, color=COLOURS["truth"], lw=1.4)
        if np.isfinite(realised):
            ax.axvline(realised, color=COLOURS["realised"], lw=1.4, ls=(0, (4, 2)))
        for k, name in enumerate(shown):
            value, low, high = (one.of(name, column) for column in ("estimate", "conf_low", "conf_high"))
            _interval(ax, k, low, high, value, name)
            if not np.isfinite(truth) or name == results.pooled:
                continue
            if np.isfinite(low):
                total, covered = total + 1, covered + (low <= truth <= high)
            error = relative_error(one.own.parameter(name, one.group, one.term))
            if abs(error) >= abs(worst[0]):
                worst = (error, one.title, name)
        ax.set_yticks(range(len(shown)), [label(name) for name in shown], color=INK)
        ax.set_ylim(len(shown) - 0.4, -0.6)
        off = f"   ({label(results.pooled)}: {number(one.of(results.pooled))}, off the scale)" if left else ""
        ax.set_title(one.title + off)
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        ax.margins(x=0.08)
        ax.locator_params(axis="x", nbins=6)
    level = f"{100 * results.conf_level:g}\u00a0%"
    if results.truth is None:
        alt = "Estimated standard deviations and correlations by engine: " + "; ".join(
            f"{one.title}: "
            + ", ".join(f"{label(name)} {of_term(one.term, one.of(name))}" for name in one.engines)
            for one in spreads
        )
        caption = f"Point and {level} interval by engine{_kinds(results, engines)}."
        return Drawing(figure, "Variance components by engine", caption, alt + ".")
    entries = [("true value", {"color": COLOURS["truth"], "lw": 1.4})]
    if any(np.isfinite(one.own.realised(one.term)) for one in spreads):
        entries.append(("drawn in these data", {"color": COLOURS["realised"], "lw": 1.4, "ls": (0, (4, 2))}))
    key(axes[0, 0], entries)
    alt = f"{covered} of {total} intervals of the mixed models contain the true value."
    if worst[1]:
        alt += f" The largest relative error is {percent(worst[0])} ({worst[1]}, {label(worst[2])})."
    dashed = "; dashed: value drawn in these data" if len(entries) > 1 else ""
    caption = (
        f"Solid line: true value{dashed}; point and {level} interval by engine{_kinds(results, engines)}."
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


def _far(results: Results, one: _Spread) -> bool:
    others = [one.of(name) for name in one.engines if name != results.pooled]
    return one.term == RESIDUAL and one.of(results.pooled) > 2 * max(others)
