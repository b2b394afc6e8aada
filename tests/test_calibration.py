"""Uniformity of ranks: bands that hold what they promise, and samplers that are wrong on purpose, caught."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lmm.recovery.calibration import uniformity as u
from lmm.recovery.calibration import verdicts as c
from made_replicates import uniform_ranks


def paths(rng, n, points, number):
    """Counts of uniform values below k / points, a row a path."""
    steps = rng.multinomial(n, np.full(points, 1 / points), size=number)
    return np.cumsum(steps, axis=1)[:, :-1]


@pytest.mark.parametrize(("n", "points", "level"), [(60, 20, 0.95), (200, 100, 0.9), (1000, 100, 0.99)])
def test_bands_hold_uniform_paths_with_the_probability_computed(n, points, level):
    z = np.arange(1, points) / points
    low, high = u.band(n, z, u.adjusted_gamma(n, z, level))
    exact = u.inside(n, z, low, high)
    drawn = paths(np.random.default_rng(1), n, points, 20_000)
    share = ((drawn >= low) & (drawn <= high)).all(axis=1).mean()
    assert abs(share - exact) < 4.5 * np.sqrt(
        exact * (1 - exact) / 20_000
    )  # Monte Carlo error of 20,000 paths
    # counts are integers, so the level is reached from above, here by less than a point
    assert level <= exact < level + 0.01


def test_the_probability_of_a_band_is_exact():
    """Three values, one point: binomial by hand; two points: the multinomial by hand."""
    assert u.inside(3, np.array([0.5]), np.array([1]), np.array([2])) == pytest.approx(6 / 8, rel=1e-12)
    # counts (a, b, c) in thirds, a in {0, 1}, a + b in {1, 2}: (0,1,2) 3, (0,2,1) 3, (1,0,2) 3, (1,1,1) 6 of 27
    both = u.inside(3, np.array([1, 2]) / 3, np.array([0, 1]), np.array([1, 2]))
    assert both == pytest.approx(15 / 27, rel=1e-12)
    assert u.inside(5, np.array([0.5]), np.array([4]), np.array([3])) == 0
    # no band at all is no restriction, however many values (sums of 10,000 terms: 1e-9)
    z = np.arange(1, 50) / 50
    everything = u.inside(10_000, z, np.zeros(49, int), np.full(49, 10_000))
    assert everything == pytest.approx(1, abs=1e-9)


def test_the_adjusted_gamma_agrees_with_the_published_one():
    """Säilynoja et al. 2022 simulate gamma; by simulation of the same minimum it is this one."""
    n, points = 250, 50
    z = np.arange(1, points) / points
    smallest = u.tail(paths(np.random.default_rng(2), n, points, 40_000), n, z).min(axis=1)
    # a 5 % quantile of 40,000 has a standard error of about 2.2 % here; the minimum is discrete besides
    assert u.adjusted_gamma(n, z, 0.95) == pytest.approx(np.quantile(smallest, 0.05), rel=0.1)


@pytest.mark.parametrize("count", [500, pytest.param(2000, marks=pytest.mark.long)])
def test_p_values_of_uniform_ranks_are_uniform(count):
    n, points = 150, 100
    z = np.arange(1, points) / points
    p = np.array([u.p_value(row, n, z)[1] for row in paths(np.random.default_rng(3), n, points, count)])
    for level in (0.01, 0.05, 0.2, 0.5):
        # an exact test rejects at most this often, and by little less; 4.5 binomial sds
        assert abs((p <= level).mean() - level) < 4.5 * np.sqrt(level * (1 - level) / count) + 0.003


@pytest.mark.parametrize("count", [100, pytest.param(400, marks=pytest.mark.long)])
def test_uniform_ranks_pass_at_the_nominal_rate(count):
    """Without Holm's correction it would be a third of them, four quantities each at 10 %."""
    rng = np.random.default_rng(4)
    alarms = [
        (c.calibrate(uniform_ranks(rng, n=120), rng, level=0.9)["verdict"] != "calibrated").any()
        for _ in range(count)
    ]
    # familywise 10 %: Holm over four independent quantities is within a point of it; 4.5 binomial sds
    assert abs(np.mean(alarms) - 0.1) < 4.5 * np.sqrt(0.09 / count) + 0.01


def test_numbers_of_ranks_may_differ_between_replicates():
    rng = np.random.default_rng(5)
    alarms = []
    for _ in range(200):
        ranks = uniform_ranks(rng, n=100, quantities=("a",))
        ranks["n_ranks"] = rng.integers(20, 100, len(ranks))
        ranks["rank"] = rng.integers(0, ranks["n_ranks"])
        alarms.append(c.calibrate(ranks, rng, level=0.9)["verdict"].iloc[0] != "calibrated")
    assert abs(np.mean(alarms) - 0.1) < 4.5 * np.sqrt(0.09 / 200)


@pytest.mark.parametrize(
    ("beta", "finding"),
    [
        ((1.3, 1.0), "the posterior lies too low"),
        ((1.0, 1.3), "the posterior lies too high"),
        ((0.75, 0.75), "the posterior is too narrow"),
        ((1.4, 1.4), "the posterior is too wide"),
    ],
)
def test_ranks_that_are_not_uniform_are_caught_and_named(beta, finding):
    rng = np.random.default_rng(6)
    ranks = uniform_ranks(rng, n=1000)
    bad = ranks["quantity"] == "sd__x"
    ranks.loc[bad, "rank"] = np.floor(100 * rng.beta(*beta, bad.sum())).astype(int)
    table = c.calibrate(ranks, rng).set_index("quantity")
    assert table.loc["sd__x", "verdict"] == "not calibrated" and table.loc["sd__x", "finding"] == finding
    assert (table.drop("sd__x")["verdict"] == "calibrated").all()
    assert table.loc["sd__x", "chi2_p"] < 0.001 < table.drop("sd__x")["chi2_p"].min()


def test_failed_fits_are_left_out_and_counted_and_few_replicates_are_said_to_be_few():
    rng = np.random.default_rng(7)
    ranks = uniform_ranks(rng, n=60)
    ranks.loc[ranks["replicate"] < 5, ["rank", "status"]] = [0, "gate-failed"]
    table = c.calibrate(ranks, rng)
    assert (
        (table["n"] == 55).all()
        and (table["n_failed"] == 5).all()
        and (table["verdict"] == "calibrated").all()
    )
    few = c.calibrate(ranks[ranks["replicate"] < 30], rng)
    assert (few["verdict"] == "too few").all() and few["p_adjusted"].isna().all()
    none = c.calibrate(ranks.assign(status="error"), rng)
    assert (none["verdict"] == "too few").all() and (none["n_failed"] == 60).all()
    assert c.ecdf(ranks.assign(status="error"), rng).empty


def test_ties_fall_either_side_with_equal_chances():
    rng = np.random.default_rng(8)
    draws = np.zeros(9)
    found = np.bincount([c.rank(draws, 0.0, rng) for _ in range(5000)], minlength=10)
    assert len(found) == 10 and np.abs(found / 5000 - 0.1).max() < 4.5 * np.sqrt(0.09 / 5000)
    assert c.rank(np.arange(9.0), 3.5, rng) == 4 and c.rank(np.arange(9.0), -1, rng) == 0
    assert c.rank(np.arange(9.0), 99, rng) == 9


def test_thinning_keeps_evenly_spaced_draws():
    draws = np.arange(1000)
    assert len(c.thin_to_ess(draws, 57.9)) == 57
    assert len(c.thin_to_ess(draws, 4000)) == 99 and len(c.thin_to_ess(draws, 4000, most=5000)) == 1000
    assert len(c.thin_to_ess(draws, np.nan)) == 1 and len(c.thin_to_ess(draws, 0.2)) == 1
    assert c.thin_to_ess(draws, 10).tolist() == [50, 150, 250, 350, 450, 550, 650, 750, 850, 950]


def test_thinning_makes_ranks_of_autocorrelated_draws_uniform():
    """AR(1) draws with 0.9: unthinned ranks pile up at the ends, thinned to ess they do not."""
    rng = np.random.default_rng(9)
    n, length, rho = 1000, 1900, 0.9
    value = rng.standard_normal(n)
    draws = np.empty((n, length))
    draws[:, 0] = rng.standard_normal(n)
    for i in range(1, length):
        draws[:, i] = rho * draws[:, i - 1] + np.sqrt(1 - rho**2) * rng.standard_normal(n)
    ess = length * (1 - rho) / (1 + rho)
    kept = [
        c.rank_table({"a": row[:198]}, {"a": v}, 1e9, rng, most=198)
        for row, v in zip(draws, value, strict=True)
    ]
    thinned = [
        c.rank_table({"a": row}, {"a": v}, {"a": ess}, rng) for row, v in zip(draws, value, strict=True)
    ]
    for tables, verdict in ((kept, "not calibrated"), (thinned, "calibrated")):
        ranks = pd.concat(tables).assign(design="d", replicate=np.arange(n), status="ok")
        assert c.calibrate(ranks, rng)["verdict"].tolist() == [verdict]


def test_holm_by_hand():
    assert c.holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert c.holm(np.array([0.5, 0.9])).tolist() == [1.0, 1.0]
    assert c.holm(np.array([0.7, 0.9, 0.004])).tolist() == pytest.approx([1.0, 1.0, 0.012])


def test_curves_agree_with_the_verdicts():
    rng = np.random.default_rng(10)
    ranks = uniform_ranks(rng, n=400)
    bad = ranks["quantity"] == "icc"
    ranks.loc[bad, "rank"] = np.floor(100 * rng.beta(1.5, 1, bad.sum())).astype(int)
    curves = c.ecdf(ranks, rng)
    out = (curves["difference"] < curves["low_all"]) | (curves["difference"] > curves["high_all"])
    left = out.groupby(curves["quantity"]).any()
    verdicts = c.calibrate(ranks, rng).set_index("quantity")["verdict"]
    assert left[left].index.tolist() == ["icc"] and verdicts["icc"] == "not calibrated"
    assert (curves["low_all"] <= curves["low"]).all() and (curves["high_all"] >= curves["high"]).all()


# Negative controls: a sampler that is right, and the same one wrong in one place. One-way random effects,
# y_ij = mu + u_j + e_ij with e of known sd 1; mu ~ N(0, 2^2), tau on a grid with equal prior probabilities, so that
# the posterior of (mu, tau, u) can be drawn from exactly.
GROUPS, ROWS, PRIOR_SD = 6, 4, 2.0
TAUS = np.geomspace(0.2, 3.0, 40)


@dataclass(frozen=True)
class Sampler:
    """What the sampler takes for true, and which of its steps are wrong."""

    likelihood: bool = True
    tau_scale: float = 1.0
    prior_mean: float = 0.0
    sign: float = 1.0

    def draw(self, rng, means, number):
        """`number` independent draws of mu, tau and u given the groups' means."""
        taus = self.tau_scale * TAUS
        if not self.likelihood:
            tau = rng.choice(taus, number)
            return (
                rng.normal(self.prior_mean, PRIOR_SD, number),
                tau,
                tau[:, None] * rng.standard_normal((number, GROUPS)),
            )
        v = taus**2 + 1 / ROWS
        precision = 1 / PRIOR_SD**2 + GROUPS / v
        centre = (self.prior_mean / PRIOR_SD**2 + means.sum() / v) / precision
        # log p(tau | means), mu integrated out
        fit = ((means**2).sum() / v + self.prior_mean**2 / PRIOR_SD**2) - precision * centre**2
        weight = -0.5 * (fit + GROUPS * np.log(v) + np.log(precision))
        weight = np.exp(weight - weight.max())
        k = rng.choice(len(v), number, p=weight / weight.sum())
        mu = rng.normal(centre[k], 1 / np.sqrt(precision[k]))
        shrink = (taus**2 / v)[k, None]
        u_mean = self.sign * shrink * (means - mu[:, None])
        return mu, taus[k], u_mean + np.sqrt(shrink / ROWS) * rng.standard_normal((number, GROUPS))


def log_likelihood(means, mu, effects):
    """Joint log density of the data up to what does not depend on parameters and effects."""
    return -0.5 * ROWS * ((means - np.asarray(mu)[..., None] - effects) ** 2).sum(axis=-1)


def ranks_of(sampler, rng, n=400):
    """SBC ranks of a sampler against the right simulator."""
    parts = []
    for i in range(n):
        mu, tau = rng.normal(0, PRIOR_SD), rng.choice(TAUS)
        effects = tau * rng.standard_normal(GROUPS)
        means = mu + effects + rng.standard_normal(GROUPS) / np.sqrt(ROWS)
        drawn_mu, drawn_tau, drawn = sampler.draw(rng, means, c.DRAWS)
        draws = {"Intercept": drawn_mu, "sd__Intercept": drawn_tau, c.ICC: drawn_tau**2 / (drawn_tau**2 + 1)}
        values = {"Intercept": mu, "sd__Intercept": tau, c.ICC: tau**2 / (tau**2 + 1)}
        for j in range(2):
            name = c.ranef_quantity("Intercept", str(j))
            draws[name], values[name] = drawn[:, j], effects[j]
        draws[c.LOG_LIKELIHOOD] = log_likelihood(means, drawn_mu, drawn)
        values[c.LOG_LIKELIHOOD] = log_likelihood(means, mu, effects)
        parts.append(c.rank_table(draws, values, c.DRAWS, rng).assign(replicate=i))
    return pd.concat(parts, ignore_index=True).assign(design="d", status="ok")


def verdicts(sampler, seed):
    rng = np.random.default_rng(seed)
    return c.calibrate(ranks_of(sampler, rng), rng).set_index("quantity")


def test_the_right_sampler_is_calibrated():
    assert (verdicts(Sampler(), 11)["verdict"] == "calibrated").all()


def test_a_missing_likelihood_is_caught_by_data_dependent_quantities_alone():
    table = verdicts(Sampler(likelihood=False), 12)
    assert table.loc[c.LOG_LIKELIHOOD, "verdict"] == "not calibrated"
    # which is why they are ranked: drawn from the prior, every parameter is as calibrated as can be
    assert (table[table["kind"] == "parameter"]["verdict"] == "calibrated").all()


@pytest.mark.parametrize(
    ("wrong", "quantity"),
    [
        (Sampler(prior_mean=1.5), "Intercept"),
        (Sampler(tau_scale=0.5), "sd__Intercept"),
        (Sampler(tau_scale=2.0), "sd__Intercept"),
    ],
    ids=["mean of mu", "tau half as large", "tau twice as large"],
)
def test_a_wrong_prior_is_caught(wrong, quantity):
    table = verdicts(wrong, 13)
    assert table.loc[quantity, "verdict"] == "not calibrated"


def test_a_sign_error_in_the_conditional_of_random_effects_is_caught():
    table = verdicts(Sampler(sign=-1.0), 14)
    effects = table[table.index.str.startswith("ranef__")]
    assert (effects["verdict"] == "not calibrated").all()
    assert table.loc[c.LOG_LIKELIHOOD, "verdict"] == "not calibrated"
    # mu and tau are drawn before and right
    assert (table.loc[["Intercept", "sd__Intercept"], "verdict"] == "calibrated").all()


def test_kinds_of_quantities():
    assert c.kind("sd__x") == c.kind(c.ICC) == c.kind("cor__Intercept.x") == "parameter"
    assert c.kind(c.LOG_LIKELIHOOD) == c.kind(c.ranef_quantity("x", "7")) == "data"


def test_replicates_with_a_rank_below_each_point_are_counted():
    """By k / R where all have R ranks, every second one of 200; else by ranks spread over their own interval."""
    rng = np.random.default_rng(1)
    z, below = c.counts(np.array([3, 0, 1, 1]), np.full(4, 4), rng)
    assert z.tolist() == [0.25, 0.5, 0.75] and below.tolist() == [1, 3, 3]
    z, below = c.counts(np.array([0, 1, 2, 100, 199]), np.full(5, 200), rng)
    assert len(z) == 99 and z[:2].tolist() == [0.01, 0.02] and z[-1] == 0.99
    assert below[:2].tolist() == [2, 3] and below[49:51].tolist() == [3, 4] and below[-1] == 4
    ranks, n_ranks = np.array([3, 0, 7]), np.array([4, 10, 8])
    z, below = c.counts(ranks, n_ranks, np.random.default_rng(2))
    spread = (ranks + np.random.default_rng(2).random(3)) / n_ranks
    np.testing.assert_allclose(z, np.arange(1, 100) / 100, rtol=1e-12)
    assert below.tolist() == [int((spread < own).sum()) for own in z]


def test_chi_squared_of_binned_ranks_by_hand():
    """Bins of whole ranks with five replicates expected at least; of 200 replicates of 10 ranks one bin each."""
    ranks = np.repeat(np.arange(10), [30, 10, 20, 20, 20, 20, 20, 20, 20, 20])
    value, df, p = c.chi2(ranks, np.full(200, 10))
    assert (value, df) == (pytest.approx(10.0), 9)
    assert p == pytest.approx(stats.chi2.sf(10.0, 9), rel=1e-12)
    assert c.chi2(np.arange(1000) % 100, np.full(1000, 100))[:2] == (0.0, 19)  # at most 20 bins
    value, df, p = c.chi2(ranks[:10], np.full(10, 10))  # two bins of five: all ranks are in the first
    assert (value, df) == (pytest.approx(10.0), 1) and p == pytest.approx(stats.chi2.sf(10.0, 1), rel=1e-12)
    for few, n_ranks in ((ranks[:9], np.full(9, 10)), (ranks, np.r_[np.full(199, 10), 11])):
        value, df, p = c.chi2(few, n_ranks)
        assert np.isnan(value) and df == 0 and np.isnan(p)
    assert np.isnan(
        c.chi2(np.arange(11) % 3, np.full(11, 3))[0]
    )  # bins of one and two ranks: 3.7 in the smaller one


def test_a_quantitys_summary_by_hand():
    ranks, rng = np.repeat([0, 4, 9], [20, 30, 50]), np.random.default_rng(1)
    found = c._summary(ranks, np.full(100, 10), rng)
    middle = (ranks + 0.5) / 10
    assert found["n_ranks"] == 10 and found["mean_rank"] == pytest.approx(middle.mean(), rel=1e-12)
    # the variance of (r + 1/2) / 10 for r uniform on 0 ... 9 is that of r, 99 / 12, over 100
    assert found["spread"] == pytest.approx(np.sqrt(np.mean((middle - 0.5) ** 2) / 0.0825), rel=1e-12)
    # 20 % below 0.1 ... 0.4, half below 0.5 ... 0.9: the largest distance is at 0.9
    assert found["max_deviation"] == pytest.approx(0.4, rel=1e-12)
    z = np.arange(1, 10) / 10
    assert (found["gamma"], found["p_value"]) == u.p_value(np.repeat([20, 50], [4, 5]), 100, z)
    assert (found["chi2"], found["chi2_df"]) == c.chi2(ranks, np.full(100, 10))[:2]


def test_findings_are_beyond_three_standard_errors():
    """Of the mean 1 / sqrt(12 n), and of the squared spread 12 / sqrt(180 n)."""
    n = 300
    error, of_square = 1 / np.sqrt(12 * n), 12 / np.sqrt(180 * n)
    assert c._finding(0.5 + 2.99 * error, np.sqrt(1 + 2.99 * of_square), n) == "the ranks are not uniform"
    assert c._finding(0.5 + 3.01 * error, 1.0, n) == "the posterior lies too low"
    assert c._finding(0.5 - 3.01 * error, 1.0, n) == "the posterior lies too high"
    assert c._finding(0.5, np.sqrt(1 + 3.01 * of_square), n) == "the posterior is too narrow"
    assert c._finding(0.5, np.sqrt(1 - 3.01 * of_square), n) == "the posterior is too wide"
    both = c._finding(0.9, 2.0, n)
    assert both == "the posterior lies too low and the posterior is too narrow"
    assert c._finding(0.5, np.sqrt(1 - 2.99 * of_square), n) == "the ranks are not uniform"


def test_curves_are_differences_from_uniform_with_the_bands_of_all_quantities():
    ranks = uniform_ranks(np.random.default_rng(3), n=60, quantities=("a", "b"), n_ranks=20)
    table = c.ecdf(ranks, np.random.default_rng(1), 0.9)
    z = np.arange(1, 20) / 20
    own, every = u.simultaneous(60, z, 0.95), u.simultaneous(60, z, 0.95)  # 1 - (1 - 0.9) / 2
    for name, part in table.groupby("quantity"):
        mine = ranks.loc[ranks["quantity"] == name, "rank"].to_numpy()
        np.testing.assert_allclose(part["z"], z, rtol=1e-12)
        np.testing.assert_allclose(part["difference"], [np.mean(mine < 20 * k) - k for k in z], atol=1e-12)
        for column, edge in zip(("low", "high", "low_all", "high_all"), (*own, *every), strict=True):
            np.testing.assert_allclose(part[column], edge - z, atol=1e-12)
    stricter = c.ecdf(ranks, np.random.default_rng(1), 0.98)
    np.testing.assert_allclose(stricter["low_all"][:19], u.simultaneous(60, z, 0.99)[0] - z, atol=1e-12)


def test_no_path_is_inside_an_empty_band():
    """A band that no count is in; counts that cannot grow from one point to the next; all of them in the widest."""
    z = np.array([0.25, 0.5, 0.75])
    assert u.inside(4, z, np.array([0, 3, 0]), np.array([4, 2, 4])) == 0.0
    assert u.inside(4, z, np.array([3, 0, 0]), np.array([4, 2, 4])) == 0.0
    assert u.inside(4, z, np.zeros(3, int), np.full(3, 4)) == pytest.approx(1.0, rel=1e-12)


def test_a_path_at_the_middle_of_every_count_is_the_most_likely():
    """One value of two below 1/2: both tails are 3/4, and no path has a larger gamma."""
    gamma, p = u.p_value(np.array([1]), 2, np.array([0.5]))
    assert (gamma, p) == (1.5, 1.0)
