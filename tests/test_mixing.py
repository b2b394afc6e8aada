"""R-hat, effective sample sizes and Pareto smoothing against ArviZ's, which goes through quantities one by one."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from lmm.engines.pymc import mixing
from lmm.engines.pymc.pareto import generalised_pareto, smoothed


def chains(correlation: float, shape: tuple[int, ...]) -> np.ndarray:
    """Autoregressive draws; the first quantity has ties, and a chain of the last lies elsewhere."""
    noise = np.random.default_rng(int(100 * correlation) + 100).standard_normal(shape)
    draws = noise.copy()
    for i in range(1, shape[2]):
        draws[:, :, i] = correlation * draws[:, :, i - 1] + noise[:, :, i]
    draws[0] = np.round(draws[0])
    draws[-1, -1] += 0.3
    return draws


@pytest.mark.parametrize("shape", [(4, 2, 1000), (3, 4, 101), (2, 1, 50)])
@pytest.mark.parametrize("correlation", [-0.6, 0.0, 0.5, 0.99])
def test_the_measures_are_arvizs(correlation, shape):
    draws, axes = chains(correlation, shape), {"chain_axis": 1, "draw_axis": 2}
    # sums of a thousand products, here and by a Fourier transform there: rounding of 1e-13, and differences of sums
    same = {"rtol": 1e-9, "atol": 0}
    np.testing.assert_allclose(mixing.r_hat(draws), array_stats.rhat(draws, **axes), **same)
    np.testing.assert_allclose(mixing.mean(draws), array_stats.ess(draws, method="mean", **axes), **same)
    np.testing.assert_allclose(mixing.bulk(draws), array_stats.ess(draws, method="bulk", **axes), **same)
    tail = array_stats.ess(draws, method="tail", prob=(0.05, 0.95), **axes)
    np.testing.assert_allclose(mixing.tail(draws, (0.05, 0.95)), tail, **same)


def test_what_cannot_be_judged_is_no_number():
    draws = np.random.default_rng(1).standard_normal((2, 2, 40))
    assert np.isnan(mixing.r_hat(draws[:, :1])).all()
    assert np.isnan(mixing.r_hat(draws[:, :, :3])).all()
    assert np.isnan(mixing.bulk(draws[:, :, :3])).all()
    draws[1, 0, 3] = np.nan
    found = mixing.mean(draws)
    assert np.isfinite(found[0]) and np.isnan(found[1])
    assert mixing.mean(np.full((1, 2, 40), 3.0))[0] == 80.0


@pytest.mark.parametrize("number", [60, 225, 1000])
@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
def test_smoothed_weights_are_arvizs(number, spread):
    ratios = spread * np.random.default_rng(number).standard_normal(number) - 700.0
    weights, k = smoothed(ratios)
    logs, expected = array_stats.psislw(-ratios)
    assert k == pytest.approx(float(expected), rel=1e-9)  # of sums of 120 terms
    np.testing.assert_allclose(weights, np.exp(logs), rtol=1e-9, atol=1e-300)


def test_few_weights_and_equal_ones_have_no_fit():
    few = np.where(np.arange(200) < 49, 0.0, np.nan)
    weights, k = smoothed(few)
    assert k == np.inf and np.all(weights == 1.0 / 200)
    steps = np.where(np.arange(200) < 20, 0.0, -2.0)  # 20 equal weights above all others
    assert smoothed(steps)[1] == np.inf
    known = np.append(np.random.default_rng(2).standard_normal(100), np.nan)
    assert smoothed(known)[0][-1] == 0.0


def test_the_fit_of_the_tail_finds_shape_and_scale():
    """10,000 quantiles of a generalised Pareto distribution with k = 0.3 and scale 2: the prior moves k by 2e-4."""
    below = (np.arange(10_000) + 0.5) / 10_000
    k, scale = generalised_pareto(2.0 * np.expm1(-0.3 * np.log1p(-below)) / 0.3)
    # quantiles vary less than draws, whose standard error of k is 0.013
    assert k == pytest.approx(0.3, abs=0.01)
    assert scale == pytest.approx(2.0, abs=0.02)
