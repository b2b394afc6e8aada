"""The kernel against dense algebra on all rows, and its derivatives against differences."""

import numpy as np
import pytest

import problems
from lmm.inference.optimum import optimum
from lmm.likelihood.by_group import by_group, log_densities
from lmm.likelihood.conditional import conditional
from lmm.likelihood.grouped import differentiate, eliminate, reml_terms
from lmm.likelihood.grouped_pairs import differentiate_pairs, eliminate_pairs, lanes_of_pairs
from lmm.likelihood.lanes import LANES, WIDE, pack, unpack
from lmm.likelihood.marginal import log_density, pack_problem
from lmm.likelihood.problem import problem_of
from lmm.model.terms import Terms
from lmm.moments.accumulate import compute

CASES = {
    # sizes, fixed, random, blocks: one row in a group, no intercept, more random than fixed, three effects
    "intercept": ([3, 1, 4, 2], ("Intercept",), ("Intercept",), None),
    "slope": ([3, 1, 5, 2, 7], ("Intercept", "x"), ("Intercept", "x"), None),
    "independent": ([3, 1, 5, 2, 7], ("Intercept", "x"), ("Intercept", "x"), (("Intercept",), ("x",))),
    "slope_only": ([3, 4, 5, 6], ("Intercept", "x"), ("x",), None),
    "no_fixed_slope": ([3, 4, 5, 6], ("Intercept",), ("Intercept", "x"), None),
    "no_intercept": ([3, 4, 5, 6], ("x",), ("x", "z"), None),
    "three": ([4, 5, 6, 7, 8, 3], ("Intercept", "x", "z", "w"), ("Intercept", "x", "z"), None),
    "many": ([2] * 141, ("Intercept", "x"), ("Intercept", "x"), None),  # three blocks, the last not full
}


def case(name):
    """Rows and moments of a case, and a random D and sigma to evaluate at."""
    sizes, fixed, random, blocks = CASES[name]
    rng = np.random.default_rng(5)
    q = len(random)
    data = problems.simulated(
        rng, sizes, fixed, random, np.eye(q), 0.7, np.arange(1.0, len(fixed) + 1), blocks
    )
    root = np.tril(rng.normal(size=(q, q)))
    if blocks:
        root = np.diag(np.diag(root))
    return data, compute(*data), root, 0.8


@pytest.mark.parametrize(
    ("n_groups", "blocks", "lanes"),
    [(1, 1, 4), (8, 1, 8), (LANES, 1, LANES), (LANES + 3, 2, 36), (10 * LANES - 1, 10, LANES)],
)
def test_packing_round_trips_and_pads_with_few_empty_groups(n_groups, blocks, lanes):
    gram = np.random.default_rng(1).normal(size=(n_groups, 2, 5))
    packed = pack(gram)
    assert packed.shape == (blocks, 2, 5, lanes)
    np.testing.assert_array_equal(unpack(packed, n_groups), gram)
    assert not packed[-1, :, :, n_groups - (blocks - 1) * lanes :].any()


@pytest.mark.parametrize("name", CASES)
def test_log_density_is_the_dense_one(name):
    (terms, y, W, codes, _), moments, root, sigma = case(name)
    problem = problem_of(moments, terms.fixed, terms.blocks)
    value = log_density(pack_problem(problem), root, sigma)[0]
    criterion = problems.dense(terms, y, W, codes, root @ root.T, sigma)[0]
    # both are sums of tens of terms of order 10 in double precision
    assert -2.0 * value == pytest.approx(criterion, abs=1e-9)


@pytest.mark.parametrize("name", ["slope", "three", "no_intercept"])
def test_log_density_with_a_normal_prior_is_the_dense_one(name):
    (terms, y, W, codes, _), moments, root, sigma = case(name)
    p = len(terms.fixed)
    half = np.random.default_rng(2).normal(size=(p, p))
    mean, precision = np.linspace(-1, 1, p), half @ half.T + np.eye(p)
    problem = problem_of(moments, terms.fixed, terms.blocks)
    value = log_density(pack_problem(problem, mean, np.linalg.cholesky(precision).T), root, sigma)[0]
    expected = problems.dense(terms, y, W, codes, root @ root.T, sigma, (mean, precision))
    assert -2.0 * value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("prior", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_gradient_is_the_difference_quotient(name, prior):
    (terms, *_), moments, root, sigma = case(name)
    p = len(terms.fixed)
    problem = problem_of(moments, terms.fixed, terms.blocks)
    packed = pack_problem(problem, np.ones(p), np.sqrt(3.0) * np.eye(p)) if prior else pack_problem(problem)
    found = log_density(packed, root, sigma)[1:]
    step, expected = 1e-5, []
    for at in np.ndindex(*root.shape):
        change = np.zeros_like(root)
        change[at] = step
        ends = [log_density(packed, root + sign * change, sigma)[0] for sign in (1, -1)]
        expected.append((ends[0] - ends[1]) / (2 * step))
    ends = [log_density(packed, root, sigma + sign * step)[0] for sign in (1, -1)]
    expected.append((ends[0] - ends[1]) / (2 * step))
    # central differences: step^2 times third derivatives (up to 1e3) plus rounding 1e-14 * 100 / step
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("random", [("Intercept",), ("Intercept", "x0"), ("Intercept", "x0", "x1")])
@pytest.mark.parametrize("prior", [False, True])
def test_many_columns_are_dense_algebra_too(random, prior):
    """More columns than WIDE and no multiple of VECTOR, one to three random effects: every path of the loops."""
    rng = np.random.default_rng(12)
    p, q = WIDE + 3, len(random)
    fixed = ("Intercept", *(f"x{k}" for k in range(p - 1)))
    terms, y, W, codes, levels = problems.simulated(
        rng, [9] * 7, fixed, random, np.eye(q), 1.0, np.linspace(-1.0, 1.0, p)
    )
    root, sigma = np.tril(rng.normal(size=(q, q))) + np.eye(q), 1.3
    problem = problem_of(compute(terms, y, W, codes, levels), terms.fixed, terms.blocks)
    mean, precision = np.zeros(p), np.diag(np.linspace(0.5, 2.0, p))
    packed = pack_problem(problem, mean, np.sqrt(precision)) if prior else pack_problem(problem)
    found = log_density(packed, root, sigma)
    expected = problems.dense(terms, y, W, codes, root @ root.T, sigma, (mean, precision) if prior else None)
    # sums of some hundred terms of order 10 in double precision
    assert -2.0 * found[0] == pytest.approx(expected if prior else expected[0], abs=1e-9)
    step = 1e-5
    ends = [log_density(packed, root, sigma + sign * step)[0] for sign in (1, -1)]
    assert found[-1] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-6)
    change = np.zeros_like(root)
    change[-1, 0] = step
    ends = [log_density(packed, root + sign * change, sigma)[0] for sign in (1, -1)]
    assert found[1 + (q - 1) * q] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-6)


def test_a_singular_factor_and_an_empty_one_are_finite():
    (terms, y, W, codes, _), moments, _, sigma = case("slope")
    problem = problem_of(moments, terms.fixed, terms.blocks)
    for root in (np.zeros((2, 2)), np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 1.5]])):
        value = log_density(pack_problem(problem), root, sigma)
        assert np.isfinite(value).all()
        expected = problems.dense(terms, y, W, codes, root @ root.T, sigma)[0]
        assert -2.0 * value[0] == pytest.approx(expected, abs=1e-9)


def test_collinear_columns_give_nan_not_a_number():
    gram = pack(np.zeros((1, 1, 4)))
    total = np.array([[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 1.0]])  # two equal columns
    logdet, rss, *_ = reml_terms(gram, total, np.zeros((1, 1)), np.zeros((3, 3)))
    assert np.isnan(logdet)
    assert np.isnan(rss)


def test_many_large_determinants_do_not_overflow():
    # 2000 groups with |M_j| of about 1e40 each: the running product would leave double's range after eight
    gram = np.zeros((2000, 1, 3))
    gram[:, 0, 0] = 1e40
    total = np.eye(2)
    logdet, *_ = reml_terms(pack(gram), total, np.eye(1), np.zeros((2, 2)))
    assert logdet == pytest.approx(2000 * np.log1p(1e40), rel=1e-14)


@pytest.mark.parametrize("name", ["slope", "independent", "three", "many", "slope_only"])
def test_conditionals_are_hendersons(name):
    (terms, y, W, codes, _), moments, root, sigma = case(name)
    problem = problem_of(moments, terms.fixed, terms.blocks)
    own = sigma / problem.y_scale
    found = conditional(problem, np.linalg.solve(problem.z_map, root) / own, own)
    _, _, _, blups, errors = problems.dense(terms, y, W, codes, root @ root.T, sigma)
    np.testing.assert_allclose(found.mean, blups, atol=1e-10)  # 1e-16 times a condition number below 1e4
    np.testing.assert_allclose(np.sqrt(found.variance), errors, atol=1e-10)
    assert (found.cond_variance <= found.variance + 1e-12).all()


def test_gls_is_the_dense_one():
    (terms, y, W, codes, _), moments, *_ = case("three")
    best = optimum(problem_of(moments, terms.fixed, terms.blocks))
    criterion, beta, cov, *_ = problems.dense(terms, y, W, codes, best.covariance, best.sigma)
    assert best.criterion == pytest.approx(criterion, abs=1e-9)
    np.testing.assert_allclose(best.beta, beta, rtol=1e-9)
    np.testing.assert_allclose(best.cov_beta, cov, rtol=1e-8)


@pytest.mark.parametrize("n_groups,p", [(3, 1), (100, 2), (200, 5)])
@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0, 1e40])
@pytest.mark.parametrize("ml", [False, True])
def test_the_loops_of_two_random_effects_say_what_the_general_ones_say(n_groups, p, scale, ml):
    """Both passes on random groups; 1e40 makes determinants whose product would overflow."""
    rng = np.random.default_rng(n_groups + p)
    rows = rng.standard_normal((n_groups, 6, 2 + p + 1))
    gram = np.einsum("jna,jnb->jab", rows, rows)
    packed, total = pack(gram[:, :2]), gram[:, 2:, 2:].sum(axis=0)
    factor = scale * np.array([[1.5, 0.2], [-0.7, 0.9]])
    root, beta, n = np.linalg.cholesky(total[:p, :p]), np.full(p, 0.3), packed.shape[-1]
    schur, d_logdet, d_rss = total.copy(), np.zeros((2, 2)), np.zeros((2, 2))
    rest = np.empty((len(packed), 2, p + 1, n))
    logdet = eliminate(packed, factor, schur, d_logdet, rest)
    differentiate(rest, root, beta, ml, d_logdet, d_rss)
    found = [(np.array(logdet), np.tril(schur), d_logdet, d_rss)]
    schur, d_logdet, d_rss = total.copy(), np.zeros((2, 2)), np.zeros((2, 2))
    inverses, lanes = np.empty((len(packed), n)), np.empty((lanes_of_pairs(p), n))
    logdet = eliminate_pairs(packed, factor, schur, inverses, lanes)
    differentiate_pairs(packed, factor, root, beta, ml, inverses, lanes, d_logdet, d_rss)
    found.append((np.array(logdet), np.tril(schur), d_logdet, d_rss))
    for general, own in zip(*found, strict=True):
        # sums of n_groups x 6 products in another order; at 1e40 what is left of A after elimination is rounding
        np.testing.assert_allclose(own, general, rtol=1e-12, atol=1e-11 * np.abs(total).max())
    assert np.isfinite(found[1][0])


@pytest.mark.parametrize("fixed", [("Intercept", "x"), ("x", "z"), ("z",), ("Intercept",)])
@pytest.mark.parametrize("whole", [True, False])
def test_a_model_with_fewer_fixed_effects_than_its_moments(fixed, whole):
    # the pilot fit has all fixed effects; a model that lacks some must find their part in the response
    rng = np.random.default_rng(8)
    names = ("Intercept", "x", "z")
    data = problems.simulated(rng, [7] * 9, names, names[:2], np.eye(2), 0.8, np.array([30.0, -4.0, 5.0]))
    terms, y, W, codes, levels = data
    W[:, 1:] += 3.0
    own = Terms.one(fixed, terms.blocks, "g", names)
    moments = compute(terms, y, W, codes, levels, whole)
    best = optimum(problem_of(moments, fixed, terms.blocks))
    expected, beta, cov, *_ = problems.dense(own, y, W, codes, best.covariance, best.sigma)
    assert best.criterion == pytest.approx(expected, abs=1e-8)
    assert best.beta == pytest.approx(beta, rel=1e-8)
    assert best.cov_beta == pytest.approx(cov, rel=1e-8)
    again = optimum(problem_of(compute(own, y, W, codes, levels, whole), fixed, terms.blocks))
    assert best.criterion == pytest.approx(again.criterion, abs=1e-8)
    X = W[:, [names.index(name) for name in fixed]]
    assert moments.ols(fixed).beta == pytest.approx(np.linalg.lstsq(X, y, rcond=None)[0], rel=1e-10)
    if whole:
        problem = problem_of(moments, fixed, terms.blocks)
        density = log_densities(
            problem, by_group(moments, problem), moments.n,
            best.beta[None], best.root[None], np.array([best.sigma]),
        )  # fmt: skip
        own_rows = codes == 4
        Z = W[own_rows][:, :2]
        V = best.sigma**2 * np.eye(7) + Z @ best.covariance @ Z.T
        r = y[own_rows] - X[own_rows] @ best.beta
        log_density = -0.5 * (7 * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + r @ np.linalg.solve(V, r))
        assert density[0, 4] == pytest.approx(log_density, abs=1e-8)
