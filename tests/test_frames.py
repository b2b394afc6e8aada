"""The library from Python: the same numbers as the stages, messages instead of tracebacks."""

import numpy as np
import pandas as pd
import pytest

import problems
from conftest import ROOT
from lmm.core.engines import ENGINES
from lmm.core.errors import StudyError
from lmm.engines import reml
from lmm.frames import fit, simulate

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep():
    return pd.read_csv(ROOT / "config/data/sleepstudy.csv")


def test_reml_is_the_stages_fit(sleep):
    moments, terms = problems.moments_of("sleepstudy")
    exact, _ = reml.fit(moments, terms.fixed, terms.blocks)
    found = fit(SLEEP, sleep)
    # the same rows through the same code: nothing but the order of sums may differ
    np.testing.assert_allclose(found.parameters["estimate"], exact.parameters["estimate"], rtol=1e-9)
    assert found.diagnostics.criterion == pytest.approx(exact.diagnostics.criterion, abs=1e-8)
    assert len(found.ranef) == 36


def test_every_engine_fits_a_frame(sleep):
    for name in ENGINES:
        own = {"chains": 2, "tune": 300, "draws": 300} if name == "pymc" else {}
        found = fit(SLEEP, sleep, name, **own)
        slope = found.parameters.set_index("term").loc["Days", "estimate"]
        assert slope == pytest.approx(
            10.467, abs=0.3
        )  # balanced: one slope for all; PyMC with Monte Carlo error
        assert (found.posterior is not None) == (name == "pymc")
        assert all(0.0 <= seconds < 600.0 for seconds in found.diagnostics.seconds.values())


@pytest.mark.parametrize("formula", [SLEEP, "Reaction ~ Days + (1 | Subject) + (1 | half)"])
@pytest.mark.parametrize("name", ["reml", "mixedlm"])
def test_limits_of_random_effects_are_the_normal_ones(sleep, name, formula):
    """Estimate and prediction error either way; the upper limit is the higher one."""
    rows = sleep.assign(half=np.where(np.arange(len(sleep)) % 3, "a", "b"))
    found = fit(formula, rows, name).ranef
    for column, sign in (("conf_low", -1.0), ("conf_high", 1.0)):
        expected = found["estimate"] + sign * 1.959963984540054 * found["std_error"]
        np.testing.assert_allclose(found[column], expected, rtol=1e-12)


def test_simulated_data_bring_their_truth():
    design = {"groups": 8, "rows_per_group": 5, "fixed": {"Intercept": 1, "x": 2}, "sd": {"Intercept": 1}}
    rows, truth = simulate("y ~ x + (1 | g)", 3, **design, sigma=1)
    again, _ = simulate("y ~ x + (1 | g)", 3, **design, sigma=1)
    pd.testing.assert_frame_equal(rows, again)
    assert rows["g"].nunique() == 8
    table = fit("y ~ x + (1 | g)", rows, truth=truth, intervals="wald").parameters.set_index("term")
    assert table["truth"].to_dict() == {"Intercept": 1, "x": 2, "sd__Intercept": 1, "sd__Observation": 1}


@pytest.mark.parametrize(
    "formula, engine, change, said",
    [
        ("Reaction ~ Day + (Day | Subject)", "reml", {}, "column 'Day' is missing"),
        (SLEEP, "lme4", {}, "expected one of ols, mixedlm, reml, pymc"),
        (SLEEP, "reml", {"Days": np.nan}, "column 'Days' has 180 missing values"),
    ],
)
def test_what_cannot_be_fitted_is_one_message(sleep, formula, engine, change, said):
    with pytest.raises(StudyError, match=said):
        fit(formula, sleep.assign(**change), engine)


def test_a_design_that_cannot_be_simulated_is_one_message():
    with pytest.raises(StudyError, match="expected"):
        simulate("y ~ x + (1 | g)", groups=8, rows_per_group=5, fixed={"Intercept": 1}, sd={"Intercept": 1})


def test_an_unknown_setting_is_one_message(sleep):
    with pytest.raises(StudyError, match="did you mean 'chains'"):
        fit(SLEEP, sleep, "pymc", chain=2)
    with pytest.raises(StudyError, match="did you mean 'groups'"):
        simulate("y ~ x + (1 | g)", group=8)
