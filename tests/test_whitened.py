"""NUTS in the coordinates of the posterior's own curvature, on a normal posterior whose every number is known."""

from dataclasses import replace

import numpy as np
import nutpie
import pymc as pm
import pytest

from lmm.engines.pymc.compile import compile_model
from lmm.engines.pymc.whitened import STEPS, Density, whitened

MEAN = np.array([3.0, -2.0])
ROOT = np.array([[0.05, 0.0], [0.95, 0.3]])  # sd's of 0.05 and 1, correlation 0.95
PRECISION = np.linalg.inv(ROOT @ ROOT.T)


@pytest.fixture(scope="module")
def compiled():
    """The model's data are of another normal: what is sampled is given as new data."""
    with pm.Model() as model:
        mean, precision = pm.Data("mean", np.zeros(2)), pm.Data("precision", np.eye(2))
        away = pm.math.stack([pm.Flat("a"), pm.Flat("b")]) - mean
        pm.Potential("density", -0.5 * away @ precision @ away)
    return compile_model(model, ["a", "b"]).with_data(mean=MEAN, precision=PRECISION)


@pytest.fixture(scope="module")
def white(compiled):
    return whitened(compiled, MEAN + ROOT @ np.array([0.2, -0.1]))


def test_the_posterior_is_standard_normal_in_its_own_coordinates(white):
    """log density -z'z / 2 and gradient -z: differences of the gradient are exact up to 1e-8 for a normal."""
    density = Density(white.compiled)
    points = np.array([[0.0, 0.0], [1.0, 0.0], [-0.5, 2.0]])
    (top, *values), (flat, *slopes) = density.slopes(points)
    np.testing.assert_allclose(flat, 0.0, atol=1e-6)
    for z, value, slope in zip(points[1:], values, slopes, strict=True):
        assert value - top == pytest.approx(-0.5 * z @ z, rel=1e-5)
        np.testing.assert_allclose(slope, -z, atol=1e-5)


def test_a_density_that_is_not_finite_is_told():
    class Fails:
        class compiled_logp_func:
            address = 0

        user_data = np.zeros(1)

    density = Density(Fails)
    density.call = lambda *_: 4
    assert density.slopes(np.zeros((1, 2)))[0] == -np.inf


def test_a_short_warm_up_samples_it(white):
    """In the model's own variables: means and covariance within 4 Monte Carlo errors of about 2,000 draws' worth."""
    tree = nutpie.sample(
        white.compiled, draws=1000, tune=100, chains=2, cores=1, seed=3, progress_bar=False, **STEPS
    )
    draws = np.stack([tree["posterior"][name].to_numpy().ravel() for name in ("a", "b")])
    away = np.linalg.solve(ROOT, draws - MEAN[:, None])  # standard normal
    assert np.abs(away.mean(axis=1)).max() < 4.0 / np.sqrt(2000)
    assert np.abs(np.cov(away) - np.eye(2)).max() < 4.0 * np.sqrt(2.0 / 1000)
    assert not tree["sample_stats"]["diverging"].to_numpy().any()
    # about three gradients a draw: the metric and the step were right
    assert tree["sample_stats"]["n_steps"].to_numpy().mean() < 4.0


def test_chains_start_apart_from_the_mode_and_from_one_another(white):
    starts = np.array([white.compiled.initial_point_func(seed) for seed in range(200)])
    assert np.all(np.abs(starts) <= 2.0)
    assert starts.std(axis=0).min() > 1.0  # 1.15, with a standard error of 0.04
    again = replace(white.compiled).initial_point_func(7)
    assert np.array_equal(again, white.compiled.initial_point_func(7))
