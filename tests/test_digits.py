"""Groups that differ by far more than their rows do: digits are kept; responses that groups determine are refused."""

import math
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from lmm.core.errors import StudyError
from lmm.criticism.influence import influence
from lmm.data import ingest
from lmm.engines import reml, several_reml
from lmm.inference import estimable
from lmm.likelihood.by_group import by_group, log_densities
from lmm.likelihood.problem import problem_of
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.moments.accumulate import compute
from lmm.moments.centred import cancels, merge_factors, refined
from lmm.moments.moments import Moments
from lmm.moments.pilot import basis_of
from lmm.moments.sources import accumulate
from lmm.moments.stage import of_rows
from lmm.prediction.predict import predict
from several import model_of

INTERCEPTS, SLOPES, APART = "y ~ t + (1 | g)", "y ~ t + (t | g)", "y ~ t + (t || g)"
# The criterion keeps ten digits, of which an sd gets about nine.
CLOSE = 1e-7


def table(ratio: float, noise: float = 1.0) -> pd.DataFrame:
    """30 groups of 6 rows at the same times."""
    rng = np.random.default_rng(1)
    g, t = np.repeat(np.arange(30), 6), np.tile(np.arange(6.0), 30)
    y = 17 * ratio + 0.5 * t + ratio * rng.normal(size=30)[g] + noise * rng.normal(size=180)
    return pd.DataFrame({"g": [f"g{k:02d}" for k in g], "t": t, "y": y})


def unbalanced(ratio: float, slopes: float) -> pd.DataFrame:
    """12 groups of 2 to 8 rows at times that differ between and within groups."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(12), rng.integers(2, 9, 12))
    t = rng.normal(size=len(g)) + 3.0 * rng.normal(size=12)[g]
    u = rng.normal(size=(12, 2)) * [ratio, slopes]
    y = 17 * ratio + 0.5 * t + u[g, 0] + u[g, 1] * t + rng.normal(size=len(g))
    return pd.DataFrame({"g": [f"g{k:02d}" for k in g], "t": t, "y": y})


def closed_form(frame: pd.DataFrame) -> tuple[float, float, float]:
    """REML of y ~ t + (1 | g) in a balanced design, by analysis of variance in rational numbers: sd, sigma, slope."""
    groups = [
        [(Fraction(t), Fraction(y)) for t, y in zip(own["t"], own["y"], strict=True)]
        for _, own in frame.groupby("g")
    ]
    count, n = len(groups), len(groups[0])
    middle = sum(t for t, _ in groups[0]) / n
    along = sum((t - middle) ** 2 for own in groups for t, _ in own)
    slope = sum((t - middle) * y for own in groups for t, y in own) / along
    means = [sum(y for _, y in own) / n for own in groups]
    within = sum(
        (y - m - slope * (t - middle)) ** 2 for own, m in zip(groups, means, strict=True) for t, y in own
    ) / (count * n - count - 1)
    between = n * sum((m - sum(means) / count) ** 2 for m in means) / (count - 1)
    return math.sqrt((between - within) / n), math.sqrt(within), float(slope)


def fitted(formula: str, frame: pd.DataFrame, profile: bool = False):
    design = build(parse(formula), frame)
    moments = of_rows(design, frame)
    estimable.check(moments, [design], "d.csv")
    return moments, *reml.fit(moments, design.terms.fixed, design.terms.blocks, profile=profile)


def agrees(fit, frame: pd.DataFrame) -> None:
    found = fit.parameters.set_index("term")["estimate"]
    assert fit.diagnostics.status == "ok", fit.diagnostics.message
    for name, value in zip(("sd__Intercept", "sd__Observation", "t"), closed_form(frame), strict=True):
        assert found[name] == pytest.approx(value, rel=CLOSE), name


decimals = np.vectorize(lambda value: Decimal(float(value)), otypes=[object])


def solved(A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Decimal]:
    """A^-1 b and |A| by elimination with row exchange, in Decimals."""
    A, b, det = A.copy(), b.copy(), Decimal(1)
    for k in range(len(A)):
        best = max(range(k, len(A)), key=lambda row: abs(A[row, k]))
        if best != k:
            A[[k, best]], b[[k, best]], det = A[[best, k]], b[[best, k]], -det
        det *= A[k, k]
        for row in range(len(A)):
            if row != k:
                share = A[row, k] / A[k, k]
                A[row], b[row] = A[row] - share * A[k], b[row] - share * b[k]
    return (b.T / np.diag(A)).T, det


class Dense:
    """-2 log L_REML of y ~ t + (t | g), or of independent intercepts and slopes, to 50 digits.

    With `root`, beta is not flat but root beta ~ N(0, I). `constant` is what the value lacks.
    """

    def __init__(self, frame: pd.DataFrame, correlated: bool, root: np.ndarray | None = None):
        self.correlated, self.rows, self.groups = correlated, len(frame), []
        self.prior = decimals(np.zeros((2, 2)) if root is None else root.T @ root)
        self.constant = (self.rows - 2) * math.log(2 * math.pi)
        if root is not None:
            self.constant += 2 * math.log(2 * math.pi) - 2 * np.linalg.slogdet(root)[1]
        for _, own in frame.groupby("g"):
            Z = np.column_stack([np.ones(len(own)), own["t"]])
            z, w = decimals(Z), decimals(np.column_stack([Z, own["y"]]))
            self.groups.append((len(own), z.T @ z, z.T @ w, w.T @ w))

    def __call__(self, phi: list[Decimal]) -> Decimal:
        """At the free elements of L and log sigma."""
        s2, zero = (2 * phi[-1]).exp(), Decimal(0)
        low = phi[1] if self.correlated else zero
        L = np.array([[phi[0], zero], [low, phi[-2]]])
        D, total, value = L @ L.T, np.full((3, 3), zero), zero
        for n, A, B, C in self.groups:  # V^-1 = (I - Z (s2 I + D A)^-1 D Z') / s2
            through, det = solved(s2 * decimals(np.eye(2)) + D @ A, D @ B)
            value += (n - 2) * s2.ln() + det.ln()
            total = total + (C - B.T @ through) / s2
        total[:2, :2] = total[:2, :2] + self.prior
        beta, det = solved(total[:2, :2], total[:2, 2])
        return value + det.ln() + total[2, 2] - beta @ total[:2, 2]

    def newton(self, phi: np.ndarray) -> np.ndarray:
        """Newton's step from phi by central differences: phi's error, as its square is smaller than the tolerance."""
        with localcontext() as context:
            context.prec = 50
            n, start = len(phi), [Decimal(float(value)) for value in phi]
            h = [max(abs(value), Decimal("1e-3")) * Decimal("1e-12") for value in start]

            def at(*moves: tuple[int, int]) -> Decimal:
                point = list(start)
                for k, sign in moves:
                    point[k] += sign * h[k]
                return self(point)

            here = at()
            up, down = [at((k, 1)) for k in range(n)], [at((k, -1)) for k in range(n)]
            slope = np.array([(up[k] - down[k]) / (2 * h[k]) for k in range(n)])
            H = np.empty((n, n), dtype=object)
            for k in range(n):
                H[k, k] = (up[k] - 2 * here + down[k]) / h[k] ** 2
                for m in range(k):
                    both = at((k, 1), (m, 1)) + at((k, -1), (m, -1))
                    both += 2 * here - up[k] - up[m] - down[k] - down[m]
                    H[k, m] = H[m, k] = both / (2 * h[k] * h[m])
            return solved(H, -slope)[0].astype(float)


@pytest.mark.parametrize("ratio", [1.0, 1e3, 1e4, 1e6, 1e8])
def test_balanced_estimates_are_the_closed_form_at_any_ratio(ratio):
    agrees(fitted(INTERCEPTS, table(ratio))[1], table(ratio))


@pytest.mark.parametrize(
    ("formula", "ratio", "slopes"),
    [(SLOPES, 1e8, 1.0), (SLOPES, 1.0, 1e7), (SLOPES, 1e7, 1e7), (APART, 1e4, 1.0), (APART, 1.0, 1e8)],
)
def test_two_random_effects_of_any_sizes_are_the_optimum(formula, ratio, slopes):
    frame = unbalanced(ratio, slopes)
    _, fit, best = fitted(formula, frame)
    assert fit.diagnostics.status == "ok", fit.diagnostics.message
    free = best.root[np.tril_indices(2)] if formula == SLOPES else np.diag(best.root)
    step = Dense(frame, formula == SLOPES).newton(np.append(free, np.log(best.sigma)))
    # of an element of L relative to its row, the random effect's sd; of log sigma itself
    sds = np.sqrt((best.root**2).sum(axis=1))
    unit = np.append(sds[[0, 1, 1]] if formula == SLOPES else sds, 1.0)
    assert np.abs(step / unit).max() < CLOSE


def test_a_criterion_and_a_groups_density_are_those_of_the_rows():
    frame = unbalanced(1e7, 1e3)
    moments, _, best = fitted(SLOPES, frame)
    with localcontext() as context:
        context.prec = 50
        phi = [Decimal(float(v)) for v in (*best.root[np.tril_indices(2)], np.log(best.sigma))]
        dense = Dense(frame, True)
        expected = float(dense(phi)) + (len(frame) - 2) * math.log(2 * math.pi)
        # ten digits of sums of some 1e6 residual variances
        assert best.criterion == pytest.approx(expected, abs=1e-5)
        n, A, B, C = dense.groups[3]
        beta, s2 = decimals(best.beta), (2 * phi[-1]).exp()
        L = np.array([[phi[0], Decimal(0)], [phi[1], phi[2]]])
        e, square = B[:, 2] - B[:, :2] @ beta, C[2, 2] - 2 * beta @ C[:2, 2] + beta @ C[:2, :2] @ beta
        through, det = solved(s2 * decimals(np.eye(2)) + L @ L.T @ A, L @ L.T @ e)
        value = (n - 2) * s2.ln() + det.ln() + (square - e @ through) / s2
        density = -0.5 * (float(value) + n * math.log(2 * math.pi))
    problem = problem_of(moments, ("Intercept", "t"), (("Intercept", "t"),))
    parameters = best.beta[None], best.root[None], np.array([best.sigma])
    found = log_densities(problem, by_group(moments, problem), moments.n, *parameters)
    # beta, 1e8, is known to 16 digits: 1e-8 of a residual
    assert found[0, 3] == pytest.approx(density, abs=1e-5)


def test_intervals_and_standard_errors_scale_with_the_ratio():
    _, fit, best = fitted(INTERCEPTS, table(1e7), profile=True)
    _, usual, _ = fitted(INTERCEPTS, table(1e2), profile=True)
    columns = ["std_error", "conf_low", "conf_high"]
    spread, other = (own.parameters.set_index("term")[columns] for own in (fit, usual))
    # the same random numbers at 1e5 times the ratio: between groups all is 1e5 times as large, but for sigma^2 / n
    for term, unit, within in (
        ("sd__Intercept", 1e5, 1e-2),
        ("sd__Observation", 1.0, 1e-4),
        ("t", 1.0, 1e-4),
    ):
        np.testing.assert_allclose(spread.loc[term] / unit, other.loc[term], rtol=within)
    # predicted effects: group means less the grand mean, shrunken by 1e-14
    means = table(1e7).groupby("g")["y"].mean()
    np.testing.assert_allclose(fit.ranef["estimate"], means - means.mean(), rtol=1e-7)
    assert best.exact


def test_predictions_have_the_errors_of_the_closed_form():
    """Balanced: of a new group's mean, and of one in the data, whose own mean says all but sigma^2 / n."""
    frame = table(1e7)
    moments, fit, best = fitted(INTERCEPTS, frame)
    terms = build(parse(INTERCEPTS), frame).terms
    rows = pd.DataFrame({"source": "d.csv", "row": [1, 2], "level": ["new", "g03"], "estimable": True})
    found = predict(fit, moments, terms, np.array([[1.0, 2.5], [1.0, 2.5]]), rows, 0.95)
    new = math.sqrt(best.root[0, 0] ** 2 * 31 / 30 + best.sigma**2 / 180)
    assert found["std_error"].tolist() == pytest.approx([new, best.sigma / math.sqrt(6)], rel=1e-6)


@pytest.mark.parametrize("text", [INTERCEPTS, "y ~ I(t * 1) + (1 | g)"])
def test_sql_and_batches_keep_the_digits(tmp_path, monkeypatch, text):
    monkeypatch.setattr("lmm.moments.sources.BATCH_ROWS", 50)
    frame = table(1e7)
    frame.to_parquet(tmp_path / "d.parquet", index=False)
    formula = parse(text)
    source = ingest.inspect(str(tmp_path / "d.parquet"), formula.variables, formula.group)
    source, data = ingest.scan(source, formula)
    made = build(formula, data["columns"])
    assert (made.plain is not None) == ("I(" not in text)
    moments = accumulate(source, made, basis_of(source, made, data["columns"]))
    fit, _ = reml.fit(moments, made.terms.fixed, made.terms.blocks, profile=False)
    fit.parameters["term"] = fit.parameters["term"].replace({made.terms.fixed[1]: "t"})
    agrees(fit, frame)


def test_parts_of_the_files_and_what_was_written_keep_the_digits(tmp_path):
    frame = table(1e7).sample(frac=1.0, random_state=1)
    design = build(parse(INTERCEPTS), frame)
    basis = of_rows(design, frame).basis
    halves = []
    for k, part in enumerate((frame[:70], frame[70:])):
        y, W = design.matrix(part)
        codes, levels = pd.factorize(part["g"], sort=True)
        names = np.asarray(levels, object)
        own = compute(design.terms, y, W, codes, names, basis=replace(basis))
        paths = str(tmp_path / f"{k}.parquet"), str(tmp_path / f"{k}.json")
        own.write(*paths)
        halves.append(Moments.read(*paths))
        assert np.array_equal(halves[-1].triangular(2)[1], own.triangular(2)[1])
    merged = merge_factors(halves, refined(halves[0]))
    agrees(reml.fit(merged, design.terms.fixed, design.terms.blocks, profile=False)[0], frame)


@pytest.mark.parametrize("whole", [True, False])
def test_weighted_rows_keep_the_digits(whole):
    """Within groups: the weighted sum of squares that groups and predictors leave, in long double."""
    frame = table(1e7)
    weights = np.tile([1.0, 2.0, 4.0], 60)
    design = build(parse(INTERCEPTS), frame)
    y, W = design.matrix(frame)
    codes, levels = pd.factorize(frame["g"], sort=True)
    moments = compute(design.terms, y, W, codes, np.asarray(levels, object), weights=weights, whole=whole)
    w, x = weights.astype(np.longdouble), frame["t"].to_numpy(np.longdouble)
    z = y.astype(np.longdouble)
    for values in (x, z):
        for j in range(30):
            own = codes == j
            values[own] -= (w[own] * values[own]).sum() / w[own].sum()
    left = (w * z * z).sum() - (w * x * z).sum() ** 2 / (w * x * x).sum()
    rest = moments.heads[1]
    unit = np.sqrt(np.diag(rest)[1:])
    cosines = rest[1:, 1:] / np.outer(unit, unit)
    np.testing.assert_allclose(
        cosines, cosines.T, rtol=0, atol=1e-12
    )  # a change of columns reads both halves
    found = (rest[-1, -1] - rest[1, -1] ** 2 / rest[1, 1]) * moments.basis.y_scale**2
    assert found == pytest.approx(float(left), rel=1e-7)  # long doubles of 1e8: 1e-11 of a residual


def test_leaving_out_a_group_keeps_the_digits():
    frame = table(1e7)
    moments, _, _ = fitted(INTERCEPTS, frame)
    found, about = influence(moments, ("Intercept", "t"), (("Intercept",),))
    assert about["left_out"] == ""
    sd, sigma, slope = closed_form(frame[frame["g"] != "g07"])
    own = found[found["level"] == "g07"].set_index("term")["estimate_without"]
    for name, value in (("sd__Intercept", sd), ("sd__Observation", sigma), ("t", slope)):
        assert own[name] == pytest.approx(value, rel=1e-6)


def test_a_second_pass_is_for_those_who_need_it():
    for ratio, wanted in ((1.0, False), (1e2, False), (1e4, True)):
        frame = table(ratio)
        moments = of_rows(build(parse(INTERCEPTS), frame), frame)
        problem = problem_of(moments, ("Intercept", "t"), (("Intercept",),))
        assert (moments.factor is not None, problem.white is not None) == (wanted, wanted)


def test_lost_digits_are_a_status():
    """Of sums of squares alone."""
    moments = fitted(INTERCEPTS, table(1e7))[0]
    plain = replace(moments, factor=None, rest=None)
    assert cancels(plain)
    fit, best = reml.fit(plain, ("Intercept", "t"), (("Intercept",),), profile=False)
    assert not best.exact
    assert fit.diagnostics.status == "non-converged"
    assert "rounding" in fit.diagnostics.message


@pytest.mark.parametrize("noise", [0.0, 1e-12, 1e-10, 1e-9])
@pytest.mark.parametrize("formula", [INTERCEPTS, SLOPES])
def test_a_response_that_groups_and_predictors_determine_is_refused(formula, noise):
    frame = table(3.0, 3.0 * noise)
    design = build(parse(formula), frame)
    with pytest.raises(StudyError) as error:
        estimable.check(of_rows(design, frame), [design], "d.csv")
    assert str(error.value).startswith(
        "d.csv: column 'y': determined by the groups of 'g' and t: what they leave"
    )
    assert "; expected a response that varies within groups" in str(error.value)


def crossed(levels: tuple[int, int], ratio: float) -> tuple[pd.DataFrame, np.ndarray, float]:
    """Rows of a balanced crossed design, one per cell, and REML's sd's and sigma by analysis of variance."""
    rng = np.random.default_rng(3)
    a, b = levels
    cells = ratio * (rng.normal(size=(a, 1)) + rng.normal(size=(1, b))) + rng.normal(size=(a, b))
    names = [f"{k:02d}" for k in range(40)]
    frame = pd.DataFrame({"g": np.repeat(names[:a], b), "h": np.tile(names[:b], a), "y": cells.ravel()})
    y = cells.astype(np.longdouble)
    rows, columns = y.mean(axis=1, keepdims=True), y.mean(axis=0, keepdims=True)
    within = ((y - rows - columns + y.mean()) ** 2).sum() / ((a - 1) * (b - 1))
    sds = np.sqrt([rows.var(ddof=1) - within / b, columns.var(ddof=1) - within / a]).astype(float)
    return frame, sds, float(np.sqrt(within))


def fit_crossed(frame: pd.DataFrame):
    model = model_of(frame, "y ~ 1 + (1 | g) + (1 | h)")
    fit, _, best = several_reml.fit(model.moments, model.terms.fixed, model.blocks, profile=False)
    return fit.diagnostics, np.array([float(root[0, 0]) for root in best.roots]), best.sigma


# sums of N = 480 squares lose twice the digits of the ratio and round by sqrt(N), in an order that depends on the
# processor's BLAS; an sd has up to 30 times that error: 30 sqrt(N) 1.1e-16 ratio^2 (of 8 seeds
# and 2 kinds of processor up to a third of it). At 1e2 it is the optimiser's last step that is left.
@pytest.mark.parametrize(("ratio", "close"), [(1e2, 1e-9), (1e3, 7e-8), (1e4, 7e-6), (2e4, 3e-5)])
@pytest.mark.parametrize("levels", [(10, 10), (40, 12), (12, 40)])
def test_crossed_factors_that_differ_by_far_more_than_rows_are_the_closed_form(levels, ratio, close):
    frame, sds, sigma = crossed(levels, ratio)
    about, found, own = fit_crossed(frame)
    assert about.status == "ok", about.message
    assert own == pytest.approx(sigma, rel=close)
    np.testing.assert_allclose(found, sds, rtol=close)


@pytest.mark.parametrize("ratio", [1e6, 1e7, 1e8])
def test_crossed_factors_without_digits_are_not_converged(ratio):
    about, _, _ = fit_crossed(crossed((10, 10), ratio)[0])
    assert about.status == "non-converged"
    assert "rounding" in about.message
