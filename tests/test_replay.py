"""Replays of replicates that were drawn as moments: rows with those moments, and so the same fits."""

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT
from lmm.config.load import load
from lmm.core.store import read_table
from lmm.data.levels import encode
from lmm.engines import reml
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.moments.accumulate import compute
from lmm.moments.stage import of_rows
from lmm.recovery import job, replay, replay_rows
from lmm.recovery.data import Bootstrap
from lmm.simulation import moments as simulate_moments
from lmm.simulation import rows_of_moments
from planning import plan

SLEEP = "Reaction ~ Days + (Days | Subject)"


def odd_rows() -> pd.DataFrame:
    """Groups that are hard to give moments: of one row, with a constant predictor, with one far from its mean."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(8), [1, 2, 3, 4, 9, 9, 9, 9])
    x = rng.normal(size=len(g))
    x[g == 3] = 2.0
    x[g == 4] = 1e3 + 0.1 * x[g == 4]
    frame = pd.DataFrame({"x": x, "w": np.cos(g), "t": list("uvw") * 15 + ["u"], "g": [f"g{k}" for k in g]})
    return frame.assign(y=50 + x + rng.normal(size=len(g)))


def bootstrap(formula: str, frame: pd.DataFrame, augment: bool = False) -> tuple[Bootstrap, object]:
    design = build(parse(formula), frame)
    moments, terms = of_rows(design, frame), design.terms
    q = len(terms.random)
    corr = [0.3] * sum(len(block) * (len(block) - 1) // 2 for block in terms.blocks)
    values = np.array([[*np.arange(1.0, len(terms.fixed) + 1), *[2.0] * q, *corr, 1.5]])
    return Bootstrap(moments, terms, "0" * 12, 1, values, augment), design


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + (x | g)",
        "y ~ x + w + t + (1 | g)",
        "y ~ 0 + x + (0 + x | g)",
        "y ~ x * t + (w || g)",
        "y ~ 1 + (1 | g)",
    ],
)
def test_rows_have_the_moments_that_were_drawn(formula):
    frame = odd_rows()
    source, design = bootstrap(formula, frame)
    drawn = source.draw(5).own
    W, (codes, levels) = design.predictors(frame), encode(frame["g"])
    rng = np.random.default_rng(1)
    y = rows_of_moments.response(rng, source.made, drawn, W, codes)
    found = compute(design.terms, y, W, codes, levels, whole=False, basis=drawn.basis)
    # y* has a size of 1, its sums are of 46 terms of at most 1e3 each, and y of 1e3 is rounded in its 16th digit
    size = np.sqrt(np.outer(np.diag(drawn.total), np.diag(drawn.total)))
    assert np.max(np.abs(found.total - drawn.total) / size) < 1e-11
    rows = drawn.gram.shape[1]
    assert np.max(np.abs(found.gram[:, :rows] - drawn.gram) / size[:rows]) < 1e-11
    other = rows_of_moments.response(np.random.default_rng(2), source.made, drawn, W, codes)
    assert np.max(np.abs(other - y)) > 0.1, "what moments do not tell is drawn"


def fits(moments, terms) -> tuple[pd.DataFrame, pd.DataFrame]:
    fit, _ = reml.fit(moments, terms.fixed, terms.blocks)
    return fit.parameters.set_index("term"), fit.ranef.set_index(["level", "term"])


def same_fits(drawn, replayed, terms) -> None:
    # moments agree to 1e-12, the optimum is found to 1e-10 in the criterion's curvature; profile bounds to 1e-9
    for one, other in zip(fits(drawn, terms), fits(replayed, terms), strict=True):
        columns = ["estimate", "std_error", "conf_low", "conf_high"]
        pd.testing.assert_frame_equal(
            one[columns], other.loc[one.index, columns], rtol=1e-8, atol=1e-8 * one["estimate"].abs().max(),
            check_exact=False,
        )  # fmt: skip


@pytest.mark.parametrize("augment", [False, True])
def test_reml_of_a_replay_of_own_data_is_the_replicates(augment):
    frame = read_table(ROOT / "config/data/sleepstudy.csv")
    source, design = bootstrap(SLEEP, frame, augment)
    made = replay_rows.bootstrapped(source, 3, design, frame)
    assert list(made.frame.columns) == ["Reaction", "Days", "Subject"]
    assert len(made.frame) == 180 * (1 + augment)
    again = of_rows(build(parse(SLEEP), made.frame), made.frame)
    drawn = source.draw(3)
    same_fits(drawn.moments, again, design.terms)
    if augment:
        assert made.frame["Reaction"][:180].tolist() == frame["Reaction"].tolist()
    effects = np.array(list(drawn.truth["ranef"]["Days"].values()))
    assert made.truth["realised"]["sd"]["Days"] == pytest.approx(effects.std(ddof=1), rel=1e-12)
    # 180 errors: an sd within 4 of its standard errors, 1.5 / sqrt(360)
    assert made.truth["realised"]["sigma"] == pytest.approx(1.5, abs=4 * 1.5 / np.sqrt(360))


@pytest.mark.parametrize("rows", [{"rows_per_group": {"poisson": 3}}, {"rows": 60}])
def test_reml_of_a_replay_of_a_simulated_design_is_the_replicates(rows):
    simulate = {"groups": 20, "seed": 4, "fixed": {"Intercept": 100, "x": 0.5}, **rows}
    given = {"formula": "y ~ x + (x | g)", "simulate": simulate, "replicates": 3, "simulate_from": "moments",
             "engines": {"reml": {}}}  # fmt: skip
    study = load({"studies": {"a": given}}).studies["a"]
    planned = plan.study_plan(study)
    (design,) = planned["recovery"]["designs"].values()
    ((source,), _) = (found.values() for found in job.simulated(planned["stages"]["replicates"], [design]))
    made = replay_rows.simulated(source, 2)
    again = of_rows(build(parse("y ~ x + (x | g)"), made.frame), made.frame)
    same_fits(source.draw(2).moments, again, source.terms)
    named = replay.analysis(study, study.designs[0], 2, made.response)
    assert load(
        {"studies": {"a": named["studies"]["a"] | {"data": "config/data/sleepstudy.csv", "truth": None}}}
    )


def test_a_response_that_is_no_column_gets_one():
    assert replay_rows.column_of("y", ["y", "x"]) == "y"
    assert replay_rows.column_of("np.log(y)", ["y", "x"]) == "np_log_y"
    assert (
        replay_rows.column_of("y2 / 2", ["x"]) == "y2_2" and replay_rows.column_of("2 * y", ["x"]) == "y_2_y"
    )
    assert replay_rows.column_of("np.log(y)", ["np_log_y", "np_log_y_"]) == "np_log_y__"
    assert replay_rows.column_of("log(y)", ["y", "log_y"]) == "log_y_"
    pymc = {"formula": "log(Reaction) ~ Days + (Days || Subject)"}
    given = {"formula": "log(Reaction) ~ Days + (Days | Subject)", "data": "config/data/sleepstudy.csv",
             "replicates": 2, "engines": {"pymc": pymc}}  # fmt: skip
    study = load({"studies": {"a": given}}, ROOT).studies["a"]
    own = replay.analysis(study, study.designs[0], 1, "log_Reaction")["studies"]["a"]
    assert own["formula"] == "log_Reaction ~ Days + (Days | Subject)"
    assert own["engines"]["pymc"]["formula"] == "log_Reaction ~ Days + (Days || Subject)"


def test_a_design_without_room_for_noise_has_rows_too():
    """As many columns as rows: y is what the columns say, and there is no direction left."""
    frame = pd.DataFrame({"y": [1.0, 2, 4, 7], "x": [0.0, 1, 0, 2], "g": list("aabb")})
    source, design = bootstrap("y ~ x + (x | g)", frame)
    drawn = source.draw(0).own
    W, (codes, levels) = design.predictors(frame), encode(frame["g"])
    y = rows_of_moments.response(np.random.default_rng(1), source.made, drawn, W, codes)
    found = compute(design.terms, y, W, codes, levels, whole=False, basis=drawn.basis)
    np.testing.assert_allclose(found.total, drawn.total, atol=1e-12 * np.trace(drawn.total))
    assert simulate_moments.prepare(drawn).free == 0
