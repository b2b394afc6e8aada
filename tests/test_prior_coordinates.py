"""Automatic priors are of centred predictors: a predictor's zero and unit change no conclusion."""

import numpy as np
import pandas as pd
import pytest

import problems
from lmm.config.engines import Pymc
from lmm.criticism import stage
from lmm.data.rows import Rows
from lmm.engines.pymc import coordinates
from lmm.engines.pymc import fit as bayes
from lmm.engines.pymc import full as bayes_full
from lmm.engines.pymc.attempts import Setting
from lmm.engines.pymc.chains import sample_until_passed
from lmm.engines.pymc.coordinates import centred, transformed, within
from lmm.engines.pymc.grouped import Grouped
from lmm.engines.pymc.model import Sampler, marginal_model
from lmm.engines.pymc.priors import MEANS, ZERO, resolve
from lmm.engines.pymc.tables import parameters_table, posterior_tree
from lmm.likelihood.marginal import log_density
from lmm.likelihood.problem import layout, roots_of
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.model.priors import Prior
from lmm.moments.accumulate import compute
from lmm.moments.stage import of_rows

# (shift, scale) of a predictor: calendar years, thousands and thousandths of the unit
CHANGES = [(0.0, 1.0), (2008.0, 1.0), (0.0, 1e3), (0.0, 1e-3)]


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("x", ["x"]), ("x:z", ["x", "z"]), ("C(f)[T.a:b]:x", ["C(f)[T.a:b]", "x"]),
        ("f({1: 2}[k]):x", ["f({1:2}[k])", "x"]), ("x:f[T.a]b]:z", ["x", "f[T.a]b]", "z"]),
    ],
)  # fmt: skip
def test_factors_of_a_column_are_parted_outside_of_brackets(name, factors):
    assert coordinates._pieces(name) == factors


def test_what_is_within_a_term():
    names = (
        "Intercept", "x", "z", "C(f)[T.b:c]", "I(x ** 2)", "I( x**3 )", "x:z", "x:C(f)[T.b:c]", "np.log(x + 5)",
        "poly(w, 2)[1]", "poly(w, 2)[2]", "C(f)[T.d]", "I(x ** 2):z",
    )  # fmt: skip
    found = {name: [names[k] for k in rows] for name, rows in zip(names, within(names), strict=True)}
    assert found == {
        "Intercept": [],
        "x": ["Intercept"],
        "z": ["Intercept"],
        "C(f)[T.b:c]": ["Intercept"],
        "I(x ** 2)": ["Intercept", "x"],
        "I( x**3 )": ["Intercept", "x", "I(x ** 2)"],
        "x:z": ["Intercept", "x", "z"],
        "x:C(f)[T.b:c]": ["Intercept", "x", "C(f)[T.b:c]"],
        "np.log(x + 5)": ["Intercept", "x"],
        "poly(w, 2)[1]": ["Intercept"],
        "poly(w, 2)[2]": ["Intercept"],
        "C(f)[T.d]": ["Intercept"],
        "I(x ** 2):z": ["Intercept", "x", "z", "I(x ** 2)", "x:z"],
    }


def frame(shift: float = 0.0, scale: float = 1.0) -> pd.DataFrame:
    """240 rows in 12 groups, two numeric predictors and a factor of four levels."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame(
        {
            "x": (rng.normal(1.0, 2.0, 240) + shift) * scale,
            "z": rng.normal(size=240),
            "f": rng.choice(list("abcd"), 240),
            "g": np.repeat([f"g{k:02d}" for k in range(12)], 20),
        }
    )
    return table.assign(y=50 + rng.normal(size=240) * 3 + np.repeat(rng.normal(size=12), 20))


FORMULAS = [
    "y ~ x + (x | g)",
    "y ~ x * z + (x * z | g)",
    "y ~ x + I(x**2) + (x + I(x**2) | g)",
    "y ~ x * f + (f | g)",
    "y ~ 0 + f + f:x + (0 + f + f:x | g)",
    "y ~ z + (x | g)",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_centred_columns_are_residuals_on_the_terms_within(formula):
    rows = frame(3.0)
    design = build(parse(formula), rows)
    moments, W = of_rows(design, rows), design.predictors(rows)
    for names in (design.terms.fixed, *design.terms.blocks):
        X = W[:, [design.terms.columns.index(name) for name in names]]
        found = centred(moments, names)
        for k, below in enumerate(within(names)):
            expected = X[:, k]
            if below:
                expected = expected - X[:, below] @ np.linalg.lstsq(X[:, below], expected, rcond=None)[0]
            # columns of size 100, condition numbers below 1e4
            np.testing.assert_allclose(X @ found.matrix[:, k], expected, atol=1e-9)
            if names[k] != "Intercept":
                assert found.sd[k] == pytest.approx(expected.std(ddof=1), rel=1e-9)
        np.testing.assert_allclose(found.matrix @ found.inverse, np.eye(len(names)), atol=1e-10)
        if found.constant.any():
            np.testing.assert_allclose(X @ found.matrix @ found.constant, 1.0, atol=1e-10)


def posterior_at(formula: str, shift: float, scale: float) -> np.ndarray:
    """Log posterior, up to a constant, at points that do not depend on the unit or zero of x."""
    rows = frame(shift, scale)
    design = build(parse(formula), rows)
    moments, terms = of_rows(design, rows), design.terms
    problem, priors, packed = bayes.prepare(moments, terms.fixed, terms.blocks, {})
    rng = np.random.default_rng(1)
    structure, out = problem.structure, []
    for _ in range(4):
        q = len(structure.random)
        unit = np.concatenate(
            [rng.uniform(0.02, 0.1, q), rng.uniform(-0.2, 0.2, len(structure.correlations)), [3]]
        )
        values = unit * np.append([prior.args[0] for prior in priors.sd.values()], np.ones(len(unit) - q))
        roots, sigmas = roots_of(structure, values[:, None])
        logp = log_density(packed, np.ascontiguousarray(roots[0]), float(sigmas[0]))[0]
        # densities of v / scale, which have no unit
        logp += sum(p.logpdf(v) + np.log(p.args[0]) for p, v in zip(priors.sd.values(), values, strict=False))
        out.append(float(logp + priors.sigma.logpdf(values[-1])))
    return np.array(out)


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_posterior_density_does_not_depend_on_a_predictors_zero_or_unit(formula):
    expected = posterior_at(formula, 0.0, 1.0)
    for shift, scale in CHANGES[1:]:
        found = posterior_at(formula, shift, scale)
        # the marginal likelihood of 240 rows is of order 1e3; x**2 at 2008 keeps 9 digits of what it is without x
        np.testing.assert_allclose(found, expected, atol=2e-5 if "x**2" in formula else 1e-7)


def test_cell_means_are_around_the_mean_response():
    rows = frame()
    design = build(parse("y ~ 0 + f + f:x + (1 | g)"), rows)
    priors = resolve({}, of_rows(design, rows), design.terms.fixed, design.terms.blocks, marginal=True)
    middles = {name: prior.args[0] for name, prior in priors.fixed.items()}
    expected = {name: 0.0 if ":" in name else rows["y"].mean() for name in middles}
    assert middles == pytest.approx(expected, abs=1e-9)


def test_transformed_is_dense_algebra_and_leaves_alone_what_does_not_move():
    structure = layout((("Intercept", "x", "z"), ("w",)))
    matrix = np.eye(4)
    matrix[0, 1:3] = [-2.0, 0.5]
    rng = np.random.default_rng(0)
    roots = np.zeros((5, 4, 4))
    roots[:, :3, :3] = np.tril(rng.normal(size=(5, 3, 3)))
    roots[:, 3, 3] = rng.uniform(1, 2, 5)

    def values_of(D):
        sds = np.sqrt(np.einsum("skk->ks", D))
        return np.vstack(
            [sds, [D[:, k, m] / (sds[k] * sds[m]) for k, m in structure.correlations], np.ones(5)]
        )

    D = roots @ roots.transpose(0, 2, 1)
    own = values_of(D)
    found = transformed(structure, matrix, own)
    np.testing.assert_allclose(found, values_of(matrix @ D @ matrix.T), rtol=1e-12)
    still = [1, 2, 3, 6, 7]  # sd's of x, z and w, cor(x, z), sigma
    np.testing.assert_array_equal(found[still], own[still])
    assert transformed(structure, np.eye(4), own) is own


# --- explicit priors, and those of both kinds ---


def resolved(given: dict, shift: float = 2008.0, formula: str = "y ~ x + (x | g)"):
    rows = frame(shift)
    design = build(parse(formula), rows)
    return resolve(given, of_rows(design, rows), design.terms.fixed, design.terms.blocks, marginal=True), rows


@pytest.mark.parametrize(
    ("given", "moved"),
    [
        ({}, ["Intercept", "sd__Intercept", "cor__Intercept.x"]),
        ({"sd": {"x": "half_normal(1)"}}, ["Intercept", "sd__Intercept", "cor__Intercept.x"]),
        ({"fixed": {"x": "normal(0, 1)"}}, ["Intercept", "sd__Intercept", "cor__Intercept.x"]),
        ({"fixed": {"Intercept": "normal(0, 99)"}}, ["sd__Intercept", "cor__Intercept.x"]),
        ({"sd": {"Intercept": "half_normal(50)"}}, ["Intercept"]),
        ({"sd": "half_normal(50)", "corr": "auto"}, ["Intercept"]),
        ({"corr": "lkj(2)"}, ["Intercept"]),
        ({"fixed": "flat", "sd": "flat"}, []),
    ],
)
def test_explicit_priors_are_of_what_is_reported(given, moved):
    priors, rows = resolved(given)
    assert priors.moved == moved
    places = dict(zip(priors.table()["parameter"], priors.table()["at"], strict=True))
    where = {name: MEANS if name in moved else ZERO for name in ("Intercept", "sd__Intercept")}
    if given.get("fixed") == "flat":  # the same whatever the predictors' zero is
        where["Intercept"] = ""
    where["correlation matrix"] = MEANS if "cor__Intercept.x" in moved else ZERO
    assert places == where | dict.fromkeys(["x", "sd__x", "sd__Observation"], "")
    assert priors.centres == ({"x": pytest.approx(rows["x"].mean(), rel=1e-12)} if moved else {})


def test_beside_explicit_priors_the_scale_of_auto_is_that_of_an_intercept_at_zero():
    priors, rows = resolved({"corr": "lkj(2)"})
    y_sd, mean, sd = rows["y"].std(), rows["x"].mean(), rows["x"].std()
    # u_0 = v_0 - mean(x) v_x, independent, with the default scales
    assert priors.sd["Intercept"].args[0] == pytest.approx(2.5 * y_sd * np.hypot(1.0, mean / sd), rel=1e-9)
    assert priors.sd["x"].args[0] == pytest.approx(2.5 * y_sd / sd, rel=1e-12)


def test_blocks_have_their_own_coordinates():
    priors, _ = resolved({"sd": {"f[b]": "half_normal(1)"}}, formula="y ~ x + (x | g) + (0 + f | g)")
    assert priors.moved == ["Intercept", "sd__Intercept", "cor__Intercept.x"]
    rows = priors.table().set_index("parameter")
    assert rows.loc["correlation matrix", "at"] == f"{MEANS} for Intercept, x"


def test_flat_and_normal_priors_together_are_the_dense_posterior():
    """A flat intercept beside a normal slope: the slope is one more random effect, the intercept REML's."""
    rows = frame()
    design = build(parse("y ~ x + (1 | g)"), rows)
    moments, terms = of_rows(design, rows), design.terms
    codes = pd.factorize(rows["g"])[0]
    given = {"fixed": {"Intercept": "flat", "x": "normal(0.5, 0.2)"}}
    _, _, packed = bayes.prepare(moments, terms.fixed, terms.blocks, given)
    points = [(1.0, 3.0), (0.3, 2.0), (2.0, 4.0)]
    found = [log_density(packed, np.array([[tau]]), sigma) for tau, sigma in points]
    x, same = rows["x"].to_numpy(), (codes[:, None] == codes).astype(float)
    one, left = np.ones(240), rows["y"].to_numpy() - 0.5 * x
    expected = []
    for tau, sigma in points:
        V = sigma**2 * np.eye(240) + tau**2 * same + 0.2**2 * np.outer(x, x)
        solved = np.linalg.solve(V, np.column_stack([one, left]))
        information = one @ solved[:, 0]
        rss = left @ solved[:, 1] - (one @ solved[:, 1]) ** 2 / information
        expected.append(-0.5 * (np.linalg.slogdet(V)[1] + np.log(information) + rss))
    # sums of 240 terms of order 10
    np.testing.assert_allclose(
        [v[0] - found[0][0] for v in found], np.array(expected) - expected[0], atol=1e-9
    )
    step = 1e-5
    ends = [log_density(packed, np.array([[1.0]]), 3.0 + sign * step)[0] for sign in (1, -1)]
    assert found[0][2] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)


def test_calibration_draws_in_the_coordinates_of_the_fit():
    """Calibration wants numbers, so that priors are of the reported parameters, `auto` of correlations too."""
    given = {"fixed": "normal(0, 2)", "sd": "half_normal(1)", "sigma": "half_normal(1)", "corr": "auto"}
    priors, _ = resolved(given)
    assert priors.moved == []
    np.testing.assert_array_equal(priors.random_map, np.eye(2))


# --- sampled ---


def sleepstudy(shift: float, scale: float):
    terms, y, W, codes, levels = problems.rows_of("sleepstudy")
    return terms, y, np.column_stack([W[:, 0], (W[:, 1] + shift) * scale]), codes, levels


@pytest.fixture(scope="module")
def shifted():
    """Chains, moments and criticism of sleepstudy with its days shifted and scaled, one compiled model for all."""
    sampler, found = None, []
    for change in CHANGES:
        data = sleepstudy(*change)
        terms, moments = data[0], compute(*data)
        problem, priors, packed = bayes.prepare(moments, terms.fixed, terms.blocks, {})
        sampler = sampler or Sampler(priors, marginal_model(priors, packed))
        setting = Setting(seed=1, chains=4, tune=1000, draws=2000, target_accept=0.8)
        posterior = Grouped(problem, packed, priors, moments, lambda own=sampler: own)
        chains, gates, _ = sample_until_passed(posterior.by_nuts, setting)
        assert all(gate["passed"] for gate in gates)
        beta = chains.by_chain(chains.fixed.draws)
        values = dict(zip((*terms.fixed, *problem.structure.terms), [*beta, *chains.values], strict=True))
        tree = posterior_tree(values, {}, moments, priors, priors.centred(beta, chains.draws.values))
        options = {"priors": {}, "seed": 1, "conf_level": 0.95}
        found.append((chains, stage.criticise(moments, terms.fixed, terms.blocks, tree, options)))
    return found


def unit_free(chains, shift, scale) -> pd.DataFrame:
    """Parameters and random effects at the mean of the days, in days, with their Monte Carlo errors."""
    problem = chains.problem
    keys = [*(("", t) for t in problem.fixed), *(("Subject", t) for t in problem.structure.terms)]
    table = parameters_table(chains, keys, None, 0.95).frame().set_index("term")[["estimate", "mcse_mean"]]
    rows = table.loc[["Days", "sd__Days"]] * scale
    rows = pd.concat([rows, table.loc[["sd__Observation"]]])
    beta = chains.by_chain(chains.fixed.draws)
    own = chains.priors.centred(beta, chains.draws.values)
    for name, draws in own.items():
        rows.loc[f"{name} at the means"] = draws.mean(), draws.std() / np.sqrt(0.8 * draws.size)
    u = chains.ranef(0.95)
    middle = (4.5 + shift) * scale
    effects = u.mean[:, 0] + middle * u.mean[:, 1]
    for j, value in enumerate(effects):  # conditional means: they move little from draw to draw
        rows.loc[f"u{j}"] = value, u.sd[j, 1] * scale * 0.05
    return rows


def test_shifts_and_scales_of_days_change_no_conclusion(shifted):
    """Two runs differ by their Monte Carlo errors: of 3 x 25 comparisons none is beyond 4.5 once in 1000 seeds."""
    results = [unit_free(chains, *change) for (chains, _), change in zip(shifted, CHANGES, strict=True)]
    expected = results[0]
    for found in results[1:]:
        error = np.hypot(found["mcse_mean"], expected["mcse_mean"])
        assert (abs(found["estimate"] - expected["estimate"]) <= 4.5 * error).all()
    # what the data say, and not the prior (issue 10, E: 0.017 instead of 6.6, and 31 instead of 26)
    assert expected.loc["sd__Days", "estimate"] == pytest.approx(6.3, abs=0.3)
    assert expected.loc["sd__Observation", "estimate"] == pytest.approx(25.8, abs=0.3)


def test_shifts_and_scales_of_days_change_no_criticism(shifted):
    first = shifted[0][1]
    same = first.sensitivity["term"].isin(["Days", "sd__Days", "sd__Observation"])  # in any coordinates
    for _, found in shifted[1:]:
        # elpd of 18 groups from the same 8000 draws but for rounding or another path: their Monte Carlo error is 0.05
        np.testing.assert_allclose(found.loo["elpd"], first.loo["elpd"], atol=0.3)
        for name in ("prior", "likelihood"):
            # a distance per doubling, of order 0.1 in 8000 draws: another path moves it by less than the limit, 0.05
            np.testing.assert_allclose(
                found.sensitivity[name][same], first.sensitivity[name][same], atol=0.04
            )


def test_prior_draws_are_the_same_whatever_the_zero_and_the_unit():
    drawn = []
    for shift, scale in CHANGES:
        terms, y, W, codes, levels = sleepstudy(shift, scale)
        moments = compute(terms, y, W, codes, levels)
        priors = resolve({}, moments, terms.fixed, terms.blocks, marginal=True)
        beta, roots, sigmas = stage.prior_parameters(np.random.default_rng(3), priors, 50)
        back = np.array([[1.0, (4.5 + shift) * scale], [0.0, scale]])  # to the means, per day
        drawn.append((beta @ back.T, back @ roots, sigmas))
    for found in drawn[1:]:
        for one, expected in zip(found, drawn[0], strict=True):
            # intercepts at zero of up to 1e6, of which 1e-16 is lost, for values of size 100
            np.testing.assert_allclose(one, expected, rtol=1e-9, atol=1e-8)


def test_the_full_model_has_the_same_coordinates():
    data = sleepstudy(40.0, 1.0)
    settings = Pymc(target_accept=0.9).plain() | {"conf_level": 0.95}
    moments, terms = compute(*data), data[0]
    marginal, tree = bayes.fit(moments, terms.fixed, terms.blocks, settings)
    full, tree_full = bayes_full.fit_full(Rows(*data), moments, settings)
    assert full.diagnostics.status == "ok"
    assert full.diagnostics.summary["priors"] == marginal.diagnostics.summary["priors"]
    error = np.hypot(marginal.parameters.mcse_mean, full.parameters.mcse_mean)
    # 42 comparisons at four errors: a false alarm in 400 seeds
    assert (abs(marginal.parameters.estimate - full.parameters.estimate) <= 4 * error).all()
    error = np.hypot(marginal.ranef.mcse_mean, full.ranef.mcse_mean)
    assert (abs(marginal.ranef.estimate - full.ranef.estimate) <= 4 * error).all()
    for name in ("Intercept", "sd__Intercept", "cor__Intercept.Days"):
        one, two = (t["posterior_centred"][name].to_numpy() for t in (tree, tree_full))
        assert one.mean() == pytest.approx(two.mean(), abs=4 * one.std() * np.sqrt(2 / 3000))
    assert tree["posterior_centred"].attrs["predictors"] == "Days = 44.5"
    assert "sd__Intercept ~ half_normal(140.8" in tree["posterior"].attrs["priors"]
    assert f"{MEANS}; " in tree["posterior"].attrs["priors"]


def test_draws_at_the_means_are_those_of_explicit_priors_on_centred_data():
    """The same prior, written out for days that are centred beforehand: two ways to one posterior."""
    priors = {"sd": {"Intercept": "half_normal(140)", "Days": "half_normal(49)"}, "corr": "lkj(2)"}
    by_hand, terms = (lambda data: (compute(*data), data[0]))(sleepstudy(-4.5, 1.0))
    _, _, packed = bayes.prepare(by_hand, terms.fixed, terms.blocks, {"fixed": "flat"} | priors)
    shifted_moments = compute(*sleepstudy(2008.0, 1.0))
    _, own, other = bayes.prepare(shifted_moments, terms.fixed, terms.blocks, {"fixed": "flat"})
    assert own.corr == Prior("lkj", (2.0,))
    root = np.array([[35.0, 0.0], [4.0, 5.0]])
    values = [log_density(vector, root, 26.0) for vector in (packed, other)]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-9)
