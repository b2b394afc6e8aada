"""REML and ML of several factors against exact references, differences and other optimisers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from lmm.engines.several_reml import fit
from lmm.frames import simulate
from lmm.inference import several_intervals
from lmm.inference.degrees_of_freedom import fixed_effects
from lmm.inference.several_derivatives import _traces, by_factors
from lmm.inference.several_intervals import names, profile_intervals, standard_errors, values
from lmm.inference.several_newton import Objective, minimise, relative
from lmm.inference.several_optimum import optimum
from lmm.likelihood.several_information import Information
from several import EXACT, FILES, criterion, marginal, model_of, reference, simulated


@pytest.fixture(scope="module")
def fitted():
    """Fits of the reference's models, made once."""
    made = {}

    def get(name: str, reml: bool):
        if (name, reml) not in made:
            model = reference(name)
            found, _, best = fit(model.moments, model.terms.fixed, model.blocks, profile=False, ml=not reml)
            made[name, reml] = found, best
        return made[name, reml]

    return get


def close(found, truth, sigma):
    """1e-6, absolute where a number is below a thousandth of sigma."""
    return abs(found - truth) < 1e-6 * max(abs(truth), 1e-3 * sigma)


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("name", FILES)
def test_estimates(fitted, name, reml):
    """Every number of the reference, which agrees with lme4's criterion to 1e-11."""
    found, best = fitted(name, reml)
    exact = EXACT[name]["reml" if reml else "ml"]
    sigma = exact["sigma"]
    table = found.parameters.set_index(["group", "term"])
    assert abs(best.criterion - exact["criterion"]) < 1e-6
    assert best.certified
    for term, truth in exact["fixed"].items():
        assert close(table["estimate"]["", term], truth, sigma)
        assert close(table["std_error"]["", term], exact["se"][term], sigma)
    count = 0
    for group, terms in exact["sd"].items():
        for term, truth in terms.items():
            assert close(table["estimate"][group, f"sd__{term}"], truth, sigma)
            count += 1
        for pair, truth in exact["corr"].get(group, {}).items():
            assert close(table["estimate"][group, f"cor__{pair}"], truth, sigma)
            count += 1
    assert close(table["estimate"]["Residual", "sd__Observation"], sigma, sigma)
    assert len(table) == len(exact["fixed"]) + count + 1


@pytest.mark.parametrize("name", FILES)
def test_random_effects(fitted, name):
    """Estimate, prediction error and lme4's conditional sd of every level."""
    found, _ = fitted(name, True)
    exact, sigma = EXACT[name]["reml"]["ranef_est_prederr_condsd"], EXACT[name]["reml"]["sigma"]
    table = found.ranef.set_index(["group", "level", "term"])
    seen = 0
    for group, levels in exact.items():
        for level, terms in levels.items():
            for term, truths in terms.items():
                row = table.loc[(group, level, term)]
                for column, truth in zip(("estimate", "std_error", "cond_sd"), truths, strict=True):
                    assert close(row[column], truth, sigma)
                seen += 1
    assert seen == len(table)


@pytest.mark.parametrize("name", FILES)
def test_degrees_of_freedom(name):
    """Satterthwaite's, and Kenward and Roger's with their standard errors, to 1e-6 of the reference."""
    model = reference(name)
    problem = model.problem()
    best = optimum(problem)
    exact, derivatives = EXACT[name]["reml"], by_factors(problem, best)
    eye = np.eye(len(best.beta))
    found = fixed_effects("satterthwaite", best.beta, derivatives)
    assert np.allclose(found.df(eye), list(exact["satterthwaite_df"].values()), rtol=1e-6)
    found = fixed_effects("kenward-roger", best.beta, derivatives)
    assert np.allclose(found.df(eye), list(exact["kenward_roger"]["df"].values()), rtol=1e-6)
    assert np.allclose(found.std_error(eye), list(exact["kenward_roger"]["se"].values()), rtol=1e-6)
    if truth := exact["kenward_roger"].get("all_but_intercept"):
        test = found.test(eye[1:])
        assert test.num_df == truth["num_df"]
        assert test.den_df == pytest.approx(truth["den_df"], rel=1e-6)
        assert test.statistic == pytest.approx(truth["F"], rel=1e-6)


def test_traces_at_a_singular_fit():
    """tr(V^-1 V_i V^-1 V_j) by dense matrices, with D of b zero and that of a of rank 1."""
    model = simulated(9, 100, (9, 8), "y ~ x + (x | a) + (x | b)")
    problem = model.problem()
    factors = [np.array([[0.8, 0.0], [0.3, 0.0]]), np.zeros((2, 2))]
    trace, traces = _traces(problem, Information.at(problem, factors))
    Z = [z @ z_map / problem.y_scale for z, z_map in zip(model.Z, problem.z_maps, strict=True)]
    inverse = np.linalg.inv(marginal(model._replace(Z=Z), [f @ f.T for f in factors], 1.0))
    derivatives = []
    for z, structure in zip(Z, problem.structures, strict=True):
        for a, b in zip(structure.rows, structure.cols, strict=True):
            E = np.zeros((2, 2))
            E[a, b] = E[b, a] = 1.0
            derivatives.append(inverse @ np.einsum("naj,jk,mak->nm", z, E, z, optimize=True))
    assert np.allclose(trace, [np.trace(d) for d in derivatives], rtol=1e-8)
    truth = np.array([[np.sum(one * other.T) for other in derivatives] for one in derivatives])
    # differences of third order with steps of 1e-3
    assert np.abs(traces - truth).max() < 1e-6 * np.abs(truth).max()


def test_order_of_factors_and_rows_does_not_matter():
    """Another order of the terms and of the rows gives the same optimum, to rounding of the search."""
    frame = pd.read_csv("tests/reference/words.csv")
    one = model_of(frame, "rt ~ cond + (cond | subj) + (1 | item)")
    other = model_of(frame[::-1], "rt ~ cond + (1 | item) + (cond | subj)")
    best, again = optimum(one.problem()), optimum(other.problem())
    assert best.criterion == pytest.approx(again.criterion, abs=1e-9)
    assert np.allclose(best.roots[0], again.roots[1], rtol=1e-8)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_a_zero_variance_is_found_and_certified(sparse):
    """Factor b does nothing: its sd is 0 in about half of such data sets, and the optimum is at the boundary."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"a": rng.integers(0, 20, 200), "b": np.arange(200) % 25, "x": rng.normal(size=200)})
    frame["y"] = rng.normal(size=20)[frame["a"]] + rng.normal(size=200)
    frame["y"] -= 0.9 * (frame.groupby("b")["y"].transform("mean") - frame["y"].mean())
    model = model_of(frame, "y ~ x + (1 | a) + (1 | b)")
    best = optimum(model.problem(sparse))
    assert best.singular
    assert best.certified
    assert best.roots[1][0, 0] == 0.0
    without = criterion(model, [best.roots[0] @ best.roots[0].T, np.zeros((1, 1))], best.sigma, True)
    assert best.criterion == pytest.approx(without, abs=1e-9)
    more = criterion(model, [best.roots[0] @ best.roots[0].T, np.full((1, 1), 1e-3)], best.sigma, True)
    assert more > best.criterion
    errors = dict(
        zip(names(model.problem(sparse)), standard_errors(model.problem(sparse), best), strict=True)
    )
    assert np.isnan(errors["b", "sd__Intercept"])
    assert errors["a", "sd__Intercept"] > 0.0


def test_a_correlation_of_one_is_a_certified_result():
    """A slope that follows the intercept exactly: D of the factor is singular without a zero sd."""
    rng = np.random.default_rng(11)
    frame = pd.DataFrame({"a": np.arange(400) % 20, "b": rng.integers(0, 15, 400), "x": rng.normal(size=400)})
    u = rng.normal(size=20)
    frame["y"] = (u[frame["a"]] * (1 + frame["x"])) + rng.normal(size=15)[frame["b"]] + rng.normal(size=400)
    model = model_of(frame, "y ~ x + (x | a) + (1 | b)")
    best = optimum(model.problem())
    assert best.certified
    D = best.roots[0] @ best.roots[0].T
    if best.singular:
        assert abs(D[0, 1]) / np.sqrt(D[0, 0] * D[1, 1]) == pytest.approx(1.0, abs=1e-6)
    found = optimize.minimize(
        lambda t: dense_at(model, t), [1.0, 1.0, 0.1, 1.0, 0.0], method="Nelder-Mead",
        options={"maxiter": 4000, "maxfev": 4000, "fatol": 1e-9, "xatol": 1e-7},
    )  # fmt: skip
    assert best.criterion < found.fun + 1e-6


def dense_at(model, t):
    """The criterion of (x | a) + (1 | b) by dense matrices: root of D_a, sd of b, log sigma."""
    root = np.array([[t[0], 0.0], [t[1], t[2]]])
    return criterion(model, [root @ root.T, np.array([[t[3] ** 2]])], np.exp(t[4]), True)


def test_a_search_from_zero_leaves_the_saddle():
    """At lambda = 0 the gradient vanishes whatever the data say; the second-order test sees that D must grow."""
    model = reference("penicillin")
    problem = model.problem()
    zero = [np.zeros((1, 1)), np.zeros((1, 1))]
    best = optimum(problem, starts=[zero])
    assert best.certified
    assert best.criterion == pytest.approx(EXACT["penicillin"]["reml"]["criterion"], abs=1e-8)


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
def test_hessian_and_standard_errors(reml):
    """Against second differences of the dense criterion in (sd_a, sd_b, sigma), right to about 1e-5."""
    model = reference("penicillin")
    problem = model.problem()
    best = optimum(problem, reml)
    center = values(problem, best.roots, best.sigma)

    def at(point):
        return criterion(model, [np.array([[point[0] ** 2]]), np.array([[point[1] ** 2]])], point[2], reml)

    h, hessian = 1e-3 * center, np.empty((3, 3))
    for a in range(3):
        for b in range(3):
            i, j = h[a] * np.eye(3)[a], h[b] * np.eye(3)[b]
            ends = at(center + i + j) - at(center + i - j) - at(center - i + j) + at(center - i - j)
            hessian[a, b] = ends / (4 * h[a] * h[b])
    truth = np.sqrt(np.diag(2 * np.linalg.inv(hessian)))
    assert np.allclose(standard_errors(problem, best), truth, rtol=1e-4)


def test_average_information_is_near_the_hessian_of_the_profile():
    """Its steps are Newton's, nearly: with many levels the two differ by a few per cent."""
    model = simulated(8, 3000, (150, 100), "y ~ x + (1 | a) + (1 | b)")
    problem = model.problem()
    best = optimum(problem)
    exact = Objective(problem, True, relative(problem)).hessian(best.point, central=True)
    assert np.abs(best.point.average - exact).max() < 0.2 * np.abs(exact).max()


def test_a_flat_direction_adds_nothing_to_standard_errors():
    """A Hessian that rounding has made singular is no crash: the other directions have their errors."""
    problem = reference("penicillin").problem()
    best = optimum(problem)
    flat = best.hessian.copy()
    flat[0], flat[:, 0] = 0.0, 0.0
    vars(best)["hessian"] = flat
    variance = 2.0 * np.linalg.inv(flat[1:, 1:])[-1, -1]  # of log sigma
    # the change of sigma with its logarithm is by differences, right to about 1e-9
    expected = problem.y_scale * best.own_sigma * np.sqrt(variance)
    assert standard_errors(problem, best)[-1] == pytest.approx(expected, rel=1e-7)


def test_a_profile_limit_takes_few_optima(monkeypatch):
    """By secants of the root of the rise, 4 to 8 each; halving the bracket would take 30."""
    calls, points, at = [], [], Objective.at

    def counted(*arguments, **options):
        calls.append(1)
        return minimise(*arguments, **options)

    def looked(*arguments):
        points.append(1)
        return at(*arguments)

    problem = reference("penicillin").problem()
    best = optimum(problem)
    monkeypatch.setattr(several_intervals, "minimise", counted)
    monkeypatch.setattr(Objective, "at", looked)
    limits, lost = profile_intervals(problem, best, 0.95)
    assert not lost and len(calls) <= 12 * limits.size
    # two points an optimum, as each search begins on the path that the others take: without it three times as many
    assert len(points) <= 15 * limits.size


def test_one_sided_and_central_hessians_agree():
    model = reference("words_plain")
    problem = model.problem()
    best = optimum(problem)
    objective = Objective(problem, True, relative(problem))
    one, two = objective.hessian(best.point), objective.hessian(best.point, central=True)
    assert np.abs(one - two).max() < 1e-3 * np.abs(two).max()


def profiled(model, k, sd, start):
    """The dense criterion of two intercepts, minimised with the k-th of (sd_a, sd_b, sigma) held."""
    others = [c for c in range(3) if c != k]

    def at(logs):
        point = np.empty(3)
        point[k], point[others] = sd, np.exp(logs)
        return criterion(model, [np.array([[point[0] ** 2]]), np.array([[point[1] ** 2]])], point[2], True)

    return optimize.minimize(at, np.log(start[others]), method="BFGS", options={"gtol": 1e-7}).fun


def test_profile_limits():
    """At each limit the dense criterion, minimised over the rest, has risen by the chi-squared quantile."""
    model = reference("penicillin")
    problem = model.problem()
    best = optimum(problem)
    center = values(problem, best.roots, best.sigma)
    limits, messages = profile_intervals(problem, best, 0.95)
    assert not messages
    target = stats.chi2.ppf(0.95, 1)
    for k in range(3):
        assert limits[k, 0] < center[k] < limits[k, 1]
        for limit in limits[k]:
            # BFGS with differences finds the minimum to about 1e-7
            assert profiled(model, k, limit, center) - best.criterion == pytest.approx(target, abs=1e-5)


def test_profile_limits_beside_a_correlation_of_one():
    """At a singular fit the rest of D is not stuck at a correlation of one: the rise by dense matrices."""
    frame, _ = simulate(
        "y ~ x + (x | a) + (1 | b)", 11, groups={"a": 12, "b": 8}, sigma=1.5,
        sd={"a": {"Intercept": 1.0, "x": 0.3}, "b": {"Intercept": 0.5}},
        predictors={"x": {"latin_square": 2}},
    )  # fmt: skip
    model = model_of(frame, "y ~ x + (x | a) + (1 | b)")
    problem = model.problem()
    best = optimum(problem)
    assert best.singular
    limits = dict(zip(names(problem), profile_intervals(problem, best, 0.95)[0], strict=True))
    high = limits["a", "sd__x"][1]

    def at_limit(t):
        # an intercept of sd exp(t0), correlated with the slope by tanh(t1)
        root = np.array([[np.exp(t[0]), 0.0], [high * np.tanh(t[1]), high / np.cosh(t[1])]])
        return criterion(model, [root @ root.T, np.array([[np.exp(2 * t[2])]])], np.exp(t[3]), True)

    found = [
        optimize.minimize(
            at_limit, [0.0, start, -0.7, 0.4], method="Nelder-Mead", options={"fatol": 1e-7}
        ).fun
        for start in (-0.5, 0.5)
    ]
    # the simplex ends within 1e-4 of a minimum whose value the search has to 1e-9
    assert min(found) - best.criterion == pytest.approx(stats.chi2.ppf(0.95, 1), abs=2e-4)


def test_profile_limits_at_the_edges():
    """pastes: batch may have sd 0. words: with sd_cond of item possibly 0, every correlation is possible."""
    model = reference("pastes")
    problem = model.problem()
    limits = dict(
        zip(names(problem), profile_intervals(problem, optimum(problem), 0.95)[0].tolist(), strict=True)
    )
    assert limits["batch", "sd__Intercept"][0] == 0.0
    assert limits["batch", "sd__Intercept"][1] > 3.0


def test_units_do_not_matter():
    """Shifts of 1e6 and scales of 1e-4 change every number as they should."""
    frame = pd.read_csv("tests/reference/words.csv")
    best = optimum(model_of(frame, "rt ~ cond + (cond | subj) + (1 | item)").problem())
    moved = frame.assign(rt=frame["rt"] * 1e-3 + 1e6, cond=frame["cond"] * 1e4)
    again = optimum(model_of(moved, "rt ~ cond + (cond | subj) + (1 | item)").problem())
    assert again.sigma == pytest.approx(best.sigma * 1e-3, rel=1e-6)
    # 1e6 beside an sd of 0.1 leaves nine digits of y
    assert np.allclose(again.roots[1], best.roots[1] * 1e-3, rtol=1e-5)
    assert again.roots[0][1, 0] == pytest.approx(best.roots[0][1, 0] * 1e-7, rel=1e-5)


def test_minimise_with_everything_held():
    model = reference("penicillin")
    problem = model.problem()
    best = optimum(problem)
    objective = Objective(problem, True, relative(problem))
    stop = minimise(objective, best.point, held=0)
    assert stop.converged
    assert stop.point.value == pytest.approx(best.point.value, abs=1e-9)


def test_a_profile_begins_at_the_optimum_in_coordinates_of_its_own():
    """The correlation is the coordinate, D of every factor as estimated; beside an sd of 0 it is taken as 0."""
    problem = reference("words").problem()
    best = optimum(problem)
    place, flat, index, unit, _ = several_intervals._coordinates(problem, best, 0, (0, 1))
    covariance = best.roots[0] @ best.roots[0].T
    correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert abs(correlation) > 0.1
    assert flat[index] == pytest.approx(correlation, rel=1e-9)
    assert flat[index + 1] == pytest.approx(1.0, rel=1e-9)  # in units of the second sd
    assert unit == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-9)
    for found, expected in zip(place(flat).factors, best.factors, strict=True):
        np.testing.assert_allclose(found @ found.T, expected @ expected.T, rtol=1e-7, atol=1e-9)
    roots = [np.array([[1.0, 0.0], [0.0, 0.0]]) * best.roots[0][0, 0], *best.roots[1:]]
    _, flat, index, *_ = several_intervals._coordinates(problem, replace(best, roots=roots), 0, (0, 1))
    assert (flat[index], flat[index + 1]) == (0.0, 0.0)
