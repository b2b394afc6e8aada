"""Precision weights and offsets from the configuration and files to a fit, against lme4's numbers."""

import numpy as np
import pandas as pd
import pytest

import inference_cases as cases
from lmm.config.load import load
from lmm.core.errors import StudyError
from lmm.data import ingest
from lmm.data.rows import Rows
from lmm.engines import mixedlm, ols, reml
from lmm.engines.base import Task
from lmm.model.formula import parse
from lmm.moments import stage

FILE = cases.HERE / "reference" / "sleepstudy_weights.csv"
PLAIN = "Reaction ~ Days + (Days | Subject)"
WEIGHTED = "Reaction | weights(w) ~ Days + (Days | Subject)"
TO_R = 1e-6  # lme4's optimiser stops this near the optimum


def moments_of(path, text, in_memory=False):
    """Design, moments and data.json of a file, as the ingest and moments stages make them."""
    formula = parse(text)
    source = ingest.inspect(str(path), formula.variables, formula.keys, predictors=formula.predictors)
    _, data = ingest.scan(source, formula)
    rows = pd.read_csv(path, dtype={"Subject": str})
    design, _ = stage.designs([text], data, rows if in_memory else None)
    found = stage.of_rows(design, rows) if in_memory else stage.of_sources(design, data)
    return design, found, rows


@pytest.mark.parametrize("in_memory", [True, False], ids=["rows", "files"])
@pytest.mark.parametrize(
    ("name", "text"),
    [("weights", WEIGHTED), ("offset", WEIGHTED.replace("Days +", "Days + offset(o) +"))],
)
def test_fits_equal_lme4s(name, text, in_memory):
    design, moments, _ = moments_of(FILE, text, in_memory)
    reference = cases.R["fits"][name]
    fit, best = reml.fit(moments, design.terms.fixed, design.terms.blocks)
    assert moments.weighted
    assert best.criterion == pytest.approx(reference["criterion"], abs=1e-7)
    table = fit.parameters.set_index("term")
    fixed = table[table["effect"] == "fixed"]
    assert fixed["estimate"].to_numpy() == pytest.approx(reference["estimate"], rel=TO_R)
    assert fixed["std_error"].to_numpy() == pytest.approx(reference["std_error"], rel=TO_R)
    sds = table["estimate"][["sd__Intercept", "sd__Days", "sd__Observation"]].to_numpy()
    assert sds == pytest.approx([*reference["vc"][:2], reference["vc"][3]], rel=TO_R)


def test_an_offset_is_subtracted_in_sql_too():
    """Without weights the files' moments are SQL's; 1e-12: sums in another order."""
    text = PLAIN.replace("Days +", "Days + offset(o) +")
    _, by_sql, rows = moments_of(FILE, text)
    model = cases.Model(PLAIN, rows, offset=rows.o.to_numpy())
    assert not by_sql.weighted
    own = by_sql.ols(("Intercept", "Days"))
    other = model.moments.ols(("Intercept", "Days"))
    assert own.beta == pytest.approx(other.beta, rel=1e-12)
    assert own.rss == pytest.approx(other.rss, rel=1e-12)


def test_least_squares_is_weighted_and_mixedlm_skipped():
    design, moments, rows = moments_of(FILE, WEIGHTED, True)
    codes, levels = pd.factorize(rows.Subject, sort=True)
    task = Task(moments, lambda: Rows(design.terms, *design.matrix(rows), codes, np.asarray(levels)))
    X = np.column_stack([np.ones(len(rows)), rows.Days])
    W = rows.w.to_numpy()[:, None]
    expected = np.linalg.solve(X.T @ (W * X), X.T @ (W[:, 0] * rows.Reaction))
    found = ols.Fitter({"conf_level": 0.95}, design.terms).fit(task)
    assert found.parameters["estimate"].to_numpy()[:2] == pytest.approx(expected, rel=1e-10)
    limits = {"conf_level": 0.95, "max_rows": 1000, "max_groups": 100}
    skipped = mixedlm.Fitter(limits, design.terms).fit(task)
    assert skipped.diagnostics.status == "skipped"
    assert skipped.diagnostics.message == "statsmodels' MixedLM has no weights"
    assert not len(skipped.parameters)


@pytest.mark.parametrize("weight", [0.0, -1.5])
def test_weights_are_positive(tmp_path, weight):
    rows = pd.read_csv(FILE)
    rows.loc[6, "w"] = weight
    rows.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(StudyError, match=r"'w': .* in row 7, expected weights above 0"):
        moments_of(tmp_path / "rows.csv", WEIGHTED)


def test_the_key_is_written_into_every_formula(tmp_path):
    pd.read_csv(FILE).to_csv(tmp_path / "rows.csv", index=False)
    study = {
        "formula": PLAIN,
        "data": "rows.csv",
        "weights": "w",
        "engines": {"reml": {"formula": "Reaction ~ Days + (Days || Subject)"}},
        "models": {"a": PLAIN, "b": "Reaction ~ Days + (1 | Subject)"},
    }
    loaded = load({"studies": {"s": study}}, tmp_path).studies["s"]
    assert loaded.formula.weights == "w"
    assert loaded.formula_for("reml").weights == "w"
    assert {parse(text).weights for text in loaded.settings.models.values()} == {"w"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"predict": "rows.csv"}, "new rows with weights are not predicted"),
        ({"formula": "Reaction ~ Days + (1 | Subject) + (1 | o)"}, "is for one grouping factor"),
        ({"engines": {"pymc": {"model": "full"}}}, "has no weights; expected marginal"),
        ({"models": {"a": PLAIN, "b": "Reaction ~ Days + offset(o) + (1 | Subject)"}}, "response is"),
        ({"weights": "Subject"}, "also the response or a grouping factor"),
    ],
)
def test_where_weights_would_not_be_used_they_are_refused(tmp_path, change, words):
    pd.read_csv(FILE).to_csv(tmp_path / "rows.csv", index=False)
    study = {"formula": PLAIN, "data": "rows.csv", "weights": "w", "engines": {"reml": {}}} | change
    with pytest.raises(StudyError, match=words):
        load({"studies": {"s": study}}, tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("y | w ~ x + (1 | g)", "expected y | weights"),
        ("y ~ x - offset(o) + (1 | g)", "cannot be subtracted"),
        ("y ~ x + (offset(o) | g)", "an offset stands alone"),
        ("y ~ x:weights(w) + (1 | g)", "weights stand left"),
    ],
)
def test_weights_and_offsets_elsewhere(text, words):
    with pytest.raises(StudyError, match=words.replace("|", r"\|")):
        parse(text)
