"""Figures that hold the engines against the truth and against each other."""

import numpy as np
from matplotlib.axes import Axes

from lmm.figures.fits import Fitted
from lmm.figures.style import COLOURS, FAINT, INK, MARKERS, Drawing, canvas, colour, dots, key, segments
from lmm.results import Results
from lmm.tidy import RESIDUAL
from lmm.words import label, number

MANY = 400  # more groups than this: the extremes and the density of the rest
ENDS = 25  # groups shown at either end then


def _interval(ax: Axes, y: float, low: float, high: float, value: float, name: str) -> None:
    if np.isfinite(low) and np.isfinite(high):
        ax.plot([low, high], [y, y], color=colour(name), lw=2, solid_capstyle="round")
    ax.plot([value], [y], marker=MARKERS.get(name, "o"), ms=6.5, color=colour(name), ls="none")


def variances(results: Results, _: Fitted) -> Drawing:
    """Estimate and interval of every sd and correlation by engine, against truth and realised value."""
    terms = [term for term in results.spread_terms() if any(_known(results, engine, term) for engine in results.fits)]
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
            value, low, high = (results.estimate(name, term, c) for c in ("estimate", "conf_low", "conf_high"))
            _interval(ax, k, low, high, value, name)
            if np.isfinite(truth) and np.isfinite(low) and name != "ols":
                total, covered = total + 1, covered + (low <= truth <= high)
            if np.isfinite(truth) and truth != 0 and name != "ols" and abs(value / truth - 1) >= abs(worst[0]):
                worst = (value / truth - 1, term, name)
        left = [name for name in here if name not in shown]
        ax.set_yticks(range(len(shown)), [label(name) for name in shown], color=INK)
        ax.set_ylim(len(shown) - 0.4, -0.6)
        ax.set_title(term + (f"   (OLS: {number(results.estimate('ols', term))}, off the scale)" if left else ""))
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        ax.margins(x=0.08)
    for ax in axes.flat[len(terms) :]:
        ax.set_visible(False)
    percent = f"{100 * results.conf_level:.0f} %"
    if results.truth is None:
        alt = "Estimated standard deviations and correlations by engine: " + "; ".join(
            f"{term} " + ", ".join(f"{label(e)} {number(results.estimate(e, term))}" for e in engines if _known(results, e, term))
            for term in terms
        )
        return Drawing(figure, "Variance components by engine", f"Point and {percent} interval of each engine.", alt + ".")
    entries = [("truth", {"color": COLOURS["truth"], "lw": 1.4})]
    if any(np.isfinite(results.realised(term)) for term in terms):
        entries.append(("realised in this draw", {"color": COLOURS["realised"], "lw": 1.4, "ls": (0, (4, 2))}))
    figure.legend(
        handles=[_line(name, style) for name, style in entries], loc="outside lower right", ncols=2, fontsize=9
    )
    alt = f"Of {total} intervals of the mixed models, {covered} contain the value simulated from."
    if worst[1]:
        alt += f" The largest relative error is {100 * worst[0]:+.1f} % ({worst[1]}, {label(worst[2])})."
    caption = (
        f"Estimand: the sd's and correlations simulated from (black); dashed: their values in this one draw. Point and "
        f"{percent} interval by engine: profile likelihood (MixedLM's where it reached reml's optimum), posterior "
        "quantiles for PyMC. One data set: coverage needs many."
    )
    return Drawing(figure, "Were the variances recovered?", caption, alt.replace("-", "−"))


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


def caterpillar(results: Results, _: Fitted) -> Drawing:
    """Random effects with their intervals, groups in order, the two engines of the comparison side by side."""
    names = list(results.pair or ([results.main] if results.main else []))
    terms, levels = results.random_terms, np.array(results.levels, dtype=object)
    figure, axes = canvas(760, 215 * len(terms) + 20, len(terms), 1)
    shown_all = len(levels) <= MANY
    said, places = [], []
    for ax, term in zip(axes.flat, terms, strict=True):
        wide = {name: [results.wide(name, c)[term].to_numpy(float) for c in ("estimate", "conf_low", "conf_high")] for name in names}
        order = np.argsort(wide[names[0]][0], kind="stable")
        if not shown_all:
            order = np.concatenate([order[:ENDS], order[-ENDS:]])
        at = np.arange(len(order)) + (0 if shown_all else np.where(np.arange(len(order)) >= ENDS, 4, 0))
        shift = np.linspace(-0.18, 0.18, len(names)) if len(names) > 1 else [0.0]
        width = float(np.clip(220 / len(order), 1.0, 3.0))
        for name, offset in zip(names, shift, strict=True):
            value, low, high = (column[order] for column in wide[name])
            segments(ax, at + offset, low, at + offset, high, color=colour(name), lw=width * 0.55, alpha=0.75)
            dots(ax, at + offset, value, size=width * 1.35, color=colour(name), alpha=1)
        if results.truth and term in (results.truth.get("ranef") or {}):
            real = results.truth["ranef"][term]
            values = np.array([real.get(str(level), np.nan) for level in levels[order]], float)
            segments(ax, at - 0.42, values, at + 0.42, values, color=COLOURS["truth"], lw=1.3)
        ax.axhline(0, color=FAINT, lw=0.9)
        ax.set_title(f"random {term}" if term != "Intercept" else "random intercept")
        ax.set_xticks(at, [str(level)[:8] for level in levels[order]], rotation=90, fontsize=8) if len(order) <= 60 else ax.set_xticks([])
        ax.grid(axis="x", visible=False)
        ax.margins(x=0.01)
        value, low, high = wide[names[0]]
        places.append((ax, levels[order], at))
        off = np.mean((low > 0) | (high < 0))
        said.append(f"{term}: from {number(value.min())} to {number(value.max())}, {off:.0%} of the intervals exclude 0")
    entries = [(label(name), {"color": colour(name), "marker": "o", "ms": 4, "lw": 1.4}) for name in names]
    if results.truth and results.truth.get("ranef"):
        entries.append(("truth", {"color": COLOURS["truth"], "lw": 1.4}))
    key(axes[0, 0], entries)
    axes[-1, 0].set_xlabel(f"{results.group}, in order of {label(names[0])}'s estimate")
    rest = "" if shown_all else f" Only the {ENDS} lowest and highest of {len(levels):,} groups are drawn."
    caption = (
        f"Estimand: each group's random effects. Point: BLUP (reml, MixedLM) or posterior mean (PyMC); bar: "
        f"{100 * results.conf_level:.0f} % interval from the prediction error, uncertainty of the fixed effects included.{rest}"
    )
    alt = f"Random effects by group. {'; '.join(said)}."
    return Drawing(figure, "Random effects of every group", caption, alt, _columns(figure, places))


def _columns(figure, places: list) -> tuple:
    """The area of each group in caterpillar axes, in points from the top left corner."""
    figure.draw_without_rendering()  # the layout moves the axes until then
    scale, height, hits = 72 / figure.dpi, figure.get_figheight() * 72, []
    for ax, levels, at in places:
        box = ax.get_window_extent()
        left = ax.transData.transform(np.column_stack([at - 0.5, np.zeros(len(at))]))[:, 0] * scale
        right = ax.transData.transform(np.column_stack([at + 0.5, np.zeros(len(at))]))[:, 0] * scale
        top = height - box.y1 * scale
        hits += [(level, a, top, b - a, box.height * scale) for level, a, b in zip(levels, left, right, strict=True)]
    return tuple(hits)


def differences(results: Results, _: Fitted) -> Drawing:
    """Differences of the random effects between two engines, with Monte Carlo error bars."""
    first, second = results.pair
    table, terms = results.tables["ranef_differences"], results.random_terms
    figure, axes = canvas(760, 235, 1, len(terms))
    said = []
    for ax, term in zip(axes.flat, terms, strict=True):
        mine = table[table["term"] == term]
        x, d = mine[first].to_numpy(float), mine["difference"].to_numpy(float)
        error = np.nan_to_num(mine["mcse"].to_numpy(float)) if "mcse" in mine else np.zeros(len(mine))
        order = np.argsort(x, kind="stable") if len(x) <= 2000 else np.argsort(-np.abs(d))[:2000]
        segments(ax, x[order], (d - 2 * error)[order], x[order], (d + 2 * error)[order], color=FAINT, lw=1.2)
        dots(ax, x[order], d[order], size=3.4, color=COLOURS["reml"], alpha=0.9)
        ax.axhline(0, color=INK, lw=0.8)
        ax.set(title=term, xlabel=f"{label(first)}'s estimate", ylabel=f"{label(first)} − {label(second)}" if ax is axes[0, 0] else "")
        ax.margins(0.05)
        worst = int(np.nanargmax(np.abs(d)))
        said.append(
            f"{term}: at most {number(abs(d[worst]), 2)} (group {mine['level'].iloc[worst]}, Monte Carlo error {number(error[worst], 1)})"
        )
    alt = f"Differences of the random effects between {label(first)} and {label(second)}. {'; '.join(said)}."
    caption = (
        f"Estimand: {label(first)}'s random effect minus {label(second)}'s posterior mean, a dot a group; bar: two Monte Carlo "
        "standard errors. A slope in the cloud is real: the posterior averages over the uncertainty of the variances, "
        "so it shrinks by a little more or less than a fit at the estimates does."
    )
    return Drawing(figure, f"{label(first)} against {label(second)}: differences of the random effects", caption, alt)


def shrinkage(results: Results, fitted: Fitted) -> Drawing:
    """From each group's own least squares (no pooling) to the mixed model's estimate (partial pooling)."""
    engine = results.main
    fixed, effects = results.fixed(engine), results.wide(engine)
    table = results.tables.get("ranef_differences")
    terms = results.random_terms[:2]
    raw = {}
    if table is not None and "no_pooling" in table:
        wide = table.assign(level=table["level"].astype(str)).pivot(index="level", columns="term", values="no_pooling")
        raw = {term: wide.reindex(results.levels)[term].to_numpy(float) for term in terms if term in wide}
    elif results.rows is not None:
        own = dict(zip(("Intercept", fitted.x), fitted.own, strict=True))
        raw = {term: own[term] - fixed.get(term, 0.0) for term in terms if term in own}
    raw = {term: values for term, values in raw.items() if np.isfinite(values).any()}
    pooled = {term: effects[term].to_numpy(float) for term in terms}
    figure, axes = canvas(760, 380 if len(raw) == 2 else 240)
    ax = axes[0, 0]
    shift = {term: fixed.get(term, 0.0) for term in terms}
    step = np.arange(len(results.levels)) if len(results.levels) <= 2000 else np.linspace(0, len(results.levels) - 1, 2000).astype(int)
    if len(raw) == 2:
        (a, b), own, end = terms, [raw[t] + shift[t] for t in terms], [pooled[t] + shift[t] for t in terms]
        segments(ax, own[0][step], own[1][step], end[0][step], end[1][step], color=FAINT, lw=0.9)
        dots(ax, own[0][step], own[1][step], size=3.4, color=COLOURS["no_pooling"], alpha=0.9)
        dots(ax, end[0][step], end[1][step], size=4, color=colour(engine), alpha=1)
        ax.plot([shift[a]], [shift[b]], marker="+", ms=14, mew=2, color=INK, ls="none")
        low, high = np.nanpercentile(np.concatenate([own[1], end[1]]), [0.5, 99.5])
        pad = 0.15 * (high - low)
        outside = int(np.sum((own[1] < low - pad) | (own[1] > high + pad)))
        if outside:
            ax.set_ylim(low - pad, high + pad)
        ax.set(xlabel=f"{a} of the group", ylabel=f"{b} of the group")
    else:
        term = next(iter(raw), terms[0])
        own, end = raw.get(term, np.full(len(results.levels), np.nan)) + shift[term], pooled[term] + shift[term]
        segments(ax, own[step], np.ones(len(step)), end[step], np.zeros(len(step)), color=FAINT, lw=0.8)
        dots(ax, own[step], np.ones(len(step)), size=3.4, color=COLOURS["no_pooling"], alpha=0.9)
        dots(ax, end[step], np.zeros(len(step)), size=4, color=colour(engine), alpha=1)
        ax.axvline(shift[term], color=INK, lw=0.8)
        ax.set_yticks([0, 1], ["partial pooling", "no pooling"])
        ax.set(xlabel=f"{term} of the group", ylim=(-0.3, 1.3))
        outside = 0
    key(
        ax,
        [
            ("no pooling (own least squares)", {"color": COLOURS["no_pooling"], "marker": "o", "ls": "none", "ms": 4}),
            (f"partial pooling ({label(engine)})", {"color": colour(engine), "marker": "o", "ls": "none", "ms": 4}),
            ("fixed effect", {"color": INK, "marker": "+", "ls": "none", "ms": 8}),
        ],
    )
    said = [
        f"{term}: the groups' sd falls from {number(np.nanstd(raw[term], ddof=1))} to {number(np.nanstd(pooled[term], ddof=1))}"
        for term in terms
        if term in raw and len(results.levels) > 1
    ]
    alt = "Every group's estimate moves towards the fixed effect when groups are pooled. " + "; ".join(said)
    caption = (
        "Each group's coefficients by its own least squares, and by the mixed model; lines join the two. Groups with few rows or "
        "little spread of the predictor move most." + (f" {outside} outliers of no pooling lie outside the frame." if outside else "")
    )
    return Drawing(figure, "Shrinkage: from no pooling to partial pooling", caption, alt.strip().rstrip(".") + ".")


def effects(results: Results, _: Fitted) -> Drawing:
    """Fixed effects with their intervals by engine, against the truth."""
    engines = list(results.fits)
    terms = list(dict.fromkeys(term for name in engines for term in results.fixed(name)))
    columns = min(len(terms), 2)
    lines = int(np.ceil(len(terms) / columns))
    figure, axes = canvas(760, lines * (44 + 19 * len(engines)), lines, columns)
    said = []
    for ax, term in zip(axes.flat, terms, strict=False):
        truth = _truth(results, term)
        if np.isfinite(truth):
            ax.axvline(truth, color=COLOURS["truth"], lw=1.4)
        widths = {}
        for k, name in enumerate(engines):
            value, low, high = (results.estimate(name, term, c) for c in ("estimate", "conf_low", "conf_high"))
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
            said.append(f"{term}: OLS's interval is {number(widths['ols'] / widths[other], 2)} times as wide as {label(other)}'s")
    for ax in axes.flat[len(terms) :]:
        ax.set_visible(False)
    alt = f"Fixed effects by engine with {100 * results.conf_level:.0f} % intervals. " + "; ".join(said)
    caption = (
        "Estimand: the fixed effects" + (" (black: the value simulated from)" if results.truth else "") + ". Intervals: t for OLS, Wald "
        "for MixedLM and reml, posterior quantiles for PyMC. OLS takes rows for independent: its interval is not to be trusted."
    )
    return Drawing(figure, "Fixed effects by engine", caption, alt.rstrip(". ") + ".")


