"""Cross-validation by group, predictive checks and prior sensitivity, against dense algebra, quadrature and rows."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.special import logsumexp

import inference_cases
import problems
from lmm.criticism import predictive, sensitivity, stage
from lmm.data.rows import rows_of
from lmm.engines.pymc import loo
from lmm.engines.pymc.coordinates import transformed
from lmm.engines.pymc.posterior import fixed_draws, given_draws
from lmm.engines.pymc.priors import resolve
from lmm.likelihood.by_group import by_group, log_densities
from lmm.likelihood.marginal import log_density, pack_problem
from lmm.likelihood.problem import problem_of
from lmm.model.design import build as build_design
from lmm.model.formula import parse
from lmm.model.terms import Terms
from lmm.moments import stage as moments_stage
from lmm.moments.accumulate import compute

NAMES = ("Intercept", "x")
FLAT = {"fixed": "flat", "sd": "uniform(0, 20)", "sigma": "uniform(0, 20)"}


def made(groups=40, seed=4, sizes=(2, 15), rho=0.25, blocks=None):
    rng = np.random.default_rng(seed)
    D = np.array([[4.0, 2 * rho], [2 * rho, 1.0]])
    n = rng.integers(*sizes, groups)
    return problems.simulated(rng, n, (*NAMES, "z"), NAMES, D, 1.5, np.array([1.0, 2.0, 0.5]), blocks)


# --- log densities of groups ---


@pytest.mark.parametrize("shift, scale", [(0.0, 1.0), (1e6, 1e-3)])
def test_a_groups_log_density_is_that_of_the_dense_normal(shift, scale):
    terms, y, W, codes, levels = made(8)
    y, W = y + shift, W * [1.0, scale, 1.0]
    moments = compute(terms, y, W, codes, levels)
    problem = problem_of(moments, terms.fixed, terms.blocks)
    rng = np.random.default_rng(0)
    beta = np.array([1.0 + shift, 2.0 / scale, 0.5]) + rng.normal(size=(3, 3)) * [1, 1 / scale, 1]
    roots = np.tril(rng.normal(size=(3, 2, 2))) / np.array([1.0, scale])[:, None]
    roots[2, :, 1] = 0.0  # a singular D
    sigmas = np.array([0.5, 1.5, 3.0])
    found = log_densities(problem, by_group(moments, problem), moments.n, beta, roots, sigmas)
    for s in range(3):
        for j in range(8):
            mine = codes == j
            Z = W[mine][:, :2]
            V = Z @ roots[s] @ roots[s].T @ Z.T + sigmas[s] ** 2 * np.eye(mine.sum())
            dense = stats.multivariate_normal(W[mine] @ beta[s], V).logpdf(y[mine])
            # y near 1e6 is known to 1e-10, its residuals of size 1 to the same, squared over sigma^2: 1e-8
            assert found[s, j] == pytest.approx(dense, rel=1e-7 if shift else 1e-10)


def test_without_whole_moments_there_are_no_cross_products():
    data = made(5)
    moments = compute(*data, whole=False)
    assert by_group(moments, problem_of(moments, data[0].fixed, data[0].blocks)) is None


# --- leave one group out ---


def grid_posterior(moments, terms, size=60):
    """Log marginal likelihood on a grid of (tau, sigma), beta integrated out (flat prior); the grid."""
    packed = pack_problem(problem_of(moments, terms.fixed, terms.blocks))
    tau, sigma = np.linspace(0.2, 6.0, size), np.linspace(0.8, 2.6, size)
    values = np.array([[log_density(packed, np.array([[t]]), s)[0] for s in sigma] for t in tau])
    return values, tau, sigma


def test_loo_is_the_exact_predictive_density_of_the_group_left_out():
    """log p(y_j | rest) = log p(y) - log p(rest), both by quadrature on one grid; draws are of the same grid."""
    rng = np.random.default_rng(11)
    terms, y, W, codes, levels = problems.simulated(
        rng,
        [3, 4, 5, 6, 3, 4, 5, 6, 4, 5],
        ("Intercept",),
        ("Intercept",),
        np.array([[4.0]]),
        1.5,
        np.array([1.0]),
    )
    moments = compute(terms, y, W, codes, levels)
    values, tau, sigma = grid_posterior(moments, terms)
    exact = []
    for j in range(10):
        kept = codes != j
        rest = compute(terms, y[kept], W[kept], codes[kept] - (codes[kept] > j), np.delete(levels, j))
        exact.append(logsumexp(values) - logsumexp(grid_posterior(rest, terms)[0]))
    problem = problem_of(moments, terms.fixed, terms.blocks)
    weights = np.exp(values - logsumexp(values)).ravel()
    gram, runs = by_group(moments, problem), []
    for _ in range(8):
        t, s = np.unravel_index(rng.choice(len(weights), 4000, p=weights), values.shape)
        roots, sigmas = tau[t][:, None, None].copy(), sigma[s].copy()
        noise, keep = rng.standard_normal((len(sigmas), problem.p)), np.ones(len(sigmas), bool)
        beta, away, half, _, _ = given_draws(pack_problem(problem), roots, sigmas, noise, keep)
        beta = fixed_draws(problem, beta, away, half).draws
        density = log_densities(problem, gram, moments.n, beta, roots, sigmas).reshape(4, 1000, 10)
        table, about = loo.leave_one_out(density, levels, moments.n, 1.0)
        assert about["elpd"] == pytest.approx(table["elpd"].sum())
        assert about["good_k"] == pytest.approx(0.7)
        runs.append(table["elpd"].to_numpy())
    # 8 independent sets of draws give the Monte Carlo error; 5 of them for 10 groups, and 0.005 for the bias of
    # smoothing the tail
    error = np.std(runs, axis=0, ddof=1) / np.sqrt(8)
    np.testing.assert_array_less(np.abs(np.mean(runs, axis=0) - exact), 5 * error + 0.005)
    assert error.max() < 0.02, "the check would notice nothing"


@pytest.mark.parametrize(
    ("draws", "limit"),
    [(100, 0.5), (400, 0.6156891), (1000, 2 / 3), (2154, 0.6999921), (2155, 0.7), (4000, 0.7), (10**6, 0.7)],
)
def test_few_draws_allow_a_smaller_pareto_k(draws, limit):
    """Vehtari et al. 2024 (JMLR 25(72)), section 3.2.4: min(1 - 1 / log10(S), 0.7), which meet at S = 10^(10/3)."""
    assert loo.threshold(draws) == pytest.approx(limit, abs=1e-7)


def test_a_group_unlike_all_others_is_named():
    terms, y, W, codes, levels = made(12, sizes=(4, 9), blocks=(("Intercept",), ("x",)))
    y = np.where(codes == 7, y + 40.0, y)
    moments = compute(terms, y, W, codes, levels)
    tree = tree_of(normal_posterior(moments, terms, np.random.default_rng(0)), moments, terms, FLAT)
    found = stage.criticise(moments, terms.fixed, terms.blocks, tree, options(FLAT))
    assert found.about["loo"]["high"][0] == levels[7]
    assert found.loo["elpd"].idxmin() == 7


# --- predictive checks ---


def by_rows(terms, y, W, codes):
    """The statistics of `predictive.statistics` and `residual_inequality`, from the rows."""
    groups = [(y[codes == j], W[codes == j]) for j in range(codes.max() + 1)]
    means = np.array([own.mean() for own, _ in groups])
    slopes, weights = [], []
    for own, X in groups:
        x = X[:, 1] - X[:, 1].mean()
        weights.append(x @ x)
        slopes.append(x @ own / (x @ x) if x @ x > 0 else 0.0)
    w = np.array(weights) / np.sum(weights)
    b = np.array(slopes) - w @ slopes
    m = means - w @ means
    rss, df = [], []
    for own, X in groups:
        fit, _, rank, _ = np.linalg.lstsq(X, own, rcond=1e-10)
        rss.append(np.sum((own - X @ fit) ** 2))
        df.append(len(own) - rank)
    rss, df = np.array(rss)[np.array(df) > 0], np.array(df)[np.array(df) > 0]
    pooled = rss.sum() / df.sum()
    return {
        "sd_y": y.std(ddof=1),
        "sd_means": means.std(ddof=1),
        "sd_within": np.sqrt(
            sum(np.sum((own - own.mean()) ** 2) for own, _ in groups) / (len(y) - len(means))
        ),
        "lowest_mean": means.min(),
        "highest_mean": means.max(),
        "skewness_means": stats.skew(means),
        "sd_slopes:x": np.sqrt(w @ b**2),
        "cor_mean_slope:x": w @ (b * m) / np.sqrt((w @ b**2) * (w @ m**2)),
        "unequal_residuals": np.sqrt(np.sum(df * (rss / df / pooled - 1) ** 2) / df.sum()),
    }


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_statistics_have_the_units_of_the_response(unit):
    terms, y, W, codes, levels = made()
    plain, found = (predictive.statistics(compute(terms, own, W, codes, levels)) for own in (y, unit * y))
    for name, value in plain.items():
        scale = 1.0 if name.startswith(("skewness", "cor_", "unequal")) else unit
        assert found[name] == pytest.approx(scale * value, rel=1e-9), name


@pytest.mark.parametrize("shift", [0.0, 1e7])
def test_statistics_from_moments_are_those_of_the_rows(shift):
    terms, y, W, codes, levels = made()
    W[codes == 3, 1] = 2.0  # a group without a slope
    expected = by_rows(terms, y, W, codes)
    moments = compute(terms, y + shift, W, codes, levels)
    found = predictive.statistics(moments) | {"unequal_residuals": predictive.residual_inequality(moments)[0]}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        moved = shift if name.endswith("_mean") else 0.0
        # rows near 1e7 are known to 2e-9; without the shift sums of 300 rows to 1e-13, relative
        assert found[name] - moved == pytest.approx(value, rel=1e-6 if shift else 1e-9), name


@pytest.mark.parametrize("weight", [1e-9, 1.0, 1e9])
def test_the_size_of_equal_weights_changes_no_statistic_of_residuals(weight):
    """Sums of squares are known to a share of the largest; a group with one x has no slope at any size."""
    terms, y, W, codes, levels = made(12)
    W[codes == 3, 1] = 2.0
    moments = compute(terms, y, W, codes, levels, weights=np.full(len(y), weight))
    found, df = predictive.residual_inequality(moments)
    expected, df_expected = predictive.residual_inequality(compute(terms, y, W, codes, levels))
    assert found == pytest.approx(expected, rel=1e-9)
    assert df.tolist() == df_expected.tolist()
    own = predictive.statistics(moments)
    names = ("sd_slopes:x", "cor_mean_slope:x", "skewness_means", "highest_mean")
    plain = predictive.statistics(compute(terms, y, W, codes, levels))
    assert [own[name] for name in names] == pytest.approx([plain[name] for name in names], rel=1e-9)


def test_replicates_without_rows_are_distributed_as_replicates_with_rows():
    terms, _, W, codes, levels = made(12, sizes=(2, 8))
    rng = np.random.default_rng(5)
    root, beta, sigma, count = np.array([[2.0, 0.0], [0.3, 0.8]]), np.array([1.0, 2.0, 0.5]), 1.5, 700
    rows = []
    for _ in range(count):
        u = rng.standard_normal((12, 2)) @ root.T
        y = W @ beta + (W[:, :2] * u[codes]).sum(axis=1) + sigma * rng.standard_normal(len(W))
        rows.append(by_rows(terms, y, W, codes))
    rows = pd.DataFrame(rows)
    moments = compute(terms, y, W, codes, levels)
    sets = predictive.Parameters(*(np.repeat(a[None], count, axis=0) for a in (beta, root, np.array(sigma))))
    rngs = {"posterior": np.random.default_rng(6)}
    _, drawn = predictive.check(moments, terms.fixed, terms.random, sets, None, rngs, 0.95)
    found = drawn.pivot_table(index="replicate", columns="statistic", values="value")
    assert set(found) == set(rows)
    # a seed that is unlucky once in 10,000, all statistics together
    p = [stats.ks_2samp(rows[name], found[name]).pvalue for name in rows]
    assert min(p) > 1e-4 / len(p), dict(zip(rows, p, strict=True))


def options(priors):
    return {"priors": priors, "seed": 3, "conf_level": 0.95}


def normal_posterior(moments, terms, rng, width=1.0, size=(4, 250)):
    """Draws around the REML optimum as wide as its standard errors: a posterior for tests of what uses one."""
    from lmm.criticism.influence import _estimates
    from lmm.inference.intervals import standard_errors
    from lmm.inference.optimum import optimum

    problem = problem_of(moments, terms.fixed, terms.blocks)
    best = optimum(problem)
    errors = np.append(np.sqrt(np.diag(best.cov_beta)), standard_errors(problem, best))
    names = (*terms.fixed, *problem.structure.terms)
    draws = {}
    values = np.nan_to_num(_estimates(problem, best))  # a correlation with an effect that does not vary
    for name, value, error in zip(names, values, np.where(errors > 0, errors, 0.1), strict=True):
        drawn = rng.normal(value, width * error, size)
        drawn = np.clip(drawn, -0.99, 0.99) if name.startswith("cor__") else drawn
        draws[name] = (("chain", "draw"), np.abs(drawn) if name.startswith("sd__") else drawn)
    return xr.Dataset(draws, {"chain": np.arange(size[0]), "draw": np.arange(size[1])})


def tree_of(posterior, moments, terms, given):
    """posterior.nc's groups of draws."""
    priors = resolve(given, moments, terms.fixed, terms.blocks, marginal=False)
    fixed = np.stack([posterior[name].to_numpy() for name in terms.fixed])
    values = np.stack([posterior[name].to_numpy() for name in priors.structure.terms])
    values = transformed(priors.structure, np.linalg.inv(priors.random_map), values)
    dims, coords = ("chain", "draw"), {name: posterior[name] for name in ("chain", "draw")}
    centred = {name: (dims, draws) for name, draws in priors.centred(fixed, values).items()}
    groups = {"posterior": posterior, "posterior_centred": xr.Dataset(centred, coords)}
    return xr.DataTree.from_dict(groups)


def checked(terms, y, W, codes, levels, fitted=None):
    moments = compute(terms, y, W, codes, levels)
    fitted = fitted or terms
    tree = tree_of(normal_posterior(moments, fitted, np.random.default_rng(0)), moments, fitted, FLAT)
    found = stage.criticise(moments, fitted.fixed, fitted.blocks, tree, options(FLAT))
    return found.predictive.set_index("statistic")["p_value"], found


def test_the_right_model_passes_its_predictive_check():
    p, found = checked(*made(100, sizes=(5, 15)))
    # the largest of 9 such shares is beyond 0.002 from either end by chance once in 30 data sets; this one is not
    assert p.between(0.002, 0.998).all()
    assert found.about["replicates"] == len(found.replicates) / len(p) == predictive.REPLICATES


def test_unequal_residual_variances_are_caught():
    terms, y, W, codes, levels = made(100, sizes=(5, 15))
    mean = pd.Series(y).groupby(codes).transform("mean").to_numpy()
    wild = np.where(codes % 2 == 0, 1.0, 2.5)
    noise = np.random.default_rng(8).standard_normal(len(y)) * wild
    alone = Terms.one(terms.fixed, (("Intercept",),), "g", terms.columns)
    p, _ = checked(terms, mean + noise, W, codes, levels, fitted=alone)
    assert p["unequal_residuals"] == 0.0


def test_skewed_random_effects_are_caught():
    terms, y, W, codes, levels = made(100, sizes=(5, 15))
    effects = np.random.default_rng(8).exponential(6.0, 100)
    p, _ = checked(terms, y + effects[codes], W, codes, levels)
    assert p["skewness_means"] < 0.005
    assert p["lowest_mean"] < 0.02  # no group as low as a normal distribution would have


def test_a_correlation_that_the_model_leaves_out_is_caught():
    data = made(100, sizes=(5, 15), rho=0.9)
    independent = Terms.one(data[0].fixed, (("Intercept",), ("x",)), "g", data[0].columns)
    p, _ = checked(*data, fitted=independent)
    assert p["cor_mean_slope:x"] == 0.0
    p, _ = checked(*data)
    assert 0.01 < p["cor_mean_slope:x"] < 0.99


# --- prior predictive ---


def test_prior_draws_have_the_priors_distributions():
    terms, y, W, codes, levels = made(30)
    W[:, 1] += 3.0
    moments = compute(terms, y + 40.0, W, codes, levels)
    priors = resolve({}, moments, terms.fixed, terms.blocks, marginal=True)
    middle = W.mean(axis=0)
    drawn = stage.prior_parameters(np.random.default_rng(1), priors, 4000)
    # random effects at the predictors' means: the intercept's is u_0 + mean(x) u_x
    to_means = np.array([[1.0, middle[1]], [0.0, 1.0]])
    D = to_means @ drawn.roots @ drawn.roots.transpose(0, 2, 1) @ to_means.T
    sds = np.sqrt(np.einsum("rkk->rk", D))
    at_means = drawn.beta @ middle  # the intercept's prior is there
    pairs = [
        (at_means, priors.fixed["Intercept"].args, stats.norm),
        (drawn.beta[:, 1], priors.fixed["x"].args, stats.norm),
        (sds[:, 0], (0.0, 2.5 * moments.y_sd), stats.halfnorm),
        (sds[:, 1], (0.0, 2.5 * moments.y_sd / W[:, 1].std(ddof=1)), stats.halfnorm),
    ]
    p = [stats.kstest(values, law(*args).cdf).pvalue for values, args, law in pairs]
    p.append(stats.kstest((D[:, 0, 1] / sds[:, 0] / sds[:, 1] + 1) / 2, stats.beta(2, 2).cdf).pvalue)
    p.append(stats.kstest(drawn.sigmas / moments.y_sd, lambda v: 2 * stats.t(4).cdf(v) - 1).pvalue)
    assert min(p) > 1e-4 / len(p)  # unlucky once in 10,000 seeds
    # and they are what the joint normal prior of the marginal model says
    cov = np.linalg.inv(priors.normal["root"].T @ priors.normal["root"])
    z = (drawn.beta.mean(axis=0) - priors.normal["mean"]) / np.sqrt(np.diag(cov) / 4000)
    assert np.abs(z).max() < 5
    unit = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    # a sample covariance of 4000 is off by at most 1 / sqrt(2000) = 0.022 of that, five times
    np.testing.assert_allclose(np.cov(drawn.beta.T) / unit, cov / unit, atol=0.12)


def test_prior_predictive_intervals_contain_what_the_scaled_priors_allow():
    data = made(30)
    moments = compute(*data)
    tree = tree_of(normal_posterior(moments, data[0], np.random.default_rng(0)), moments, data[0], {})
    found = stage.criticise(moments, data[0].fixed, data[0].blocks, tree, options({}))
    table = found.predictive.set_index("statistic")
    assert found.about["left_out"] == {}
    # defaults are weakly informative: wider than the posterior by far, in the units of the data
    wider = (table["prior_high"] - table["prior_low"]) / (table["high"] - table["low"])
    assert (wider.drop(["skewness_means", "cor_mean_slope:x", "unequal_residuals"]) > 3).all()
    assert set(found.replicates["kind"]) == {"posterior", "prior"}


# --- sensitivity ---


def test_the_log_prior_is_the_sum_of_the_named_densities():
    data = made(10)
    moments = compute(*data)
    given = {"fixed": {"Intercept": "normal(1, 3)", "x": "normal(0, 2)", "z": "flat"}}
    given |= {"sd": "exponential(0.5)", "sigma": "half_cauchy(2)", "corr": "lkj(3)"}
    priors = resolve(given, moments, data[0].fixed, data[0].blocks, marginal=True)
    assert priors.moved == []
    draws = {
        "Intercept": 0.4,
        "x": 1.0,
        "z": 9.0,
        "sd__Intercept": 2.0,
        "sd__x": 0.7,
        "cor__Intercept.x": 0.3,
    }
    draws = {name: np.array([[value]]) for name, value in (draws | {"sd__Observation": 1.2}).items()}
    found = sensitivity.log_prior(priors, draws)
    expected = (
        stats.norm(1, 3).logpdf(0.4) + stats.norm(0, 2).logpdf(1.0) + stats.halfcauchy(0, 2).logpdf(1.2)
    )
    expected += stats.expon(0, 2).logpdf([2.0, 0.7]).sum() + 2.0 * np.log(1 - 0.3**2)  # LKJ(3): det^(3 - 1)
    assert found[0, 0] == pytest.approx(expected, rel=1e-12)


def test_the_intercepts_default_prior_counts_at_the_predictors_means():
    data = made(10)
    moments = compute(*data)
    priors = resolve({}, moments, data[0].fixed, data[0].blocks, marginal=True)
    rng = np.random.default_rng(0)
    beta = rng.normal(size=(2, 3))
    values = np.tile([[2.0], [0.7], [0.3], [1.2]], (1, 2))[:, :, None]
    draws = dict(zip((*data[0].fixed, *priors.structure.terms), [*beta.T[:, :, None], *values], strict=True))
    found = sensitivity.log_prior(priors, draws | priors.centred(beta.T[:, :, None], values))
    mean, root = priors.normal["mean"], priors.normal["root"]
    joint = stats.multivariate_normal(mean, np.linalg.inv(root.T @ root)).logpdf(beta)
    assert found[1, 0] - found[0, 0] == pytest.approx(joint[1] - joint[0], rel=1e-9)


def test_sensitivities_are_arvizs():
    """A normal mean with a normal prior: ours equal psense's of a tree with the same draws and densities."""
    from arviz_stats import psense

    rng = np.random.default_rng(2)
    theta = rng.normal(1.0, 0.5, (4, 1000))
    prior, likelihood = stats.norm(0, 1).logpdf(theta), stats.norm(1.33, 0.58).logpdf(theta)
    dims = ("chain", "draw")
    groups = {
        "posterior": {"theta": theta},
        "log_prior": {"theta": prior},
        "log_likelihood": {"y": likelihood},
    }
    tree = xr.DataTree.from_dict(
        {group: xr.Dataset({k: (dims, v) for k, v in own.items()}) for group, own in groups.items()}
    )
    found = sensitivity.power_scaling({"theta": theta}, prior, likelihood).iloc[0]
    for name in ("prior", "likelihood"):
        assert found[name] == pytest.approx(float(psense(tree, group=name)["theta"]), rel=1e-6)
    assert found["diagnosis"] == sensitivity.CONFLICT  # prior at 0, data at 1.33


@pytest.mark.parametrize(
    "place, width, diagnosis",
    [(0.0, 20.0, ""), (5.0, 1.0, sensitivity.CONFLICT), (0.0, 0.1, sensitivity.STRONG)],
)
def test_weak_conflicting_and_strong_priors_are_told_apart(place, width, diagnosis):
    """The likelihood is normal(0, 1); the posterior follows in closed form and is drawn from by quantiles."""
    precision = 1.0 + width**-2
    mean, sd = place * width**-2 / precision, precision**-0.5
    u = (np.random.default_rng(1).permutation(4000) + 0.5) / 4000
    theta = stats.norm(mean, sd).ppf(u).reshape(4, 1000)
    table = sensitivity.power_scaling(
        {"theta": theta}, stats.norm(place, width).logpdf(theta), stats.norm(0, 1).logpdf(theta)
    )
    assert table["diagnosis"].iloc[0] == diagnosis


# --- what is left out ---


def test_flat_priors_leave_out_what_needs_proper_ones():
    data = made(10)
    moments = compute(*data)
    tree = tree_of(normal_posterior(moments, data[0], np.random.default_rng(0)), moments, data[0], {})
    given = {"fixed": "flat", "sd": "uniform(0, 100)", "sigma": "flat", "corr": "lkj(1)"}
    found = stage.criticise(moments, data[0].fixed, data[0].blocks, tree, options(given))
    assert found.about["left_out"]["sensitivity"].startswith("every prior is flat or uniform")
    assert found.about["left_out"]["prior_predictive"].endswith("Intercept, x, z and residual SD")
    assert len(found.sensitivity) == 0
    assert found.predictive["prior_low"].isna().all()
    given["corr"] = "lkj(2)"  # a prior that does favour something
    found = stage.criticise(moments, data[0].fixed, data[0].blocks, tree, options(given))
    assert "sensitivity" not in found.about["left_out"]


def test_beyond_its_limits_criticism_is_left_out_or_thinned(monkeypatch, tmp_path):
    data = made(10)
    moments = compute(*data)
    tree = tree_of(normal_posterior(moments, data[0], np.random.default_rng(0)), moments, data[0], {})
    monkeypatch.setattr(loo, "WORK", 4 * 100 * 10)
    found = stage.criticise(moments, data[0].fixed, data[0].blocks, tree, options({}))
    assert found.about["loo"]["draws"] == 400
    monkeypatch.setattr(stage, "GROUPS", 9)
    found = stage.criticise(moments, data[0].fixed, data[0].blocks, tree, options({}))
    assert set(found.about["left_out"].values()) == {"10 groups are more than 9"}
    names = ("loo", "predictive", "replicates", "sensitivity", "about")
    found.write(**{name: tmp_path / f"{name}.{'json' if name == 'about' else 'csv'}" for name in names})
    assert list(pd.read_csv(tmp_path / "loo.csv").columns) == loo.COLUMNS


def test_without_whole_moments_the_predictive_check_remains():
    data = made(10)
    moments = compute(*data)
    tree = tree_of(normal_posterior(moments, data[0], np.random.default_rng(0)), moments, data[0], {})
    part = compute(*data, whole=False)
    found = stage.criticise(part, data[0].fixed, data[0].blocks, tree, options({}))
    assert set(found.about["left_out"]) == {"loo", "sensitivity"}
    assert "unequal_residuals" not in set(found.predictive["statistic"])
    assert "sd_slopes:x" in set(found.predictive["statistic"])


def test_chains_that_never_moved_leave_out_what_needs_a_spread():
    data = made(10)
    moments = compute(*data)
    tree = tree_of(normal_posterior(moments, data[0], np.random.default_rng(0)), moments, data[0], {})
    stuck = tree.map_over_datasets(lambda own: own.map(lambda values: values * 0 + values[0, 0]))
    found = stage.criticise(moments, data[0].fixed, data[0].blocks, stuck, options({}))
    assert set(found.about["left_out"]) == {"loo", "sensitivity"}
    assert "do not vary" in found.about["left_out"]["loo"]
    assert len(found.predictive)


def test_the_same_seed_gives_the_same_criticism():
    data = made(10)
    moments = compute(*data)
    tree = tree_of(normal_posterior(moments, data[0], np.random.default_rng(0)), moments, data[0], {})
    one, two = (
        stage.criticise(moments, data[0].fixed, data[0].blocks, tree, options({})).replicates
        for _ in range(2)
    )
    pd.testing.assert_frame_equal(one, two)


def weighted_sleep():
    """Rows with weights, and the moments of them."""
    frame = pd.read_csv(inference_cases.FILES["sleepstudy"]).astype({"Subject": str})
    frame["w"] = np.random.default_rng(2).uniform(0.2, 3.0, len(frame))
    design = build_design(parse("Reaction | weights(w) ~ Days + (Days | Subject)"), frame)
    return rows_of(design, frame), moments_stage.of_rows(design, frame)


def test_a_groups_density_has_its_rows_weights():
    rows, moments = weighted_sleep()
    problem = problem_of(moments, rows.terms.fixed, rows.terms.blocks)
    beta, root, sigma = np.array([250.0, 10.0]), np.array([[25.0, 0.0], [2.0, 5.0]]), 26.0
    gram = by_group(moments, problem)
    found = log_densities(problem, gram, moments.n, beta[None], root[None], np.array([sigma]))[0]
    found = found + loo.log_weights(moments, lambda: rows)
    for j in range(len(rows.levels)):
        own = rows.codes == j
        X = rows.columns(rows.terms.fixed)[own]
        V = X @ root @ root.T @ X.T + sigma**2 * np.diag(1.0 / rows.weights[own])
        assert found[j] == pytest.approx(
            stats.multivariate_normal(X @ beta, V).logpdf(rows.y[own]), rel=1e-10
        )


def test_statistics_and_replicates_have_the_rows_weights():
    rows, moments = weighted_sleep()
    total = np.bincount(rows.codes, rows.weights)
    means = np.bincount(rows.codes, rows.weights * rows.y) / total
    observed = predictive.statistics(moments)
    assert observed["sd_means"] == pytest.approx(means.std(ddof=1), rel=1e-9)
    assert observed["lowest_mean"] == pytest.approx(means.min(), rel=1e-9)
    # errors alone: a weighted mean has variance sigma^2 / sum of weights, and the replicates' mean square is theirs
    count, sigma = 2000, 26.0
    sets = predictive.Parameters(
        np.tile([250.0, 0.0], (count, 1)), np.zeros((count, 2, 2)), np.full(count, sigma)
    )
    rng = np.random.default_rng(1)
    names = rows.terms.fixed, rows.terms.random
    drawn = predictive.replicate(rng, predictive.prepare(moments), *names, sets)
    truth = sigma**2 * np.mean(1.0 / total)
    # mean squares of 17 degrees of freedom: five standard errors
    assert np.mean(drawn["sd_means"] ** 2) == pytest.approx(truth, rel=5.0 * np.sqrt(2.0 / 17 / count))
