"""Names survive: whatever text groups, levels and columns have for names, it is the same from file to page."""

import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from lmm.core.store import read_json, read_table
from lmm.core.tidy import grid_name
from lmm.data import cells
from lmm.model.syntax import term_of
from lmm.results import study
from stages import Run

# what was taken for something else once, or might be: by a reader of tables, a formula, a page, a figure
LOOK_ALIKES = [
    "1.1", "1.10", "001", "1", "0", "-1", "1e5", "inf", "NaN", "nan", "None", "NULL", "n/a", "True", "1_1", "0x1F",
    "2024-01-01", "x:z", "x[T.a]", "(x)", "a.b", "a.b.c", "Observation", "Residual", "sd__x", "cor__Intercept.x",
    "level", "n", "term", "group", "row", "source", "engine", "estimate", "1 * x", "v0", "complete", "$x$",
    "$\\frac{", "/", "..", "\\", "'", '"', "a,b", "a;b", " a", "a ", "a\nb", "a\r\nb", "a\tb", "~", "|", "+", "#",
    "{x}", "{{7*7}}", "{% raw %}", "%s", "± 3", "<b>", "</script>", "&amp;", "-->", "__proto__", "class", "log", "C",
    "I", "np", "poly(x, 2)[1]", "\x01", "\u202e", "\ufeff", "\u00a0", "é", "e\u0301", "ﬁ", "😀", "NA",
]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(LOOK_ALIKES),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=6),
)
# a formula has odd names in backticks; Intercept is refused with a message
COLUMNS = TEXTS.filter(lambda text: "`" not in text and text.strip() and text != "Intercept")


@st.composite
def studies(draw):
    """Format, names of four columns, levels of the groups and of the factor."""
    return (
        draw(st.sampled_from(["csv", "tsv", "parquet"])),
        draw(st.lists(COLUMNS, min_size=4, max_size=4, unique_by=str.lower)),
        draw(st.lists(TEXTS, min_size=8, max_size=12, unique=True)),
        draw(st.lists(TEXTS, min_size=2, max_size=4, unique=True)),
    )


def written(names: list[str]) -> list[str]:
    """The names that a text file can have: no missing values, and no numbers among a factor's."""
    numbers = cells.numbers(pd.DataFrame({"v": names}))["v"]
    odd = [
        text.strip(" \t") in cells.MISSING or not np.isnan(x) for text, x in zip(names, numbers, strict=True)
    ]
    return list(dict.fromkeys(f"{text}!" if bad else text for text, bad in zip(names, odd, strict=True)))


def made(names, groups, factor) -> pd.DataFrame:
    """Response, number, factor and groups; six rows of each group."""
    rng, n = np.random.default_rng(1), 6 * len(groups)
    code, level, x = (
        np.repeat(np.arange(len(groups)), 6),
        np.arange(n) % len(factor),
        rng.normal(size=n).round(3),
    )
    y = rng.normal(size=len(groups))[code] * (2 + x) + x + level + rng.normal(size=n)
    texts = np.array(factor, dtype=object)[level], np.array(groups, dtype=object)[code]
    return pd.DataFrame(dict(zip(names, (y.round(4), x, *texts), strict=True)))


class Texts(HTMLParser):
    """The data that a page carries, and its text."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.inside, self.data, self.text = False, [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.inside = tag == "script" and ("class", "groups") in attributes

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        (self.data if self.inside else self.text).append(data)


@settings(
    max_examples=1,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
@given(studies())
@example(("csv", ["class", "1.10", "a.b", "NA"], LOOK_ALIKES[:30], LOOK_ALIKES[30:34]))
@example(("parquet", ["C", "x:z", "$x$", "Residual"], LOOK_ALIKES[30:], LOOK_ALIKES[:8]))
def test_any_name_survives_from_file_to_page(tmp_path_factory, drawn):
    kind, names, groups, factor = drawn
    if kind != "parquet":
        factor = written(factor)
        groups = [f"{text}!" if text.strip(" \t") in cells.MISSING else text for text in groups]
        groups = list(dict.fromkeys([*groups, "text"]))
    folder = tmp_path_factory.mktemp("names")
    frame, file = made(names, groups, factor), folder / f"d.{kind}"
    if kind == "parquet":
        frame.to_parquet(file)
    else:
        frame.to_csv(file, index=False, sep="," if kind == "csv" else "\t")
    y, x, f, g = (f"`{name}`" for name in names)
    settings_ = {"formula": f"{y} ~ {x} + {f} + ({x} | {g})", "data": str(file), "predict": str(file)}
    with pytest.MonkeyPatch.context() as monkeypatch:
        ran = Run(folder, settings_, monkeypatch)
        page = ran.everything()
    check(ran, page, names, groups, factor)


def check(ran: Run, page: str, names, groups, factor) -> None:
    """Every artifact has the names as they are."""
    _, x, f, g = names
    base, levels = ran.base, sorted(factor)
    expected = ["Intercept", x, *(f"{f}[T.{level}]" for level in levels[1:])]
    data = read_json(base / "data/data.json")
    assert set(data["columns"]) == set(names)
    assert data["columns"][f]["levels"] == levels
    rows = pd.read_parquet(base / "data/data.parquet")
    assert list(dict.fromkeys(rows[g])) == groups
    assert set(rows[f]) == set(factor)
    (design,) = read_json(base / "moments/design.json").values()
    terms = design["terms"]["fixed"]
    # backticks tell apart what would be called the same, and are no part of a name
    assert sorted(a if a in expected else a.replace("`", "") for a in terms) == sorted(expected)
    assert set(pd.read_parquet(base / "moments/moments.parquet")["level"]) == set(groups)
    for engine in ("ols", "reml"):
        parameters = read_table(base / engine / "parameters.csv")
        fixed = parameters[parameters["effect"] == "fixed"]
        assert fixed["term"].tolist() == terms
        assert fixed["estimate"].notna().all()
    assert set(parameters.loc[parameters["effect"] == "ran_pars", "group"]) == {g, "Residual"}
    ranef = read_table(base / "reml/ranef.parquet")
    assert set(ranef["level"]) == set(groups)
    assert set(ranef["group"]) == {g}
    differences = read_table(base / "comparison/ranef_differences.csv")
    assert set(differences["level"]) == set(groups)
    assert differences[["reml", "no_pooling"]].notna().all(axis=None)
    assert set(read_table(base / "reml/influence.parquet")["level"]) == set(groups)
    found = {"data_json": base / "data/data.json", "effects": base / "effects/effects.csv"}
    effects = study.read("own", ran.study["stages"]["report"], found).tables["effects"]
    tests = read_table(base / "reml/tests.csv")
    assert set(tests["term"]) == {terms[1], term_of(f)}
    means = effects[(effects["engine"] == "reml") & (effects["kind"] == "mean")]
    assert means[grid_name(f)].tolist() == levels
    found = read_table(base / "predictions/predictions.parquet")
    assert set(found["level"]) == set(groups)
    ours, theirs = (found.loc[found["source"] == source, "fitted"].tolist() for source in ("data", "predict"))
    assert ours == theirs  # the same rows, from the user's own file
    about = read_json(base / "predictions/predictions.json")
    assert (about["known_groups"], about["new_groups"]) == (len(groups), 0)
    summary = read_json(base / "summary.json")["studies"]["own"]
    assert set(summary["estimates"]["reml"]) >= set(terms)
    for figure in (base / "figures").glob("*.svg"):
        ET.parse(figure)
    parsed = Texts(page)
    (carried,) = map(json.loads, parsed.data)
    assert {group["id"] for group in carried["groups"]} == set(groups)
    assert carried["group"] == g
    shown = "".join(parsed.text)  # where a page has one line end for all
    for name in (*groups, "Intercept", x, f, *levels, g):  # a contrast is its two levels
        assert name.replace("\r\n", "\n") in shown, name
