"""The pymc engine against quadrature, the full model and the post's exact posterior."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy import integrate, optimize, stats

import problems
from lmm.config.engines import Pymc
from lmm.core.errors import StudyError
from lmm.core.progress import Progress
from lmm.core.tidy import variable
from lmm.criticism import stage
from lmm.data.rows import Rows
from lmm.engines.pymc import chains
from lmm.engines.pymc import fit as bayes
from lmm.engines.pymc import full as bayes_full
from lmm.engines.pymc import model as bayes_model
from lmm.engines.pymc import posterior as posterior_module
from lmm.engines.pymc.attempts import Draws, Setting
from lmm.engines.pymc.chains import WORK, thin
from lmm.engines.pymc.draws import fixed_draws as fixed_draws_of_file
from lmm.engines.pymc.draws import posterior_draws
from lmm.engines.pymc.gates import convergence
from lmm.engines.pymc.groups import group_draws, observed_means, replicated_means
from lmm.engines.pymc.posterior import fixed_draws, given_draws, mixture_quantile, summarise_groups
from lmm.engines.pymc.priors import resolve
from lmm.engines.pymc.tables import summarise
from lmm.inference.variance_explained import Component, explained
from lmm.likelihood.marginal import log_density
from lmm.likelihood.problem import layout, problem_of, roots_of
from lmm.model.priors import Prior
from lmm.model.terms import Terms
from lmm.moments.accumulate import compute
from lmm.moments.moments import Moments

EXACT = problems.COFFEE["posterior_exact"]
POST = {"fixed": "flat", "sd": "uniform(0, 100)", "sigma": "flat"}
NAMES = {
    "Intercept": "b0",
    "x": "b1",
    "sd__Intercept": "b0_ran_sigma",
    "sd__x": "b1_ran_sigma",
    "sd__Observation": "sigma",
}


def settings(**changes) -> dict:
    """The engine's defaults, with changes."""
    return Pymc(**changes).plain() | {"conf_level": 0.95}


@pytest.fixture(scope="module")
def coffee():
    moments, terms = problems.moments_of("coffee")
    return moments, *bayes.fit(moments, terms.fixed, (("Intercept",), ("x",)), settings(priors=POST))


@pytest.fixture(scope="module")
def sleepstudy():
    moments, terms = problems.moments_of("sleepstudy")
    priors = {"sd": "half_normal(50)", "sigma": "half_student_t(4, 50)", "corr": "lkj(2)"}
    return moments, terms, *bayes.fit(moments, terms.fixed, terms.blocks, settings(priors=priors))


def test_the_posts_posterior_within_four_monte_carlo_errors(coffee):
    _, fit, _ = coffee
    table = fit.parameters.set_index("term")
    for term, name in NAMES.items():
        error = abs(table.estimate[term] - EXACT["mean"][name])
        assert error <= 4 * table.mcse_mean[term] + 1e-9, term
        # an sd's relative Monte Carlo error is about 1 / sqrt(2 ESS); four of them, heavy tails doubled
        assert table.sd[term] == pytest.approx(EXACT["sd"][name], rel=8 / np.sqrt(2 * table.ess_bulk[term]))


def test_the_posts_random_effects(coffee):
    _, fit, _ = coffee
    for term, name in {"Intercept": "b0_ran", "x": "b1_ran"}.items():
        rows = fit.ranef[fit.ranef.term == term].set_index("level")
        found = rows.loc[[str(j) for j in range(1, 101)]]
        assert (abs(found.estimate - EXACT[name]) <= 4 * found.mcse_mean + 1e-9).all()
    assert fit.ranef.mcse_mean.max() <= 0.002


def test_effective_sample_sizes_and_gates(coffee):
    _, fit, _ = coffee
    assert min(fit.parameters.ess_bulk.min(), fit.ranef.ess_bulk.min()) >= 4000
    assert all(gate["passed"] for gate in fit.diagnostics.gates)
    assert fit.diagnostics.status == "ok"
    assert fit.diagnostics.summary["loose_rule"]["passed"]
    assert (fit.diagnostics.converged, fit.diagnostics.message) == (True, "")


def test_too_few_draws_fail_a_gate_and_the_fit_says_so():
    moments, terms = problems.moments_of("coffee")
    few = settings(priors=POST, chains=2, tune=200, draws=40, seed=5, sampler="nuts")
    fit, tree = bayes.fit(moments, terms.fixed, (("Intercept",), ("x",)), few)
    found = fit.diagnostics
    assert (found.status, found.converged) == ("gate-failed", False)
    failed = {gate["name"] for gate in found.gates if not gate["passed"]}
    assert failed and any(name in found.message for name in failed)
    assert (found.n_rows, found.n_groups, found.conf_level) == (1000, 100, 0.95)
    assert [found.summary[name] for name in ("chains", "tune", "draws", "seed")] == [2, 200, 40, 5]
    assert tree["posterior"]["sd__Observation"].shape == (2, 40)


def test_drawn_and_rao_blackwellised_random_effects_agree(coffee):
    _, fit, tree = coffee
    draws = tree["posterior"]["ranef"].to_numpy().reshape(-1, 200)
    rows = fit.ranef
    error = rows.std_error / np.sqrt(rows.ess_bulk)
    # 200 comparisons at five errors: a false alarm once in 10^4
    assert (abs(draws.mean(axis=0) - rows.estimate) <= 5 * error).all()
    np.testing.assert_allclose(draws.std(axis=0), rows.std_error, rtol=5 / np.sqrt(2 * 6000))
    inside = (draws >= rows.conf_low.to_numpy()) & (draws <= rows.conf_high.to_numpy())
    # binomial sd of a share of 8000 draws: 0.0024, a little more for autocorrelation
    assert abs(inside.mean(axis=0) - 0.95).max() < 6 * 0.0024


def test_same_seed_same_bits_whatever_the_cores_and_whatever_is_shown(coffee, monkeypatch, capsys):
    moments, fit, tree = coffee
    monkeypatch.setattr(chains, "SPAN", 20_000)  # 100 groups x 8000 draws in 40 spans, all of them shown
    monkeypatch.setattr(Progress.__init__, "__defaults__", (None, 0.0))
    again, tree_again = bayes.fit(
        moments, ("Intercept", "x"), (("Intercept",), ("x",)), settings(priors=POST), cores=2
    )
    assert again.parameters.equals(fit.parameters)
    assert again.ranef.equals(fit.ranef)
    np.testing.assert_array_equal(tree_again["posterior"]["ranef"], tree["posterior"]["ranef"])
    shown = capsys.readouterr().err
    for step in ("sampling", "fixed effects given the draws", "random effects given the draws"):
        assert f"{step}: 100% after" in shown


def test_round_trip_of_the_posterior(coffee, tmp_path):
    import xarray as xr

    _, _, tree = coffee
    path = tmp_path / "posterior.nc"
    bayes.write(str(path), tree)
    fixed = np.stack([tree["posterior"][name].to_numpy().ravel() for name in ("x", "Intercept")], axis=1)
    np.testing.assert_array_equal(fixed_draws_of_file(str(path), ("x", "Intercept")), fixed)
    terms = Terms.one(("Intercept", "x"), (("Intercept",), ("x",)), "group", ("Intercept", "x"))
    drawn = posterior_draws(str(path), terms)
    np.testing.assert_array_equal(drawn[:, :2], fixed[:, ::-1])
    np.testing.assert_array_equal(drawn[:, 3], tree["posterior"]["sd__x"].to_numpy().ravel())
    read = xr.open_datatree(path)
    np.testing.assert_array_equal(read["posterior"]["sd__x"], tree["posterior"]["sd__x"])
    assert "uniform(0, 100)" in read["posterior"].attrs["priors"]


def test_variance_explained_is_summarised_over_the_draws(coffee):
    """Mean, and quantiles 0.025 and 0.975, of what each draw says; the interval is no wider and no narrower."""
    moments, fit, tree = coffee
    draws = {
        name: values.to_numpy().ravel() for name, values in tree["posterior"].items() if values.ndim == 2
    }
    factor = Component("group", ("Intercept", "x"), moments.mean_zz(("Intercept", "x")))
    cov_fixed = moments.cov_fixed(("Intercept", "x"))
    expected = explained(draws, ("Intercept", "x"), [factor], cov_fixed)
    found = fit.diagnostics.summary["variance_explained"]
    assert len(found) == len(expected) >= 3
    for (group, measure), values in expected.items():
        own = found[variable(group, measure, ["group"])]
        low, high = np.quantile(values, [0.025, 0.975])
        # the fixed effects of the file are drawn once for each draw, as here: equal up to rounding
        assert list(own.values()) == pytest.approx([values.mean(), low, high], rel=1e-9, abs=1e-12), measure


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_arviz_finds_what_its_loo_and_predictive_plots_need(coffee, tmp_path):
    import arviz as az

    moments, fit, tree = coffee
    bayes.write(str(tmp_path / "posterior.nc"), tree)
    read = az.from_netcdf(str(tmp_path / "posterior.nc"))
    assert read["log_likelihood"]["y"].dims == ("chain", "draw", "level")
    assert read["observed_data"]["y"].dims == ("level",)
    found = az.loo(read, pointwise=True)
    settings = {"priors": POST, "seed": 1, "conf_level": 0.95}
    own = stage.criticise(moments, ("Intercept", "x"), (("Intercept",), ("x",)), tree, settings)
    # one density, one smoothing; the relative ESS, here of all draws, moves the length of the smoothed tail
    assert found.elpd == pytest.approx(own.about["loo"]["elpd"], abs=0.1 * own.about["loo"]["se"])
    assert found.n_data_points == 100
    assert az.plot_ppc_dist(read, backend="none") is not None
    assert fit.diagnostics.summary["group_draws_kept"] == ["log_likelihood", "posterior_predictive"]
    # the observed means lie inside of what is replicated: 5 % of 100 outside, four binomial errors of 2.2
    low, high = np.quantile(read["posterior_predictive"]["y"], [0.025, 0.975], axis=(0, 1))
    observed = read["observed_data"]["y"].to_numpy()
    assert ((observed < low) | (observed > high)).sum() <= 5 + 4 * 2.2


def test_groups_means_are_observed_and_replicated_as_rows_say():
    terms, y, W, codes, levels = problems.rows_of("sleepstudy")
    y, W, codes = y[:-3], W[:-3], codes[:-3]  # the last group has fewer rows
    moments = compute(terms, y, W, codes, levels)
    means = np.array([W[codes == j].mean(axis=0) for j in range(18)])
    expected = [y[codes == j].mean() for j in range(18)]
    np.testing.assert_allclose(observed_means(moments), expected, rtol=1e-12)
    beta, root, sigma = np.array([250.0, 10.0]), np.array([[25.0, 0.0], [2.0, 5.0]]), 26.0
    size = 20_000
    drawn = replicated_means(
        moments, terms.fixed, terms.random, np.tile(beta, (size, 1)), np.tile(root, (size, 1, 1)),
        np.full(size, sigma), np.random.default_rng(1),
    )  # fmt: skip
    sd = np.sqrt(np.einsum("ja,ab,jb->j", means, root @ root.T, means) + sigma**2 / np.bincount(codes))
    # 18 means and sd's of 20,000 draws: five standard errors
    assert (abs(drawn.mean(axis=0) - means @ beta) <= 5 * sd / np.sqrt(size)).all()
    np.testing.assert_allclose(drawn.std(axis=0), sd, rtol=5 / np.sqrt(2 * size))


def test_beyond_the_limit_no_draws_of_groups_are_kept():
    moments, terms = problems.moments_of("sleepstudy")
    problem = problem_of(moments, terms.fixed, terms.blocks)
    draws = np.zeros((4, 2)), np.tile(np.eye(2), (4, 1, 1)), np.ones(4)
    rng = np.random.default_rng(1)
    assert group_draws(moments, problem, draws, (2, 2), rng, 4 * 18 - 1) == {}
    kept = group_draws(moments, problem, draws, (2, 2), rng, 4 * 18)
    shapes = {name: {group: array.shape for group, array in own.items()} for name, own in kept.items()}
    weighted = group_draws(replace(moments, log_weights=1.0), problem, draws, (2, 2), rng, 4 * 18)
    assert list(weighted) == ["posterior_predictive"]
    assert shapes == {key: {"Subject": (2, 2, 18)} for key in ("log_likelihood", "posterior_predictive")}


def quadrature(packed, priors: dict[str, Prior], ranges, points=14):
    """Posterior means of (sd1, sd2, r, sigma) by Gauss-Legendre quadrature over boxes that hold all the mass."""
    axes, weights = [], []
    for low, high in ranges:
        node, weight = np.polynomial.legendre.leggauss(points)
        axes.append(0.5 * (high - low) * node + 0.5 * (high + low))
        weights.append(weight)
    grid = np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")])
    weight = np.prod(np.stack([g.ravel() for g in np.meshgrid(*weights, indexing="ij")]), axis=0)
    order = ("sd1", "sd2", "corr", "sigma")
    logp = sum(priors[name].logpdf(values) for name, values in zip(order, grid, strict=True))
    for k, (s1, s2, r, sigma) in enumerate(grid.T):
        root = np.array([[s1, 0.0], [s2 * r, s2 * np.sqrt(1.0 - r * r)]])
        logp[k] += log_density(packed, root, sigma)[0]
    weight = weight * np.exp(logp - logp.max())
    return (grid * weight).sum(axis=1) / weight.sum()


def test_sleepstudy_against_quadrature(sleepstudy):
    moments, terms, fit, _ = sleepstudy
    setting = {"sd": "half_normal(50)", "sigma": "half_student_t(4, 50)", "corr": "lkj(2)"}
    _, _, packed = bayes.prepare(moments, terms.fixed, terms.blocks, setting)
    priors = {
        "sd1": Prior("half_normal", (50.0,)),
        "sd2": Prior("half_normal", (50.0,)),
        "corr": Prior("lkj", (2.0,)),
        "sigma": Prior("half_student_t", (4.0, 50.0)),
    }
    ranges = [(0.0, 85.0), (0.0, 18.0), (-0.999, 0.999), (19.0, 36.0)]
    expected = quadrature(packed, priors, ranges)
    table = fit.parameters.set_index("term")
    for term, value in zip(
        ("sd__Intercept", "sd__Days", "cor__Intercept.Days", "sd__Observation"), expected, strict=True
    ):
        assert abs(table.estimate[term] - value) <= 4 * table.mcse_mean[term], term


def test_the_full_model_agrees():
    data = problems.rows_of("sleepstudy_indep")
    moments, terms = problems.moments_of("sleepstudy_indep")
    setting = settings(target_accept=0.9)
    marginal, _ = bayes.fit(moments, terms.fixed, terms.blocks, setting)
    full, tree = bayes_full.fit_full(Rows(*data), moments, setting)
    assert full.diagnostics.status == "ok"
    for a, b in ((marginal.parameters, full.parameters), (marginal.ranef, full.ranef)):
        error = np.hypot(a.mcse_mean, b.mcse_mean)
        # 41 comparisons at four errors: a false alarm in 400 seeds
        assert (abs(a.estimate - b.estimate) <= 4 * error).all()
    np.testing.assert_allclose(marginal.ranef.std_error, full.ranef.std_error, rtol=0.06)
    assert tree["posterior"]["ranef"].shape == (4, 2000, 18, 2)


def test_the_full_models_density_is_that_of_effects_and_rows():
    """A group's coefficients are random_map^-1 (beta + u), at the mean of a predictor without a random effect."""
    rng, fixed, random = np.random.default_rng(12), ("Intercept", "x", "z"), ("Intercept", "x")
    terms, y, W, codes, levels = problems.simulated(rng, [4] * 6, fixed, random, np.eye(2), 1.0, np.ones(3))
    rows, moments = Rows(terms, y, W, codes, levels), compute(terms, y, W, codes, levels)
    priors = resolve({}, moments, fixed, (random,), marginal=False)
    model = bayes_full.full_model(rows, priors)
    sds, r, sigma = np.array([1.3, 0.6]), 0.4, 0.9
    own = {"Intercept_centred": 2.5, "x": 0.8, "z": -1.7}
    coefficients = rng.normal(size=(6, 2))
    point = own | {f"{name}_log__": np.log(sd) for name, sd in zip(priors.names[:2], sds, strict=True)}
    point |= {
        f"{priors.names[2]}_unit_logodds__": np.log((1 + r) / (1 - r)),
        "sd__Observation_log__": np.log(sigma),
    }
    point |= {"coefficients": coefficients}
    assert point.keys() == model.initial_point().keys()
    drawn = [model[name] for name in ("coefficients", "y")]
    found = model.compile_logp(drawn, mode="FAST_COMPILE")(point)

    beta, back = np.linalg.solve(priors.fixed_map, list(own.values())), priors.random_map
    assert not np.allclose(back, np.eye(2))
    shift = np.array([W[:, 2].mean() * beta[2], 0.0])
    u = (coefficients - shift) @ back.T - beta[:2]
    D = back @ (np.outer(sds, sds) * [[1.0, r], [r, 1.0]]) @ back.T
    expected = stats.multivariate_normal.logpdf(u, cov=D).sum() + 6 * np.linalg.slogdet(back)[1]
    expected += stats.norm.logpdf(y, W @ beta + (W[:, :2] * u[codes]).sum(axis=1), sigma).sum()
    assert found == pytest.approx(expected, rel=1e-12)


def test_tables_of_the_full_model_are_summaries_of_its_draws(monkeypatch):
    """Draws as a sampler would return them: estimates, errors of their means, the limit of R-hat, groups' draws."""
    terms, y, W, codes, levels = problems.rows_of("dyestuff")
    rows, moments = Rows(terms, y, W, codes, levels), compute(terms, y, W, codes, levels)
    rng, shape = np.random.default_rng(13), (2, 300)
    beta, sd, sigma = rng.normal(1500.0, 20.0, shape), rng.gamma(9.0, 5.0, shape), rng.gamma(50.0, 1.0, shape)
    ranef = rng.normal(0.0, 40.0, (*shape, 6, 1))
    about = {
        name: np.zeros(shape) for name in ("diverging", "maxdepth_reached", "n_steps", "step_size", "logp")
    }
    draws = Draws(np.stack([sd, sigma]), about | {"energy": rng.normal(size=shape)})
    dims = ("chain", "draw")
    posterior = xr.Dataset({"Intercept": (dims, beta), "ranef": ((*dims, "j", "k"), ranef)})

    class Drawn:
        def __init__(self, priors, model, extra):
            assert (priors.names, extra) == (["sd__Intercept", "sd__Observation"], ("Intercept", "ranef"))

        def tree(self, setting):
            return {"posterior": posterior}

        def draws(self, tree):
            return draws

    monkeypatch.setattr(bayes_full, "full_model", lambda rows, priors: None)
    monkeypatch.setattr(bayes_full, "Sampler", Drawn)
    fixed = {"fixed": "flat", "sd": "half_normal(50)", "sigma": "half_normal(50)"}
    fit, tree = bayes_full.fit_full(rows, moments, settings(chains=2, draws=300, priors=fixed))
    values = np.stack([beta, sd, sigma]).reshape(3, -1)
    low, high = np.quantile(values, [0.025, 0.975], axis=1)
    table = fit.parameters
    assert table["term"].tolist() == ["Intercept", "sd__Intercept", "sd__Observation"]
    for column, expected in {
        "estimate": values.mean(axis=1), "std_error": values.std(axis=1, ddof=1), "conf_low": low, "conf_high": high,
    }.items():  # fmt: skip
        np.testing.assert_allclose(table[column], expected, rtol=1e-12)
    ess = convergence(np.stack([beta, sd, sigma]))
    np.testing.assert_allclose(table["mcse_mean"], table["std_error"] / np.sqrt(ess["ess_mean"]), rtol=1e-12)
    np.testing.assert_array_equal(table["ess_bulk"], ess["ess_bulk"])
    effects = ranef.reshape(600, 6)
    np.testing.assert_allclose(fit.ranef["estimate"], effects.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fit.ranef["std_error"], effects.std(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(fit.ranef["conf_low"], np.quantile(effects, 0.025, axis=0), rtol=1e-12)
    own = convergence(np.ascontiguousarray(ranef.reshape(*shape, 6).transpose(2, 0, 1)))
    np.testing.assert_allclose(
        fit.ranef["mcse_mean"], fit.ranef["std_error"] / np.sqrt(own["ess_mean"]), rtol=1e-12
    )
    gates = {gate["name"]: gate for gate in fit.diagnostics.gates}
    # 0.01 of one in ten of 9 quantities: the limit is that of ten
    assert gates["R-hat, largest"]["limit"] == pytest.approx(1.01, abs=1e-12)
    assert gates["R-hat, largest"]["value"] == max(ess["rhat"].max(), own["rhat"].max())
    assert gates["bulk ESS, smallest"]["value"] == min(ess["ess_bulk"].min(), own["ess_bulk"].min())
    assert tree["posterior"]["ranef"].shape == (2, 300, 6, 1)
    log_likelihood = tree["log_likelihood"]["y"].to_numpy()
    at = np.unravel_index(7, shape)
    mine = y[codes == 2]
    V = sigma[at] ** 2 * np.eye(5) + sd[at] ** 2
    expected = stats.multivariate_normal.logpdf(mine, np.full(5, beta[at]), V)
    assert log_likelihood[at][2] == pytest.approx(expected, rel=1e-9)


def test_chains_start_at_the_estimates_within_the_priors_bounds():
    """On the unconstrained scale: logarithms of sd's, logits of shares of a range; correlations of 0.9 at most."""
    structure = layout((("a", "b"), ("c", "d", "e")))
    flat = Prior("flat")
    sd = {
        "a": Prior("uniform", (10.0, 110.0)),
        "b": flat,
        "c": flat,
        "d": flat,
        "e": Prior("uniform", (2.0, 4.0)),
    }
    own = SimpleNamespace(
        sd={f"sd__{name}": prior for name, prior in sd.items()}, sigma=flat, structure=structure
    )
    names = [*own.sd, "cor__a.b", "sd__Observation"]
    free = [SimpleNamespace(name=name) for name in (*own.sd, "cor__a.b_unit", "chol_2", "sd__Observation")]
    sampler = SimpleNamespace(terms=names, priors=own, model=SimpleNamespace(free_RVs=free))
    for r, unit in ((0.5, np.log(3.0)), (0.99, np.log(19.0)), (-1.0, -np.log(19.0))):
        found = bayes_model.Sampler.start(sampler, np.array([35.0, 2.0, 3.0, 4.0, 1.0, r, 5.0]))
        least = np.log(1e-6 / (1 - 1e-6))
        expected = [np.log(1 / 3), *np.log([2.0, 3.0, 4.0]), least, unit, 0.0, 0.0, 0.0, np.log(5.0)]
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_three_effects_have_their_lkj_density():
    rng = np.random.default_rng(8)
    names = ("Intercept", "x", "z")
    data = problems.simulated(rng, [6] * 10, names, names, np.eye(3), 1.0, np.ones(3))
    moments = compute(*data)
    _, priors, packed = bayes.prepare(
        moments, names, (names,), {"sd": "exponential(1)", "sigma": "exponential(2)", "corr": "lkj(3)"}
    )
    model = bayes_model.marginal_model(priors, packed)
    cors = [f"cor__{a}" for a in ("Intercept.x", "Intercept.z", "x.z")]
    point = model.initial_point()
    free = [name for name in point if name.startswith("chol")]
    assert len(free) == 1
    z0 = np.array([0.3, -0.4, 0.5])
    outputs = model.replace_rvs_by_values([model[name] for name in cors])
    options = {"mode": "FAST_COMPILE", "on_unused_input": "ignore"}  # sds are not used
    deterministic = model.compile_fn(outputs, inputs=model.value_vars, **options)
    logp = model.compile_logp(mode="FAST_COMPILE")

    def correlations(z):
        return np.array(deterministic(point | {free[0]: z}))

    jacobian = np.column_stack(
        [(correlations(z0 + 1e-6 * e) - correlations(z0 - 1e-6 * e)) / 2e-6 for e in np.eye(3)]
    )

    def expected(z):
        R = np.eye(3)
        R[[0, 0, 1], [1, 2, 2]] = R[[1, 2, 2], [0, 0, 1]] = correlations(z)
        sds = np.array([np.exp(point[f"sd__{name}_log__"]) for name in names])
        sigma = np.exp(point["sd__Observation_log__"])
        value = log_density(packed, np.diag(sds) @ np.linalg.cholesky(R), float(sigma))[0]
        return value + (3.0 - 1.0) * np.linalg.slogdet(R)[1]

    step = 1e-6 * np.array([1.0, -2.0, 0.5])
    other = z0 + 1e5 * step  # a finite move: density ratios need no constants
    there = np.column_stack(
        [(correlations(other + 1e-6 * e) - correlations(other - 1e-6 * e)) / 2e-6 for e in np.eye(3)]
    )
    found = logp(point | {free[0]: other}) - logp(point | {free[0]: z0})
    wanted = expected(other) - expected(z0) + np.linalg.slogdet(there)[1] - np.linalg.slogdet(jacobian)[1]
    # difference quotients are good to 1e-9
    assert found == pytest.approx(wanted, abs=1e-6)


def test_group_summaries_are_averages_of_dense_conditionals():
    moments, terms = problems.moments_of("sleepstudy")
    problem, priors, packed = bayes.prepare(moments, terms.fixed, terms.blocks, {"fixed": "flat"})
    values = np.array([[25.0, 30.0], [6.0, 5.0], [0.1, -0.3], [25.0, 27.0]])
    roots, sigmas = roots_of(problem.structure, values)
    noise = np.random.default_rng(1).standard_normal((2, 2))
    own = np.linalg.solve(priors.random_map, roots)  # what the vector is made for
    beta, away, half, factors, _ = given_draws(packed, own, sigmas, noise, np.ones(2, bool))
    # the draws around the mean are the noise through the same root of the covariance
    np.testing.assert_allclose(away, np.einsum("sab,sb->sa", half, noise), rtol=1e-12)
    args = (packed, problem.z_map, beta, half, factors, sigmas, 2, 0.025)
    kept, dropped = (
        [part[: problem.n_groups] for part in summarise_groups(*args, keep, 0, len(problem.gram))]
        for keep in (True, False)
    )
    for a, b in zip(kept[:6], dropped[:6], strict=True):
        np.testing.assert_array_equal(a, b)
    assert dropped[6].shape[0] == 0
    _, y, W, codes, _ = problems.rows_of("sleepstudy")
    cases = [
        problems.dense(terms, y, W, codes, root @ root.T, sigma)
        for root, sigma in zip(roots, sigmas, strict=True)
    ]
    mean = np.mean([case[3] for case in cases], axis=0)
    within = np.mean([case[4] ** 2 for case in cases], axis=0)
    between = np.var([case[3] for case in cases], axis=0)
    # effects of order 10, from matrices of condition number below 1e5
    np.testing.assert_allclose(kept[0], mean, atol=1e-9)
    np.testing.assert_allclose(kept[1], within + between, rtol=1e-9)
    np.testing.assert_allclose(kept[6].transpose(2, 0, 1), [case[3] for case in cases], atol=1e-9)


@pytest.mark.parametrize("prob", [0.01, 0.3, 0.975])
def test_searches_for_quantiles_start_at_cornish_and_fishers_expansion(prob):
    """From the first four moments by quadrature, in a mixture that is skewed and has heavier tails than a normal."""
    means, sds = np.repeat([2.0, 3.5], [80, 20]), np.repeat([1.0, 1.3], [80, 20])

    def moment(power, centre=0.0):
        def at(x):
            return (x - centre) ** power * stats.norm.pdf(x, means, sds).mean()

        return integrate.quad(at, -10.0, 16.0, epsabs=1e-12)[0]

    mean, z = moment(1), stats.norm.ppf(prob)
    sd = np.sqrt(moment(2, mean))
    skew, excess = moment(3, mean) / sd**3, moment(4, mean) / sd**4 - 3.0
    bend = (
        (z**2 - 1.0) * skew / 6.0 + (z**3 - 3.0 * z) * excess / 24.0 - (2.0 * z**3 - 5.0 * z) * skew**2 / 36.0
    )
    assert min(skew, excess) > 0.2
    found = posterior_module.expanded.py_func(means, sds, z)
    assert found == pytest.approx(mean + sd * (z + bend), rel=1e-8)
    exact = optimize.brentq(lambda x: stats.norm.cdf(x, means, sds).mean() - prob, -9.0, 12.0, xtol=1e-12)
    assert abs(found - exact) < abs(mean + sd * z - exact)


@pytest.mark.parametrize("prob", [0.025, 0.3, 0.975])
@pytest.mark.parametrize("place", [3.0, 3000.0])
def test_quantiles_of_a_mixture_take_few_steps(prob, place, monkeypatch):
    """Normals of nearly one sd and a point, against bisection; Halley's steps from the normal quantile: 3 to 5."""
    rng, calls = np.random.default_rng(14), []
    means, sds = rng.normal(place, 0.4, 30), rng.uniform(0.9, 1.1, 30)
    sds[0] = 0.0
    counted = SimpleNamespace(**{**vars(math), "erfc": lambda x: calls.append(1) or math.erfc(x)})
    monkeypatch.setattr(posterior_module, "math", counted)
    sd = np.sqrt(np.mean(sds**2) + means.var())
    start = means.mean() + stats.norm.ppf(prob) * sd
    given = means, sds, prob, means.mean() - 12 * sd, means.mean() + 12 * sd, start
    found = mixture_quantile.py_func(*given)

    def off(x):
        return np.append(stats.norm.cdf(x, means[1:], sds[1:]), means[0] <= x).mean() - prob

    assert found == pytest.approx(optimize.brentq(off, *given[3:5], xtol=1e-12), abs=1e-7)
    assert len(calls) / 29 <= 5
    assert mixture_quantile(*given) == pytest.approx(found, abs=1e-12)


def test_the_covariance_of_fixed_effects_has_its_spread_between_draws():
    """cov(beta | y) = E[cov(beta | D, sigma, y)] + cov(E[beta | D, sigma, y]), from dense algebra at two draws."""
    rng = np.random.default_rng(3)
    # unbalanced groups: balanced data have a GLS estimate that does not depend on the variances
    data = problems.simulated(
        rng, [2, 9, 3, 12, 5], ("Intercept", "x"), ("Intercept", "x"), np.eye(2), 1.0, np.array([1.0, 2.0])
    )
    terms, y, W, codes, _ = data
    moments = compute(*data)
    problem, priors, packed = bayes.prepare(moments, terms.fixed, terms.blocks, {"fixed": "flat"})
    values = np.array([[0.2, 4.0], [0.3, 2.0], [0.5, -0.5], [2.0, 0.5]])
    roots, sigmas = roots_of(problem.structure, values)
    cases = [problems.dense(terms, y, W, codes, L @ L.T, s) for L, s in zip(roots, sigmas, strict=True)]
    within = np.mean([case[2] for case in cases], axis=0)
    between = np.cov([case[1] for case in cases], rowvar=False, ddof=0)
    assert (np.diag(between) > 1e-4 * np.diag(within)).all(), "the check would notice nothing"
    own = np.linalg.solve(priors.random_map, roots)
    beta, away, half, _, _ = given_draws(packed, own, sigmas, rng.standard_normal((2, 2)), np.ones(2, bool))
    found = fixed_draws(problem, beta, away, half)
    np.testing.assert_allclose(found.mean, [case[1] for case in cases], rtol=1e-10)
    np.testing.assert_allclose(found.covariance, within + between, rtol=1e-9)


def test_thinning_bounds_the_work():
    assert len(thin(8000, 100, WORK)) == 8000
    assert len(thin(2000, 100_000, WORK)) == 100
    at = thin(8000, 1000, WORK)
    assert len(at) * 1000 <= 4_000_000
    assert (np.diff(at) >= 1).all()


def test_automatic_priors_have_the_documented_scales():
    moments, terms = problems.moments_of("sleepstudy")
    priors = resolve({}, moments, terms.fixed, terms.blocks, marginal=True)
    y, days = problems.rows_of("sleepstudy")[1], problems.rows_of("sleepstudy")[2][:, 1]
    sd = y.std(ddof=1)
    assert priors.fixed["Intercept"].args == pytest.approx((y.mean(), 2.5 * sd), rel=1e-12)
    assert priors.fixed["Days"].args == pytest.approx((0.0, 2.5 * sd / days.std(ddof=1)), rel=1e-12)
    assert priors.sd["Intercept"].args == pytest.approx((2.5 * sd,), rel=1e-12)
    assert priors.sd["Days"].args == pytest.approx((2.5 * sd / days.std(ddof=1),), rel=1e-12)
    assert priors.sigma.args == pytest.approx((4.0, sd), rel=1e-12)
    # the intercept's prior is of the mean response at the predictors' means: centred there, whatever the slope
    at = np.array([1.0, days.mean()])
    cov = np.linalg.inv(priors.normal["root"].T @ priors.normal["root"])
    assert at @ cov @ at == pytest.approx((2.5 * sd) ** 2, rel=1e-10)


@pytest.mark.parametrize(
    ("setting", "where"),
    [
        ({"fixed": "student_t(3, 0, 1)"}, "engines.pymc.priors.fixed.Intercept"),
        ({"fixed": {"Dayz": "flat"}}, "engines.pymc.priors.fixed.Dayz"),
        ({"sd": {"x": "flat"}}, "engines.pymc.priors.sd.x"),
    ],
)
def test_priors_that_cannot_be_used(setting, where):
    moments, terms = problems.moments_of("sleepstudy")
    with pytest.raises(StudyError) as caught:
        resolve(setting, moments, terms.fixed, terms.blocks, marginal=True)
    assert str(caught.value).startswith(f"{where}:")


def test_a_harder_second_attempt():
    setting = Setting(seed=1, chains=4, tune=500, draws=1000, target_accept=0.8)
    harder = setting.harder()
    assert (harder.tune, harder.target_accept, harder.draws) == (1000, 0.95, 1000)
    assert harder.seed != setting.seed


def test_moments_survive_the_file(coffee, tmp_path):
    moments, *_ = coffee
    paths = str(tmp_path / "moments.parquet"), str(tmp_path / "moments.json")
    moments.write(*paths)
    again = Moments.read(*paths)
    np.testing.assert_array_equal(again.gram, moments.gram)
    np.testing.assert_array_equal(again.total, moments.total)
    assert again.basis.plain() == moments.basis.plain()


def test_summaries_are_those_of_the_draws():
    draws = np.random.default_rng(1).permutation(101).astype(float).reshape(1, 1, 101)
    expected = {
        "estimate": 50.0, "median": 50.0, "sd": np.sqrt(101 * 102 / 12), "mad": 1.4826 * 25, "q5": 5.0, "q95": 95.0,
        "conf_low": 10.0, "conf_high": 90.0, "std_error": np.sqrt(101 * 102 / 12),
    }  # fmt: skip
    found = {name: float(values[0]) for name, values in summarise(draws, 0.8).items()}
    assert found == pytest.approx(expected)
