"""Figures of the random effects: every group's, two engines' differences, what pooling does to them."""

import numpy as np

from lmm.core.words import (
    counted,
    label,
    listed,
    number,
    percent,
    short_levels,
    some,
    with_error,
)
from lmm.report.figures.fits import Fitted
from lmm.report.figures.layout import lay_out
from lmm.report.figures.style import (
    COLOURS,
    FAINT,
    INK,
    ONE,
    Drawing,
    abreast,
    canvas,
    colour,
    dots,
    key,
    segments,
)
from lmm.report.text.fits import ROUNDING
from lmm.results import order
from lmm.results.study import Results

MANY = 400  # more groups than this: the extremes and the density of the rest
DRAWN = 2000  # groups in a cloud of dots, at most
LARGEST = 100  # differences that are drawn in any case
ENDS = 25  # groups shown at either end then


def caterpillar(results: Results, _: Fitted) -> Drawing:
    """Random effects with their intervals, groups in order, the two engines of the comparison side by side."""
    names = list(results.pair or ([results.main] if results.main else []))
    terms, levels = results.random_terms, np.array(results.levels, dtype=object)
    figure, axes = abreast(len(terms), 235)
    shown_all = len(levels) <= MANY
    said, places = [], []
    for ax, term in zip(axes.flat, terms, strict=False):
        wide = {
            name: [results.wide(name, c)[term].to_numpy(float) for c in ("estimate", "conf_low", "conf_high")]
            for name in names
        }
        order = np.argsort(wide[names[0]][0], kind="stable")
        if not shown_all:
            order = np.concatenate([order[:ENDS], order[-ENDS:]])
        at = np.arange(len(order)) + (0 if shown_all else np.where(np.arange(len(order)) >= ENDS, 4, 0))
        apart = min(0.18, 6.0 * len(order) / 330)  # of a group's place: 6 points at most
        shift = np.linspace(-apart, apart, len(names)) if len(names) > 1 else [0.0]
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
        ax.set_title(results.random(term))
        short = short_levels(levels[order], 10) if len(order) <= 30 else []
        turned = 90 if sum(5 * len(name) + 5 for name in short) > 320 else 0  # points, of the axis
        ax.set_xticks(at[: len(short)], short, rotation=turned, fontsize=8)
        ax.set_xlabel(f"{results.labels.column(results.group)}, in order of {label(names[0])}'s estimate")
        ax.grid(axis="x", visible=False)
        ax.set_xlim(at[0] - 0.6, at[-1] + 0.6)
        value, low, high = wide[names[0]]
        places.append((ax, levels[order], at))
        off = np.mean((low > 0) | (high < 0))
        said.append(
            f"{results.labels.term(term)}: from {number(value.min())} to {number(value.max())}, {percent(off, 0)} of "
            "the intervals exclude 0"
        )
    entries = [(label(name), {"color": colour(name), "marker": "o", "ms": 4, "lw": 1.4}) for name in names]
    if results.truth and results.truth.get("ranef"):
        entries.append(("true value", {"color": COLOURS["truth"], "lw": 1.4}))
    key(axes[0, 0], entries)
    rest = "" if shown_all else f" Only the {ENDS} lowest and highest of {len(levels):,} groups are drawn."
    blups = [label(name) for name in names if name != results.bayes]
    points = [f"BLUP ({listed(blups)})"] if blups else []
    points += [f"posterior mean ({label(results.bayes)})"] if results.bayes in names else []
    caption = (
        f"Point: {listed(points)}; bar: "
        f"{100 * results.conf_level:g} % interval from the prediction error, uncertainty of the fixed "
        f"effects included.{rest}"
    )
    alt = f"Random effects by group. {'; '.join(said)}."
    return Drawing(figure, "Random effects by group", caption, alt, areas(figure, places))


def areas(figure, places: list) -> tuple:
    """The area of each group in axes with a column per group, in points from the top left corner."""
    lay_out(figure)
    scale, height, hits = 72 / figure.dpi, figure.get_figheight() * 72, []
    for ax, levels, at in places:
        box = ax.get_window_extent()
        left = ax.transData.transform(np.column_stack([at - 0.5, np.zeros(len(at))]))[:, 0] * scale
        right = ax.transData.transform(np.column_stack([at + 0.5, np.zeros(len(at))]))[:, 0] * scale
        top = height - box.y1 * scale
        hits += [
            (level, a, top, b - a, box.height * scale)
            for level, a, b in zip(levels, left, right, strict=True)
        ]
    return tuple(hits)


def differences(results: Results, _: Fitted) -> Drawing:
    """Differences of the random effects between two engines, with Monte Carlo error bars."""
    first, second = results.pair
    table, terms = results.tables["ranef_differences"], results.random_terms
    figure, axes = abreast(len(terms), 235)
    said, drawn = [], second == results.bayes  # posterior means alone have a Monte Carlo error
    for ax, term in zip(axes.flat, terms, strict=False):
        mine = table[table["term"] == term]
        x, d = mine[first].to_numpy(float), mine["difference"].to_numpy(float)
        error = np.nan_to_num(mine["mcse"].to_numpy(float))
        order = _sample(d)
        if drawn:
            segments(
                ax, x[order], (d - 2 * error)[order], x[order], (d + 2 * error)[order], color=FAINT, lw=1.2
            )
        dots(ax, x[order], d[order], size=3.6, color=INK, alpha=0.85)
        ax.axhline(0, color=INK, lw=0.8)
        ax.set(
            title=results.random(term),
            xlabel=f"{label(first)}'s estimate",
            ylabel=f"{label(first)} − {label(second)}" if ax is axes[0, 0] else "",
        )
        ax.margins(0.05)
        least = ROUNDING * results.typical_error(term)
        if np.nanmax(np.abs(d)) < least:  # an axis of rounding errors
            ax.set_ylim(-least, least)
        worst = int(np.nanargmax(np.abs(d)))
        size = number(abs(d[worst]), 2) if not drawn else with_error(abs(d[worst]), error[worst])
        said.append(f"{results.labels.term(term)}: at most {size} (group {mine['level'].iloc[worst]})")
    alt = f"Differences of the random effects between {label(first)} and {label(second)}. {'; '.join(said)}."
    caption = f"One dot per group: {label(first)}'s random effect minus {label(second)}'s"
    caption += " posterior mean; bar: two Monte Carlo standard errors." if drawn else "."
    if len(results.levels) > DRAWN:
        caption += f" Drawn: the {LARGEST} largest and {DRAWN - LARGEST:,} others of {len(results.levels):,}."
    return Drawing(
        figure, f"{label(first)} against {label(second)}: differences of the random effects", caption, alt
    )


def _sample(values: np.ndarray) -> np.ndarray:
    """All positions, or the largest values and others evenly spread over the ranks."""
    if len(values) <= DRAWN:
        return np.arange(len(values))
    order = np.argsort(np.abs(values), kind="stable")
    rest = np.linspace(0, len(order) - LARGEST - 1, DRAWN - LARGEST).round().astype(int)
    return np.concatenate([order[rest], order[-LARGEST:]])


def _frame(own: np.ndarray, end: np.ndarray) -> tuple[float, float]:
    """What to show of an axis: every pooled estimate, and of the groups' own all but wild ones."""
    low, high = np.nanpercentile(np.concatenate([own, end]), [2, 98])
    low, high = min(low, np.nanmin(end)), max(high, np.nanmax(end))
    pad = 0.25 * (high - low)
    return low - pad, high + pad


def _without_pooling(results: Results) -> dict[str, np.ndarray]:
    """Of the first two random effects those that have values without pooling: term -> value of every group."""
    table = results.tables.get("ranef_differences")
    if table is None:
        return {}
    wide = table.assign(level=table["level"].astype(str)).pivot(
        index="level", columns="term", values="no_pooling"
    )
    raw = {term: wide.reindex(results.levels)[term].to_numpy(float) for term in results.random_terms[:2]}
    return {term: values for term, values in raw.items() if np.isfinite(values).any()}


def shrinkage(results: Results, _: Fitted) -> Drawing:
    """From each group's own least squares (no pooling) to the mixed model's estimate (partial pooling)."""
    engine = results.main
    fixed, effects, raw = results.fixed(engine), results.wide(engine), _without_pooling(results)
    terms = list(raw) or results.random_terms[:1]
    # coefficients: random effect and, where the term has one, fixed effect
    shift = {term: fixed.get(term, 0.0) for term in terms}
    end = [effects[term].to_numpy(float) + shift[term] for term in terms]
    own = [raw[term] + shift[term] if term in raw else np.full(len(results.levels), np.nan) for term in terms]
    count = len(results.levels)
    step = np.linspace(0, count - 1, min(count, DRAWN)).round().astype(int)
    figure, axes = canvas(ONE, 340 if len(terms) == 2 else 220)
    ax = axes[0, 0]
    outside = 0
    mark = {"color": INK, "marker": "+", "ls": "none", "ms": 8}
    if len(terms) == 2:
        places = [own[0][step], own[1][step], end[0][step], end[1][step]]
        ax.plot([shift[terms[0]]], [shift[terms[1]]], marker="+", ms=14, mew=2, color=INK, ls="none")
        frames = [_frame(own[k], end[k]) for k in (0, 1)]
        beyond = [(own[k][step] < frames[k][0]) | (own[k][step] > frames[k][1]) for k in (0, 1)]
        outside = int(np.sum(beyond[0] | beyond[1]))
        if outside:
            ax.set(xlim=frames[0], ylim=frames[1])
        ax.set(xlabel=_of_group(results, terms[0]), ylabel=_of_group(results, terms[1]))
    else:
        places = [own[0][step], np.ones(len(step)), end[0][step], np.zeros(len(step))]
        ax.axvline(shift[terms[0]], color=INK, lw=0.8)
        mark = {"color": INK, "lw": 0.8}
        ax.set_yticks([0, 1], ["partial pooling", "no pooling"])
        ax.set(xlabel=_of_group(results, terms[0]), ylim=(-0.3, 1.3))
    segments(ax, *places, color=FAINT, lw=0.9)
    dots(ax, *places[:2], size=3.4, color=COLOURS["no_pooling"], alpha=0.9)
    dots(ax, *places[2:], size=4, color=colour(engine), alpha=1)
    dot = {"marker": "o", "ls": "none", "ms": 4}
    entries = [
        ("no pooling (own least squares)", {"color": COLOURS["no_pooling"], **dot}),
        (f"partial pooling ({label(engine)})", {"color": colour(engine), **dot}),
        ("fixed effect" if set(terms) <= set(fixed) else "fixed effect, 0 without one", mark),
    ]
    key(ax, entries if raw else entries[1:])
    said = [
        _shrunk(
            results.labels.term(term),
            raw[term],
            effects[term].to_numpy(float),
            "the fixed effect" if term in fixed else "0",
        )
        for term in raw
    ]
    alt = (
        "; ".join(said)
        if said
        else "No group's own rows determine its effects, so only the pooled ones are drawn"
    )
    caption = f"Each group's coefficients (fixed effect + random effect) by {label(engine)}"
    if raw:
        others = order.terms(term for term in fixed if term not in results.random_terms)
        names = [results.labels.term(term) for term in others]
        less = f", less the model's fixed part of {some(names, most=3)}" if others else ""
        caption += f" and by its own least squares{less}; lines join the two"
    caption += "."
    none = int(np.sum(~np.isfinite(np.sum(own, axis=0)))) if raw else 0
    caption += f" Not determined by its own rows: {counted(none, 'group')}." if none else ""
    caption += f" Outside the frame without pooling: {counted(outside, 'group')}." if outside else ""
    caption += f" Drawn: {DRAWN:,} of {count:,} groups." if count > DRAWN else ""
    return Drawing(figure, "Shrinkage: from no pooling to partial pooling", caption, f"{alt}.")


def _of_group(results: Results, term: str) -> str:
    """What a group's coefficient is called: `group's intercept`, `group's slope of x`."""
    return results.random(term).replace("random", "group's", 1)


def _shrunk(term: str, raw: np.ndarray, pooled: np.ndarray, centre: str) -> str:
    """How the groups' spread and their distances from the centre change by pooling."""
    known = np.isfinite(raw) & np.isfinite(pooled)
    nearer = int(np.sum(np.abs(pooled[known]) < np.abs(raw[known])))
    said = f"{term}: {nearer:,} of {counted(int(known.sum()), 'group')} lie nearer to {centre} when pooled"
    if known.sum() < 2:
        return said
    before, after = np.std(raw[known], ddof=1), np.std(pooled[known], ddof=1)
    how = "falls" if after < before else "rises"
    return f"{said}; their SD {how} from {number(before)} to {number(after)}"
