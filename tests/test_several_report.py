"""The report on several grouping factors: figures, tables and sentences of each."""

import re

import numpy as np
import pandas as pd
import pytest

import made_results
from lmm.report import answer, figures, sections, verdicts
from lmm.report.figures.fits import Fitted
from lmm.report.text import criticism, quote
from lmm.report.text import fits as text
from lmm.results.study import read
from said.reading import agree
from several import REFERENCE

FORMULA = "rt ~ cond + (cond | subj) + (1 | item)"


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """The reference's words, fitted."""
    frame = pd.read_csv(REFERENCE / "words.csv")
    root = tmp_path_factory.mktemp("words")
    settings, paths = made_results.fitted(root, frame, FORMULA, "words")
    return settings, paths, read("words", settings, paths)


def test_each_factor_has_its_own_results(words):
    *_, results = words
    assert results.groups == ["subj", "item"]
    subj, item = results.by_factor
    assert (subj.group, len(subj.levels), subj.random_terms) == ("subj", 40, ["Intercept", "cond"])
    assert (item.group, len(item.levels), item.random_terms) == ("item", 24, ["Intercept"])
    whole = results.fits["reml"].parameters.set_index(["group", "term"])["estimate"]
    for own in (subj, item):
        assert own.estimate("reml", "sd__Intercept") == whole[own.group, "sd__Intercept"]
        assert own.estimate("reml", "sd__Observation") == whole["Residual", "sd__Observation"]
        table = own.fits["reml"].ranef
        assert set(table["group"]) == {own.group}
        assert set(own.tables["ranef_differences"]["group"]) == {own.group}
        assert set(own.tables["influence"]["group"]) == {own.group}
    assert np.isnan(item.estimate("reml", "sd__cond"))


def test_residuals_are_what_all_factors_leave(words):
    *_, results = words
    rows, fixed = results.rows, results.fixed("reml")
    u = results.fits["reml"].ranef.set_index(["group", "level", "term"])["estimate"].to_dict()
    fit = [
        fixed["Intercept"] + u["subj", row.subj, "Intercept"] + u["item", row.item, "Intercept"]
        + (fixed["cond"] + u["subj", row.subj, "cond"]) * row.cond
        for row in rows.itertuples()
    ]  # fmt: skip
    # sums of five numbers of size 500
    np.testing.assert_allclose(Fitted(results).residuals("reml"), rows["rt"] - fit, atol=1e-10)


def test_the_residual_sd_is_said_once(words):
    *_, results = words
    said = [one for one in answer.sentences(results) if "SD between levels" in one]
    assert [one.partition(" is ")[0] for one in said] == [
        "The SD between levels of subj", "The SD between levels of item"
    ]  # fmt: skip
    assert [one.count("residual SD") for one in said] == [1, 0]


def test_every_factor_has_its_figures_and_its_section(words):
    settings, paths, results = words
    drawn = figures.draw("words", settings, paths).figures
    assert list(drawn) == figures.names(settings)
    for name in figures.BY_FACTOR:
        if name != "differences":  # one engine alone
            assert {f"{name}-1", f"{name}-2"} <= set(drawn)
            assert drawn[f"{name}-1"].title.endswith(" (subj)")
    assert all("Not drawn" not in figure.title for figure in drawn.values())
    made = {section["key"]: section for section in sections.sections(results, drawn)}
    shown = [figure.name for figure in made["random"]["figures"]]
    assert {"caterpillar-1", "caterpillar-2", "shrinkage-2"} <= set(shown)
    tables = {table.key: table for section in made.values() for table in section["tables"]}
    assert [len(tables[f"ranef-{k}"].rows) for k in (1, 2)] == [40, 24]
    assert len(tables) == sum(len(section["tables"]) for section in made.values()), "keys are unique"
    random = [[cell[1] for cell in row[:2]] for row in tables["reml-random"].rows]
    assert random == [["subj", "Intercept"], ["subj", "cond"], ["item", "Intercept"], ["Residual", ""]]


def test_sentences_name_the_factor(words):
    *_, results = words
    assert (
        "899 rows in 40 levels of subj and 24 levels of item, grouped by subj and item"
        in text.data(results)[0]
    )
    said = quote.results_paragraph(results)
    table = results.fits["reml"].parameters.set_index(["group", "term"])["estimate"]
    assert "random intercepts and random slopes of cond for subj and random intercepts for item" in said
    for words_, key in (
        ("SD of cond by subj", ("subj", "sd__cond")),
        ("SD of Intercept by item", ("item", "sd__Intercept")),
    ):
        agree(re.search(rf"{words_} = ([\d.]+)", said)[1], table[key])
    for own, label in zip(results.by_factor, ("subj", "item"), strict=True):
        said = criticism.influence(own)
        assert all(f" of {label}" in one for one in said), said
        assert re.match(
            rf"Leaving out level \S+ of {label} would \w+ the SD of Intercept of {label} from", said[0]
        )
    summary = verdicts.headline(results)
    assert summary["groups"] == {"subj": 40, "item": 24}
    assert summary["estimates"]["reml"]["sd__Intercept|item"] == table["item", "sd__Intercept"]
