"""MixedLM with several grouping factors: exact reference optima, dense algebra, and what it has not, said."""

import numpy as np
import pandas as pd
import pytest

from lmm.comparison.effects import of_likelihood
from lmm.core.columns import RANEF
from lmm.core.tidy import PARAMETERS
from lmm.data.rows import rows_of
from lmm.engines import mixedlm, several_reml
from lmm.engines.base import Task
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.moments import stage
from several import EXACT, FILES, REFERENCE, marginal, model_of

LIMITS = {"conf_level": 0.95, "max_rows": 10_000, "max_groups": 100, "max_dense_rows": 2000}


def fitted(frame, formula, **limits):
    """The engine's fit of a frame, as a study makes it; and the exact fit."""
    design = build(parse(formula), frame)
    moments, terms = stage.of_rows(design, frame), design.terms
    task = Task(moments, rows=lambda: rows_of(design, frame))
    exact = several_reml.fit(moments, terms.fixed, [own.blocks for own in terms.groupings])[0]
    return mixedlm.Fitter(LIMITS | limits, terms).fit(task).fit, exact, moments, terms


def read(name):
    return pd.read_csv(REFERENCE / f"{FILES[name]}.csv")


@pytest.fixture(scope="module", params=["penicillin", "pastes", "machines", "words_plain"])
def known(request):
    """Crossed, nested, nested within a fixed effect's factor, and crossed with an independent slope."""
    name = request.param
    return EXACT[name]["reml"], *fitted(read(name), EXACT[name]["formula"])


def test_the_reference_optimum_is_reached_and_said(known):
    reference, fit, exact, *_ = known
    about, table = fit.diagnostics, fit.parameters.set_index(["group", "term"])
    assert about.status == "ok", about.message
    assert about.summary["reml_gap"]["reached"]
    # statsmodels evaluates the criterion by other sums of at most 1000 terms of size 10: 1e-9
    assert about.criterion == pytest.approx(reference["criterion"], abs=1e-8)
    # the start is reml's optimum, right to 1e-10, and statsmodels' optimiser stays there: its own precision, from
    # other starts, is 1e-5 (test_from_another_start)
    for group, terms in reference["sd"].items():
        for term, sd in terms.items():
            assert table.loc[(group, f"sd__{term}"), "estimate"] == pytest.approx(sd, rel=1e-8)
    assert table.loc[("Residual", "sd__Observation"), "estimate"] == pytest.approx(
        reference["sigma"], rel=1e-8
    )
    for term, value in reference["fixed"].items():
        assert table.loc[("", term), "estimate"] == pytest.approx(value, rel=1e-8)
        # statsmodels' joint Hessian: exactly GLS's in a balanced design, 2e-4 off in an unbalanced one
        assert table.loc[("", term), "std_error"] == pytest.approx(reference["se"][term], rel=5e-4)
    keys = list(zip(exact.parameters["group"], exact.parameters["term"], strict=True))
    assert table.index.tolist() == keys
    spread = exact.parameters["effect"].to_numpy() == "ran_pars"
    ends = ["conf_low", "conf_high"]
    np.testing.assert_array_equal(table.loc[spread, ends], exact.parameters.loc[spread, ends])
    assert about.n_groups == exact.diagnostics.n_groups


def test_random_effects_are_the_references_by_factor(known):
    reference, fit, exact, *_ = known
    own = fit.ranef.set_index(["group", "level", "term"])
    pd.testing.assert_index_equal(own.index, exact.ranef.set_index(["group", "level", "term"]).index)
    least = 1e-3 * reference["sigma"]
    for group, levels in reference["ranef_est_prederr_condsd"].items():
        for level, terms in levels.items():
            for term, values in terms.items():
                mine = own.loc[(group, level, term), ["estimate", "std_error", "cond_sd"]].to_numpy(float)
                # 1e-6 is asked for, relative to the value or to a size that matters
                assert np.all(np.abs(mine - values) <= 1e-6 * np.maximum(np.abs(values), least))
    # held against statsmodels' own conditional fitted values, of size 500: twenty operations each
    assert fit.diagnostics.summary["coef_identity_max_error"] < 1e-9


def test_from_another_start_it_says_how_far_it_is():
    frame, formula = read("penicillin"), EXACT["penicillin"]["formula"]
    _, exact, _, terms = fitted(frame, formula)
    rows = rows_of(build(parse(formula), frame), frame)
    data = (terms, rows.y, rows.W, rows.codes, rows.levels, rows.others)
    start = mixedlm.Start(np.zeros(1), [np.eye(1), np.eye(1)], 1.0)
    gap = mixedlm.fit(*data, reml=exact, start=start).diagnostics.summary["reml_gap"]
    # statsmodels' stopping rule leaves sd's off by 1e-5 to 1e-4
    assert 1e-6 < gap["sd"] < 1e-3
    assert not gap["reached"]
    without = mixedlm.fit(*data).diagnostics
    assert without.summary["reml_gap"] is None
    assert without.intervals["ran_pars"] == "none"


@pytest.fixture(scope="module")
def schools():
    """Correlated slopes of schools, and rooms that are labelled from A to D in each school."""
    rng = np.random.default_rng(3)
    school = np.repeat(np.arange(12), 20)
    room = rng.integers(0, 4, 240)
    x = rng.normal(size=240)
    u, v = rng.normal(size=(12, 2)) * [2.0, 1.0], rng.normal(size=(12, 4))
    y = 1 + x + u[school, 0] + u[school, 1] * x + v[school, room] + rng.normal(size=240)
    return pd.DataFrame(
        {"y": y, "x": x, "school": [f"s{k:02}" for k in school], "room": np.array(list("ABCD"))[room]}
    )


def test_correlated_slopes_of_the_outer_factor_by_dense_matrices(schools):
    formula = "y ~ x + (x | school) + (1 | school:room)"
    fit, exact, _, terms = fitted(schools, formula)
    assert fit.diagnostics.summary["reml_gap"]["reached"]
    assert terms.groupings[0].group == "school"
    values = fit.parameters.set_index(["group", "term"])["estimate"]
    sd = values["school"].loc[["sd__Intercept", "sd__x"]].to_numpy()
    cor = values["school", "cor__Intercept.x"]
    D = [np.outer(sd, sd) * [[1, cor], [cor, 1]], np.array([[values["school:room", "sd__Intercept"] ** 2]])]
    model = model_of(schools, formula)
    V = marginal(model, D, values["Residual", "sd__Observation"])
    X, inverse = model.X, np.linalg.inv(V)
    cov = np.linalg.inv(X.T @ inverse @ X)
    P = inverse - inverse @ X @ cov @ X.T @ inverse
    mean, error, given = [], [], []
    for Z, own in zip(model.Z, D, strict=True):
        for level in range(Z.shape[1]):
            cross = own @ Z[:, level].T  # Cov(u, y)
            mean.append(cross @ P @ model.y)
            error.append(np.sqrt(np.diag(own - cross @ P @ cross.T)))
            given.append(np.sqrt(np.diag(own - cross @ inverse @ cross.T)))
    # 1e-7: the inverse of a 240 x 240 matrix with condition number near 1e3
    np.testing.assert_allclose(fit.ranef["estimate"], np.concatenate(mean), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(fit.ranef["std_error"], np.concatenate(error), rtol=1e-7)
    np.testing.assert_allclose(fit.ranef["cond_sd"], np.concatenate(given), rtol=1e-7)
    # two engines that share no sums, at one optimum
    np.testing.assert_allclose(fit.ranef["estimate"], exact.ranef["estimate"], rtol=1e-6, atol=1e-7)
    named = [(row["group"], row["term"], len(row["corr"])) for row in fit.diagnostics.summary["variances"]]
    assert named == [
        ("school", "Intercept", 0),
        ("school", "x", 1),
        ("school:room", "Intercept", 0),
        ("Residual", "", 0),
    ]


@pytest.mark.parametrize(
    ("formula", "limits", "said"),
    [
        ("y ~ x + (x | school) + (1 | room)", {}, "(Intercept, x of school) only of a factor that contains"),
        ("y ~ x + (1 | school) + (x | school:room)", {}, "(Intercept, x of school:room) only of a factor"),
        ("y ~ x + (1 | school) + (1 | room)", {"max_dense_rows": 239}, "240 rows that are one dense block are above"),
        ("y ~ x + (1 | school/room)", {"max_dense_rows": 19}, "20 rows of the largest group are above max_dense"),
        ("y ~ x + (1 | school/room)", {"max_groups": 11}, "12 groups are above max_groups = 11"),
        ("y ~ x + (1 | school) + (1 | room)", {"max_rows": 200}, "240 rows are above max_rows = 200"),
    ],
)  # fmt: skip
def test_what_it_cannot_fit_is_skipped_with_the_reason(schools, formula, limits, said):
    fit = fitted(schools, formula, **limits)[0]
    assert fit.diagnostics.status == "skipped"
    assert said in fit.diagnostics.message
    assert "\n" not in fit.diagnostics.message
    assert list(fit.parameters.columns) == PARAMETERS
    assert list(fit.ranef.columns) == RANEF
    assert not len(fit.parameters)


def test_nested_rows_are_within_the_limit_that_all_rows_are_not(schools):
    """The limit is of one group's dense matrices."""
    fit = fitted(schools, "y ~ x + (1 | school/room)", max_dense_rows=20)[0]
    assert fit.diagnostics.status == "ok"
    assert fit.diagnostics.summary["reml_gap"]["reached"]


def test_a_factor_without_variance_is_singular(schools):
    frame = schools.assign(room=np.resize(list("ABCD"), 240))
    frame["y"] -= frame.groupby("room")["y"].transform("mean")  # rooms differ by less than errors do
    fit, exact, *_ = fitted(frame, "y ~ x + (1 | school) + (1 | room)")
    assert exact.diagnostics.singular
    assert (fit.diagnostics.status, fit.diagnostics.singular) == ("singular", True)
    # the start is kept 1.1e-5 sigma from the boundary
    assert fit.diagnostics.criterion == pytest.approx(exact.diagnostics.criterion, abs=1e-6)


def test_means_and_contrasts_at_the_same_optimum_are_remls():
    """Of a study without reml: found from the moments, with its degrees of freedom."""
    fit, _, moments, terms = fitted(read("machines"), EXACT["machines"]["formula"])
    found, reference = of_likelihood(fit, None, moments, terms), EXACT["machines"]["reml"]
    # 1e-6: the reference's own derivatives of the covariance are differences
    assert found.df(np.eye(3)) == pytest.approx(list(reference["satterthwaite_df"].values()), rel=1e-6)
    assert found.std_error(np.eye(3)) == pytest.approx(list(reference["se"].values()), rel=1e-6)
