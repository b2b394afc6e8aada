"""Steps of the optimisers against dense algebra, and how few a search takes: an error there costs time only."""

import numpy as np
import pytest

import problems
import several
from lmm.inference import compact, newton, profile, several_newton, several_optimum
from lmm.inference.descent import CERTIFIED, ITERATIONS, advance
from lmm.inference.newton import NONE
from lmm.inference.optimum import optimum, starting_points
from lmm.inference.wald import spread_of
from lmm.likelihood.problem import layout, problem_of


def definite(seed, n):
    """A positive definite matrix and a vector."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n + 2))
    return root @ root.T, rng.normal(size=n)


def by_one_factor(hessian, gradient, held=-1):
    """The kernel as Python: move, decrement, saddle."""
    return newton._step.py_func(np.array(gradient, float), np.array(hessian, float), np.int64(held))


@pytest.mark.parametrize("held", [-1, 0, 2])
def test_a_step_solves_the_hessian_of_what_is_free(held):
    hessian, gradient = definite(1, 4)
    free = [k for k in range(4) if k != held]
    expected = np.zeros(4)
    expected[free] = -np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
    move, decrement, saddle = by_one_factor(hessian, gradient, held)
    np.testing.assert_allclose(move, expected, rtol=1e-10)  # a solve of a matrix of condition 1e2
    assert decrement == pytest.approx(-expected @ gradient, rel=1e-10)
    assert not saddle


def test_a_step_of_several_factors_does_not_depend_on_the_size_of_coordinates():
    matrix, gradient = definite(2, 3)
    expected = -np.linalg.solve(matrix, gradient)
    for size in (np.ones(3), np.array([1.0, 5.0, 30.0])):
        move, decrement, saddle, _ = several_newton._step(matrix, gradient, size)
        np.testing.assert_allclose(move, expected, rtol=1e-9)
        assert decrement == pytest.approx(-expected @ gradient, rel=1e-9)
        assert not saddle


@pytest.mark.parametrize("slope", [0.2, -0.2])
def test_negative_curvature_is_descended(slope):
    """Curvatures 2 and -1: a step by their absolute values, and downhill along the negative one."""
    hessian, gradient = np.diag([2.0, -1.0]), np.array([0.4, slope])
    move, decrement, saddle = by_one_factor(hessian, gradient)
    np.testing.assert_allclose(move, [-0.2, -slope], rtol=1e-12)
    assert decrement == pytest.approx(0.4**2 / 2 + slope**2, rel=1e-12)
    assert saddle
    move, decrement, saddle, along = several_newton._step(hessian, gradient, np.array([1.0, 3.0]))
    np.testing.assert_allclose(move, [-0.2, -slope], rtol=1e-12)
    assert decrement == pytest.approx(0.4**2 / 2 + slope**2, rel=1e-12)
    assert saddle
    np.testing.assert_allclose(along, [0.0, -3.0 * np.sign(slope)], atol=1e-12)


@pytest.mark.parametrize(("slope", "left"), [(1e-6, 0.5), (-1e-6, -0.5), (1e-3, 0.0)])
def test_a_stationary_saddle_is_left_by_half_a_unit(slope, left):
    """Only where the step promises less than 1e-8."""
    move, _, saddle = by_one_factor(np.diag([2.0, -1.0]), [0.0, slope])
    np.testing.assert_allclose(move, [0.0, -slope - left], rtol=1e-12)
    assert saddle


def test_a_flat_direction_is_no_saddle():
    """Two coordinates of which only the sum counts: half of the step each, whatever rounding makes of the rest."""
    for size in (1e-3, 1.0, 1e3):
        for rounding in (0.0, 1e-9):
            hessian = size * (np.ones((2, 2)) - rounding * np.array([[1.0, -1.0], [-1.0, 1.0]]))
            gradient = size * np.ones(2)
            one, several_factors = (
                by_one_factor(hessian, gradient), several_newton._step(hessian, gradient, np.ones(2)),
            )  # fmt: skip
            for move, decrement, saddle in (one, several_factors[:3]):
                np.testing.assert_allclose(move, [-0.5, -0.5], rtol=1e-6)
                assert decrement == pytest.approx(size, rel=1e-6)
                assert not saddle


@pytest.mark.parametrize("at", [0, 1, 3])
def test_the_path_of_the_other_coordinates_is_the_regression_on_one(at):
    """At the minimum of the rest: -H_rr^-1 H_ra, and the Schur complement is the profile's curvature."""
    hessian, _ = definite(3, 4)
    rest = [k for k in range(4) if k != at]
    path, bend = profile._path.py_func(hessian, at)
    expected = np.zeros(4)
    expected[rest] = -np.linalg.solve(hessian[np.ix_(rest, rest)], hessian[rest, at])
    np.testing.assert_allclose(path, expected, rtol=1e-9)
    assert bend == pytest.approx(1.0 / np.linalg.inv(hessian)[at, at], rel=1e-9)


def study():
    moments, terms = problems.moments_of("sleepstudy")
    return problem_of(moments, terms.fixed, terms.blocks)


def test_newtons_method_squares_its_error():
    """From the start of the grid: errors of the criterion 8, 2, 0.1, 2e-3, 6e-7, 2e-13."""
    problem = study()
    model, start, least = problem.model(np.eye(2)), starting_points(problem)[0], optimum(problem).criterion
    found = [newton.newton(start, NONE, NONE, *model, np.int64(k)) for k in (4, 5, 6, 9)]
    errors = [own[1] + problem.constant - least for own in found]
    assert errors[1] < errors[0] ** 2 and errors[0] < 0.01
    assert abs(errors[2]) < 1e-11  # rounding of a criterion of 1,744
    assert [own[4] for own in found] == [False, False, False, True]


def test_a_regular_profile_limit_takes_few_evaluations(monkeypatch):
    """All coordinates at once: the kernel as Python, its evaluations counted."""
    problem, calls = study(), []
    best = optimum(problem)

    def counted(*arguments):
        calls.append(1)
        return newton.criterion(*arguments)

    monkeypatch.setattr(profile, "criterion", counted)
    monkeypatch.setattr(profile, "_all_at_once", profile._all_at_once.py_func)
    value = best.criterion - problem.constant
    for edge in (-np.inf, np.inf):  # of log sigma
        limit, ok = profile.profile_limit.py_func(
            best.phi, value, 3, edge, 3.84, NONE, *problem.model(np.eye(2))
        )
        held = best.phi.copy()
        held[3] = limit
        assert ok
        again = newton.newton(held, np.int64(3), NONE, *problem.model(np.eye(2)), profile.INNER)
        assert again[1] - value == pytest.approx(3.84, rel=1e-6)  # the limit's error is of the square of 1e-6
    assert len(calls) <= 12


@pytest.mark.parametrize(("name", "most"), [("penicillin", 10), ("pastes", 14), ("machines", 14)])
def test_an_optimum_of_several_factors_takes_few_evaluations(name, most, monkeypatch):
    """From moment estimates, the differences of the Hessian at its end included: 9 to 12."""
    calls, at = [], several_newton.Objective.at

    def counted(*arguments):
        calls.append(1)
        return at(*arguments)

    monkeypatch.setattr(several_newton.Objective, "at", counted)
    assert several_optimum.optimum(several.reference(name).problem()).certified
    assert len(calls) <= most


def test_the_start_is_each_factors_moment_estimate():
    """E (z'r)^2 = (z'z)^2 d + z'z s^2, summed over levels, from the rows and their least squares."""
    model = several.simulated(3, 60, (7, 5), "y ~ x + (x || a) + (1 | b)")
    problem = model.problem()
    found = several_optimum.moment_start(problem)
    r = model.y - model.X @ np.linalg.lstsq(model.X, model.y)[0]
    r /= problem.y_scale
    total, estimates, explained = r @ r / 60, [], 0.0
    for Z, z_map in zip(model.Z, problem.z_maps, strict=True):
        own = Z @ z_map / problem.y_scale
        size, score = (own**2).sum(axis=0), np.einsum("njq,n->jq", own, r)
        d = np.clip(((score**2).sum(axis=0) - size.sum(axis=0) * total) / (size**2).sum(axis=0), 0.0, total)
        estimates.append(d)
        explained += d @ size.sum(axis=0) / 60
    left = max(total - explained, 0.2 * total)
    assert max(d.max() for d in estimates) > 0.0025 * left
    for factor, d in zip(found, estimates, strict=True):
        np.testing.assert_allclose(factor, np.diag(np.sqrt(np.maximum(d / left, 0.05**2))), rtol=1e-8)


def test_a_variance_grows_to_the_best_of_several_sizes():
    """From relative variances 10^-4 ... 10 along a direction; not at a minimum."""
    model = several.reference("penicillin")
    problem = model.problem()
    objective = several_newton.Objective(problem, True, several_newton.relative(problem))
    stop = several_newton.Stop(objective.at(np.array([0.0, 0.7])), True)
    found = several_optimum._grown(objective, stop, 0, slice(0, 1), np.array([1.0]))
    growth = 10.0 ** np.arange(-4, 2)
    values = []
    for own in growth:
        sigma = np.sqrt(objective.at(np.array([np.sqrt(own), 0.7])).s2)
        D = several.covariances_of(problem, [np.array([[np.sqrt(own)]]), np.array([[0.7]])], sigma)
        values.append(several.criterion(model, D, sigma * problem.y_scale, True))
    assert found.phi**2 == pytest.approx([growth[np.argmin(values)], 0.49], rel=1e-12)
    assert found.value + problem.constant(True) == pytest.approx(min(values), abs=1e-8)
    best = several_optimum.optimum(problem).point
    assert (
        several_optimum._grown(objective, several_newton.Stop(best, True), 0, slice(0, 1), np.ones(1)) is None
    )


def test_average_information_has_the_curvature_of_what_may_shrink():
    """f(phi^2) bends by 4 phi^2 f'' + 2 f': the last term is there where f' > 0; f'' is the average information's."""
    problem = several.reference("penicillin").problem()
    objective = several_newton.Objective(problem, True, several_newton.relative(problem))
    phi = several_optimum.optimum(problem).point.phi * [3.0, 1.0 / 3.0]
    point, h = objective.at(phi), 1e-5 * phi
    gradient = [
        (objective.at(phi + step).value - objective.at(phi - step).value) / (2.0 * step.sum())
        for step in np.diag(h)
    ]
    assert gradient[0] > 0.0 > gradient[1]
    inner = 2.0 * np.diag(phi) @ point.information.average().profiled(point.s2) @ np.diag(2.0 * phi)
    # differences of a criterion of 300 to 1e-13, over steps of 1e-4: 1e-7
    np.testing.assert_allclose(
        point.average - inner, np.diag([gradient[0] / phi[0], 0.0]), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("block", [0, 1])
def test_a_variance_of_0_is_left_where_the_criterion_falls(block):
    """The gradient is 0 at an sd of exactly 0: the way out is along the negative curvature."""
    moments, terms = problems.moments_of("sleepstudy")
    problem = problem_of(moments, terms.fixed, (("Intercept",), ("Days",)))
    rows, cols, _, *data = problem.model(np.eye(2))
    spans, least = np.array(problem.structure.blocks), optimum(problem)
    phi = least.phi.copy()
    phi[block] = 0.0
    found, value, _, state = advance(phi, ITERATIONS, spans, rows, cols, *data)
    assert state == CERTIFIED
    assert value + problem.constant == pytest.approx(least.criterion, abs=1e-8)
    np.testing.assert_allclose(np.abs(found[:2]), least.phi[:2], rtol=1e-5)


def test_a_known_start_is_the_factor_in_the_kernels_coordinates():
    """D = (C L)(C L)' sigma^2 / scale^2; no start at the boundary or where a value is not known."""
    moments, terms = problems.moments_of("sleepstudy")
    model = compact.Model.of(moments.basis, terms.fixed, layout(terms.blocks), False)
    values = np.array([0.3, 0.05, -0.4, 0.2])  # smaller than 1 in the data's units
    factor = model.z_map @ model.start(values) * (values[3] / model.y_scale)
    between = -0.4 * 0.3 * 0.05
    np.testing.assert_allclose(factor @ factor.T, [[0.09, between], [between, 0.0025]], rtol=1e-10)
    assert np.all(np.diag(model.start(values)) > 0.0)
    for place, value in ((0, 0.0), (1, 0.0), (2, 1.0), (2, -1.0), (3, 0.0), (0, np.nan)):
        wrong = values.copy()
        wrong[place] = value
        assert np.isnan(model.start(wrong)).all()


@pytest.mark.parametrize("apart", [0.5, 1e-2, 1e-5, 1e-7])
def test_the_spread_is_twice_the_inverse_hessian_however_correlated(apart):
    """Two coordinates of sizes 1e3 apart with correlation 1 - apart: nothing is taken for flat that is not."""
    size = np.array([1.0, 1e3])
    hessian = np.array([[1.0, 1.0 - apart], [1.0 - apart, 1.0]]) / np.outer(size, size)
    expected = 2.0 * np.array([[1.0, apart - 1.0], [apart - 1.0, 1.0]]) / (apart * (2.0 - apart))
    # the inverse is known to the rounding of the Hessian over its smallest eigenvalue
    np.testing.assert_allclose(spread_of(hessian) / np.outer(size, size), expected, rtol=1e-14 / apart + 1e-9)


def test_a_flat_direction_has_no_spread():
    """Only the sum of two coordinates counts: the pseudo-inverse, in coordinates of unit curvature."""
    found = spread_of(np.ones((2, 2)))
    np.testing.assert_allclose(found, np.full((2, 2), 0.5), rtol=1e-9)
