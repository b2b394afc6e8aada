"""Variance explained: the post's figure, and the unit-free measures against rows written out."""

import numpy as np
import pandas as pd
import pytest

from lmm.core.tidy import PARAMETERS, Diagnostics, Fit, cor_name, pair_of
from lmm.inference import variance_explained

VALUES = {"Intercept": 2.0, "x": -0.5, "sd__Intercept": 1.5, "sd__x": 0.7, "cor__Intercept.x": 0.3}
VALUES["sd__Observation"] = 0.9
FIXED = RANDOM = ("Intercept", "x")


def one(mean_zz, random=RANDOM):
    """One grouping factor."""
    return [variance_explained.Component("g", random, mean_zz)]


@pytest.fixture(scope="module")
def design():
    x = np.random.default_rng(1).gamma(2.0, size=200) + 3.0
    X = np.column_stack([np.ones(200), x])
    return X, X.T @ X / 200, np.cov(X.T, bias=True)


def fit_of(values, engine="reml", summary=None):
    table = pd.DataFrame({"term": list(values), "estimate": list(values.values())})
    return Fit(
        engine,
        table.reindex(columns=PARAMETERS).assign(group=""),
        None,
        Diagnostics(engine, summary=summary or {}),
    )


def test_the_post_s_figure_from_its_printed_variances():
    D = np.diag([81.4530, 0.8011])
    shares = variance_explained.measures([4.1, 0.47], [D], np.sqrt(0.9624), one(np.eye(2)), np.eye(2))
    assert round(float(shares["", "post"]), 6) == 0.988435  # (81.4530 + 0.8011) / (81.4530 + 0.8011 + 0.9624)


def test_measures_against_every_row_written_out(design):
    X, mean_zz, cov_fixed = design
    shares = variance_explained.explained(VALUES, FIXED, one(mean_zz), cov_fixed)
    D = np.array([[1.5**2, 0.3 * 1.5 * 0.7], [0.3 * 1.5 * 0.7, 0.7**2]])
    random = np.mean([z @ D @ z for z in X])
    fixed, noise = np.var(X @ [2.0, -0.5]), 0.9**2
    expected = {
        "post": (1.5**2 + 0.7**2) / (1.5**2 + 0.7**2 + noise),
        "johnson": random / (random + noise),
        "marginal_r2": fixed / (fixed + random + noise),
        "conditional_r2": (fixed + random) / (fixed + random + noise),
        "icc": 1.5**2 / (1.5**2 + noise),
    }
    # 1e-12: the same sums of 200 rows in another order
    assert {k: float(v) for (_, k), v in shares.items()} == pytest.approx(expected, rel=1e-12)


def test_only_the_post_s_measure_depends_on_the_predictor_s_unit(design):
    _, mean_zz, cov_fixed = design
    here = variance_explained.explained(VALUES, FIXED, one(mean_zz), cov_fixed)
    scale = np.diag([1.0, 1000.0])  # kilometres to metres
    metres = VALUES | {"x": VALUES["x"] / 1000, "sd__x": VALUES["sd__x"] / 1000}
    there = variance_explained.explained(
        metres, FIXED, one(scale @ mean_zz @ scale), scale @ cov_fixed @ scale
    )
    for measure in ("johnson", "marginal_r2", "conditional_r2", "icc"):
        assert there["", measure] == pytest.approx(here["", measure], rel=1e-12)
    assert abs(there["", "post"] - here["", "post"]) > 0.01


def test_draws_are_vectorised(design):
    _, mean_zz, cov_fixed = design
    other = VALUES | {"sd__x": 0.1, "cor__Intercept.x": -0.8}
    draws = {term: np.array([VALUES[term], other[term]]) for term in VALUES}
    both = variance_explained.explained(draws, FIXED, one(mean_zz), cov_fixed)
    for k, values in enumerate((VALUES, other)):
        alone = variance_explained.explained(values, FIXED, one(mean_zz), cov_fixed)
        assert {m: v[k] for m, v in both.items()} == pytest.approx({m: float(v) for m, v in alone.items()})


def test_a_random_intercept_alone_makes_johnson_the_icc():
    values = {"Intercept": 5.0, "sd__Intercept": 2.0, "sd__Observation": 1.0}
    shares = variance_explained.explained(
        values, ["Intercept"], one(np.ones((1, 1)), ("Intercept",)), np.zeros((1, 1))
    )
    assert float(shares["", "johnson"]) == float(shares["", "icc"]) == float(shares["", "post"]) == 0.8
    assert float(shares["", "marginal_r2"]) == 0.0


def test_no_random_intercept_has_no_icc_and_an_undefined_correlation_counts_as_0():
    values = {"x": 1.0, "sd__x": 0.0, "sd__z": 1.0, "cor__x.z": np.nan, "sd__Observation": 1.0}
    shares = variance_explained.explained(values, ["x"], one(np.eye(2), ("x", "z")), np.eye(1))
    assert np.isnan(shares["", "icc"])
    assert float(shares["", "johnson"]) == 0.5


def test_the_table_quotes_posterior_shares_and_computes_the_others(design):
    _, mean_zz, cov_fixed = design
    truth = {"fixed": {"Intercept": 2.0, "x": -0.5}, "sd": {"Intercept": 1.5, "x": 0.7}}
    truth |= {"corr": {"Intercept.x": 0.3}, "sigma": 0.9}
    drawn = {"post": {"estimate": 0.7, "conf_low": 0.6, "conf_high": 0.8}}
    fits = {
        "ols": fit_of({"Intercept": 2.0, "x": 1.0, "sd__Observation": 3.0}, "ols"),
        "reml": fit_of(VALUES | {"sd__x": 0.8}),
        "pymc": fit_of(VALUES, "pymc", {"variance_explained": drawn}),
        "mixedlm": fit_of({}, "mixedlm"),  # skipped: empty tables
    }
    table = variance_explained.table(fits, truth, FIXED, one(mean_zz), cov_fixed).set_index(
        ["engine", "measure"]
    )
    assert set(table.index.get_level_values("engine")) == {"reml", "pymc"}
    assert table.loc[("pymc", "post"), ["estimate", "conf_low", "conf_high"]].tolist() == [0.7, 0.6, 0.8]
    true = variance_explained.explained(VALUES, FIXED, one(mean_zz), cov_fixed)
    assert table.loc[("reml", "johnson"), "truth"] == pytest.approx(float(true["", "johnson"]))
    assert table.loc[("reml", "johnson"), "estimate"] > float(true["", "johnson"])
    assert np.isnan(table.loc[("reml", "johnson"), "conf_low"])
    own = variance_explained.table(fits, None, FIXED, one(mean_zz), cov_fixed)
    assert own["truth"].isna().all()


def test_several_factors_against_every_row_written_out():
    rng = np.random.default_rng(3)
    x = rng.normal(2.0, 1.0, 300)
    X = np.column_stack([np.ones(300), x])
    factors = [
        variance_explained.Component("s", RANDOM, X.T @ X / 300),
        variance_explained.Component("i", ("Intercept",), np.ones((1, 1))),
    ]
    values = {"Intercept": 2.0, "x": -0.5, "sd__Observation": 0.9, "sd__Intercept|i": 0.6}
    values |= {"sd__Intercept|s": 1.5, "sd__x|s": 0.7, "cor__Intercept.x|s": 0.3}
    shares = variance_explained.explained(values, FIXED, factors, np.cov(X.T, bias=True))
    D = np.array([[1.5**2, 0.3 * 1.5 * 0.7], [0.3 * 1.5 * 0.7, 0.7**2]])
    own = {"s": np.mean([z @ D @ z for z in X]), "i": 0.6**2}
    random, fixed, noise = sum(own.values()), np.var(X @ [2.0, -0.5]), 0.9**2
    expected = {
        ("", "post"): (1.5**2 + 0.7**2 + 0.6**2) / (1.5**2 + 0.7**2 + 0.6**2 + noise),
        ("", "johnson"): random / (random + noise),
        ("", "marginal_r2"): fixed / (fixed + random + noise),
        ("", "conditional_r2"): (fixed + random) / (fixed + random + noise),
        ("s", "johnson"): own["s"] / (random + noise),
        ("i", "johnson"): own["i"] / (random + noise),
        ("s", "icc"): 1.5**2 / (1.5**2 + 0.6**2 + noise),
        ("i", "icc"): 0.6**2 / (1.5**2 + 0.6**2 + noise),
    }
    # 1e-12: the same sums of 300 rows in another order
    assert {k: float(v) for k, v in shares.items()} == pytest.approx(expected, rel=1e-12)
    assert set(variance_explained.keys(["s", "i"])) == set(expected)


@pytest.mark.parametrize(
    "pair", [("f[T.a]", "f[T.b]"), ("x", "f[T.a]"), ("f[T.a]", "x"), ("a.b", "x"), ("a`.b", "x")]
)
def test_a_correlations_name_tells_its_two_effects(pair):
    """A dot in a level's brackets does not end the first; odd names are in backticks."""
    assert pair_of(cor_name(*pair)) == pair
    assert (cor_name(*pair) == "cor__{}.{}".format(*pair)) == (not pair[0].startswith("a"))
