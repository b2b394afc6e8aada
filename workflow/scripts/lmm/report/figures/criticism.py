"""Figures that criticise a fit: influence of each group, cross-validation by group, predictive checks."""

import numpy as np

from lmm.core.parameters import of_term
from lmm.core.words import capital, counted, label, number, p_said, p_value, short_levels
from lmm.report.figures.diagnostics import density, few_ticks, grid
from lmm.report.figures.fits import Fitted
from lmm.report.figures.ranef import areas
from lmm.report.figures.style import (
    FAINT,
    INK,
    MUTED,
    Drawing,
    abreast,
    colour,
    dots,
    polylines,
    segments,
)
from lmm.report.text import criticism as said
from lmm.report.text.criticism import text
from lmm.results.study import Results, natural

PANELS = 6  # variance parameters shown
LABELLED = 3  # groups named in a panel
POINTED = 400  # more groups than this: no group can be pointed at
DRAWN = 3_000  # more groups than this: every so manieth of the sorted values


def _label(ax, x: np.ndarray, y: np.ndarray, names: list[str], which: np.ndarray, up: np.ndarray) -> None:
    """Names beside points, above those that lie high and below those that lie low; none upon another."""
    done: list[int] = []
    names = short_levels(names, 12)
    for k in which:
        near = [m for m in done if abs(m - k) < 0.04 * len(x) and abs(y[m] - y[k]) < 0.1 * np.ptp(y)]
        if near:
            continue
        done.append(k)
        ax.annotate(
            names[k], (x[k], y[k]), xytext=(0, 4 if up[k] else -4), textcoords="offset points",
            ha="center", va="bottom" if up[k] else "top", fontsize=8, color=INK,
        )  # fmt: skip


def influence(results: Results, _: Fitted) -> Drawing:
    """What each variance parameter would be without each group, around its estimate from all of them."""
    table = results.tables["influence"]
    terms = [term for term in dict.fromkeys(table["term"]) if term.startswith(("sd__", "cor__"))][:PANELS]
    terms = [term for term in terms if said.strongest(results, term)]
    figure, axes = abreast(len(terms), 165)
    places, words, shade = [], [], colour(results.exact or "")
    for ax, term in zip(axes.flat, terms, strict=False):
        mine = table[table["term"] == term].assign(level=lambda t: t["level"].astype(str))
        mine = mine.sort_values("level", key=lambda column: column.map(natural))
        levels, value = mine["level"].tolist(), mine["estimate_without"].to_numpy(float)
        change = mine["change"].to_numpy(float)
        full, x = np.nanmedian(value - change), np.arange(len(mine))
        largest = np.argsort(-np.nan_to_num(np.abs(change)), kind="stable")[:LABELLED]
        segments(ax, x, np.full(len(x), full), x, value, color=FAINT, lw=float(np.clip(300 / len(x), 0.6, 2)))
        dots(ax, x, value, size=3.2, color=shade, alpha=0.9)
        dots(ax, x[largest], value[largest], size=5, color=shade, alpha=1)
        ax.axhline(full, color=INK, lw=0.9)
        ax.margins(x=0.03, y=0.18)
        _label(ax, x, value, levels, largest, change > 0)
        ax.set_title(f"{results.titled(term)}: {of_term(term, full)} with all groups")
        ax.set_xticks([])
        ax.grid(axis="x", visible=False)
        places.append((ax, levels, x))
        words.append(said.moved(results, said.strongest(results, term)))
    for ax in axes[-1, :]:
        ax.set_xlabel(f"{results.group} left out")
    about = results.notes["influence_about"]
    rest = f" {capital(about['left_out'])}." if about["left_out"] else ""
    factor = results.one_of_several
    what, every = said.any_group(factor), f"levels of {factor}" if factor else "groups"
    caption = (
        f"Each dot is an exact REML refit without one {what}, the line the estimate from all {every}; the largest "
        f"changes are named.{rest}"
    )
    alt = f"Influence of each {what} on {label(results.exact)}'s variances: {'; '.join(words)}."
    hits = areas(figure, places) if len(places[0][1]) <= POINTED else ()
    return Drawing(figure, "Which groups drive the variances?", caption, alt, hits)


def loo(results: Results, _: Fitted) -> Drawing:
    """Pareto k and predictive density per row of each group left out."""
    table, about = results.tables["loo"], results.notes["criticism"]["loo"]
    table = table.assign(level=table["level"].astype(str)).sort_values(
        "level", key=lambda column: column.map(natural)
    )
    levels, x = table["level"].tolist(), np.arange(len(table))
    k, row = table["pareto_k"].to_numpy(float), (table["elpd"] / table["rows"]).to_numpy(float)
    keep = np.arange(len(x))
    if len(x) > DRAWN:
        order = np.argsort(k, kind="stable")
        keep = np.sort(order[np.linspace(0, len(order) - 1, DRAWN).round().astype(int)])
    figure, axes = abreast(2, 215)
    for ax, values, worst, title in (
        (axes[0, 0], k, np.argsort(-k, kind="stable"), "Pareto k"),
        (axes[0, 1], row, np.argsort(row, kind="stable"), "log predictive density per row"),
    ):
        named = worst[:LABELLED]
        if ax is axes[0, 0]:
            ax.axhline(about["good_k"], color=INK, lw=0.9, ls=(0, (3, 2)))
            above = np.flatnonzero(k > about["good_k"])
            named = named if len(above) else named[:1]
        shown = np.union1d(keep, named)
        dots(ax, x[shown], values[shown], size=3.6, color=colour(results.bayes), alpha=0.85)
        ax.margins(x=0.03, y=0.15)
        _label(ax, x, values, levels, named, np.full(len(x), ax is axes[0, 0]))
        ax.set(title=title, xlabel=f"{about.get('group') or results.group} left out")
        ax.set_xticks([])
        ax.grid(axis="x", visible=False)
    low, factor = int(np.argmin(row)), about.get("group", "")
    caption = (
        f"Log density of the rows of a level of {factor} given all other rows (Bürkner et al. 2021)"
        if factor
        else "Log density of a group's rows given all other groups"
    )
    caption += (
        ", by Pareto-smoothed importance sampling from the one fit (Vehtari et al. 2017); dashed: the k above which "
        "that fails."
    )
    alt = (
        f"{' '.join(said.loo(results))} Per row, {said.one_group(levels[low], factor)} is predicted worst, "
        f"{number(row[low], 3)} against a median of {number(np.median(row), 3)}."
    )
    places = [(ax, levels, x) for ax in axes.flat]
    hits = areas(figure, places) if len(x) <= POINTED and not factor else ()
    return Drawing(figure, f"Leave one {said.any_group(factor)} out", caption, alt, hits)


def _replicated(results: Results, kind: str, shade: str):
    """Panels of a kind's replicates with the observed values; the canvas."""
    table, draws = results.tables["predictive"], results.tables["replicates"]
    count = results.notes["criticism"]["replicates"]
    draws = draws[draws["kind"] == kind]
    if kind == "prior":  # the distribution of this one has no parameter, so no prior
        table = table[table["statistic"] != "unequal_residuals"]
    figure, axes = grid(len(table), 118)
    for ax, row in zip(axes.flat, table.itertuples(), strict=False):
        values = draws.loc[draws["statistic"] == row.statistic, "value"].to_numpy(float)
        if kind == "prior":  # heavy tails would leave the rest no room
            values = values[
                np.abs(values - np.median(values)) <= 4 * np.diff(np.percentile(values, [5, 95]))[0]
            ]
        if np.ptp(values) > 0:
            x, height = density(values, low=0.0 if values.min() >= 0 else None)
            if row.statistic.startswith("cor_"):
                x, height = x[np.abs(x) <= 1.0], height[np.abs(x) <= 1.0]
            ax.fill_between(x, height, color=shade, alpha=0.25, lw=0)
            polylines(ax, [np.column_stack([x, height])], color=shade, lw=1.4)
        ax.axvline(row.observed, color=INK, lw=1.6)
        p = p_said(p_value(row.p_value if kind == "posterior" else row.prior_p, 1 / count))
        ax.set_title(f"{text(row.statistic)}\n{p}", fontsize=9)
        ax.set(yticks=[], ylim=(0, None))
        few_ticks(ax)
        ax.spines["left"].set_visible(False)
    return figure


def predictive(results: Results, _: Fitted) -> Drawing:
    """Posterior predictive check: statistics of replicated data, and of the data."""
    figure = _replicated(results, "posterior", colour(results.bayes))
    count = results.notes["criticism"]["replicates"]
    caption = (
        f"Filled: statistics of {counted(count, 'data set')} replicated from the posterior, with new random effects "
        "in the same design; line: the data; p: share of the replicates at least as large, near one half by "
        "construction where the model has a parameter for the statistic."
    )
    alt = f"Posterior predictive check. {said.predictive(results)[0]}"
    return Drawing(figure, "Does the model make data like these?", caption, alt)


def prior_predictive(results: Results, _: Fitted) -> Drawing:
    """Prior predictive check: what the priors expected before the data."""
    figure = _replicated(results, "prior", MUTED)
    caption = (
        "Filled: statistics of data sets replicated from the priors, which should make data like these possible "
        "without being certain of them; line: the data."
    )
    alt = f"Prior predictive check. {said.predictive(results)[-1]}"
    return Drawing(figure, "What did the priors expect?", caption, alt)
