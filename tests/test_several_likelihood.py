"""The kernels of several factors against dense matrices and differences."""

import numpy as np
import pytest

from lmm.core.errors import StudyError
from lmm.likelihood import several_places, several_problem
from lmm.likelihood.several_conditional import conditional
from lmm.likelihood.several_information import LIFT, Information, lifted
from lmm.likelihood.sparse_pattern import pattern_of
from several import covariances_of, criterion, marginal, random_factors, simulated

SIGMA = 0.7  # in the kernel's units
DESIGNS = {
    "crossed": (1, 90, (12, 8), "y ~ x + z + (x | a) + (x | b)", "crossed"),
    "independent slopes": (2, 120, (12, 5, 4), "y ~ x + z + (x | a) + (x || b) + (1 | c)", "crossed"),
    "three effects": (3, 90, (9, 8), "y ~ x + z + (0 + x | a) + (x + z | b)", "crossed"),
    "nested": (4, 120, (24, 8, 4), "y ~ x + z + (1 | a) + (x | b) + (x | c)", "nested"),
    "local": (5, 120, (40, 30), "y ~ x + z + (1 | a) + (x + z | b)", "local"),
    "no intercept": (6, 90, (12, 8), "y ~ 0 + x + z + (x | a) + (1 | b)", "crossed"),
}


@pytest.fixture(scope="module", params=DESIGNS)
def model(request):
    return simulated(*DESIGNS[request.param])


@pytest.fixture(params=[False, True], ids=["dense", "sparse"])
def sparse(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["reml", "ml"])
def reml(request):
    return request.param


def value(problem, factors, reml):
    """The criterion at SIGMA, in the kernel's units."""
    terms = problem.terms(problem.packed(factors), reml, False)
    return problem.df(reml) * np.log(2 * np.pi * SIGMA**2) + terms.logdet + terms.rss / SIGMA**2


def test_value(model, sparse, reml):
    """1e-10 of a criterion of some hundreds: dense matrices of 120 rows are no better."""
    problem = model.problem(sparse)
    factors = random_factors(problem, 1)
    truth = criterion(model, covariances_of(problem, factors, SIGMA), SIGMA * problem.y_scale, reml)
    assert abs(value(problem, factors, reml) + problem.constant(reml) - truth) < 1e-10 * abs(truth)


@pytest.mark.parametrize("zero", [False, True])
def test_gradient(model, sparse, reml, zero):
    """Central differences of step h have error h^2 f''' / 6 + 1e-13 f / h: some 1e-8 of the largest element here."""
    problem, h = model.problem(sparse), 1e-5
    factors = random_factors(problem, 2)
    if zero:
        factors[1][:] = 0.0
    information = Information.at(problem, factors, reml)
    found, numeric = [], []
    for k, structure in enumerate(problem.structures):
        e = information.errors(k)
        slope = 2.0 * (information.slope(k) - e.T @ e @ factors[k] / SIGMA**2)
        for a, b in zip(structure.rows, structure.cols, strict=True):
            ends = []
            for step in (h, -h):
                moved = [factor.copy() for factor in factors]
                moved[k][a, b] += step
                ends.append(value(problem, moved, reml))
            found.append(slope[a, b])
            numeric.append((ends[0] - ends[1]) / (2 * h))
    assert np.abs(np.array(found) - numeric).max() < 1e-7 * np.abs(found).max()


def test_tall_and_scattered_products_agree(model, reml):
    """Two ways to form the same sums: rounding alone."""
    problem = model.problem(False)
    factors = problem.packed(random_factors(problem, 3))
    one, other = (
        several_problem.dense_terms(
            problem.lead._replace(tall=tall), problem.layout, problem.rest, problem.rest_edge, problem.total,
            factors, np.zeros_like(problem.total), reml, True,
        )
        for tall in (0, 1)
    )  # fmt: skip
    assert one.logdet == pytest.approx(other.logdet, rel=1e-12)
    assert np.abs(one.slopes - other.slopes).max() < 1e-11 * np.abs(one.slopes).max()


def dense_pieces(model, problem, factors):
    """Z_k, X, y in the kernel's coordinates, V^-1 and P, relative to sigma^2."""
    Z = [z @ z_map / problem.y_scale for z, z_map in zip(model.Z, problem.z_maps, strict=True)]
    X = model.X @ problem.x_map / problem.y_scale
    y = (model.y - model.X @ problem.offset) / problem.y_scale
    V = marginal(model._replace(Z=Z), [factor @ factor.T for factor in factors], 1.0)
    inverse = np.linalg.inv(V)
    phi = np.linalg.inv(X.T @ inverse @ X)
    return Z, X, y, inverse, inverse - inverse @ X @ phi @ X.T @ inverse


def test_projections_and_average_information(model, sparse, reml):
    """F_k, e_k, T_k, h'Z'V^-1 Z h and y'P V_i P V_j P y: what steps and tests of fixed effects are made from."""
    problem = model.problem(sparse)
    factors = random_factors(problem, 4)
    information = Information.at(problem, factors, reml)
    Z, X, y, inverse, P = dense_pieces(model, problem, factors)
    rng = np.random.default_rng(1)

    def close(found, truth):
        assert np.abs(found - truth).max() < 1e-10 * max(np.abs(truth).max(), 1.0)

    derivatives = []
    for k, z in enumerate(Z):
        close(information.fixed(k), np.einsum("naj,np->ajp", z, inverse @ X))
        close(information.errors(k), np.einsum("naj,n->aj", z, P @ y))
        close(information.trace(k), np.einsum("naj,nm,mak->jk", z, P if reml else inverse, z, optimize=True))
        structure = problem.structures[k]
        for a, b in zip(structure.rows, structure.cols, strict=True):
            E = np.zeros((z.shape[2],) * 2)
            E[a, b] = E[b, a] = 1.0
            derivatives.append(np.einsum("naj,jk,mak->nm", z, E, z, optimize=True))
    vectors = [rng.normal(size=(*z.shape[1:], k + 1)) for k, z in enumerate(Z)]
    product = np.hstack([np.einsum("naj,ajm->nm", z, h) for z, h in zip(Z, vectors, strict=True)])
    close(information.bilinear(vectors), product.T @ inverse @ product)
    average = information.average()
    working = np.column_stack([derivative @ P @ y for derivative in derivatives])
    close(average.matrix, working.T @ P @ working)
    close(average.linear, working.T @ P @ y)
    close(average.rss, y @ P @ y)


def test_random_effects(model, sparse, reml):
    """Against Henderson's mixed model equations, solved densely in original units."""
    problem = model.problem(sparse)
    factors = random_factors(problem, 5)
    for factor in factors:  # D must be invertible there
        factor[np.diag_indices(len(factor))] += np.sign(np.diag(factor))
    found = conditional(Information.at(problem, factors, reml), SIGMA)
    sigma = SIGMA * problem.y_scale
    D = covariances_of(problem, factors, SIGMA)
    flat = [z.reshape(len(model.y), -1) for z in model.Z]
    W = np.hstack([*flat, model.X])
    A = W.T @ W / sigma**2
    at = 0
    for z, own in zip(model.Z, D, strict=True):
        for _ in range(z.shape[1]):
            span = slice(at, at + z.shape[2])
            A[span, span] += np.linalg.inv(own)
            at += z.shape[2]
    inverse, given = np.linalg.inv(A), np.linalg.inv(A[:at, :at])
    mean, at = inverse @ W.T @ model.y / sigma**2, 0
    for z, own in zip(model.Z, found, strict=True):
        span, shape = slice(at, at + z.shape[1] * z.shape[2]), z.shape[1:]
        at = span.stop
        for got, truth in (
            (own.mean, mean[span]),
            (own.variance, np.diag(inverse)[span]),
            (own.cond_variance, np.diag(given)[span]),
        ):
            # Henderson's matrix has condition numbers of 1e4 to 1e6 here
            assert np.abs(got - truth.reshape(shape)).max() < 1e-9 * np.abs(truth).max()


def test_lifted_factors_change_derivatives_by_rounding_alone(model):
    """A derivative in D at D + LIFT^2 I differs by LIFT^2 |T|, 1e-12 times some tens."""
    problem = model.problem(False)
    factors = random_factors(problem, 6)
    before = Information.at(problem, factors)
    after = Information.at(problem, lifted(factors))
    for k in range(len(factors)):
        scale = np.abs(before.trace(k)).max()
        assert np.abs(after.trace(k) - before.trace(k)).max() < 100 * LIFT**2 * scale**2


@pytest.mark.parametrize("seed", range(6))
def test_pattern_is_that_of_the_factor(seed):
    """Elimination by its definition, in the order found, fills in exactly the pattern."""
    rng = np.random.default_rng(seed)
    n, n_lead = 40, 60
    widths = rng.integers(1, 4, n)
    meetings = [(rng.integers(0, n_lead, 90), rng.integers(0, n, 90)) for _ in range(2)]
    edges = [(rng.integers(0, 20, 15), rng.integers(20, 40, 15))]
    pattern = pattern_of(n, widths, n_lead, meetings, edges, always=True)
    columns = np.concatenate([pattern.start_of[i] + np.arange(widths[i]) for i in range(n)])
    assert sorted(columns) == list(range(widths.sum()))
    graph = np.eye(n, dtype=bool)
    met = np.zeros((n_lead, n), dtype=bool)
    for i, j in meetings:
        met[i, j] = True
    graph |= (met.T.astype(int) @ met.astype(int)) > 0
    for i, j in edges:
        graph[i, j] = graph[j, i] = True
    owner = np.empty(widths.sum(), dtype=int)
    owner[columns] = np.repeat(np.arange(n), widths)
    full = graph[np.ix_(owner, owner)]
    factor = full.copy()
    for k in range(len(factor)):  # elimination, by its definition
        below = np.flatnonzero(factor[k + 1 :, k]) + k + 1
        factor[np.ix_(below, below)] = True
    stored = np.zeros_like(factor)
    for column in range(len(factor)):
        stored[pattern.rows[pattern.indptr[column] : pattern.indptr[column + 1]], column] = True
    assert (stored == np.tril(factor)).all()


def test_minimum_degree_keeps_nested_factors_sparse():
    """Classes in schools, beside pupils: a school joins its classes and nothing else, so nothing fills in."""
    pupils, classes = np.arange(3000), np.arange(3000) // 10
    schools = classes // 5
    meetings = [(pupils, classes), (pupils, 300 + schools)]
    pattern = pattern_of(360, np.ones(360, dtype=np.int64), 3000, meetings, [])
    assert len(pattern.rows) == 360 + 300


def test_full_patterns_are_dense():
    """100 levels that all meet: the factor has more than a fifth of the elements, and no pattern is made."""
    i, j = (part.ravel() for part in np.meshgrid(np.arange(50), np.arange(100)))
    assert pattern_of(100, np.ones(100, dtype=np.int64), 50, [(i, j)], []) is None


def test_a_large_crossed_remainder_is_rejected(monkeypatch):
    model = simulated(7, 300, (40, 30), "y ~ x + (1 | a) + (x | b)")
    monkeypatch.setattr(several_places, "LARGEST", 30)
    for refused in (model.problem, lambda: several_places.check_size(model.moments, model.blocks)):
        with pytest.raises(StudyError) as caught:
            refused()
        assert "40 random effects of a are crossed with b, expected at most 30" in str(caught.value)
