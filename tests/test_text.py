"""Names survive: whatever text groups, levels and columns have for names, it is the same from file to page.

A few examples only, each of which goes through every stage; the look-alikes are what went wrong once.
"""

import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import stages
from lmm.core.store import read_json, read_table
from lmm.data import cells

LOOK_ALIKES = [
    "1.1", "1.10", "001", "1", "0", "-1", "1e5", "inf", "NaN", "nan", "None", "NULL", "n/a", "True", "1_1", "0x1F",
    "2024-01-01", "x:z", "x[T.a]", "(x)", "a.b", "a.b.c", "Observation", "Residual", "sd__x", "cor__Intercept.x",
    "variance_explained__icc", "level", "n", "term", "group", "row", "source", "chain", "draw", "ranef", "engine",
    "estimate", "y*", "1 * x", "v0", "d0", "c0", "lmm_e1", "complete", "key", "value", "$x$", "$\\frac{", "km/h", "/",
    ".", "..", "\\", "'", '"', "a''b", "a,b", "a;b", " a", "a ", "a  b", "a\nb", "a\r\nb", "a\tb", "~", "|", "+", "#",
    "{x}", "{{7*7}}", "{% raw %}", "%s", "5 %", "± 3", "<b>", "</script>", "&amp;", "-->", "__proto__", "constructor",
    "class", "lambda", "log", "C", "I", "np", "poly(x, 2)[1]", "\x01", "\u202e", "\ufeff", "\u00a0", "é", "e\u0301",
    "ﬁ", "😀", "NA",
]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(LOOK_ALIKES),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=6),
)
# A formula has odd names in backticks; Intercept is refused with a message.
COLUMNS = TEXTS.filter(lambda text: "`" not in text and text.strip() and text != "Intercept")
ENGINES = {"ols": {}, "mixedlm": {}, "reml": {}}


class Scripts(HTMLParser):
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


@st.composite
def studies(draw):
    """Format, names of the columns, levels of the groups and of the factor."""
    kind = draw(st.sampled_from(["csv", "tsv", "parquet"]))
    names = draw(st.lists(COLUMNS, min_size=5, max_size=5, unique_by=str.lower))
    groups, factor = (
        draw(st.lists(TEXTS, min_size=k, max_size=k, unique=True).map(lambda some: [*some, "1.10x"]))
        for k in (4, 2)
    )
    if kind != "parquet":  # there these words, and blanks, are missing, and a number among text is an error
        groups = [f"{text}!" if text.strip(" \t") in cells.MISSING else text for text in groups]
        numbers = cells.numbers(pd.DataFrame({"f": factor}))["f"]
        odd = [
            text.strip(" \t") in cells.MISSING or not np.isnan(x)
            for text, x in zip(factor, numbers, strict=True)
        ]
        factor = [f"{text}!" if bad else text for text, bad in zip(factor, odd, strict=True)]
    return kind, names, list(dict.fromkeys(groups)), list(dict.fromkeys(factor))


def made(names, groups, factor, seed=1) -> pd.DataFrame:
    """Rows: response, two numbers, a factor, the groups."""
    rng, n = np.random.default_rng(seed), 8 * len(groups)
    code, level = np.repeat(np.arange(len(groups)), 8), np.arange(n) % len(factor)
    x, z = rng.normal(size=(2, n)).round(3)
    y = rng.normal(size=len(groups))[code] * (2 + x) + x - z + level + rng.normal(size=n)
    columns = (y.round(4), x, z, np.array(factor, dtype=object)[level], np.array(groups, dtype=object)[code])
    return pd.DataFrame({"row": np.arange(n), **dict(zip(names, columns, strict=True))})


def run(folder, kind, names, groups, factor, engines, monkeypatch) -> tuple[stages.Run, str]:
    """A study through all stages, its own file as the rows to predict."""
    frame = made(names, groups, factor)
    file = folder / f"d.{kind}"
    if kind == "parquet":
        frame.to_parquet(file)
    else:
        frame.to_csv(file, index=False, sep="," if kind == "csv" else "\t")
    y, x, z, f, g = (f"`{name}`" for name in names)
    formula = f"{y} ~ {x} + {z} + {f} + ({x} + {z} | {g})"
    ran = stages.Run(
        folder, {"formula": formula, "data": str(file), "predict": str(file), "engines": engines}, monkeypatch
    )
    return ran, ran.everything()


def check(ran: stages.Run, page: str, names, groups, factor) -> None:
    """Every artifact has the names as they are."""
    _, x, z, f, g = names
    base, expected = ran.base, {"Intercept", x, z, *(f"{f}[T.{level}]" for level in sorted(factor)[1:])}
    data = read_json(base / "data/data.json")
    assert set(data["columns"]) == set(names)
    assert data["columns"][f]["levels"] == sorted(factor)
    rows = pd.read_parquet(base / "data/data.parquet")
    assert list(dict.fromkeys(rows[g])) == groups
    assert set(rows[f]) == set(factor)
    terms = read_json(base / "moments/design.json")[next(iter(read_json(base / "moments/design.json")))][
        "terms"
    ]
    # backticks tell apart what would be called the same, and are no part of a name
    assert {term if term in expected else term.replace("`", "") for term in terms["fixed"]} == expected
    assert set(pd.read_parquet(base / "moments/moments.parquet")["level"]) == set(groups)
    for engine in ran.study["engines"]:
        parameters = read_table(base / engine / "parameters.csv")
        fixed = parameters[parameters["effect"] == "fixed"]
        assert fixed["term"].tolist() == terms["fixed"]
        assert fixed["estimate"].notna().all()
        if engine != "ols":
            assert set(parameters.loc[parameters["effect"] == "ran_pars", "group"]) == {g, "Residual"}
            ranef = read_table(base / engine / "ranef.parquet")
            assert set(ranef["level"]) == set(groups)
            assert list(dict.fromkeys(ranef["term"])) == terms["blocks"][0]
            assert set(ranef["group"]) == {g}
    for table in ("reml/influence.parquet", "mixedlm/coef.parquet", "comparison/ranef_differences.csv"):
        assert set(read_table(base / table)["level"]) == set(groups), table
    differences = read_table(base / "comparison/ranef_differences.csv")
    assert set(differences["term"]) == set(terms["blocks"][0])
    assert differences[["mixedlm", "reml", "no_pooling"]].notna().all(axis=None)
    found = read_table(base / "predictions/predictions.parquet")
    assert set(found["level"]) == set(groups)
    ours, theirs = (found.loc[found["source"] == source, "fitted"].tolist() for source in ("data", "predict"))
    assert ours == theirs  # the same rows from the user's own file
    about = read_json(base / "predictions/predictions.json")
    assert (about["known_groups"], about["new_groups"]) == (len(groups), 0)
    summary = read_json(ran.root / "results/summary.json")["studies"]["own"]
    assert set(summary["estimates"]["reml"]) >= set(terms["fixed"])
    for figure in (base / "figures").glob("*.svg"):
        ET.parse(figure)
    parsed = Scripts(page)
    (carried,) = map(json.loads, parsed.data)
    assert [group["id"] for group in carried["groups"]] == sorted(groups, key=[*groups].index) or {
        group["id"] for group in carried["groups"]
    } == set(groups)
    assert carried["group"] == g
    shown = "".join(parsed.text)
    for name in (*groups, *expected, g):
        assert name in shown, name


@pytest.fixture
def patched():
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield monkeypatch


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(studies())
def test_any_name_survives_from_file_to_page(tmp_path_factory, patched, study):
    kind, names, groups, factor = study
    ran, page = run(tmp_path_factory.mktemp("names"), kind, names, groups, factor, ENGINES, patched)
    check(ran, page, names, groups, factor)
