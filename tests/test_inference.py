"""Degrees of freedom, standard errors and F tests of fixed effects; maximum likelihood."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import inference_cases as cases
import problems
from lmm.core.store import read_json, write_json
from lmm.engines import reml_tables
from lmm.inference.degrees_of_freedom import expected_information, fixed_effects
from lmm.inference.derivatives import by_group, complete
from lmm.inference.fixed_effects import FixedEffects
from lmm.inference.hypotheses import TYPES, contrasts, terms_of
from lmm.inference.optimum import fill, optimum
from lmm.likelihood.problem import problem_of
from lmm.moments.accumulate import compute
from lmm.simulation.moments import draw, prepare

# lme4 stops where its criterion is flat to about 1e-14, relative: theta is known to 1e-7, and lmerTest's numerical
# derivatives to about as much.
TO_R = 1e-6
IN_R = [name for name in cases.R["fits"] if name not in ("weights", "weights_ml", "offset")]


def by_estimate(model, reference):
    """Places in X of the reference's terms, which have other names."""
    estimates = np.atleast_1d(reference["estimate"])
    places = [int(np.argmin(np.abs(model.best.beta - estimate))) for estimate in estimates]
    assert sorted(places) == list(range(model.problem.p))
    return places


@pytest.mark.parametrize("name", cases.ONE_FACTOR)
def test_the_exact_reference(name):
    model, reference = cases.exact(name), cases.EXACT[name]["reml"]
    eye = np.eye(model.problem.p)
    satterthwaite = model.fixed("satterthwaite").df(eye)
    # both are exact; rounding grows with the ratio of the variances
    assert satterthwaite == pytest.approx(list(reference["satterthwaite_df"].values()), rel=1e-9)
    fixed, kenward_roger = model.fixed("kenward-roger"), reference["kenward_roger"]
    assert list(reference["satterthwaite_df"]) == list(model.terms.fixed)
    assert fixed.df(eye) == pytest.approx(list(kenward_roger["df"].values()), rel=1e-9)
    assert fixed.std_error(eye) == pytest.approx(list(kenward_roger["se"].values()), rel=1e-9)
    test, joint = fixed.test(eye[1:]), kenward_roger["all_but_intercept"]
    assert test == pytest.approx((joint["num_df"], joint["den_df"], joint["F"]), rel=1e-9)


@pytest.mark.parametrize("name", cases.ONE_FACTOR)
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("method", ["satterthwaite", "kenward-roger"])
def test_f_f_tests_the_exact_reference(name, kind, method):
    model = cases.exact(name)
    expected = cases.EXACT[name]["lme4"][f"anova_{kind}_{method[:4]}"]
    found = f_tests(model, kind, method)
    assert list(found) == list(expected)
    for term, test in found.items():
        own = expected[term]
        assert test == pytest.approx((own["NumDF"], own["DenDF"], own["F"]), rel=1e-6)


def test_kenward_roger_with_two_df_is_the_t_test_of_the_means():
    """Two groups in each arm, balanced: with 2 df Kenward and Roger's scale of F is 0 over 0, and F is t^2."""
    rng = np.random.default_rng(7)
    group, arm = np.repeat(np.arange(4), 5), np.repeat([0.0, 0.0, 1.0, 1.0], 5)
    y = 2.0 * rng.normal(size=4)[group] + 3.0 * arm + rng.normal(size=20)
    model = cases.Model(
        "y ~ arm + (1 | g)", pd.DataFrame({"y": y, "arm": arm, "g": [f"g{k}" for k in group]})
    )
    means = y.reshape(4, 5).mean(axis=1)
    t, _ = stats.ttest_ind(means[2:], means[:2])
    found = model.fixed("kenward-roger").test(np.array([[0.0, 1.0]]))
    # df and F are ratios of differences that are 0 in exact arithmetic
    assert found == pytest.approx((1, 2.0, t**2), rel=1e-6)
    # numbers without rounding: A1 = A2 = 1
    one, row = np.ones((1, 1)), np.ones(1)
    exact = FixedEffects("kenward-roger", 3.0 * row, one, one, one[None], one)
    assert exact.test(one) == (1, 2.0, 9.0)


def f_tests(model, kind, method):
    """F tests of a model's terms."""
    fixed, problem = model.fixed(method), model.problem
    matrices = contrasts(terms_of(model.design), kind, problem.total[:-1, :-1], problem.x_map)
    return {term: fixed.test(matrix) for term, matrix in matrices.items()}


@pytest.mark.parametrize("name", IN_R)
def test_df_and_standard_errors_of_lmertest_and_pbkrtest(name):
    model, reference = cases.in_r(name), cases.R["fits"][name]
    eye = np.eye(model.problem.p)[by_estimate(model, reference)]
    assert model.best.criterion == pytest.approx(reference["criterion"], abs=1e-9)
    fixed = model.fixed("satterthwaite")
    assert fixed.std_error(eye) == pytest.approx(np.atleast_1d(reference["std_error"]), rel=TO_R)
    assert fixed.df(eye) == pytest.approx(np.atleast_1d(reference["satterthwaite_df"]), rel=TO_R)
    if "kenward_roger" in reference:
        fixed, reference = model.fixed("kenward-roger"), reference["kenward_roger"]
        assert fixed.std_error(eye) == pytest.approx(np.atleast_1d(reference["std_error"]), rel=TO_R)
        assert fixed.df(eye) == pytest.approx(np.atleast_1d(reference["df"]), rel=TO_R)


def test_the_references_have_singular_fits():
    # else the comparison above would not show how their df are defined
    singular = {name for name in IN_R if cases.in_r(name).best.singular}
    assert singular == {"correlation_one", "zero", "zero_both", "dyestuff2"}


@pytest.mark.parametrize("name", [name for name in IN_R if "tests" in cases.R["fits"][name]])
@pytest.mark.parametrize("kind", TYPES)
def test_f_f_tests_lmertest(name, kind):
    model = cases.in_r(name)
    for method, expected in cases.R["fits"][name]["tests"].items():
        found = f_tests(model, kind, method.lower())
        for term, own in expected[kind].items():
            if (name, kind, term) == ("polynomial", "II", "A"):
                continue  # below
            test = found[term.replace("x^2", "x ** 2")]
            assert test == pytest.approx((own["num_df"], own["den_df"], own["F"]), rel=TO_R)
            assert stats.f.sf(test.statistic, test.num_df, test.den_df) == pytest.approx(own["p"], rel=1e-4)


def test_type_two_of_a_factor_beside_its_interaction_with_a_polynomial():
    # A:poly(x, 2) has a numeric factor that A lacks, so it does not contain A (SAS's definition), as A:x does not:
    # type II is the marginal test then. lmerTest does not count poly() as numeric.
    model = cases.in_r("polynomial")
    assert f_tests(model, "II", "satterthwaite")["A"] == pytest.approx(
        f_tests(model, "III", "satterthwaite")["A"], rel=1e-12
    )


def dense_parts(model):
    """X, y, Z per group and the model's V at its optimum, in original units."""
    y, W = model.design.matrix(model.rows)
    X = W[:, [model.terms.columns.index(name) for name in model.terms.fixed]]
    Z = W[:, [model.terms.columns.index(name) for name in model.terms.random]]
    group = model.rows[model.terms.group].to_numpy()
    return X, y, Z, group[:, None] == group


@pytest.mark.parametrize(
    "formula", ["y ~ A + x + o + (x + o || g)", "y ~ A * x + (x + o | g)", "y ~ 0 + x + (0 + x | g)"]
)
def test_forms_of_the_derivatives_against_dense_matrices(formula):
    model = cases.Model(formula, cases.ROWS)
    X, y, Z, same = dense_parts(model)
    some = complete(by_group(model.problem, model.best))
    # the kernel's columns: beta and u in its coordinates, y in units of sigma
    X = X @ some.back / model.best.sigma
    Z = Z @ model.problem.z_map / model.problem.y_scale
    sigma = model.best.sigma / model.problem.y_scale
    factor = fill(model.problem.structure, model.best.phi) / sigma
    y = y / model.best.sigma
    V = np.eye(len(y)) + same * (Z @ factor @ factor.T @ Z.T)
    inverse = np.linalg.inv(V)
    phi = np.linalg.inv(X.T @ inverse @ X)
    P = inverse - inverse @ X @ phi @ X.T @ inverse
    derivatives = []
    for _, a, b in some.elements:
        E = np.zeros((Z.shape[1], Z.shape[1]))
        E[a, b] = E[b, a] = 1.0
        derivatives.append(same * (Z @ E @ Z.T))
    derivatives.append(np.eye(len(y)))
    assert some.information == pytest.approx(X.T @ inverse @ X, rel=1e-9, abs=1e-9)
    assert some.rss == pytest.approx(y @ P @ y, rel=1e-9)
    close = {"rel": 1e-8, "abs": 1e-8}
    for i, one in enumerate(derivatives):
        assert some.p[i] == pytest.approx(-X.T @ inverse @ one @ inverse @ X, **close)
        assert some.trace[i] == pytest.approx(np.trace(inverse @ one), **close)
        assert some.form[i] == pytest.approx(y @ P @ one @ P @ y, **close)
        for j, other in enumerate(derivatives):
            both = inverse @ one @ inverse @ other
            assert some.q[i, j] == pytest.approx(X.T @ both @ inverse @ X, **close)
            assert some.traces[i, j] == pytest.approx(np.trace(both), **close)
            assert some.forms[i, j] == pytest.approx(y @ P @ one @ P @ other @ P @ y, **close)
            twice = np.trace(P @ one @ P @ other)
            assert expected_information(some, phi)[i, j] == pytest.approx(twice, **close)


def test_kenward_roger_of_5000_groups_takes_no_time():
    # the issue asks for 5 s; it takes 10 ms once compiled
    rng = np.random.default_rng(3)
    sizes = rng.multinomial(45_861 - 5000, np.ones(5000) / 5000) + 1
    names = ("Intercept", *"abcdefg")
    D = np.array([[1.0, 0.3], [0.3, 0.5]])
    data = problems.simulated(rng, sizes, names, names[:2], D, 1.0, np.arange(8.0))
    problem = problem_of(compute(*data), data[0].fixed, data[0].blocks)
    best = optimum(problem)
    started = time.process_time()
    fixed = fixed_effects("kenward-roger", best.beta, by_group(problem, best))
    df = fixed.df(np.eye(8))
    assert time.process_time() - started < 5.0
    assert np.all(np.isfinite(df))
    # the intercept's and a's come from 5000 groups, the others' from the rows
    assert np.all(np.abs(df[:2] - 5000) < 500)
    assert np.all(df[2:] > 30_000)


def test_coverage_with_ten_groups():
    # 10 groups of 20 rows: t intervals cover 95 %, normal ones about 90 % (Monte Carlo error of 0.7 %)
    rng = np.random.default_rng(4)
    D, beta = np.array([[1.0, 0.2], [0.2, 0.5]]), np.array([1.0, 0.5])
    names = ("Intercept", "x")
    data = problems.simulated(rng, [20] * 10, names, names, D, 1.0, beta)
    design, root, eye = prepare(compute(*data)), np.linalg.cholesky(D), np.eye(2)
    inside = {"satterthwaite": [], "kenward-roger": [], "normal": []}
    for _ in range(1000):
        effects = rng.standard_normal((10, 2)) @ root.T
        moments = draw(rng, design, names, beta, names, effects, 1.0)
        problem = problem_of(moments, names, (names,))
        best = optimum(problem)
        derivatives = by_group(problem, best)
        for method, covers in inside.items():
            fixed = fixed_effects(method, best.beta, derivatives)
            reach = stats.t.ppf(0.975, fixed.df(eye)) * fixed.std_error(eye)
            covers.append(np.abs(best.beta - beta) <= reach)
    covered = {method: np.mean(covers, axis=0) for method, covers in inside.items()}
    error = np.sqrt(0.95 * 0.05 / 1000)
    for method in ("satterthwaite", "kenward-roger"):
        assert np.all(np.abs(covered[method] - 0.95) < 3.5 * error)
    assert np.all(covered["normal"] < 0.95 - 4.0 * error)


@pytest.mark.parametrize("name", cases.ONE_FACTOR)
def test_maximum_likelihood(name):
    best, reference = cases.exact(name, ml=True).best, cases.EXACT[name]["ml"]
    assert best.certified
    assert best.criterion == pytest.approx(reference["criterion"], abs=1e-9)
    assert best.sigma == pytest.approx(reference["sigma"], rel=1e-8)
    assert best.beta == pytest.approx(list(reference["fixed"].values()), rel=1e-8)
    assert np.sqrt(np.diag(best.cov_beta)) == pytest.approx(list(reference["se"].values()), rel=1e-8)
    sds = [sd for own in reference["sd"].values() for sd in own.values()]
    assert np.sqrt(np.diag(best.covariance)) == pytest.approx(sds, rel=1e-8)


@pytest.mark.parametrize("name", ["weights", "weights_ml", "offset"])
def test_weights_and_offset_of_lme4(name):
    reference = cases.R["fits"][name]
    rows = pd.read_csv(cases.HERE / "reference" / "sleepstudy_weights.csv", dtype={"Subject": str})
    offset = rows.o.to_numpy() if name == "offset" else 0.0
    formula = "Reaction ~ Days + (Days | Subject)"
    model = cases.Model(formula, rows, name == "weights_ml", rows.w.to_numpy(), offset)
    best = model.best
    assert best.criterion == pytest.approx(reference["criterion"], abs=1e-8)
    assert best.beta == pytest.approx(reference["estimate"], rel=TO_R)
    sds = np.sqrt(np.diag(best.covariance))
    assert [*sds, best.sigma] == pytest.approx([*reference["vc"][:2], reference["vc"][3]], rel=TO_R)
    fixed = model.fixed("satterthwaite")
    assert fixed.std_error(np.eye(2)) == pytest.approx(reference["std_error"], rel=TO_R)
    # lmerTest differentiates numerically
    assert fixed.df(np.eye(2)) == pytest.approx(reference["satterthwaite_df"], rel=1e-5)


def test_weights_against_dense_matrices():
    rows = cases.ROWS
    model = cases.Model("y ~ A + x + (x | g)", rows, weights=rows.w.to_numpy())
    X, y, Z, same = dense_parts(model)
    V = same * (Z @ model.best.covariance @ Z.T) + np.diag(model.best.sigma**2 / rows.w.to_numpy())
    inverse = np.linalg.inv(V)
    cov = np.linalg.inv(X.T @ inverse @ X)
    r = y - X @ (cov @ X.T @ inverse @ y)
    criterion = (len(y) - X.shape[1]) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + r @ inverse @ r
    criterion += np.linalg.slogdet(X.T @ inverse @ X)[1]
    assert model.best.criterion == pytest.approx(criterion, abs=1e-9)
    assert model.best.cov_beta == pytest.approx(cov, rel=1e-9)


@pytest.mark.parametrize("method", ["satterthwaite", "kenward-roger", "normal"])
def test_the_table_of_tests_has_every_type_and_term(method):
    """tests.csv; without degrees of freedom by the chi-square, with the F statistic times its degrees of freedom."""
    model = (
        cases.in_r("interaction") if "interaction" in IN_R else cases.Model("y ~ A * x + (x | g)", cases.ROWS)
    )
    fixed, problem = model.fixed(method), model.problem
    table = reml_tables.f_tests(fixed, model.design, problem.total, problem.x_map)
    expected = [(term, kind, test) for kind in TYPES for term, test in f_tests(model, kind, method).items()]
    assert list(zip(table["term"], table["type"], strict=True)) == [own[:2] for own in expected]
    for row, (_, _, test) in zip(table.itertuples(), expected, strict=True):
        assert (row.num_df, row.den_df, row.F) == tuple(test)
        if method == "normal":
            assert np.isinf(row.den_df)
            p = stats.chi2.sf(row.num_df * row.F, row.num_df)
        else:
            p = stats.f.sf(row.F, row.num_df, row.den_df)
        assert row.p_value == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("method", ["satterthwaite", "kenward-roger", "normal", 12.5])
def test_fixed_effects_come_back_from_a_file(method, tmp_path):
    model = cases.exact("sleepstudy")
    fixed = model.fixed("satterthwaite")
    fixed = (
        FixedEffects.with_df(fixed.beta, fixed.covariance, method) if method == 12.5 else model.fixed(method)
    )
    write_json(tmp_path / "f.json", fixed.plain())
    found = FixedEffects.from_plain(read_json(tmp_path / "f.json"))
    assert (found.method, found.residual) == (fixed.method, fixed.residual)
    for name in ("beta", "covariance", "adjusted", "slopes", "spread"):
        np.testing.assert_array_equal(getattr(found, name), getattr(fixed, name))
    L = np.array([[1.0, 2.0], [0.0, 1.0]])
    np.testing.assert_array_equal(found.df(L), fixed.df(L))
    assert found.test(L) == fixed.test(L)
