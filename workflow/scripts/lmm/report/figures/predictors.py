"""The effect plot: predicted means over every predictor of the fixed part, with intervals, over the data."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.core.words import capital, estimated, label, listed, places, scaled, short_levels
from lmm.inference.fixed_effects import FixedEffects
from lmm.inference.functions import functions
from lmm.inference.reference_grid import ReferenceGrid, Request
from lmm.report.figures.fits import Fitted
from lmm.report.figures.rows import chosen
from lmm.report.figures.style import CHAINS, FAINT, MUTED, Drawing, abreast, colour, dots, key, polylines
from lmm.results import order
from lmm.results.labels import factors
from lmm.results.study import Results

POINTS, ROWS, LINES, LEVELS, PANELS = 25, 2000, 40, 6, 8
APART = 0.1  # standard errors, and shares of one, from which on two engines' means are told apart
DASHED, DOTTED = {"lw": 1.6, "ls": (0, (4, 2))}, {"lw": 0.9, "ls": (0, (4, 2))}
Bands = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Panel:
    """One predictor, and the one that it interacts with: values on the axis, and of the other by colour."""

    name: str
    numeric: bool
    values: list
    other: str = ""
    others: tuple = ()


def effects(results: Results, fitted: Fitted) -> Drawing:
    """Predicted mean and interval over each predictor: lines, or points of categories; interactions by colour."""
    engine = results.leading
    grid = ReferenceGrid(fitted.design, results.data["columns"], results.data["rows"])
    by_engine = _by_engine(results, fitted)
    shown = _panels(results, grid)
    figure, axes = abreast(len(shown), 265)
    said, entries, thin, apart = [], [], False, []
    for ax, panel in zip(axes.flat, shown, strict=False):
        found = _predicted(grid, panel, *by_engine[engine])
        if found is None:
            ax.text(0.5, 0.5, "too many combinations", transform=ax.transAxes, ha="center", color=MUTED)
            continue
        draw = _curve if panel.numeric else _points
        if panel.numeric:
            thin |= _groups(ax, results, fitted, grid, engine, panel)
        draw(ax, results, fitted.response() + grid.offset(results.rows), panel, found, colour(engine))
        said.append(_said(results, panel, found))
        for name in [] if panel.others else [name for name in by_engine if name != engine]:
            theirs = _predicted(grid, panel, *by_engine[name])
            if _differ(found, theirs):
                apart += [name] if name not in apart else []
                (_curve_of if panel.numeric else _points_of)(ax, panel, theirs, name, apart.index(name))
        if panel.others:
            named = [_level(results, panel.other, value) for value in panel.others]
            entries += [
                (f"{results.labels.column(panel.other)}: {name}", {"color": CHAINS[k % len(CHAINS)], "lw": 2})
                for k, name in enumerate(named)
            ]
        ax.set(xlabel=results.labels.titled(panel.name), ylabel=results.labels.titled(results.response))
    entries += [(label(name), {"color": colour(name), **DASHED}) for name in apart]
    entries += [(label(engine), {"color": colour(engine), "lw": 2.2})] if apart else []
    key(axes[0, 0], list(dict(entries).items()))
    kind = "credible" if engine == results.bayes else "confidence"
    numeric = {panel.numeric for panel in shown}
    mark, reach = (
        " or ".join(word for known, word in zip((True, False), words, strict=True) if known in numeric)
        for words in (("line", "point"), ("band", "bar"))
    )
    over = ", other predictors averaged over" if len(grid.numeric) + len(grid.categorical) > 1 else ""
    caption = (
        f"{capital(mark)}: predicted mean by {label(engine)}{over}; {reach}: "
        f"{results.level} {kind} interval; grey dots: rows{'; thin lines: groups' if thin else ''}"
        f"{f'; dashed, with its interval: {listed(list(map(label, apart)))}, where it differs' if apart else ''}."
    )
    response = results.labels.column(results.response)
    alt = " ".join(f"Predicted mean of {response} by {one}" for one in said)
    return Drawing(figure, "Effects of the predictors", caption, alt or "No effect could be drawn.")


def _by_engine(results: Results, fitted: Fitted) -> dict[str, tuple[list[int], Bands]]:
    """Engines that estimate the leading one's fixed effects: where those stand in the design, and their bands."""
    columns = list(fitted.design.terms.fixed)
    wanted, sampled = set(results.fixed(results.leading)), bool(results.draws)
    some = [
        name
        for name, fit in results.fits.items()
        # a mixed model's intervals need the covariances of its estimates
        if name in (results.leading, results.pooled)
        or "corr_fixed" in fit.diagnostics.summary
        or (name == results.bayes and sampled)
    ]
    return {
        name: ([columns.index(term) for term in results.fixed(name)], _bands(results, fitted, name))
        for name in some
        if set(results.fixed(name)) == wanted
    }


def _differ(found: pd.DataFrame, theirs: pd.DataFrame) -> bool:
    """Whether another engine's means or their standard errors are visibly not the same."""
    error = found["error"].to_numpy(float)
    means = np.abs(found["mean"] - theirs["mean"]).to_numpy(float) / error
    errors = np.abs(theirs["error"].to_numpy(float) / error - 1.0)
    return bool(max(means.max(), errors.max()) > APART)


def _curve_of(ax, panel: Panel, found: pd.DataFrame, engine: str, _: int) -> None:
    for column, style in (("mean", DASHED), ("low", DOTTED), ("high", DOTTED)):
        polylines(ax, [found[["x", column]].to_numpy(float)], color=colour(engine), **style)


def _points_of(ax, panel: Panel, found: pd.DataFrame, engine: str, number: int) -> None:
    levels = pd.Index([str(level) for level in panel.values])
    where = levels.get_indexer(found["x"].astype(str)) + 0.12 * (number + 1)
    ax.vlines(where, found["low"], found["high"], color=colour(engine), **DASHED)
    dots(ax, where, found["mean"], size=5, color=colour(engine), alpha=1)


def _panels(results: Results, grid: ReferenceGrid) -> list[Panel]:
    """A panel for each predictor, with the first one that it interacts with."""
    joint: dict[str, list[str]] = {}
    for term in results.fixed(results.leading):
        names = [
            next((n for n in grid.predictors if n in part.replace("`", "")), "") for part in factors(term)
        ]
        for name in names:
            joint.setdefault(name, []).extend(other for other in names if other not in (name, ""))
    found = []
    for name in grid.predictors[:PANELS]:
        numeric, others = name in grid.numeric, joint.get(name, [])
        categorical = [other for other in others if other in grid.categorical]
        partner = next(iter(categorical if categorical or not numeric else others), "")
        values = _range(grid, name) if numeric else order.arranged(results, name, grid.design.levels[name])
        by: tuple = ()
        if partner in grid.categorical and len(grid.design.levels[partner]) <= LEVELS:
            by = tuple(order.arranged(results, partner, grid.design.levels[partner]))
        elif partner in grid.numeric:
            about = grid.columns[partner]
            by = tuple(about["mean"] + step * about["sd"] for step in (-1.0, 0.0, 1.0))
        found.append(Panel(name, numeric, values, partner if by else "", by))
    return found


def _range(grid: ReferenceGrid, name: str) -> list[float]:
    about = grid.columns[name]
    return np.linspace(about["min"], about["max"], POINTS).tolist()


def _predicted(grid: ReferenceGrid, panel: Panel, place: list[int], bands: Bands) -> pd.DataFrame | None:
    """x, other, mean, low, high, error at every value of the panel."""
    at: dict[str, list] = {panel.name: panel.values} if panel.numeric else {}
    if panel.other in grid.numeric:
        at[panel.other] = list(panel.others)
    try:
        group = functions(
            grid, Request("means", (panel.name,), by=(panel.other,) if panel.other else (), at=at)
        )[0]
    except StudyError:
        return None
    mean, low, high, error = bands(group.rows[:, place])
    table = group.cells.assign(mean=mean + group.offset, low=low + group.offset, high=high + group.offset)
    table = table.assign(x=group.cells[panel.name], error=error)
    table = table.assign(other=group.cells[panel.other] if panel.other else "")
    for column, name, values in (("x", panel.name, panel.values), ("other", panel.other, panel.others)):
        if name in grid.categorical:  # in the panel's order, which colours go by
            place = {str(value): k for k, value in enumerate(values)}
            table = table.iloc[np.argsort(table[column].astype(str).map(place), kind="stable")]
    return table


def _bands(results: Results, fitted: Fitted, engine: str) -> Bands:
    """Mean, interval and standard error of combinations of an engine's fixed effects."""
    fit, level = results.fits[engine], results.conf_level
    beta = np.array(list(results.fixed(engine).values()))
    if engine == results.bayes and set(results.fixed(engine)) <= set(results.draws):
        sample = np.column_stack([results.draws[term].ravel() for term in results.fixed(engine)])
        tail = (1.0 - level) / 2.0

        def of_draws(rows: np.ndarray) -> tuple:
            values = sample @ rows.T
            low, high = np.quantile(values, [tail, 1.0 - tail], axis=0)
            return rows @ beta, low, high, values.std(axis=0, ddof=1)

        return of_draws
    if engine == results.exact and "fixed_effects" in results.notes:
        fixed = FixedEffects.from_plain(results.notes["fixed_effects"])
    else:
        table = fit.parameters[fit.parameters["effect"] == "fixed"]
        error, summary = table["std_error"].to_numpy(float), fit.diagnostics.summary
        known = np.array(summary.get("corr_fixed") or [])
        if known.shape == (len(beta), len(beta)):
            covariance = np.outer(error, error) * known
        else:  # least squares, with the rows' own matrix
            columns = list(fitted.design.terms.columns)
            _, matrix = fitted.design.matrix(results.rows)
            X = matrix[:, [columns.index(term) for term in results.fixed(engine)]]
            weights = fitted.design.formula.weights
            W = results.rows[weights].to_numpy(float) if weights else np.ones(len(X))
            inverse = np.linalg.inv((X.T * W) @ X)
            covariance = inverse * np.mean(error**2 / np.diag(inverse))
        fixed = FixedEffects.with_df(beta, covariance, np.inf)

    from scipy.special import stdtrit  # a quarter of a second, which figures of replicates need not wait

    def of_estimates(rows: np.ndarray) -> tuple:
        mean, error = rows @ fixed.beta, fixed.std_error(rows)
        reach = stdtrit(fixed.df(rows), (1.0 + level) / 2.0) * error
        return mean, mean - reach, mean + reach, error

    return of_estimates


def _some(results: Results) -> np.ndarray:
    """Rows that are drawn: all, or evenly spread ones."""
    count = len(results.rows)
    return np.unique(np.linspace(0, count - 1, min(count, ROWS)).round().astype(int))


def _groups(ax, results: Results, fitted: Fitted, grid: ReferenceGrid, engine: str, panel: Panel) -> bool:
    """Thin lines of the groups of one factor, where the predictor is the one with a random slope."""
    if len(results.groups) > 1:
        return False
    varying = any(panel.name in term.replace("`", "").split(":") for term in results.random_terms)
    if not varying or fitted.x != panel.name or engine not in results.mixed:
        return False
    lines = fitted.lines(engine)
    frame = fitted.grid[0].iloc[:1]
    for line in lines if fitted.design.formula.offsets else ():
        there = frame.iloc[[0] * len(line)].assign(**{panel.name: line[:, 0]})
        line[:, 1] += grid.offset(there)
    slopes = lines[:, -1, 1] - lines[:, 0, 1]
    polylines(ax, lines[chosen(slopes, LINES)], color=MUTED, lw=0.6, alpha=0.55)
    return True


def _curve(ax, results: Results, y: np.ndarray, panel: Panel, found: pd.DataFrame, shade: str) -> None:
    keep = _some(results)
    x = results.rows[panel.name].to_numpy(float)[keep]
    dots(ax, x, y[keep], size=2.2, color=FAINT, alpha=0.8)
    for k, (_, part) in enumerate(found.groupby("other", sort=False)):
        line = CHAINS[k % len(CHAINS)] if panel.others else shade
        ax.fill_between(part["x"].astype(float), part["low"], part["high"], color=line, alpha=0.2, lw=0)
        polylines(ax, [part[["x", "mean"]].to_numpy(float)], color=line, lw=2.2)


def _points(ax, results: Results, y: np.ndarray, panel: Panel, found: pd.DataFrame, shade: str) -> None:
    levels = [str(level) for level in panel.values]
    keep = _some(results)
    at = pd.Index(levels).get_indexer(results.rows[panel.name].astype(str).to_numpy()[keep])
    jitter = np.random.default_rng(1).uniform(-0.28, 0.28, len(keep))
    dots(ax, at + jitter, y[keep], size=2.2, color=FAINT, alpha=0.8)
    parts = list(found.groupby("other", sort=False))
    shifts = np.linspace(-0.18, 0.18, len(parts)) if len(parts) > 1 else [0.0]
    for k, ((_, part), shift) in enumerate(zip(parts, shifts, strict=True)):
        line = CHAINS[k % len(CHAINS)] if panel.others else shade
        where = pd.Index(levels).get_indexer(part["x"].astype(str)) + shift
        ax.vlines(where, part["low"], part["high"], color=line, lw=2.2)
        dots(ax, where, part["mean"], size=6.5, color=line, alpha=1)
    names = [_level(results, panel.name, level) for level in panel.values]
    shown = short_levels(names, 14 if len(names) <= 4 else 9)
    ax.set_xticks(range(len(levels)), shown, rotation=0 if len(names) <= 4 else 60, fontsize=9)
    ax.set_xlim(-0.6, len(levels) - 0.4)


def _level(results: Results, column: str, value) -> str:
    """A level, or a value of a numeric predictor."""
    if isinstance(value, float) and "levels" not in results.data["columns"][column]:
        return scaled(value, results.data["columns"][column]["sd"], 2)
    return results.labels.level(column, value)


def _said(results: Results, panel: Panel, found: pd.DataFrame) -> str:
    """`Days: 251.4 at 0, 345.6 at 9.`, for each value of the other predictor."""
    own = results.labels.column(panel.name)
    parts = []
    for value, part in found.groupby("other", sort=False):
        ends = part.iloc[[0, -1]] if panel.numeric else part
        points = []
        for row in ends.itertuples():
            width = panel.values[-1] - panel.values[0] if panel.numeric else 0.0
            where = scaled(row.x, width) if panel.numeric else _level(results, panel.name, row.x)
            points.append(f"{estimated(row.mean, places(row.error))} at {where}")
        by = (
            f"with {results.labels.column(panel.other)} = {_level(results, panel.other, value)} "
            if panel.others
            else ""
        )
        parts.append(by + listed(points))
    return f"{own}: {'; '.join(parts)}."
