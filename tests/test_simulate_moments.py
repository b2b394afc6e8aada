"""Moments drawn without rows, against rows: the same distribution, and the same numbers where none are drawn."""

import numpy as np
import pytest
from scipy import stats

from lmm.engines import reml
from lmm.model.terms import Terms
from lmm.moments import accumulate
from lmm.simulation import moments as simulate_moments

# Each test of a distribution has a fixed seed, so that it passes or fails for good; LEVEL is the chance that a
# right implementation would have been unlucky with its seed, all comparisons of a test together.
LEVEL = 1e-4
TERMS = Terms.one(("Intercept", "x", "z"), (("Intercept", "x"),), "g", ("Intercept", "x", "z"))
BETA = np.array([3.0, 0.5, -2.0])


def unbalanced(seed=3):
    """Rows of an awkward design: a group of one row, one of two, one where x is constant, z between groups."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(6), [1, 2, 4, 5, 7, 9])
    x = rng.normal(40.0, 3.0, len(codes))
    x[codes == 2] = 41.0
    z = rng.normal(size=6)[codes]
    W = np.column_stack([np.ones(len(codes)), x, z])
    return codes, W, np.arange(6).astype(str).astype(object)


def design(codes, W, levels, whole=True):
    rng = np.random.default_rng(0)
    return accumulate.compute(TERMS, rng.normal(5.0, 2.0, len(W)), W, codes, levels, whole)


def summary(moments):
    """Numbers that see every part of y's moments, in original units."""
    least = moments.ols(TERMS.fixed)
    basis, m1 = moments.basis, len(moments.basis.pilot)
    # of y itself, not of y*: the bases differ between draws
    sums = moments.gram[:, :2, -1] * basis.y_scale + moments.gram[:, :2, :m1] @ basis.pilot
    return np.concatenate([least.beta, [least.rss, least.tss, moments.y_mean], sums.ravel()])


@pytest.mark.parametrize("same_basis", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_without_errors_moments_are_those_of_the_rows(same_basis, whole):
    codes, W, levels = unbalanced()
    effects = np.random.default_rng(1).normal(size=(6, 2)) * [2.0, 0.3]
    y = W @ BETA + effects[codes, 0] + effects[codes, 1] * W[:, 1]
    rows = accumulate.compute(TERMS, y, W, codes, levels)
    made = simulate_moments.prepare(design(codes, W, levels, whole))
    rng = np.random.default_rng(2)
    drawn = simulate_moments.draw(rng, made, TERMS.fixed, BETA, TERMS.random, effects, 0.0, same_basis)
    # sums of 28 rows with numbers near 50 and their squares: rounding of 1e-12, relative
    np.testing.assert_allclose(summary(drawn), summary(rows), rtol=1e-9, atol=1e-9)
    assert drawn.n_rows == len(y)


def rows_and_moments(draws=2000):
    codes, W, levels = unbalanced()
    made = simulate_moments.prepare(design(codes, W, levels))
    sd, sigma = np.array([2.0, 0.3]), 1.5
    found = {"rows": [], "moments": []}
    for k in range(draws):
        rng = np.random.default_rng([1, k])
        effects = rng.normal(size=(6, 2)) * sd
        noise = sigma * rng.standard_normal(len(W))
        y = W @ BETA + effects[codes, 0] + effects[codes, 1] * W[:, 1] + noise
        found["rows"].append(summary(accumulate.compute(TERMS, y, W, codes, levels)))
        rng = np.random.default_rng([2, k])
        effects = rng.normal(size=(6, 2)) * sd
        drawn = simulate_moments.draw(rng, made, TERMS.fixed, BETA, TERMS.random, effects, sigma)
        found["moments"].append(summary(drawn))
    return np.array(found["rows"]), np.array(found["moments"])


def test_the_two_ways_have_the_same_distribution():
    rows, moments = rows_and_moments()
    p = [stats.ks_2samp(a, b).pvalue for a, b in zip(rows.T, moments.T, strict=True)]
    assert min(p) > LEVEL / len(p), p
    # and jointly: the same correlations; Fisher's z of each pair, whose difference has variance 2 / (n - 3)
    pairs = np.triu_indices(rows.shape[1], 1)
    z = [np.arctanh(np.clip(np.corrcoef(values.T)[pairs], -1 + 1e-9, 1 - 1e-9)) for values in (rows, moments)]
    # pairs that are linear functions of each other have no such variance
    free = np.abs(z[0]) < 3.0
    worst = np.abs(z[0] - z[1])[free].max() / np.sqrt(2.0 / (len(rows) - 3))
    assert worst < stats.norm.isf(LEVEL / 2 / free.sum())


def test_errors_alone_have_the_residual_sum_of_squares_of_a_chi_square():
    codes, W, levels = unbalanced()
    made = simulate_moments.prepare(design(codes, W, levels))
    none, sigma = np.zeros((6, 2)), 0.7
    rss = [
        simulate_moments.draw(np.random.default_rng(k), made, TERMS.fixed, BETA, TERMS.random, none, sigma)
        .ols(TERMS.fixed)
        .rss
        for k in range(2000)
    ]
    chi2 = stats.chi2(len(W) - 3, scale=sigma**2)
    assert stats.kstest(rss, chi2.cdf).pvalue > LEVEL


def test_a_design_as_large_as_one_likes_costs_what_its_groups_cost():
    """The same Gram matrices a thousandfold are a design of a thousand times the rows."""
    codes, W, levels = unbalanced()
    small = design(codes, W, levels)
    k = 10**6
    large = type(small)("g", levels, small.n * k, small.gram * k, small.total * k, small.basis)
    made = simulate_moments.prepare(large)
    effects = np.random.default_rng(1).normal(size=(6, 2))
    rng = np.random.default_rng(2)
    drawn = simulate_moments.draw(rng, made, TERMS.fixed, BETA, TERMS.random, effects, 1.5)
    _, best = reml.fit(drawn, TERMS.fixed, TERMS.blocks, profile=False, ranef=False)
    # 28 million rows: sigma's standard error is sigma / sqrt(2 N) = 2e-4
    assert best.sigma == pytest.approx(1.5, abs=5 * 1.5 / np.sqrt(2 * 28 * k))


def test_data_sets_put_together_have_both_sums():
    codes, W, levels = unbalanced()
    first = design(codes, W, levels)
    made = simulate_moments.prepare(first)
    rng = np.random.default_rng(2)
    effects = rng.normal(size=(6, 2))
    second = simulate_moments.draw(rng, made, TERMS.fixed, BETA, TERMS.random, effects, 1.0, same_basis=True)
    both = simulate_moments.together(first, second)
    assert both.n_groups == 12
    assert len(set(both.levels)) == 12
    assert both.y_mean == pytest.approx((first.y_mean + second.y_mean) / 2, rel=1e-12)
    other = simulate_moments.draw(rng, made, TERMS.fixed, BETA, TERMS.random, effects, 1.0)
    with pytest.raises(ValueError, match="different bases"):
        simulate_moments.together(first, other)


@pytest.mark.parametrize("same_basis", [False, True])
def test_triangular_draws_are_the_same_draws(monkeypatch, same_basis):
    """Where sums of squares have the digits, both forms are the same numbers."""
    codes, W, levels = unbalanced()
    made = simulate_moments.prepare(design(codes, W, levels, whole=False))
    effects = np.random.default_rng(1).normal(size=(6, 2)) * [20.0, 0.3]
    drawn = []
    for lost in (0.0, np.inf):
        monkeypatch.setattr(simulate_moments, "LOST", lost)
        rng = np.random.default_rng(2)
        drawn.append(
            simulate_moments.draw(rng, made, TERMS.fixed, BETA, TERMS.random, effects, 1.5, same_basis)
        )
    plain, triangular = drawn
    assert (plain.factor is None, triangular.factor is None) == (True, False)
    np.testing.assert_allclose(triangular.gram, plain.gram, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(triangular.total, plain.total, rtol=1e-9, atol=1e-9)
    together = [simulate_moments.together(own, own) for own in drawn]
    np.testing.assert_allclose(together[1].total, together[0].total, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(together[1].gram, together[0].gram, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("own", [False, True])
def test_groups_that_differ_ten_million_times_as_much_as_rows_are_drawn_with_their_digits(own):
    """300 draws of (1 | g): between groups and within they are chi squares, of the sd's that they are drawn with."""
    codes, W, levels = unbalanced()
    terms = Terms.one(("Intercept", "x"), (("Intercept",),), "g", ("Intercept", "x"))
    y = W[:, 1] + np.random.default_rng(0).normal(size=len(W))
    if own:  # of a user's data that have such groups themselves
        y = y + 3e7 * np.random.default_rng(1).normal(size=6)[codes]
    made = simulate_moments.prepare(accumulate.compute(terms, y, W[:, :2], codes, levels))
    residual = []
    for k in range(300):
        rng = np.random.default_rng([3, k])
        effects = 1e7 * rng.normal(size=(6, 1))
        drawn = simulate_moments.draw(rng, made, terms.fixed, BETA[:2], terms.random, effects, 1.5)
        fit, best = reml.fit(drawn, terms.fixed, terms.blocks, profile=False, ranef=False)
        assert fit.diagnostics.status == "ok", fit.diagnostics.message
        residual.append(best.sigma**2 / 1.5**2)
        if k == 0:
            twice = simulate_moments.together(drawn, drawn)
            again = reml.fit(twice, terms.fixed, terms.blocks, profile=False, ranef=False)[1]
            # the same rows twice: the sum of squares doubles, and 28 - 6 - 1 degrees of freedom become 43
            assert again.sigma**2 == pytest.approx(best.sigma**2 * 2 * 21 / 43, rel=1e-6)
    # 28 rows less 6 group means and a slope
    assert stats.kstest(np.array(residual) * 21, stats.chi2(21).cdf).pvalue > LEVEL
