"""Predictions held against dense algebra, and rows to predict that cannot be."""

import numpy as np
import pandas as pd
import pytest

from lmm.core.errors import StudyError
from lmm.core.tidy import Diagnostics, Fit
from lmm.data import ingest
from lmm.data.levels import encode
from lmm.engines import reml, several_reml
from lmm.inference.spreads import Spreads, root_of
from lmm.likelihood.marginal import pack_problem
from lmm.likelihood.problem import problem_of
from lmm.likelihood.several_marginal import SeveralMarginal
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.model.terms import Terms
from lmm.moments.accumulate import compute
from lmm.moments.stage import of_rows
from lmm.prediction import new_rows, predict, several, stage
from several import marginal, simulated

TERMS = Terms.one(("Intercept", "x", "w"), (("Intercept", "x"),), "g", ("Intercept", "x", "w"))


@pytest.fixture(scope="module")
def made():
    """Rows of 9 groups, some with one row only, and rows to predict in old and new groups."""
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(9), [1, 1, 2, 3, 5, 8, 8, 8, 8])
    n = len(codes)
    W = np.column_stack([np.ones(n), 4 + rng.normal(size=n), rng.normal(size=n)])
    u = rng.normal(size=(9, 2)) * [2, 0.7]
    y = W @ [10, 1, -2] + u[codes, 0] + u[codes, 1] * W[:, 1] + rng.normal(size=n)
    numbers, levels = encode(np.array([f"g{k}" for k in codes]))
    new = np.column_stack([np.ones(4), [0.0, 3, 5, -2], [0.0, 1, 0, 2]])
    rows = pd.DataFrame({"source": "data", "row": np.arange(n), "level": [f"g{k}" for k in codes]})
    extra = pd.DataFrame({"source": "predict", "row": np.arange(4), "level": ["g0", "g8", "new", "other"]})
    rows = pd.concat([rows, extra], ignore_index=True).assign(estimable=True)
    return compute(TERMS, y, W, numbers, levels), y, W, codes, np.vstack([W, new]), rows


def dense(y, X, Z, codes, D, sigma, x_new, z_new, codes_new, precision=None, mean=None):
    """Prediction by generalised least squares and kriging from the rows' whole covariance matrix."""
    n, J = len(y), codes.max() + 1
    big = np.zeros((n, J * Z.shape[1]))
    for i, j in enumerate(codes):
        big[i, j * Z.shape[1] : (j + 1) * Z.shape[1]] = Z[i]
    V = big @ np.kron(np.eye(J), D) @ big.T + sigma**2 * np.eye(n)
    inverse = np.linalg.inv(V)
    P = np.zeros((X.shape[1],) * 2) if precision is None else precision
    cov = np.linalg.inv(X.T @ inverse @ X + P)
    beta = cov @ (X.T @ inverse @ y + (P @ mean if mean is not None else 0))
    fit, variance = [], []
    for x, z, j in zip(x_new, z_new, codes_new, strict=True):
        c = np.array([z @ D @ Z[i] if codes[i] == j else 0.0 for i in range(n)])
        d = x - X.T @ inverse @ c
        fit.append(x @ beta + c @ inverse @ (y - X @ beta))
        variance.append(z @ D @ z - c @ inverse @ c + d @ cov @ d)
    return x_new @ beta, np.array(fit), np.array(variance)


def test_remls_predictions_are_those_of_the_dense_covariance_matrix(made):
    moments, y, W, codes, W_all, rows = made
    fit, best = reml.fit(moments, TERMS.fixed, TERMS.blocks, profile=False)
    table = predict.predict(fit, moments, TERMS, W_all, rows, 0.95)
    codes_all = np.append(codes, [0, 8, -1, -1])
    Z = W[:, :2]
    fixed, mean, variance = dense(y, W, Z, codes, best.covariance, best.sigma, W_all, W_all[:, :2], codes_all)
    # inverses of matrices of condition 1e3: 1e-9 leaves room for both ways' rounding
    np.testing.assert_allclose(table["fitted_fixed"], fixed, rtol=1e-9)
    np.testing.assert_allclose(table["fitted"], mean, rtol=1e-9)
    np.testing.assert_allclose(table["std_error"] ** 2, variance, rtol=1e-8)
    half = 1.959963984540054 * np.sqrt(variance + best.sigma**2)
    np.testing.assert_allclose(table["pred_high"] - table["fitted"], half, rtol=1e-8)
    assert (table["conf_low"] < table["fitted"]).all()
    assert (table["pred_low"] < table["conf_low"]).all()
    # lme4's predict: X beta + Z u; a new group has u = 0
    new = table[table["level"].isin(["new", "other"])]
    assert (new["fitted"] == new["fitted_fixed"]).all()
    beta = fit.parameters.set_index("term")["estimate"][list(TERMS.fixed)].to_numpy()
    u = fit.ranef["estimate"].to_numpy().reshape(-1, 2)  # one row per group, in the levels' order
    own = W @ beta + (Z * u[codes]).sum(axis=1)
    # a sum of five products of sizes near 10: a few last bits
    np.testing.assert_allclose(table["fitted"][: len(y)], own, rtol=1e-13)


def test_a_posteriors_variance_is_the_mixtures(made):
    moments, y, W, codes, W_all, _ = made
    problem = problem_of(moments, TERMS.fixed, TERMS.blocks)
    prior = {"mean": np.array([8.0, 0.5, 0.0]), "precision": np.diag([0.5, 2.0, 1.0])}
    packed = pack_problem(problem, prior["mean"], np.sqrt(prior["precision"]))
    D = np.array([[[4.0, 0.5], [0.5, 1.0]], [[1.0, -0.3], [-0.3, 0.4]], [[9.0, 0.0], [0.0, 0.0]]])
    sigmas = np.array([1.0, 1.3, 0.8])
    codes_all = np.append(codes, [0, 8, -1, -1])
    found = predict.errors(problem, packed, root_of(D), sigmas, W_all, W_all[:, :2], codes_all)
    fits, variances = [], []
    for d, s in zip(D, sigmas, strict=True):
        _, fit, variance = dense(
            y, W, W[:, :2], codes, d, s, W_all, W_all[:, :2], codes_all, prior["precision"], prior["mean"]
        )
        fits.append(fit)
        variances.append(variance)
    expected = np.mean(variances, axis=0) + np.var(fits, axis=0)
    np.testing.assert_allclose(found.mean, expected, rtol=1e-8)  # as above
    np.testing.assert_allclose(found.noise, np.mean(sigmas**2), rtol=1e-15)


def test_predictions_of_a_singular_fit_have_the_fixed_effects_errors_only(made):
    moments, _, _, _, W_all, rows = made
    parameters = pd.DataFrame(
        {
            "effect": ["fixed"] * 3 + ["ran_pars"] * 4,
            "term": [*TERMS.fixed, "sd__Intercept", "sd__x", "cor__Intercept.x", "sd__Observation"],
            "estimate": [1.0, 2.0, 3.0, 0.0, 0.0, np.nan, 2.0],
        }
    )
    ranef = pd.DataFrame(
        [(level, term, 0.0) for level in moments.levels for term in ("Intercept", "x")],
        columns=["level", "term", "estimate"],
    )
    table = predict.predict(
        Fit("reml", parameters, ranef, Diagnostics("reml")), moments, TERMS, W_all, rows, 0.9
    )
    cov = 4.0 * moments.ols(TERMS.fixed).cov_unscaled
    expected = np.einsum("na,ab,nb->n", W_all, cov, W_all)
    np.testing.assert_allclose(table["std_error"] ** 2, expected, rtol=1e-9)  # condition near 1e2


GOOD = "y,x,f,g\n1,0.5,u,a\n2,1.5,v,a\n4,2.5,u,b\n3,3.5,v,b\n5,1,u,b\n"


@pytest.mark.parametrize(
    "content, said",
    [
        ("x,f\n1,u\n", "column 'g': not there"),
        (
            "x,f,g\n1,u,a\n,v,b\n",
            "column 'x': missing in 1 of 2 rows, first in row 2; expected rows to predict",
        ),
        ("x,f,g\n1,u,\n", "column 'g': missing"),
        ("x,f,g\n1,u,a\ntwo,v,b\n", "column 'x': 'two' in row 2 is text, expected a number"),
        ("x,f,g\ninf,u,a\n", "column 'x': inf in row 1"),
        ("x,f,g\n1,w,a\n", "column 'f': 'w', expected one of the data's levels: u, v"),
    ],
)
def test_rows_that_cannot_be_predicted_are_named(tmp_path, content, said):
    (tmp_path / "d.csv").write_text(GOOD)
    (tmp_path / "p.csv").write_text(content)
    formula = parse("y ~ x + f + (1 | g)")
    _, data = ingest.scan(ingest.inspect(str(tmp_path / "d.csv"), formula.variables, "g"), formula)
    with pytest.raises(StudyError, match=said) as caught:
        new_rows.check(str(tmp_path / "p.csv"), formula, data)
    assert caught.value.where == str(tmp_path / "p.csv")
    assert "expected" in caught.value.what


@pytest.mark.parametrize(
    "formula, said",
    [
        ("y ~ np.log(x) + f + (1 | g)", r"column 'x': -1 in row 3, where 'np.log\(x\)' has no value"),
        ("y ~ x + (bs(x, df=3) | g)", r"column 'x': -1 in row 3, where 'bs\(x, df=3\)' has no value"),
        ("y ~ x + I(x ** 0.5 * k) + (1 | g)", "column 'x': -1 in row 3, where 'I"),
    ],
)
@pytest.mark.parametrize("batch", [2, 20_000])
def test_rows_where_the_formula_has_no_value_are_named_before_any_fit(
    tmp_path, monkeypatch, formula, said, batch
):
    monkeypatch.setattr(new_rows, "BATCH", batch)
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"y": rng.normal(size=60), "x": rng.uniform(0.5, 4, 60), "k": np.arange(60.0)})
    frame["f"], frame["g"] = np.tile(["u", "v"], 30), np.repeat(list("abcdef"), 10)
    frame.to_parquet(tmp_path / "d.parquet")
    parsed = parse(formula)
    _, data = ingest.scan(ingest.inspect(str(tmp_path / "d.parquet"), parsed.variables, "g"), parsed)
    file = tmp_path / "p.csv"
    file.write_text("x,k,f,g\n1,1,u,a\n2,2,u,b\n-1,3,v,new\n")
    with pytest.raises(StudyError, match=said) as caught:
        new_rows.checked(str(file), [formula], data, str(tmp_path / "d.parquet"))
    assert caught.value.where == str(file)
    assert caught.value.what.endswith(
        f"expected numbers like the data's, {frame.x.min():g} to {frame.x.max():g}"
    )
    file.write_text("x,k,f,g\n1,1,u,a\n2,2,u,b\n1.5,3,v,new\n")
    new_rows.checked(str(file), [formula], data, str(tmp_path / "d.parquet"))


def test_new_groups_and_numbers_of_another_type_are_read(tmp_path):
    (tmp_path / "d.csv").write_text(GOOD)
    formula = parse("y ~ x + f + (1 | g)")
    _, data = ingest.scan(ingest.inspect(str(tmp_path / "d.csv"), formula.variables, "g"), formula)
    pd.DataFrame({"g": [7, 8], "x": [1, 2], "f": ["u", "u"]}).to_parquet(tmp_path / "p.parquet")
    frame = new_rows.read(new_rows.check(str(tmp_path / "p.parquet"), formula, data))
    assert frame["g"].tolist() == ["7", "8"]
    assert frame["x"].tolist() == [1.0, 2.0]


def dense_several(model, D, sigma, X, Z, codes, mean=0.0, precision=0.0):
    """Predicted means and their error variances of rows by dense matrices; beta's prior is normal, or flat."""
    inverse = np.linalg.inv(marginal(model, D, sigma))
    cov = np.linalg.inv(model.X.T @ inverse @ model.X + precision * np.eye(2))
    beta = cov @ (model.X.T @ inverse @ model.y + precision * mean)
    fitted, variance = [], []
    for row in range(len(X)):
        c, own = np.zeros(len(model.y)), 0.0
        for k in range(2):
            own += Z[k][row] @ D[k] @ Z[k][row]
            if codes[k][row] >= 0:
                c += model.Z[k][:, codes[k][row]] @ D[k] @ Z[k][row]
        d = X[row] - model.X.T @ inverse @ c
        fitted.append(X[row] @ beta + c @ inverse @ (model.y - model.X @ beta))
        variance.append(own - c @ inverse @ c + d @ cov @ d)
    return np.array(fitted), np.array(variance)


def asked(model):
    """Six rows of known, new and newly combined levels of each factor: X, Z, codes, W and their labels."""
    codes = [np.array([0, 3, -1, 8, -1, 5]), np.array([5, 0, 2, -1, -1, 1])]
    W = np.random.default_rng(1).normal(size=(6, 3))
    W[:, 0] = 1.0
    at = [model.terms.columns.index(name) for name in ("Intercept", "x", "z")]
    W[:, at] = W.copy()
    Z = [W[:, [model.terms.columns.index(n) for n in own.random]] for own in model.terms.groupings]
    X = W[:, [model.terms.columns.index(n) for n in model.terms.fixed]]
    rows = pd.DataFrame({"source": "predict", "row": range(6)})
    for g, factor, own in zip("ab", model.moments.factors, codes, strict=True):
        rows[f"level__{g}"] = np.array([*factor.levels, "new"])[own]
    return X, Z, codes, W, rows.assign(estimable=True)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", ["crossed", "nested"])
def test_predictions_of_several_factors_are_those_of_the_dense_covariance_matrix(kind, sparse):
    """Known, new and newly combined levels of each factor."""
    model = simulated(4, 90, (9, 6), "y ~ x + (x | a) + (z || b)", kind)
    fit = several_reml.fit(model.moments, model.terms.fixed, model.blocks, profile=False)[0]
    values = fit.parameters.set_index(["group", "term"])["estimate"]
    sd, cor = {g: values.xs(g).filter(like="sd__").to_numpy() for g in "ab"}, values["a", "cor__Intercept.x"]
    D = [np.outer(sd["a"], sd["a"]) * [[1, cor], [cor, 1]], np.diag(sd["b"] ** 2)]
    sigma = values["Residual", "sd__Observation"]
    X, Z, codes, W, rows = asked(model)
    fitted, variance = dense_several(model, D, sigma, X, Z, codes)
    density = SeveralMarginal.of(model.problem(sparse), [np.eye(2), np.eye(2)])
    spreads = Spreads([own[None] for own in D], np.array([sigma]))
    found = several.errors(density, spreads, X, Z, codes)
    # inverses of matrices of condition 1e3: 1e-9 leaves room for both ways' rounding
    np.testing.assert_allclose(found.mean, variance, rtol=1e-9)
    table = several.predict(fit, model.moments, model.terms, W, rows, 0.95)
    np.testing.assert_allclose(table["fitted"], fitted, rtol=1e-8)
    np.testing.assert_allclose(table["std_error"] ** 2, variance, rtol=1e-8)
    assert table.columns.tolist()[:5] == ["source", "row", "level__a", "level__b", "engine"]


@pytest.mark.parametrize("sparse", [False, True])
def test_predictions_from_draws_of_several_factors_follow_the_law_of_total_variance(sparse):
    """Two draws of the covariance parameters, a normal prior of beta; by dense matrices at each draw."""
    model = simulated(4, 90, (9, 6), "y ~ x + (x | a) + (z || b)")
    X, Z, codes, *_ = asked(model)
    D = [[np.diag([0.5, 0.2]), np.diag([0.9, 0.1])], [np.diag([0.4, 0.3]), np.diag([0.1, 0.6])]]
    sigmas, mean, precision = np.array([0.9, 1.2]), 2.0, 4.0
    each = [
        dense_several(model, [D[0][s], D[1][s]], sigmas[s], X, Z, codes, mean, precision) for s in range(2)
    ]
    means, variances = (np.stack(values) for values in zip(*each, strict=True))
    prior = {"mean": np.full(2, mean), "root": np.sqrt(precision) * np.eye(2)}
    density = SeveralMarginal.of(model.problem(sparse), [np.eye(2), np.eye(2)], **prior)
    found = several.errors(density, Spreads([np.stack(own) for own in D], sigmas), X, Z, codes)
    np.testing.assert_allclose(found.mean, variances.mean(0) + means.var(0), rtol=1e-8)
    np.testing.assert_allclose(found.noise, np.mean(sigmas**2), rtol=1e-12)


@pytest.mark.parametrize("formula", ["y | weights(v) ~ x + offset(o) + (x | g)", "y ~ x + (1 | g) + (1 | h)"])
def test_the_stage_predicts_by_every_engine_and_counts_the_groups(formula, tmp_path):
    """Rows of the data and others, weights and offset, an engine that was skipped; sizes of known and new groups."""
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({"x": rng.normal(size=40), "o": rng.normal(size=40), "v": rng.uniform(0.5, 2.0, 40)})
    frame["g"], frame["h"] = [f"g{k % 8}" for k in range(40)], [f"h{k % 5}" for k in range(40)]
    frame["y"] = 1.0 + frame["x"] + rng.normal(size=8)[np.arange(40) % 8] + 0.3 * rng.normal(size=40)
    design = build(parse(formula), frame)
    terms, moments = design.terms, of_rows(design, frame)
    several_factors = terms.several
    if several_factors:
        fit = several_reml.fit(moments, terms.fixed, [own.blocks for own in terms.groupings], profile=False)[
            0
        ]
    else:
        fit = reml.fit(moments, terms.fixed, terms.blocks, profile=False)[0]
    nothing = Fit(
        "mixedlm", fit.parameters[:0], fit.ranef[:0], Diagnostics("mixedlm", "skipped", "too large")
    )
    paths = {f"{name}_{kind}": str(tmp_path / f"{name}.{kind}.{end}") for name in ("reml", "mixedlm")
             for kind, end in (("parameters", "csv"), ("diagnostics", "json"), ("ranef", "parquet"))}  # fmt: skip
    for own in (fit, nothing):
        own.write(*(paths[f"{own.engine}_{kind}"] for kind in ("parameters", "diagnostics", "ranef")))
    new = frame[:9].assign(g=["g1", "g1", *(f"n{k}" for k in (6, 5, 4, 3, 2, 1, 1))])
    rows = pd.concat({"data": frame, "predict": new}, names=["source", "row"])
    designs = {design.formula.text: {"state": design.state()}}
    settings = {"conf_level": 0.9, "engines": {name: {"formula": formula} for name in ("mixedlm", "reml")}}
    table, details = stage.by_all(paths, designs, moments, rows, settings)
    met = {
        "known_groups": 1,
        "known_rows": 2,
        "new_groups": 6,
        "new_rows": 7,
        "new_names": ["n6", "n5", "n4", "n3", "n2"],
    }
    if several_factors:
        assert details["factors"]["g"] == met
        assert details["factors"]["h"] == {
            "known_groups": 5, "known_rows": 9, "new_groups": 0, "new_rows": 0, "new_names": [],
        }  # fmt: skip
    else:
        assert {name: details[name] for name in met} == met
    assert details["rows"] == {"data": 40, "predict": 9}
    assert (details["not_estimable"], details["left_out"]) == (0, {"mixedlm": "too large"})
    assert list(details["methods"]) == ["reml"] and set(table["engine"]) == {"reml"}
    listed = rows.index.to_frame(index=False).assign(estimable=True)
    for factor in "gh" if several_factors else "g":
        listed[f"level__{factor}" if several_factors else "level"] = rows[factor].to_numpy()
    beside = predict.Beside(*(1.0, 0.0) if several_factors else (rows["v"].to_numpy(), rows["o"].to_numpy()))
    how = several.predict if several_factors else predict.predict
    expected = how(fit, moments, terms, design.predictors(rows), listed, 0.9, None, {}, beside)
    for name in ("fixed", "fitted", "std_error", "conf_low", "pred_high"):
        if name in expected:
            np.testing.assert_allclose(table[name], expected[name], rtol=1e-9)
    nobody, details = stage.by_all(paths, designs, moments, None, settings)
    assert len(nobody) == 0 and details["rows"] == {} and details["not_estimable"] == 0


def test_the_cost_of_predictions_counts_the_cells_of_a_row():
    """Rows of a dense remainder cost the square of the most levels that one of the leading factor meets."""
    model = simulated(4, 90, (9, 6), "y ~ x + (1 | a) + (1 | b)")
    problem = model.problem(False)
    lead = 1 - int(problem.order[0])
    most = max((model.Z[problem.order[0]][:, j, 0] @ model.Z[lead][:, :, 0] > 0).sum() for j in range(
        model.Z[problem.order[0]].shape[1]))  # fmt: skip
    assert several.cost_of(problem, 0) == 5.0 * problem.cost
    assert several.cost_of(problem, 1000) == 5.0 * problem.cost + 1000.0 * most**2
    sparse = model.problem(True)
    assert several.cost_of(sparse, 10) - several.cost_of(sparse, 0) == 20.0 * len(sparse.pattern.rows)
