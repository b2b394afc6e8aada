"""Simulated data of several grouping factors, and their replicates."""

import numpy as np
import pandas as pd
import pytest

from lmm.config.load import load
from lmm.config.simulation import Simulation
from lmm.core.tidy import truth_of
from lmm.data.rows import rows_of
from lmm.engines import several_reml
from lmm.frames import simulate
from lmm.model.design import build, numeric_design
from lmm.model.formula import parse
from lmm.recovery.data import Simulated
from lmm.recovery.grid import LONG
from lmm.recovery.performance import performance
from lmm.recovery.replicate import Engine, fit_all, records, true_explained
from lmm.recovery.several_data import Estimates, SeveralBootstrap
from several import REFERENCE, model_of

FORMULA = "y ~ x + (x | a) + (1 | b)"
CROSSED = {
    "groups": {"a": 12, "b": 8},
    "fixed": {"Intercept": 5, "x": 2},
    "sd": {"a": {"Intercept": 2, "x": 1}, "b": {"Intercept": 0.5}},
    "corr": {"a": 0.6},
    "sigma": 0.7,
}


def test_crossed_factors_meet_in_every_combination():
    frame, truth = simulate(FORMULA, **CROSSED)
    assert len(frame) == 96
    assert frame.groupby(["a", "b"]).size().tolist() == [1] * 96
    assert truth["sd"] == CROSSED["sd"]
    assert truth["corr"] == {"a": {"Intercept.x": 0.6}, "b": {}}
    assert truth_of(truth, "b", "sd__Intercept") == 0.5
    twice, _ = simulate(FORMULA, **CROSSED | {"rows_per_group": 2})
    assert twice.groupby(["a", "b"]).size().tolist() == [2] * 96


def test_the_response_is_the_models_equation():
    frame, truth = simulate(FORMULA, **CROSSED)
    u = truth["ranef"]
    fixed = 5 + 2 * frame["x"]
    random = frame["a"].map(u["a"]["Intercept"]) + frame["a"].map(u["a"]["x"]) * frame["x"]
    errors = frame["y"] - fixed - random - frame["b"].map(u["b"]["Intercept"])
    assert truth["realised"]["sigma"] == pytest.approx(errors.std(ddof=1))
    drawn = pd.Series(u["a"]["x"])
    assert truth["realised"]["sd"]["a"]["x"] == pytest.approx(drawn.std(ddof=1))


def test_random_effects_have_their_covariances():
    """Over 4,000 levels the sd of an sd is s / sqrt(8,000), of a correlation (1 - r^2) / sqrt(4,000)."""
    groups = {"a": 4000, "b": 4000}
    _, truth = simulate(FORMULA, **CROSSED | {"groups": groups, "rows": 9000})
    drawn = truth["realised"]
    assert drawn["sd"]["a"]["Intercept"] == pytest.approx(2, abs=5 * 2 / np.sqrt(8000))
    assert drawn["sd"]["b"]["Intercept"] == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(8000))
    assert drawn["corr"]["a"]["Intercept.x"] == pytest.approx(0.6, abs=5 * 0.64 / np.sqrt(4000))


def test_rows_at_random_pairs_are_spread_evenly():
    frame, _ = simulate(FORMULA, **CROSSED | {"rows": 5000})
    counts = frame.groupby(["a", "b"]).size()
    assert (len(frame), len(counts)) == (5000, 96)
    # chi-square with 95 degrees of freedom: mean 95, sd sqrt(190)
    assert np.sum((counts - 5000 / 96) ** 2) / (5000 / 96) < 95 + 5 * np.sqrt(190)


def test_nested_levels_stay_in_one_level_of_their_parent():
    nested = {"school": 6, "class": {"per": "school", "count": 3}, "pupil": {"per": "class", "count": 4}}
    frame, truth = simulate("y ~ x + (1 | school/class/pupil)", groups=nested, rows_per_group=2)
    assert len(frame) == 6 * 3 * 4 * 2
    assert frame["class"].nunique() == 18
    assert frame["pupil"].nunique() == 72
    assert len(frame[["class", "school"]].drop_duplicates()) == 18
    assert len(frame[["pupil", "class"]].drop_duplicates()) == 72
    assert set(truth["sd"]) == {"pupil:class:school", "class:school", "school"}
    assert len(truth["ranef"]["class:school"]["Intercept"]) == 18


def test_a_latin_square_rotates_conditions_over_both_factors():
    square = CROSSED | {"groups": {"a": 12, "b": 9}, "predictors": {"x": {"latin_square": 3}}}
    frame, _ = simulate(FORMULA, **square)
    for name in "ab":
        counts = frame.groupby([name, "x"]).size()
        assert len(set(counts)) == 1, "each level meets each condition equally often"
    assert sorted(frame["x"].unique()) == [-1.0, 0.0, 1.0]
    twice, _ = simulate(FORMULA, **square | {"rows_per_group": 3})
    assert (twice.groupby(["a", "b"])["x"].nunique() == 3).all()


def test_a_predictor_between_levels_of_one_factor():
    between = CROSSED | {"predictors": {"x": {"normal": {}, "between": "b"}}}
    frame, _ = simulate(FORMULA, **between)
    assert len(frame[["b", "x"]].drop_duplicates()) == 8
    assert (frame.groupby("a")["x"].nunique() == 8).all()


def test_one_more_level_or_predictor_leaves_other_draws_alone():
    plain, truth = simulate(FORMULA, **CROSSED)
    more, other = simulate("y ~ x + z + (x | a) + (1 | b)", **CROSSED | {"fixed": {}})
    pd.testing.assert_series_equal(plain["x"], more["x"])
    assert truth["ranef"] == other["ranef"]


def study(**changes):
    return {"studies": {"s": {"formula": FORMULA, "simulate": CROSSED, "replicates": 3} | changes}}


def test_lists_cross_over_levels_of_a_factor():
    loaded = load(study(simulate=CROSSED | {"groups": {"a": [6, 12], "b": 8}})).studies["s"]
    assert [design.values for design in loaded.designs] == [{"groups.a": 6}, {"groups.a": 12}]
    assert loaded.engines == ("ols", "mixedlm", "reml", "pymc")
    columns = [Simulated([FORMULA], d.key, d.settings, 1).columns() for d in loaded.designs]
    assert [own["groups__a"] for own in columns] == [6, 12]
    assert columns[0]["sd__x|a"] == 1.0


def replicates(source, count):
    terms = numeric_design(parse(FORMULA)).terms
    engines = {"reml": Engine("reml", {"conf_level": 0.95, "profile": False}, terms)}
    rows = []
    for k in range(count):
        data = source.draw(k)
        true = true_explained(data, terms)
        for name, (outcome, status, message, _) in fit_all(engines, data, 1).items():
            found = records(engines[name], outcome, data, true)
            rows += [(source.key, k, name, *row, status, message, "") for row in found]
    return pd.DataFrame(rows, columns=list(LONG))


def test_replicates_recover_what_they_were_simulated_from():
    """Means over 30 replicates lie within 5 Monte Carlo standard errors of the truth where REML is unbiased."""
    source = Simulated([FORMULA], "0" * 12, Simulation.model_validate(CROSSED), 1)
    table = replicates(source, 30)
    assert set(table["status"]) <= {"ok", "singular"}
    found = table.set_index(["effect", "group", "term"])
    for key in (("fixed", "", "x"), ("fixed", "", "Intercept"), ("ran_pars", "Residual", "sd__Observation")):
        own = found.loc[key]
        error = (own["estimate"] - own["truth"]).to_numpy()
        assert abs(error.mean()) < 5 * error.std() / np.sqrt(30)
    measured = performance(table).set_index(["group", "term", "measure", "subset"])["estimate"]
    # binomial: 5 sd's of a coverage of 0.95 over 30 replicates are 0.2; intervals of 12 levels share one fit
    assert measured["", "x", "coverage", "usable"] > 0.95 - 5 * np.sqrt(0.95 * 0.05 / 30)
    assert measured["a", "x", "ranef_coverage", "usable"] > 0.95 - 5 * np.sqrt(0.95 * 0.05 / 30)
    assert ("a", "johnson") in found.loc["explained"].index
    assert {"Intercept: rmse", "x: coverage"} <= set(found.sort_index().loc[("ranef", "a")].index)


def test_a_replicate_is_the_same_data_set_alone():
    source = Simulated([FORMULA], "0" * 12, Simulation.model_validate(CROSSED), 1)
    np.testing.assert_array_equal(source.draw(5).rows.y, source.draw(5).rows.y)
    assert not np.array_equal(source.draw(5).rows.y, source.draw(6).rows.y)


def test_a_bootstrap_draws_from_the_estimates():
    """Variances of the drawn effects over 200 replicates against the estimates they were drawn from."""
    formula = "rt ~ cond + (cond | subj) + (1 | item)"
    frame = pd.read_csv(REFERENCE / "words.csv")
    model = model_of(frame, formula)
    best = several_reml.fit(model.moments, model.terms.fixed, model.blocks, profile=False, ranef=False)[2]
    source = SeveralBootstrap(
        rows_of(build(parse(formula), frame), frame), model.terms, "0" * 12, 1, Estimates.of(best)
    )
    truths = [source.drawn(k)[1] for k in range(200)]
    for group, term in (("subj", "cond"), ("item", "Intercept")):
        squares = [truth["realised"]["sd"][group][term] ** 2 for truth in truths]
        mean, error = np.mean(squares), np.std(squares) / np.sqrt(200)
        assert abs(mean - truths[0]["sd"][group][term] ** 2) < 5 * error
    data = source.draw(3)
    assert data.own.n_rows == 899
    fixed = dict(zip(model.terms.fixed, best.beta.tolist(), strict=True))
    assert data.truth["fixed"] == fixed
    # of two draws each replicate takes one: 32 replicates take the same one once in 2^31
    second = Estimates.of(best)
    both = Estimates(
        np.vstack([second.beta, second.beta + 1.0]),
        [np.concatenate([root, 2.0 * root]) for root in second.roots],
        np.append(second.sigma, 3.0 * second.sigma),
    )
    source = SeveralBootstrap(source.rows, source.terms, source.key, 1, both)
    shifts = {round(source.drawn(k)[1]["fixed"]["Intercept"] - fixed["Intercept"], 9) for k in range(32)}
    assert shifts == {0.0, 1.0}
