"""Likelihood-ratio tests: lme4's anova, boundary mixtures, the bootstrap in moment space."""

import time

import numpy as np
import pytest
from scipy import stats

import inference_cases as cases
import problems
from lmm.comparison.likelihood_ratio import bootstrap, nesting, p_bootstrap, p_values, spans
from lmm.inference.optimum import optimum
from lmm.likelihood.problem import problem_of
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.model.terms import Terms
from lmm.moments.accumulate import compute


def statistic(moments, small, large, ml):
    """The likelihood-ratio statistic, and the smaller model's optimum."""
    fits = [optimum(problem_of(moments, terms.fixed, terms.blocks, ml)) for terms in (small, large)]
    return fits[0].criterion - fits[1].criterion, fits[0]


def terms_in(rows, formula):
    """Terms of a formula on a table."""
    return build(parse(formula), rows).terms


@pytest.mark.parametrize("name", cases.EXACT["lrt"])
def test_lme4s_anova(name):
    reference = cases.EXACT["lrt"][name]
    moments, _ = problems.moments_of("sleepstudy")
    rows = cases.exact("sleepstudy").rows
    small, large = (terms_in(rows, reference[key]) for key in ("null", "alt"))
    chisq, _ = statistic(moments, small, large, not reference["REML"])
    nested = nesting(moments, small, large)
    assert chisq == pytest.approx(reference["chisq"], abs=1e-6)  # lme4's stop
    assert nested.df == reference["df"]
    assert p_values(chisq, nested)[0] == pytest.approx(reference["p"], rel=1e-5)


@pytest.mark.parametrize("name", cases.R["comparisons"])
def test_lme4s_anova_with_factors(name):
    reference = cases.R["comparisons"][name]
    model = cases.Model(reference["alternative"], cases.ROWS)
    small = terms_in(cases.ROWS, reference["null"])
    chisq, _ = statistic(model.moments, small, model.terms, not reference["REML"])
    nested = nesting(model.moments, small, model.terms)
    assert (chisq, nested.df) == pytest.approx((reference["chisq"], reference["df"]), abs=1e-6)
    assert p_values(chisq, nested)[0] == pytest.approx(reference["p"], rel=1e-5)


def nested(small, large, columns="y ~ A * B + x + o + (x + o | g)"):
    """How one formula is nested in another, in the moments of `columns`."""
    moments = cases.Model(columns, cases.ROWS).moments
    return nesting(moments, *(terms_in(cases.ROWS, formula) for formula in (small, large)))


@pytest.mark.parametrize(
    ("small", "large", "df", "mixture"),
    [
        ("y ~ x + (1 | g)", "y ~ A + x + (1 | g)", 2, None),
        ("y ~ x + (1 | g)", "y ~ x + (x || g)", 1, (0, 1)),
        ("y ~ x + (1 | g)", "y ~ x + (x | g)", 2, (1, 2)),
        ("y ~ x + (x | g)", "y ~ x + (x + o | g)", 3, (2, 3)),
        ("y ~ x + (x || g)", "y ~ x + (x | g)", 1, None),  # a correlation of 0 is no boundary
        ("y ~ x + (1 | g)", "y ~ x + (x + o || g)", 2, None),  # two variances: not known
        ("y ~ x + (1 | g)", "y ~ A + x + (x || g)", 3, (2, 3)),
    ],
)
def test_further_parameters_and_their_mixture(small, large, df, mixture):
    found = nested(small, large)
    assert (found.df, found.mixture) == (df, mixture)
    assert nested(large, small) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("y ~ A + (1 | g)", "y ~ B + (1 | g)"),
        ("y ~ A + (1 | g)", "y ~ x + (x | g)"),
        ("y ~ x + (0 + x | g)", "y ~ x + (1 | g)"),
        ("y ~ x + (1 | g)", "y ~ x + (1 | g)"),
    ],
)
def test_models_that_are_not_nested(first, second):
    assert nested(first, second) is None
    assert nested(second, first) is None


def test_columns_of_another_coding_span_the_same():
    rows = cases.ROWS.assign(u=1.0 - 2.0 * cases.ROWS.x)
    moments = cases.Model("y ~ x + u:A + (1 | g)", rows).moments
    names = terms_in(rows, "y ~ 0 + u:A + x + (1 | g)").fixed
    assert not spans(moments, ("Intercept",), names[:1])
    moments = compute(*_two_codings())
    assert spans(moments, ("Intercept", "x"), ("Intercept", "u"))
    assert spans(moments, ("Intercept", "u"), ("x",))
    assert not spans(moments, ("Intercept", "u"), ("z",))


def _two_codings():
    rng = np.random.default_rng(1)
    x, z = rng.standard_normal((2, 60))
    W = np.column_stack([np.ones(60), x, 1.0 - 2.0 * x, z])
    names = ("Intercept", "x", "u", "z")
    terms = Terms.one(("Intercept", "x", "z"), (("Intercept",),), "g", names)
    return terms, rng.standard_normal(60), W, np.repeat(np.arange(6), 10), np.array(list("abcdef"))


def test_the_bootstraps_null_distribution_is_the_mixture():
    # 60 groups of 12 with slopes of sd 0: 0.5 chi2_0 + 0.5 chi2_1 holds asymptotically
    rng = np.random.default_rng(2)
    names = ("Intercept", "x")
    data = problems.simulated(rng, [12] * 60, names, names[:1], np.eye(1), 1.0, np.ones(2))
    terms = Terms.one(names, (names,), "g", names)
    moments = compute(terms, *data[1:])
    small, large = (Terms.one(names, blocks, "g", names) for blocks in ((names[:1],), (names[:1], names[1:])))
    _, fitted = statistic(moments, small, large, False)
    count = 500
    drawn = bootstrap(moments, small, large, False, fitted, count, 1, "ab")
    nested_ = nesting(moments, small, large)
    error = np.sqrt(0.25 / count)
    # half of the statistics are 0 to the rounding of the criteria
    assert abs(np.mean(drawn < 1e-7) - 0.5) < 4 * error
    for level in (0.25, 0.1, 0.05):
        rejected = np.mean([p_values(value, nested_)[1] <= level for value in drawn])
        assert abs(rejected - level) < 4 * np.sqrt(level * (1 - level) / count)


def test_the_bootstrap_of_a_fixed_effect_agrees_with_kenward_roger():
    # the reference distribution of sleepstudy's Days is close to F(1, 17), not to chi-square(1)
    moments, large = problems.moments_of("sleepstudy")
    small = Terms.one(("Intercept",), large.blocks, large.group, large.columns)
    _, fitted = statistic(moments, small, large, True)
    drawn = bootstrap(moments, small, large, True, fitted, 1000, 3, "ab")
    # -2 log LR of a t statistic with 17 df and 18 subjects: 18 log(1 + t^2 / 17)
    limit = 18.0 * np.log(1.0 + stats.t.ppf(0.975, 17) ** 2 / 17.0)
    assert abs(np.mean(drawn > limit) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 1000)
    assert np.mean(drawn > stats.chi2.ppf(0.95, 1)) > 0.05


def test_draws_do_not_depend_on_how_many_there_are():
    moments, large = problems.moments_of("sleepstudy")
    small = Terms.one(large.fixed, (("Intercept",),), large.group, large.columns)
    _, fitted = statistic(moments, small, large, False)
    few, more = (bootstrap(moments, small, large, False, fitted, count, 3, "ab") for count in (3, 5))
    assert (few == more[:3]).all()


def test_a_thousand_tests_of_sleepstudys_slope_in_20_seconds():
    moments, large = problems.moments_of("sleepstudy")
    small = Terms.one(large.fixed, (("Intercept",),), large.group, large.columns)
    chisq, fitted = statistic(moments, small, large, False)
    started = time.process_time()
    drawn = bootstrap(moments, small, large, False, fitted, 1000, 3, "ab")
    assert time.process_time() - started < 20.0  # 3 s, once compiled
    p, error = p_bootstrap(chisq, drawn)
    assert (p, error) == (1 / 1001, pytest.approx(np.sqrt(1000 / 1001 / 1001 / 1000)))


def test_p_of_the_bootstrap():
    drawn = np.array([0.0, 0.0, 1.0, 3.0])
    assert p_bootstrap(0.0, drawn)[0] == 1.0
    assert p_bootstrap(2.0, drawn)[0] == 0.4
