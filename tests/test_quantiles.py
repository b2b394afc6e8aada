"""Quantiles of draws by sorting once."""

import numpy as np

from lmm.engines.pymc.order import quantiles


def test_quantiles_are_numpys_with_both_ends():
    """numpy's default rule; the largest value is the quantile of 1, and close to it below."""
    values = np.random.default_rng(3).normal(size=(4, 3, 57))
    probs = [0.0, 0.025, 0.5, 0.975, 0.99, 1.0]
    np.testing.assert_allclose(
        quantiles(values, probs), np.quantile(values, probs, axis=-1), rtol=1e-12, atol=1e-15
    )


def test_a_draw_that_is_not_known_makes_its_row_unknown():
    values = np.arange(6.0).reshape(2, 3)
    values[1, 1] = np.nan
    assert np.isnan(quantiles(values, [0.0, 0.5])).tolist() == [[False, True], [False, True]]
