"""Random effects without pooling: each group's own least squares less the model's fixed part in that group."""

import numpy as np
import pandas as pd
import pytest

from lmm.comparison import engines, no_pooling
from lmm.data.levels import encode
from lmm.engines import reml
from lmm.model.terms import Terms
from lmm.moments import accumulate


def study(x_shift=0.0, y_shift=0.0, seed=3):
    """30 groups of 2 to 9 rows: x and z vary within groups, w between them, and z is not balanced over groups."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 10, size=30)
    codes = np.repeat(np.arange(30), sizes)
    n = len(codes)
    x = rng.normal(size=n) + x_shift
    z = rng.normal(size=n) + rng.normal(size=30)[codes]
    w = rng.normal(50, 10, size=30)[codes]
    y = 3 + 0.5 * (x - x_shift) + 2 * z + 1.1 * w + rng.normal(size=30)[codes] + rng.normal(size=n) + y_shift
    return pd.DataFrame({"y": y, "Intercept": 1.0, "x": x, "z": z, "w": w, "group": codes.astype(str)})


def moments_of(rows, fixed, random):
    columns = tuple(dict.fromkeys([*random, *fixed]))
    codes, levels = encode(rows["group"])
    terms = Terms.one(tuple(fixed), (tuple(random),), "group", columns)
    W = rows[list(columns)].to_numpy(float)
    return accumulate.compute(terms, rows["y"].to_numpy(float), W, codes, levels)


@pytest.mark.parametrize(("x_shift", "y_shift"), [(0.0, 0.0), (2008.0, 1e8)])
@pytest.mark.parametrize(
    ("fixed", "random"),
    [
        (("Intercept", "x"), ("Intercept", "x")),
        (("Intercept", "x", "z", "w"), ("Intercept", "x")),
        (("Intercept", "w"), ("Intercept",)),
        (("Intercept", "z"), ("x",)),
        (("Intercept",), ("Intercept", "x")),
    ],
)
def test_it_is_the_own_fit_less_the_fixed_part_of_the_group(fixed, random, x_shift, y_shift):
    rows = study(x_shift, y_shift)
    beta = dict(zip(fixed, np.random.default_rng(1).normal(size=len(fixed)), strict=True))
    beta["Intercept"] += y_shift
    found = no_pooling.own_effects(moments_of(rows, fixed, random), random, beta)
    # the moments keep about 16 digits of the spread of y, not of its mean; numbers of size 1e8 here carry 1e-8
    atol = 1e-8 if y_shift == 0 else 1e-6
    for level, own in rows.groupby("group"):
        Z = own[list(random)].to_numpy()
        centred = Z - np.where(np.array(random) == "x", x_shift, 0.0) * ("Intercept" in random)
        (of_y, _, rank, _), (of_fixed, *_) = (
            np.linalg.lstsq(centred, part)
            for part in (own["y"] - y_shift, own[list(fixed)] @ np.array(list(beta.values())) - y_shift)
        )
        assert rank == len(random)
        expected = of_y - of_fixed
        if "Intercept" in random and "x" in random:  # back from x - x_shift to x
            expected = np.array([expected[0] - x_shift * expected[1], expected[1]])
        # an intercept at x = 0 carries the slope's error 2008 times
        size = np.maximum(1.0, np.abs(expected))
        assert np.all(np.abs(found.loc[level, list(random)].to_numpy(float) - expected) < atol * size)


def test_groups_that_determine_no_fit_are_nan():
    # a: a line; b: one row; c: one x
    rows = pd.DataFrame({
        "group": list("aaabcc"), "x": [0.0, 1, 2, 5, 3, 3], "y": [1.0, 3, 5, 1, 2, 4], "Intercept": 1.0,
    })  # fmt: skip
    both = ("Intercept", "x")
    found = no_pooling.own_effects(moments_of(rows, both, both), both, {"Intercept": 0.0, "x": 0.5})
    assert found.index.tolist() == moments_of(rows, both, both).levels.tolist()
    # a's line is 1 + 2 x; 1e-12: exact but for rounding
    assert found.loc["a", ["Intercept", "x"]].tolist() == pytest.approx([1.0, 1.5], abs=1e-12)
    assert found.loc["b":, ["Intercept", "x"]].isna().all(axis=None)


def test_with_a_covariate_of_the_groups_its_effect_is_no_spread_between_them():
    """The groups' own intercepts differ by 1.1 w, whose sd is 10: that is the fixed effect's, not the groups'."""
    rows = study()
    fixed, random = ("Intercept", "x", "z", "w"), ("Intercept",)
    moments = moments_of(rows, fixed, random)
    fits = {"reml": reml.fit(moments, fixed, (random,))[0]}
    assert engines.lead(fits) == "reml"
    own = no_pooling.own_effects(moments, random, fits["reml"].fixed)
    table = engines.ranef_differences(fits, {moments.group: own})
    left = rows["y"] - rows[list(fixed)] @ [fits["reml"].fixed[term] for term in fixed]
    by_hand = left.groupby(rows["group"]).mean()
    assert table.set_index("level")["no_pooling"].to_numpy() == pytest.approx(
        by_hand[table["level"]].to_numpy(), abs=1e-9
    )
    # closed form for a random intercept: the BLUP is the group's mean residual times its reliability, so that
    # every group lies nearer to 0 pooled than not
    sd, sigma = (
        fits["reml"].parameters.set_index("term")["estimate"][t] for t in ("sd__Intercept", "sd__Observation")
    )
    n = rows.groupby("group").size()[table["level"]].to_numpy()
    assert table["reml"].to_numpy() == pytest.approx(
        table["no_pooling"] * sd**2 / (sd**2 + sigma**2 / n), abs=1e-6
    )
