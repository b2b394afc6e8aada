"""A search's replicates and curve where replicates have no noise: which designs are drawn, and what the fit says."""

import numpy as np
import pytest
from scipy import optimize, special, stats

from lmm.recovery.curve import FITS, fit, size
from lmm.recovery.search import Measured, Space, search


class Exact:
    """Replicates without noise: the measure of a design, with the error of so many replicates."""

    def __init__(self, measure):
        self.measure, self.drawn, self.calls = measure, {}, []

    def __call__(self, at, count):
        self.calls.append((at, count))
        n = self.drawn[at] = self.drawn.get(at, 0) + count
        share = float(self.measure(*at))
        return Measured(share, np.sqrt(share * (1 - share) / n), n, n)


def power(n, m=1):
    return special.ndtr(0.35 * np.sqrt(n) - 1.0)


DOUBLED = [((n, 1), 250) for n in (4, 8, 16, 32)]
# 28 groups are the fewest with a power of 0.8, and 24 and 32 are 15 % of them away
AROUND = [(28, 1), (24, 1), (32, 1)]


def test_designs_are_doubled_and_then_drawn_on_both_sides_of_the_answer():
    """1,000 replicates; a third of 500 each; of a half of the 1,498 before; all of them are then more than 2,000."""
    drawn = Exact(power)
    found = search(Space.between((4, 200), (1, 1)), drawn, "power", 0.8, tolerance=50)
    assert drawn.calls == DOUBLED + [(at, 166) for at in AROUND] + [(at, 249) for at in AROUND]
    assert (found.status, found.best, found.replicates) == ("reached", (28, 1), 2245)
    assert found.low < 28 < found.high and found.exact
    assert power(27) < 0.8 < power(28)


def test_a_search_ends_at_its_most_replicates():
    drawn = Exact(power)
    found = search(Space.between((4, 200), (1, 1)), drawn, "power", 0.8, tolerance=0, at_most=3000)
    # of 2,245 replicates a half is more than the 755 that are left; then 2 are, and no round is empty
    assert drawn.calls[10:] == [(at, 251) for at in AROUND] + [(at, 1) for at in AROUND]
    assert found.replicates == 3001 and not found.exact


def test_known_designs_are_drawn_first():
    drawn = Exact(power)
    search(Space.between((4, 200), (1, 1)), drawn, "power", 0.8, tolerance=50, known=[((20, 1), 700)])
    assert drawn.calls[:5] == [((20, 1), 700), *DOUBLED]


def test_doubling_ends_at_the_bound_and_the_largest_design_is_drawn_where_none_is_enough():
    drawn = Exact(lambda n, m: 0.5 * power(n))
    found = search(Space.between((4, 30), (1, 1)), drawn, "power", 0.8)
    assert drawn.calls[:4] == [((n, 1), 250) for n in (4, 8, 16, 30)]
    assert drawn.calls[4:] == [((30, 1), count) for count in (500, 750, 1125)]  # until it has 2,000
    assert (found.status, found.best, found.low, found.high) == ("not reached", (30, 1), None, None)


def test_rows_per_group_alone_are_searched_in_their_own_dimension():
    drawn = Exact(lambda n, m: power(m))
    found = search(Space.between((5, 5), (4, 200)), drawn, "power", 0.8, tolerance=200)
    assert drawn.calls[:4] == [((5, m), 250) for m in (4, 8, 16, 32)]
    assert found.best[0] == 5 and abs(found.best[1] - 28) <= 1  # one curve with a ratio: not quite this one
    assert found.low <= found.best[1] <= found.high


def test_of_two_dimensions_both_sides_of_both_are_drawn():
    """Numbers of rows 4 and 25 and their geometric mean 10 at first; then 40 % fewer and more rows than the best."""

    def both(n, m):
        return power(n / (1 + 6 / m))

    space = Space.between((2, 400), (4, 25), lambda n, m: 30 * n + n * m)
    drawn = Exact(both)
    search(space, drawn, "power", 0.8, at_most=8000)
    doubled = [call for call in drawn.calls if call[1] == 250]
    groups = {m: next(n for n in 2 * 2 ** np.arange(9) if both(n, m) >= 0.8) for m in (4, 10, 25)}
    assert doubled == [((n, m), 250) for m in (4, 10, 25) for n in 2 * 2 ** np.arange(9) if n <= groups[m]]
    n, m = drawn.calls[len(doubled)][0]
    around = [at for at, _ in drawn.calls[len(doubled) : len(doubled) + 5]]
    aside = max(round(0.15 * n), 1)
    assert around[:3] == [(n, m), (n - aside, m), (n + aside, m)]
    for (groups_there, rows), share in zip(around[3:], (0.6, 1.4), strict=True):
        assert rows == min(max(m + round((share - 1) * m), 4), 25)
        assert abs(groups_there - next(k for k in range(2, 400) if both(k, rows) >= 0.8)) <= 1


@pytest.mark.parametrize("measure", ["power", "coverage", "rmse", "interval_width"])
def test_a_curve_finds_its_own_parameters(measure):
    """Values without noise of the curve itself: its parameters, band and goodness of fit in closed form."""
    at = np.array([[n, 4] for n in (20, 24, 28, 32, 36)])
    n = np.full(5, 1000)
    t = np.sqrt(at.prod(axis=1))
    x = {"power": t, "coverage": -1 / t**2}.get(measure, -np.log(t))
    slope = {"power": 0.2, "coverage": 30.0}.get(measure, 1.1)
    eta = {"power": -1.0, "coverage": 1.9}.get(measure, 2.0) + slope * x
    rises = measure in ("power", "coverage")
    value = special.ndtr(eta) if rises else np.exp(eta)
    mcse = np.sqrt(value * (1 - value) / n) if rises else 0.02 * value
    curve = fit(measure, at, value, mcse, n, 0)
    found, low, high = curve.value(at)
    np.testing.assert_allclose(found, value, rtol=1e-6)
    assert curve.chi2 == pytest.approx(0.0, abs=1e-6) and curve.df == 3 and curve.p == pytest.approx(1.0)
    assert curve.values[1] / curve.scale[1] == pytest.approx(slope, rel=1e-6)
    # Fisher information of probit regression, or of logs with their standard errors
    weight = n * stats.norm.pdf(eta) ** 2 / (value * (1 - value)) if rises else np.full(5, 0.02**-2)
    X = np.column_stack([np.ones(5), x])
    spread = np.sqrt(np.einsum("ka,ab,kb->k", X, np.linalg.inv(X.T @ (X * weight[:, None])), X))
    back = special.ndtr if rises else np.exp
    np.testing.assert_allclose(low, back(eta - 1.959964 * spread), rtol=1e-5)
    np.testing.assert_allclose(high, back(eta + 1.959964 * spread), rtol=1e-5)


def test_goodness_of_fit_is_pearsons():
    at, n = np.array([[k, 1] for k in (10, 12, 14, 16)]), np.full(4, 400)
    estimate = np.array([0.5, 0.62, 0.6, 0.75])
    curve = fit("power", at, estimate, np.sqrt(estimate * (1 - estimate) / n), n, 0)
    share = curve.value(at)[0]
    chi2 = np.sum(400 * (estimate - share) ** 2 / (share * (1 - share)))
    assert (curve.chi2, curve.df) == (pytest.approx(chi2, rel=1e-9), 2)
    assert curve.p == pytest.approx(stats.chi2.sf(chi2, 2), rel=1e-9)
    # the score equations of maximum likelihood: residuals weigh to nothing, along the size too
    weight = stats.norm.pdf(special.ndtri(share)) / (share * (1 - share))
    for column in (np.ones(4), np.sqrt(at[:, 0])):
        assert abs(np.sum(weight * (estimate - share) * column)) < 1e-8


def test_the_ratio_of_variances_is_found_and_a_prior_holds_it_where_rows_hardly_vary():
    r, n = 0.25, np.full(9, 20_000)
    at = np.array([[g, m] for g in (20, 28, 36) for m in (2, 8, 30)])
    t = np.sqrt(at.prod(axis=1) / (1 + r * at[:, 1]))
    np.testing.assert_allclose(size(at, np.log([r])), t, rtol=1e-12)
    value = special.ndtr(0.25 * t - 1.5)
    curve = fit("power", at, value, np.sqrt(value * (1 - value) / n), n, 1)
    assert curve.values[2] == pytest.approx(np.log(r), abs=0.05)  # a prior of sd 2 pulls towards 1 / 8
    assert curve.df == 6
    few = fit("power", at[:3], value[:3], np.sqrt(value[:3] * (1 - value[:3])), np.full(3, 2), 1)
    assert few.values[2] == pytest.approx(-np.log(np.sqrt(2 * 30)), abs=1.0)
    assert np.sqrt(few.covariance[2, 2]) == pytest.approx(2.0, rel=0.2)


def test_the_ratios_of_two_factors_are_found():
    """n levels of one factor and m of another: the variance is a / n + b / m + c / (n m), of t^2 1 / c = 1."""
    r, s, n = 0.1, 0.2, np.full(16, 200_000)
    at = np.array([[g, m] for g in (5, 15, 40, 120) for m in (4, 12, 30, 90)])
    t = np.sqrt(1 / (s / at[:, 1] + r / at[:, 0] + 1 / at.prod(axis=1)))
    np.testing.assert_allclose(size(at, np.log([r, s])), t, rtol=1e-12)
    value = special.ndtr(0.25 * t - 1.0)
    curve = fit("power", at, value, np.sqrt(value * (1 - value) / n), n, 2)
    assert curve.values[2:] == pytest.approx(
        np.log([r, s]), abs=0.05
    )  # the priors pull towards 1 / 19 and 1 / 24
    np.testing.assert_allclose(curve.value(at)[0], value, atol=0.002)


@pytest.mark.parametrize("measure", ["power", "rmse"])
def test_the_ratio_is_the_most_likely_one_with_its_prior(measure):
    """-2 log likelihood plus the square of log r from its middle over 2, minimised over all parameters at once."""
    at = np.array([[g, m] for g in (20, 28, 36) for m in (2, 8, 30)])
    n, rng = np.full(9, 60), np.random.default_rng(4)
    t = np.sqrt(at.prod(axis=1) / (1 + 0.5 * at[:, 1]))
    if measure == "power":
        value = rng.binomial(60, special.ndtr(0.25 * t - 1.0)) / 60
        mcse = np.sqrt(value * (1 - value) / n)
    else:
        value, mcse = np.exp(1.0 - 1.1 * np.log(t) + 0.1 * rng.normal(size=9)), np.full(9, 0.02)
    curve = fit(measure, at, value, mcse, n, 1)

    def loss(parameters):
        a, b, log_ratio = parameters
        own = size(at, np.array([log_ratio]))
        if measure == "power":
            eta = a + b * own / 5
            fitted = -2 * n @ (value * special.log_ndtr(eta) + (1 - value) * special.log_ndtr(-eta))
        else:
            fitted = np.sum(((np.log(value) - a + b * np.log(own)) * value / mcse) ** 2)
        return fitted + ((log_ratio + np.log(np.sqrt(60))) / 2) ** 2

    best = optimize.minimize(
        loss, [0.0, 1.0, -2.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10}
    )
    # the search over log r ends at 1e-6, and its minimum is flat: an error of the square root of rounding
    assert curve.values[2] == pytest.approx(best.x[2], abs=1e-3)


def test_a_share_of_all_or_none_is_moved_by_half_an_event():
    at, n = np.array([[10, 1], [20, 1], [30, 1]]), np.full(3, 50)
    curves = [
        fit("power", at, np.array(estimate), np.full(3, 0.01), n, 0)
        for estimate in ([0.0, 0.5, 1.0], [0.5 / 51, 0.5, 50.5 / 51])
    ]
    np.testing.assert_allclose(curves[0].values, curves[1].values, rtol=1e-9)


def test_designs_far_from_the_answer_are_left_out_where_the_rest_fits():
    """t is 1.6 times as large at 2.56 times as many groups; the first window with a fit is taken."""
    at = np.array([[n, 1] for n in (10, 30, 39, 50, 60, 76, 78)])
    n = np.full(7, 100_000)
    bent = special.ndtr(0.3 * np.sqrt(at[:, 0]) - 1.5 + np.array([0.5, 0, 0, 0, 0, 0, -0.5]))
    curve = fit("power", at, bent, np.sqrt(bent * (1 - bent) / n), n, 0, np.array([30, 1]))
    assert curve.used.tolist() == [False, True, True, True, True, True, False]
    assert curve.p > FITS
    # a misfit within every window widens the band instead: by the root of chi squared over its degrees of freedom
    steep = special.ndtr(0.3 * np.sqrt(at[:, 0]) - 1.5 + np.array([0, 0.2, -0.2, 0.2, -0.2, 0.2, -0.2]))
    curve = fit("power", at, steep, np.sqrt(steep * (1 - steep) / n), n, 0, np.array([39, 1]))
    own = fit("power", at[curve.used], steep[curve.used], np.full(curve.used.sum(), 0.01), n[curve.used], 0)
    np.testing.assert_allclose(curve.covariance, own.covariance * own.chi2 / own.df, rtol=1e-6)
