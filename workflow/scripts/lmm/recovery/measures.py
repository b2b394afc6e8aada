"""Performance measures of a simulation study, each with its Monte Carlo standard error (MCSE).

See docs/statistics.md, section 6.

Every function takes arrays whose last axis runs over replicates; NaN is a replicate that is not used (a failed
fit, or one without the standard error or interval that the measure needs). It returns (estimate, mcse, n), each
without that axis: n is the number of replicates used. What cannot be computed from so few is NaN.

Sources: Morris, White & Crowther 2019, Stat. Med. 38, table 6 (formulas; all are theirs unless noted); Koehler,
Brown & Haneuse 2009, Am. Stat. 63 (jackknife). e: estimates, t: truth, s: standard errors, low and high: intervals.

A truth may differ between replicates (drawn from a prior, or a function of predictors drawn anew), so spread is
that of the errors e - t; with one truth that is the spread of e.
"""

import numpy as np

Measured = tuple[np.ndarray, np.ndarray, np.ndarray]


def count(x: np.ndarray) -> np.ndarray:
    """Replicates that are used.

    Parameters
    ----------
    x : (..., n) array
        NaN: not used.

    Returns
    -------
    (...) int array
    """
    return np.isfinite(x).sum(axis=-1)


def _total(x: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(x), x, 0.0).sum(axis=-1)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """top / bottom, NaN where bottom is not positive."""
    top, bottom = np.broadcast_arrays(np.asarray(top, float), np.asarray(bottom, float))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def _centred(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n, mean, and x minus its mean."""
    n = count(x)
    mean = _ratio(_total(x), n)
    return n, mean, x - mean[..., None]


def mean(x: np.ndarray) -> Measured:
    """Mean of x; MCSE sd / sqrt(n), NaN for n < 2.

    Parameters
    ----------
    x : (..., n) array
        NaN: not used.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    n, centre, off = _centred(x)
    return centre, np.sqrt(_ratio(_ratio(_total(off**2), n - 1), n)), n


def proportion(events: np.ndarray) -> Measured:
    """Share P of ones among zeros and ones; MCSE sqrt(P (1 - P) / n).

    Parameters
    ----------
    events : (..., n) array
        Zeros and ones; NaN: not used.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    n, share, _ = _centred(events)
    return share, np.sqrt(_ratio(share * (1 - share), n)), n


def error(e: np.ndarray, t: np.ndarray) -> np.ndarray:
    """e - t; the estimates themselves where there is no truth at all (their spread is still a measure).

    Parameters
    ----------
    e, t : (..., n) arrays
        Estimates and true values.

    Returns
    -------
    (..., n) array
    """
    return np.where(np.isfinite(t).any(axis=-1, keepdims=True), e - t, e)


def bias(e: np.ndarray, t: np.ndarray) -> Measured:
    """mean(e) - t; MCSE EmpSE / sqrt(n).

    Parameters
    ----------
    e, t : (..., n) arrays
        Estimates and true values.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    return mean(e - t)


def relative_bias(e: np.ndarray, t: np.ndarray) -> Measured:
    """mean((e - t) / t), not defined (NaN, n 0) at a truth of 0; MCSE sd / sqrt(n).

    Parameters
    ----------
    e, t : (..., n) arrays
        Estimates and true values.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean(np.where(t != 0, (e - t) / t, np.nan))


def jackknife(leave_one_out: np.ndarray) -> np.ndarray:
    """Standard error sqrt((n - 1) / n sum((x_i - mean(x))^2)) from the estimates without replicate i.

    Parameters
    ----------
    leave_one_out : (..., n) array
        The measure without each replicate.

    Returns
    -------
    (...) array
    """
    n, _, off = _centred(leave_one_out)
    return np.sqrt(_ratio((n - 1) * _total(off**2), n))


def empirical_se(e: np.ndarray, t: np.ndarray, piled: np.ndarray | bool = False) -> Measured:
    """EmpSE: standard deviation of the estimates (divisor n - 1).

    MCSE is EmpSE / sqrt(2 (n - 1)), which supposes normal estimates; where `piled` (estimates that pile up at a
    boundary, such as sd's at 0) the jackknife: leaving out i takes n / (n - 1) (e_i - mean)^2 from the sum of
    squares.

    Parameters
    ----------
    e, t : (..., n) arrays
        Estimates and true values.
    piled : bool or (...) bool array
        Whether estimates pile up at a boundary.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    n, _, off = _centred(error(e, t))
    squares = _total(off**2)
    spread = np.sqrt(_ratio(squares, n - 1))
    normal = _ratio(spread, np.sqrt(2.0 * np.maximum(n - 1, 0)))
    without = squares[..., None] - _ratio(n, n - 1)[..., None] * off**2
    loo = np.sqrt(_ratio(np.where(np.isfinite(off), np.maximum(without, 0), np.nan), (n - 2)[..., None]))
    return spread, np.where(piled, jackknife(loo), normal), n


def mse(e: np.ndarray, t: np.ndarray) -> Measured:
    """mean((e - t)^2); MCSE sqrt(sum(((e - t)^2 - MSE)^2) / (n (n - 1))).

    Parameters
    ----------
    e, t : (..., n) arrays
        Estimates and true values.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    return mean((e - t) ** 2)


def rmse(e: np.ndarray, t: np.ndarray) -> Measured:
    """sqrt(MSE); MCSE by the jackknife.

    Parameters
    ----------
    e, t : (..., n) arrays
        Estimates and true values.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    squares = (e - t) ** 2
    n, centre, _ = _centred(squares)
    without = np.maximum(_total(squares)[..., None] - squares, 0)
    return np.sqrt(centre), jackknife(np.sqrt(_ratio(without, (n - 1)[..., None]))), n


def _model_variance(s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """mean(s^2), var(s^2), n."""
    n, centre, off = _centred(s**2)
    return centre, _ratio(_total(off**2), n - 1), n


def model_se(s: np.ndarray) -> Measured:
    """ModSE: sqrt(mean(s^2)); MCSE sqrt(var(s^2) / (4 n ModSE^2)).

    Parameters
    ----------
    s : (..., n) array
        Standard errors.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    centre, variance, n = _model_variance(s)
    return np.sqrt(centre), np.sqrt(_ratio(variance, 4 * n * centre)), n


def model_se_error(e: np.ndarray, t: np.ndarray, s: np.ndarray, piled: np.ndarray | bool = False) -> Measured:
    """Relative error of ModSE in percent: 100 (ModSE / EmpSE - 1), both over the fits that have s.

    MCSE 100 (ModSE / EmpSE) sqrt(var(s^2) / (4 n ModSE^4) + 1 / (2 (n - 1))). The first term is the squared
    relative error of ModSE, so var(s^2) stands over ModSE to the *fourth* power; the second that of EmpSE, from
    the jackknife where `piled`.

    Parameters
    ----------
    e, t : (..., n) arrays
        Estimates and true values.
    s : (..., n) array
        Standard errors.
    piled : bool or (...) bool array
        Whether estimates pile up at a boundary.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    both = np.isfinite(e) & np.isfinite(s)
    s, e = np.where(both, s, np.nan), np.where(both, e, np.nan)
    centre, variance, n = _model_variance(s)
    spread, spread_mcse, _ = empirical_se(e, t, piled)
    ratio = _ratio(np.sqrt(centre), spread)
    mcse = 100 * ratio * np.sqrt(_ratio(variance, 4 * n * centre**2) + _ratio(spread_mcse, spread) ** 2)
    return 100 * (ratio - 1), mcse, n


def _within(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """1 where low <= value <= high, else 0; NaN where any of them is missing."""
    inside = (low <= value) & (value <= high)
    return np.where(np.isnan(low) | np.isnan(high) | np.isnan(value), np.nan, inside)


def coverage(t: np.ndarray, low: np.ndarray, high: np.ndarray) -> Measured:
    """Share of intervals that hold the truth.

    Parameters
    ----------
    t : (..., n) array
        True values.
    low, high : (..., n) arrays
        Limits of the intervals.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    return proportion(_within(t, low, high))


def bias_eliminated_coverage(e: np.ndarray, t: np.ndarray, low: np.ndarray, high: np.ndarray) -> Measured:
    """Share of intervals that hold mean(e) in the truth's place (t + bias where truths differ).

    Parameters
    ----------
    e, t : (..., n) arrays
        Estimates and true values.
    low, high : (..., n) arrays
        Limits of the intervals.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    there = np.isfinite(low) & np.isfinite(high)
    off, _, _ = mean(np.where(there, e - t, np.nan))
    return proportion(_within(t + off[..., None], low, high))


def power(low: np.ndarray, high: np.ndarray) -> Measured:
    """Share of intervals that exclude 0 (the type I error where the truth is 0).

    Parameters
    ----------
    low, high : (..., n) arrays
        Limits of the intervals.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    return proportion(1 - _within(np.zeros_like(low), low, high))


def width(low: np.ndarray, high: np.ndarray) -> Measured:
    """Mean width of the intervals; MCSE sd / sqrt(n).

    Parameters
    ----------
    low, high : (..., n) arrays
        Limits of the intervals.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    return mean(high - low)


def at_zero(e: np.ndarray) -> Measured:
    """Share of estimates that are exactly 0: a variance at the boundary.

    Parameters
    ----------
    e : (..., n) array
        Estimates.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    return proportion(np.where(np.isfinite(e), e == 0, np.nan))


def relative_precision(e: np.ndarray, reference: np.ndarray, t: np.ndarray) -> Measured:
    """Gain in precision over a reference engine in percent: 100 ((E_ref / E)^2 - 1), on the replicates of both.

    MCSE 200 (E_ref / E)^2 sqrt((1 - rho^2) / (n - 1)), rho the correlation of the two engines' errors over the
    same data sets.

    Parameters
    ----------
    e : (..., n) array
        Estimates.
    reference : (..., n) array
        Estimates of the reference engine.
    t : (..., n) array
        True values.

    Returns
    -------
    estimate, mcse, n
        (...) arrays.
    """
    both = np.isfinite(e) & np.isfinite(reference)
    n, _, ours = _centred(np.where(both, error(e, t), np.nan))
    _, _, theirs = _centred(np.where(both, error(reference, t), np.nan))
    ss_ours, ss_theirs = _total(ours**2), _total(theirs**2)
    ratio = _ratio(ss_theirs, ss_ours)
    rho2 = np.minimum(_ratio(_total(ours * theirs) ** 2, ss_ours * ss_theirs), 1.0)
    return 100 * (ratio - 1), 200 * ratio * np.sqrt(_ratio(1 - rho2, n - 1)), n
