"""Calibration by the real engine: a right one passes, and each of the errors that it is there for is caught."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import problems
from lmm.config.load import load
from lmm.engines.pymc import fit as bayes
from lmm.engines.pymc.attempts import Draws
from lmm.engines.pymc.chains import Chains
from lmm.engines.pymc.posterior import FixedDraws
from lmm.engines.pymc.sampling import Sampled
from lmm.likelihood.problem import problem_of
from lmm.moments.accumulate import compute
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


def test_what_is_ranked_are_the_quantities_at_the_draws_and_at_the_truth(monkeypatch):
    """Parameters, three groups' effects, intra-class correlation and the rows' density, of the replicate's groups."""
    rng, names = np.random.default_rng(2), ("Intercept", "x")
    terms, y, W, codes, levels = problems.simulated(rng, [4] * 6, names, names, np.eye(2), 1.0, np.ones(2))
    moments, mine = (
        compute(terms, y, W, codes, levels),
        codes >= 2,
    )  # of six groups the last four are simulated
    own = compute(terms, y[mine], W[mine], codes[mine] - 2, levels[2:])
    structure = problem_of(moments, terms.fixed, terms.blocks).structure
    beta, sds = rng.normal(size=(40, 2)), rng.uniform(0.5, 2.0, (2, 40))
    r, sigma, effects = rng.uniform(-0.9, 0.9, 40), rng.uniform(0.5, 2.0, 40), rng.normal(size=(40, 6, 2))
    chains = SimpleNamespace(
        problem=SimpleNamespace(fixed=names, structure=structure), sigmas=sigma,
        values=np.stack([*sds, r, sigma])[:, None, :], fixed=SimpleNamespace(draws=beta),
    )  # fmt: skip
    true = rng.normal(size=(4, 2))
    ranef = {name: dict(zip(levels[2:], true[:, k].tolist(), strict=True)) for k, name in enumerate(names)}
    truth = {"fixed": {"Intercept": 0.3, "x": -0.2}, "sd": {"Intercept": 1.5, "x": 0.5}, "corr": {"Intercept.x": 0.4},
             "sigma": 0.8, "ranef": ranef}  # fmt: skip
    found = {}
    monkeypatch.setattr(sbc, "random_effects", lambda chains, at, rng: effects[at])
    monkeypatch.setattr(
        sbc, "rank_table", lambda *given: found.update(zip(("draws", "true", "ess"), given, strict=False))
    )
    ess = np.array([30.0, 20.0, 25.0, 26.0, 27.0, 28.0])
    sbc.ranks(chains, moments, own, truth, ess, rng)
    at = np.arange(1, 40, 2)  # 20 draws, in the middle of the 20 parts of 40
    expected = {
        "Intercept": (beta[at, 0], 0.3), "x": (beta[at, 1], -0.2), "sd__Intercept": (sds[0, at], 1.5),
        "sd__x": (sds[1, at], 0.5), "cor__Intercept.x": (r[at], 0.4), "sd__Observation": (sigma[at], 0.8),
    }  # fmt: skip
    assert found["ess"] == dict(zip(expected, ess, strict=True))
    for k, name in enumerate(names):
        for j in (2, 3, 4):
            expected[f"ranef__{name}__{levels[j]}"] = effects[at, j, k], true[j - 2, k]
    expected["icc"] = sds[0, at] ** 2 / (sds[0, at] ** 2 + sigma[at] ** 2), 1.5**2 / (1.5**2 + 0.8**2)

    def log_density(beta, u, sigma):
        mean = W[mine] @ beta + (W[mine] * u[codes[mine] - 2]).sum(axis=1)
        return stats.norm.logpdf(y[mine], mean, sigma).sum()

    expected["log_likelihood"] = (
        [log_density(beta[s], effects[s, 2:], sigma[s]) for s in at], log_density([0.3, -0.2], true, 0.8),
    )  # fmt: skip
    assert found["draws"].keys() == found["true"].keys() == expected.keys()
    for name, (draws, value) in expected.items():
        np.testing.assert_allclose(found["draws"][name], draws, rtol=1e-9, err_msg=name)
        assert found["true"][name] == pytest.approx(value, rel=1e-9), name
