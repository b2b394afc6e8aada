"""PyMC's engine for several factors: density, exact draws, both samplers, against dense matrices and quadrature."""

import numpy as np
import pytest
from scipy import stats

from lmm.config.engines import Pymc
from lmm.core.errors import StudyError
from lmm.core.tidy import by_term
from lmm.engines.pymc import fit as bayes
from lmm.engines.pymc import several_chains
from lmm.engines.pymc.several import Several
from lmm.engines.pymc.several_draws import conditional_at, draw_effects, given_at
from lmm.engines.pymc.several_fit import fit_several
from lmm.engines.pymc.several_priors import resolve_several
from lmm.likelihood.several_marginal import SeveralMarginal
from several import criterion, marginal, reference, simulated


def settings(**changes) -> dict:
    return Pymc(**changes).plain() | {"conf_level": 0.95}


def posterior_of(model, priors=None, sparse=None) -> Several:
    priors = resolve_several(priors or {}, model.moments, model.terms.fixed, model.blocks)
    return Several(model.problem(sparse), priors, model.moments)


@pytest.fixture(scope="module")
def crossed():
    return simulated(4, 120, (9, 7), "y ~ x + (x | a) + (1 | b)")


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_density(crossed, sparse):
    """Against the dense criterion (flat prior of beta), and the dense density of y (normal prior)."""
    problem = crossed.problem(sparse)
    maps = [np.eye(2), np.eye(1)]
    rng = np.random.default_rng(1)
    roots = [np.tril(rng.normal(size=(2, 2))), rng.normal(size=(1, 1))]
    covariances = [root @ root.T for root in roots]
    flat = SeveralMarginal.of(problem, maps)
    value, *_ = flat.slope(roots, 1.3)
    assert -2.0 * value == pytest.approx(criterion(crossed, covariances, 1.3, True), abs=1e-8)
    mean, root = np.array([4.0, 1.0]), np.array([[0.5, 0.2], [0.0, 2.0]])
    normal = SeveralMarginal.of(problem, maps, mean=mean, root=root)
    V = marginal(crossed, covariances, 1.3) + crossed.X @ np.linalg.inv(root.T @ root) @ crossed.X.T
    truth = stats.multivariate_normal(crossed.X @ mean, V).logpdf(crossed.y)
    assert normal.slope(roots, 1.3)[0] == pytest.approx(truth, abs=1e-8)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("fixed", ["auto", "flat", {"x": "normal(2, 0.5)", "Intercept": "flat"}])
def test_gradient(crossed, fixed, sparse):
    """Against central differences of the values, right to about 1e-7, in the priors' coordinates."""
    posterior = posterior_of(crossed, {"fixed": fixed}, sparse)
    target = posterior.target(np.random.default_rng(1))
    point = target.space.point(posterior.start) + 0.2
    (value,), (gradient,) = target.slopes(point[None])
    assert target.evaluate(point[None])[0][0] == pytest.approx(value, abs=1e-9)
    steps = 1e-5 * np.eye(len(point))
    ends = target.evaluate(point + steps)[0], target.evaluate(point - steps)[0]
    assert np.allclose((ends[0] - ends[1]) / 2e-5, gradient, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_exact_draws_of_the_random_effects(crossed, sparse):
    """6,000 draws at fixed variances: means and covariances of all effects, G - G Z'P Z G by dense matrices."""
    problem = crossed.problem(sparse)
    density = SeveralMarginal.of(problem, [np.eye(2), np.eye(1)])
    roots, sigma = [np.array([[0.8, 0.0], [0.2, 0.3]]), np.array([[0.6]])], 1.1
    covariances = [root @ root.T for root in roots]
    V, X = marginal(crossed, covariances, sigma), crossed.X
    inverse = np.linalg.inv(V)
    P = inverse - inverse @ X @ np.linalg.solve(X.T @ inverse @ X, X.T @ inverse)
    Z = np.hstack([own.reshape(len(crossed.y), -1) for own in crossed.Z])
    G = np.zeros((Z.shape[1],) * 2)
    at = 0
    for own, D in zip(crossed.Z, covariances, strict=True):
        size = own.shape[1] * len(D)
        G[at : at + size, at : at + size] = np.kron(np.eye(own.shape[1]), D)
        at += size
    mean, covariance = G @ Z.T @ P @ crossed.y, G - G @ Z.T @ P @ Z @ G
    rng = np.random.default_rng(3)
    count = 6000
    many, sigmas = [np.repeat(root[None], count, 0) for root in roots], np.full(count, sigma)
    beta, away, *_ = given_at(density, many, sigmas, rng.standard_normal((count, 2)))
    effects = draw_effects(density, many, sigmas, beta + away, rng)
    drawn = np.concatenate([own.reshape(count, -1) for own in effects], axis=1)
    sd = np.sqrt(np.diag(covariance))
    # five standard errors of 25 means; of 625 covariances at most (1 + r^2) / count each
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * sd / np.sqrt(count)).all()
    assert (np.abs(np.cov(drawn.T) - covariance) / np.outer(sd, sd)).max() < 5 * np.sqrt(2 / count)
    given = conditional_at(density, roots, sigma)
    assert np.allclose(np.concatenate([g.mean.ravel() for g in given]), mean, atol=1e-9)
    assert np.allclose(np.concatenate([g.variance.ravel() for g in given]), sd**2, rtol=1e-9)


def test_penicillin_against_quadrature():
    """Posterior means of three sds by Gauss and Legendre's rule over a box that holds all the mass."""
    model = reference("penicillin")
    priors = {"sd": {"plate": "half_normal(2)", "sample": "half_cauchy(3)"}, "sigma": "exponential(1)"}
    found, tree = fit_several(model.moments, model.terms, settings(priors=priors))
    assert found.diagnostics.status == "ok"
    assert found.diagnostics.summary["sampler"] == "importance"
    posterior = posterior_of(model, priors)
    nodes, weights = np.polynomial.legendre.leggauss(24)
    ranges, axes, own = [(0.4, 1.7), (0.6, 12.0), (0.44, 0.7)], [], []
    for low, high in ranges:
        axes.append(0.5 * (high - low) * nodes + 0.5 * (high + low))
        own.append(weights)
    grid = np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")])
    weight = np.prod(np.stack([g.ravel() for g in np.meshgrid(*own, indexing="ij")]), axis=0)
    logs, *_ = posterior.density.over([grid[k][:, None, None] for k in range(2)], grid[2])
    logs += stats.halfnorm(0, 2).logpdf(grid[0]) + stats.halfcauchy(0, 3).logpdf(grid[1])
    logs += stats.expon().logpdf(grid[2])
    weight = weight * np.exp(logs - logs.max())
    truth = (grid * weight).sum(axis=1) / weight.sum()
    table = found.parameters.set_index(["group", "term"])
    keys = [("plate", "sd__Intercept"), ("sample", "sd__Intercept"), ("Residual", "sd__Observation")]
    for key, value in zip(keys, truth, strict=True):
        # the box leaves out 1e-4 of the mass of the long tail of sample's sd
        assert abs(table.estimate[key] - value) < 4 * table.mcse_mean[key] + 1e-3 * value, key
    assert (table.loc[("", "Intercept"), "estimate"] - 22.97) < 0.2
    assert tree["posterior"]["ranef|plate"].dims == ("chain", "draw", "level|plate", "term|plate")


@pytest.mark.parametrize("name", ["penicillin"])
def test_nuts_agrees(name):
    """NUTS over the same model within four Monte Carlo errors, in parameters and all random effects."""
    model = reference(name)
    one, _ = fit_several(model.moments, model.terms, settings(keep_draws=0))
    short = settings(keep_draws=0, sampler="nuts", chains=2, tune=400, draws=700)
    other, tree = fit_several(model.moments, model.terms, short)
    assert one.diagnostics.status == other.diagnostics.status == "ok"
    assert other.diagnostics.summary["sampler"] == "nuts"
    assert tree["sample_stats"]["diverging"].sum() == 0
    for a, b in ((one.parameters, other.parameters), (one.ranef, other.ranef)):
        # at most 44 means at four errors: a false alarm in 350 seeds
        assert (abs(a.estimate - b.estimate) <= 4 * np.hypot(a.mcse_mean, b.mcse_mean) + 1e-12).all()
    assert np.allclose(one.ranef.std_error, other.ranef.std_error, rtol=0.1)


def test_words_tables_and_file(tmp_path):
    """Keys by factor, posterior.nc that reads back, Rao-Blackwellised means beside drawn ones."""
    import xarray as xr

    model = reference("words")
    found, tree = fit_several(model.moments, model.terms, settings(draws=500))
    keys = list(zip(found.parameters["group"], found.parameters["term"], strict=True))
    assert keys[2:5] == [("subj", "sd__Intercept"), ("subj", "sd__cond"), ("subj", "cor__Intercept.cond")]
    assert keys[-1] == ("Residual", "sd__Observation")
    bayes.write(str(tmp_path / "posterior.nc"), tree)
    again = by_term(xr.open_datatree(tmp_path / "posterior.nc")["posterior"])
    assert set(again) == {"Intercept", "cond", "sd__Observation"} | {
        f"{term}|{group}"
        for group in ("subj", "item")
        for term in ("sd__Intercept", "sd__cond", "cor__Intercept.cond")
    }
    table = found.parameters.set_index(["group", "term"])
    draws = again["sd__cond|item"].to_numpy()
    assert draws.mean() == pytest.approx(table.estimate["item", "sd__cond"], rel=1e-12)
    for group in ("subj", "item"):
        rows = found.ranef[found.ranef["group"] == group]
        drawn = tree["posterior"][f"ranef|{group}"].to_numpy().reshape(2000, -1)
        # 128 means, five errors: a false alarm once in 10^4
        assert (abs(drawn.mean(axis=0) - rows.estimate) < 5 * rows.std_error / np.sqrt(rows.ess_bulk)).all()
        inside = ((drawn > rows.conf_low.to_numpy()) & (drawn < rows.conf_high.to_numpy())).mean()
        assert inside == pytest.approx(0.95, abs=0.01)


def test_the_same_seed_gives_the_same_bits():
    model = reference("pastes")
    fits = [fit_several(model.moments, model.terms, settings(draws=300))[0] for _ in range(2)]
    assert fits[0].parameters.equals(fits[1].parameters)
    assert fits[0].ranef.equals(fits[1].ranef)


def test_priors_by_factor(crossed):
    """Of all factors, by factor, by factor and term, or by a term of one factor."""
    sd = {"a": {"x": "exponential(3)"}, "b": "half_normal(7)"}
    priors = resolve_several({"sd": sd}, crossed.moments, crossed.terms.fixed, crossed.blocks)
    a, b = priors.factors
    assert a.sd["x"].text == "exponential(3)"
    assert a.sd["Intercept"].name == "half_normal"
    assert b.sd["Intercept"].text == "half_normal(7)"
    by_term_ = resolve_several({"sd": {"x": "flat"}}, crossed.moments, crossed.terms.fixed, crossed.blocks)
    assert by_term_.factors[0].sd["x"].name == "flat"
    table = priors.table().set_index(["group", "parameter"])["prior"]
    assert table["b", "sd__Intercept"] == "half_normal(7)"
    assert table["a", "sd__x"] == "exponential(3)"
    assert ("Residual", "sd__Observation") in table


@pytest.mark.parametrize(
    ("sd", "where", "said"),
    [
        ({"c": "flat"}, "engines.pymc.priors.sd.c", "no such grouping factor; expected one of a, b"),
        ({"a": {"z": "flat"}}, "engines.pymc.priors.sd.a.z", "no such term; expected one of Intercept, x"),
        ({"Intercept": "flat"}, "engines.pymc.priors.sd.Intercept", "expected a mapping by factor such as"),
    ],
)
def test_priors_of_what_is_not_there(crossed, sd, where, said):
    with pytest.raises(StudyError) as caught:
        resolve_several({"sd": sd}, crossed.moments, crossed.terms.fixed, crossed.blocks)
    assert str(caught.value).startswith(f"{where}:")
    assert said in str(caught.value)


def test_what_is_at_the_predictors_means_is_told_apart_by_factor():
    """With an intercept beside x in a factor its sd and correlation are there; the intercept is b0 + mean(x) b1."""
    model = simulated(3, 60, (7, 5), "y ~ x + (x | a) + (1 | b)")
    priors = resolve_several({}, model.moments, model.terms.fixed, model.blocks)
    assert [term for _, term in priors.keys] == [
        "sd__Intercept", "sd__x", "cor__Intercept.x", "sd__Intercept", "sd__Observation",
    ]  # fmt: skip
    assert priors.moved.tolist() == [True, False, True, False, False]
    assert [
        name.endswith("_centred") or "_centred|" in name for name in priors.names
    ] == priors.moved.tolist()
    fixed, values = np.random.default_rng(1).normal(size=(2, 2, 3)), np.arange(30.0).reshape(5, 2, 3)
    found = priors.centred(fixed, values)
    assert list(found) == ["Intercept", "sd__Intercept|a", "cor__Intercept.x|a"]
    at = model.X[:, list(model.terms.fixed).index("x")].mean()
    np.testing.assert_allclose(found["Intercept"], fixed[0] + at * fixed[1], rtol=1e-9)
    np.testing.assert_array_equal(found["cor__Intercept.x|a"], values[2])
    assert priors.centres == pytest.approx({"x": at}, rel=1e-12)


def test_intervals_of_mixtures_are_searched_from_normal_quantiles(monkeypatch):
    """Between 12 standard deviations to either side."""
    asked = []
    monkeypatch.setattr(
        several_chains, "mixture_quantile", lambda *given: asked.append(given[2:]) or given[-1]
    )
    means, middle, sd = np.zeros((4, 1, 1)), np.array([[2.0]]), np.array([[0.5]])
    several_chains._interval(means, means, 0.9, middle, sd)
    z = stats.norm.ppf(0.95)
    expected = [(0.05, -4.0, 8.0, 2.0 - 0.5 * z), (0.95, -4.0, 8.0, 2.0 + 0.5 * z)]
    np.testing.assert_allclose(asked, expected, rtol=1e-12)
