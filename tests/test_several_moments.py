"""Moments of several factors: sums over any split of the rows, files and narrowed sets, by sums over the rows."""

from dataclasses import replace

import numpy as np
import pytest

import several
from lmm.data.levels import encode
from lmm.moments.pilot import pilot
from lmm.moments.several import SeveralMoments, kept_columns, merge, narrowed, read_any
from lmm.moments.several_accumulate import compute_several

FORMULA = "y ~ x + z + (x | a) + (1 | b) + (z || c)"
WEIGHTS = np.random.default_rng(2).uniform(0.5, 2.0, 60)


@pytest.fixture(scope="module")
def rows():
    """Terms, y, W, and each factor's levels by row."""
    rng = np.random.default_rng(1)
    terms = several.simulated(1, 60, (7, 5, 4), FORMULA).terms
    W = np.column_stack([np.ones(60), rng.normal(3.0, 1.0, (60, 2))])
    assert terms.columns == ("Intercept", "x", "z")
    levels = [
        np.array([f"{name}{k}" for k in rng.integers(0, n, 60)])
        for name, n in zip("abc", (7, 5, 4), strict=True)
    ]
    return terms, W @ [5.0, 2.0, 1.0] + rng.normal(size=60), W, levels


def moments(rows, some=slice(None), basis=None, whole=False, weights=WEIGHTS):
    """Of some rows, with the levels that are among them."""
    terms, y, W, levels = rows
    basis = basis or pilot(terms, y, W)
    codes, names = zip(*(encode(own[some]) for own in levels), strict=True)
    return compute_several(terms, y[some], W[some], codes, names, basis, whole, weights[some])


def test_cells_are_sums_over_the_rows_in_which_two_levels_meet(rows):
    terms, _, W, levels = rows
    found = moments(rows)
    basis = found.basis
    assert found.kept == kept_columns(basis, [grouping.blocks for grouping in terms.groupings])
    names = ("1", *basis.columns)
    assert [tuple(names[k] for k in kept) for kept in found.kept] == [("1", "x"), ("1",), ("1", "z")]
    E = np.column_stack([np.ones(60), (W[:, 1:] - basis.center) / basis.scale])
    for (k, m), cells in found.cells.items():
        expected = np.zeros(
            (len(found.factors[k].levels), len(found.factors[m].levels), *cells.gram.shape[1:])
        )
        for row in range(60):
            at = [np.flatnonzero(found.factors[f].levels == levels[f][row])[0] for f in (k, m)]
            own = WEIGHTS[row] * np.outer(E[row, list(found.kept[k])], E[row, list(found.kept[m])])
            expected[tuple(at)] += own
        np.testing.assert_allclose(cells.gram, expected[cells.i, cells.j], rtol=1e-12)
        assert len(cells.i) == np.count_nonzero(expected[:, :, 0, 0])
        assert np.all(np.diff(cells.i * 100 + cells.j) > 0)
    assert found.log_weights == pytest.approx(np.log(WEIGHTS).sum(), rel=1e-12)


@pytest.mark.parametrize("whole", [False, True])
def test_moments_of_parts_add_up_to_those_of_all_rows(rows, whole):
    """The parts know other levels, and may meet in other cells."""
    every = moments(rows, whole=whole)
    parts = [moments(rows, some, every.basis, whole) for some in (slice(0, 9), slice(9, 31), slice(31, 60))]
    found = merge(parts)
    assert found.n_rows == 60
    assert found.log_weights == pytest.approx(every.log_weights, rel=1e-12)
    np.testing.assert_allclose(found.total, every.total, rtol=1e-11, atol=1e-11)
    for own, expected in zip(found.factors, every.factors, strict=True):
        assert own.levels.tolist() == expected.levels.tolist()
        assert own.n.tolist() == expected.n.tolist()
        np.testing.assert_allclose(own.gram, expected.gram, rtol=1e-11, atol=1e-11)
    assert found.cells.keys() == every.cells.keys() == {(0, 1), (0, 2), (1, 2)}
    for pair, own in found.cells.items():
        expected = every.cells[pair]
        assert (own.i.tolist(), own.j.tolist()) == (expected.i.tolist(), expected.j.tolist())
        np.testing.assert_allclose(own.gram, expected.gram, rtol=1e-11, atol=1e-11)


def test_what_does_not_add_up_is_refused(rows):
    every = moments(rows)
    scaled = moments(rows, basis=replace(every.basis, y_scale=2.0 * every.basis.y_scale))
    with pytest.raises(ValueError, match="different bases"):
        merge([every, scaled])
    with pytest.raises(ValueError, match="different products"):
        merge([every, moments(rows, basis=every.basis, whole=True)])
    with pytest.raises(ValueError, match="no moments"):
        merge([])


@pytest.mark.parametrize("whole", [False, True])
def test_files_keep_every_number(rows, whole, tmp_path):
    every = moments(rows, whole=whole)
    files = [str(tmp_path / name) for name in ("levels.parquet", "cells.parquet", "details.json")]
    every.write(*files)
    for found in (SeveralMoments.read(*files), read_any(files[0], files[2], files[1])):
        assert (found.kept, found.groups, found.n_groups) == (every.kept, every.groups, every.n_groups)
        assert found.basis.plain() == every.basis.plain()
        assert found.log_weights == every.log_weights
        np.testing.assert_array_equal(found.total, every.total)
        for own, expected in zip(found.factors, every.factors, strict=True):
            assert (own.group, own.levels.tolist()) == (expected.group, expected.levels.tolist())
            np.testing.assert_array_equal(own.n, expected.n)
            np.testing.assert_array_equal(own.gram, expected.gram)
        for pair, own in found.cells.items():
            for name in ("i", "j", "gram"):
                np.testing.assert_array_equal(getattr(own, name), getattr(every.cells[pair], name))


def test_narrowed_moments_are_those_of_the_model_with_these_factors(rows):
    terms, y, W, levels = rows
    every = moments(rows)
    other = replace(terms, groupings=(terms.groupings[2], terms.groupings[0]))
    expected = moments((other, y, W, [levels[2], levels[0]]), basis=every.basis)
    found = narrowed(every, ("c", "a"))
    assert found.groups == ("c", "a") and found.kept == expected.kept
    own, right = found.cells[0, 1], expected.cells[0, 1]
    assert (own.i.tolist(), own.j.tolist()) == (right.i.tolist(), right.j.tolist())
    np.testing.assert_allclose(own.gram, right.gram, rtol=1e-11, atol=1e-11)
    assert narrowed(every, ("a", "b", "c")) is every
    assert narrowed(every, ("b",)) is every.of("b")
