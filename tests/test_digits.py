"""Responses that groups determine, and groups that differ by so much that rounding takes the residual sd."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from lmm.core.errors import StudyError
from lmm.engines import reml
from lmm.inference import estimable
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.moments.stage import of_rows


def table(ratio: float, noise: float = 1.0) -> pd.DataFrame:
    """30 groups of 6 rows at the same times."""
    rng = np.random.default_rng(1)
    g, t = np.repeat(np.arange(30), 6), np.tile(np.arange(6.0), 30)
    y = 17 * ratio + 0.5 * t + ratio * rng.normal(size=30)[g] + noise * rng.normal(size=180)
    return pd.DataFrame({"g": [f"g{k:02d}" for k in g], "t": t, "y": y})


def residual_sd(frame: pd.DataFrame) -> float:
    """REML's of y ~ t + (1 | g) in a balanced design, by analysis of variance in rational numbers."""
    groups = [
        [(Fraction(t), Fraction(y)) for t, y in zip(own["t"], own["y"], strict=True)]
        for _, own in frame.groupby("g")
    ]
    count, n = len(groups), len(groups[0])
    middle = sum(t for t, _ in groups[0]) / n
    along = sum((t - middle) ** 2 for own in groups for t, _ in own)
    slope = sum((t - middle) * y for own in groups for t, y in own) / along
    means = [sum(y for _, y in own) / n for own in groups]
    square = sum(
        (y - m - slope * (t - middle)) ** 2 for own, m in zip(groups, means, strict=True) for t, y in own
    )
    return math.sqrt(square / (count * n - count - 1))


@pytest.mark.parametrize("ratio", [1.0, 1e3, 1e4, 1e6])
def test_a_fit_is_right_or_says_that_digits_were_lost(ratio):
    frame = table(ratio)
    design = build(parse("y ~ t + (1 | g)"), frame)
    moments = of_rows(design, frame)
    estimable.check(moments, [design], "d.csv")
    fit, best = reml.fit(moments, design.terms.fixed, design.terms.blocks, profile=False)
    if ratio <= 1e4:  # sums of squares carry 1e-15 of 1e8 times the residual variance: 1e-7 of it
        assert fit.diagnostics.status == "ok"
        assert best.sigma == pytest.approx(residual_sd(frame), rel=1e-6)
    else:
        assert fit.diagnostics.status == "non-converged"


@pytest.mark.parametrize("noise", [0.0, 1e-12, 1e-10, 1e-9])
@pytest.mark.parametrize("formula", ["y ~ t + (1 | g)", "y ~ t + (t | g)"])
def test_a_response_that_groups_and_predictors_determine_is_refused(formula, noise):
    frame = table(3.0, 3.0 * noise)
    design = build(parse(formula), frame)
    with pytest.raises(StudyError) as error:
        estimable.check(of_rows(design, frame), [design], "d.csv")
    assert str(error.value).startswith(
        "d.csv: column 'y': determined by the groups of 'g' and t: what they leave"
    )
    assert "; expected a response that varies within groups" in str(error.value)
