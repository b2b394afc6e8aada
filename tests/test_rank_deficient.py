"""Fixed effects that are combinations of others: those that R drops are dropped, and the fit is that of the rest."""

import numpy as np
import pandas as pd
import pytest

from lmm import frames
from lmm.core.errors import StudyError
from lmm.data import checks
from lmm.engines import reml
from lmm.inference.functions import functions, not_estimable
from lmm.inference.hypotheses import contrasts, terms_of
from lmm.inference.reference_grid import ReferenceGrid, Request
from lmm.model.design import build, rebuild
from lmm.model.formula import parse
from lmm.moments import stage

RNG = np.random.default_rng(10)
N = 120
DATA = {"sources": ["d.csv"]}


def frame(**columns):
    """Rows with two factors, one cell of whose table is empty, and predictors far from 0."""
    a, b = RNG.choice(list("pqr"), N), RNG.choice(list("uvw"), N)
    b = np.where((a == "r") & (b == "w"), "u", b)
    base = {
        "y": RNG.normal(10, 2, N),
        "x": RNG.normal(2008, 3, N),
        "z": RNG.normal(0, 1, N),
        "a": a,
        "b": b,
        "g": np.repeat([f"g{k}" for k in range(12)], 10),
    }
    made = pd.DataFrame(base)
    return made.assign(**{name: make(made) for name, make in columns.items()})


def pivoted(X: np.ndarray, names, tolerance=1e-7) -> list[str]:
    """The columns that LINPACK's dqrdc2, and so R's lm and lme4, moves to the end: one after the other, by
    modified Gram-Schmidt on the rows themselves, those whose rest is below `tolerance` of their length."""
    basis, dropped = [], []
    for name, column in zip(names, X.T, strict=True):
        rest = column.copy()
        for _ in range(2):  # twice is enough (Giraud et al. 2005)
            for q in basis:
                rest -= q * (q @ rest)
        if np.linalg.norm(rest) <= tolerance * max(np.linalg.norm(column), 1e-300):
            dropped.append(name)
        else:
            basis.append(rest / np.linalg.norm(rest))
    return dropped


CASES = {
    "an empty cell": ("y ~ a * b + (1 | g)", {}),
    "the reference's cell is empty": ("y ~ a * b + (1 | g)", {"a": lambda d: np.where(d["b"] == "w", "q", d["a"])}),
    "a product that is constant": ("y ~ x * a + (1 | g)", {"x": lambda d: np.where(d["a"] == "q", 0.0, d["x"])}),
    "twice a column": ("y ~ x + w + z + (1 | g)", {"w": lambda d: 2 * d["x"] + 1}),
    "a sum": ("y ~ x + z + w + (1 | g)", {"w": lambda d: d["x"] - 3 * d["z"]}),
    "a sum far from 0": ("y ~ x + w + v + (1 | g)", {"w": lambda d: d["x"] + 1e5, "v": lambda d: d["x"] * 1e-6}),
    "no intercept": ("y ~ 0 + a + z + w + (1 | g)", {"w": lambda d: 7.0 + d["z"]}),
    "a random slope": ("y ~ z + w + (w | g)", {"w": lambda d: d["z"] + 2}),
    "full rank": ("y ~ x + z + a + (z | g)", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_dropped_are_the_columns_that_r_drops_and_the_fit_is_that_of_the_others(case):
    text, columns = CASES[case]
    rows = frame(**columns)
    design = build(parse(text), rows)
    X = design.predictors(rows)[:, [design.terms.columns.index(name) for name in design.terms.fixed]]
    moments = stage.of_rows(design, rows)
    (kept,) = stage.checked(moments, [design], DATA, "drop")
    expected = pivoted(X, design.terms.fixed)
    assert list(kept.terms.dropped) == expected
    assert bool(expected) == (case != "full rank")
    assert kept.terms.fixed == tuple(name for name in design.terms.fixed if name not in expected)
    assert rebuild(kept.state()).terms == kept.terms
    # least squares on the rows without those columns; relative 1e-8: x is 700 of its sd's away from 0
    own = X[:, [design.terms.fixed.index(name) for name in kept.terms.fixed]]
    beta, *_ = np.linalg.lstsq(own, rows["y"], rcond=None)
    found = moments.ols(kept.terms.fixed)
    np.testing.assert_allclose(own @ found.beta, own @ beta, rtol=1e-9)
    np.testing.assert_allclose(found.beta, beta, rtol=1e-5, atol=1e-7)
    assert found.rss == pytest.approx(np.sum((rows["y"] - own @ beta) ** 2), rel=1e-10)
    # and REML: moments of the kept columns alone, in a basis of their own, give the same fit
    by_hand = stage.of_rows(kept, rows)
    fits = [
        reml.fit(part, kept.terms.fixed, kept.terms.blocks, profile=False)[0] for part in (moments, by_hand)
    ]
    for column in ("estimate", "std_error"):
        np.testing.assert_allclose(*(fit.parameters[column] for fit in fits), rtol=2e-5, atol=1e-6)
    assert fits[0].diagnostics.criterion == pytest.approx(fits[1].diagnostics.criterion, abs=1e-7)


def test_error_names_the_first_column():
    rows = frame(w=lambda d: 2 * d["x"])
    design = build(parse("y ~ x + w + (1 | g)"), rows)
    moments = stage.of_rows(design, rows)
    with pytest.raises(StudyError, match=r"d.csv: column 'w': a linear combination of 'x' in all rows"):
        stage.checked(moments, [design], DATA, "error")
    # random effects are never dropped: lme4 does not either
    design = build(parse("y ~ x + (x + w | g)"), rows)
    with pytest.raises(StudyError, match=r"column 'w': a linear combination of 'x'"):
        stage.checked(stage.of_rows(design, rows), [design], DATA, "drop")


def test_near_combinations_stay():
    """A column 1e-4 of its sd away from a combination is estimated, as R's lm does."""
    rows = frame(w=lambda d: d["x"] + 1e-4 * d["z"] * 3)
    design = build(parse("y ~ x + w + (1 | g)"), rows)
    assert checks.combinations(stage.of_rows(design, rows), design.terms.fixed) == {}


def test_rows_whose_mean_the_data_cannot_tell():
    rows = frame()
    design = build(parse("y ~ a * b + (1 | g)"), rows)
    (kept,) = stage.checked(stage.of_rows(design, rows), [design], DATA, "drop")
    grid = pd.DataFrame([(a, b) for a in "pqr" for b in "uvw"], columns=["a", "b"])
    assert grid[~kept.estimable(grid)].to_numpy().tolist() == [["r", "w"]]
    assert kept.estimable(rows).all()
    assert rebuild(kept.state()).estimable(grid).tolist() == kept.estimable(grid).tolist()
    # numbers: w = x + 1e5 in the data, and nothing says what happens elsewhere
    rows = frame(w=lambda d: d["x"] + 1e5)
    design = build(parse("y ~ x + w + (1 | g)"), rows)
    (kept,) = stage.checked(stage.of_rows(design, rows), [design], DATA, "drop")
    new = pd.DataFrame({"x": [2000.0, 2000.0, 1e6], "w": [102000.0, 102001.0, 1.1e6]})
    assert kept.estimable(new).tolist() == [True, False, True]


def test_means_that_the_data_cannot_tell_are_left_out():
    """Of a * b with an empty cell: its mean, those that average over it, and what is compared with them."""
    rows = frame()
    design = build(parse("y ~ a * b + x + (1 | g)"), rows)
    moments = stage.of_rows(design, rows)
    (kept,) = stage.checked(moments, [design], DATA, "drop")
    columns = {"a": {"levels": list("pqr")}, "b": {"levels": list("uvw")}}
    columns["x"] = {
        "min": rows["x"].min(),
        "max": rows["x"].max(),
        "mean": rows["x"].mean(),
        "sd": rows["x"].std(),
    }
    grid = ReferenceGrid(kept, columns, N)
    cells = Request("means", ("a",), by=("b",), contrasts="pairwise")
    means, contrasts = functions(grid, cells)
    assert [tuple(cell) for cell in means.cells.itertuples(index=False)] == [
        (a, b) for b in "uvw" for a in "pqr" if (a, b) != ("r", "w")
    ]
    assert "p - r" not in contrasts.contrast[-1:] and len(contrasts.contrast) == 7
    # each is what least squares says of a model of cells: one mean per cell that has rows
    beta = moments.ols(kept.terms.fixed).beta
    cell = build(parse("y ~ 0 + k + x + (1 | g)"), rows.assign(k=rows["a"] + rows["b"]))
    found = stage.of_rows(cell, rows.assign(k=rows["a"] + rows["b"])).ols(cell.terms.fixed).beta
    expected = dict(zip(cell.terms.fixed, found, strict=True))
    own = [
        expected[f"k[{a}{b}]"] + expected["x"] * rows["x"].mean()
        for a, b in means.cells.itertuples(index=False)
    ]
    np.testing.assert_allclose(means.rows @ beta, own, rtol=1e-7)  # x is 700 of its sd's away from 0
    said = not_estimable(grid, cells)
    assert said[0] == "effects: a: 1 of 9 means cannot be told from these data and are left out: r, w"
    assert "2 of 9 contrasts" in said[1]
    averaged, _ = functions(grid, Request("means", ("a",), contrasts="pairwise"))
    assert averaged.cells["a"].tolist() == ["p", "q"]
    (slope,) = functions(grid, Request("slopes", ("x",)))
    np.testing.assert_allclose(slope.rows[0], [float(name == "x") for name in kept.terms.fixed], atol=1e-8)


def test_the_slope_of_a_predictor_whose_copy_was_dropped_is_not_told():
    """w - x is constant in the data: to move x alone moves it by -1 a unit, which no coefficient tells."""
    rows = frame(w=lambda d: d["x"] + 1e5)
    design = build(parse("y ~ x + w + z + (1 | g)"), rows)
    (kept,) = stage.checked(stage.of_rows(design, rows), [design], DATA, "drop")
    columns = {name: rows[name].agg(["min", "max", "mean"]).to_dict() for name in ("x", "w", "z")}
    for name, own in columns.items():
        own["sd"] = rows[name].std()
    grid = ReferenceGrid(kept, columns, N)
    at = pd.DataFrame({name: own["mean"] for name, own in columns.items()}, index=[0])
    # differences of numbers of 1e5 over 1e-4 of 3: eleven digits less ten
    for name, expected in (("x", -1.0), ("w", 1.0), ("z", 0.0)):
        np.testing.assert_allclose(grid.unknown(at, name), [[expected]], atol=1e-5)
    assert functions(grid, Request("slopes", ("x",))) == []
    (slope,) = functions(grid, Request("slopes", ("z",)))
    np.testing.assert_allclose(slope.rows[0], [float(name == "z") for name in kept.terms.fixed], atol=1e-6)


def test_python_drops_and_says_so():
    found = frames.fit("y ~ a * b + (1 | g)", frame())
    assert found.diagnostics.dropped == ["a[T.r]:b[T.w]"]
    assert found.diagnostics.warnings[0] == (
        "the fixed effects are rank-deficient in these data: a linear combination of those before it was dropped "
        "(a[T.r]:b[T.w])"
    )
    assert "a[T.r]:b[T.w]" not in set(found.parameters["term"])


def test_f_tests_are_of_the_columns_that_are_left():
    """w = x + z goes: x's and z's hypotheses have no weight on it, and it has no hypothesis of its own."""
    rng = np.random.default_rng(4)
    rows = pd.DataFrame(
        {"x": rng.normal(size=80), "z": rng.normal(size=80), "g": np.repeat(list("abcdefgh"), 10)}
    )
    rows["w"] = rows["x"] + rows["z"]
    rows["y"] = rows["x"] + rng.normal(size=80) + rng.normal(size=8).repeat(10)
    left = build(parse("y ~ x + z + w + (1 | g)"), rows).without({"w": {"x": 1.0, "z": 1.0}})
    names = [term.name for term in terms_of(left)]
    assert names == ["x", "z", "w"]
    for kind in ("I", "II", "III"):
        found = contrasts(terms_of(left), kind, np.eye(3), np.eye(3))
        assert {name: matrix.shape for name, matrix in found.items()} == {"x": (1, 3), "z": (1, 3)}
