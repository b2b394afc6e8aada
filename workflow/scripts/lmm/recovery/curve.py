"""A measure as a monotone function of a design's size, fitted to replicates of a few designs near the target.

With n groups of m rows the variance of an estimate is near (a + b / m) / n, so its information is proportional to
t^2 = n m / (1 + r m). Power is Phi(b0 + b1 t), as that of a Wald test; coverage is Phi(b0 - b1 / t^2), its error
being of the order of 1 / n; RMSE and the width of intervals are exp(b0 - b1 log t). b1 >= 0 makes them monotone. r,
the ratio of the variance between groups to that of a row, is estimated where rows per group vary, with a weak prior
around the middle of their range. With n levels of a grouping factor and m of another the variance is near
a / n + b / m + c / (n m), and t^2 = n m / (1 + r m + s n); what does not vary is 1. Only designs near the target are
used (`Curve.used`), where so few parameters describe every such measure; how well they do is tested.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

LEVEL = 0.95  # of the band, and so of the answer's interval
PROPORTIONS = ("power", "coverage")
WINDOWS = (1.6, 1.4, 1.25)  # largest ratio of t to that of the centre; a wider one is taken where it fits
FITS = 0.01  # p-value of the goodness of fit from which a window is taken
PRIOR = 2.0  # standard deviation of log r
FEWEST = 3  # designs of a fit


def rises(measure: str) -> bool:
    """Whether larger designs have larger values: power and coverage; RMSE and width fall."""
    return measure in PROPORTIONS


def reached(measure: str, values: np.ndarray, target: float) -> np.ndarray:
    """Which values are at least, or at most, the target."""
    return values >= target if rises(measure) else values <= target


@dataclass(frozen=True)
class Curve:
    """A fitted measure.

    Attributes
    ----------
    measure : str
        power, coverage, rmse or interval_width.
    values : (2,), (3,) or (4,) array
        b0, b1 on standardised coordinates, and log r and log s where they were estimated.
    covariance : array
        Of the values.
    scale : (2,) array
        Centre and spread of the coordinate.
    used : array of bool
        Which designs the fit used.
    chi2, df : float, int
        Pearson's goodness of fit.
    """

    measure: str
    values: np.ndarray
    covariance: np.ndarray
    scale: np.ndarray
    used: np.ndarray
    chi2: float
    df: int

    @property
    def p(self) -> float:
        """p-value of the goodness of fit; 1 without degrees of freedom."""
        return float(stats.chi2.sf(self.chi2, self.df)) if self.df else 1.0

    def size(self, at: np.ndarray) -> np.ndarray:
        """t of designs, (k, 2): the two numbers of each."""
        return size(at, self.values[2:])

    def value(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The measure at designs (k, 2), and its band's lower and upper end."""
        eta, slopes = _predictor(self.measure, self.values, at, self.scale)
        variance = np.einsum("ka,ab,kb->k", slopes, self.covariance, slopes)
        reach = stats.norm.ppf(0.5 + LEVEL / 2) * np.sqrt(np.maximum(variance, 0.0))
        back: Callable = special.ndtr if rises(self.measure) else np.exp
        return back(eta), back(eta - reach), back(eta + reach)


def size(at: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """t of designs, (k, 2), at none, one or both of log r and log s.

    Without any it is sqrt(n) up to a factor: m is the same in all designs then.
    """
    n, m = np.asarray(at, dtype=float).T
    shared = sum((np.exp(log) * own for log, own in zip(logs, (m, n), strict=False)), np.zeros(len(n)))
    return np.sqrt(n * m / (1.0 + shared)) if len(logs) else np.sqrt(n * m)


def _coordinate(measure: str, at: np.ndarray, logs: np.ndarray) -> np.ndarray:
    t = size(at, logs)
    return t if measure == "power" else -1.0 / t**2 if measure == "coverage" else -np.log(t)


def _predictor(
    measure: str, values: np.ndarray, at: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Linear predictor at designs (k, 2), and its derivatives by the values."""
    logs = values[2:]
    u = (_coordinate(measure, at, logs) - scale[0]) / scale[1]
    slopes = [np.ones_like(u), u]
    step = 1e-4
    for own in step * np.eye(len(logs)):
        ends = [_coordinate(measure, at, logs + sign * own) for sign in (1, -1)]
        slopes.append(values[1] * (ends[0] - ends[1]) / (2 * step * scale[1]))
    return values[0] + values[1] * u, np.stack(slopes, axis=1)


def fit(
    measure: str, at: np.ndarray, estimate: np.ndarray, mcse: np.ndarray, n: np.ndarray, ratios: int,
    centre: np.ndarray | None = None,
) -> Curve:  # fmt: skip
    """Fit a measure to what replicates of several designs gave.

    Parameters
    ----------
    measure : str
        power, coverage, rmse or interval_width.
    at : (k, 2) array
        The two numbers of each design.
    estimate, mcse : (k,) arrays
        The measure with its Monte Carlo standard error.
    n : (k,) array
        Replicates used.
    ratios : int
        How many of r and s are estimated.
    centre : (2,) array, optional
        Design around which a window is taken; all designs where there is none.

    Returns
    -------
    Curve
    """
    if rises(measure):  # no line has an infinite probit: a share of 0 or 1 is moved by half an event
        certain = (estimate <= 0.0) | (estimate >= 1.0)
        estimate = np.where(certain, (n * estimate + 0.5) / (n + 1.0), estimate)
    there = (n > 1) & np.isfinite(estimate) & (np.isfinite(mcse) | rises(measure))
    whole = _fit(measure, at, estimate, mcse, n, ratios, there)
    if centre is None:
        return whole
    apart = np.abs(np.log(whole.size(at) / whole.size(np.atleast_2d(centre))))
    best = whole
    for width in WINDOWS:
        near = there & (apart <= np.log(width))
        if near.sum() < FEWEST + ratios:
            break
        best = _fit(measure, at, estimate, mcse, n, ratios, near)
        if best.p > FITS:
            return best
    # too few designs for a narrower window, or none fits: the band takes the misfit as noise
    inflated = (
        best.covariance * max(best.chi2 / best.df, 1.0) if best.df and best.p <= FITS else best.covariance
    )
    return Curve(measure, best.values, inflated, best.scale, best.used, best.chi2, best.df)


def _fit(measure, at, estimate, mcse, n, ratios, used) -> Curve:
    at, estimate, mcse, n = at[used], estimate[used], mcse[used], n[used].astype(float)
    logs = _ratios(measure, at, estimate, mcse, n, ratios)
    values, scale, _ = _linear(measure, at, estimate, mcse, n, logs)
    values = np.append(values, logs)
    eta, slopes = _predictor(measure, values, at, scale)
    weight, chi2 = _weights(measure, eta, estimate, mcse, n)
    information = (slopes * weight[:, None]).T @ slopes
    information += np.diag([1e-9, 1e-9, *[PRIOR**-2] * ratios])
    df = max(len(at) - len(values), 0)
    return Curve(measure, values, np.linalg.inv(information), scale, used, chi2, df)


def _ratios(measure, at, estimate, mcse, n, ratios) -> np.ndarray:
    """log r and log s, those that are estimated: the mode with their prior."""
    middle = -np.log(np.sqrt(at.min(axis=0) * at.max(axis=0)))[::-1][:ratios]

    def loss(logs: np.ndarray) -> float:
        return _linear(measure, at, estimate, mcse, n, logs)[2] + float(
            np.sum(((logs - middle) / PRIOR) ** 2)
        )

    if not ratios:
        return middle
    bounds = list(zip(middle - 3 * PRIOR, middle + 3 * PRIOR, strict=True))
    if ratios == 1:
        found = optimize.minimize_scalar(
            lambda log: loss(np.array([log])), bounds=bounds[0], method="bounded", options={"xatol": 1e-6}
        )
        return np.array([float(found.x)])
    found = optimize.minimize(
        loss,
        middle,
        bounds=bounds,
        method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-8, "maxiter": 400},
    )
    return found.x


def _weights(measure, eta, estimate, mcse, n) -> tuple[np.ndarray, float]:
    """Fisher information of each design's linear predictor, and Pearson's chi squared."""
    if not rises(measure):
        weight = (estimate / mcse) ** 2
        return weight, float(np.sum(weight * (np.log(estimate) - eta) ** 2))
    share = special.ndtr(eta)
    variance = np.maximum(share * (1.0 - share), 1e-12) / n
    weight = stats.norm.pdf(eta) ** 2 / variance
    return weight, float(np.sum((estimate - share) ** 2 / variance))


def _linear(measure, at, estimate, mcse, n, logs) -> tuple[np.ndarray, np.ndarray, float]:
    """b0 and b1 >= 0 at one r and s, centre and spread of the coordinate, and the deviance."""
    x = _coordinate(measure, at, logs)
    scale = np.array([x.mean(), x.std() or 1.0])
    u = (x - scale[0]) / scale[1]
    columns = np.stack([np.ones_like(u), u], axis=1)
    values = _solve(measure, columns, estimate, mcse, n)
    if not values[1] > 0.0:  # larger designs are not better: what is left of a monotone fit is a constant
        values = np.array([_solve(measure, columns[:, :1], estimate, mcse, n)[0], 0.0])
    return values, scale, _deviance(measure, columns @ values, estimate, mcse, n)


def _solve(measure, columns, estimate, mcse, n) -> np.ndarray:
    """Weighted least squares of logs; probit regression by Fisher scoring."""
    if not rises(measure):
        root = estimate / mcse
        return np.linalg.lstsq(columns * root[:, None], np.log(estimate) * root, rcond=None)[0]
    start = special.ndtri((n * estimate + 0.5) / (n + 1.0))
    values = np.linalg.lstsq(columns * np.sqrt(n)[:, None], start * np.sqrt(n), rcond=None)[0]
    for _ in range(50):
        eta = np.clip(columns @ values, -6.0, 6.0)
        density, share = stats.norm.pdf(eta), special.ndtr(eta)
        root = np.sqrt(n * density**2 / (share * (1.0 - share)))
        aim = eta + (estimate - share) / density
        new = np.linalg.lstsq(columns * root[:, None], aim * root, rcond=None)[0]
        done = np.abs(new - values).max() < 1e-10
        values = new
        if done:
            break
    return values


def _deviance(measure, eta, estimate, mcse, n) -> float:
    if not rises(measure):
        return _weights(measure, eta, estimate, mcse, n)[1]
    yes, no = n * estimate, n * (1.0 - estimate)
    log_likelihood = yes @ special.log_ndtr(eta) + no @ special.log_ndtr(-eta)
    return -2.0 * float(log_likelihood)
