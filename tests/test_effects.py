"""Estimated marginal means, slopes and contrasts against emmeans."""

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, special, stats

import inference_cases as cases
from lmm.comparison.effects import of_likelihood, of_pooled, prepared, table
from lmm.core.errors import StudyError
from lmm.inference import reference_grid, studentized_range
from lmm.inference.degrees_of_freedom import fixed_effects
from lmm.inference.effects import estimates, summaries
from lmm.inference.exact import optimum_of, problem_for
from lmm.inference.functions import Functions, functions
from lmm.inference.multiplicity import ADJUSTMENTS
from lmm.inference.reference_grid import ReferenceGrid, Request, outside
from lmm.inference.several_derivatives import by_factors
from lmm.model.design import build
from lmm.model.formula import parse
from several import model_of

# lme4's stop and lmerTest's numerical derivatives leave 1e-7; R's studentized range 1e-6 in its tails
TO_R = 5e-6
NAMES = {
    "emmean": "estimate", "x.trend": "estimate", "estimate": "estimate", "SE": "std_error", "df": "df",
    "lower.CL": "conf_low", "upper.CL": "conf_high", "t.ratio": "statistic",
}  # fmt: skip
REQUESTS = {
    "A": Request("means", ("A",)),
    "B": Request("means", ("B",)),
    "A_by_B": Request("means", ("A",), ("B",)),
    "A_at_x": Request("means", ("A",), ("x",), {"x": [0, 2.5]}),
    "x": Request("slopes", ("x",), ("A",)),
    "x_all": Request("slopes", ("x",)),
    "custom": Request(
        "means", ("A",), contrasts={"others": [1, -0.5, -0.5], "last": {"b": 1, "c": -1}}, adjust="none"
    ),
    "pairs_by_B": Request("means", ("A",), ("B",), contrasts="pairwise", adjust="tukey"),
    "pairs_x": Request("slopes", ("x",), ("A",), contrasts="pairwise", adjust="tukey"),
}


def grid_of(model):
    """The reference grid of a model's rows."""
    return ReferenceGrid(model.design, cases.columns(model.rows), len(model.rows))


@pytest.fixture(scope="module")
def model():
    return cases.Model("y ~ A * B + A * x + (x | g)", cases.ROWS)


def agree(found, expected):
    """A table of ours against one of emmeans."""
    assert len(found) == len(expected)
    for theirs, ours in NAMES.items():
        if theirs in expected[0]:
            values = np.array([row[theirs] for row in expected], dtype=float)
            # a limit of an interval may be near 0: there the error is relative to the standard error
            near = 1e-6 * found.std_error.min()
            assert found[ours].to_numpy() == pytest.approx(values, rel=TO_R, abs=near)
    if "p.value" in expected[0]:
        assert found.p_adjusted.to_numpy() == pytest.approx([row["p.value"] for row in expected], rel=TO_R)
    if "contrast" in expected[0]:
        theirs = [row["contrast"] for row in expected]
        assert found.contrast.tolist() == theirs


@pytest.mark.parametrize("method", ["satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("name", REQUESTS)
def test_emmeans(model, method, name):
    found = estimates(functions(grid_of(model), REQUESTS[name])[-1], model.fixed(method), 0.95)
    agree(found, cases.R["effects"][method][name])


def with_offset(text):
    return cases.Model(f"y ~ A * x + {text} + (x | g)", cases.ROWS)


@pytest.mark.parametrize("name", ["A", "A_at_x", "pairs"])
def test_means_are_at_the_offsets_mean(name):
    """By emmeans' default: estimates include the offset, contrasts do not."""
    model, pairs = with_offset("offset(o)"), Request("means", ("A",), contrasts="pairwise", adjust="tukey")
    request = REQUESTS.get(name, pairs)
    found = estimates(functions(grid_of(model), request)[-1], model.fixed("satterthwaite"), 0.95)
    agree(found, cases.R["effects"]["offset"][name])


def test_an_offset_that_is_a_predictor_is_at_its_values():
    """The same model without the offset has a slope larger by 1: its means are the same, wherever they are."""
    moving, plain = with_offset("offset(x)"), cases.Model("y ~ A * x + (x | g)", cases.ROWS)
    for name in ("A_at_x", "x", "pairs_x"):
        found, expected = (
            estimates(functions(grid_of(model), REQUESTS[name])[-1], model.fixed("satterthwaite"), 0.95)
            for model in (moving, plain)
        )
        # two optima, each to 1e-8 or so
        assert found.estimate.to_numpy() == pytest.approx(expected.estimate.to_numpy(), rel=1e-6)
        assert found.std_error.to_numpy() == pytest.approx(expected.std_error.to_numpy(), rel=1e-6)


def test_draws_have_the_offset_and_slopes_what_moves_with_it():
    model, rng = with_offset("offset(o)"), np.random.default_rng(1)
    means = functions(grid_of(model), REQUESTS["A"])[0]
    draws = rng.normal(size=(4000, len(model.terms.fixed)))
    found = summaries(means, draws, 0.95)
    values = draws @ means.rows.T + cases.ROWS.o.mean()
    assert found.estimate.to_numpy() == pytest.approx(values.mean(axis=0), rel=1e-12)
    assert found.conf_low.to_numpy() == pytest.approx(np.quantile(values, 0.025, axis=0), rel=1e-12)
    above = (values > 0).mean(axis=0)
    assert found.prob_direction.to_numpy() == pytest.approx(np.maximum(above, 1 - above), rel=1e-12)
    for text, moved in (("offset(o)", 0.0), ("offset(x)", 1.0)):
        (slopes,) = functions(grid_of(with_offset(text)), REQUESTS["x"])
        assert slopes.offset.tolist() == [moved] * 3


@pytest.mark.parametrize("adjust", ADJUSTMENTS)
def test_adjustments(model, adjust):
    request = Request("means", ("A",), contrasts="pairwise", adjust=adjust)
    found = estimates(functions(grid_of(model), request)[1], model.fixed("satterthwaite"), 0.95)
    agree(found, cases.R["effects"]["satterthwaite"]["pairs"][adjust])


def test_machines():
    rows = pd.read_csv(cases.FILES["machines"])
    rows["Worker"] = rows.Worker.astype(str)
    model = cases.Model("score ~ Machine + (Machine | Worker)", rows)
    fixed = model.fixed("kenward-roger")
    found = estimates(functions(grid_of(model), Request("means", ("Machine",)))[0], fixed, 0.95)
    # balanced: the means are those of the cells
    assert found.estimate.to_numpy() == pytest.approx(rows.groupby("Machine").score.mean(), rel=1e-12)


@pytest.mark.parametrize("adjust", ["tukey", "holm", "none"])
def test_nested_factors_through_the_stage(adjust):
    """emmeans of lmer(score ~ Machine + (1 | Worker/Machine)) with Kenward-Roger's df."""
    rows = pd.read_csv(cases.FILES["machines"]).astype({"Worker": str})
    nested = model_of(rows, "score ~ Machine + (1 | Worker/Machine)")
    problem = problem_for(nested.moments, nested.terms)
    best = optimum_of(problem)
    fixed = fixed_effects("kenward-roger", best.beta, by_factors(problem, best), False)
    state = build(parse("score ~ Machine + (1 | Worker/Machine)"), rows).state()
    data = {"columns": cases.columns(rows), "rows": len(rows)}
    asked = prepared(state, data, [{"means": "Machine", "contrasts": "pairwise", "adjust": adjust}])
    assert asked["warnings"] == []
    found = table([Functions.from_plain(value) for value in asked["functions"]], {"reml": fixed}, 0.95)
    expected = cases.EXACT["emmeans"]["machines_kenward-roger"]
    agree(found[found.kind == "mean"], expected["means"])
    agree(found[found.kind == "contrast"], expected[f"pairs_{adjust}"])


def test_a_curve_is_averaged_at_its_mean():
    model = cases.Model("y ~ A + x + I(x**2) + (1 | g)", cases.ROWS)
    fixed, grid = model.fixed("satterthwaite"), grid_of(model)
    agree(
        estimates(functions(grid, Request("means", ("A",)))[0], fixed, 0.95),
        cases.R["effects"]["curved"]["A"],
    )
    found = estimates(functions(grid, Request("slopes", ("x",)))[0], fixed, 0.95)
    # emmeans has a one-sided difference quotient, off by delta times the second derivative
    expected = cases.R["effects"]["curved"]["x"][0]
    assert found.estimate[0] == pytest.approx(expected["x.trend"], rel=1e-5)
    mean = cases.ROWS.x.mean()
    names = list(model.terms.fixed)
    exact = model.best.beta[names.index("x")] + 2 * mean * model.best.beta[names.index("I(x ** 2)")]
    assert found.estimate[0] == pytest.approx(exact, rel=1e-10)


def test_a_predictor_of_two_values_counts_as_two_levels():
    # emmeans' cov.keep: the mean of a 0/1 predictor is a share of the rows that no design has to have
    rows = cases.ROWS.assign(q=(cases.ROWS.B == "q").astype(float))
    number = cases.Model("y ~ A * q + (1 | g)", rows)
    letter = cases.Model("y ~ A * B + (1 | g)", rows)
    request = Request("means", ("A",))
    found, expected = (
        estimates(functions(grid_of(model), request)[0], model.fixed("satterthwaite"), 0.95)
        for model in (number, letter)
    )
    pd.testing.assert_frame_equal(found, expected, rtol=1e-8)


def test_at_gives_a_row_for_each_value_and_by_one_for_each_level(model):
    request = Request("means", ("A",), ("B",), {"x": [0, 1, 5]}, contrasts="pairwise", adjust="holm")
    means, contrasts = functions(grid_of(model), request)
    assert len(means.cells) == 3 * 2 * 3
    assert set(means.cells.columns) == {"A", "B", "x"}
    assert len(contrasts.cells) == 3 * 2 * 3
    assert np.bincount(contrasts.families).tolist() == [3] * 6  # adjusted within each combination of B and x


def test_values_are_written_as_they_were_asked_for(model):
    """Beside effects without them, too: 8 is not 8.0."""
    grid, draws = grid_of(model), np.zeros((3, len(model.design.terms.fixed)))
    groups = [
        *functions(grid, Request("means", ("A",), at={"x": [0, 2.5]})),
        *functions(grid, Request("means", ("B",))),
    ]
    text = table(groups, {"pymc": draws}, 0.95).to_csv(index=False)
    assert (
        pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False).x.tolist()
        == ["0"] * 3 + ["2.5"] * 3 + [""] * 2
    )


def test_defaults(model):
    kinds = [(request.kind, request.of) for request in grid_of(model).default()]
    assert kinds == [("means", ("A",)), ("means", ("B",)), ("slopes", ("x",))]
    assert not grid_of(model).unpaired()


def test_many_levels_are_compared_where_that_is_asked_for(model, monkeypatch):
    """150 levels have 11,175 differences: a table that nobody reads."""
    monkeypatch.setattr(reference_grid, "MOST_PAIRED", 2)
    grid = grid_of(model)
    a, b, _ = grid.default()
    assert (a.contrasts, b.contrasts) == (None, "pairwise")  # of 3 and 2 levels
    (said,) = grid.unpaired()
    assert "3 levels of 'A'" in said
    assert "{means: A, contrasts: pairwise}" in said


@pytest.mark.parametrize(
    ("means", "df"), [(2, 1.0), (3, 2.5), (3, 8.0), (13, 208.0), (150, 30.0), (4, np.inf)]
)
def test_studentized_range_is_scipys(means, df):
    """scipy integrates adaptively, one value at a time, to about 1e-11."""
    q = np.array([0.0, 0.5, 2.0, 4.0, 8.0, 30.0])
    expected = stats.studentized_range.sf(q, means, df)
    found = studentized_range.survival(q, means, np.full(6, df))
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert (
        found.min() >= 0.0 and found.max() <= 1.0
    )  # of a range of 0 it is 1 less the scales left out, 1e-14
    found = studentized_range.quantile(0.95, means, np.array([df, np.nan, df]))
    assert found[0] == found[2] == pytest.approx(stats.studentized_range.ppf(0.95, means, df), rel=1e-9)
    assert np.isnan(found[1])


def test_two_means_have_a_studentized_range_of_t():
    df, t = np.array([1.5, 7.0, 300.0, np.inf]), np.array([0.3, 2.0, 12.0, 8.0])
    found = studentized_range.survival(t * np.sqrt(2.0), 2, df)
    np.testing.assert_allclose(found, 2.0 * stats.t.sf(t, df), rtol=1e-12)


def test_small_probabilities_of_the_studentized_range():
    """Of three normal means, by adaptive quadrature, with the difference of squares written as a product."""

    def exact(q):
        def density(z):
            below = special.ndtr(z - q)
            return stats.norm.pdf(z) * below * (2.0 * special.ndtr(z) - below)

        return (
            3.0 * integrate.quad(density, -15.0, 25.0, epsabs=0.0, epsrel=1e-12, points=[0.0, q / 2.0, q])[0]
        )

    q = np.array([5.0, 9.0, 12.0])
    found = studentized_range.survival(q, 3, np.full(3, np.inf))
    # the spline's error is about 1e-11
    np.testing.assert_allclose(found, [exact(value) for value in q], rtol=1e-9)


def test_draws(model):
    rng = np.random.default_rng(1)
    draws = rng.multivariate_normal(model.best.beta, model.best.cov_beta, size=200_000)
    group = functions(grid_of(model), Request("means", ("A",), contrasts="pairwise"))[1]
    found = summaries(group, draws, 0.95)
    expected = estimates(group, model.fixed("normal"), 0.95)
    # 200,000 draws: means to 3 standard errors / sqrt(200,000), quantiles to a few times that
    slack = 0.01 * expected.std_error
    for column in ("estimate", "conf_low", "conf_high"):
        assert np.all(np.abs(found[column] - expected[column]) < slack)
    direction = 1.0 - expected.p_value / 2.0
    assert found.prob_direction.to_numpy() == pytest.approx(direction, abs=0.004)
    assert "p_value" not in found


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request("means", ("z",)), "'z' is not a predictor"),
        (Request("means", ("x",)), "'x' is numeric"),
        (Request("slopes", ("A",)), "'A' is categorical"),
        (Request("means", ("A",), ("x",)), "'x' is numeric"),
        (Request("means", ("A",), at={"B": ["r"]}), "at: B: 'r'; expected one of its levels p, q"),
        (Request("means", ("A",), at={"A": ["a"]}, contrasts="pairwise"), "contrasts of one level"),
        (Request("slopes", ("x",), contrasts="pairwise"), "contrasts of one slope"),
        (Request("means", ("A",), contrasts={"c": [1, -1]}, adjust="none"), "2 weights"),
        (
            Request("means", ("A",), contrasts={"c": {"d": 1}}, adjust="none"),
            "'d'; expected weights of the levels a, b, c",
        ),
    ],
)
def test_requests_without_an_answer(model, request_, words):
    with pytest.raises(StudyError, match=words):
        functions(grid_of(model), request_)


def test_values_outside_the_data_are_kept_with_a_warning(model):
    request = Request("means", ("A",), at={"x": [0, 100]})
    assert len(functions(grid_of(model), request)[0].cells) == 6
    (warning,) = outside(grid_of(model), request)
    assert "100" in warning


def test_pooled_effects_are_those_of_least_squares(model):
    """Covariance s^2 (X'X)^-1 and N - p degrees of freedom, from the rows."""
    y, W = model.design.matrix(model.rows)
    X = W[:, [model.terms.columns.index(name) for name in model.terms.fixed]]
    beta, (rss,), *_ = np.linalg.lstsq(X, y)
    found, df = of_pooled(model.moments, model.terms), len(y) - X.shape[1]
    np.testing.assert_allclose(found.beta, beta, rtol=1e-9)
    np.testing.assert_allclose(found.covariance, rss / df * np.linalg.inv(X.T @ X), rtol=1e-8, atol=1e-12)
    assert (found.method, found.residual) == ("residual", df)


def likelihood_fit(summary: dict) -> SimpleNamespace:
    """Another optimiser's fixed effects with standard errors 0.5 and 2."""
    rows = {
        "effect": ["fixed", "fixed", "ran_pars"],
        "estimate": [1.0, -3.0, 9.0],
        "std_error": [0.5, 2.0, np.nan],
    }
    return SimpleNamespace(parameters=pd.DataFrame(rows), diagnostics=SimpleNamespace(summary=summary))


def test_effects_of_another_optimum_are_by_z_from_its_own_covariance(model):
    """Its standard errors and correlations; nothing is known of combinations without these."""
    summary = {"reml_gap": {"reached": False}, "corr_fixed": [[1.0, -0.25], [-0.25, 1.0]]}
    found = of_likelihood(likelihood_fit(summary), None, model.moments, model.terms)
    np.testing.assert_allclose(found.covariance, [[0.25, -0.25], [-0.25, 4.0]], rtol=1e-12)
    assert found.beta.tolist() == [1.0, -3.0]
    assert found.method == "normal"
    assert of_likelihood(likelihood_fit({}), None, model.moments, model.terms) is None
    alone = likelihood_fit({})
    alone.parameters = alone.parameters.iloc[[1, 2]]
    assert of_likelihood(alone, None, model.moments, model.terms).covariance.tolist() == [[4.0]]
    alone.parameters = alone.parameters.iloc[[1]]
    assert of_likelihood(alone, None, model.moments, model.terms) is None


def test_slopes_of_a_curve_are_taken_at_the_values_that_are_asked_for():
    """b_x + b_(A:x) + 2 x b_(x^2) at each x, compared between the levels of A at each x."""
    model = cases.Model("y ~ A * x + I(x ** 2) + (1 | g)", cases.ROWS)
    request = Request("slopes", ("x",), ("A",), {"x": [0.5, 2.0]}, contrasts="pairwise", adjust="none")
    each, pairs = functions(grid_of(model), request)
    fixed = list(model.terms.fixed)
    assert each.cells[["A", "x"]].to_numpy().tolist() == [[a, x] for x in (0.5, 2.0) for a in "abc"]
    assert pairs.cells.x.tolist() == [0.5] * 3 + [2.0] * 3
    square = next(name for name in fixed if "**" in name)
    expected = np.zeros((6, len(fixed)))
    for row, (a, x) in enumerate(each.cells[["A", "x"]].to_numpy().tolist()):
        expected[row, fixed.index("x")], expected[row, fixed.index(square)] = 1.0, 2.0 * x
        if a != "a":
            expected[row, next(k for k, name in enumerate(fixed) if a in name and ":x" in name)] = 1.0
    # central differences of a parabola, exact but for rounding
    np.testing.assert_allclose(each.rows, expected, atol=1e-9)
    first, second = zip(*((0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)), strict=True)
    np.testing.assert_allclose(pairs.rows, expected[list(first)] - expected[list(second)], atol=1e-9)
