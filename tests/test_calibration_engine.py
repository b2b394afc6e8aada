"""Simulation-based calibration of the pymc engine itself, and the same engine wrong on purpose: it must be caught.

Small (5 groups of 4, 100 replicates), but the very functions that a study runs: `chunks.run` over `Simulated`.
"""

import numpy as np
import pytest

from lmm import bayes_model, chunks, sbc
from lmm.calibration import ICC, LOG_LIKELIHOOD, calibrate
from lmm.replicate_data import Simulated
from lmm.replicate_pymc import Pymc
from lmm.study_simulation import Simulation

FORMULA, REPLICATES = "y ~ 1 + (1 | g)", 100
PRIORS = {"fixed": "normal(0, 2)", "sd": "half_normal(1.5)", "sigma": "half_normal(1)", "corr": "auto"}
SETTINGS = {
    "formula": FORMULA, "conf_level": 0.95, "priors": PRIORS, "chains": 2, "tune": 300, "draws": 400, "seed": 1,
    "target_accept": 0.9, "likelihood": "marginal", "keep_draws": 0,
}  # fmt: skip


def source(blocks):
    simulation = Simulation(groups=5, rows_per_group=4)
    return Simulated([FORMULA], "ab" * 6, simulation, 7, priors=PRIORS | {"blocks": blocks})


def verdicts(priors=None, sampler=None, gated=True):
    """Verdicts by quantity, and the compiled sampler, which another prior of the same family can use."""
    made = source([("Intercept",)])
    engine = Pymc(SETTINGS | {"priors": priors or PRIORS}, made.terms, calibration=True)
    engine.sampler = sampler
    _, ranks = chunks.run({made.key: made}, {"pymc": engine}, 1, 0, REPLICATES)
    ranks = ranks.to_pandas()
    if not gated:
        ranks["status"] = "ok"
    return calibrate(ranks, np.random.default_rng(1)).set_index("quantity"), engine.sampler


@pytest.fixture(scope="module")
def right():
    return verdicts()


def test_the_engine_is_calibrated(right):
    table, _ = right
    assert (table["verdict"] == "calibrated").all(), table[["p_adjusted", "verdict", "finding"]]
    assert {"Intercept", "sd__Intercept", "sd__Observation", ICC, LOG_LIKELIHOOD} < set(table.index)
    # gates fail now and then with so few draws; what is left is nearly all
    assert table["n"].min() > 0.8 * REPLICATES


@pytest.mark.parametrize(
    ("kind", "prior", "quantity"),
    [
        ("fixed", "normal(2, 0.7)", "Intercept"),
        ("sd", "half_normal(0.5)", "sd__Intercept"),
    ],
)
def test_a_prior_that_is_not_the_simulators_is_caught(right, kind, prior, quantity):
    table, _ = verdicts(PRIORS | {kind: prior}, right[1])
    assert table.loc[quantity, "verdict"] == "not calibrated"


def test_a_sign_error_in_the_conditional_of_random_effects_is_caught(right, monkeypatch):
    whole = sbc.draw_groups

    def wrong(*arguments):
        *rest, noise = arguments
        return whole(*rest, noise) - 2.0 * whole(*rest, 0.0 * noise)  # -mean + noise

    monkeypatch.setattr(sbc, "draw_groups", wrong)
    table, _ = verdicts(sampler=right[1])
    effects = table[table.index.str.startswith("ranef__")]
    assert (effects["verdict"] == "not calibrated").any()
    assert table.loc[LOG_LIKELIHOOD, "verdict"] == "not calibrated"


def test_a_missing_likelihood_is_caught(monkeypatch):
    """NUTS then samples the prior of sd's and sigma; their ranks are uniform, the log likelihood's are not."""
    real = bayes_model.LogDensity

    def without():
        return lambda *inputs: 1e-12 * real()(*inputs)  # not 0, which would take the data out of the graph

    monkeypatch.setattr(bayes_model, "LogDensity", without)
    # a few hundred draws of a prior's long tail fail the gates; whether ranks give it away is the question here
    table, _ = verdicts(gated=False)
    assert table.loc[LOG_LIKELIHOOD, "verdict"] == "not calibrated"
    assert (table.loc[["sd__Intercept", "sd__Observation"], "verdict"] == "calibrated").all()
