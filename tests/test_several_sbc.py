"""Calibration with crossed factors by the real engine: a right one passes, and each error is caught."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from lmm.config.load import load
from lmm.data.rows import Rows
from lmm.model.terms import Grouping, Terms
from lmm.recovery import chunks, data, job
from lmm.recovery.calibration import several_ranks as sbc
from lmm.recovery.calibration.verdicts import calibrate
from lmm.results.replicated import quantity_name

# Verdicts are simultaneous at 99 % (`verdicts.LEVEL`): one right sampler in a hundred would fail.
FEW, MANY, ALL = 50, 150, 500  # 50 is the fewest that get a verdict
PRIORS = {
    "fixed": "normal(0, 2)",
    "sd": {"a": {"Intercept": "half_normal(1)", "x": "half_normal(0.5)"}, "b": "half_normal(2)"},
    "sigma": "half_normal(1)",
}
STUDY = {
    "formula": "y ~ x + (x | a) + (1 | b)",
    "simulate": {"groups": {"a": 10, "b": 8}, "seed": 5},
    "replicates": ALL,
    "calibration": True,
    "engines": {"pymc": {"priors": PRIORS, "sampler": "importance", "chains": 2, "draws": 500}},
}
PARAMETERS = {
    "Intercept", "x", "sd__Intercept|a", "sd__x|a", "cor__Intercept.x|a", "sd__Intercept|b", "sd__Observation",
}  # fmt: skip
DATA = {"ranef__Intercept__1|a", "ranef__x__1|a", "ranef__Intercept__1|b", "log_likelihood"}


@pytest.fixture(scope="module")
def made():
    from planning import plan

    planned = plan.study_plan(load({"studies": {"a": STUDY}}).studies["a"])
    own, designs = planned["stages"]["replicates"], list(planned["recovery"]["designs"].values())
    return job.simulated(own, designs)


def bad(made, count):
    """Quantities that are not calibrated."""
    sources, engines = made
    _, ranks = chunks.run(sources, engines, 1, 0, count)
    verdicts = calibrate(ranks.to_pandas(), np.random.default_rng(1))
    assert set(verdicts["quantity"]) == PARAMETERS | DATA
    assert set(verdicts["verdict"]) <= {"calibrated", "not calibrated"}
    return set(verdicts.loc[verdicts["verdict"] == "not calibrated", "quantity"])


@pytest.mark.parametrize("count", [FEW, ALL])
def test_the_engine_is_calibrated(made, count):
    assert bad(made, count) == set()


def test_a_sign_error_in_the_conditional_of_the_random_effects_is_caught(made, monkeypatch):
    right = sbc.random_effects
    monkeypatch.setattr(sbc, "random_effects", lambda *arguments: [-own for own in right(*arguments)])
    found = bad(made, FEW)
    assert {"ranef__Intercept__1|b", "log_likelihood"} <= found
    assert not found & PARAMETERS, "parameters cannot see it"


def test_a_prior_of_one_factor_that_is_not_the_simulators_is_caught(made, monkeypatch):
    (engine,) = made[1].values()
    wrong = PRIORS | {"sd": PRIORS["sd"] | {"b": "half_normal(0.4)"}}
    monkeypatch.setattr(engine.fitter, "settings", deepcopy(engine.settings) | {"priors": wrong})
    found = bad(made, MANY)
    assert "sd__Intercept|b" in found
    assert "sd__Intercept|a" not in found


def test_a_likelihood_without_one_factor_is_caught(made, monkeypatch):
    """The fits see b's labels shuffled: what differs between b's levels is residual to them."""
    right, rng = data.data_set, np.random.default_rng(3)

    def without_b(rows, truth):
        ((codes, levels),) = rows.others
        shuffled = replace(rows, others=((rng.permutation(codes), levels),))
        return replace(right(shuffled, truth), rows=rows)

    monkeypatch.setattr(data, "data_set", without_b)
    found = bad(made, FEW)
    assert {"sd__Intercept|b", "sd__Observation", "ranef__Intercept__1|b", "log_likelihood"} <= found


def test_the_log_likelihood_is_the_rows_normal_density():
    """By hand: y_n normal about X beta + Z_a u_a + Z_b u_b."""
    rng = np.random.default_rng(2)
    terms = Terms(
        ("Intercept", "x"),
        (Grouping(("a",), (("Intercept", "x"),)), Grouping(("b",), (("Intercept",),))),
        ("Intercept", "x"),
    )
    W, y = np.column_stack([np.ones(6), rng.normal(size=6)]), rng.normal(size=6)
    a, b = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 0, 1])
    rows = Rows(terms, y, W, a, np.array(["1", "2", "3"]), ((b, np.array(["1", "2"])),))
    beta, u, v, sigma = rng.normal(size=2), rng.normal(size=(3, 2)), rng.normal(size=(2, 1)), 0.7
    total = 0.0
    for n in range(6):
        mean = W[n] @ beta + W[n] @ u[a[n]] + v[b[n], 0]
        total += -0.5 * np.log(2 * np.pi * sigma**2) - (y[n] - mean) ** 2 / (2 * sigma**2)
    found = sbc.log_likelihood(rows, beta[None], [u[None], v[None]], np.array([sigma]))
    assert found == pytest.approx([total], rel=1e-12)


def test_quantities_have_names_by_factor():
    assert quantity_name("ranef__x__3|school") == "random x of school 3"
    assert quantity_name("sd__x|school").endswith("(school)")
    assert quantity_name("ranef__x__3") == "random x of group 3"
