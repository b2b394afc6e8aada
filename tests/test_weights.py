"""Precision weights and offsets from the configuration and files to a fit, against lme4's numbers."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import inference_cases as cases
from lmm.config.load import load
from lmm.core.errors import StudyError
from lmm.data import ingest
from lmm.data.rows import Rows, rows_of
from lmm.engines import mixedlm, ols, reml, several_reml
from lmm.engines.base import Task
from lmm.model.formula import parse
from lmm.moments import stage
from lmm.prediction import new_rows
from lmm.prediction.predict import Beside, predict

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


# lme4, optimizer = "bobyqa" with rhoend = 1e-11, by lmer(diameter ~ x + (1 | plate) + (1 | sample), weights = w):
# criterion, fixed effects, their standard errors, sd's of plate, sample and residual
CROSSED = {
    "y | weights(w) ~ x": (
        343.189987543913, [22.8814263692856, 0.0167805890523], [0.8005059527957, 0.0162099405295],
        [0.8583417363489, 1.9035593266905, 0.6339737487451],
    ),
    "y | weights(w) ~ x + offset(o)": (
        364.285032810034, [22.5900290153712, 0.0150516131570], [0.8023630129281, 0.0177020235246],
        [0.8707763372904, 1.9049561023486, 0.6927301982392],
    ),
    "y ~ x + offset(o)": (
        360.486747656093, [22.6321147007033, 0.0111459494743], [0.8140715797986, 0.0185800646061],
        [0.8472149731700, 1.9361333990186, 0.6106469228948],
    ),
}  # fmt: skip


def penicillin(folder):
    """The penicillin data with weights, an offset and a predictor that are made up, as a file."""
    k = np.arange(144)
    rows = pd.read_csv(cases.HERE / "reference" / "penicillin.csv").rename(columns={"diameter": "y"})
    rows.assign(w=0.5 + k % 5 / 2, o=k % 7 / 10, x=k * k % 11).to_csv(folder / "rows.csv", index=False)
    return folder / "rows.csv"


@pytest.mark.parametrize("in_memory", [True, False], ids=["rows", "files"])
@pytest.mark.parametrize("start", CROSSED)
def test_fits_with_several_factors_equal_lme4s(tmp_path, start, in_memory):
    text = f"{start} + (1 | plate) + (1 | sample)"
    design, moments, _ = moments_of(penicillin(tmp_path), text, in_memory)
    criterion, estimate, std_error, sds = CROSSED[start]
    blocks = [grouping.blocks for grouping in design.terms.groupings]
    fit, _, best = several_reml.fit(moments, design.terms.fixed, blocks)
    assert best.criterion == pytest.approx(criterion, abs=1e-7)
    table = fit.parameters
    fixed = table[table["effect"] == "fixed"]
    assert fixed["estimate"].to_numpy() == pytest.approx(estimate, rel=TO_R)
    assert fixed["std_error"].to_numpy() == pytest.approx(std_error, rel=TO_R)
    ran = table[table["effect"] == "ran_pars"].set_index("group")["estimate"]
    assert ran[["plate", "sample", "Residual"]].to_numpy() == pytest.approx(sds, rel=TO_R)


def test_weighted_least_squares_with_several_factors(tmp_path):
    text = "y | weights(w) ~ x + (1 | plate) + (1 | sample)"
    design, moments, rows = moments_of(penicillin(tmp_path), text)
    X, w = np.column_stack([np.ones(144), rows.x]), rows.w.to_numpy()[:, None]
    expected = np.linalg.solve(X.T @ (w * X), X.T @ (w[:, 0] * rows.y))
    for read in (None, lambda: rows_of(design, rows)):
        found = ols.Fitter({"conf_level": 0.95}, design.terms).fit(Task(moments, read))
        assert found.parameters["estimate"].to_numpy()[:2] == pytest.approx(expected, rel=1e-10)


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
    limits = {"conf_level": 0.95, "max_rows": 1000, "max_groups": 100, "max_dense_rows": 100}
    skipped = mixedlm.Fitter(limits, design.terms).fit(task)
    assert skipped.diagnostics.status == "skipped"
    assert skipped.diagnostics.message == "statsmodels' MixedLM has no weights"
    assert not len(skipped.parameters)


def test_predictions_with_weights_and_an_offset_are_dense_algebras(tmp_path):
    """Rows of the data, and new ones of a known and of a new group; by the covariance matrix of all rows."""
    text = WEIGHTED.replace("Days +", "Days + offset(o) +")
    design, moments, rows = moments_of(FILE, text)
    fit, best = reml.fit(moments, design.terms.fixed, design.terms.blocks)
    level = rows.Subject.unique()[3]
    new = pd.DataFrame({"Days": [12.0, 3.0], "w": [4.0, 0.25], "o": [10.0, -5.0], "Subject": [level, "new"]})
    new.to_csv(tmp_path / "new.csv", index=False)
    _, data = ingest.scan(ingest.inspect(str(FILE), parse(text).variables, parse(text).keys), parse(text))
    read = new_rows.read(new_rows.check(str(tmp_path / "new.csv"), parse(text), data))
    both = pd.concat({"data": rows.head(7), "predict": read}, names=["source", "row"])
    about = both.index.to_frame(index=False).assign(level=both.Subject.astype(str).to_numpy(), estimable=True)
    found = predict(
        fit, moments, design.terms, design.predictors(both), about, 0.95,
        beside=Beside(design.weights(both), design.offset(both)),
    )  # fmt: skip
    X, sigma, D = np.column_stack([np.ones(len(rows)), rows.Days]), best.sigma, best.root @ best.root.T
    same = rows.Subject.to_numpy()[:, None] == rows.Subject.to_numpy()
    V = np.diag(sigma**2 / rows.w) + same * (X @ D @ X.T)
    XV = np.linalg.solve(V, X).T
    cov, y = np.linalg.inv(XV @ X), (rows.Reaction - rows.o).to_numpy()
    beta = cov @ XV @ y
    x = np.column_stack([np.ones(9), both.Days])
    c = (both.Subject.to_numpy()[:, None] == rows.Subject.to_numpy()) * (x @ D @ X.T)
    d = x - c @ XV.T
    mean = x @ beta + c @ np.linalg.solve(V, y - X @ beta) + both.o.to_numpy()
    error = np.einsum("na,ab,nb->n", x, D, x) - np.einsum("nr,rn->n", c, np.linalg.solve(V, c.T))
    error += np.einsum("na,ab,nb->n", d, cov, d)
    # the optimum is within 1e-9; sums of 180 rows
    np.testing.assert_allclose(found.fitted, mean, rtol=1e-8)
    np.testing.assert_allclose(found.fitted_fixed, x @ beta + both.o, rtol=1e-8)
    np.testing.assert_allclose(found.std_error, np.sqrt(error), rtol=1e-7)
    reach = np.sqrt(error + sigma**2 / both.w.to_numpy())
    np.testing.assert_allclose((found.pred_high - found.fitted) / stats.norm.ppf(0.975), reach, rtol=1e-7)


def test_new_rows_need_positive_weights(tmp_path):
    _, data = ingest.scan(ingest.inspect(str(FILE), parse(WEIGHTED).variables, "Subject"), parse(WEIGHTED))
    pd.DataFrame({"Days": [1, 2], "w": [1, 0], "Subject": "308"}).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(StudyError, match="'w': 0 in row 2, expected weights above 0"):
        new_rows.check(str(tmp_path / "new.csv"), parse(WEIGHTED), data)


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
        ({"engines": {"pymc": {"model": "full"}}}, "has no weights; expected the marginal model"),
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
