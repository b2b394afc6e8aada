"""Comparison of models of the same rows: criteria and tests against lme4, notes on what has no test."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import inference_cases as cases
from lmm.comparison import responses
from lmm.comparison.models import Comparison, criteria
from lmm.comparison.models import tests as nested_tests
from lmm.config.load import Study, load
from lmm.core.errors import StudyError
from lmm.criticism import elpd
from lmm.data.rows import rows_of
from lmm.engines.pymc import loo
from lmm.inference.exact import optimum_of, problem_for
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.moments import stage
from several import REFERENCE, model_of

SLEEP = {
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "sleepstudy_plain": "Reaction ~ Days + (Days || Subject)",
    "sleepstudy_intercept": "Reaction ~ Days + (1 | Subject)",
    "no_days": "Reaction ~ 1 + (Days | Subject)",
    "days_as_levels": "Reaction ~ C(Days) + (1 | Subject)",
}


def compared(formulas, rows):
    """The comparison as the stages make it."""
    data = {"columns": cases.columns(rows), "rows": len(rows), "groups": 18, "sources": ["d.csv"]}
    groups = dict.fromkeys(factor.group for text in formulas.values() for factor in parse(text).factors)
    data["factors"] = [{"group": group, "levels": 18} for group in groups]
    for text in formulas.values():
        if "C(Days)" in text:  # as data.json has a column that some formula has in C(...)
            data["columns"]["Days"]["levels"] = sorted(rows.Days.unique().tolist())
            data["columns"]["Days"]["type"] = "categorical"
    design, own = stage.designs(list(formulas.values()), data, rows)
    moments = stage.of_rows(design, rows)
    stage.checked(moments, own, data)
    return Comparison(moments, formulas, {name: d.terms for name, d in zip(formulas, own, strict=True)})


@pytest.fixture(scope="module")
def sleep():
    rows = pd.read_csv(cases.FILES["sleepstudy"])
    return compared(SLEEP, rows.assign(Subject=rows.Subject.astype(str)))


def test_criteria_are_lme4s(sleep):
    table = criteria([sleep]).set_index("model")
    for name in ("sleepstudy", "sleepstudy_plain", "sleepstudy_intercept"):
        lme4 = cases.EXACT[name]["lme4"]
        found = table.loc[name, ["logLik", "AIC", "BIC"]].astype(float)
        # lme4's stop
        assert found.tolist() == pytest.approx([lme4["ml_logLik"], lme4["ml_AIC"], lme4["ml_BIC"]], abs=1e-6)
    assert table.parameters.tolist() == [6, 5, 4, 5, 12]
    assert table.weight.sum() == pytest.approx(1.0)
    assert table.delta_AIC.min() == 0.0


def test_numbers_are_numbers_where_another_formula_has_levels(sleep):
    assert sleep.terms["sleepstudy"].fixed == ("Intercept", "Days")
    assert len(sleep.terms["days_as_levels"].fixed) == 10


def test_nested_pairs_are_tested_and_others_named(sleep):
    table = sleep.tests().set_index(["null", "alternative"])
    lrt = cases.EXACT["lrt"]
    slope = table.loc[("sleepstudy_intercept", "sleepstudy")]
    assert slope.method == "REML"
    assert (slope.chisq, slope.df) == pytest.approx((lrt["sleep_slope_reml"]["chisq"], 2), abs=1e-6)
    assert slope.p_value == pytest.approx(lrt["sleep_slope_reml"]["p"], rel=1e-5)
    assert slope.mixture == "0.5 chi2(1) + 0.5 chi2(2)"
    days = table.loc[("no_days", "sleepstudy")]
    assert (days.method, days.mixture) == ("ML", "")
    assert (days.chisq, days.df) == pytest.approx((lrt["sleep_days"]["chisq"], 1), abs=1e-6)
    # a line lies in the span of the levels' columns
    assert table.loc[("sleepstudy_intercept", "days_as_levels")].df == 8
    assert len(table) == 5
    assert "no_days with days_as_levels" in " ".join(sleep.notes())


def test_the_bootstrap_is_there_on_request(sleep):
    table = sleep.tests(20, 3).set_index(["null", "alternative"])
    assert table.bootstrap.eq(20).all()
    assert table.loc[("sleepstudy_intercept", "sleepstudy")].p_bootstrap == 1 / 21
    again = sleep.tests(20, 3)
    assert again.p_bootstrap.tolist() == table.p_bootstrap.tolist()


def test_models_with_factors_against_lme4():
    formulas = {
        "small": cases.R["comparisons"]["fixed"]["null"],
        "large": cases.R["comparisons"]["fixed"]["alternative"],
        "constant": cases.R["comparisons"]["random"]["null"],
    }
    table = compared(formulas, cases.ROWS)
    ranked = criteria([table]).set_index("model")
    lme4 = cases.R["comparisons"]["fixed"]
    assert ranked.loc[["small", "large"], "AIC"].tolist() == pytest.approx(lme4["AIC"], abs=1e-6)
    assert ranked.loc[["small", "large"], "BIC"].tolist() == pytest.approx(lme4["BIC"], abs=1e-6)
    assert ranked.loc[["small", "large"], "parameters"].tolist() == lme4["parameters"]
    tested = table.tests().set_index(["null", "alternative"])
    random = cases.R["comparisons"]["random"]
    assert tested.loc[("constant", "small")].chisq == pytest.approx(random["chisq"], abs=1e-6)


def test_two_variances_at_once_have_no_known_distribution():
    formulas = {"one": "y ~ x + (1 | g)", "three": "y ~ x + (x + o || g)"}
    (note,) = compared(formulas, cases.ROWS).notes()
    assert "2 more variances" in note


def test_elpds_are_compared_in_pairs():
    """Standard errors of the sum and of the sum of paired differences over groups (Vehtari et al. 2017)."""
    elpds = {"a": np.array([-3.0, -5.0, -4.0, -6.0]), "b": np.array([-2.0, -5.5, -3.0, -5.0])}
    found = elpd.compared(elpds).set_index("model")
    assert found.loc["b", ["elpd", "delta_elpd", "delta_elpd_se"]].tolist() == [-15.5, 0.0, 0.0]
    # variance of (-3, -5, -4, -6) is 1.25; of the differences (-1, 0.5, -1, -1), 0.421875
    assert found.loc["a"].tolist() == pytest.approx([-18.0, np.sqrt(4 * 1.25), -2.5, np.sqrt(4 * 0.421875)])


def test_groups_that_importance_sampling_fails_are_named(monkeypatch, sleep):
    """A Pareto k above the limit, and a fit that failed a gate, are said beside the table."""
    status = SimpleNamespace(status="failed", message="R-hat is 1.2")
    fitted = SimpleNamespace(diagnostics=status), {"posterior": None}
    monkeypatch.setattr(elpd, "fit", lambda *given, **settings: fitted)
    scores = pd.DataFrame({"elpd": [-3.0, -4.0]})
    about = {"high": ["308", "335"], "good_k": 0.7, "largest_k": 0.93}
    monkeypatch.setattr(elpd, "of_model", lambda *given: (scores, about))
    terms = {"sleepstudy": sleep.terms["sleepstudy"]}
    table, notes = elpd.sampled(sleep.moments, terms, {"priors": {"fixed": "auto", "sd": "auto"}}, unread)
    assert notes == [
        "PyMC's fit of sleepstudy: failed: R-hat is 1.2",
        "elpd of sleepstudy: Pareto k is above 0.70 for 308, 335",
    ]
    assert table["largest_pareto_k"].tolist() == [0.93]


def test_models_of_several_factors_are_compared_by_the_levels_that_they_share():
    """With batches of no variance a model of two factors predicts casks as that of one does, through other code."""
    rows = pd.read_csv(REFERENCE / "pastes.csv")
    formulas = {"two": "strength ~ 1 + (1 | batch/cask)", "one": "strength ~ 1 + (1 | cask:batch)"}
    two = model_of(rows, formulas["two"])
    terms = {name: build(parse(text), rows).terms for name, text in formulas.items()}
    cask = terms["one"].group
    assert {own.group for own in terms["two"].groupings} == {"batch", cask}
    sd = {"batch": "half_normal(0.01)", cask: "half_normal(5)"}
    settings = {
        "priors": {"fixed": "auto", "sd": sd, "sigma": "half_normal(5)", "corr": "lkj(2)"}, "chains": 4,
        "tune": 500, "draws": 1000, "seed": 5, "target_accept": 0.9, "sampler": "importance", "conf_level": 0.95,
    }  # fmt: skip

    def read(name):
        return rows_of(build(parse(formulas[name]), rows), rows)

    table, notes = elpd.sampled(two.moments, terms, settings, read)
    assert notes == [f"elpd leaves out the levels of {cask}"]
    # importance sampling of 1,000 and of 4,000 draws: 0.5 is many Monte Carlo errors; batches by themselves give 15
    assert table["delta_elpd"].abs().max() < 0.5
    sd["batch"] = "half_normal(5)"
    free, _ = elpd.sampled(two.moments, terms, settings, read)
    assert (
        abs(free.set_index("model").loc["one", "elpd"] - table.set_index("model").loc["one", "elpd"]) < 1e-9
    )
    apart, why = elpd.sampled(two.moments, terms | {"other": build(parse("strength ~ 1 + (1 | batch)"), rows).terms},
                              settings, read)  # fmt: skip
    assert apart is None and why == ["elpd is left out: the models have no grouping factor in common"]


def unread(name):
    """Rows that must not be read."""
    raise AssertionError(name)


def test_elpd_with_weights_needs_the_rows(monkeypatch):
    """Moments of one factor do not hold the weights of each group."""
    monkeypatch.setattr(loo, "ROWS", 59)
    rows = pd.read_csv(REFERENCE / "pastes.csv").assign(w=np.linspace(0.5, 2.0, 60))
    two = model_of(rows, "strength | weights(w) ~ 1 + (1 | batch/cask)")
    terms = {"casks": build(parse("strength | weights(w) ~ 1 + (1 | cask:batch)"), rows).terms}
    monkeypatch.setattr(elpd, "fit", lambda *given, **settings: (None, {"posterior": None}))
    found, why = elpd.sampled(two.moments, terms, {"priors": {"fixed": "auto", "sd": "auto"}}, unread)
    assert found is None
    assert why == ["elpd is left out: rows have weights, and are more than 20,000"]


def test_a_models_likelihood_of_a_transformed_response_is_one_of_the_response():
    """log(y): sum of the logarithms of 1/y; and a change of unit changes no criterion."""
    rows = pd.read_csv(cases.FILES["sleepstudy"]).astype({"Subject": str})
    data = {"columns": cases.columns(rows), "rows": len(rows), "groups": 18, "sources": ["d.csv"]}
    data["factors"] = [{"group": "Subject", "levels": 18}]
    models = {
        "plain": "Reaction ~ Days + (1 | Subject)",
        "log": "np.log(Reaction) ~ Days + (1 | Subject)",
        "seconds": "I(Reaction / 1000) ~ Days + (1 | Subject)",
        "log_slope": "np.log(Reaction) ~ Days + (Days | Subject)",
    }
    own, others = responses.by_response(models, "Reaction")
    assert [list(own), *map(list, others)] == [["plain"], ["log", "log_slope"], ["seconds"]]
    every = [compared(own, rows), *(responses.transformed(one, data, rows, "drop") for one in others)]
    table = criteria(every).set_index("model")
    # the error of the central difference, 1e-10 per row
    assert every[1].log_derivative == pytest.approx(-np.log(rows.Reaction).sum(), abs=1e-7)
    by_hand = optimum_of(problem_for(every[1].moments, every[1].terms["log"], True), True)
    assert table.logLik["log"] == pytest.approx(
        -0.5 * by_hand.criterion - np.log(rows.Reaction).sum(), abs=1e-7
    )
    assert table.AIC["seconds"] == pytest.approx(table.AIC["plain"], abs=1e-6)
    assert table.weight.sum() == pytest.approx(1.0)
    tested = nested_tests(every)
    assert tested[["null", "alternative"]].to_numpy().tolist() == [["log", "log_slope"]]
    assert "the response is np.log(Reaction)" in every[1].notes()[-1]


def test_the_derivative_is_found_at_0_too():
    """A step relative to the response is none there; y^2 / 2 + 3 y has the derivative y + 3."""
    rows = pd.DataFrame({"y": [0.0, 1.0, -2.0, 5.0], "g": list("aabb")})
    design = build(parse("I(y ** 2 / 2 + 3 * y) ~ 1 + (1 | g)"), rows)
    # a central difference of a parabola is exact but for rounding, 1e-16 / 1e-5
    assert responses.log_derivative(design, rows) == pytest.approx(np.log(3 * 4 * 1 * 8), abs=1e-9)


def test_a_response_that_is_not_smooth_has_no_likelihood_of_the_column():
    rows = pd.read_csv(cases.FILES["sleepstudy"])
    design = build(parse("np.floor(Reaction) ~ Days + (1 | Subject)"), rows)
    with pytest.raises(StudyError, match="no derivative at Reaction = 249"):
        responses.log_derivative(design, rows)


def test_models_may_write_a_grouping_in_another_order(tmp_path):
    """`cask:batch` and `batch:cask` are one factor: the smaller model is nested in the larger one."""
    (tmp_path / "pastes.csv").write_text((REFERENCE / "pastes.csv").read_text())
    study = {
        "formula": "strength ~ 1 + (1 | batch/cask)",
        "data": "pastes.csv",
        "engines": {"reml": {"formula": "strength ~ 1 + (1 | batch) + (1 | batch:cask)"}},
        "models": {"both": "strength ~ 1 + (1 | batch/cask)", "casks": "strength ~ 1 + (1 | batch:cask)"},
        "loo": "batch:cask",
    }
    (study,) = load({"studies": {"pastes": study}}, tmp_path).studies.values()
    assert study.settings.models["casks"] == "strength ~ 1 + (1 | cask:batch)"
    assert study.settings.loo == "cask:batch"
    # models.csv has the formula as it was written
    assert study.written == {"casks": "strength ~ 1 + (1 | batch:cask)"}
    assert Study.from_plain(study.plain()) == study
    rows = pd.read_csv(REFERENCE / "pastes.csv")
    models = study.settings.models
    moments = model_of(rows, models["both"]).moments
    terms = {name: build(parse(text), rows).terms for name, text in models.items()}
    (test,) = Comparison(moments, models, terms).tests().itertuples()
    assert (test.null, test.alternative, test.df) == ("casks", "both", 1)
