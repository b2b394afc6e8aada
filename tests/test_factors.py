"""The order of a factor's levels: the file's own where it has one, as in R; the reference level is its first."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from lmm.data import ingest
from lmm.model.formula import parse
from lmm.moments import stage

ORDER = ["c", "unused", "a", "b"]


def rows(n=60):
    rng = np.random.default_rng(4)
    f, week, g = rng.choice(list("abc"), n), rng.choice([10, 2, 3], n), np.arange(n) % 6
    return pd.DataFrame({"y": rng.normal(size=n), "f": f, "week": week, "g": g})


def design(files, formula):
    """data.json's levels, and the design that moments and every stage after them use."""
    parsed = parse(formula)
    source, data = ingest.scan(ingest.inspect(str(files), parsed.variables, "g"), parsed)
    return data, stage.designs([formula], data, None)[0], source


@pytest.mark.parametrize("row_group_size", [60, 7])
@pytest.mark.parametrize("ordered", [False, True])
def test_categories_of_parquet_keep_their_order(tmp_path, row_group_size, ordered):
    """R's relevel or pandas' categories choose the reference; a level that no row has is left out, as lmer does."""
    frame = rows().assign(f=lambda t: pd.Categorical(t["f"], ORDER, ordered))
    frame.to_parquet(tmp_path / "d.parquet", row_group_size=row_group_size)
    data, built, _ = design(tmp_path / "d.parquet", "y ~ f + (1 | g)")
    assert data["columns"]["f"]["levels"] == ["c", "a", "b"]
    assert built.terms.fixed == ("Intercept", "f[T.a]", "f[T.b]")


def test_several_files_agree_whatever_each_of_them_holds(tmp_path):
    """The second file's rows have none of the first level."""
    frame = rows().sort_values("f", ascending=False).assign(f=lambda t: pd.Categorical(t["f"], ORDER))
    for k in range(3):
        frame.iloc[k * 20 : (k + 1) * 20].to_parquet(tmp_path / f"{k}.parquet")
    data, built, _ = design(tmp_path / "*.parquet", "y ~ f + (f || g)")
    assert data["columns"]["f"]["levels"] == ["c", "a", "b"]
    assert built.terms.blocks == (("Intercept",), ("f[T.a]",), ("f[T.b]",))


def test_sorted_categories_need_not_be_the_same_in_every_file(tmp_path):
    """What astype("category") makes of each file's own rows is no order of its own."""
    frame = rows().sort_values("f")
    for k in range(3):
        part = frame.iloc[k * 20 : (k + 1) * 20]
        part.astype({"f": "category"} if k else {}).to_parquet(tmp_path / f"{k}.parquet")
    assert design(tmp_path / "*.parquet", "y ~ f + (1 | g)")[0]["columns"]["f"]["levels"] == ["a", "b", "c"]


def test_text_and_categories_without_a_dictionary_page_are_sorted(tmp_path):
    categories = pa.table(rows().assign(f=lambda t: pd.Categorical(t["f"], ORDER)))
    parquet.write_table(categories, tmp_path / "plain.parquet", use_dictionary=False)
    rows().to_parquet(tmp_path / "text.parquet")
    for name in ("plain", "text"):
        found = design(tmp_path / f"{name}.parquet", "y ~ f + (1 | g)")[0]
        assert found["columns"]["f"]["levels"] == ["a", "b", "c"]


def test_pandas_categories_of_numbers_are_categories(tmp_path):
    """Arrow's schema calls them numbers; a model would have taken weeks for a trend."""
    frame = rows().assign(week=lambda t: pd.Categorical(t["week"]))
    frame.to_parquet(tmp_path / "d.parquet")
    data, built, source = design(tmp_path / "d.parquet", "y ~ week + (1 | g)")
    assert built.terms.fixed == ("Intercept", "week[T.3]", "week[T.10]")
    assert ingest.reopen(data) == source
    copy = tmp_path / "copy.parquet"
    ingest.copy(source, str(copy))
    whole = stage.of_sources(built, data)
    copied = stage.of_rows(
        stage.designs(["y ~ week + (1 | g)"], data, pd.read_parquet(copy))[0], pd.read_parquet(copy)
    )
    assert copied.basis.columns == whole.basis.columns
    # The same sums in the same order, in two bases that differ in the sample's mean: rounding of 60 rows
    np.testing.assert_allclose(copied.ols(("Intercept", "week[T.3]", "week[T.10]"))[0],
                               whole.ols(("Intercept", "week[T.3]", "week[T.10]"))[0], rtol=1e-12)  # fmt: skip


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_the_reference_level_is_chosen_in_the_formula_too(tmp_path, name):
    """docs/own-data.md says so."""
    formula = "y ~ C(f, contr.treatment('b')) + (1 | g)"
    frame = rows().assign(f=lambda t: pd.Categorical(t["f"], ORDER))
    if name == "csv":
        frame.to_csv(tmp_path / "d.csv", index=False)
    else:
        frame.to_parquet(tmp_path / "d.parquet")
    _, built, _ = design(tmp_path / f"d.{name}", formula)
    compared = {term[-2] for term in built.terms.fixed[1:]}
    assert compared == {"a", "c"}
    assert all("[T." in term for term in built.terms.fixed[1:])
