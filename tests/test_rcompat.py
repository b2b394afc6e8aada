"""R's random numbers against the data that R made, and its normal quantiles against scipy's."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from lmm.simulation.r_random import RRandom, qnorm

COFFEE = Path(__file__).parent / "reference" / "coffee.csv"


def test_the_posts_draws():
    """coffee.csv was made by R: b0, b1, x, group, noise in this order after set.seed(1)."""
    coffee = pd.read_csv(COFFEE)
    random = RRandom(1)
    b0, b1, x = random.norm(100, 0, 10), random.norm(100), random.norm(1000)
    group, noise = random.sample(100, 1000), random.norm(1000)
    assert (group == coffee.group).all()
    # the file has 15 significant digits of numbers up to 40: 1e-13
    np.testing.assert_allclose(b0[group - 1], coffee.b0_ran, rtol=0, atol=1e-13)
    np.testing.assert_allclose(b1[group - 1], coffee.b1_ran, rtol=0, atol=1e-13)
    np.testing.assert_allclose(x, coffee.x, rtol=0, atol=1e-13)
    y = 3 + b0[group - 1] + (0.5 + b1[group - 1]) * x + noise
    np.testing.assert_allclose(y, coffee.y, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("seed", "first"),
    [  # what R prints for `set.seed(seed); runif(3)`, to its 7 digits
        (1, [0.2655087, 0.3721239, 0.5728534]),
        (42, [0.9148060, 0.9370754, 0.2861395]),
        (123, [0.2875775, 0.7883051, 0.4089769]),
    ],
)
def test_runif(seed, first):
    np.testing.assert_allclose(RRandom(seed).unif(3), first, rtol=0, atol=5e-8)


def test_sample_as_r_prints_it():
    """R >= 3.6: `set.seed(123); sample(1:10, 10, TRUE)`, and without TRUE, whose loop shrinks k."""
    assert RRandom(123).sample(10, 10).tolist() == [3, 3, 10, 2, 6, 5, 4, 6, 9, 10]
    random, left, drawn = RRandom(123), list(range(1, 11)), []
    while left:
        j = int(random.sample(len(left), 1)[0]) - 1
        drawn.append(left[j])
        left[j] = left[-1]
        left.pop()
    assert drawn == [3, 10, 2, 8, 6, 9, 1, 7, 5, 4]


@pytest.mark.parametrize("k", [1, 2, 100, 128, 65536, 65537, 100_000])
def test_sample_one_at_a_time_is_the_same(k):
    """Rejection in batches must use up exactly the uniforms that R's loop does."""
    whole, single = RRandom(7), RRandom(7)
    drawn = whole.sample(k, 300)
    assert drawn.tolist() == [int(single.sample(k, 1)[0]) for _ in range(300)]
    assert drawn.min() >= 1
    assert drawn.max() <= k
    assert whole.unif(1) == single.unif(1)


def test_sample_is_uniform():
    """Chi-squared of 100,000 draws from 10: mean 9, its 1 - 1e-9 quantile is 60; the seed is fixed."""
    counts = np.bincount(RRandom(3).sample(10, 100_000))[1:]
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 60


def test_qnorm():
    """AS 241 promises 1e-16 relative; scipy's own error and the last bits of the ratio leave 1e-14."""
    p = np.concatenate([np.random.default_rng(0).random(10_000), 10.0 ** -np.arange(1, 300)])
    np.testing.assert_allclose(qnorm(p), ndtri(p), rtol=1e-14, atol=1e-16)


def test_from_sequence_differs_by_address():
    one, two = (np.random.SeedSequence(1, spawn_key=(i,)) for i in range(2))
    assert (RRandom.from_sequence(one).norm(5) == RRandom.from_sequence(one).norm(5)).all()
    assert not (RRandom.from_sequence(one).norm(5) == RRandom.from_sequence(two).norm(5)).any()
