"""Levels of the grouping factor: the same text and the same order by every way from rows to results."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm.core.columns import Effects, Factor
from lmm.core.store import read_table
from lmm.data import ingest
from lmm.data.levels import encode, in_order, union
from lmm.engines import reml
from lmm.engines.pymc.priors import resolve
from lmm.engines.pymc.tables import posterior_tree
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.moments import stage
from lmm.prediction import predict
from lmm.recovery.data import Bootstrap

PLAIN, BATCHES = "y ~ x + (x | g)", "y ~ np.cos(x) + (x | g)"


def by_definition(texts) -> list[str]:
    """Whole numbers by their value, else all by their characters."""
    whole = all(re.fullmatch("-?[0-9]{1,18}", text) for text in texts)
    return sorted(set(texts), key=lambda text: (int(text) if whole else 0, text))


@pytest.mark.parametrize(
    "values",
    [
        np.array([10, 9, 1, 100, 9]),
        np.array([-128, 127, 5, -1], dtype=np.int8),  # the spread does not fit in the type
        np.array([3, 2**40, -(2**40)]),  # too far apart for a table
        np.array([2**64 - 1, 7], dtype=np.uint64),
        np.array([10**18, 9]),  # one digit too many
        np.array([10.0, 9.0, 0.5]),
        np.array([True, False]),
        ["10", "9", "07", "7", "-3"],
        ["10", "9b", "1"],
        ["", " 1", "2"],
        ["ä", "z", "Z", "𝛼", "￿"],
        np.array([1, "1", "b"], dtype=object),
        pd.Series([3, 20, 3], dtype="Int64"),
        pd.Series(["b", "a", "b"], dtype="str"),
        pd.Series(pd.Categorical(["9", "10", "9"], categories=["unused", "10", "9"])),
        pd.Series(pd.Categorical([9, 10, 9])),
        np.array([1.5, np.nan]),
        np.array([], dtype=int),
    ],
)
def test_codes_and_levels_are_those_of_the_text(values):
    texts = [str(value) for value in np.asarray(values)]
    codes, levels = encode(values)
    assert levels.dtype == object
    assert codes.dtype == np.int64
    assert levels.tolist() == by_definition(texts)
    assert levels[codes].tolist() == texts


def test_rows_that_are_not_in_memory_order():
    frame = pd.DataFrame({"g": [5, 3, 5, 11]}, index=[7, 7, 1, 0]).iloc[::-1]
    codes, levels = encode(frame["g"])
    assert (codes.tolist(), levels.tolist()) == ([2, 1, 0, 1], ["3", "5", "11"])


names = st.one_of(
    st.integers(-30, 30).map(str), st.integers(0, 30).map("{:03d}".format), st.sampled_from(["a", "B2", "é"])
)


@settings(max_examples=50, deadline=None)
@given(st.lists(names, unique=True, min_size=1), st.lists(names, unique=True))
def test_a_union_has_the_order_of_the_whole(first, second):
    a, b = (np.array(some, dtype=object)[in_order(np.array(some, dtype=object))] for some in (first, second))
    levels, at_a, at_b = union(a, b)
    assert levels.tolist() == by_definition(first + second)
    assert levels[at_a].tolist() == a.tolist()
    assert levels[at_b].tolist() == b.tolist()


def files(folder, kind: str, last) -> pd.DataFrame:
    """Three files of rows, groups 1 to 12 but for `last`, which the last file has alone."""
    rng = np.random.default_rng(4)
    group = np.tile(np.arange(1, 13), 30)
    frame = pd.DataFrame({"x": rng.normal(size=360), "g": group})
    frame["y"] = frame["x"] + rng.normal(0, 3, 13)[group] + rng.normal(size=360)
    frame = frame.assign(g=frame["g"].astype(str).where(frame["g"] != 12, last))
    if kind != "text":
        frame["g"] = frame["g"].astype(kind)
    parts = [frame[(frame["g"] != frame["g"].iloc[11]) & (frame.index % 2 == k)] for k in (0, 1)]
    parts = [*parts, frame[frame["g"] == frame["g"].iloc[11]]]
    for k, part in enumerate(parts):
        part.to_parquet(folder / f"{k}.parquet", index=False)
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("formula", [PLAIN, BATCHES])
@pytest.mark.parametrize(("kind", "last"), [("int64", "12"), ("text", "12"), ("text", "12b"), ("text", "-2")])
def test_every_way_to_moments_has_one_order(tmp_path, monkeypatch, formula, kind, last):
    monkeypatch.setattr("lmm.moments.sources.BATCH_ROWS", 50)
    frame, parsed = files(tmp_path, kind, last), parse(formula)
    source = ingest.inspect(str(tmp_path / "*.parquet"), parsed.variables, "g")
    source, data = ingest.scan(source, parsed)
    design = build(parsed, data["columns"])
    assert (design.plain is not None) == (formula == PLAIN)
    expected = by_definition([*map(str, range(1, 12)), last])

    whole = stage.of_sources(design, data)
    assert whole.levels.tolist() == expected
    assert stage.of_rows(design, frame).levels.tolist() == expected
    sizes = frame["g"].astype(str).value_counts()
    assert whole.n.tolist() == [sizes[level] for level in expected]

    scattered = []
    for k in range(3):
        scattered.append((str(tmp_path / f"part{k}.parquet"), str(tmp_path / f"part{k}.json")))
        stage.of_sources(design, data, (k, k + 1)).write(*scattered[-1])
    merged, _ = stage.merged(scattered, [design], data)
    assert merged.levels.tolist() == expected
    if design.plain is not None:  # each file is a part, so the additions are the same ones
        assert (merged.gram == whole.gram).all()
        assert (merged.total == whole.total).all()
    merged.write(str(tmp_path / "all.parquet"), str(tmp_path / "all.json"))
    assert read_table(tmp_path / "all.parquet")["level"].tolist() == expected
    # whatever part comes first
    assert stage.merged(scattered[::-1], [design], data)[0].levels.tolist() == expected


def test_results_have_the_order_of_the_moments():
    rng = np.random.default_rng(5)
    group = rng.permutation(np.tile(np.arange(1, 25), 20))
    own = rng.normal(0, 5, 25)
    frame = pd.DataFrame({"x": rng.normal(size=480), "g": group.astype(str)})
    frame["y"] = own[group] + frame["x"] + rng.normal(size=480)
    design = build(parse(PLAIN), frame)
    moments, terms = stage.of_rows(design, frame), design.terms
    expected = [str(k) for k in range(1, 25)]
    assert moments.levels.tolist() == expected

    fit, _ = reml.fit(moments, terms.fixed, terms.blocks, profile=False)
    intercepts = fit.ranef[fit.ranef["term"] == "Intercept"]
    assert intercepts["level"].tolist() == expected
    # group effects of sd 5 known to about 1 / sqrt(20), less their mean, which the fixed intercept has
    np.testing.assert_allclose(intercepts["estimate"], own[1:] - own[1:].mean(), atol=1.5)

    draws = rng.normal(size=(2, 3, 24, 2))
    priors = resolve({}, moments, terms.fixed, terms.blocks, marginal=True)
    tree = posterior_tree({"Intercept": np.zeros((2, 3))}, {}, moments, priors, {}, [draws])
    assert tree["posterior"]["level"].values.tolist() == expected
    assert tree["constant_data"]["rows"].sel(level="24") == moments.n[23]

    rows = frame.assign(source="fitted", row=np.arange(480), level=frame["g"], estimable=True)
    rows = rows[["source", "row", "level", "estimable"]]
    found = predict.predict(fit, moments, terms, design.predictors(frame), rows, 0.95)
    # within a fitted line of its own group every residual is of size sigma = 1
    assert np.abs(found["fitted"] - frame["y"]).max() < 6

    drawn = Bootstrap(moments, terms, "0" * 12, 1, np.array([[1.0, 1.0, 2.0, 1.0, 0.0, 1.0]])).draw(0)
    assert drawn.moments.levels.tolist() == expected
    assert list(drawn.truth["ranef"]["Intercept"]) == expected


def test_a_table_of_random_effects_keeps_its_groups_together():
    estimate = np.array([[1.0, -1.0], [2.0, -2.0], [10.0, -10.0]])
    drawn = {"ranef": {"Intercept": {"10": 10.5, "1": 1.5}}}
    table = Effects(
        [Factor("g", np.array(["1", "2", "10"]), ("Intercept", "x"), drawn, {"estimate": estimate})]
    ).frame()
    assert table["level"].tolist() == ["1", "1", "2", "2", "10", "10"]
    assert table["term"].tolist() == ["Intercept", "x"] * 3
    assert table["estimate"].tolist() == [1.0, -1.0, 2.0, -2.0, 10.0, -10.0]
    np.testing.assert_array_equal(table["truth"], [1.5, np.nan, np.nan, np.nan, 10.5, np.nan])
