"""The posterior where groups differ by far more than their rows do: its density's digits, and its moments."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pandas as pd
import pytest

from lmm.core.tidy import Fit
from lmm.engines.pymc.fit import fit
from lmm.likelihood.marginal import log_density, pack_problem, views
from lmm.likelihood.problem import problem_of
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.moments.stage import of_rows
from test_digits import INTERCEPTS, Dense, table, unbalanced

FLAT = {"fixed": "flat", "sd": "flat", "sigma": "flat", "corr": "lkj(1)"}
SETTINGS = {
    "priors": FLAT, "chains": 4, "draws": 1000, "tune": 500, "seed": 1, "target_accept": 0.9, "keep_draws": 0,
    "conf_level": 0.95, "model": "marginal", "sampler": "importance",
}  # fmt: skip


@pytest.mark.parametrize("prior", [False, True])
def test_the_marginal_density_and_its_slope_are_those_of_the_rows(prior):
    frame, names = unbalanced(1e7, 1e3), ("Intercept", "t")
    problem = problem_of(of_rows(build(parse("y ~ t + (t | g)"), frame), frame), names, (names,))
    given = {"mean": np.zeros(2), "root": np.diag([1e-9, 1e-4])} if prior else {}
    packed = pack_problem(problem, **given)
    root, sigma = np.array([[8e6, 0.0], [300.0, 700.0]]), 1.2
    found = log_density(packed, root, sigma)
    dense = Dense(frame, True, given.get("root"))
    with localcontext() as context:
        context.prec = 50
        phi = [Decimal(float(v)) for v in (8e6, 300.0, 700.0, math.log(sigma))]
        # ten digits of sums of some 1e6 residual variances
        assert found[0] == pytest.approx(-0.5 * (float(dense(phi)) + dense.constant), abs=1e-5)
        for k, (slope, unit) in enumerate(zip(found[[1, 3, 4, 5]], (*phi[:3], sigma), strict=True)):
            step = Decimal("1e-15") * (phi[k] if k < 3 else 1)
            up, down = list(phi), list(phi)
            up[k] += step
            down[k] -= step
            difference = float((dense(up) - dense(down)) / (2 * step))
            # in the parameter's own size: by log sigma the last one is differentiated
            size = float(unit)
            own = slope * size
            expected = -0.5 * difference * (size if k < 3 else 1.0)
            assert own == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("ratio", [1.0, 1e7])
def test_the_parts_of_a_packed_problem_are_where_they_are_read(ratio):
    """With a floor the density takes other groups than random effects given D and sigma do."""
    frame, names = unbalanced(ratio, ratio / 1e4), ("Intercept", "t")
    problem = problem_of(of_rows(build(parse("y ~ t + (t | g)"), frame), frame), names, (names,))
    assert (problem.white is not None) == (ratio > 1.0)
    root = np.array([[0.1, 0.0], [0.3, 2.0]])
    transform, total, prior, spread, gram, floor, plain = views(pack_problem(problem, np.ones(2), root))
    np.testing.assert_array_equal(transform, np.linalg.inv(problem.z_map))
    groups, whole = problem.sums
    np.testing.assert_array_equal(total, whole)
    np.testing.assert_array_equal(gram, groups)
    np.testing.assert_array_equal(plain, problem.gram)
    assert np.array_equal(gram, plain) == (problem.white is None)
    np.testing.assert_array_equal(floor, np.zeros((2, 0)) if problem.white is None else problem.white.floor)
    own = np.column_stack([root @ problem.x_map, root @ (1.0 - problem.offset)])
    np.testing.assert_allclose(prior, own.T @ own, rtol=1e-12)
    np.testing.assert_allclose(spread @ spread.T, prior[:2, :2], rtol=1e-12)


def posterior(frame: pd.DataFrame) -> Fit:
    design = build(parse(INTERCEPTS), frame)
    found, _ = fit(of_rows(design, frame), design.terms.fixed, design.terms.blocks, SETTINGS)
    return found


@pytest.mark.parametrize("ratio", [1e6, 1e8])
def test_the_posterior_means_are_the_closed_form_at_any_ratio(ratio):
    """Flat priors: sd^2 and sigma^2 are inverse gamma, of the sums of squares between and within groups.

    What is left of sigma^2 in the means' variance is 1e-13 of it.
    """
    frame = table(ratio)
    found = posterior(frame)
    assert found.diagnostics.status == "ok", found.diagnostics.message
    y, t, g = (frame[name].to_numpy() for name in ("y", "t", "g"))
    exact = y.astype(np.longdouble)
    means = np.array([exact[g == level].mean() for level in np.unique(g)])
    left = exact - means[np.unique(g, return_inverse=True)[1]]
    away = t - t.mean()
    within = float((left**2).sum() - (left @ away) ** 2 / (away @ away))
    between = float(((means - means.mean()) ** 2).sum())
    expected = [
        math.sqrt(square / 2) * math.exp(math.lgamma((df - 2) / 2) - math.lgamma((df - 1) / 2))
        for square, df in ((between, 29), (within, len(y) - 30 - 1))
    ]
    own = found.parameters.set_index("term").loc[["sd__Intercept", "sd__Observation"]]
    assert (abs(own["estimate"] - expected) < 4 * own["mcse_mean"]).all()
    np.testing.assert_allclose(found.ranef["estimate"], (means - means.mean()).astype(float), rtol=1e-6)
