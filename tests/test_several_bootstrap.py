"""The bootstrap of models with several grouping factors, drawn in moment space."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lmm.comparison.likelihood_ratio import bootstrap, nesting, p_bootstrap
from lmm.comparison.models import Comparison
from lmm.inference.exact import optimum_of, problem_for
from lmm.inference.optimum import Optimum
from lmm.likelihood.several_problem import with_response
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.model.terms import Terms
from lmm.moments.several import narrowed
from lmm.simulation import several_moments
from several import REFERENCE, Model, model_of, simulated

DESIGNS = {
    "crossed": (simulated(1, 90, (12, 5), "y ~ x + z + (x | a) + (1 | b)"), None),
    "three": (simulated(2, 120, (9, 6, 4), "y ~ x + z + (1 | a) + (x | b) + (1 | c)"), None),
    "nested": (simulated(3, 60, (20, 5), "y ~ x + (x | a) + (x | b)", "nested"), True),
    "local": (simulated(4, 90, (20, 12), "y ~ x + z + (1 | a) + (z | b)", "local"), True),
    "nested, dense": (simulated(3, 60, (20, 5), "y ~ x + (x | a) + (x | b)", "nested"), False),
}


class Given:
    """Normals that are given, one call after the other."""

    def __init__(self, at: int, chi2: float = 0.0):
        self.at, self.seen, self.chi2 = at, 0, chi2

    def standard_normal(self, size) -> np.ndarray:
        out = np.zeros(int(np.prod(size)))
        if 0 <= self.at - self.seen < len(out):
            out[self.at - self.seen] = 1.0
        self.seen += len(out)
        return out.reshape(size)

    def chisquare(self, df: float) -> float:
        return self.chi2


def products(moments) -> tuple[np.ndarray, float]:
    """y less the fixed effects: its products with the kept columns of all levels and with all columns, its square."""
    y_scale, parts = moments.basis.y_scale, []
    for factor, kept in zip(moments.factors, moments.kept, strict=True):
        parts.append(factor.gram[:, list(kept), -1].ravel())
    return np.concatenate([*parts, moments.total[:-1, -1]]) * y_scale, moments.total[-1, -1] * y_scale**2


def columns(moments, model: Model) -> np.ndarray:
    """The rows of the columns of `products`, by the data's own rows."""
    basis = moments.basis
    frame = {name: model.X[:, model.terms.fixed.index(name)] for name in model.terms.fixed}
    E = np.column_stack(
        [np.ones(len(model.y))]
        + [(frame[name] - c) / s for name, c, s in zip(basis.columns, basis.center, basis.scale, strict=True)]
    )
    parts = []
    for Z, kept in zip(model.Z, moments.kept, strict=True):
        indicator = Z[:, :, 0]  # every factor here has an intercept
        parts.append((indicator[:, :, None] * E[:, None, list(kept)]).reshape(len(E), -1))
    return np.hstack([*parts, E])


@pytest.mark.parametrize("name", DESIGNS)
def test_the_errors_products_have_their_covariance(name):
    # The products are linear in the normals: their root is read off, one normal after the other
    model, sparse = DESIGNS[name]
    design = several_moments.prepare(model.moments, sparse)
    assert (design.own.pattern is not None) == bool(sparse)
    R, beta = columns(model.moments, model), np.zeros(len(model.terms.fixed))
    root, squares = [], []
    for at in range(design.own.lead.A.shape[0] * design.own.lead.A.shape[1] + design.rest.shape[1]):
        drawn = several_moments.draw(Given(at), design, model.terms.fixed, beta, {}, 1.5)
        found, square = products(drawn)
        root.append(found / 1.5)
        squares.append(square / 1.5**2)
    root = np.array(root).T
    G = R.T @ R
    assert root @ root.T == pytest.approx(G, abs=1e-10 * np.abs(G).max())  # rounding, and `NOTHING`
    rank = np.linalg.matrix_rank(R)
    assert sum(np.array(squares) > 0.5) == rank
    assert design.free == len(R) - rank
    # e'e is t'G^+ t with the rest of its degrees of freedom
    t = root @ np.ones(root.shape[1])
    assert t @ np.linalg.pinv(G, rcond=1e-10) @ t == pytest.approx(rank)
    drawn = several_moments.draw(Given(-1, 7.0), design, model.terms.fixed, beta, {}, 1.5)
    assert products(drawn)[1] == pytest.approx(7.0 * 1.5**2)


@pytest.mark.parametrize("name", DESIGNS)
def test_random_effects_enter_as_in_the_rows(name):
    model, sparse = DESIGNS[name]
    design = several_moments.prepare(model.moments, sparse)
    rng = np.random.default_rng(5)
    effects, mean = {}, np.zeros(len(model.y))
    for grouping, Z in zip(model.terms.groupings, model.Z, strict=True):
        own = rng.normal(size=Z.shape[1:])
        effects[grouping.group] = grouping.random, own
        mean += np.einsum("nja,ja->n", Z, own)
    beta = rng.normal(size=model.X.shape[1])
    rng = np.random.default_rng(6)
    drawn = several_moments.draw(rng, design, model.terms.fixed, beta, effects, 0.3)
    alone = several_moments.draw(np.random.default_rng(6), design, model.terms.fixed, beta, {}, 0.3)
    R = columns(model.moments, model)
    found, square = products(drawn)
    errors, left = products(alone)
    size = np.linalg.norm(R, axis=0) * np.linalg.norm(mean)
    assert np.all(np.abs(found - errors - R.T @ mean) <= 1e-12 * size)
    # Z u is a combination of R's columns, so that e's products with it are those of t
    u = np.linalg.lstsq(R, mean, rcond=None)[0]
    assert square == pytest.approx(left + mean @ mean + 2.0 * u @ errors, rel=1e-10)
    # least squares: beta, and what it makes of the random part
    own = np.linalg.lstsq(model.X, mean, rcond=None)[0]
    raw = drawn.basis.raw(model.terms.fixed)
    own += np.linalg.solve(model.X.T @ model.X, raw.T @ errors[-len(raw) :])
    assert drawn.ols(model.terms.fixed).beta == pytest.approx(beta + own, rel=1e-8)


def test_another_response_is_the_model_built_anew():
    for name in ("crossed", "local"):
        model, sparse = DESIGNS[name]
        design = several_moments.prepare(model.moments, sparse)
        # a smaller model's fixed effects: the pilot fit is another one
        drawn = several_moments.draw(
            np.random.default_rng(1), design, ("Intercept", "z"), np.ones(2), {}, 2.0
        )
        anew = optimum_of(model._replace(moments=drawn).problem(sparse))
        again = optimum_of(with_response(model.problem(sparse), drawn))
        assert again.criterion == pytest.approx(anew.criterion, abs=1e-9)
        assert again.beta == pytest.approx(anew.beta, abs=1e-9)
        for first, second in zip(again.roots, anew.roots, strict=True):
            assert first == pytest.approx(
                second, abs=1e-7
            )  # sd's at the optimum, to the root of the criterion's digits


def balanced(a: int, b: int, rows: int) -> pd.DataFrame:
    """Every level of a with every level of b, `rows` times; b has no effect."""
    rng = np.random.default_rng(7)
    codes = np.array([(i, j) for i in range(a) for j in range(b) for _ in range(rows)])
    y = 10.0 + 3.0 * rng.normal(size=a)[codes[:, 0]] + rng.normal(size=len(codes))
    return pd.DataFrame(
        {
            "y": y,
            "a": np.char.add("a", codes[:, 0].astype(str)),
            "b": np.char.add("b", codes[:, 1].astype(str)),
        }
    )


def test_the_null_distribution_is_that_of_f_in_a_balanced_design():
    """REML's ratio of (1 | b) is a function of F = MS_b / MS_e, which is F distributed where b's variance is 0.

    With interior estimates of a's variance, which is large here, the terms of a cancel.
    """
    large = model_of(balanced(15, 6, 2), "y ~ 1 + (1 | a) + (1 | b)")
    small = Terms(large.terms.fixed, large.terms.groupings[:1], large.terms.columns)
    assert nesting(large.moments, small, large.terms).df == 1
    null = optimum_of(problem_for(narrowed(large.moments, ("a",)), small))
    assert isinstance(null, Optimum)
    count = 300
    drawn = bootstrap(large.moments, small, large.terms, False, null, count, 3, "ab")
    df_b, df_e = 5, 15 * 6 * 2 - 1 - 14 - 5
    f = np.linspace(1.0, 40.0, 40_001)
    pooled = (df_b + df_e) * np.log((df_b * f + df_e) / (df_b + df_e))
    ratio = pooled - df_b * np.log(f)
    # at F < 1 the estimate, and the ratio, is 0
    zero = stats.f.cdf(1.0, df_b, df_e)
    assert abs(np.mean(drawn < 1e-6) - zero) < 4.0 * np.sqrt(zero * (1.0 - zero) / count)
    above = drawn[drawn > 1e-6]
    reached = stats.f.cdf(np.interp(above, ratio, f), df_b, df_e)
    uniform = (reached - zero) / (1.0 - zero)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-4
    chisq = 3.0
    p, error = p_bootstrap(chisq, drawn)
    assert abs(p - stats.f.sf(np.interp(chisq, ratio, f), df_b, df_e)) < 4.0 * error


MACHINES = {
    "mean": "score ~ 1 + (1 | Worker)",
    "machine": "score ~ Machine + (1 | Worker)",
    "both": "score ~ Machine + (1 | Worker/Machine)",
}


def test_a_comparison_draws_for_models_of_one_factor_and_of_several():
    rows = pd.read_csv(REFERENCE / "machines.csv")
    whole = model_of(rows, MACHINES["both"])
    terms = {name: build(parse(text), rows).terms for name, text in MACHINES.items()}
    compared = Comparison(whole.moments, MACHINES, terms)
    table = compared.tests(19, 4).set_index(["null", "alternative"])
    assert list(table.index) == [("mean", "machine"), ("mean", "both"), ("machine", "both")]
    # Machine and the interaction are beyond any doubt (F of 21 and 46): no draw comes near
    assert table.p_bootstrap.tolist() == [1 / 20] * 3
    assert compared.tests(19, 4).p_bootstrap.tolist() == table.p_bootstrap.tolist()


def test_the_first_draws_stay_when_more_are_asked_for():
    large = model_of(balanced(6, 4, 2), "y ~ 1 + (1 | a) + (1 | b)")
    small = Terms(large.terms.fixed, large.terms.groupings[1:], large.terms.columns)
    null = optimum_of(problem_for(narrowed(large.moments, ("b",)), small))
    few, more = (
        bootstrap(large.moments, small, large.terms, False, null, count, 3, "ab") for count in (2, 4)
    )
    assert (few == more[:2]).all()


def test_roots_of_singular_matrices_leave_out_what_is_a_combination_of_the_rest():
    """A column that those before it make up is 0 in the root, and what is solved by the root is 0 there."""
    rng = np.random.default_rng(3)
    columns = rng.normal(size=(4, 6, 3))
    columns[1, :, 1] = 2.0 * columns[1, :, 0]
    columns[2, :, 0] = 0.0
    columns[3, :, 2] = columns[3, :, 0] - columns[3, :, 1]
    blocks = np.einsum("jna,jnb->jab", columns, columns)
    root = several_moments.semidefinite_roots(blocks, 1e-10 * np.maximum(np.einsum("jaa->ja", blocks), 1e-30))
    np.testing.assert_allclose(root @ root.transpose(0, 2, 1), blocks, atol=1e-8)
    assert (np.einsum("jaa->ja", root) > 0.0).tolist() == [
        [True, True, True], [True, False, True], [False, True, True], [True, True, False],
    ]  # fmt: skip
    assert np.all(np.triu(root, 1) == 0.0)
    values = rng.normal(size=(4, 3))
    found = several_moments._solved(root, values)
    np.testing.assert_allclose(found[0], np.linalg.solve(root[0], values[0]), rtol=1e-10)
    for j, lost in ((1, 1), (2, 0), (3, 2)):
        kept = [k for k in range(3) if k != lost]
        assert found[j, lost] == 0.0
        expected = np.linalg.solve(root[j][np.ix_(kept, kept)], values[j, kept])
        np.testing.assert_allclose(found[j, kept], expected, rtol=1e-10)
