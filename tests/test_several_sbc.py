"""Calibration with crossed factors by the real engine: a right one passes, and each error is caught."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lmm.config.load import load
from lmm.config.simulation import Simulation
from lmm.core.errors import StudyError
from lmm.core.store import write_json
from lmm.data import ingest
from lmm.data.rows import Rows, write_designs
from lmm.engines.base import Task
from lmm.engines.pymc.fit import Fitter
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.model.terms import Grouping, Terms
from lmm.moments import stage
from lmm.recovery import chunks, data, job, replay_rows
from lmm.recovery.calibration import several_ranks as sbc
from lmm.recovery.calibration.verdicts import calibrate
from lmm.recovery.several_data import data_set
from lmm.results.replicated import quantity_name
from lmm.simulation.rows import simulate
from planning import plan

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
    planned = plan.study_plan(load({"studies": {"a": STUDY}}).studies["a"])
    own, designs = planned["stages"]["replicates"], list(planned["recovery"]["designs"].values())
    return job.simulated(own, designs)


def bad(made, count, of_data=frozenset(DATA)):
    """Quantities that are not calibrated."""
    sources, engines = made
    _, ranks = chunks.run(sources, engines, 1, 0, count)
    verdicts = calibrate(ranks.to_pandas(), np.random.default_rng(1))
    assert set(verdicts["quantity"]) == PARAMETERS | of_data
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
        return replace(right(shuffled, truth), rows=rows, own_rows=rows)

    monkeypatch.setattr(data, "data_set", without_b)
    found = bad(made, FEW)
    assert {"sd__Intercept|b", "sd__Observation", "ranef__Intercept__1|b", "log_likelihood"} <= found


OWN = {"ranef__Intercept__1'|a", "ranef__x__1'|a", "ranef__Intercept__1'|b", "log_likelihood"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def own(place):
    """Sources and engines of posterior calibration: rows from a file, their fit, and its draws."""
    formula = parse(STUDY["formula"])
    simulated = Simulation.from_plain(STUDY["simulate"] | {"fixed": {"Intercept": 1, "x": 0.5}})
    simulate(simulated, formula)[0].to_csv(place / "d.csv", index=False)
    study = {name: value for name, value in STUDY.items() if name != "simulate"} | {
        "data": str(place / "d.csv")
    }
    study["engines"] = {"pymc": {"sampler": "importance", "chains": 2, "draws": 500}}
    planned = plan.study_plan(load({"studies": {"a": study}}, place).studies["a"])
    files = {
        "data": "data.json",
        "rows": "rows.parquet",
        "design": "design.json",
        "posterior": "posterior.nc",
    }
    paths = {name: place / file for name, file in files.items()}
    source, about = ingest.scan(
        ingest.inspect(str(place / "d.csv"), formula.variables, formula.keys), formula
    )
    ingest.copy(source, paths["rows"])
    write_json(paths["data"], about)
    settings = planned["stages"]["replicates"]
    write_designs(paths["design"], stage.designs([formula.text], about, pd.read_parquet(paths["rows"]))[1])
    rows, (key,) = job.own_rows(settings, paths), planned["recovery"]["keys"]
    fitter = Fitter(planned["stages"]["pymc"], rows.terms)
    fitter.fit(Task(data_set(rows, {}).moments, lambda: rows)).artifacts["posterior"](paths["posterior"])
    return job.bootstrapped(settings, [planned["recovery"]["designs"][key]], paths)


def test_a_replicate_stands_beside_the_rows_with_levels_of_its_own(own):
    (source,) = own[0].values()
    drawn, observed = source.draw(3), source.rows
    n = len(observed.y)
    np.testing.assert_array_equal(drawn.rows.y[:n], observed.y)
    np.testing.assert_array_equal(drawn.rows.y[n:], drawn.own_rows.y)
    for (codes, levels), (old, names) in zip(drawn.rows.factors, observed.factors, strict=True):
        np.testing.assert_array_equal(codes, [*old, *(old + len(names))])
        assert levels.tolist() == [*names, *(f"{name}'" for name in names)]
    assert drawn.moments.n_rows == 2 * n
    assert drawn.prior_moments.n_rows == drawn.own.n_rows == n
    # parameters differ between replicates as the posterior's draws do
    truths = [source.drawn(k)[1]["sd"]["a"]["Intercept"] for k in range(200)]
    draws = np.sqrt((source.estimates.roots[0] ** 2).sum(axis=2))[:, 0]
    assert stats.ks_2samp(truths, draws).pvalue > 0.001


def test_a_replay_has_the_rows_beside_the_replicate(own, place):
    sources, engines = own
    (source,) = sources.values()
    frame = pd.read_csv(place / "d.csv", dtype={"a": str, "b": str})
    made, drawn = (
        replay_rows.bootstrapped(source, 3, build(parse(STUDY["formula"]), frame), frame),
        source.draw(3),
    )
    np.testing.assert_array_equal(made.frame["y"], drawn.rows.y)
    for name, (codes, levels) in zip("ab", drawn.rows.factors, strict=True):
        assert made.frame[name].tolist() == levels[codes].tolist()
    with pytest.raises(StudyError, match="scaled and centred by the observed data"):
        replay_rows.priors_in_numbers({}, source, engines["pymc"].terms)
    given = {"fixed": "normal(0, 2)", "sd": {"a": {"Intercept": "half_normal(1)"}}}
    found = replay_rows.priors_in_numbers(given, source, engines["pymc"].terms)
    assert found["sd"]["a"]["Intercept"] == "half_normal(1)"
    assert set(found["sd"]) == {"a", "b"}


@pytest.mark.parametrize("count", [FEW, ALL])
def test_the_engine_is_calibrated_at_own_data(own, count):
    assert bad(own, count, OWN) == set()


def test_a_posterior_too_wide_for_one_factor_is_caught(own, monkeypatch):
    """Draws of one sd are 1.8 times as large as they should be: its fit has the rows beside the replicate."""
    (source,) = own[0].values()
    wide = [source.estimates.roots[0], 1.8 * source.estimates.roots[1]]
    monkeypatch.setattr(source, "estimates", source.estimates._replace(roots=wide))
    found = bad(own, FEW, OWN)
    assert "sd__Intercept|b" in found
    assert "sd__Intercept|a" not in found


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
