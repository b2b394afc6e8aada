"""REML from moments: published optima, the traps of docs/statistics.md, section 3, profile intervals."""

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

import problems
from lmm.engines import reml
from lmm.inference import intervals
from lmm.inference import optimum as optimum_module
from lmm.inference import profile as profile_module
from lmm.inference.intervals import not_found, profile_intervals, standard_errors
from lmm.inference.newton import NONE, newton
from lmm.inference.optimum import fill, optimum
from lmm.inference.profile import INNER
from lmm.likelihood.marginal import log_density, pack_problem
from lmm.likelihood.problem import problem_of
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.model.terms import Terms
from lmm.moments.accumulate import compute
from lmm.moments.stage import of_rows


def study_problem(name, **changes):
    """The kernel's input for a study."""
    moments, terms = problems.moments_of(name, **changes)
    return problem_of(moments, terms.fixed, terms.blocks)


@pytest.fixture(scope="module", params=problems.STUDIES)
def study(request):
    moments, terms = problems.moments_of(request.param)
    fit, best = reml.fit(moments, terms.fixed, terms.blocks)
    return request.param, terms, fit, best, problems.EXACT[request.param]


def close(found, expected, sigma):
    """1e-6 relative to max(|reference|, 1e-3 sigma), the accuracy that the issue asks for."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert np.all(np.abs(found - expected) <= 1e-6 * np.maximum(np.abs(expected), 1e-3 * sigma))


def test_an_optimum_that_is_watched_has_the_same_bits(study, monkeypatch):
    name, _, _, best, _ = study
    monkeypatch.setattr(optimum_module, "WATCHED", 0)
    again = optimum(study_problem(name))
    assert (again.phi == best.phi).all()
    assert (again.beta == best.beta).all()
    assert (again.criterion, again.sigma, again.certified) == (best.criterion, best.sigma, best.certified)


def test_every_reference_number(study):
    _, terms, fit, best, exact = study
    table = fit.parameters.set_index("term")
    assert best.criterion == pytest.approx(exact["criterion"], abs=1e-6)
    for term in terms.fixed:
        close(table.estimate[term], exact["fixed"][term], exact["sigma"])
        close(table.std_error[term], exact["se"][term], exact["sigma"])
    for term in terms.random:
        close(table.estimate[f"sd__{term}"], exact["sd"][term], exact["sigma"])
    close(table.estimate["sd__Observation"], exact["sigma"], exact["sigma"])
    if exact["corr"] and len(terms.blocks) == 1:
        close(table.estimate["cor__" + ".".join(terms.random)], exact["corr"][0], 1.0)
    ranef = fit.ranef.set_index(["level", "term"]).estimate
    for level, values in exact["ranef"].items():
        close([ranef[level, term] for term in terms.random], values, exact["sigma"])


def test_p_values_of_fixed_effects_are_two_sided():
    """sleepstudy's slope has t = 6.771: 2 P(Z > t) of the standard normal, and lmerTest's p with 17 df."""
    moments, terms = problems.moments_of("sleepstudy")
    exact = problems.EXACT["sleepstudy"]
    for df, p in (("normal", 1.27467e-11), ("satterthwaite", 3.2638e-06)):
        fit, _ = reml.fit(moments, terms.fixed, terms.blocks, df=df)
        row = fit.parameters.set_index("term").loc["Days"]
        assert row["statistic"] == pytest.approx(exact["fixed"]["Days"] / exact["se"]["Days"], rel=1e-6)
        # the statistic to 1e-7: d log p / d log t is -46 for the normal, -14 for t with 17 df
        assert row["p_value"] == pytest.approx(p, rel=1e-4)


def test_sds_are_exact_to_1e8(study):
    _, terms, fit, _, exact = study
    found = fit.parameters.set_index("term").estimate
    for term in terms.random:  # absolute in units of sigma: Dyestuff2's is 0
        assert abs(found[f"sd__{term}"] - exact["sd"][term]) < 1e-8 * exact["sigma"]


def test_certified_and_singular_only_where_it_is(study):
    name, _, fit, best, _ = study
    assert best.certified
    assert best.singular == (name == "dyestuff2")
    assert fit.diagnostics.status == ("singular" if name == "dyestuff2" else "ok")


@pytest.mark.parametrize("seed", range(100))
def test_orthodont_from_random_starts(seed):
    problem = study_problem("orthodont")
    rng = np.random.default_rng(seed)
    start = np.tril(rng.normal(size=(2, 2)) * 10.0 ** rng.uniform(-3, 2, size=(2, 1)))
    best = optimum(problem, [start])
    # not the saddle at 443.8485 nor the bounded stop at 445.0857
    assert best.criterion == pytest.approx(442.63668588412463, abs=1e-6)
    assert best.certified


def test_a_first_stop_at_the_boundary_is_not_the_last():
    """Eleven rows with two minima: the best of the grid of starts leads to one at the boundary, 1.9 higher."""
    y = np.array([2.69, 0.82, 6.08, -2.87, 1.7, 3.44, -0.39, 0.45, 3.26, 2.49, 1.54])
    x = np.array([0.54, 0.71, 2.0, -1.47, 0.56, 1.21, -0.18, -1.23, 0.65, 0.15, -0.61])
    codes, names = np.array([0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2]), ("Intercept", "x")
    terms, W = Terms.one(names, (names,), "g", names), np.column_stack([np.ones(11), x])
    problem = problem_of(compute(terms, y, W, codes, np.array(["a", "b", "c"])), terms.fixed, terms.blocks)
    phi = optimum_module.starting_points(problem)[0]
    first, best = optimum(problem, [fill(problem.structure, phi) / np.exp(phi[-1])]), optimum(problem)
    assert first.certified
    assert first.singular
    assert first.criterion == pytest.approx(27.592580, abs=1e-6)

    def dense(phi):
        root = np.array([[phi[0], 0.0], [phi[1], phi[2]]])
        return problems.dense(terms, y, W, codes, root @ root.T, np.exp(phi[3]))[0]

    rng, options = np.random.default_rng(1), {"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000}
    starts = rng.normal(size=(10, 4)) * [5.0, 5.0, 5.0, 1.0]
    least = min(
        optimize.minimize(dense, start, method="Nelder-Mead", options=options).fun for start in starts
    )
    assert best.certified
    assert not best.singular
    assert best.criterion == pytest.approx(least, abs=1e-6)  # Nelder-Mead stops within 1e-8 of a minimum


def test_theta_zero_is_left():
    # the gradient in L vanishes identically at L = 0, whatever the data say
    for name in ("orthodont", "sleepstudy", "dyestuff", "coffee"):
        best = optimum(study_problem(name), [np.zeros_like(study_problem(name).z_map)])
        assert best.criterion == pytest.approx(problems.EXACT[name]["criterion"], abs=1e-6)


def test_orthodonts_saddle_is_left():
    # L of rank one: the best fit with correlation +-1, where the gradient in L22 is 0
    problem = study_problem("orthodont")
    structure = problem.structure
    held = int(np.flatnonzero((structure.rows == 1) & (structure.cols == 1))[0])
    model = problem.model(np.eye(2))
    start = np.array([1.0, 0.5, 0.0, 0.0])
    phi, value, *_ = newton(start, held, NONE, *model, INNER)
    stuck = value + problem.constant
    assert stuck == pytest.approx(443.8485, abs=1e-4)
    best = optimum(problem, [fill(structure, phi) / np.exp(phi[-1])])
    assert best.criterion == pytest.approx(442.63668588412463, abs=1e-6)


@pytest.mark.parametrize(("y_shift", "x_scale"), [(1e8, 1.0), (0.0, 1e8), (0.0, 1e-8), (1e8, 1e-8)])
def test_shift_and_scale_torture(y_shift, x_scale):
    plain = reml.fit(*_arguments("sleepstudy"))[0].parameters.set_index("term")
    moments, terms = problems.moments_of("sleepstudy", y_shift=y_shift, x_scale=x_scale)
    fit = reml.fit(moments, terms.fixed, terms.blocks)[0].parameters.set_index("term")
    # y is known to 1e8 * 1.1e-16 = 1e-8 only once it is shifted, of 25 (sigma): 5e-10, times a factor of 20
    exact = 1e-8 if y_shift else 1e-11
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        # a profile's limit is searched to 1e-9 of the target, and the Hessian is of difference quotients
        tolerance = exact if column == "estimate" else max(exact, 1e-9)
        assert fit[column]["sd__Intercept"] == pytest.approx(plain[column]["sd__Intercept"], rel=tolerance)
        slope = fit[column]["sd__Days"] * x_scale
        assert slope == pytest.approx(plain[column]["sd__Days"], rel=tolerance)
        assert fit[column]["sd__Observation"] == pytest.approx(
            plain[column]["sd__Observation"], rel=tolerance
        )
        assert fit[column]["cor__Intercept.Days"] == pytest.approx(
            plain[column]["cor__Intercept.Days"], abs=10 * tolerance
        )
    assert fit.estimate["Days"] * x_scale == pytest.approx(plain.estimate["Days"], rel=exact)
    intercept = fit.estimate["Intercept"] - y_shift
    assert intercept == pytest.approx(plain.estimate["Intercept"], rel=1e-9)


def _arguments(name):
    moments, terms = problems.moments_of(name)
    return moments, terms.fixed, terms.blocks


def test_balanced_one_way_closed_form():
    # ANOVA estimators are REML's in a balanced one-way layout (Searle, Casella & McCulloch 1992, section 4.3)
    terms, y, W, codes, levels = problems.rows_of("dyestuff")
    means = np.bincount(codes, y) / 5
    between = 5 * means.var(ddof=1)
    within = ((y - means[codes]) ** 2).sum() / (30 - 6)
    best = optimum(problem_of(compute(terms, y, W, codes, levels), terms.fixed, terms.blocks))
    assert best.sigma**2 == pytest.approx(within, rel=1e-10)
    assert best.covariance[0, 0] == pytest.approx((between - within) / 5, rel=1e-10)


@pytest.mark.parametrize("blocks", [(("Intercept", "x", "z"),), (("Intercept", "x"), ("z",))])
def test_three_effects_against_a_general_optimiser(blocks):
    rng = np.random.default_rng(11)
    D = np.array([[4.0, 0.6, 0.3], [0.6, 1.0, -0.2], [0.3, -0.2, 0.5]])
    names = ("Intercept", "x", "z")
    terms, y, W, codes, levels = problems.simulated(
        rng, [6] * 12, names, names, D, 0.9, np.array([1.0, 2.0, 3.0]), blocks
    )
    best = optimum(problem_of(compute(terms, y, W, codes, levels), terms.fixed, terms.blocks))
    free = [
        (a, b) for block in blocks for a in map(names.index, block) for b in map(names.index, block) if b <= a
    ]

    def criterion(phi):
        root = np.zeros((3, 3))
        for (a, b), value in zip(free, phi, strict=False):
            root[a, b] = value
        return problems.dense(terms, y, W, codes, root @ root.T, np.exp(phi[-1]))[0]

    start = np.append([best.root[at] for at in free], np.log(best.sigma)) * 1.05
    found = optimize.minimize(criterion, start, method="BFGS", options={"gtol": 1e-5})
    # BFGS with difference quotients stops within about 1e-8 of the minimum
    assert best.criterion <= found.fun + 1e-7
    assert best.criterion == pytest.approx(found.fun, abs=1e-5)
    assert best.certified


def profile_by_general_optimiser(packed, of, value, best):
    """Criterion with one sd held, minimised over the rest by Nelder-Mead over the (densely tested) kernel."""

    def criterion(phi):
        s = np.exp(phi[:2])
        s[of] = value
        r = np.tanh(phi[2])
        root = np.array([[s[0], 0.0], [s[1] * r, s[1] * np.sqrt(1.0 - r * r)]])
        return -2.0 * log_density(packed, root, np.exp(phi[3]))[0]

    sds = np.sqrt(np.diag(best.covariance))
    start = np.array([*np.log(sds), np.arctanh(best.covariance[0, 1] / sds.prod()), np.log(best.sigma)])
    options = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 4000}
    return optimize.minimize(criterion, start, method="Nelder-Mead", options=options).fun


@pytest.mark.parametrize("of", [0, 1])
def test_profile_limits_rise_by_the_chi_square_quantile(of):
    problem = study_problem("sleepstudy")
    best = optimum(problem)
    limits, words = profile_intervals(problem, best, 0.95)
    assert not words
    for limit in limits[of]:
        held = profile_by_general_optimiser(pack_problem(problem), of, limit, best)
        # the slope of the criterion at a limit is about 1 a unit; Nelder-Mead stops within 1e-8 of the minimum
        assert held - best.criterion == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-6)


def test_profile_of_one_way_closed_form():
    # with one variance and sigma the criterion has two parameters: minimise over the other on a fine grid
    terms, y, W, codes, levels = problems.rows_of("dyestuff")
    problem = problem_of(compute(terms, y, W, codes, levels), terms.fixed, terms.blocks)
    best = optimum(problem)
    limits, _ = profile_intervals(problem, best, 0.9)

    def held(sd):
        def criterion(sigma):
            return problems.dense(terms, y, W, codes, np.array([[sd**2]]), sigma)[0]

        return optimize.minimize_scalar(
            criterion, bounds=(20, 120), method="bounded", options={"xatol": 1e-8}
        ).fun

    for limit in limits[0]:
        assert held(limit) - best.criterion == pytest.approx(stats.chi2.ppf(0.9, 1), abs=1e-6)


def test_limits_at_the_edge_of_the_parameter_space():
    problem = study_problem("dyestuff2")
    best = optimum(problem)
    limits, words = profile_intervals(problem, best, 0.95)
    assert not words
    assert limits[0, 0] == 0.0
    assert 0.0 < limits[0, 1] < 3 * best.sigma
    errors = standard_errors(problem, best)
    assert np.isnan(errors[0])
    # sigma's own: sqrt(sigma^2 / (2 (N - 1))) where the group variance is 0 (a chi-square's information)
    assert errors[1] == pytest.approx(best.sigma / np.sqrt(2 * 29), rel=1e-6)
    # a correlation that the data cannot bound has the limits -1 and 1
    problem = study_problem("orthodont")
    limits, words = profile_intervals(problem, optimum(problem), 0.999)
    assert not words
    assert limits[2, 0] == -1.0


def test_a_limit_whose_search_did_not_converge_is_reported_and_left_empty(monkeypatch):
    """The kernels as Python, with a Newton's method that finds the minimum and says that it did not converge."""

    def unsure(*arguments):
        found = newton(*arguments)
        return (*found[:4], False, *found[5:])

    problem = study_problem("dyestuff")
    best = optimum(problem)
    expected, _ = profile_intervals(problem, best, 0.95)
    monkeypatch.setattr(intervals, "profile_limit", profile_module.profile_limit.py_func)
    found, warnings = profile_intervals(problem, best, 0.95)
    np.testing.assert_allclose(found, expected, rtol=1e-9)  # where the search stops, 1e-9 of the rise
    assert warnings == []
    monkeypatch.setattr(profile_module, "newton", unsure)
    monkeypatch.setattr(profile_module, "_all_at_once", lambda *arguments: (0.0, False))
    found, warnings = profile_intervals(problem, best, 0.95)
    assert np.isnan(found).all()
    assert [text.split(" has ")[0] for text in warnings] == [
        "the profile of sd__Intercept", "the profile of sd__Observation",
    ]  # fmt: skip


def test_standard_errors_are_the_dense_hessians():
    terms, y, W, codes, levels = problems.rows_of("dyestuff")
    problem = problem_of(compute(terms, y, W, codes, levels), terms.fixed, terms.blocks)
    best = optimum(problem)

    def criterion(sd, sigma):
        return problems.dense(terms, y, W, codes, np.array([[sd**2]]), sigma)[0]

    x, h = np.array([best.root[0, 0], best.sigma]), 0.02
    H = np.empty((2, 2))
    for a in range(2):
        for b in range(2):
            e, f = h * np.eye(2)[a], h * np.eye(2)[b]
            H[a, b] = (
                criterion(*(x + e + f))
                - criterion(*(x + e - f))
                - criterion(*(x - e + f))
                + criterion(*(x - e - f))
            ) / (4 * h * h)
    expected = np.sqrt(np.diag(np.linalg.inv(0.5 * H)))
    # second differences of a criterion of 320: rounding 6e-14 / h^2 of curvatures of 0.03, and h^2 terms
    np.testing.assert_allclose(standard_errors(problem, best), expected, rtol=1e-4)


def test_hard_shapes_end_with_a_verdict():
    rng = np.random.default_rng(3)
    names = ("Intercept", "x")
    shapes = {
        "two groups": [8, 9],
        "single rows": [1, 1, 1, 1, 1, 2, 6, 7],
        "many pairs": [2] * 5000,
    }
    for sizes in shapes.values():
        data = problems.simulated(rng, sizes, names, names, np.diag([1.0, 0.25]), 1.0, np.array([1.0, 1.0]))
        fit, best = reml.fit(compute(*data), data[0].fixed, data[0].blocks, profile=len(sizes) < 100)
        assert best.certified
        assert np.isfinite(fit.parameters.estimate).all()
        assert fit.ranef.std_error.gt(0).all() or best.singular


def test_a_hundred_thousand_pairs():
    rng = np.random.default_rng(4)
    data = problems.simulated(
        rng, [2] * 100_000, ("Intercept", "x"), ("Intercept",), np.eye(1), 1.0, np.array([1.0, 1.0])
    )
    best = optimum(problem_of(compute(*data), data[0].fixed, data[0].blocks))
    # sd of an sd estimate here: about 1 / sqrt(2 J) times 1.5; five of them
    assert best.root[0, 0] == pytest.approx(1.0, abs=5 * 1.5 / np.sqrt(2e5))
    assert best.certified


def small_study(seed, sds=(1.0, 0.5)):
    """Six groups of five rows, random intercept and slope correlated 0.3: where correlations are hard to find."""
    rng = np.random.default_rng(seed)
    codes, names = np.repeat(np.arange(6), 5), ("Intercept", "x")
    W = np.column_stack([np.ones(30), rng.standard_normal(30)])
    effects = rng.standard_normal((6, 2)) @ np.linalg.cholesky([[1.0, 0.3], [0.3, 1.0]]).T * sds
    y = W @ [3.0, 0.5] + (W * effects[codes]).sum(axis=1) + rng.standard_normal(30)
    terms = Terms.one(names, (names,), "g", names)
    return terms, y, W, codes, compute(terms, y, W, codes, np.array(list("abcdef")))


def test_every_limit_of_a_correlation_is_found_in_hard_shapes():
    statuses = set()
    for seed in range(60):
        terms, *_, moments = small_study(seed)
        fit, _ = reml.fit(moments, terms.fixed, terms.blocks)
        table = fit.parameters.set_index("term")
        statuses.add(fit.diagnostics.status)
        limits = table.loc[table["effect"] == "ran_pars", ["conf_low", "conf_high"]]
        assert limits.notna().all(axis=None), (seed, limits)
        if 0.0 in table.loc[["sd__Intercept", "sd__x"], "conf_low"].to_numpy():
            assert limits.loc["cor__Intercept.x"].tolist() == [-1.0, 1.0], seed
    assert statuses == {"ok", "singular"}  # both kinds are among them


def test_a_correlations_limit_rises_by_the_quantile_of_the_dense_criterion():
    found = 0
    for seed in range(12):
        terms, y, W, codes, moments = small_study(seed, (3.0, 2.0))
        fit, best = reml.fit(moments, terms.fixed, terms.blocks)
        table = fit.parameters.set_index("term")
        sds = table.loc[["sd__Intercept", "sd__x", "sd__Observation"], "estimate"].to_numpy()
        for limit in table.loc["cor__Intercept.x", ["conf_low", "conf_high"]]:
            if abs(limit) == 1.0:
                continue

            def deviance(logs, r=limit, rows=(terms, y, W, codes)):
                a, b, sigma = np.exp(logs)
                D = np.array([[a * a, r * a * b], [r * a * b, b * b]])
                return problems.dense(*rows, D, sigma)[0]

            start = np.log(np.maximum(sds, 0.1))
            how = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 4000}
            inner = optimize.minimize(deviance, start, method="Nelder-Mead", options=how)
            # fatol, and the search's own tolerance of 1e-9 of the target
            assert inner.fun - best.criterion == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-6)
            found += 1
    assert found >= 8


def test_the_correlation_with_an_effect_of_no_variance_is_undefined():
    terms, y, W, codes, _ = small_study(0)
    for rows in np.split(np.arange(30), 6):  # each group's own line is that of all
        y[rows] -= W[rows] @ (np.linalg.lstsq(W[rows], y[rows])[0] - [3.0, 0.5])
    moments = compute(terms, y, W, codes, np.array(list("abcdef")))
    fit, best = reml.fit(moments, terms.fixed, terms.blocks)
    cor = fit.parameters.set_index("term").loc["cor__Intercept.x"]
    assert (best.root == 0.0).all()
    assert np.isnan(cor["estimate"])
    assert cor[["conf_low", "conf_high"]].tolist() == [-1.0, 1.0]


def test_the_residual_sds_limits_do_not_depend_on_where_a_predictors_zero_is():
    """A correlation of -1 in one and in the other; steps of 1e-6 about 2008 are known to 2e-7 of a step."""
    rng = np.random.default_rng(0)
    group, x = np.repeat(np.arange(20), 6), np.tile(np.arange(6.0), 20)
    y = 5 + 0.5 * x + rng.normal(size=20)[group] + rng.normal(size=120)
    found = []
    for values in (x, 2008 + 1e-6 * x):
        rows = pd.DataFrame({"y": y, "x": values, "id": group.astype(str)})
        design = build(parse("y ~ x + (x | id)"), rows)
        fit, best = reml.fit(of_rows(design, rows), design.terms.fixed, design.terms.blocks)
        assert best.singular
        found.append(fit.parameters.set_index("term").loc["sd__Observation"])
        assert np.isfinite(found[-1][["conf_low", "conf_high"]].astype(float)).all()
    for column in ("estimate", "conf_low", "conf_high"):
        assert found[1][column] == pytest.approx(found[0][column], rel=1e-5)


def test_a_limit_that_is_not_found_is_said_in_words():
    assert not_found("sd__x", [np.float64(np.nan), 3.0]) == (
        "the profile of sd__x has no finite lower limit that could be found"
    )
    assert not_found("sd__x", [np.nan, np.inf]).endswith(
        "no finite lower and no upper limit that could be found"
    )
