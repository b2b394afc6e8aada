"""Figures of performance: measures against the design's axes, nested loops over a grid, how the fits ended."""

import textwrap
from collections.abc import Iterable

import numpy as np
import pandas as pd

from lmm.core.engines import UNIDENTIFIED, pooled
from lmm.core.parameters import titled
from lmm.core.words import label, listed, with_error
from lmm.recovery.grid import STATUSES, USABLE
from lmm.report.figures.style import (
    COLOURS,
    FAINT,
    INK,
    MARKERS,
    MUTED,
    Drawing,
    abreast,
    canvas,
    colour,
    key,
    note,
    segments,
)
from lmm.results.replicated import Recovered, axis_name, axis_value, statuses

MOST_TERMS, MOST_COLUMNS, MOST_BARS = 6, 4, 24
STATUS_COLOURS = {
    "singular": "#56b4e9", UNIDENTIFIED: "#d55e00", "non-converged": "#cc79a7", "gate-failed": "#e69f00",
    "error": INK, "skipped": FAINT,
}  # fmt: skip
MCSE = "bars: 1.96 Monte Carlo standard errors either side"


def shown_measure(recovered: Recovered, name: str, term: str) -> tuple[pd.DataFrame, str, float]:
    """Rows of what is drawn of a term under `bias`, `coverage` or `rmse`; its unit and the ideal value.

    Bias is relative, in percent, unless some design's truth is near 0; RMSE likewise a percentage of the truth.
    """
    if name == "coverage":
        rows = recovered.rows("coverage", term=term)
        return (
            rows.assign(value=100 * rows["estimate"], error=100 * rows["mcse"]),
            "%",
            100 * recovered.conf_level,
        )
    rows = recovered.rows("bias" if name == "bias" else "rmse", term=term)
    relative = recovered.rows("relative_bias", term=term)
    mixed = relative[~relative["engine"].map(pooled).astype(bool)]
    if not recovered.far_from_zero(mixed if len(mixed) else relative).all():
        relative = relative[:0]
    if name == "bias" and len(relative) == len(rows):
        return relative.assign(value=100 * relative["estimate"], error=100 * relative["mcse"]), "%", 0.0
    if name == "rmse" and len(relative) == len(rows):
        scale = 100 / rows["truth"].abs()
        return rows.assign(value=scale * rows["estimate"], error=scale * rows["mcse"]), "% of truth", 0.0
    return rows.assign(value=rows["estimate"], error=rows["mcse"]), "", 0.0


NEAR = "where that is less than one empirical SE from 0: in the estimate's unit"
TITLES = {
    "bias": "Bias",
    "coverage": "Coverage of intervals",
    "rmse": "Root mean squared error",
}
ABOUT = {
    "bias": f"Mean estimate minus truth, in percent of the truth ({NEAR})",
    "coverage": "Share of intervals that contain the truth (line: the nominal level)",
    "rmse": f"Root mean squared error, in percent of the truth ({NEAR})",
}


def against(recovered: Recovered, name: str) -> Drawing:
    """A measure against the design's longest axis: a row per term, a column for each setting of the other axes."""
    axis, others = recovered.axes[-1], recovered.axes[:-1]
    x = {value: k for k, value in enumerate(recovered.values(axis))}
    facets = recovered.designs[others].drop_duplicates().to_dict("records") if others else [{}]
    few = [facets[k] for k in np.unique(np.linspace(0, len(facets) - 1, MOST_COLUMNS).round().astype(int))]
    shown = few if len(facets) > MOST_COLUMNS else facets
    terms = [term for term in recovered.terms if len(shown_measure(recovered, name, term)[0])][:MOST_TERMS]
    if not terms:
        return note("No fit can be used, or none has this: there is nothing to show.")
    if len(shown) > 1:
        figure, axes = canvas(760, 34 + 124 * len(terms), len(terms), len(shown), sharex=True, sharey="row")
    else:  # terms side by side, so that a narrow page has panels to set below each other
        figure, axes = abreast(len(terms), 124, sharex=True)
        axes = axes.reshape(-1, 1)[: len(terms)]
    for line, term in zip(axes, terms, strict=True):
        table, unit, ideal = shown_measure(recovered, name, term)
        low, high = limits(table, ideal)
        for ax, facet in zip(line, shown, strict=True):
            ax.axhline(ideal, color=COLOURS["truth"], lw=1.0)
            outside = []
            for k, engine in enumerate(recovered.engines):
                mine = table[(table["engine"] == engine) & _matches(table, facet)]
                at = mine[axis].map(x).to_numpy(float) + 0.12 * (k - (len(recovered.engines) - 1) / 2)
                _series(ax, at, mine["value"].to_numpy(float), mine["error"].to_numpy(float), engine)
                outside += [engine] if ((mine["value"] < low) | (mine["value"] > high)).any() else []
            ax.set(ylim=(low, high), xlim=(-0.5, len(x) - 0.5))
            ax.set_xticks(range(len(x)), [axis_value(value) for value in x])
            ax.grid(axis="x", visible=False)
            if outside:
                ax.text(0.98, 0.96, f"outside: {listed(map(label, outside))}", transform=ax.transAxes, ha="right",
                        va="top", fontsize=8, color=MUTED)  # fmt: skip
            where = f", {recovered.describe(facet, list(facet))}" if facet else ""
            ax.set_title(f"{titled(term)}{f' ({unit})' * bool(unit)}{where}", fontsize=9)
    for ax in axes[-1] if len(shown) > 1 else axes[-2:, 0]:
        ax.set_xlabel(axis_name(axis))
    legend(figure, recovered.engines)
    part = (
        f" Shown: {len(shown)} of {len(facets)} settings of the other axes."
        if len(shown) < len(facets)
        else ""
    )
    caption = f"{ABOUT[name]}, of {recovered.n_replicates:,} replicates per design; {MCSE}.{part}"
    return Drawing(
        figure, f"{TITLES[name]} against {axis_name(axis)}", caption, worst(recovered, name, terms)
    )


def overview(recovered: Recovered, _: str = "") -> Drawing:
    """One design: bias, coverage and RMSE of every term by engine, side by side."""
    terms, engines = recovered.terms, recovered.engines
    if not terms or not len(recovered.rows("bias")):
        return note("No fit can be used: there is nothing to show.")
    figure, axes = canvas(760, 60 + (10 + 13 * len(engines)) * len(terms), 1, 3, sharey=True)
    places = np.arange(len(terms)) * (len(engines) + 1.0)
    for ax, name in zip(axes[0], TITLES, strict=True):
        shown = [shown_measure(recovered, name, term) for term in terms]
        units, ideal = {unit for _, unit, _ in shown}, shown[0][2]
        for y, (table, unit, _) in zip(places, shown, strict=True):
            if any(units) and not unit:  # no place on an axis of percentages
                ax.text(0.98, y + (len(engines) - 1) / 2, "truth near 0: see the table", fontsize=8, color=MUTED,
                        ha="right", va="center", transform=ax.get_yaxis_transform())  # fmt: skip
                continue
            for k, engine in enumerate(engines):
                mine = table[table["engine"] == engine]
                if len(mine):
                    value, error = float(mine["value"].iloc[0]), float(mine["error"].iloc[0])
                    segments(ax, [value - 1.96 * error], [y + k], [value + 1.96 * error], [y + k],
                             color=colour(engine, engines), lw=1.4)  # fmt: skip
                    ax.plot([value], [y + k], MARKERS.get(engine, "o"), ms=4.5, color=colour(engine, engines))
        low, high = limits(pd.concat([table for table, unit, _ in shown if unit or not any(units)]), ideal)
        ax.set(xlim=(low, high))
        ax.axvline(ideal, color=COLOURS["truth"], lw=1.0)
        title = TITLES[name] + (f" ({listed(sorted(filter(None, units)))})" if any(units) else "")
        ax.set_title(textwrap.fill(title, 22))  # beside the terms, a third of the width leaves no more
        ax.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(places + (len(engines) - 1) / 2, [titled(term) for term in terms], color=INK)
    axes[0, 0].set_ylim(places[-1] + len(engines), -1)
    legend(figure, engines)
    alt = " ".join(worst(recovered, name, terms) for name in ("bias", "coverage"))
    caption = (
        f"{recovered.n_replicates:,} replicates; {MCSE}; bias and RMSE in percent of the truth where that is at "
        "least one empirical SE from 0; what lies beyond a frame is in the table."
    )
    return Drawing(figure, "Bias, coverage and error by term", caption, alt)


def endings(recovered: Recovered, _: str = "") -> Drawing:
    """How the fits ended: a bar for each design and engine."""
    table = statuses(recovered)
    names = [name for name in STATUSES if name in table and table[name].sum()]
    total = table[names].sum(axis=1)
    table = table.assign(bad=1 - table[[n for n in names if n == "ok"]].sum(axis=1) / total, total=total)
    some = table[table["bad"] > 0].sort_values("bad", ascending=False, kind="stable").head(MOST_BARS)
    designs = recovered.designs.set_index("design")
    position = {design: k for k, design in enumerate(designs.index)}
    some = some.sort_values("design", key=lambda s: s.map(position), kind="stable")
    figure, axes = canvas(760, 64 + 19 * len(some))
    ax = axes[0, 0]
    y = np.arange(len(some))
    left = np.zeros(len(some))
    names = [name for name in names if name != "ok"]
    for name in names:
        share = 100 * (some[name] / some["total"]).to_numpy(float)
        ax.barh(y, share, left=left, height=0.72, color=STATUS_COLOURS[name])
        left += share
    where = [f"{recovered.describe(designs.loc[at])} · " if len(designs) > 1 else "" for at in some["design"]]
    ax.set_yticks(y, [w + label(e) for w, e in zip(where, some["engine"], strict=True)], color=INK)
    ax.set(xlim=(0, min(100, 1.05 * left.max())), xlabel="% of replicates", ylim=(len(some) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)
    key(ax, [(name, {"color": STATUS_COLOURS[name], "lw": 7}) for name in names])
    failed = int(table[[n for n in names if n not in USABLE]].sum().sum())
    count = f"{int(total.sum()):,}"
    alt = f"Of {count} fits {failed:,} could not be used" if failed else f"All {count} fits could be used"
    singular = int(table["singular"].sum()) if "singular" in table else 0
    alt += f"; {singular:,} are singular." if singular else "."
    rest = int((table["bad"] > 0).sum()) - len(some)
    caption = (
        "Only designs and engines with other than ok fits; a singular fit (a variance of 0, a correlation of ±1) is "
        "a result and is used, the others are counted and not used."
        + (f" {rest} more not shown." if rest else "")
    )
    return Drawing(figure, "How the fits ended", caption, alt)


def _relative(recovered: Recovered, name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Those rows of bias or RMSE, in percent of the truth, whose truth is far from 0."""
    rows = table[recovered.far_from_zero(table)]
    scale = np.where(rows["measure"] == "relative_bias", 100.0, 100.0 / rows["truth"].abs())
    value, error = scale * rows["estimate"], scale * rows["mcse"]
    unit = "%" if name == "bias" else "% of truth"
    return rows.assign(value=value, error=error, off=value.abs(), unit=unit)


def _matches(table: pd.DataFrame, facet: dict) -> np.ndarray:
    keep = np.ones(len(table), bool)
    for column, value in facet.items():
        keep &= (table[column] == value).to_numpy()
    return keep


def _series(ax, at: np.ndarray, value: np.ndarray, error: np.ndarray, engine: str) -> None:
    """Points with error bars, joined in the order of the axis."""
    order = np.argsort(at)
    at, value, error = at[order], value[order], np.nan_to_num(error[order])
    style = {"color": colour(engine)}
    segments(ax, at, value - 1.96 * error, at, value + 1.96 * error, lw=1.3, **style)
    ax.plot(at, value, marker=MARKERS.get(engine, "o"), ms=4, lw=1.0, alpha=0.9, **style)


def limits(table: pd.DataFrame, ideal: float) -> tuple[float, float]:
    """Axis limits around what the mixed models do: OLS, which knows no groups, may be far out."""
    mixed = table[~table["engine"].map(pooled).astype(bool)]
    used = mixed if len(mixed) else table
    error = 1.96 * used["error"].fillna(0)
    low, high = min((used["value"] - error).min(), ideal), max((used["value"] + error).max(), ideal)
    room = 0.12 * (high - low) or 1.0
    return low - room, high + room


def legend(figure, engines: Iterable[str]) -> None:
    """The engines' markers and colours above the panels."""
    from matplotlib.lines import Line2D

    engines = list(engines)
    style = {"ms": 4.5, "lw": 1.3}
    handles = [
        Line2D([], [], label=label(e), color=colour(e, engines), marker=MARKERS.get(e, "o"), **style)
        for e in engines
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), fontsize=9)


def worst(recovered: Recovered, name: str, terms: list[str]) -> str:
    """The finding of a figure: the value furthest from the ideal among mixed models, with its Monte Carlo error."""
    parts, alone = [], all(map(pooled, recovered.engines))
    for term in terms:
        table, unit, ideal = shown_measure(recovered, name, term)
        mixed = table[~table["engine"].map(pooled).astype(bool) | alone]
        parts.append(mixed.assign(off=(mixed["value"] - ideal).abs(), unit=unit))
    table = pd.concat(parts)
    if name != "coverage" and len(relative := _relative(recovered, name, table)):
        table = relative
    if not len(table):
        return f"{TITLES[name]}: nothing to show."
    row = table.iloc[int(np.argmax(table["off"]))]
    value = with_error(row["value"], row["error"])
    where = recovered.beside(row)
    what = {
        "bias": f"largest {'relative ' * bool(row['unit'])}bias",
        "coverage": "coverage furthest from nominal",
        "rmse": f"largest {'relative ' * bool(row['unit'])}RMSE",
    }[name]
    drawn = "" if set(recovered.terms) <= set(terms) else " of the terms drawn"
    whose = "" if alone else " among the mixed models"
    return (
        f"The {what}{drawn}{whose} is {value} {row['unit']}".rstrip()
        + f" ({titled(row['term'])}, {label(row['engine'])}{where})."
    )
