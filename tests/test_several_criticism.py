"""Criticism of fits with several grouping factors, against dense matrices and the rows."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from lmm.criticism import sensitivity, several
from lmm.data.rows import rows_of
from lmm.engines.pymc import loo
from lmm.engines.pymc.gates import ess_mean
from lmm.engines.pymc.several_loo import Joint, most_draws
from lmm.engines.pymc.several_priors import resolve_several
from lmm.inference.spreads import Spreads, spreads_of
from lmm.likelihood.several_marginal import SeveralMarginal
from lmm.model.design import build
from lmm.model.formula import parse
from several import marginal, model_of

FORMULA = "y ~ x + (x | a) + (1 | b)"
D = [np.array([[0.6, 0.1], [0.1, 0.2]]), np.array([[0.9]])]
SIGMA = 0.8


def frame_of(seed=3, rows=80, slope_of_b=0.0):
    rng = np.random.default_rng(seed)
    a, b, x = rng.integers(0, 7, rows), rng.integers(0, 6, rows), rng.normal(2.0, 1.0, rows)
    u = rng.multivariate_normal([0, 0], D[0], 7)
    y = 1 + x + u[a, 0] + u[a, 1] * x + rng.normal(0, 0.9, 6)[b] + rng.normal(0, SIGMA, rows)
    y += slope_of_b * rng.choice([-1, 1], 6)[b] * x
    return pd.DataFrame({"y": y, "x": x, "a": [f"a{k}" for k in a], "b": [f"b{k}" for k in b]})


def rows_and_model(frame):
    return rows_of(build(parse(FORMULA), frame), frame), model_of(frame, FORMULA)


def log_evidence(y, X, V):
    """log of the integral over beta of the density of y, flat prior."""
    inverse = np.linalg.inv(V)
    precision = X.T @ inverse @ X
    left = y - X @ np.linalg.solve(precision, X.T @ inverse @ y)
    logs = np.linalg.slogdet(V)[1] + np.linalg.slogdet(precision)[1]
    return -0.5 * (logs + left @ inverse @ left + (len(y) - X.shape[1]) * np.log(2 * np.pi))


@pytest.mark.parametrize("factor", [0, 1])
@pytest.mark.parametrize("prior", ["flat", "normal", "weights"])
@pytest.mark.parametrize("size", [80, 20])  # levels of more rows than columns, and of fewer
def test_density_of_a_level_given_all_others(factor, prior, size):
    """log p(y) - log p(all other rows) by dense matrices: numbers of size 100, of which ten digits remain."""
    rows, model = rows_and_model(frame_of(rows=size))
    V, y, X = marginal(model, D, SIGMA), model.y, model.X
    if prior == "weights":
        weights = np.random.default_rng(4).uniform(0.2, 3.0, size)
        V += SIGMA**2 * np.diag(1.0 / weights - 1.0)
        rows = replace(rows, weights=weights)
    mean, root = np.array([0.5, 0.8]), np.array([[2.0, 0.3], [0.0, 1.5]])
    if prior == "normal":
        V = V + X @ np.linalg.inv(root.T @ root) @ X.T

    def evidence(kept):
        if prior != "normal":
            return log_evidence(y[kept], X[kept], V[np.ix_(kept, kept)])
        return stats.multivariate_normal(X[kept] @ mean, V[np.ix_(kept, kept)]).logpdf(y[kept])

    joint = Joint(rows, factor, {"mean": mean, "root": root} if prior == "normal" else {})
    found = joint.densities(Spreads([own[None] for own in D], np.array([SIGMA])))[0]
    codes, levels = rows.factors[factor]
    everything = np.full(len(y), True)
    truth = [evidence(everything) - evidence(codes != level) for level in range(len(levels))]
    np.testing.assert_allclose(found, truth, rtol=1e-9)


def test_a_level_without_which_an_effect_is_lost_has_no_density():
    """x varies in level a0 alone."""
    frame = frame_of()
    frame["x"] = np.where(frame["a"] == "a0", frame["x"], 2.0)
    rows, _ = rows_and_model(frame)
    found = Joint(rows, 0, {}).densities(Spreads([own[None] for own in D], np.array([SIGMA])))[0]
    assert np.isnan(found).tolist() == [True, *[False] * 6]


def test_log_likelihood_of_sampled_effects_is_the_rows_density():
    """Up to a constant: differences between sets of parameters, with flat and with normal prior of beta."""
    model = model_of(frame_of(), FORMULA)
    beta, scale = np.array([[1.0, 1.0], [0.2, 1.4], [2.0, 0.3]]), np.array([1.0, 1.7, 0.5])
    spreads = Spreads([own * scale[:, None, None] for own in D], SIGMA * scale)
    truth = [
        stats.multivariate_normal(model.X @ own, marginal(model, [k * s for k in D], SIGMA * s)).logpdf(
            model.y
        )
        for own, s in zip(beta, scale, strict=True)
    ]
    maps = [np.eye(2), np.eye(1)]
    for prior in ({}, {"mean": np.array([0.5, 0.8]), "root": np.array([[2.0, 0.3], [0.0, 1.5]])}):
        density = SeveralMarginal.of(model.problem(), maps, **prior)
        found = several.log_likelihood(density, beta, spreads)
        np.testing.assert_allclose(np.diff(found), np.diff(truth), rtol=1e-8)  # of numbers of size 100


def predictive_p(frame):
    """p values of replicates at the parameters that `frame_of` simulates from."""
    rows, model = rows_and_model(frame)
    count = 200
    roots = [np.repeat(np.linalg.cholesky(own)[None], count, 0) for own in D]
    sets = several.Sets(np.ones((count, 2)), roots, np.full(count, SIGMA))
    rngs = {"posterior": np.random.default_rng(1)}
    summary, draws = several.check(rows, model.moments.basis, sets, None, rngs, 0.95)
    assert set(draws["kind"]) == {"posterior"}
    return summary.set_index("statistic")


def test_statistics_of_each_factor_are_those_of_the_rows():
    frame = frame_of()
    found = predictive_p(frame)
    for factor in "ab":
        means = frame.groupby(factor)["y"].mean()
        assert found.observed[f"sd_means|{factor}"] == pytest.approx(means.std(), rel=1e-10)
        assert found.observed[f"highest_mean|{factor}"] == pytest.approx(means.max(), rel=1e-10)
    assert found.observed["sd_y"] == pytest.approx(frame["y"].std(), rel=1e-10)
    assert "sd_slopes:x|b" in found.index, "a slope that the model does not have is looked at, too"


def test_predictive_checks_find_the_slopes_that_a_model_lacks():
    """Of the right model's 13 statistics one p value below 0.001 in 77 runs; the slopes of b are far beyond."""
    right, wrong = predictive_p(frame_of()), predictive_p(frame_of(slope_of_b=1.5))
    assert right.p_value.between(0.001, 0.999).all()
    assert wrong.p_value["sd_slopes:x|b"] < 0.001


def test_replicates_have_the_rows_weights():
    """Rows of weight 1/100 have ten times the error: the response's sd is that of the dense variances."""
    rows, model = rows_and_model(frame_of())
    count = 400
    roots = [np.repeat(1e-6 * np.eye(len(own))[None], count, 0) for own in D]
    sets = several.Sets(np.zeros((count, 2)), roots, np.full(count, SIGMA))
    weights = np.where(np.arange(len(model.y)) % 2, 1.0, 0.01)
    rngs = {"posterior": np.random.default_rng(1)}
    _, draws = several.check(replace(rows, weights=weights), model.moments.basis, sets, None, rngs, 0.95)
    drawn = draws[draws["statistic"] == "sd_y"]["value"]
    truth = SIGMA**2 * np.mean(1.0 / weights)
    # the sd of a mean square of 40 heavy rows, over 400 replicates: five standard errors
    assert np.mean(drawn**2) == pytest.approx(truth, rel=5.0 * np.sqrt(2.0 / 40 / count))


PRIORS = {"fixed": "normal(0, 5)", "sd": "half_normal(2)", "sigma": "half_normal(3)", "corr": "lkj(2)"}
NAMES = (
    "Intercept",
    "x",
    "sd__Intercept|a",
    "sd__x|a",
    "cor__Intercept.x|a",
    "sd__Intercept|b",
    "sd__Observation",
)


def posterior_of(size=60):
    """Draws around the parameters that `frame_of` simulates from, as posterior.nc has them."""
    rng, sds = np.random.default_rng(6), np.sqrt([0.6, 0.2, 0.9])
    centre = np.array([1.0, 1.0, *sds[:2], 0.1 / sds[:2].prod(), sds[2], SIGMA])
    drawn = centre + rng.normal(size=(size, 7)) * [0.3, 0.2, 0.1, 0.05, 0.1, 0.1, 0.05]
    columns = {
        f"v{k}": (("chain", "draw"), drawn[:, k].reshape(2, -1), {"term": name})
        for k, name in enumerate(NAMES)
    }
    return drawn, xr.Dataset(columns, {"chain": [0, 1], "draw": np.arange(size // 2)})


def criticised(monkeypatch, priors=PRIORS, **limits):
    rows, model = rows_and_model(frame_of())
    monkeypatch.setattr(several.predictive, "REPLICATES", 20)
    monkeypatch.setattr(several, "FEWEST", 50)
    for name, value in limits.items():
        monkeypatch.setattr(several, name, value)
    drawn, tree = posterior_of()
    settings = {"priors": priors, "seed": 7, "conf_level": 0.9}
    found = several.criticise(model.moments, model.terms, {"posterior": tree}, settings, lambda: rows)
    return found, rows, model, drawn


def test_a_fits_sensitivity_is_that_of_its_priors_and_of_the_rows_density(monkeypatch):
    found, _, model, drawn = criticised(monkeypatch)
    beta, (a, ax, r, b, sigma) = drawn[:, :2], drawn[:, 2:].T
    prior = stats.norm(0, 5).logpdf(beta).sum(axis=1)
    prior += np.log1p(-(r**2))  # lkj(2): its argument less 1 times the log determinant
    prior += stats.halfnorm(0, 2).logpdf([a, ax, b]).sum(axis=0) + stats.halfnorm(0, 3).logpdf(sigma)
    likelihood = [
        stats.multivariate_normal(
            model.X @ beta[s],
            marginal(model, [np.array([[a[s] ** 2, r[s] * a[s] * ax[s]], [r[s] * a[s] * ax[s], ax[s] ** 2]]),
                             np.array([[b[s] ** 2]])], sigma[s]),
        ).logpdf(model.y)
        for s in range(len(drawn))
    ]  # fmt: skip
    known = {name: drawn[None, :, k] for k, name in enumerate(NAMES)}
    expected = sensitivity.power_scaling(known, prior[None], np.array(likelihood)[None]).set_index("term")
    table = found.sensitivity.set_index("term").loc[list(NAMES)]
    np.testing.assert_allclose(table["prior"], expected["prior"], rtol=1e-6)
    np.testing.assert_allclose(table["likelihood"], expected["likelihood"], rtol=1e-6)
    assert table["prior"].max() > 0.001


def test_replicates_are_at_evenly_spaced_draws_and_at_draws_from_the_priors(monkeypatch):
    found, rows, model, drawn = criticised(monkeypatch)
    assert found.about["replicates"] == 20
    posterior, prior, parameters = map(
        np.random.default_rng, np.random.SeedSequence(7, spawn_key=(2,)).spawn(3)
    )
    sets = several._thinned(dict(zip(NAMES, drawn.T, strict=True)), model.terms, 20)
    np.testing.assert_array_equal(sets.sigmas, drawn[::3, -1])
    np.testing.assert_array_equal(sets.beta, drawn[::3, :2])
    np.testing.assert_allclose(sets.roots[1][:, 0, 0] ** 2, drawn[::3, 5] ** 2, rtol=1e-12)
    resolved = resolve_several(PRIORS, model.moments, model.terms.fixed, model.blocks)
    before = several._from_priors(resolved, parameters, 20, {})
    rngs = {"posterior": posterior, "prior": prior}
    summary, draws = several.check(rows, model.moments.basis, sets, before, rngs, 0.9)
    pd.testing.assert_frame_equal(found.predictive, summary)
    pd.testing.assert_frame_equal(found.replicates, draws)


def test_levels_that_are_left_out_are_those_of_the_factor_with_most(monkeypatch):
    found, rows, model, drawn = criticised(monkeypatch)
    assert found.about["loo"]["group"] == "a"
    draws = dict(zip(NAMES, drawn.T, strict=True))
    priors = resolve_several(PRIORS, model.moments, model.terms.fixed, model.blocks)
    density = Joint(rows, 0, priors.shared.normal).densities(spreads_of(draws, model.terms))
    ess = ess_mean(drawn.T[:, None]).mean() / 60
    expected, _ = loo.leave_one_out(density[None], np.arange(7), model.moments.of("a").n, min(ess, 1.0))
    np.testing.assert_allclose(found.loo["elpd"], expected["elpd"], rtol=1e-10)


def test_what_is_left_out_is_said(monkeypatch):
    """Improper priors by name; rows, or an evaluation, beyond the limits; priors that no power changes."""
    monkeypatch.setattr(several, "leave_one_out", lambda *given: (None, None))
    monkeypatch.setattr(several.predictive, "FEWEST", 2)
    monkeypatch.setattr(several, "REPLICATED", 160)
    improper = PRIORS | {"sigma": "flat", "sd": {"a": "half_normal(2)", "b": "flat"}, "fixed": {"x": "flat"}}
    found, *_ = criticised(monkeypatch, improper)
    said = found.about["left_out"]
    named = "x, SD of Intercept, b and residual SD"
    assert said == {"prior_predictive": f"improper priors cannot be drawn from: {named}"}
    assert found.about["replicates"] == 2  # 160 over 80 rows
    assert found.predictive["prior_low"].isna().all() and found.predictive["low"].notna().all()
    found, *_ = criticised(monkeypatch, ROWS=79)
    assert set(found.about["left_out"]) == {"loo", "predictive", "prior_predictive"}
    assert set(found.about["left_out"].values()) == {"80 rows are more than 79"}
    found, *_ = criticised(monkeypatch, ROWS=80, WORK=49)
    assert found.about["left_out"] == {"sensitivity": "an evaluation of the likelihood takes too long"}
    flat = {"fixed": "flat", "sd": "uniform(0, 9)", "sigma": "flat", "corr": "lkj(1)"}
    found, *_ = criticised(monkeypatch, flat)
    assert found.about["left_out"]["sensitivity"].startswith("every prior is flat or uniform")


def test_the_cost_of_leaving_out_levels_counts_products():
    """The cube of all other columns; per level its rows' elements times what they meet, and its own matrices."""
    frame = frame_of(rows=20)
    rows, _ = rows_and_model(frame)
    expected = (frame["b"].nunique() + 2.0) ** 3  # intercepts of the levels of b, and two fixed effects
    for _, own in frame.groupby("a"):
        n, met = len(own), own["b"].nunique() + 2
        expected += 3 * n * (met + n) + n**3 / 6 + met**2
    joint = Joint(rows, 0, {})
    assert joint.cost == pytest.approx(expected, rel=1e-12)
    assert most_draws(SimpleNamespace(cost=1e9), 10) == 200  # 2e11 products
    assert most_draws(SimpleNamespace(cost=1e9), 10_001) == 99  # a million draws of a level
