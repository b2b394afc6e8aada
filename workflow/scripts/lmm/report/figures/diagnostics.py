"""Figures that say whether a fit may be trusted: residuals, quantiles, ranks, traces, densities."""

import numpy as np

from lmm.core.tidy import RESIDUAL, by_term
from lmm.core.words import counted, label, listed, number, percent
from lmm.report.figures.fits import Fitted
from lmm.report.figures.style import (
    CHAINS,
    FAINT,
    INK,
    MUTED,
    Drawing,
    abreast,
    colour,
    dots,
    polylines,
)  # fmt: skip
from lmm.results.study import Results

DRAWN = 3000  # most dots in a residual plot; beyond it every so manieth of the sorted values
QUANTITIES = 8  # most parameters in rank, trace and prior plots


def normal_quantiles(n: int) -> np.ndarray:
    """Expected normal quantiles of n sorted values, at (i - 0.5)/n."""
    from statistics import NormalDist

    return np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])


def _qq(ax, values: np.ndarray, shade: str) -> float:
    """A normal Q-Q plot of standardised values; returns the correlation of the two sets of quantiles."""
    z = np.sort((values - values.mean()) / (values.std(ddof=1) or 1.0))
    keep = np.unique(np.linspace(0, len(z) - 1, min(len(z), 600)).round().astype(int))
    expected = (
        normal_quantiles(len(keep))
        if len(keep) == len(z)
        else normal_quantiles(1001)[np.round(keep / (len(z) - 1) * 1000).astype(int)]
    )
    ax.axline((0, 0), slope=1, color=FAINT, lw=1)
    dots(ax, expected, z[keep], size=3.2, color=shade, alpha=0.85)
    return float(np.corrcoef(expected, z[keep])[0, 1])


def residuals(results: Results, fitted: Fitted) -> Drawing:
    """Residuals by fitted value and the normal quantiles of residuals and random effects."""
    engine = results.main or next(iter(results.fits))
    several = len(results.by_factor) > 1
    every = [(own, term) for own in results.by_factor for term in own.random_terms[: 1 if several else None]]
    terms = every[:2]
    shade = colour(engine)
    panels = 2 + len(terms) if results.rows is not None else len(terms)
    figure, axes = abreast(panels, 230, 4)
    cells, said = list(axes.flat)[:panels], []
    if results.rows is not None:
        left = fitted.residuals(engine)
        fit = fitted.response() - left
        if np.ptp(fit) < 1e-6 * (
            np.abs(fit).max() or 1.0
        ):  # all but one value: an axis of rounding errors says nothing
            fit = np.full_like(fit, fit.mean())
        order = np.argsort(left, kind="stable")
        order = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), DRAWN)).round().astype(int))]
        scaled = left / (results.estimate(engine, RESIDUAL) or 1.0)
        dots(cells[0], fit[order], scaled[order], size=2.6, color=shade, alpha=0.5)
        cells[0].axhline(0, color=INK, lw=0.8)
        cells[0].set(title="residuals (scaled)", xlabel="fitted value")
        r = _qq(cells[1], left, shade)
        cells[1].set(title="residual quantiles", xlabel="normal quantile")
        said.append(
            f"{percent(np.mean(np.abs(scaled) > 2))} of the scaled residuals exceed 2 in size (4.6\u00a0% "
            "expected), the largest is "
            f"{number(np.abs(scaled).max())}; the Q-Q correlation of the residuals is {r:.4f}"
        )
    for ax, (own, name) in zip(cells[panels - len(terms) :], terms, strict=True):
        effects = own.wide(engine)[name].to_numpy(float)
        term = results.random(name) + (f" by {results.labels.column(own.group)}" if several else "")
        if np.nanstd(effects) > 0 and len(effects) > 2:
            said.append(f"the Q-Q correlation of the {term} is {_qq(ax, effects, shade):.4f}")
        else:
            why = "no spread" if len(effects) > 2 else f"{counted(len(effects), 'group')} only"
            ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", color=MUTED)
            said.append(f"the {term} has {why}")
        ax.set(title=term, xlabel="normal quantile")
    what = [f"residuals{' (random effects included)' * bool(terms)}"] if results.rows is not None else []
    what += ["predicted random effects"] if terms else []
    caption = f"{label(engine)}'s {listed(what)}, standardised; points near the line: close to normal"
    caption += ", though shrunken random effects hide mild departures." if terms else "."
    if len(every) > len(terms):
        caption += f" Drawn: the first {len(terms)} of {len(every)} random effects."
    if results.rows is not None and len(left) > DRAWN:
        caption += (
            f" Drawn: {DRAWN:,} of {len(left):,} residuals, evenly spread over their ranks; 600 quantiles."
        )
    alt = f"{label(engine)}: " + ("; ".join(said) if said else "no residuals, the rows were not copied") + "."
    return Drawing(figure, "Residuals and normality", caption, alt)


def sampled(results: Results) -> dict[str, np.ndarray]:
    """Draws (chains, draws) of the parameters that the gates watch, variances first."""
    draws = by_term(results.posterior["posterior"])
    names = sorted(draws, key=lambda name: (not name.startswith("sd__"), not name.startswith("cor__")))
    return {name: draws[name].transpose("chain", "draw").to_numpy() for name in names[:QUANTITIES]}


def others(results: Results) -> str:
    """Which parameters are not drawn, where there are too many; for a caption."""
    total = len(by_term(results.posterior["posterior"]))
    if total <= QUANTITIES:
        return ""
    return f" Drawn: {QUANTITIES} of {total} parameters, standard deviations and correlations first."


def few_ticks(ax) -> None:
    """At most five ticks, none at the very ends: labels of neighbouring panels would meet."""
    ax.locator_params(axis="x", nbins=5)
    ax.margins(x=0.05)


def grid(count: int, height: float) -> tuple:
    """Axes for so many panels, three abreast."""
    return abreast(count, height, 3)


def traces(results: Results, _: Fitted) -> Drawing:
    """Trace of every chain, thinned to what a screen can show."""
    draws = sampled(results)
    figure, axes = grid(len(draws), 105)
    for ax, (name, values) in zip(axes.flat, draws.items(), strict=False):
        step = max(1, values.shape[1] // 250)
        at = np.arange(0, values.shape[1], step)
        for chain, line in enumerate(values):
            polylines(
                ax,
                [np.column_stack([at, line[::step]])],
                color=CHAINS[chain % len(CHAINS)],
                lw=0.6,
                alpha=0.75,
            )
        ax.set_title(results.titled(name))
        ax.margins(x=0.01)
    chains, length = next(iter(draws.values())).shape
    worst = _worst(results)
    importance = results.fits[results.bayes].diagnostics.summary.get("sampler") == "importance"
    every = "every draw" if length < 500 else f"one draw in {length // 250}"
    alt = f"Traces of {len(draws)} parameters, {counted(chains, 'chain')} of {length:,} draws{worst}."
    return Drawing(
        figure,
        "Traces",
        (
            f"Draws of the weighted points in random order, {every}."
            if importance
            else f"Draws after warm-up, {every}, one colour per chain; the chains should overlap."
        )
        + others(results),
        alt,
    )


def _worst(results: Results) -> str:
    table = results.fits[results.bayes].parameters
    if "rhat" not in table or not table["rhat"].notna().any():
        return ""
    return (
        f": the largest R-hat is {table['rhat'].max():.4f} and the smallest bulk effective sample size "
        f"{table['ess_bulk'].min():,.0f}"
    )


def ranks(results: Results, _: Fitted) -> Drawing:
    """Rank plots: difference of each chain's rank ECDF from uniform, with a simultaneous 95 % band.

    Säilynoja, Bürkner & Vehtari 2022 (Stat. Comput. 32), the band by simulation of independent chains.
    """
    draws = sampled(results)
    figure, axes = grid(len(draws), 105)
    chains, length = next(iter(draws.values())).shape
    z = np.linspace(0.02, 0.98, 49)
    outside = []
    for ax, (name, values) in zip(axes.flat, draws.items(), strict=False):
        # an autocorrelated chain holds as much as its effective sample size says, and its band is that much wider
        ess = results.estimate(results.bayes, name, "ess_bulk")
        size = int(min(length, ess / chains)) if np.isfinite(ess) else length
        band = _band(z, max(size, 20), chains)
        rank = np.argsort(np.argsort(values.ravel(), kind="stable"), kind="stable").reshape(
            chains, length
        ) / (chains * length)
        curves = np.stack([np.searchsorted(np.sort(row), z) / length - z for row in rank])
        ax.fill_between(z, -band, band, color=FAINT, alpha=0.35, lw=0)
        for chain, curve in enumerate(curves):
            polylines(ax, [np.column_stack([z, curve])], color=CHAINS[chain % len(CHAINS)], lw=1.1)
        if np.any(np.abs(curves) > band):
            outside.append(name)
        ax.set_title(results.titled(name))
        ax.set_ylim(
            -1.6 * max(band.max(), np.abs(curves).max() / 1.4),
            1.6 * max(band.max(), np.abs(curves).max() / 1.4),
        )
    verdict = (
        f"the chains of {listed([results.spoken(name) for name in outside])} leave the band"
        if outside
        else "every chain stays within the 95 % band"
    )
    alt = f"Rank plots of {len(draws)} parameters: {verdict}."
    caption = (
        "Each chain's rank ECDF minus the uniform's; grey: simultaneous 95 % band at the effective sample size, "
        "which the chains of one parameter in twenty leave by chance (Säilynoja et al. 2022)."
        + others(results)
    )
    return Drawing(figure, "Do the chains agree? Ranks", caption, alt)


def _band(z: np.ndarray, size: int, chains: int, rounds: int = 400) -> np.ndarray:
    """Half width of the simultaneous band of all chains' rank ECDF differences, at each z."""
    rng = np.random.default_rng(20220)
    edges = np.diff(np.concatenate([[0.0], z, [1.0]]))
    counts = rng.multinomial(size, edges, size=(rounds, chains))
    ecdf = np.cumsum(counts, axis=2)[..., :-1] / size
    # ranks are among all chains' draws: measure each chain against their mean, as the plot does
    ecdf = ecdf - ecdf.mean(axis=1, keepdims=True)
    sd = np.sqrt(z * (1 - z) / size * max(1 - 1 / chains, 0.25))
    widest = np.abs(ecdf / sd).max(axis=(1, 2))
    return np.quantile(widest, 0.95) * sd if chains > 1 else 3.0 * sd


def density(values: np.ndarray, points: int = 120, low: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian kernel density on a grid, by binning and convolution (Silverman's bandwidth), reflected at `low`."""
    values = values[np.isfinite(values)]
    spread = min(values.std(), np.subtract(*np.percentile(values, [75, 25])) / 1.349) or values.std() or 1e-9
    width = 0.9 * spread * len(values) ** -0.2
    start, stop = values.min() - 3 * width, values.max() + 3 * width
    edges = np.linspace(start, stop, 513)
    counts, _ = np.histogram(values, edges)
    centres = (edges[:-1] + edges[1:]) / 2
    kernel = np.exp(-0.5 * ((centres - centres.mean()) / width) ** 2)
    smooth = np.convolve(counts, kernel / kernel.sum(), mode="same")
    if low is not None and start < low:
        mirrored = np.interp(2 * low - centres, centres, smooth, left=0, right=0)
        smooth = np.where(centres >= low, smooth + mirrored, 0)
    grid = np.linspace(max(start, low) if low is not None else start, stop, points)
    return grid, np.interp(grid, centres, smooth / (smooth.sum() * (edges[1] - edges[0])))
