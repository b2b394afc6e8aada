"""MixedLM against lme4's printed numbers and exact REML optima, and its known failures detected."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lmm.core.tidy import PARAMETERS, Diagnostics, Fit
from lmm.engines import lme4_summary, mixedlm, mixedlm_layout, random_effects, reml
from lmm.model.design import Terms
from lmm.moments import accumulate

HERE = Path(__file__).parent
COFFEE = json.loads((HERE / "reference" / "coffee.json").read_text())
EXACT = json.loads((HERE / "reference" / "datasets.json").read_text())["fits"] | {
    "coffee": COFFEE["reml_exact"]
}
# file, response, predictor, group, independent random effects
STUDIES = {
    "coffee": (HERE / "reference" / "coffee.csv", "y", "x", "group", False),
    "sleepstudy": (HERE.parent / "config/data/sleepstudy.csv", "Reaction", "Days", "Subject", False),
    "sleepstudy_indep": (HERE.parent / "config/data/sleepstudy.csv", "Reaction", "Days", "Subject", True),
    "dyestuff": (HERE.parent / "config/data/dyestuff.csv", "Yield", None, "Batch", False),
    "dyestuff2": (HERE.parent / "config/data/dyestuff2.csv", "Yield", None, "Batch", False),
    "orthodont": (HERE.parent / "config/data/orthodont.csv", "distance", "age", "Subject", False),
}


def rows(name):
    """Terms, y, W, codes, levels of a study."""
    path, response, predictor, group, independent = STUDIES[name]
    table = pd.read_csv(path)
    names = ("Intercept", predictor) if predictor else ("Intercept",)
    blocks = tuple((term,) for term in names) if independent else (names,)
    W = np.column_stack([np.ones(len(table)), *(table[name] for name in names[1:])])
    codes, levels = pd.factorize(table[group], sort=True)
    y = table[response].to_numpy(float)
    return Terms.one(names, blocks, group, names), y, W, codes, levels.astype(str).to_numpy()


def exact_fit(name, terms):
    """The reference's exact optimum as an engine's tables, with made-up profile intervals."""
    reference = EXACT[name]
    parameters = {term: reference["fixed"][term] for term in terms.fixed}
    parameters |= {f"sd__{term}": reference["sd"][term] for term in terms.random}
    if len(terms.blocks) == 1 and reference["corr"]:
        parameters["cor__" + ".".join(terms.random)] = reference["corr"][0]
    parameters["sd__Observation"] = reference["sigma"]
    table = pd.DataFrame({"term": list(parameters), "estimate": list(parameters.values())})
    table["effect"] = ["fixed"] * len(terms.fixed) + ["ran_pars"] * (len(table) - len(terms.fixed))
    table["group"] = (
        [""] * len(terms.fixed) + [terms.group] * (len(table) - len(terms.fixed) - 1) + ["Residual"]
    )
    table["conf_low"], table["conf_high"] = table["estimate"] - 0.25, table["estimate"] + 0.5
    table["df"] = np.inf
    about = Diagnostics("reml", criterion=reference["criterion"], df="normal")
    return Fit("reml", table.reindex(columns=PARAMETERS), None, about)


@pytest.fixture(scope="module")
def coffee():
    data = rows("coffee")
    return data, mixedlm.fit(*data, reml=exact_fit("coffee", data[0]))


def estimates(fit):
    return fit.parameters.set_index("term")["estimate"]


def test_every_number_that_the_post_prints(coffee):
    _, fit = coffee
    printed, summary = COFFEE["lmer_printed_by_the_post"], fit.diagnostics.summary
    intercept, x, residual = summary["variances"]
    fixed = fit.parameters.set_index("term")
    assert round(fit.diagnostics.criterion, 1) == printed["reml_criterion"]
    assert [round(q, 5) for q in summary["scaled_residuals"]] == printed["scaled_residuals"]
    assert (round(intercept["variance"], 3), round(intercept["sd"], 3)) == (81.453, printed["sd_intercept"])
    assert (round(x["variance"], 4), round(x["sd"], 3)) == (printed["var_x"], printed["sd_x"])
    assert (round(residual["variance"], 4), round(residual["sd"], 3)) == (
        printed["var_residual"],
        printed["sd_residual"],
    )
    assert round(x["corr"][0], 2) == printed["corr"]
    assert round(summary["corr_fixed"][0][1], 3) == printed["corr_fixed"]
    assert round(summary["variance_explained"]["post"], 6) == printed["variance_explained"]
    for term, (estimate, error, t) in printed["fixed"].items():
        row = fixed.loc[term]
        # statsmodels' joint-Hessian standard error differs from lme4's in the fourth digit
        # (docs/statistics.md, section 4): 0.09714 for 0.09713, so two units of the last
        # printed digit, and the same share of t
        assert round(row["estimate"], 5) == estimate
        assert row["std_error"] == pytest.approx(error, abs=2e-5)
        assert row["statistic"] == pytest.approx(t, rel=2e-4)
    mine = random_effects.wide(fit.ranef, [str(k) for k in range(1, 11)], ["Intercept", "x"])
    # lme4 itself stops 4e-6 (relative) short of the optimum: 1e-6 of the intercepts' sd
    np.testing.assert_allclose(mine, printed["ranef_first_10"], atol=1e-5)
    coef = random_effects.wide(random_effects.coef(fit.parameters, fit.ranef), ["1"], ["Intercept", "x"])
    np.testing.assert_allclose(coef[0], printed["coef_group_1"], atol=1e-5)


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "dyestuff2"])
def test_a_warm_start_confirms_the_exact_optimum(name):
    data = rows(name)
    fit = mixedlm.fit(*data, reml=exact_fit(name, data[0]))
    reference, ours = EXACT[name], estimates(fit)
    assert fit.diagnostics.status == "ok", fit.diagnostics.message
    assert fit.diagnostics.summary["reml_gap"]["reached"]
    # 1e-6: sums of at most 1000 squares in another order
    assert fit.diagnostics.criterion == pytest.approx(reference["criterion"], abs=1e-6)
    # 1e-5 is asked for; what statsmodels stops at from the optimum itself is its start
    for term, sd in reference["sd"].items():
        assert ours[f"sd__{term}"] == pytest.approx(sd, rel=1e-5)
    assert ours["sd__Observation"] == pytest.approx(reference["sigma"], rel=1e-5)
    for term, value in reference["fixed"].items():
        assert ours[term] == pytest.approx(value, rel=1e-5)
    levels = list(reference["ranef"])
    mine = random_effects.wide(fit.ranef, levels, data[0].random)
    # 1e-6 of the reference or of 1e-3 sigma: the size that a difference in a group's effect could matter at
    expected = np.array(list(reference["ranef"].values()))
    np.testing.assert_allclose(mine, expected, rtol=1e-6, atol=1e-9 * reference["sigma"])
    correlation = [term for term in ours.index if term.startswith("cor__")]
    assert len(correlation) == (len(data[0].blocks[0]) == 2)


def test_another_optimum_than_remls_is_told_and_gets_no_profile_intervals():
    data = rows("orthodont")
    exact = exact_fit("orthodont", data[0])
    assert mixedlm.fit(*data).diagnostics.summary["reml_gap"] is None
    off = exact.parameters.assign(estimate=exact.parameters["estimate"] * 1.001)
    start = mixedlm.Start.of(exact, data[0])
    fit = mixedlm.fit(*data, reml=Fit("reml", off, None, exact.diagnostics), start=start)
    gap = fit.diagnostics.summary["reml_gap"]
    assert not gap["reached"]
    assert gap["sd"] == pytest.approx(1 - 1 / 1.001, rel=1e-6)  # statsmodels stays where it starts
    spread = fit.parameters[fit.parameters["effect"] == "ran_pars"]
    assert spread[["conf_low", "conf_high"]].isna().all(axis=None)


def test_profile_intervals_are_remls(coffee):
    data, fit = coffee
    spread = fit.parameters[fit.parameters["effect"] == "ran_pars"]
    reml = exact_fit("coffee", data[0]).parameters.set_index("term").loc[spread["term"]]
    np.testing.assert_array_equal(spread["conf_low"], reml["conf_low"])
    np.testing.assert_array_equal(spread["conf_high"], reml["conf_high"])
    assert spread["std_error"].isna().all()


def test_wald_interval_uses_the_normal_quantile(coffee):
    data, fit = coffee
    row = fit.parameters.set_index("term").loc["x"]
    assert row["conf_high"] - row["estimate"] == pytest.approx(
        1.959963984540054 * row["std_error"], rel=1e-12
    )
    wide = mixedlm.fit(*data, reml=exact_fit("coffee", data[0]), conf_level=0.99)
    other = wide.parameters.set_index("term").loc["x"]
    assert other["conf_high"] - row["estimate"] == pytest.approx(
        2.5758293035489004 * row["std_error"], rel=1e-9
    )


def test_prediction_errors_by_dense_matrices(coffee):
    """V_j, and the prediction error with beta's share, against Henderson's equations written out densely."""
    terms, y, W, codes, levels = rows("sleepstudy")
    fit = mixedlm.fit(terms, y, W, codes, levels, reml=exact_fit("sleepstudy", terms))
    values, J = estimates(fit), len(levels)
    sd = values[["sd__Intercept", "sd__Days"]].to_numpy()
    cor = values["cor__Intercept.Days"]
    D = np.outer(sd, sd) * np.array([[1, cor], [cor, 1]])
    Z = np.zeros((len(y), 2 * J))
    for row, code in enumerate(codes):
        Z[row, 2 * code : 2 * code + 2] = W[row]
    C = np.hstack([W, Z])
    mme = C.T @ C / values["sd__Observation"] ** 2
    mme[2:, 2:] += np.kron(np.eye(J), np.linalg.inv(D))
    # 1e-8: a 38 x 38 system with condition number near 1e5
    np.testing.assert_allclose(fit.ranef["std_error"], np.sqrt(np.diag(np.linalg.inv(mme))[2:]), rtol=1e-8)
    np.testing.assert_allclose(fit.ranef["cond_sd"], np.sqrt(np.diag(np.linalg.inv(mme[2:, 2:]))), rtol=1e-8)
    solution = np.linalg.solve(mme, C.T @ y / values["sd__Observation"] ** 2)
    np.testing.assert_allclose(fit.ranef["estimate"], solution[2:], rtol=1e-6, atol=1e-6)


def test_coef_is_fixef_plus_ranef_in_statsmodels_own_predictions(coffee):
    (terms, _, W, codes, levels), fit = coffee
    # 1e-9: y is of size 30, twenty operations a row
    assert fit.diagnostics.summary["coef_identity_max_error"] < 1e-9
    own = [levels[codes]]
    wrong = fit.ranef.assign(estimate=fit.ranef["estimate"] + 0.01)
    fitted = random_effects.predict(fit.parameters, fit.ranef, terms, W, own)["conditional"].to_numpy()
    assert lme4_summary.identity_error(fit.parameters, wrong, terms, W, own, fitted) > 0.009


def test_prediction_for_old_and_new_groups(coffee):
    (terms, *_), fit = coffee
    new = np.array([[1.0, 2.0], [1.0, 2.0]])
    out = random_effects.predict(fit.parameters, fit.ranef, terms, new, [["1", "a new group"]])
    printed = COFFEE["lmer_printed_by_the_post"]
    # the post's printed coef of group 1 and fixed effects, at x = 2; 1e-5 as above, times 1 + 2
    assert out["conditional"][0] == pytest.approx(printed["coef_group_1"] @ new[0], abs=3e-5)
    assert out["conditional"][1] == out["fixed"][1] == pytest.approx(4.1114100 + 2 * 0.4683532, abs=3e-5)


def test_a_boundary_optimum_is_singular_and_not_an_error():
    data = rows("dyestuff2")
    fit = mixedlm.fit(*data, reml=exact_fit("dyestuff2", data[0]))
    details = fit.diagnostics
    assert (details.status, details.singular, details.converged) == ("singular", True, True)
    ours = estimates(fit)
    assert ours["sd__Intercept"] < 1e-4 * ours["sd__Observation"]
    assert ours["Intercept"] == pytest.approx(
        5.6656, rel=1e-6
    )  # the mean of a balanced design, whatever D is
    # the start is kept 1.1e-5 sigma from the boundary, which costs 1e-9 in the criterion
    assert details.criterion == pytest.approx(EXACT["dyestuff2"]["criterion"], abs=1e-7)
    assert any("boundary" in word for word in details.warnings)


def test_the_units_of_a_predictor_do_not_decide_the_fit():
    terms, y, W, codes, levels = rows("coffee")
    for unit in (1e-8, 1e8):
        scaled = W * np.array([1.0, unit])
        exact = exact_fit("coffee", terms)
        by_unit = exact.parameters["term"].map({"x": 1 / unit, "sd__x": 1 / unit}).fillna(1.0)
        table = exact.parameters.assign(estimate=exact.parameters["estimate"] * by_unit)
        # X with a column times c: log|X'V^-1 X| is 2 log c more
        criterion = EXACT["coffee"]["criterion"] + 2 * np.log(unit)
        details = Diagnostics("reml", criterion=criterion, df="normal")
        fit = mixedlm.fit(terms, y, scaled, codes, levels, reml=Fit("reml", table, None, details))
        assert fit.diagnostics.status == "ok"  # unscaled, a slope variance of 1e-16 would trip issue #10239
        # 1e-5: as for the warm start; the powers of 2 nearest to 1e8 leave other roundings
        assert estimates(fit)["sd__x"] * unit == pytest.approx(EXACT["coffee"]["sd"]["x"], rel=1e-5)


def test_issue_10239_is_caught(monkeypatch):
    """A variance below 1e-10: statsmodels returns an intercept of exactly 0 and says converged."""
    monkeypatch.setattr(mixedlm_layout, "FLOOR", 1e-12)
    terms, y, W, codes, levels = rows("dyestuff2")
    start = mixedlm.Start(np.array([5.6656]), [np.array([[0.0]])], 3.7157)
    fit = mixedlm.fit(terms, y, W, codes, levels, start=start)
    assert estimates(fit)["Intercept"] == 0.0  # the bug is there: else this test says nothing
    assert fit.diagnostics.status == "non-converged"
    assert not fit.diagnostics.converged
    assert "#10239" in fit.diagnostics.message


def test_a_stop_of_statsmodels_is_data(monkeypatch):
    monkeypatch.setattr(mixedlm_layout, "FLOOR", 0.0)
    start = mixedlm.Start(np.array([5.6656]), [np.array([[0.0]])], 3.7157)
    fit = mixedlm.fit(*rows("dyestuff2"), start=start)
    assert fit.diagnostics.status == "error"
    assert "ingular" in fit.diagnostics.message
    assert list(fit.parameters.columns) == PARAMETERS


def test_too_large_a_study_is_skipped_with_the_limit_named():
    data = rows("dyestuff")
    fit = mixedlm.fit(*data, max_groups=5)
    assert fit.diagnostics.status == "skipped"
    assert fit.diagnostics.message == "6 groups are above max_groups = 5"
    assert mixedlm.fit(*data, max_rows=29).diagnostics.message.endswith("max_rows = 29")
    assert len(fit.parameters) == len(fit.ranef) == 0


def test_truth_is_beside_every_estimate():
    terms, *data = rows("dyestuff")
    truth = {"fixed": {"Intercept": 1500}, "sd": {"Intercept": 40}, "corr": {}, "sigma": 50}
    truth["ranef"] = {"Intercept": {"A": -10.0}}
    fit = mixedlm.fit(terms, *data, truth=truth)
    assert fit.parameters["truth"].tolist() == [1500, 40, 50]
    assert fit.ranef["truth"].dropna().tolist() == [-10.0]
    assert fit.ranef["level"].tolist() == list("ABCDEF")


@pytest.fixture(scope="module")
def three():
    """Three random effects in two blocks, a fixed effect that none varies, a predictor like a year."""
    rng = np.random.default_rng(5)
    n, groups = 400, 25
    codes = np.concatenate([np.arange(groups), rng.integers(0, groups, n - groups)])
    year, z, v = 2000 + 20 * rng.normal(size=n), rng.normal(size=n), rng.normal(size=n)
    u = rng.normal(size=(groups, 3)) * [2.0, 0.1, 0.5]
    y = 1 + v + 0.1 * (year - 2000) + u[codes, 0] + u[codes, 1] * (year - 2000) + u[codes, 2] * z
    terms = Terms.one(
        ("Intercept", "year", "v"), (("Intercept", "year"), ("z",)), "g", ("Intercept", "year", "z", "v")
    )
    W = np.column_stack([np.ones(n), year, z, v])
    levels = np.array([f"g{j:02}" for j in range(groups)])
    return terms, y + rng.normal(size=n), W, codes, levels


def test_rows_and_moments_agree_on_a_general_model(three):
    terms = three[0]
    exact, _ = reml.fit(accumulate.compute(*three), terms.fixed, terms.blocks)
    fit = mixedlm.fit(*three, reml=exact)
    assert fit.diagnostics.status == "ok"
    assert fit.diagnostics.summary["reml_gap"]["reached"]
    assert fit.parameters["term"].tolist() == exact.parameters["term"].tolist()
    # 1e-6 of 1500: a predictor 100 times farther from 0 than it is wide costs four digits
    assert fit.diagnostics.criterion == pytest.approx(exact.diagnostics.criterion, abs=1e-6)
    # two codes, one over rows and one over moments, at the same estimates
    np.testing.assert_allclose(fit.ranef["std_error"], exact.ranef["std_error"], rtol=1e-6)
    np.testing.assert_allclose(fit.ranef["cond_sd"], exact.ranef["cond_sd"], rtol=1e-6)
    np.testing.assert_allclose(fit.ranef["estimate"], exact.ranef["estimate"], rtol=1e-6, atol=1e-6)
    assert fit.parameters["conf_low"].notna().all()
    assert [row["corr"] for row in fit.diagnostics.summary["variances"]][2] == []


def test_a_stop_far_from_the_optimum_is_not_called_good(three):
    """statsmodels' default start, D = I in its units; it stops far above the minimum and says converged."""
    terms = three[0]
    exact, _ = reml.fit(accumulate.compute(*three), terms.fixed, terms.blocks)
    start = mixedlm.Start(np.zeros(3), [np.diag([1.0, 2048.0**-2, 1.0])], 1.0)
    details = mixedlm.fit(*three, reml=exact, start=start).diagnostics
    assert details.summary["reml_gap"]["criterion"] > 1.0
    assert not details.summary["reml_gap"]["reached"]
    assert details.status == "non-converged"
    assert "above the exact REML criterion" in details.message


def test_a_cold_start_on_the_coffee_data_ends_near_the_optimum_and_says_how_near(coffee):
    data, _ = coffee
    start = mixedlm.Start(np.zeros(2), [np.eye(2)], 1.0)
    details = mixedlm.fit(*data, reml=exact_fit("coffee", data[0]), start=start).diagnostics
    gap = details.summary["reml_gap"]
    assert details.status == "ok"
    # MixedLM's default on these data is 4e-6 to 4e-4 off in the sd's (docs/statistics.md, section 3)
    assert 4e-6 < gap["sd"] < 4e-4
    assert 0 < gap["criterion"] < 1e-4


@pytest.mark.parametrize("method", ["satterthwaite", "kenward-roger", "normal"])
def test_degrees_of_freedom_are_remls_at_the_same_optimum(method):
    data = rows("sleepstudy")
    exact, _ = reml.fit(accumulate.compute(*data), data[0].fixed, data[0].blocks, df=method)
    fit = mixedlm.fit(*data, reml=exact)
    found, expected = (f.parameters[f.parameters["effect"] == "fixed"] for f in (fit, exact))
    assert fit.diagnostics.summary["reml_gap"]["reached"]
    np.testing.assert_array_equal(found["df"], expected["df"])
    # statsmodels' standard errors are of its joint Hessian, Kenward and Roger's are reml's
    rtol = 1e-12 if method == "kenward-roger" else 1e-4
    np.testing.assert_allclose(found["std_error"], expected["std_error"], rtol=rtol)
    np.testing.assert_allclose(found["conf_low"], expected["conf_low"], rtol=1e-4)
    np.testing.assert_allclose(found["p_value"], expected["p_value"], rtol=1e-2)
    said = fit.diagnostics.intervals["fixed"]
    assert {"satterthwaite": "Satterthwaite", "kenward-roger": "Kenward", "normal": "Wald (z)"}[
        method
    ] in said


def test_another_optimum_has_statsmodels_own_z():
    data = rows("sleepstudy")
    fit = mixedlm.fit(*data)
    fixed = fit.parameters[fit.parameters["effect"] == "fixed"]
    assert np.isinf(fixed["df"]).all()
    assert "Wald (z)" in fit.diagnostics.intervals["fixed"]


def judged(converged=True, smallest=1.0, off=0.0, error=0.2, warned=(), gap=None, lost=()):
    """What is said of a fit of one fixed effect and one variance with sigma 2."""
    about = Diagnostics("mixedlm", warnings=list(warned), unidentified=list(lost))
    fitted = SimpleNamespace(
        converged=converged, scale=4.0, fe_params=np.array([1.0]), bse_fe=np.array([error])
    )
    given = SimpleNamespace(beta=np.array([1.0 - off]), beta_se=np.array([0.2]))
    found = None if gap is None else {"criterion": gap}
    layout = SimpleNamespace(fixed=("x",))
    mixedlm._judge(about, fitted, layout, [np.array([[4.0 * smallest]])], given, found)
    return about.status, about.singular, about.converged, about.message


@pytest.mark.parametrize(
    ("given", "status", "singular", "said"),
    [
        ({}, "ok", False, ""),
        ({"converged": False}, "non-converged", False, "did not converge"),
        # singular: below 1e-4 residual sd's
        ({"smallest": 1.01e-8}, "ok", False, ""),
        ({"smallest": 0.99e-8}, "singular", True, "SD of 0.000099 residual SDs"),
        ({"smallest": -1e-20}, "singular", True, "SD of 0.000000 residual SDs"),
        # fixed effects that differ by a thousandth of a standard error
        ({"off": 1.9e-4}, "ok", False, ""),
        ({"off": -2.1e-4}, "non-converged", False, "its fixed effects (x) are wrong"),
        ({"error": np.nan}, "non-converged", False, "its fixed effects (standard errors) are wrong"),
        ({"off": 1.0, "smallest": 1.1e-10}, "non-converged", True, "its fixed effects (x) are wrong"),
        ({"off": 1.0, "smallest": 0.9e-10}, "non-converged", True, "issue #10239"),
        ({"warned": ["not positive definite"]}, "non-converged", False, "not that of an optimum"),
        ({"warned": ["not positive definite"], "smallest": 0.0}, "singular", True, "on the boundary"),
        ({"warned": ["slow"]}, "ok", False, ""),
        ({"gap": 0.0099}, "ok", False, ""),
        ({"gap": 0.0101}, "non-converged", False, "it stopped 0.0101 above the exact REML criterion"),
        ({"lost": ["sd__x"]}, "unidentified", False, "sd__x"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_stop(given, status, singular, said):
    found = judged(**given)
    reasons = status == "non-converged"
    assert found[:3] == (status, singular, not reasons)
    assert said in found[3] and bool(found[3]) == bool(said)
    assert ("#10239" in found[3]) == ("#10239" in said)
    assert ("statsmodels says converged" in found[3]) == reasons


def test_the_distance_from_the_exact_optimum():
    """Relative to the exact sd, or to a thousandth of sigma in the effect's own unit; both 0 are the same."""
    factor = SimpleNamespace(group="g", random=("x",), unit=np.array([4.0]))
    layout = SimpleNamespace(factors=[factor])
    keys = [("g", "sd__x"), ("Residual", "sd__Observation")]

    def table(sd, sigma):
        return pd.DataFrame(keys, columns=["group", "term"]).assign(estimate=[sd, sigma])

    def gap(ours, sigma, sd, off=0.0):
        exact = Fit("reml", table(sd, 2.0), None, Diagnostics("reml", criterion=-50.0))
        return mixedlm._gap(table(ours, sigma), off - 50.0, exact, layout)

    assert gap(0.303, 2.0, 0.3)["sd"] == pytest.approx(0.01, rel=1e-9)
    assert gap(0.3, 1.9, 0.3)["sd"] == pytest.approx(0.05, rel=1e-9)
    # 4 x 0.00006 is above 1e-4 sigma, and 2 / 4 / 1000 is the least sd that anything is relative to
    assert gap(6e-5, 2.0, 0.0)["sd"] == pytest.approx(6e-5 / 5e-4, rel=1e-9)
    assert gap(4.9e-5, 2.0, 1e-5)["sd"] == 0.0
    assert gap(0.3, 2.0, 0.3, 0.25)["criterion"] == 0.25
    # the same optimum: sd's to 1e-5, the criterion of 50 to 1e-6 of it
    assert gap(0.3 * (1 - 0.99e-5), 2.0, 0.3, -4.9e-5)["reached"]
    assert not gap(0.3 * (1 - 1.01e-5), 2.0, 0.3)["reached"]
    assert not gap(0.3, 2.0, 0.3, -5.1e-5)["reached"]
