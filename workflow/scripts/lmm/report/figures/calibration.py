"""ECDF-difference plots of simulation-based calibration, and the zip plot of intervals."""

import numpy as np
import pandas as pd

from lmm.core.engines import pooled
from lmm.core.parameters import titled
from lmm.core.words import counted, fixed, label, listed
from lmm.recovery.grid import USABLE
from lmm.report.figures.style import (
    COLOURS,
    FAINT,
    GRID,
    INK,
    MUTED,
    ONE,
    TWO,
    Drawing,
    canvas,
    colour,
    note,
    polylines,
    segments,
)
from lmm.results.replicated import Recovered, quantity_name, replicate_rows

MOST_PANELS, COLUMNS = 24, 4
MOST_INTERVALS = 100  # of a panel of the zip plot
BAD = COLOURS["bad"]


def ranks(recovered: Recovered, _: str = "") -> Drawing:
    """ECDF of the ranks minus that of uniform ranks, a panel per quantity, with simultaneous bands."""
    from lmm.recovery.calibration.verdicts import LEVEL, ecdf  # with SciPy's distributions, a second

    verdicts = recovered.tables["calibration"].set_index(["design", "quantity"])
    level = float(verdicts["level"].iloc[0]) if len(verdicts) else LEVEL
    # the random numbers only break ranks of unequal number into uniform ones, for the picture
    curves = ecdf(recovered.ranks, np.random.default_rng(1), level)
    wrong = verdicts.index[verdicts["verdict"] == "not calibrated"].tolist()
    there = list(dict.fromkeys(zip(curves["design"], curves["quantity"], strict=True))) if len(curves) else []
    shown = sorted(there, key=lambda pair: pair not in wrong)[:MOST_PANELS]
    if not shown:
        return note("No fit can be used: there are no ranks to show.")
    lines = int(np.ceil(len(shown) / COLUMNS))
    figure, axes = canvas(760, 30 + 118 * lines, lines, COLUMNS, sharex=True)
    several = len({design for design, _ in there}) > 1
    for ax, pair in zip(axes.flat, shown, strict=False):
        part = curves[(curves["design"] == pair[0]) & (curves["quantity"] == pair[1])]
        z = part["z"].to_numpy()
        ax.fill_between(z, part["low"], part["high"], color=GRID, lw=0)
        for edge in ("low_all", "high_all"):
            polylines(ax, [np.column_stack([z, part[edge]])], color=MUTED, lw=0.9, ls=(0, (3, 2)))
        line = np.column_stack([z, part["difference"]])
        polylines(ax, [line], color=BAD if pair in wrong else INK, lw=1.5)
        mark = "✗ " if pair in wrong else ""
        ax.set_title(f"{mark}{quantity_name(pair[1])}", fontsize=9.5)
        if several:
            at = recovered.designs.set_index("design").loc[pair[0]]
            ax.text(0.02, 0.03, recovered.describe(at), transform=ax.transAxes, fontsize=7.5, color=MUTED)
        reach = 1.15 * max(part["high_all"].max(), part["difference"].abs().max())
        ax.set(ylim=(-reach, reach), xlim=(0, 1))
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    for ax in axes.flat[len(shown) :]:
        ax.set_visible(False)
    n = int(verdicts["n"].max())
    judged = verdicts[verdicts["verdict"] != "too few"]
    names = listed(list(dict.fromkeys(quantity_name(quantity) for _, quantity in wrong))[:6])
    alt = (
        f"Ranks of {counted(len(judged), 'quantity', 'quantities')} over {n:,} replicates: "
        + (f"{counted(len(wrong), 'quantity leaves', 'quantities leave')} the band ({names})." if wrong
           else "all stay within the band: no sign of miscalibration." if len(judged) else "too few to judge.")
    )  # fmt: skip
    caption = (
        "Distribution function of the true value's rank among posterior draws, minus that of uniform ranks; grey: "
        "where a calibrated quantity stays with probability 95 %; dashed: where all quantities together do with "
        f"probability {100 * level:g} % (Säilynoja et al. 2022); ∩: the posterior lies too high, ∪: too low, N: it "
        "is too narrow, mirrored N: too wide."
    )
    if len(there) > len(shown):
        caption += f" Shown: {len(shown)} of {len(there)}, those that leave the band first."
    return Drawing(figure, "Calibration: ranks of the true values", caption, alt)


def zipped(recovered: Recovered, _: str = "") -> Drawing:
    """Zip plot (Morris et al. 2019): intervals stacked by how far from the truth they lie, for one design."""
    design = worst_design(recovered)
    random = recovered.random_terms()[:2]
    slope = [term for term in recovered.terms if not term.startswith(("sd__", "cor__"))][-1:]
    terms = [*random, *slope]
    table = _intervals(recovered, design, terms)
    engines = [name for name in recovered.engines if name in set(table["engine"])]
    if not engines:
        return note("No engine has intervals to show.")
    width = TWO if len(engines) > 1 else ONE
    figure, axes = canvas(width, 40 + 162 * len(terms), len(terms), len(engines), sharex="row", sharey=True)
    found = []
    for line, term in zip(axes, terms, strict=True):
        for ax, engine in zip(line, engines, strict=True):
            mine = table[(table["term"] == term) & (table["engine"] == engine)]
            if not len(mine):
                ax.set_visible(False)
                continue
            share = _zip(ax, mine, engine, recovered.conf_level)
            found.append((share, term, engine))
            ax.grid(axis="y", visible=False)
            ax.set_title(f"{titled(term)}, {label(engine)}", fontsize=9)
            ax.set_ylabel("centile")  # each, for a page sets other panels beside each other than the figure
    mixed = [item for item in found if not pooled(item[2])] or found
    share, term, engine = min(mixed)
    row = recovered.designs.set_index("design").loc[design]
    alt = (
        f"Intervals of {listed(list(map(titled, terms)))}{recovered.beside(row)}: the lowest coverage among "
        f"the mixed models is {fixed(100 * share, 1)} % ({titled(term)}, {label(engine)})."
    )
    caption = (
        "Zip plot (Morris et al. 2019): each line is a replicate's interval minus the truth (vertical line), at the "
        "height of its centile by distance from the truth in units of the interval's own arm; coloured lines miss "
        "it; dashed: the nominal level, where they should begin. "
        f"At most {MOST_INTERVALS} of a panel's intervals are drawn, evenly spaced."
    )
    if len(recovered.designs) > 1:
        caption += f" Design: {recovered.describe(row)}, where coverage is furthest from nominal."
    return Drawing(figure, "Intervals, replicate by replicate", caption, alt)


def worst_design(recovered: Recovered) -> str:
    """The design in which the coverage of a mixed model is furthest from nominal; else the first."""
    rows = recovered.rows("coverage")
    rows = rows[~rows["engine"].map(pooled).astype(bool)]
    if not len(rows):
        return str(recovered.designs["design"].iloc[0])
    return str(rows.loc[(rows["estimate"] - recovered.conf_level).abs().idxmax(), "design"])


def _intervals(recovered: Recovered, design: str, terms: list[str]) -> pd.DataFrame:
    """Intervals of usable fits of some terms of one design."""
    table = replicate_rows(recovered, [design])
    table = table[table["term"].isin(terms) & table["status"].isin(USABLE)]
    return table.dropna(subset=["truth", "estimate", "conf_low", "conf_high"])


def distance(table: pd.DataFrame) -> np.ndarray:
    """Distance of the truth from the estimate as a share of the interval's arm on that side: above 1 it is missed.

    For an interval of estimate ± z s this is |estimate - truth| / (z s), Morris et al.'s order; it also serves
    intervals that are not symmetric.
    """
    truth, estimate, low, high = (
        table[c].to_numpy(float) for c in ("truth", "estimate", "conf_low", "conf_high")
    )
    above = truth > estimate
    arm = np.where(above, high - estimate, estimate - low)
    covered = (low <= truth) & (truth <= high)
    away = np.abs(truth - estimate)
    share = np.divide(away, arm, out=np.zeros(len(arm)), where=arm > 0)
    # without an arm on that side (a sd of 0 at its own lower limit) only in or out is left
    return np.where(covered, np.minimum(share, 1.0), np.where(arm > 0, np.maximum(share, 1 + 1e-9), np.inf))


def _zip(ax, table: pd.DataFrame, engine: str, level: float) -> float:
    """One panel; returns the coverage."""
    far = distance(table)
    order = np.argsort(far, kind="stable")
    centile = 100 * (np.arange(len(far)) + 0.5) / len(far)
    pick = np.unique(np.linspace(0, len(far) - 1, min(MOST_INTERVALS, len(far))).round().astype(int))
    rows, y, out = table.iloc[order[pick]], centile[pick], far[order[pick]] > 1
    truth = rows["truth"].to_numpy(float)
    low, high = rows["conf_low"].to_numpy(float) - truth, rows["conf_high"].to_numpy(float) - truth
    segments(ax, low[~out], y[~out], high[~out], y[~out], color=FAINT, lw=0.9)
    segments(ax, low[out], y[out], high[out], y[out], color=colour(engine), lw=1.3)
    ax.axvline(0, color=COLOURS["truth"], lw=1.0)
    ax.axhline(100 * level, color=MUTED, lw=0.9, ls=(0, (3, 2)))
    covered = float((far <= 1).mean())
    ax.text(
        0.98,
        0.02,
        f"{fixed(100 * covered, 1)} %",
        transform=ax.transAxes,
        ha="right",
        fontsize=8.5,
        color=INK,
    )
    ax.set(ylim=(0, 101))
    return covered
