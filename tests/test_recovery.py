"""Performance measures against closed forms, against the published definitions, and by simulation."""

import numpy as np
import pandas as pd
import pytest

import made_replicates
from lmm.core.errors import StudyError
from lmm.recovery import measures as m
from lmm.recovery.performance import Targets, failures, needed, performance, reference_engine, select

T, S = 2.0, 0.5  # truth and sampling sd of a normal mean
CLOSED = 200_000  # replicates of the closed-form cases


@pytest.fixture(scope="module")
def normal():
    """Estimates of a normal mean with known sampling sd, and its exact 95 % interval."""
    e = np.random.default_rng(1).normal(T, S, (1, CLOSED))
    return e, np.full_like(e, T), np.full_like(e, S)


def close(measured, expected, sigmas=4.5):
    """Within 4.5 of its own Monte Carlo standard errors: a false alarm once in 150,000 seeds."""
    estimate, mcse, _ = measured
    assert np.all(mcse > 0)
    assert np.all(np.abs(estimate - expected) < sigmas * mcse), (estimate, expected, mcse)


def test_a_normal_mean_has_the_performance_that_theory_gives(normal):
    e, t, s = normal
    z = 1.959963984540054
    close(m.bias(e + 0.1, t), 0.1)
    close(m.relative_bias(e + 0.1, t), 0.05)
    close(m.empirical_se(e, t), S)
    close(m.mse(e + 0.1, t), S**2 + 0.01)
    close(m.rmse(e + 0.1, t), np.sqrt(S**2 + 0.01))
    close(m.coverage(t, e - z * s, e + z * s), 0.95)
    # shifting all estimates by one sd: P(|Z + 1| < z) = Phi(z - 1) - Phi(-z - 1)
    close(m.coverage(t, e + S - z * s, e + S + z * s), 0.829929)
    close(m.bias_eliminated_coverage(e + S, t, e + S - z * s, e + S + z * s), 0.95)
    # power of a z test at T / S = 4: 1 - Phi(z - 4), below 1e-8 from the other side
    close(m.power(e - z * s, e + z * s), 0.979327)
    close(m.at_zero(np.maximum(e - T, 0)), 0.5)
    close(m.model_se_error(e, t, 1.2 * s), 20.0)


def test_what_does_not_vary_has_no_monte_carlo_error(normal):
    e, _, s = normal
    estimate, mcse, n = m.model_se(s)
    assert estimate == pytest.approx(S, rel=1e-12) and mcse == pytest.approx(0, abs=1e-12) and n == CLOSED
    estimate, mcse, _ = m.width(e - s, e + s)
    assert estimate == pytest.approx(2 * S, rel=1e-12) and mcse == pytest.approx(0, abs=1e-12)


def test_relative_precision_of_correlated_engines(normal):
    e, t, _ = normal
    other = (
        T + 0.8 * (e - T) + 0.6 * S * np.random.default_rng(2).standard_normal(e.shape)
    )  # same sd, rho 0.8
    close(m.relative_precision(e, other, t), 0.0)
    close(m.relative_precision(T + 2 * (e - T), other, t), 100 * (0.25 - 1))
    _, mcse, _ = m.relative_precision(e, other, t)
    # 200 sqrt((1 - 0.64) / (n - 1)); rho^2 is known to 1 % here
    assert mcse == pytest.approx(200 * 0.6 / np.sqrt(CLOSED - 1), rel=0.01)
    # an engine against a copy of itself is no more and no less precise, with certainty (rounding of rho aside)
    same, mcse, _ = m.relative_precision(e, e.copy(), t)
    assert same == 0 and mcse < 1e-5


def published(e, t, s, low, high):
    """Morris et al. 2019, table 6, as rsimsum (3.x) and simhelpers write them, replicate by replicate."""
    n = len(e)
    mean = sum(e) / n
    emp = (sum((v - mean) ** 2 for v in e) / (n - 1)) ** 0.5
    squares = [v**2 for v in s]
    var_mean = sum(squares) / n
    mod = var_mean**0.5
    var_var = sum((v - var_mean) ** 2 for v in squares) / (n - 1)
    mse = sum((v - t) ** 2 for v in e) / n
    rel = [(v - t) / t for v in e]
    rel_mean = sum(rel) / n
    cover = sum(a <= t <= b for a, b in zip(low, high, strict=True)) / n
    be = sum(a <= mean <= b for a, b in zip(low, high, strict=True)) / n
    power = sum(a > 0 or b < 0 for a, b in zip(low, high, strict=True)) / n
    widths = [b - a for a, b in zip(low, high, strict=True)]
    w = sum(widths) / n
    share = lambda p: (p, (p * (1 - p) / n) ** 0.5)  # noqa: E731
    return {
        "bias": (mean - t, emp / n**0.5),
        "relative_bias": (rel_mean, (sum((v - rel_mean) ** 2 for v in rel) / (n - 1) / n) ** 0.5),
        "empirical_se": (emp, emp / (2 * (n - 1)) ** 0.5),
        "mse": (mse, (sum(((v - t) ** 2 - mse) ** 2 for v in e) / (n * (n - 1))) ** 0.5),
        "model_se": (mod, (var_var / (4 * n * mod**2)) ** 0.5),
        # rsimsum before 0.11.0 had var(s^2) / (4 n ModSE^2) under this root
        "model_se_error": (
            100 * (mod / emp - 1), 100 * (mod / emp) * (var_var / (4 * n * mod**4) + 1 / (2 * (n - 1))) ** 0.5
        ),
        "coverage": share(cover),
        "bias_eliminated_coverage": share(be),
        "power": share(power),
        "width": (w, (sum((v - w) ** 2 for v in widths) / (n - 1) / n) ** 0.5),
    }  # fmt: skip


def test_published_formulas_computed_independently():
    rng = np.random.default_rng(3)
    n, t = 57, 0.7
    e = rng.gamma(2.0, 0.4, n)
    s = rng.gamma(9.0, 0.06, n)
    low, high = e - 1.7 * s, e + 2.1 * s
    long = pd.DataFrame({
        "design": "a", "groups": 10, "replicate": np.arange(n), "engine": "reml", "effect": "fixed", "group": "",
        "term": "x", "df": "normal",
        "truth": t, "estimate": e, "std_error": s, "conf_low": low, "conf_high": high, "status": "ok", "message": "",
        "sampler": "",
    })  # fmt: skip
    table = select(performance(long), "bias")
    assert table["n_used"].tolist() == [n]
    table = performance(long).query("subset == 'usable' and term == 'x'").set_index("measure")
    expected = published(e, t, s, low, high)
    for measure, (estimate, mcse) in expected.items():
        # both are sums of 57 doubles in different orders
        assert table.loc[measure, "estimate"] == pytest.approx(estimate, rel=1e-12), measure
        assert table.loc[measure, "mcse"] == pytest.approx(mcse, rel=1e-12), measure
    assert set(table.index) == {*expected, "rmse", "type_1_error"}
    assert np.isnan(table.loc["type_1_error", "estimate"])  # there is an effect
    null = (
        performance(long.assign(truth=0.0)).query("subset == 'usable' and term == 'x'").set_index("measure")
    )
    assert null.loc["type_1_error", ["estimate", "mcse"]].tolist() == pytest.approx(expected["power"])


def test_jackknife_in_closed_form_is_the_jackknife():
    rng = np.random.default_rng(4)
    e = np.maximum(rng.normal(0.3, 1, 41), 0)[None]
    t = np.full_like(e, 0.4)
    keep = [np.delete(e[0], i) for i in range(41)]
    for measured, value in (
        (m.rmse(e, t), lambda x: np.sqrt(np.mean((x - 0.4) ** 2))),
        (m.empirical_se(e, t, piled=True), lambda x: np.std(x, ddof=1)),
    ):
        again = np.array([value(x) for x in keep])
        expected = np.sqrt(40 / 41 * ((again - again.mean()) ** 2).sum())
        assert measured[0][0] == pytest.approx(value(e[0]), rel=1e-12)
        assert measured[1][0] == pytest.approx(expected, rel=1e-10)  # a difference of sums of 41 squares


@pytest.mark.parametrize(
    "measure",
    [
        "bias",
        "empirical_se",
        "mse",
        "rmse",
        "model_se",
        "model_se_error",
        "coverage",
        "relative_precision",
        "width",
    ],
)
def test_two_mcse_either_side_hold_the_truth_95_percent_of_the_time(measure):
    """1500 studies of 200 replicates each: MCSE has the size of the spread that it claims."""
    rng = np.random.default_rng(5)
    shape = (1500, 200)
    e = rng.normal(T, S, shape)
    t = np.full(shape, T)
    s = S * np.sqrt(rng.chisquare(30, shape) / 30)
    other = T + 0.7 * (e - T) + 0.5 * S * rng.standard_normal(shape)
    low, high = e - 1.2 * s, e + 1.2 * s  # 77 %: nearer 1 a Wald interval of a proportion fails by itself
    found = {
        "bias": m.bias(e, t), "empirical_se": m.empirical_se(e, t), "mse": m.mse(e, t), "rmse": m.rmse(e, t),
        "model_se": m.model_se(s), "model_se_error": m.model_se_error(e, t, s), "coverage": m.coverage(t, low, high),
        "relative_precision": m.relative_precision(e, other, t), "width": m.width(low, high),
    }[measure]  # fmt: skip
    # the truth to within 1 / sqrt(1500) of an MCSE: the mean over the studies
    centre = found[0].mean()
    held = (np.abs(found[0] - centre) <= 1.96 * found[1]).mean()
    # binomial sd at 1500 studies is 0.6 points; 2.5 points leaves room for ratios' skewness at n = 200
    assert 0.925 < held < 0.975
    assert found[1].mean() == pytest.approx(found[0].std(), rel=0.08)  # sd of 1500 is known to 2 %, x 4


def test_the_jackknife_serves_sds_that_pile_up_at_zero_where_the_normal_formula_does_not():
    rng = np.random.default_rng(6)
    e = np.sqrt(np.maximum(rng.normal(0.02, 1, (1500, 200)), 0))
    t = np.full_like(e, 0.1)
    spread, jack, _ = m.empirical_se(e, t, piled=True)
    _, normal, _ = m.empirical_se(e, t, piled=False)
    assert jack.mean() == pytest.approx(spread.std(), rel=0.08)
    assert abs(normal.mean() / spread.std() - 1) > 0.15


def long(rows, **columns):
    """A long table from (replicate, engine, term, estimate, low, high, status)."""
    names = ["replicate", "engine", "term", "estimate", "conf_low", "conf_high", "status"]
    table = pd.DataFrame(rows, columns=names)
    fixed = {
        "design": "a",
        "groups": 10,
        "df": "",
        "truth": 1.0,
        "std_error": 0.5,
        "message": "",
        "sampler": "",
    }
    effect = np.where(table["term"].str.startswith(("sd__", "cor__")), "ran_pars", "fixed")
    group = np.where(effect == "ran_pars", "g", "")
    return table.assign(effect=effect, group=group, **(fixed | columns))


def test_every_failure_is_counted_and_none_is_used():
    nan = np.nan
    rows = [
        (0, "reml", "x", 1.0, 0.0, 2.0, "ok"),
        (1, "reml", "x", 1.5, 0.5, 2.5, "singular"),
        (2, "reml", "x", 9.0, 8.0, 10.0, "non-converged"),  # a number that must not be used
        (3, "reml", "", nan, nan, nan, "error"),
        (4, "reml", "x", 0.5, nan, nan, "ok"),
        (0, "pymc", "x", 1.0, 0.0, 2.0, "ok"),
        (1, "pymc", "x", 7.0, 0.0, 2.0, "gate-failed"),
        (2, "pymc", "x", 1.2, 0.0, 2.0, "ok"),
        (3, "pymc", "x", 1.4, 0.0, 2.0, "ok"),
        (4, "pymc", "x", 0.8, 0.0, 2.0, "ok"),
        *[(i, "mixedlm", "", nan, nan, nan, "skipped") for i in range(5)],
    ]
    replicates = long(rows)
    replicates.loc[replicates["status"] == "error", "message"] = "matrix is singular"
    table = performance(replicates).set_index(["engine", "subset", "measure"]).sort_index()

    def row(*key):
        return table.loc[key].iloc[0] if isinstance(table.loc[key], pd.DataFrame) else table.loc[key]

    bias = row("reml", "usable", "bias")
    assert bias["estimate"] == pytest.approx(0.0, abs=1e-15) and bias["n_used"] == 3  # (0 + 0.5 - 0.5) / 3
    assert (bias["n_failed"], bias["n_missing"], bias["n_replicates"]) == (2, 0, 5)
    covered = row("reml", "usable", "coverage")
    assert (covered["estimate"], covered["n_used"], covered["n_missing"], covered["n_failed"]) == (
        1.0,
        2,
        1,
        2,
    )
    # mixedlm was skipped throughout and does not empty the common replicates: 0 and 4 by reml and pymc
    assert row("reml", "common", "bias")["n_used"] == 2 and row("pymc", "common", "bias")["n_used"] == 2
    assert row("pymc", "common", "bias")["estimate"] == pytest.approx(-0.1, abs=1e-15)
    assert row("reml", "usable", "failure_rate")["estimate"] == 0.4
    assert row("mixedlm", "usable", "failure_rate")["estimate"] == 1.0
    assert row("reml", "usable", "singular_rate")["estimate"] == pytest.approx(1 / 3)
    # paired: replicates 0 and 4 only
    assert row("pymc", "usable", "relative_precision")["n_used"] == 2

    ended = failures(replicates)
    assert ended["count"].sum() == 15
    assert list(zip(ended["engine"], ended["status"], ended["message"], ended["count"], strict=True)) == [
        ("mixedlm", "skipped", "", 5),
        ("reml", "ok", "", 2),
        ("reml", "singular", "", 1),
        ("reml", "non-converged", "", 1),
        ("reml", "error", "matrix is singular", 1),
        ("pymc", "ok", "", 4),
        ("pymc", "gate-failed", "", 1),
    ]


def test_relative_bias_is_not_defined_at_a_truth_of_zero():
    rows = [(i, "reml", "sd__x", v, 0.0, 0.5, "ok") for i, v in enumerate((0.0, 0.2, 0.0, 0.4))]
    table = performance(long(rows, truth=0.0)).set_index("measure").query("subset == 'usable'")
    assert np.isnan(table.loc["relative_bias", "estimate"]) and table.loc["relative_bias", "n_used"] == 0
    assert table.loc["bias", "estimate"] == pytest.approx(0.15) and np.isnan(table.loc["bias", "n_needed"])
    assert table.loc["p_zero", "estimate"] == 0.5
    assert "power" not in table.index


def test_one_replicate_gives_numbers_without_monte_carlo_error_and_no_exception():
    table = (
        performance(long([(0, "reml", "x", 1.2, 0.0, 2.0, "ok")]))
        .query("subset == 'usable'")
        .set_index("measure")
    )
    assert table.loc["bias", "estimate"] == pytest.approx(0.2) and np.isnan(table.loc["bias", "mcse"])
    assert np.isnan(table.loc["empirical_se", "estimate"])


def test_bias_and_spread_where_the_truth_differs_between_replicates():
    """Parameters drawn from a prior: the spread is that of the errors, not of truths and errors together."""
    rng = np.random.default_rng(7)
    t = rng.normal(0, 100, (1, 4000))
    e = t + rng.normal(0.3, 1, t.shape)
    close(m.bias(e, t), 0.3)
    close(m.empirical_se(e, t), 1.0)
    close(m.bias_eliminated_coverage(e, t, e - 1.96, e + 1.96), 0.95)


def test_rows_are_the_same_for_any_order_of_the_input():
    replicates = made_replicates.table(np.random.default_rng(8), replicates=40)
    mixed = replicates.sample(frac=1, random_state=1)
    keys = ["design", "engine", "effect", "group", "term", "subset", "measure"]
    one, two = (performance(t).set_index(keys).sort_index() for t in (replicates, mixed))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_the_whole_table_of_a_made_study():
    replicates = made_replicates.table(np.random.default_rng(9), replicates=300)
    table = performance(replicates)
    assert list(table.columns[:4]) == ["design", "groups", "rows_per_group", "engine"]
    assert not table.duplicated(["design", "engine", "effect", "term", "subset", "measure"]).any()
    usable = table[(table["subset"] == "usable") & (table["term"] != "")]
    # whatever happens to a replicate, it is in one of the three counts
    total = usable["n_used"] + usable["n_missing"] + usable["n_failed"]
    assert (total == usable["n_replicates"]).all() and (usable["n_replicates"] == 300).all()
    ranef = table[table["effect"] == "ranef"]
    assert set(ranef["measure"]) == {
        "ranef_rmse",
        "ranef_coverage",
        "ranef_shrinkage",
        "ranef_rank_correlation",
    }
    assert set(ranef["term"]) == {"Intercept"}
    small = select(table, "p_zero", terms=["sd__x"]).set_index(["engine", "groups", "rows_per_group"])[
        "estimate"
    ]
    assert small["reml", 10, 5] > 0 and small["pymc", 10, 5] == 0


def test_replicates_that_a_target_would_need():
    one = lambda measure, *values: float(needed(measure, *map(np.atleast_1d, values), Targets())[0])  # noqa: E731
    # coverage of 95 % to half a point: 0.95 x 0.05 / 0.005^2
    assert one("coverage", 0.95, np.sqrt(0.95 * 0.05 / 100), 100, 1.0) == 1900
    # all of 100 covered: the MCSE of 0 is not believed, (100 + 2) / 104 stands for P
    assert one("coverage", 1.0, 0.0, 100, 1.0) == np.ceil(102 / 104 * 2 / 104 / 0.005**2)
    # a bias known to 2 % of the truth from 100 replicates is known to 1 % from 400
    assert one("bias", 0.3, 0.04, 100, 2.0) == 400
    assert one("rmse", 0.5, 0.01, 100, 2.0) == 400
    assert np.isnan(one("bias", 0.3, 0.04, 100, 0.0))


def test_reference_engine():
    assert reference_engine(["ols", "pymc", "mixedlm", "reml"]) == "reml"
    assert reference_engine(["ols", "other"]) == "ols"
    assert reference_engine(["other"]) == "other"


def test_tables_that_are_not_whole_are_refused():
    good = long([(0, "reml", "x", 1.0, 0.0, 2.0, "ok"), (1, "reml", "x", 1.0, 0.0, 2.0, "ok")])
    with pytest.raises(StudyError, match="column status is missing"):
        performance(good.drop(columns="status"))
    with pytest.raises(StudyError, match="status 'fine'; expected one of ok, singular"):
        performance(good.assign(status="fine"))
    with pytest.raises(StudyError, match="a, 0, reml, fixed, x is there twice"):
        performance(good.assign(replicate=0))
    with pytest.raises(StudyError, match="two statuses"):
        performance(pd.concat([good, good.assign(term="z", status="error")]))
