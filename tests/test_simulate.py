"""Simulated data: the post's to the last digits, everything else in distribution and by address."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lmm.config.load import load
from lmm.core.streams import design_key, seed_sequence
from lmm.simulation.rows import simulate

COFFEE = {
    "generator": "r", "seed": 1, "rows": 1000, "groups": 100, "fixed": {"Intercept": 3, "x": 0.5},
    "sd": {"Intercept": 10, "x": 1}, "corr": 0, "sigma": 1,
}  # fmt: skip


def study(formula="y ~ x + (x | group)", **simulation):
    return load({"studies": {"s": {"formula": formula, "simulate": simulation}}}).studies["s"]


def draw(replicate=0, formula="y ~ x + (x | group)", **simulation):
    one = study(formula, **simulation)
    return simulate(one.simulate, one.formula, seed_sequence(one.seed, one.designs[0].key, replicate))


def test_coffee_is_the_posts():
    one = study(**COFFEE)
    frame, truth = simulate(one.simulate, one.formula)
    coffee = pd.read_csv(Path(__file__).parent / "reference" / "coffee.csv")
    assert list(frame.columns) == ["y", "x", "group"]
    assert (frame.group == coffee.group.astype(str)).all()
    # 15 printed digits of numbers below 50
    np.testing.assert_allclose(frame.y, coffee.y, rtol=0, atol=1e-12)
    np.testing.assert_allclose(frame.x, coffee.x, rtol=0, atol=1e-12)
    assert truth["fixed"] == {"Intercept": 3, "x": 0.5}
    assert truth["corr"] == {"Intercept.x": 0}
    # issue's realised sd's, printed to 3 digits
    assert truth["realised"]["sd"]["Intercept"] == pytest.approx(8.98, abs=0.005)
    assert truth["realised"]["sd"]["x"] == pytest.approx(0.958, abs=0.0005)
    drawn = coffee.drop_duplicates("group").set_index("group")
    for term, column in (("Intercept", "b0_ran"), ("x", "b1_ran")):
        levels = pd.Series(truth["ranef"][term])
        assert list(levels.index) == [str(j) for j in range(1, 101)]
        np.testing.assert_allclose(levels[drawn.index.astype(str)], drawn[column], rtol=0, atol=1e-12)


def test_replicates_of_r_differ_and_repeat():
    one, again, other = (draw(i, **COFFEE)[0] for i in (1, 1, 2))
    assert one.equals(again)
    assert not np.isin(one.y, other.y).any()


@pytest.mark.parametrize(
    ("rows", "check"),
    [
        ({"rows_per_group": 7}, lambda n: (n == 7).all()),
        ({"rows_per_group": {"sizes": [2, 3, 9]}}, lambda n: n.tolist() == [2, 3, 9] * 13 + [2]),
        ({"rows_per_group": {"poisson": 0.5}}, lambda n: len(n) == 40 and n.min() == 1),
        ({"rows": 400}, lambda n: n.sum() == 400 and n.std() > 1),
    ],
)
def test_rows_of_groups(rows, check):
    frame, _ = draw(groups=40, **rows)
    assert check(frame.groupby("group", sort=False).size().to_numpy())


def test_poisson_without_its_zero():
    """Mean m / (1 - exp(-m)) = 2.313 and variance of the truncated Poisson(2); 5 standard errors."""
    frame, _ = draw(groups=20_000, rows_per_group={"poisson": 2.0})
    sizes = frame.groupby("group").size()
    mean = 2 / (1 - np.exp(-2))
    sd = np.sqrt(mean * (1 + 2 - mean))
    assert abs(sizes.mean() - mean) < 5 * sd / np.sqrt(20_000)


def test_equation_holds_row_by_row():
    """y - X beta - Z u is the error, which is the same stream whatever the effects are."""
    formula = "y ~ x * z + (x + z | g)"
    small = {"groups": 6, "rows_per_group": 5, "predictors": {"z": {"binary": 0.4}}, "sigma": 2}
    fixed = {"Intercept": 1, "x": -2, "z": 3, "x:z": 0.5}
    sd = {"Intercept": 1, "x": 2, "z": 0}
    one = study(formula, **small, fixed=fixed, sd=sd)
    zero = study(formula, **small, fixed=dict.fromkeys(fixed, 0), sd=dict.fromkeys(sd, 0))
    sequence = seed_sequence(1, "abc", 0)
    frame, truth = simulate(one.simulate, one.formula, sequence)
    errors, _ = simulate(zero.simulate, zero.formula, sequence)
    u = {term: frame.g.map(values) for term, values in truth["ranef"].items()}
    x, z = frame.x, frame.z
    y = 1 - 2 * x + 3 * z + 0.5 * x * z + u["Intercept"] + u["x"] * x + u["z"] * z + errors.y
    # a handful of additions of numbers below 20
    np.testing.assert_allclose(frame.y, y, rtol=0, atol=1e-13)
    assert truth["realised"]["sigma"] == pytest.approx(np.std(errors.y, ddof=1), rel=1e-12)
    assert set(truth["ranef"]["z"].values()) == {0.0}
    assert truth["realised"]["corr"]["x.z"] is None


def test_streams_are_addressed():
    """A further predictor, other effects or another sd leave every other draw as it was."""
    sequence = seed_sequence(5, design_key({"a": 1}), 2)
    one, two = study(groups=5), study("y ~ w + x + (w | group)", groups=5)
    first, _ = simulate(one.simulate, one.formula, sequence)
    second, _ = simulate(two.simulate, two.formula, sequence)
    assert (first.x == second.x).all()
    other, _ = simulate(one.simulate, one.formula, seed_sequence(5, design_key({"a": 1}), 3))
    assert not np.isin(other.x, first.x).any()


def test_correlated_effects():
    """Realised sd's and correlations of 40,000 groups within 5 standard errors; a singular one is exact."""
    corr = {"Intercept.x": 0.6, "Intercept.z": -0.3, "x.z": 0.2}
    sd = {"Intercept": 3, "x": 0.5, "z": 2}
    formula = "y ~ x + z + (x + z | g)"
    _, truth = draw(0, formula, groups=40_000, rows_per_group=2, corr=corr, sd=sd)
    for pair, rho in corr.items():
        assert abs(truth["realised"]["corr"][pair] - rho) < 5 * (1 - rho**2) / np.sqrt(40_000)
    for term, value in sd.items():
        assert abs(truth["realised"]["sd"][term] / value - 1) < 5 / np.sqrt(2 * 40_000)
    _, truth = draw(groups=50, corr=-1)
    assert truth["realised"]["corr"]["Intercept.x"] == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize(
    ("shape", "law"),
    [
        ("normal", stats.norm()),
        ({"student": 5}, stats.t(5, scale=np.sqrt(3 / 5))),
        ({"skewed": 2}, stats.gamma(2, loc=-np.sqrt(2), scale=1 / np.sqrt(2))),
    ],
)
def test_shapes_have_unit_sd(shape, law):
    """Kolmogorov-Smirnov of 20,000 draws against the law; the seed is fixed, a wrong law gives p < 1e-4."""
    assert law.var() == pytest.approx(1)
    frame, truth = draw(
        groups=20_000, rows_per_group=2, sigma=3, sd={"Intercept": 2, "x": 0}, fixed={"Intercept": 0, "x": 0},
        random_effects=shape, errors=shape,
    )  # fmt: skip
    u = pd.Series(truth["ranef"]["Intercept"])
    assert stats.kstest(u / 2, law.cdf).pvalue > 1e-4
    errors = (frame.y - frame.group.map(u)) / 3
    assert stats.kstest(errors[::2], law.cdf).pvalue > 1e-4


def test_predictors():
    how = {
        "a": "uniform", "b": {"binary": 0.2, "between": True}, "c": "sequence",
        "d": {"normal": {"mean": 50, "sd": 10}, "between": True},
    }  # fmt: skip
    frame, _ = draw(0, "y ~ a + b + c + d + (1 | g)", groups=4000, rows_per_group=3, predictors=how)
    assert stats.kstest(frame.a, "uniform").pvalue > 1e-4  # fixed seed, as above
    assert (frame.b.to_numpy() == np.repeat(frame.b[::3], 3)).all()
    assert abs(frame.b[::3].mean() - 0.2) < 5 * np.sqrt(0.16 / 4000)
    assert frame.c.tolist() == [0, 1, 2] * 4000
    assert (frame.d.to_numpy() == np.repeat(frame.d[::3], 3)).all()
    assert stats.kstest(frame.d[::3], stats.norm(50, 10).cdf).pvalue > 1e-4
