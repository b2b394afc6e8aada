"""What posterior.nc has of the levels of several grouping factors: log likelihoods and replicated means."""

import numpy as np
import pandas as pd
import pytest

from lmm.criticism import several
from lmm.data.rows import Rows, rows_of
from lmm.engines.pymc import fit as bayes
from lmm.engines.pymc import several_groups, several_loo
from lmm.engines.pymc.several_fit import fit_several, several_of
from lmm.engines.pymc.several_groups import replicated_means
from lmm.inference.spreads import Spreads, spaced_draws
from lmm.model.design import build
from lmm.model.formula import parse
from several import REFERENCE, marginal, model_of, simulated
from test_several_bayes import settings

D = [np.array([[0.6, 0.1], [0.1, 0.2]]), np.array([[0.9]])]
SIGMA = 0.8


def rows_in(model):
    """The rows of a model of two factors with intercepts, whose W is X."""
    first, second = (
        (Z[:, :, 0].argmax(axis=1), np.array([str(k) for k in range(Z.shape[1])])) for Z in model.Z
    )
    return Rows(model.terms, model.y, model.X, *first, (second,))


def test_replicated_means_have_the_rows_distribution():
    """Means and covariances of each factor's level means, by the dense covariance of the rows."""
    model = simulated(4, 60, (6, 5), "y ~ x + (x | a) + (1 | b)")
    size, beta = 20_000, np.array([5.0, 2.0])
    spreads = Spreads([np.repeat(own[None], size, 0) for own in D], np.full(size, SIGMA))
    rng = np.random.default_rng(1)
    found = replicated_means(model.moments, model.terms, np.tile(beta, (size, 1)), spreads, rng)
    V = marginal(model, D, SIGMA)
    for (group, drawn), Z in zip(found.items(), model.Z, strict=True):
        average = (Z[:, :, 0] / Z[:, :, 0].sum(axis=0)).T
        covariance = average @ V @ average.T
        sd = np.sqrt(np.diag(covariance))
        away = (drawn.mean(axis=0) - average @ model.X @ beta) / sd
        assert np.abs(away).max() < 5.0 / np.sqrt(size), group
        # an element's standard error is at most sd_i sd_j sqrt(2 / size)
        off = (np.cov(drawn.T) - covariance) / np.outer(sd, sd)
        assert np.abs(off).max() < 5.0 * np.sqrt(2.0 / size), group


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_arviz_finds_what_its_loo_and_predictive_plots_need(tmp_path):
    import arviz as az

    frame = pd.read_csv(REFERENCE / "penicillin.csv")
    formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    model, rows = model_of(frame, formula), rows_of(build(parse(formula), frame), frame)
    found, tree = fit_several(model.moments, model.terms, settings(draws=500), rows=lambda: rows)
    assert found.diagnostics.summary["group_draws_kept"] == ["log_likelihood", "posterior_predictive"]
    bayes.write(str(tmp_path / "posterior.nc"), tree)
    read = az.from_netcdf(str(tmp_path / "posterior.nc"))
    assert read["log_likelihood"]["y|plate"].dims == ("chain", "draw", "level|plate")
    assert set(read["posterior_predictive"].data_vars) == {"y|plate", "y|sample"}
    loo = az.loo(read, pointwise=True)
    assert loo.n_data_points == 24
    priors = several_of(model.moments, model.terms, settings()["priors"]).priors
    draws = spaced_draws(tree["posterior"], several.DRAWS)
    _, about = several.leave_one_out(rows, model.moments, priors, draws, None, {})
    # the same densities, of half of the draws
    assert loo.elpd == pytest.approx(about["elpd"], abs=0.1 * about["se"])
    assert az.plot_ppc_dist(read, backend="none") is not None
    # the observed means lie inside of what is replicated: 5 % of 24 outside, four binomial errors of 1.1
    low, high = np.quantile(read["posterior_predictive"]["y|plate"], [0.025, 0.975], axis=(0, 1))
    observed = read["observed_data"]["y|plate"].to_numpy()
    assert ((observed < low) | (observed > high)).sum() <= 1 + 4 * 1.1


def test_the_log_likelihood_is_of_the_factor_that_loo_names():
    model = simulated(4, 60, (6, 5), "y ~ x + (1 | a) + (1 | b)")
    rows = rows_in(model)
    for loo, kept in ((None, "a"), ("b", "b")):
        _, tree = fit_several(
            model.moments, model.terms, settings(draws=300) | {"loo": loo}, rows=lambda: rows
        )
        assert list(tree["log_likelihood"].data_vars) == [f"y|{kept}"]


@pytest.mark.parametrize(
    ("limit", "changes", "said"),
    [
        ("ROWS", {}, "60 rows, more than 10"),
        ("LEVELS", {}, "different draws of 6 levels of a, more than"),
        ("", {"keep_draws": 1000}, "draws of 6 levels of a, more than keep_draws, 1,000, numbers"),
    ],
)
def test_the_log_says_why_there_is_none(limit, changes, said, monkeypatch, capsys):
    model = simulated(4, 60, (6, 5), "y ~ x + (1 | a) + (1 | b)")
    for module in (several_groups, several_loo):
        if hasattr(module, limit):
            monkeypatch.setattr(module, limit, 10)
    rows = rows_in(model)
    _, tree = fit_several(model.moments, model.terms, settings(draws=300, **changes), rows=lambda: rows)
    assert "log_likelihood" not in tree
    assert "pymc: posterior.nc has no log_likelihood: " in (printed := capsys.readouterr().err)
    assert said in printed


def test_without_rows_or_with_too_few_numbers_there_is_none():
    model = simulated(4, 60, (6, 5), "y ~ x + (1 | a) + (1 | b)")
    found, tree = fit_several(model.moments, model.terms, settings(draws=300))
    assert found.diagnostics.summary["group_draws_kept"] == ["posterior_predictive"]
    found, tree = fit_several(model.moments, model.terms, settings(draws=300, keep_draws=1000))
    assert found.diagnostics.summary["group_draws_kept"] == []
    assert "log_likelihood" not in tree and "posterior_predictive" not in tree
