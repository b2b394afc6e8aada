"""Derivatives of V with several factors against dense matrices, and models with some of the factors."""

import numpy as np
import pandas as pd
import pytest

from lmm.comparison.models import Comparison, criteria
from lmm.inference.exact import optimum_of, problem_for
from lmm.inference.several_derivatives import by_factors
from lmm.model.terms import Terms
from several import REFERENCE, model_of, simulated


@pytest.mark.parametrize("singular", [False, True])
def test_derivatives_equal_dense_ones(singular):
    """Traces and forms of V's derivatives by dense matrices; at a singular D too. 1e-7: the traces' polynomial."""
    model = simulated(3, 200, (12, 7), "y ~ x + (x | a) + (1 | b)")
    if singular:  # the levels of b differ less than by chance
        rng = np.random.default_rng(1)
        frame = pd.DataFrame({"x": rng.standard_normal(90), "a": np.arange(90) % 9, "b": np.arange(90) % 5})
        y = rng.standard_normal(90) + rng.standard_normal(9)[frame["a"]]
        for level in range(5):
            y[frame["b"] == level] -= y[frame["b"] == level].mean()
        model = model_of(frame.assign(y=y), "y ~ x + (x | a) + (1 | b)")
    problem = problem_for(model.moments, model.terms)
    best = optimum_of(problem)
    assert best.singular is singular
    found = by_factors(problem, best)
    # dense, in units of sigma, and of the kernel's columns
    V, parts = np.eye(len(model.y)), []
    for Z, factor, z_map, structure in zip(
        model.Z, best.factors, problem.z_maps, problem.structures, strict=True
    ):
        own = np.einsum("njk,kl->njl", Z, z_map / problem.y_scale)
        V += np.einsum("nja,ab,mjb->nm", own, factor @ factor.T, own, optimize=True)
        for a, b in zip(structure.rows, structure.cols, strict=True):
            E = np.zeros_like(factor)
            E[a, b] = E[b, a] = 1.0
            parts.append(np.einsum("nja,ab,mjb->nm", own, E, own, optimize=True))
    W = np.linalg.inv(V)
    X = model.X @ problem.x_map / problem.y_scale
    phi = np.linalg.inv(X.T @ W @ X)
    P = W - W @ X @ phi @ X.T @ W
    y = model.y / best.sigma
    inside = [W @ part for part in parts]
    assert found.information == pytest.approx(np.linalg.inv(phi), rel=1e-7)
    assert found.trace == pytest.approx([np.trace(one) for one in inside], rel=1e-7)
    size = np.abs(found.traces).max()
    assert found.traces == pytest.approx(
        np.array([[np.trace(one @ two) for two in inside] for one in inside]), rel=1e-7, abs=1e-7 * size
    )
    assert found.form == pytest.approx([y @ P @ part @ P @ y for part in parts], rel=1e-7, abs=1e-9)
    for i, one in enumerate(parts):
        assert found.p[i] == pytest.approx(-X.T @ W @ one @ W @ X, rel=1e-7, abs=1e-9)
        for k, two in enumerate(parts):
            assert found.forms[i, k] == pytest.approx(y @ P @ one @ P @ two @ P @ y, rel=1e-7, abs=1e-9)
            assert found.q[i, k] == pytest.approx(X.T @ W @ one @ W @ two @ W @ X, rel=1e-7, abs=1e-9)


def test_models_with_some_of_the_factors():
    """One set of moments serves models with both factors, in another order, and with one of them."""
    formulas = {
        "both": "rt ~ cond + (cond | subj) + (1 | item)",
        "swapped": "rt ~ cond + (1 | item) + (cond | subj)",
        "subjects": "rt ~ cond + (cond | subj)",
    }
    frame = pd.read_csv(REFERENCE / "words.csv")
    models = {name: model_of(frame, text) for name, text in formulas.items()}
    terms: dict[str, Terms] = {name: model.terms for name, model in models.items()}
    compared = Comparison(models["both"].moments, formulas, terms)
    table = criteria([compared]).set_index("model")
    assert table["logLik"]["both"] == pytest.approx(table["logLik"]["swapped"], abs=1e-6)
    alone = optimum_of(problem_for(models["subjects"].moments, terms["subjects"], True), True)
    assert table["logLik"]["subjects"] == pytest.approx(-0.5 * alone.criterion, abs=1e-6)
    tests = compared.tests()
    assert sorted(zip(tests["null"], tests["alternative"], strict=True)) == [
        ("subjects", "both"),
        ("subjects", "swapped"),
    ]
    assert set(tests["df"]) == {1}
    assert set(tests["mixture"]) == {"0.5 chi2(0) + 0.5 chi2(1)"}
