"""Priors by name: their text, their bounds, and their densities and draws against each other."""

import numpy as np
import pytest
from scipy import integrate, stats

from lmm.core.errors import StudyError
from lmm.model.priors import Prior, parse_prior


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("fixed", "flat"), ("fixed", "auto"), ("fixed", "normal(0, 2.5)"),
        ("fixed", "student_t(3, 0, 1e-05)"),
        ("sd", "uniform(0, 100)"), ("sd", "half_normal(10)"), ("sd", "half_student_t(3, 10)"),
        ("sigma", "half_cauchy(2)"), ("sigma", "exponential(0.1)"), ("corr", "lkj(2)"),
    ],
)  # fmt: skip
def test_text_reads_back(kind, text):
    prior = parse_prior(text, kind, "p")
    assert prior.text == text
    assert prior.proper == (text != "flat")
    assert parse_prior(text.replace(" ", "") + " ", kind, "p") == prior


@pytest.mark.parametrize(
    ("kind", "text", "word"),
    [
        ("sd", "normal(0, 1)", "expected a prior for sd: auto, flat, uniform(low, high)"),
        ("fixed", "half_normal(1)", "expected a prior for fixed"),
        ("corr", "uniform(-1, 1)", "expected a prior for corr: auto, lkj(eta)"),
        ("sd", "uniform(3, 2)", "low < high"),
        ("sd", "uniform(-3, 2)", "low is -3"),
        ("sd", "half_normal(0)", "sd is 0; expected more than 0"),
        ("sd", "half_normal(inf)", "finite"),
        ("fixed", "normal(1)", "expected normal(mean, sd)"),
        ("fixed", "normal(a, 1)", "expected numbers"),
        ("fixed", "flat(1)", "expected flat"),
        ("fixed", "normal(0, 1", "expected a prior"),
        ("fixed", 3, "'3': expected a prior"),
        ("corr", "lkj(0)", "eta is 0"),
    ],
)
def test_refused(kind, text, word):
    with pytest.raises(StudyError, match=r"^engines\.pymc\.priors\.x: ") as caught:
        parse_prior(text, kind, "engines.pymc.priors.x")
    assert word in str(caught.value)


PROPER = [
    Prior("uniform", (2.0, 5.0)), Prior("normal", (1.0, 2.0)), Prior("student_t", (3.0, 1.0, 2.0)),
    Prior("half_normal", (2.0,)), Prior("half_student_t", (3.0, 2.0)), Prior("half_cauchy", (2.0,)),
    Prior("exponential", (0.5,)), Prior("lkj", (3.5,)), Prior("lkj", (1.0,)),
]  # fmt: skip


@pytest.mark.parametrize("prior", PROPER, ids=lambda prior: prior.text)
def test_density_and_draws_are_of_one_distribution(prior):
    """The density integrates to 1 (quadrature: 1e-6), and 5000 draws fit its integral (KS, fixed seed)."""
    low, high = prior.support

    def density(value):
        return np.exp(prior.logpdf(value))

    assert integrate.quad(density, low, high)[0] == pytest.approx(1, abs=1e-6)
    draws = prior.sample(np.random.default_rng(1), 5000)
    assert low <= draws.min()
    assert draws.max() <= high
    at = np.quantile(draws, [0.1, 0.25, 0.5, 0.75, 0.9])
    below = [integrate.quad(density, low, value)[0] for value in at]
    # five binomial standard errors of 5000 draws at probability 1/2: 0.035
    np.testing.assert_allclose(below, [0.1, 0.25, 0.5, 0.75, 0.9], rtol=0, atol=0.035)
    # central differences are good to 1e-9 of the curvature
    steep = (prior.logpdf(at + 1e-5) - prior.logpdf(at - 1e-5)) / 2e-5
    np.testing.assert_allclose(prior.density(at)[1], steep, atol=1e-7)


@pytest.mark.parametrize("prior", [Prior("half_normal", (2.0,)), Prior("half_student_t", (3.0, 2.0))])
def test_no_density_below_zero(prior):
    assert prior.logpdf(-0.1) == -np.inf


@pytest.mark.parametrize("name", ["flat", "auto"])
def test_what_cannot_be_drawn(name):
    with pytest.raises(ValueError, match="no density"):
        Prior(name).sample(np.random.default_rng(1), 3)


@pytest.mark.parametrize(("q", "eta"), [(2, 1.0), (3, 2.0), (4, 0.5)])
def test_lkj_marginals(q, eta):
    """Each correlation is Beta(eta - 1 + q/2) on (-1, 1) (Lewandowski et al. 2009, section 3.3)."""
    rng = np.random.default_rng(2)
    draws = np.array([Prior("lkj", (eta,)).sample_corr(rng, q) for _ in range(4000)])
    assert np.linalg.eigvalsh(draws).min() > -1e-12
    shape = eta - 1 + q / 2
    law = stats.beta(shape, shape, -1, 2)
    for i in range(q):
        for j in range(i):
            # the seed is fixed; a wrong shape gives p far below 1e-4
            assert stats.kstest(draws[:, i, j], law.cdf).pvalue > 1e-4
