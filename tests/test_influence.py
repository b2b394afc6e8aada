"""Influence of each group: refits by subtraction against refits of the rows that are left."""

import numpy as np
import pandas as pd
import pytest

import problems
import several
from lmm.criticism import several_influence
from lmm.criticism.influence import FEWEST, influence, one_step
from lmm.data.rows import Rows, rows_of
from lmm.engines import several_reml
from lmm.inference.intervals import variance_values
from lmm.inference.optimum import optimum
from lmm.inference.several_optimum import optimum as several_optimum
from lmm.likelihood.by_group import by_group
from lmm.likelihood.problem import problem_of
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.model.terms import Terms
from lmm.moments import stage
from lmm.moments.accumulate import compute


def without(data, j):
    """Rows of all groups but the j-th, coded anew."""
    terms, y, W, codes, levels = data
    kept = codes != j
    return terms, y[kept], W[kept], codes[kept] - (codes[kept] > j), np.delete(levels, j)


def estimates(moments, terms):
    problem = problem_of(moments, terms.fixed, terms.blocks)
    best = optimum(problem)
    return np.append(best.beta, variance_values(best.root, best.sigma, problem.structure.correlations))


def wide(table, column="estimate_without"):
    """(groups, terms) array."""
    return table[column].to_numpy(float).reshape(table["level"].nunique(), -1)


@pytest.mark.parametrize("name", ["sleepstudy", "sleepstudy_indep", "dyestuff", "coffee"])
def test_a_group_taken_out_of_moments_is_a_group_taken_out_of_rows(name):
    data = problems.rows_of(name)
    terms = data[0]
    table, about = influence(compute(*data), terms.fixed, terms.blocks)
    found = wide(table)
    full = estimates(compute(*data), terms)
    assert about == {"groups": len(data[4]), "refits": len(data[4]), "left_out": ""}
    for j in range(0, len(data[4]), max(1, len(data[4]) // 20)):
        expected = estimates(compute(*without(data, j)), terms)
        # both are optima with a gradient of 0 to rounding, in bases that differ by that group: 1e-6 of an sd
        np.testing.assert_allclose(found[j], expected, rtol=1e-6, atol=1e-6 * expected[-1])
        np.testing.assert_allclose(wide(table, "change")[j], found[j] - full, atol=1e-6 * expected[-1])
    assert set(table["status"]) == {"ok"}


def test_changes_are_standardised_by_the_full_fits_errors():
    moments, terms = problems.moments_of("sleepstudy")
    table, _ = influence(moments, terms.fixed, terms.blocks)
    days = table[table["term"] == "Days"]
    # datasets.json has lme4's standard error of Days to ten digits
    error = problems.EXACT["sleepstudy"]["se"]["Days"]
    np.testing.assert_allclose(days["standardised"], days["change"] / error, rtol=1e-6)


def test_a_variance_of_zero_has_influence_without_a_standard_error():
    moments, terms = problems.moments_of("dyestuff2")
    table, _ = influence(moments, terms.fixed, terms.blocks)
    sd = table[table["term"] == "sd__Intercept"]
    assert set(table["status"]) == {"singular"}
    assert sd["standardised"].isna().all()
    assert np.all(sd["estimate_without"] < 1e-6)  # batches' means are closer than their errors allow
    assert table.loc[table["term"] == "Intercept", "standardised"].notna().all()


def unbalanced(groups=60, seed=4):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 15, groups)
    D = np.array([[4.0, 0.5], [0.5, 1.0]])
    names = ("Intercept", "x")
    return problems.simulated(rng, sizes, (*names, "z"), names, D, 1.5, np.array([1.0, 2.0, 0.5]))


def test_of_many_groups_the_most_influential_are_left_out():
    data = unbalanced()
    moments, terms = compute(*data), data[0]
    every, _ = influence(moments, terms.fixed, terms.blocks)
    some, about = influence(moments, terms.fixed, terms.blocks, most=10, chosen=12)
    assert about["refits"] == 12
    assert about["left_out"] == (
        "only 12 of 60 groups were left out, those of the largest one-step influence"
    )
    # the same refits, whatever else is left out before or after
    same = every.merge(some, on=["level", "term"], suffixes=("", "_some"))
    np.testing.assert_array_equal(same["estimate_without"], same["estimate_without_some"])
    worst = every.loc[every.groupby("term")["standardised"].apply(lambda s: s.abs().idxmax()), "level"]
    assert set(worst) <= set(some["level"])


def test_one_step_is_the_first_order_of_the_exact_change():
    data = unbalanced()
    moments, terms = compute(*data), data[0]
    problem = problem_of(moments, terms.fixed, terms.blocks)
    full = optimum(problem)
    gram = by_group(moments, problem)
    steps = one_step(problem, gram, moments.n, full)
    change = wide(influence(moments, terms.fixed, terms.blocks)[0], "change")
    for step, exact in zip(steps.T, change.T, strict=True):
        # errors of the second order: a group of 60 holds some 5 % of the information, more in the tail
        assert np.corrcoef(step, exact)[0, 1] > 0.97


def test_what_cannot_be_estimated_without_a_group_is_said_so():
    terms, y, W, codes, levels = unbalanced(8)
    W = np.column_stack([W, (codes == 3).astype(float)])
    terms = Terms.one((*terms.fixed, "k"), terms.blocks, "g", (*terms.columns, "k"))
    table, _ = influence(compute(terms, y, W, codes, levels), terms.fixed, terms.blocks)
    alone = table["level"] == levels[3]
    assert set(table.loc[alone, "status"]) == {"not estimable"}
    assert table.loc[alone, "change"].isna().all()
    assert "not estimable" not in set(table.loc[~alone, "status"])
    assert table.loc[~alone & (table["term"] == "x"), "change"].notna().all()


def test_too_few_groups_or_too_little_of_them_is_left_out_with_a_word():
    terms, y, W, codes, levels = unbalanced(2)
    table, about = influence(compute(terms, y, W, codes, levels), terms.fixed, terms.blocks)
    assert len(table) == about["refits"] == 0
    assert about["left_out"] == f"it needs at least {FEWEST} groups"
    data = unbalanced(5)
    table, about = influence(compute(*data, whole=False), data[0].fixed, data[0].blocks)
    assert len(table) == 0
    assert "too many" in about["left_out"]


@pytest.mark.parametrize("kind", ["crossed", "nested"])
def test_levels_of_several_factors_are_left_out_of_the_rows(kind):
    """Each refit is the fit of the rows that are left, made from scratch."""
    model = several.simulated(7, 160, (10, 5), "y ~ x + (1 | a) + (1 | b)", kind)
    codes = [Z[:, :, 0].argmax(axis=1) for Z in model.Z]
    at = {name: k for k, name in enumerate(model.terms.columns)}
    W = np.empty((160, len(at)))
    W[:, [at[name] for name in model.terms.fixed]] = model.X
    levels = [factor.levels for factor in model.moments.factors]
    rows = Rows(model.terms, model.y, W, codes[0], levels[0], ((codes[1], levels[1]),))
    table, about = several_influence.influence(rows)
    assert {group: own["refits"] for group, own in about["factors"].items()} == {"a": 10, "b": 5}
    whole = several_reml.fit(model.moments, model.terms.fixed, model.blocks, profile=False)[0].parameters
    frame = pd.DataFrame(
        {"x": W[:, at["x"]], "y": model.y, "a": levels[0][codes[0]], "b": levels[1][codes[1]]}
    )
    for group, level in (("a", levels[0][3]), ("b", levels[1][2])):
        own = several.model_of(frame[frame[group] != level], "y ~ x + (1 | a) + (1 | b)")
        fit = several_reml.fit(own.moments, own.terms.fixed, own.blocks, profile=False)[0].parameters
        mine = table[(table["group"] == group) & (table["level"] == level)]
        assert list(zip(mine["term_group"], mine["term"], strict=True)) == list(
            zip(fit["group"], fit["term"], strict=True)
        )
        # both optima are certified: gradients of 1e-8 leave less than 1e-6 of an estimate of order 1
        np.testing.assert_allclose(mine["estimate_without"], fit["estimate"], rtol=1e-6, atol=1e-6)
        change = fit["estimate"].to_numpy() - whole["estimate"].to_numpy()
        np.testing.assert_allclose(mine["change"], change, rtol=1e-4, atol=1e-6)


def test_of_many_levels_those_with_the_largest_effects_are_left_out(monkeypatch):
    monkeypatch.setattr(several_influence, "LEVELS", 6)
    monkeypatch.setattr(several_influence, "CHOSEN", 3)
    model = several.simulated(7, 160, (10, 5), "y ~ x + (1 | a) + (1 | b)")
    problem = model.problem()
    full = several_optimum(problem)
    chosen = several_influence.chosen_levels(problem, full, 0, 160)
    fit = several_reml.fit(model.moments, model.terms.fixed, model.blocks, profile=False)[0]
    effects = fit.ranef[fit.ranef["group"] == "a"]["estimate"].abs().to_numpy()
    assert chosen.tolist() == sorted(np.argsort(-effects)[:3].tolist())
    assert len(several_influence.chosen_levels(problem, full, 1, 160)) == 5


def test_weights_stay_with_their_rows():
    """Without a level the rows that are left keep their precision weights."""
    rng = np.random.default_rng(8)
    n = 120
    frame = pd.DataFrame({"x": rng.normal(size=n), "w": rng.uniform(0.5, 2.0, n)})
    frame["a"], frame["b"] = rng.integers(0, 8, n).astype(str), rng.integers(0, 5, n).astype(str)
    u, v = rng.normal(size=8), rng.normal(size=5)
    frame["y"] = (
        u[frame["a"].astype(int)] + v[frame["b"].astype(int)] + rng.normal(size=n) / np.sqrt(frame["w"])
    )
    formula = "y | weights(w) ~ x + (1 | a) + (1 | b)"
    design = build(parse(formula), frame)
    table, _ = several_influence.influence(rows_of(design, frame))
    own = frame[frame["a"] != "3"]
    moments = stage.of_rows(build(parse(formula), own), own)
    blocks = [grouping.blocks for grouping in design.terms.groupings]
    fit = several_reml.fit(moments, design.terms.fixed, blocks, profile=False)[0].parameters
    mine = table[(table["group"] == "a") & (table["level"] == "3")]
    # both optima are certified: gradients of 1e-8 leave less than 1e-6 of an estimate of order 1
    np.testing.assert_allclose(mine["estimate_without"], fit["estimate"], rtol=1e-6, atol=1e-6)
