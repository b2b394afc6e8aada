"""Recovery table, differences of the random effects and verdict, on tables small enough to check by eye."""

import numpy as np
import pandas as pd
import pytest

from lmm.comparison import engines
from lmm.core.columns import RANEF
from lmm.core.store import read_table, write_table
from lmm.core.tidy import PARAMETERS, Diagnostics, Fit

TRUTH = {
    "fixed": {"Intercept": 3.0},
    "sd": {"Intercept": 2.0, "x": 0.0},
    "corr": {"Intercept.x": 0.0},
    "sigma": 1.0,
    "realised": {"sd": {"Intercept": 1.9, "x": 0.0}, "corr": {"Intercept.x": 0.2}, "sigma": 0.97},
}


def engine(name, rows, ranef=None, **diagnostics):
    """A Fit from rows (effect, term, estimate, low, high, truth) and effects {(level, term): (..., mcse)}."""
    table = pd.DataFrame(rows, columns=["effect", "term", "estimate", "conf_low", "conf_high", "truth"])
    table["group"] = np.where(table["effect"] == "fixed", "", "g")
    table = table.assign(engine=name).reindex(columns=PARAMETERS)
    effects = None
    if ranef is not None:
        effects = (
            pd.DataFrame(
                [(*key, *values) for key, values in ranef.items()],
                columns=["level", "term", "estimate", "conf_low", "conf_high", "truth", "mcse_mean"],
            )
            .assign(group="g")
            .reindex(columns=[*RANEF, *["mcse_mean"] * (name == "pymc")])
        )
    return Fit(name, table, effects, Diagnostics(name, **diagnostics))


@pytest.fixture
def fits():
    nan = np.nan
    ols = engine(
        "ols", [("fixed", "Intercept", 3.4, 3.1, 3.7, 3.0), ("ran_pars", "sd__Observation", 5, 4, 6, 1.0)]
    )
    rows = [
        ("fixed", "Intercept", 3.2, 2.8, 3.6, 3.0),
        ("ran_pars", "sd__Intercept", 2.2, 1.8, 2.9, 2.0),
        ("ran_pars", "sd__x", 0.1, 0.0, 0.3, 0.0),
        ("ran_pars", "cor__Intercept.x", 0.5, nan, nan, 0.0),
        ("ran_pars", "sd__Observation", 1.1, 1.02, 1.2, 1.0),
    ]
    # b comes first, as in the source; a's interval misses its truth
    mixedlm = engine("mixedlm", rows, {
        ("b", "Intercept"): (1.0, 0.5, 1.5, 1.2, nan), ("a", "Intercept"): (-2.0, -2.5, -1.5, -3.0, nan),
    }, summary={"reml_gap": {"reached": True}})  # fmt: skip
    reml = engine("reml", rows, {
        ("b", "Intercept"): (1.001, 0.5, 1.5, 1.2, nan), ("a", "Intercept"): (-2.002, -2.5, -1.5, -3.0, nan),
    })  # fmt: skip
    pymc = engine("pymc", [row for row in rows if not row[1].startswith("cor")], {
        ("a", "Intercept"): (-2.03, -2.5, -1.5, -3.0, 0.002),
        ("b", "Intercept"): (1.01, 0.5, 1.5, 1.2, 0.004),
    }, gates=[{"name": "R-hat", "value": 1.02, "limit": 1.01, "passed": False},
              {"name": "divergences", "value": 0, "limit": 0, "passed": True}])  # fmt: skip
    return {"pymc": pymc, "ols": ols, "mixedlm": mixedlm, "reml": reml}


def test_recovery_table(fits, tmp_path):
    explained = pd.DataFrame(
        [("pymc", "", "post", 0.8, 0.7, 0.9, 0.75), ("mixedlm", "", "post", 0.82, np.nan, np.nan, 0.75)],
        columns=["engine", "group", "measure", "estimate", "conf_low", "conf_high", "truth"],
    )
    table = engines.variance_recovery(fits, TRUTH, explained).set_index("term")
    assert table.index.tolist() == [
        "sd__Intercept", "sd__x", "sd__Observation", "cor__Intercept.x", "variance_explained__post",
    ]  # fmt: skip
    assert table["truth"].tolist() == [2.0, 0.0, 1.0, 0.0, 0.75]
    assert table["realised"].tolist()[:4] == [1.9, 0.0, 0.97, 0.2]
    row = table.loc["sd__Intercept"]
    assert row["mixedlm_error"] == pytest.approx(0.2)
    assert row["mixedlm_relative_error"] == pytest.approx(0.1)
    # an interval from 0 on holds a truth of 0
    assert table["mixedlm_covered"].tolist() == [
        True,
        True,
        False,
        pd.NA,
        pd.NA,
    ]
    assert np.isnan(table.loc["sd__x", "mixedlm_relative_error"])  # not infinity
    assert table.loc["sd__Observation", "ols_error"] == 4.0
    assert np.isnan(table.loc["sd__Intercept", "ols_estimate"])
    assert np.isnan(table.loc["cor__Intercept.x", "pymc_estimate"])
    assert table.loc["variance_explained__post", "pymc_covered"]
    assert [name for name in table.columns if name.endswith("_estimate")] == [
        "ols_estimate", "mixedlm_estimate", "reml_estimate", "pymc_estimate",
    ]  # fmt: skip
    write_table(tmp_path / "t.csv", table.reset_index())
    again = read_table(tmp_path / "t.csv").set_index("term")
    assert again["mixedlm_covered"].isna().sum() == 2  # empty cells, neither covered nor not


def test_own_data_have_no_truth_to_miss(fits):
    own = {
        name: Fit(name, fit.parameters.assign(truth=np.nan), fit.ranef, fit.diagnostics)
        for name, fit in fits.items()
    }
    table = engines.variance_recovery(own, None)
    assert table[["truth", "realised", "reml_error", "reml_relative_error"]].isna().all(axis=None)
    assert table["reml_covered"].isna().all()
    assert table["reml_estimate"].notna().all()
    recovered = engines.verdict(own, None, 0.95)["engines"]["reml"]
    assert recovered["n_judged"] == 0
    assert set(recovered["recovered"].values()) == {None}


def test_differences_keep_the_order_and_match_groups_by_name(fits):
    own = pd.DataFrame({"Intercept": [-2.2, np.nan]}, index=["a", "b"])
    table = engines.ranef_differences(fits, {"g": own})
    assert table.columns.tolist()[:7] == ["group", "level", "term", "mixedlm", "pymc", "difference", "mcse"]
    assert table["level"].tolist() == ["b", "a"]
    assert table["difference"].tolist() == pytest.approx([-0.01, 0.03])
    assert table["mcse"].tolist() == [0.004, 0.002]
    assert table["reml"].tolist() == [1.001, -2.002]
    assert table["truth"].tolist() == [1.2, -3.0]
    # a's own effect, as it is given; b's is not determined
    assert table["no_pooling"].tolist() == pytest.approx([np.nan, -2.2], nan_ok=True)
    assert set(table["difference_of"]) == {"mixedlm - pymc"}


@pytest.mark.parametrize(
    "there, pair",
    [
        (["reml", "pymc"], "reml - pymc"),
        (["mixedlm", "reml"], "mixedlm - reml"),
        (["ols", "pymc"], ""),
        (["ols"], ""),
    ],
)
def test_absent_engines_leave_empty_columns(fits, there, pair):
    some = {name: fits[name] for name in there}
    table = engines.ranef_differences(some)
    absent = [name for name in ("mixedlm", "reml", "pymc") if name not in there]
    assert table[absent].isna().all(axis=None)
    assert set(table["difference_of"]) <= {pair}
    assert table["difference"].isna().all() == (pair == "")
    assert engines.verdict(some, table, 0.95)["ranef_difference"].keys() == ({"Intercept"} if pair else set())


def test_a_skipped_engine_counts_as_absent(fits):
    fit = fits["mixedlm"]
    empty = Fit("mixedlm", fit.parameters[:0], fit.ranef[:0], Diagnostics("mixedlm", "skipped"))
    some = fits | {"mixedlm": empty}
    assert engines.pair(some) == ("reml", "pymc")
    assert engines.variance_recovery(some, TRUTH)["mixedlm_estimate"].isna().all()
    verdict = engines.verdict(some, engines.ranef_differences(some), 0.95)
    assert verdict["engines"]["mixedlm"]["status"] == "skipped"
    assert verdict["reml_gap"] is None


def test_verdict(fits):
    verdict = engines.verdict(fits, engines.ranef_differences(fits), 0.95)
    assert "95 % interval covers" in verdict["definition"]
    mixedlm, pymc = verdict["engines"]["mixedlm"], verdict["engines"]["pymc"]
    assert mixedlm["recovered"] == {
        "Intercept": True, "sd__Intercept": True, "sd__x": True, "cor__Intercept.x": None,
        "sd__Observation": False,
    }  # fmt: skip
    assert (mixedlm["n_recovered"], mixedlm["n_judged"]) == (3, 4)
    assert mixedlm["gates_passed"] is None
    assert (pymc["gates_passed"], pymc["gates_failed"]) == (False, ["R-hat"])
    assert mixedlm["ranef_coverage"] == {"Intercept": 0.5}
    assert verdict["engines"]["ols"]["recovered"] == {"Intercept": False, "sd__Observation": False}
    largest = verdict["ranef_difference"]["Intercept"]
    assert (largest["level"], largest["engines"]) == ("a", "mixedlm - pymc")
    assert largest["in_sigma"] == pytest.approx(0.03 / 1.1)
    assert largest["in_mcse"] == pytest.approx(15.0)
    assert verdict["reml_gap"] == {"reached": True}
