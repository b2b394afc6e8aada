"""Calibration by the real engine: a right one passes, and each of the errors that it is there for is caught."""

from copy import deepcopy

import numpy as np
import pytest

from lmm.config.load import load
from lmm.engines.pymc import fit as bayes
from lmm.engines.pymc.attempts import Draws
from lmm.engines.pymc.chains import Chains
from lmm.engines.pymc.posterior import FixedDraws
from lmm.engines.pymc.sampling import Sampled
from lmm.recovery import chunks, job
from lmm.recovery.calibration import ranks as sbc
from lmm.recovery.calibration.verdicts import calibrate

# Verdicts are simultaneous at 99 % (calibration.LEVEL): with the seeds fixed, one right sampler in a hundred would
# fail the first test, for good.
# A right sampler is as likely to pass with few (50 have to end well); to catch an error takes more.
FEW, REPLICATES = 70, 150
PRIORS = {"fixed": "normal(0, 2)", "sd": "half_normal(1)", "sigma": "half_normal(1)"}
STUDY = {
    "formula": "y ~ 1 + (1 | group)",
    "simulate": {"groups": 8, "rows_per_group": 5, "seed": 11},
    "replicates": REPLICATES,
    "calibration": True,
    "engines": {"pymc": {"priors": PRIORS, "chains": 2, "tune": 200, "draws": 400}},
}
RANEF = {f"ranef__Intercept__{level}" for level in (1, 2, 3)}


@pytest.fixture(scope="module")
def made():
    from planning import plan

    planned = plan.study_plan(load({"studies": {"a": STUDY}}).studies["a"])
    own, designs = planned["stages"]["replicates"], list(planned["recovery"]["designs"].values())
    return job.simulated(own, designs)


def bad(made, count=REPLICATES):
    """Quantities that are not calibrated."""
    sources, engines = made
    _, ranks = chunks.run(sources, engines, 1, 0, count)
    verdicts = calibrate(ranks.to_pandas(), np.random.default_rng(1))
    assert set(verdicts["verdict"]) <= {"calibrated", "not calibrated"}
    return set(verdicts.loc[verdicts["verdict"] == "not calibrated", "quantity"])


@pytest.mark.parametrize("count", [FEW, pytest.param(REPLICATES, marks=pytest.mark.long)])
def test_the_engine_is_calibrated(made, count):
    assert bad(made, count) == set()


def test_a_prior_that_is_not_the_simulators_is_caught(made, monkeypatch):
    (engine,) = made[1].values()
    settings = deepcopy(engine.settings) | {"priors": PRIORS | {"sd": "half_normal(0.2)"}}
    monkeypatch.setattr(engine.fitter, "settings", settings)
    assert "sd__Intercept" in bad(made)


def test_a_sign_error_in_the_conditional_of_the_random_effects_is_caught(made, monkeypatch):
    right = sbc.random_effects
    monkeypatch.setattr(sbc, "random_effects", lambda *arguments: -right(*arguments))
    found = bad(made)
    assert found & RANEF
    assert "log_likelihood" in found
    assert not found & {"Intercept", "sd__Intercept", "sd__Observation"}, "parameters cannot see it"


def test_a_likelihood_left_out_is_caught_by_what_depends_on_the_data_alone(made, monkeypatch):
    def prior_only(posterior, setting, sampler, first):
        problem, packed, priors = posterior.problem, posterior.packed, posterior.priors
        rng = np.random.default_rng(setting.seed)
        values = np.abs(rng.standard_normal((2, 2, 400)))
        stats = {"n_steps": np.ones((2, 400))}
        chains = Chains(problem, packed, Draws(values, stats), priors, rng)
        chains.fixed = FixedDraws(
            chains.fixed.mean, chains.fixed.covariance, 2 * rng.standard_normal((800, 1))
        )
        return Sampled(chains, [], sampler, False, [], False)

    def effects(chains, at, rng):
        sd = chains.draws.values[0].ravel()[at]
        return sd[:, None, None] * rng.standard_normal((len(at), chains.problem.n_groups, 1))

    monkeypatch.setattr(bayes, "sampled", prior_only)
    monkeypatch.setattr(sbc, "random_effects", effects)
    found = bad(made)
    assert "log_likelihood" in found
    assert not found & {"Intercept", "sd__Intercept", "sd__Observation"}, "parameters cannot see it"
