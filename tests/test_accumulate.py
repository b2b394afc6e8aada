"""Moments from rows: the same numbers by every way, over any split, at any shift and scale."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm.core.errors import StudyError
from lmm.data import ingest
from lmm.data.levels import encode
from lmm.data.source import Source
from lmm.model import design
from lmm.model.design import Terms
from lmm.model.formula import parse
from lmm.moments import accumulate as by_rows
from lmm.moments import centred
from lmm.moments.accumulate import Sums, compute, merge
from lmm.moments.pilot import basis_of, pilot, sample
from lmm.moments.sources import accumulate

SLOPE = Terms.one(("Intercept", "x"), (("Intercept", "x"),), "g", ("Intercept", "x"))
# y ~ x + z + (x | g): z is X's alone, so that gram need not keep its row
MORE = Terms.one(("Intercept", "x", "z"), (("Intercept", "x"),), "g", ("Intercept", "x", "z"))


def rows(n=300, groups=12, seed=0):
    """y, W = [1, x, z], codes and levels."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, groups, n)
    x, z = rng.normal(3, 2, n), rng.uniform(-1, 1, n)
    y = 3 + 0.5 * x - z + rng.normal(0, 4, groups)[codes] + rng.normal(size=n)
    return (
        y,
        np.column_stack([np.ones(n), x, z]),
        codes,
        np.array([f"g{k:02d}" for k in range(groups)], object),
    )


def by_hand(basis, y, W, codes, n_groups):
    """Gram matrices in long double, straight from their definition."""
    y, W = y.astype(np.longdouble), W.astype(np.longdouble)[:, -len(basis.columns) :]
    E = (W - basis.center) / basis.scale
    left = (y - basis.pilot[0] - E @ basis.pilot[1:].astype(np.longdouble)) / basis.y_scale
    E = np.column_stack([np.ones(len(y)), E, left])
    return np.stack([E[codes == j].T @ E[codes == j] for j in range(n_groups)]).astype(float)


def close(a, b, n):
    """Sums of n products: each addition rounds by at most eps of a sum of magnitudes, at most n * max."""
    np.testing.assert_allclose(a, b, rtol=0, atol=4 * n * np.finfo(float).eps * max(np.abs(b).max(), 1.0))


@pytest.mark.parametrize("whole", [True, False])
def test_gram_matrices_are_what_they_are_defined_as(whole):
    y, W, codes, levels = rows()
    m = compute(MORE, y, W, codes, levels, whole=whole)
    expected = by_hand(m.basis, y, W, codes, len(levels))
    kept = 4 if whole else 2
    assert m.gram.shape == (12, kept, 4)
    assert m.n.tolist() == np.bincount(codes, minlength=12).tolist()
    close(m.gram, expected[:, :kept], 40)
    close(m.total, expected.sum(axis=0), 300)
    assert (m.total == m.total.T).all()


def test_long_totals_that_no_group_keeps_are_added_in_blocks():
    y, W, codes, levels = rows(n=10_000)
    whole, part = (compute(MORE, y, W, codes, levels, whole=w) for w in (True, False))
    close(part.total, whole.total, 100)


@pytest.mark.parametrize("about_fits", [False, True])
def test_sums_of_many_rows_lose_the_digits_of_one_block_only(about_fits):
    """A hundred thousand equal squares: one by one they lose four digits, in blocks of 4,096 less than three."""
    y = np.full(100_000, math.sqrt(0.1))
    codes, W, nothing = np.zeros(len(y), dtype=np.int64), np.ones((len(y), 1)), np.empty(0)
    n, gram, total = np.zeros(1, dtype=np.int64), np.zeros((1, 1, 2)), np.zeros((2, 2))
    data = codes, W, 1, y, nothing, nothing, nothing, np.zeros(1), 1.0
    if about_fits:
        centred._add(*data, np.zeros((1, 1)), np.zeros((1, 1, 1)), n, gram, total)
    else:
        by_rows._add(*data, n, gram, total)
    exact, one_by_one = math.fsum(y * y), np.cumsum(y * y)[-1]
    assert abs(one_by_one / exact - 1.0) > 1e-12
    assert abs(total[1, 1] / exact - 1.0) < 2e-13
    assert n[0] == len(y) and total[0, 0] == 0.0  # what groups keep is not summed again


def test_basis_is_near_the_data():
    y, W, codes, levels = rows()
    m = compute(MORE, y + 1e6, W * [1, 1e5, 1e-5], codes, levels)
    # Scales are powers of two next to the sd: variances are within a factor of 2. The pilot is the OLS fit.
    variances = np.diag(m.covariance)[1:]
    assert ((variances >= 0.499) & (variances <= 2.01)).all()
    assert (np.log2(np.append(m.basis.scale, m.basis.y_scale)) % 1 == 0).all()
    assert abs(m.total[0, 1:]).max() < 1e-6 * len(y)
    expected = np.linalg.lstsq(W, y, rcond=None)[0] + [1e6, 0, 0]
    # Round-off of a least-squares fit whose values are 1e6 in size
    np.testing.assert_allclose(m.pilot_beta(MORE.fixed), expected / [1, 1e5, 1e-5], rtol=1e-9)


def test_without_an_intercept_the_pilot_stays_in_the_span_of_the_predictors():
    y, W, _, _ = rows()
    terms = Terms.one(("x",), (("Intercept",), ("z",)), "g", ("Intercept", "z", "x"))
    basis = pilot(terms, y, W[:, [0, 2, 1]])
    fitted = basis.pilot[0] + (W[:, [2, 1]] - basis.center) / basis.scale @ basis.pilot[1:]
    slope = W[:, 1] @ y / (W[:, 1] @ W[:, 1])
    assert basis.pilot[1] == 0.0  # z is Z's alone: to subtract it would change the model
    np.testing.assert_allclose(fitted, slope * W[:, 1], atol=1e-12 * np.abs(y).max())  # a few roundings


def test_constant_columns_and_perfect_fits_give_a_usable_basis():
    y, W, _, _ = rows()
    basis = pilot(MORE, W[:, 1].copy(), np.column_stack([W[:, 0], W[:, 1], np.full(300, 7.0)]))
    assert basis.scale[1] == 8.0  # the size, where there is no spread
    assert np.isfinite(basis.y_scale)
    assert basis.y_scale > 0
    assert pilot(SLOPE, y[:1], W[:1, :2]).y_scale > 0
    known = pilot(MORE, y, np.column_stack([W[:, 0], W[:, 1], np.full(300, 7.0)]), {"z": (5.0, 2.1)})
    assert (known.center[1], known.scale[1]) == (5.0, 2.0)


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 300), max_size=6),
    order=st.randoms(use_true_random=False),
    whole=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_moments_merged_over_any_split_are_those_of_the_whole(cuts, order, whole, seed):
    y, W, codes, levels = rows(seed=seed)
    all_rows = compute(MORE, y, W, codes, levels, whole=whole)
    edges = [0, *sorted(cuts), 300]
    spans = list(pairwise(edges))
    order.shuffle(spans)
    parts = []
    for start, stop in spans:
        # Each part knows only the levels that it has, as a file does; a part may be empty.
        found, names = encode(levels[codes[start:stop]])
        part = slice(start, stop)
        parts.append(compute(MORE, y[part], W[part], found, names, whole, all_rows.basis))
    merged = merge(parts)
    there = np.isin(levels, merged.levels)
    assert merged.levels.tolist() == levels[there].tolist()
    assert merged.n.tolist() == all_rows.n[there].tolist()
    # Additions in another order: 300 roundings of 1e-16 at most, on sums of magnitudes up to the diagonal's.
    size = np.sqrt(np.diag(all_rows.total))
    np.testing.assert_allclose(
        merged.total / np.outer(size, size), all_rows.total / np.outer(size, size), atol=1e-13
    )
    close(merged.gram, all_rows.gram[there], 60)


def test_merged_parts_have_all_logarithms_of_weights():
    y, W, codes, levels = rows()
    weights = np.random.default_rng(5).uniform(0.5, 4.0, len(y))
    all_rows = compute(MORE, y, W, codes, levels, weights=weights)
    parts = [slice(0, 100), slice(100, 130), slice(130, 300)]
    own = [
        compute(MORE, y[part], W[part], codes[part], levels, True, all_rows.basis, weights=weights[part])
        for part in parts
    ]
    assert all_rows.log_weights == pytest.approx(np.log(weights).sum(), rel=1e-12)
    assert merge(own).log_weights == pytest.approx(all_rows.log_weights, rel=1e-12)
    close(merge(own).gram, all_rows.gram, 60)


def test_merging_refuses_another_basis():
    y, W, codes, levels = rows()
    one, other = compute(MORE, y, W, codes, levels), compute(MORE, 2 * y, W, codes, levels)
    with pytest.raises(ValueError, match="different bases"):
        merge([one, other])
    with pytest.raises(ValueError, match="no moments"):
        merge([])


@settings(max_examples=30, deadline=None)
@given(power=st.integers(-26, 26), seed=st.integers(0, 1000))
def test_a_predictor_in_another_unit_leaves_the_standardised_gram_as_it_is(power, seed):
    y, W, codes, levels = rows(seed=seed)
    before = compute(SLOPE, y, W[:, :2], codes, levels)
    after = compute(SLOPE, y, W[:, :2] * [1.0, 2.0**power], codes, levels)
    # A power of two changes no bit of x; the pilot's least squares sees the same standardised columns.
    assert (after.gram == before.gram).all()


@pytest.mark.parametrize("factor", [1e8, 1e-8])
def test_scaling_by_1e8_changes_only_what_rounding_must(factor):
    y, W, codes, levels = rows()
    before = compute(SLOPE, y, W[:, :2], codes, levels)
    after = compute(SLOPE, y, W[:, :2] * [1.0, factor], codes, levels)
    unit = factor * before.basis.scale[0] / after.basis.scale[0]
    # factor * x rounds once (1.1e-16 of x); sums of 300 such products, none of them cancelling
    np.testing.assert_allclose(after.total[1, 1], before.total[1, 1] * unit**2, rtol=1e-13)
    beta, expected = after.ols(SLOPE.fixed).beta, before.ols(SLOPE.fixed).beta
    np.testing.assert_allclose(beta * [1.0, factor], expected, rtol=1e-12)  # condition number about 3


def test_a_shift_of_y_by_1e8_costs_only_the_digits_that_y_loses():
    y, W, codes, levels = rows()
    shifted = y + 1e8
    kept = shifted - 1e8  # exact (Sterbenz): y as the shifted numbers hold it, 1.5e-8 apart
    before, after = (compute(SLOPE, v, W[:, :2], codes, levels).ols(SLOPE.fixed) for v in (kept, shifted))
    # Nothing beyond y's own rounding: raw sums of squares (1e16 a row) would leave 0 digits of rss.
    np.testing.assert_allclose(
        after.rss, before.rss, rtol=1e-10
    )  # pilot intercept: one rounding of 1e8, 1.5e-8
    np.testing.assert_allclose(after.beta[1], before.beta[1], rtol=1e-8)
    np.testing.assert_allclose(after.beta[0] - 1e8, before.beta[0], rtol=0, atol=3e-8)  # two last bits of 1e8


def table(tmp_path, n=3000, files=3):
    """Parquet files of rows with a categorical, and all rows as one frame."""
    y, W, codes, levels = rows(n=n)
    frame = pd.DataFrame({"y": y + 1e4, "x": W[:, 1], "z": W[:, 2], "g": levels[codes]})
    frame["c"] = np.array(["u", "v", "w"])[codes % 3]
    for k, part in enumerate(np.array_split(np.arange(n), files)):
        frame.iloc[part].to_parquet(tmp_path / f"{k}.parquet", index=False)
    return frame


def opened(tmp_path, text, pattern="*.parquet"):
    """Source, design and basis of the files."""
    formula = parse(text)
    source = ingest.inspect(str(tmp_path / pattern), formula.variables, formula.group)
    source, data = ingest.scan(source, formula)
    made = design.build(formula, data["columns"])
    return source, made, basis_of(source, made, data["columns"])


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "text", ["y ~ x + z + (x | g)", "y ~ x * c + (x | g)", "np.log(y) ~ x + (0 + z | g)"]
)
def test_sql_batches_and_arrays_give_the_same_numbers(tmp_path, monkeypatch, text, whole):
    monkeypatch.setattr("lmm.moments.sources.BATCH_ROWS", 700)
    frame = table(tmp_path)
    source, made, basis = opened(tmp_path, text)
    assert (made.plain is not None) == (text == "y ~ x + z + (x | g)")
    y, W = made.matrix(frame)
    codes, levels = encode(frame["g"])
    expected = compute(made.terms, y, W, codes, levels, whole, basis)
    found = accumulate(source, made, basis, whole)
    assert found.levels.tolist() == levels.tolist()
    assert found.n.tolist() == expected.n.tolist()
    # The same products, added in another order
    close(found.gram, expected.gram, 300)
    close(found.total, expected.total, 300)


def test_the_same_bits_whatever_the_threads_and_one_file_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("lmm.data.source.PART_ROWS", 400)
    monkeypatch.setattr(Source.parts, "__defaults__", (400,))
    table(tmp_path)
    source, made, basis = opened(tmp_path, "y ~ x + z + (x | g)")
    assert len(source.parts()) == 9
    one, four = (accumulate(source, made, basis, threads=threads) for threads in (1, 4))
    assert (one.gram == four.gram).all()
    assert (one.total == four.total).all()
    merged = merge(accumulate(source.only(k), made, basis) for k in range(3))
    close(merged.gram, one.gram, 300)
    assert merged.n.tolist() == one.n.tolist()


def test_csv_and_incomplete_rows(tmp_path):
    frame = table(tmp_path, files=1)
    frame.loc[5, "x"] = np.nan
    frame.to_csv(tmp_path / "all.csv", index=False)
    formula = parse("y ~ x + (x | g)")
    source, data = ingest.scan(
        ingest.inspect(str(tmp_path / "all.csv"), formula.variables, "g", drop=True), formula
    )
    made = design.build(formula, data["columns"])
    basis = basis_of(source, made, data["columns"])
    found = accumulate(source, made, basis)
    complete = frame.dropna()
    codes, levels = encode(complete["g"])
    expected = compute(made.terms, *made.matrix(complete), codes, levels, basis=basis)
    assert found.n_rows == 2999
    close(found.gram, expected.gram, 300)


def test_user_columns_may_have_our_names(tmp_path):
    frame = table(tmp_path, files=1).rename(columns={"y": "lmm_e1", "x": "n", "g": "level"})
    frame.to_parquet(tmp_path / "named.parquet")
    source, made, basis = opened(tmp_path, "lmm_e1 ~ n + (n | level)", "named.parquet")
    codes, levels = encode(frame["level"])
    expected = compute(made.terms, *made.matrix(frame), codes, levels, basis=basis)
    close(accumulate(source, made, basis).gram, expected.gram, 300)


def test_a_term_that_is_not_finite_stops_with_its_row(tmp_path):
    frame = table(tmp_path, files=1)
    frame.loc[2000, "x"] = 0.0
    frame["x"] = frame["x"].abs()
    frame.to_parquet(tmp_path / "zero.parquet")
    with pytest.raises(StudyError, match=r"formula: 'np.log\(x\)': -inf in the row .*'x': 0.0"):
        source, made, basis = opened(tmp_path, "y ~ np.log(x) + (1 | g)", "zero.parquet")
        accumulate(source, made, basis)


def test_the_sample_is_spread_over_files_and_repeatable(tmp_path):
    frame = table(tmp_path)
    formula = parse("y ~ x + (x | g)")
    source, _ = ingest.scan(ingest.inspect(str(tmp_path / "*.parquet"), formula.variables, "g"), formula)
    some = sample(source, 320)
    assert len(some) == 320
    assert some.equals(sample(source, 320))
    assert some["y"].iloc[0] == frame["y"].iloc[0]
    at = pd.Index(frame["y"]).get_indexer(some["y"])
    assert np.bincount(at // 1000, minlength=3).min() >= 80  # every file has its share
    # 16 spans of 20 rows from the first to the last row but one sixteenth
    assert at.tolist() == [2999 * k // 16 + row for k in range(16) for row in range(20)]


def test_batches_add_up_in_place():
    y, W, codes, levels = rows()
    basis = pilot(MORE, y, W)
    sums = Sums(basis, levels)
    for part in (slice(0, 100), slice(100, 300)):
        sums.add(codes[part], y[part], W[part])
    whole = compute(MORE, y, W, codes, levels, basis=basis)
    # Groups see the same additions in the same order
    assert (sums.moments("g").gram == whole.gram).all()


def test_rows_that_come_one_by_one_are_weighted_too():
    y, W, codes, levels = rows(40)
    weights = np.linspace(0.5, 2.0, 40)
    basis = pilot(MORE, y, W)
    sums = Sums(basis, levels)
    for k in range(40):
        sums.add(codes[k : k + 1], y[k : k + 1], W[k : k + 1], weights[k : k + 1])
    whole = compute(MORE, y, W, codes, levels, basis=basis, weights=weights)
    assert (sums.moments("g").gram == whole.gram).all()
