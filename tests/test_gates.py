"""Gates of a Bayesian fit: what passes, what fails, and what is not judged."""

import numpy as np
import pytest

from lmm.engines.pymc.chains import sample_until_passed
from lmm.engines.pymc.gates import convergence, gate_fit, loose_rule


@pytest.fixture
def good():
    rng = np.random.default_rng(1)
    draws = rng.standard_normal((3, 4, 1000))
    stats = {
        "diverging": np.zeros((4, 1000), bool),
        "maxdepth_reached": np.zeros((4, 1000), bool),
        "energy": rng.standard_normal((4, 1000)),
    }
    return draws, stats


def failed(draws, stats):
    return {gate["name"] for gate in gate_fit(convergence(draws), stats, 4) if not gate["passed"]}


def test_independent_draws_pass(good):
    assert failed(*good) == set()


def test_a_chain_elsewhere_fails(good):
    draws, stats = good
    draws[1, 2] += 1.0
    assert "R-hat, largest" in failed(draws, stats)


def test_autocorrelated_chains_fail(good):
    draws, stats = good
    draws[0] = np.cumsum(draws[0], axis=1)
    assert {"bulk ESS, smallest", "R-hat, largest"} <= failed(draws, stats)


def test_the_gates_stand_at_their_documented_limits(good):
    """Vehtari et al. 2021: R-hat below 1.01, bulk and tail ESS of at least 100 per chain; E-BFMI at least 0.3."""
    _, stats = good
    at = {"rhat": np.array([1.0099]), "ess_bulk": np.array([400.0]), "ess_tail": np.array([400.0])}

    def failing(**changes):
        gates = gate_fit(at | {name: np.array([value]) for name, value in changes.items()}, stats, 4)
        return {gate["name"] for gate in gates if not gate["passed"]}

    assert failing() == set()
    assert failing(rhat=1.01) == {"R-hat, largest"}
    assert failing(ess_bulk=399.9) == {"bulk ESS, smallest"}
    assert failing(ess_tail=399.9) == {"tail ESS, smallest"}
    limits = {gate["name"]: gate["limit"] for gate in gate_fit(at, stats, 4)}
    assert limits["bulk ESS, smallest"] == limits["tail ESS, smallest"] == 400
    assert (limits["R-hat, largest"], limits["E-BFMI, smallest"]) == (1.01, 0.3)


@pytest.mark.parametrize(
    ("name", "gate"), [("diverging", "divergences"), ("maxdepth_reached", "draws at the largest tree depth")]
)
def test_one_bad_transition_fails(good, name, gate):
    draws, stats = good
    stats[name][1, 5] = True
    assert failed(draws, stats) == {gate}


def test_a_sticky_energy_fails(good):
    draws, stats = good
    stats["energy"] = np.cumsum(stats["energy"], axis=1)
    assert failed(draws, stats) == {"E-BFMI, smallest"}


def test_a_constant_is_not_judged(good):
    draws, stats = good
    draws[2] = 3.5
    measures = convergence(draws)
    assert measures["rhat"][2] == 1.0
    assert measures["ess_mean"][2] == 4000.0
    assert failed(draws, stats) == set()


def test_the_posts_rule_is_looser(good):
    draws, stats = good
    draws[1, 2] += 0.35  # R-hat of about 1.02
    measures = convergence(draws)
    assert failed(draws, stats)
    assert loose_rule(measures)["passed"]


@pytest.mark.parametrize("quick", [False, True])
def test_a_failed_gate_is_tried_once_more(good, quick):
    """Plumbing: the sampler is a stand-in that fails the first time."""
    import problems
    from lmm.engines.pymc import fit
    from lmm.engines.pymc.attempts import Draws, Setting
    from lmm.engines.pymc.grouped import Grouped

    moments, terms = problems.moments_of("dyestuff")
    problem, priors, packed = fit.prepare(moments, terms.fixed, terms.blocks, {})
    _, stats = good
    rng = np.random.default_rng(2)
    tried = []

    class Sampler:
        def sample(self, setting, data, estimates):
            tried.append(setting)
            values = np.exp(rng.normal(3.5, 0.1, (2, 4, 1000)))
            bad = stats | {"diverging": np.full((4, 1000), len(tried) == 1)}
            return Draws(values, bad)

    setting = Setting(seed=7, chains=4, tune=500, draws=1000, target_accept=0.8)
    posterior = Grouped(problem, packed, priors, moments, Sampler)
    first = setting.quick() if quick else None
    chains, gates, retried = sample_until_passed(posterior.by_nuts, setting, first)
    assert retried
    assert [(trial.tune, trial.white) for trial in tried] == [(100 if quick else 500, quick), (1000, False)]
    assert all(gate["passed"] for gate in gates)
    assert chains.fixed.draws.shape == (4000, 1)
