"""OLS against R's printed and full-precision numbers, and against independent least squares."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lmm.core.errors import StudyError
from lmm.engines import ols
from lmm.moments.basis import Basis
from lmm.moments.moments import Moments

REFERENCE = Path(__file__).parent / "reference"
COFFEE = json.loads((REFERENCE / "coffee.json").read_text())


@pytest.fixture(scope="module")
def coffee():
    table = pd.read_csv(REFERENCE / "coffee.csv")
    codes, levels = pd.factorize(table["group"], sort=True)
    X = np.column_stack([np.ones(len(table)), table["x"]])
    y = table["y"].to_numpy()
    moments = moments_of(y, X[:, 1:], ["x"], codes)
    return SimpleNamespace(y=y, X=X, codes=codes, levels=levels.astype(str), moments=moments)


def moments_of(y, W, names, codes, n_random=None):
    """Moments by plain sums, in a basis of the test's own choosing and after an arbitrary pilot fit."""
    m = W.shape[1]
    center, scale, pilot = np.full(m, 0.3), np.full(m, 1.7), np.arange(1.0, m + 2)
    pilot[0] = pilot[1:] @ (center / scale)  # in the columns' span also where there is no constant
    E = np.column_stack([np.ones(len(y)), (W - center) / scale])
    E = np.column_stack([E, (y - E @ pilot) / 2.5])
    gram = np.array([E[codes == j].T @ E[codes == j] for j in range(codes.max() + 1)])
    n_random = m if n_random is None else n_random
    basis = Basis(tuple(names), n_random, center, scale, pilot, 2.5)
    levels = np.array([str(j) for j in range(len(gram))], dtype=object)
    return Moments("g", levels, np.bincount(codes), gram[:, : n_random + 1], gram.sum(axis=0), basis)


def digits(value, printed):
    """`value` rounded to the digits that the reference shows."""
    text = repr(printed)
    places = len(text.split(".")[1]) if "." in text else 0
    return round(value, places)


def test_every_number_of_r_summary_lm_to_its_printed_digits(coffee):
    summary = ols.fit(["Intercept", "x"], coffee.y, coffee.X).diagnostics.summary
    intercept, x = summary["coefficients"]
    ours = {
        "intercept": intercept["estimate"],
        "intercept_se": intercept["std_error"],
        "intercept_t": intercept["statistic"],
        "x": x["estimate"],
        "x_se": x["std_error"],
        "x_t": x["statistic"],
        "x_p": x["p_value"],
        "residual_se": summary["sigma"],
        "df_resid": summary["df_resid"],
        "r2": summary["r2"],
        "adj_r2": summary["adj_r2"],
        "f": summary["f"],
        "f_p": summary["f_p"],
    }
    expected = {key: value for key, value in COFFEE["ols"].items() if key != "residual_quantiles"}
    assert {key: digits(value, expected[key]) for key, value in ours.items()} == expected
    quantiles = COFFEE["ols"]["residual_quantiles"]
    assert [digits(a, b) for a, b in zip(summary["residual_quantiles"], quantiles, strict=True)] == quantiles
    assert summary["f_df"] == [1, 998]


def test_moments_give_the_same_numbers_and_say_what_is_missing(coffee):
    rows = ols.fit(["Intercept", "x"], coffee.y, coffee.X)
    moments = ols.fit(["Intercept", "x"], moments=coffee.moments)
    # 1e-9: 1000 rows of well-conditioned sums lose at most four of float64's sixteen digits
    a, b = (f.parameters[["estimate", "std_error", "conf_low", "conf_high"]] for f in (rows, moments))
    np.testing.assert_allclose(a, b, rtol=1e-9)
    for key in ("sigma", "r2", "adj_r2", "f", "f_p"):
        assert moments.diagnostics.summary[key] == pytest.approx(rows.diagnostics.summary[key], rel=1e-9)
    assert moments.diagnostics.summary["residual_quantiles"] is None
    assert "moments" in moments.diagnostics.summary["left_out"]["residual_quantiles"]
    assert rows.diagnostics.summary["left_out"] == {}


def test_without_an_intercept_r2_and_f_compare_with_zero():
    # R: x <- 1:5; y <- c(2.1, 3.9, 6.2, 7.8, 10.1); summary(lm(y ~ 0 + x)); by hand: b = sum(xy)/sum(x^2)
    x, y = np.arange(1.0, 6.0), np.array([2.1, 3.9, 6.2, 7.8, 10.1])
    summary = ols.fit(["x"], y, x[:, None]).diagnostics.summary
    slope = (x @ y) / (x @ x)
    rss = np.sum((y - slope * x) ** 2)
    # 1e-12: the same few sums in another order
    assert summary["r2"] == pytest.approx(1 - rss / (y @ y), rel=1e-12)
    assert summary["adj_r2"] == pytest.approx(1 - (1 - summary["r2"]) * 5 / 4, rel=1e-12)
    assert summary["f"] == pytest.approx((y @ y - rss) / (rss / 4), rel=1e-9)  # 1 - R^2 is 3e-4: 4 digits go
    assert summary["f_df"] == [1, 4]
    moments = moments_of(y, x[:, None], ["x"], np.array([0, 0, 0, 1, 1]))
    from_moments = ols.fit(["x"], moments=moments).diagnostics.summary
    assert from_moments["f"] == pytest.approx(summary["f"], rel=1e-9)


def test_intercept_alone_has_no_f_and_the_t_interval_of_a_mean():
    y = np.array([4.0, 6.0, 5.0, 9.0])
    fit = ols.fit(["Intercept"], y, np.ones((4, 1)), truth={"fixed": {"Intercept": 5.0}, "sigma": 2.0})
    assert fit.diagnostics.summary["f"] is None
    assert fit.diagnostics.summary["r2"] == 0
    row = fit.parameters.set_index("term").loc["Intercept"]
    half = 3.182446305284263 * np.sqrt(14 / 3 / 4)  # qt(0.975, 3) sqrt(s^2 / n), s^2 = 14 / 3
    # 1e-10: the quantile is written with 16 digits, scipy's is good to about 1e-14
    assert (row["conf_low"], row["conf_high"]) == pytest.approx((6 - half, 6 + half), rel=1e-10)
    assert row["truth"] == 5.0
    sigma = fit.parameters.set_index("term").loc["sd__Observation"]
    # qchisq(c(0.975, 0.025), 3) = 9.348404, 0.2157953, printed with 7 digits
    assert (sigma["conf_low"], sigma["conf_high"]) == pytest.approx(
        (np.sqrt(14 / 9.348404), np.sqrt(14 / 0.2157953)), rel=1e-6
    )


def test_collinear_columns_and_too_few_rows_are_refused():
    x = np.arange(5.0)
    with pytest.raises(StudyError, match="collinear"):
        ols.fit(["Intercept", "x", "z"], x, np.column_stack([np.ones(5), x, 1e8 * (2 * x + 1)]))
    moments = moments_of(x, np.column_stack([x, 2 * x + 1]), ["x", "z"], np.array([0, 0, 0, 1, 1]))
    with pytest.raises(StudyError, match="x, z are collinear"):
        ols.fit(["Intercept", "x", "z"], moments=moments)
    with pytest.raises(StudyError, match="2 rows cannot carry 2"):
        ols.fit(["Intercept", "x"], x[:2], np.column_stack([np.ones(2), x[:2]]))
