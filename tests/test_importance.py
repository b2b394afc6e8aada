"""Importance sampling of variance parameters: against quadrature, NUTS and known distributions."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

import problems
from conftest import ROOT
from lmm.config.engines import Pymc
from lmm.engines import reml
from lmm.engines.base import Task
from lmm.engines.pymc import fit as bayes
from lmm.engines.pymc import importance, unconstrained
from lmm.engines.pymc.attempts import Setting
from lmm.engines.pymc.chains import start_estimates
from lmm.engines.pymc.gates import convergence, ess_of_points, gate_importance
from lmm.engines.pymc.grouped import Grouped
from lmm.engines.pymc.sampling import sampled
from lmm.engines.pymc.unconstrained import Factor, Space
from lmm.likelihood.problem import layout
from lmm.model.priors import Prior
from lmm.moments.accumulate import compute

SD = (Prior("half_normal", (2.0,)), Prior("uniform", (0.5, 3.0)), Prior("half_cauchy", (1.0,)))
SPACE = Space((Factor(layout((("a", "b", "c"),)), SD, np.array([0.3, 0.5, 2.0]), 1.5),), Prior("flat"), 0.7)


def settings(**changes) -> dict:
    return Pymc(sampler="importance", **changes).plain() | {"conf_level": 0.95}


def test_coordinates_and_back():
    """The inverse by Newton is right to rounding, and roots give the values."""
    points = np.random.default_rng(1).uniform(0.1, 1.5, (200, 7))  # 3 sd's, 3 correlations, sigma
    values = SPACE.values(points)
    assert np.all((values[1] > 0.5) & (values[1] < 3.0))
    (roots,), sigmas, _ = SPACE.evaluated(points)
    D = roots @ roots.transpose(0, 2, 1)
    assert np.allclose(np.sqrt(np.einsum("saa->as", D)), values[:3])
    assert np.allclose(D[:, 0, 2] / (values[0] * values[2]), values[4])
    assert np.array_equal(sigmas, values[-1])
    inner = values[:, np.abs(values[3:6]).max(axis=0) < 0.9]
    for value in inner.T:
        again = SPACE.values(SPACE.point(value)[None])[:, 0]
        # a start's correlations are drawn to 0 by a hundredth
        assert np.allclose(again[[0, 1, 2, 6]], value[[0, 1, 2, 6]], rtol=1e-8)
        assert np.allclose(again[3:6], 0.99 * value[3:6], rtol=1e-8)


def test_prior_is_the_distribution_with_its_jacobian():
    """Points drawn by the prior's density in the coordinates have the priors' quantiles: 20,000 weighted points."""
    space = Space((Factor(layout((("a", "b"),)), SD[:2], np.array([0.3, 0.5]), 2.0),), SD[2], 0.7)

    class OfPrior:
        def evaluate(self, points):
            return space.evaluated(points)[2], ()

        def slopes(self, points):
            roots, _, density = space.evaluated(points)
            nothing = np.zeros((len(points), 2, 2))
            return density, space.gradients(points, roots, [nothing], np.zeros(len(points)))

    found = importance.sample(OfPrior(), np.zeros(4), 20_000, np.random.default_rng(2))
    values = space.values(found.points)
    truth = (
        stats.halfnorm(0, 2.0),
        stats.uniform(0.5, 2.5),
        stats.beta(2, 2, -1, 2),
        stats.halfcauchy(0, 1.0),
    )
    for own, distribution in zip(values, truth, strict=True):
        below = [found.weights @ (own <= distribution.ppf(p)) for p in (0.05, 0.25, 0.5, 0.75, 0.95)]
        # four standard errors of a share of 20,000 x 0.5 effective points: 0.02
        assert np.allclose(below, (0.05, 0.25, 0.5, 0.75, 0.95), atol=0.02)


@pytest.mark.parametrize("name", ["sleepstudy", "coffee"])
def test_gradient(name):
    """Against central differences of the values, right to about 1e-7."""
    moments, terms = problems.moments_of(name)
    problem, priors, packed = bayes.prepare(moments, terms.fixed, terms.blocks, {"fixed": "normal(0, 50)"})
    start = start_estimates(problem, priors)
    target = Grouped(problem, packed, priors, moments, None).target(start[-1], np.random.default_rng(1))
    point = target.space.point(start) + 0.2
    (value,), (gradient,) = target.slopes(point[None])
    assert target.evaluate(point[None])[0][0] == pytest.approx(value, abs=1e-9)
    steps = 1e-5 * np.eye(len(point))
    ends = target.evaluate(point + steps)[0], target.evaluate(point - steps)[0]
    assert np.allclose((ends[0] - ends[1]) / 2e-5, gradient, rtol=1e-6, atol=1e-6)


def test_coffee_within_four_monte_carlo_errors_of_the_exact_posterior():
    moments, _ = problems.moments_of("coffee")
    post = {"fixed": "flat", "sd": "uniform(0, 100)", "sigma": "flat"}
    blocks = (("Intercept",), ("x",))
    fit, tree = bayes.fit(moments, ("Intercept", "x"), blocks, settings(priors=post))
    exact, about = problems.COFFEE["posterior_exact"], fit.diagnostics
    assert about.status == "ok"
    assert about.summary["sampler"] == "importance"
    assert about.seconds["compile"] == 0.0
    table = fit.parameters.set_index("term")
    names = {"Intercept": "b0", "x": "b1", "sd__Intercept": "b0_ran_sigma", "sd__x": "b1_ran_sigma"}
    for term, name in (names | {"sd__Observation": "sigma"}).items():
        assert abs(table.estimate[term] - exact["mean"][name]) <= 4 * table.mcse_mean[term] + 1e-9, term
        relative = 8 / np.sqrt(2 * table.ess_bulk[term])
        assert table.sd[term] == pytest.approx(exact["sd"][name], rel=relative)
    for term, name in {"Intercept": "b0_ran", "x": "b1_ran"}.items():
        rows = fit.ranef[fit.ranef.term == term].set_index("level").loc[[str(j) for j in range(1, 101)]]
        assert (abs(rows.estimate - exact[name]) <= 4 * rows.mcse_mean + 1e-9).all()
    assert tree["posterior"]["ranef"].shape == (1, 8000, 100, 2)
    assert tree["sample_stats"]["weight"].shape == (1, 8000)


def test_agrees_with_nuts_at_the_boundary():
    """Eight groups whose slopes hardly differ: both samplers agree within four Monte Carlo errors."""
    names = ("Intercept", "x")
    root = np.diag([1.0, 0.01])
    data = problems.simulated(np.random.default_rng(5), [6] * 8, names, names, root, 1.0, np.ones(2))
    moments = compute(*data)
    one, _ = bayes.fit(moments, names, (names,), settings(keep_draws=0))
    other, _ = bayes.fit(moments, names, (names,), settings(keep_draws=0) | {"sampler": "nuts"})
    assert one.diagnostics.status == other.diagnostics.status == "ok"
    assert other.diagnostics.summary["sampler"] == "nuts"
    for a, b in ((one.parameters, other.parameters), (one.ranef, other.ranef)):
        # 22 means at four errors: a false alarm in 700 seeds
        assert (abs(a.estimate - b.estimate) <= 4 * np.hypot(a.mcse_mean, b.mcse_mean)).all()
    spread = one.parameters.sd / other.parameters.sd
    assert np.allclose(spread, 1.0, atol=8 / np.sqrt(2 * 2000))


def test_falls_back_to_nuts_and_says_so(capsys):
    """Weights that fail their gate: the fit is NUTS's, and diagnostics and log say why."""
    moments, terms = problems.moments_of("dyestuff")
    problem, priors, packed = bayes.prepare(moments, terms.fixed, terms.blocks, {})
    made = []

    class Stuck(Grouped):
        def by_nuts(self, setting):
            made.append("nuts")
            return self.by_importance(setting)

    posterior = Stuck(problem, packed, priors, moments, lambda: None)
    few = Setting(
        seed=1, chains=4, tune=100, draws=60, target_accept=0.8
    )  # 240 points where 400 would be needed
    found = sampled(posterior, few, "importance")
    assert made == ["nuts", "nuts"]
    assert found.sampler == "nuts"
    assert "importance sampling failed a gate and NUTS took its place: bulk ESS" in found.warnings[0]
    assert found.warnings[0] in capsys.readouterr().err


class Normal:
    """A normal log density with a given precision, and how often it is asked for its slope."""

    def __init__(self, mean, precision):
        self.mean, self.precision, self.calls = np.array(mean), np.array(precision), 0

    def evaluate(self, points):
        away = points - self.mean
        return -0.5 * np.einsum("sa,ab,sb->s", away, self.precision, away), ()

    def slopes(self, points):
        self.calls += len(points)
        return self.evaluate(points)[0], -(points - self.mean) @ self.precision


@pytest.mark.parametrize(("start", "calls"), [([1.05, -1.9], 3), ([1.5, -1.0], None)])
def test_the_first_proposal_is_at_the_mode_with_the_curvature_there(start, calls):
    """One step finds it where the density rises by less than 0.05 to it, else a search to a slope of 0.01."""
    target = Normal([1.0, -2.0], [[4.0, 1.0], [1.0, 2.0]])
    mode, root, made = importance.laplace(target, np.array(start))
    assert made == target.calls
    assert made == calls if calls else made > 4
    np.testing.assert_allclose(target.slopes(mode[None])[1], 0.0, atol=1e-9 if calls else 0.01)
    # differences of a linear gradient: rounding of 1e-16 / 1e-4
    np.testing.assert_allclose(root @ root.T, np.linalg.inv(target.precision), rtol=1e-9)
    assert root[0, 1] == 0.0


def test_a_flat_direction_has_a_curvature_of_a_tenth_at_least():
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    for flat in (0.03, -0.5):
        target = Normal([0.0, 0.0], turn @ np.diag([3.0, flat]) @ turn.T)
        _, root, _ = importance.laplace(target, np.zeros(2))
        np.testing.assert_allclose(root @ root.T, turn @ np.diag([1 / 3, 10.0]) @ turn.T, rtol=1e-8)


def test_proposals_and_their_mixture_have_the_density_of_a_t():
    rng = np.random.default_rng(8)
    one = importance.Proposal(np.array([1.0, 2.0]), np.array([[0.5, 0.0], [0.3, 2.0]]), 4000)
    two = importance.Proposal(np.array([0.0, -1.0]), np.array([[1.5, 0.0], [-0.4, 0.2]]), 1000)
    points = np.vstack([one.draw(rng), two.draw(rng)])
    logs = [stats.multivariate_t.logpdf(points, own.centre, own.root @ own.root.T, 7.0) for own in (one, two)]
    constant = logs[0][0] - one.log_density(points)[0]
    for own, expected in zip((one, two), logs, strict=True):
        np.testing.assert_allclose(own.log_density(points) + constant, expected, atol=1e-10)
    expected = np.log(0.8 * np.exp(logs[0]) + 0.2 * np.exp(logs[1]))
    np.testing.assert_allclose(importance.mixture([one, two], points) + constant, expected, atol=1e-10)
    away = (points[:4000] - one.centre) @ np.linalg.inv(one.root).T
    # a t's squared distance over its dimension is F with 2 and 7 degrees of freedom
    assert stats.kstest((away**2).sum(axis=1) / 2, stats.f(2, 7).cdf).pvalue > 1e-3
    assert abs(stats.spearmanr(*away.T).statistic) < 4 / np.sqrt(4000)


@pytest.mark.parametrize(("effective", "flattened"), [(14.0, 1), (16.0, 0)])
def test_weights_are_flattened_below_five_points_a_number(effective, flattened):
    """Two coordinates and the size of the weights: 15 effective points are needed."""
    points = np.random.default_rng(4).normal(size=(40, 2))
    # one weight w, the others alike, with w^2 + (1 - w)^2 / 39 = 1 / effective
    large = 1 / 40 + np.sqrt((1 / effective - 1 / 40) * 39 / 40)
    weights = np.append(large, np.full(39, (1 - large) / 39))
    assert 1.0 / np.sum(weights**2) == pytest.approx(effective)
    centre, _ = importance.adapted(points, weights)
    used = weights ** (0.5**flattened)
    np.testing.assert_allclose(centre, used @ points / used.sum(), rtol=1e-12)


def test_an_adapted_proposal_has_the_weighted_mean_and_a_tenth_more_covariance():
    rng = np.random.default_rng(9)
    points = rng.normal(size=(200, 2)) @ [[1.0, 0.5], [0.0, 2.0]]
    weights = rng.dirichlet(np.ones(200))
    centre, root = importance.adapted(points, weights)
    np.testing.assert_allclose(centre, weights @ points, rtol=1e-12)
    covariance = np.cov(points.T, aweights=weights, ddof=0)
    np.testing.assert_allclose(root @ root.T, 1.1 * covariance, rtol=1e-6)  # 1e-8 is added to the diagonal
    # two coordinates need 15 effective points: here 5.6, after a square root 9.5, after two 15.9
    weights = np.repeat([1.02, 0.02, 0.0], [5, 15, 180])
    flat = weights**0.25 / np.sum(weights**0.25)
    found, _ = importance.adapted(points, weights / weights.sum())
    np.testing.assert_allclose(found, flat @ points, rtol=1e-12)


def test_points_are_as_many_as_asked_for_and_more_while_weights_have_no_variance():
    target = Normal([0.5, 0.5], np.eye(2))
    found = importance.sample(target, np.zeros(2), 1000, np.random.default_rng(5))
    assert (len(found.points), found.evaluations) == (1000, target.calls)
    assert found.k < 0.5 and 700 < found.ess < 1000
    assert found.ess == pytest.approx(1 / np.sum(found.weights**2), rel=1e-12)
    mean = found.weights @ found.points
    np.testing.assert_allclose(mean, target.mean, atol=4 / np.sqrt(700))
    at = np.bincount(found.resampled(np.random.default_rng(1)), minlength=1000)
    # systematic: a point is there as often as its share of the draws says, rounded down or up
    assert at.sum() == 1000 and np.all(np.abs(at - 1000 * found.weights) < 1 + 1e-9)


def test_a_heavy_tail_fails_its_gate():
    """A Cauchy target under t proposals with 7 degrees of freedom: k is above its limit."""

    class Cauchy:
        def evaluate(self, points):
            return -np.log1p(points[:, 0] ** 2) - np.log1p(points[:, 1] ** 2), ()

        def slopes(self, points):
            return self.evaluate(points)[0], -2.0 * points / (1.0 + points**2)

    found = importance.sample(Cauchy(), np.full(2, 0.3), 4000, np.random.default_rng(3))
    assert found.k > 0.5
    assert len(found.points) == 8000  # four more parts of a quarter
    measures = {"ess_bulk": np.array([900.0]), "ess_tail": np.array([400.0])}
    failed = [gate["name"] for gate in gate_importance(measures, found.k, 4) if not gate["passed"]]
    assert failed == ["Pareto k of the importance weights"]


def test_a_density_without_a_finite_spread_fails_its_gate():
    """A density that grows with the distance: points beyond the largest numbers have no covariance to go on from."""

    class Growing:
        def evaluate(self, points):
            return 1e300 * np.abs(points).sum(axis=1), ()

        def slopes(self, points):
            return self.evaluate(points)[0], 1e300 * np.sign(points)

    with np.errstate(all="ignore"):
        found = importance.sample(Growing(), np.full(2, 0.3), 400, np.random.default_rng(3))
    assert found.k == np.inf


def test_effective_sample_sizes_of_resampled_points():
    """The variance of the weighted mean over 400 samples is that which the ESS promises."""
    rng = np.random.default_rng(4)
    means, promised = [], []
    for _ in range(400):
        points = 1.5 * rng.standard_t(5, 500)
        weights = np.exp(stats.norm.logpdf(points) - stats.t.logpdf(points / 1.5, 5))
        own = importance.Sample(points[:, None], points, (), weights / weights.sum(), 0.0, 0)
        at = own.resampled(rng)
        measures = convergence(points[at][None, None], at)
        means.append(points[at].mean())
        promised.append(points[at].var() / measures["ess_mean"][0])
    # a variance from 400 values is known to 7 %; four of these
    assert np.var(means) == pytest.approx(np.mean(promised), rel=0.28)
    assert np.isnan(measures["rhat"]).all()
    assert 100 < measures["ess_bulk"][0] < 500
    assert convergence(np.ones((1, 1, 500)), at)["ess_mean"][0] == 500


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_effective_sample_sizes_do_not_depend_on_the_unit(unit):
    """S^2 times the variance over the sum of the squared parts; a constant with rounding does not vary."""
    draws, points = np.array([[1.0, 1.0, 4.0, 2.0]]), np.array([7, 7, 2, 5])
    # about the mean 2: points 7, 2, 5 have the parts -2, 2, 0; the squares of the draws sum to 6
    assert ess_of_points(unit * draws, points) == pytest.approx(4 * 6 / 8, rel=1e-12)
    constant = unit * (1.0 + 1e-14 * draws)
    assert ess_of_points(constant, points) == 4.0
    chains = np.array([[[1.0, 2.0, 1.5, 0.5, 2.5], [2.0, 1.0, 0.5, 1.5, 2.5]]])
    assert np.isfinite(convergence(unit * chains)["rhat"]).all() and convergence(unit * chains)["rhat"] != 1.0
    assert convergence(unit * (1.0 + 1e-14 * chains))["rhat"] == 1.0


def test_a_replicate_needs_no_compilation():
    """The replicate's path gives the single fit's draws, without PyMC."""
    moments, terms = problems.moments_of("sleepstudy")
    fitter = bayes.Fitter(settings(draws=500), terms)
    brief = fitter.fit(Task(moments=moments, seed=123, brief=True))
    auto = bayes.Fitter(settings(draws=500) | {"sampler": "auto"}, terms)
    same = auto.fit(Task(moments=moments, seed=123, brief=True))
    assert same.parameters.equals(brief.parameters)
    assert fitter.compiled.sampler is None
    whole, _ = bayes.fit(moments, terms.fixed, terms.blocks, settings(draws=500))
    columns = ["term", "estimate", "std_error", "conf_low", "conf_high"]
    assert brief.fit.parameters[columns].equals(whole.parameters[columns])
    assert brief.diagnostics.summary["pareto_k"] < 0.5


def test_many_fixed_effects_are_sampled_by_importance():
    """NUTS would evaluate a likelihood that is cubic in them 10^5 times; flat priors: beta's means are GLS."""
    rng = np.random.default_rng(6)
    names = ("Intercept", *(f"x{k}" for k in range(99)))
    data = problems.simulated(rng, [20] * 30, names, names[:1], np.eye(1), 1.0, np.ones(100))
    moments = compute(*data)
    flat = {"priors": {"fixed": "flat", "sd": "flat", "sigma": "flat"}, "draws": 500}
    auto = Pymc(**flat).plain() | {"conf_level": 0.95}
    fit, _ = bayes.fit(moments, names, (names[:1],), auto)
    assert fit.diagnostics.status == "ok", fit.diagnostics.message
    assert fit.diagnostics.summary["sampler"] == "importance"
    exact = reml.fit(moments, names, (names[:1],), profile=False)[0].parameters
    # GLS at draws of the variances differs from GLS at REML's by the little that beta depends on them
    away = (fit.parameters["estimate"] - exact["estimate"])[:100] / exact["std_error"][:100]
    assert away.abs().max() < 0.05


def test_importance_sampling_imports_no_pymc():
    """Its import takes two seconds of each job of replicates."""
    code = "import sys, lmm.engines.pymc.fit; print(sorted({'pymc', 'nutpie', 'arviz_stats'} & set(sys.modules)))"
    own = os.environ | {"PYTHONPATH": str(ROOT / "workflow" / "scripts")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=own)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "prior", [*SD, Prior("exponential", (0.4,)), Prior("flat")], ids=lambda own: own.text
)
@pytest.mark.parametrize("times", [False, True])
def test_a_slope_in_an_sd_becomes_one_in_its_coordinate(prior, times):
    """Of 2 log s - s^2 / 5 and the prior, against central differences: right to 1e-8 of the curvature."""
    x, scale, h = np.array([-0.02, 0.05, 0.4, 1.3, 2.2]), 0.8, 1e-6

    def posterior(x):
        soft = unconstrained._soft(x)
        sd = unconstrained._sd(prior, scale, soft)
        return 2.0 * np.log(sd) - 0.2 * sd**2 + unconstrained._log_density(prior, scale, x, soft)

    sd = unconstrained._sd(prior, scale, unconstrained._soft(x))
    slope = 2.0 / sd - 0.4 * sd
    found = unconstrained._chain(prior, scale, x, slope * sd if times else slope, times)
    np.testing.assert_allclose(found, (posterior(x + h) - posterior(x - h)) / (2.0 * h), rtol=1e-6, atol=1e-6)
