"""Variance parameters that the rows cannot tell apart: found before a fit, and a status after it."""

import numpy as np
import pandas as pd
import pytest

from lmm.comparison.engines import verdict
from lmm.core.errors import StudyError
from lmm.engines import mixedlm, reml, several_reml
from lmm.engines.pymc.gates import status_of
from lmm.inference import estimable
from lmm.inference.derivatives import by_group
from lmm.inference.identified import information
from lmm.inference.intervals import variance_values
from lmm.inference.optimum import optimum
from lmm.inference.several_derivatives import by_factors
from lmm.inference.several_optimum import optimum as several_optimum
from lmm.inference.unidentified import at_estimates, unidentified, unidentified_at
from lmm.likelihood.problem import problem_of
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.moments.stage import of_rows
from lmm.recovery import job
from several import model_of


def table(seed: int = 1) -> pd.DataFrame:
    """20 groups of three rows, one per condition; pairs of groups; a treatment of groups; every row its own group."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(20), 3)
    frame = pd.DataFrame(
        {
            "g": [f"g{k:02d}" for k in g],
            "pair": [f"p{k // 2:02d}" for k in g],
            "f": np.tile(list("abc"), 20),
            "x": rng.normal(size=60),
            "arm": g % 2,
            "level": rng.normal(size=20)[g],
            "obs": [f"o{k:02d}" for k in range(60)],
        }
    )
    frame["h"] = frame["g"].str.upper()
    frame["y"] = rng.normal(size=20)[g] + 0.5 * frame["x"] + rng.normal(size=60)
    return frame


def two_rows(seed: int = 2) -> pd.DataFrame:
    """40 groups measured twice, at times 0 and 1."""
    rng = np.random.default_rng(seed)
    level, slope = rng.normal(size=40), 0.7 * rng.normal(size=40)
    frame = pd.DataFrame({"id": [f"i{k:02d}" for k in range(40)] * 2, "t": np.repeat([0.0, 1.0], 40)})
    frame["y"] = np.tile(level, 2) + frame["t"] * np.tile(slope, 2) + 0.5 * rng.normal(size=80)
    return frame


def moments_of(formula: str, frame: pd.DataFrame):
    design = build(parse(formula), frame)
    return of_rows(design, frame), design


def found_in(formula: str, frame: pd.DataFrame):
    moments, design = moments_of(formula, frame)
    blocks = [grouping.blocks for grouping in design.terms.groupings]
    return information(moments, design.terms.fixed, blocks)


def dense(formula: str, frame: pd.DataFrame, V: np.ndarray | None = None) -> np.ndarray:
    """tr(P V_m P V_n), the V_m of unit length, from matrices with a row and a column for every row."""
    model = model_of(frame, formula)
    n = len(model.y)
    V = np.eye(n) if V is None else V
    inverse = np.linalg.inv(V)
    XtV = model.X.T @ inverse
    P = inverse - XtV.T @ np.linalg.solve(XtV @ model.X, XtV)
    parts = []
    for Z, grouping in zip(model.Z, model.terms.groupings, strict=True):
        start = 0
        for block in grouping.blocks:
            pairs = [(a, b) for a in range(start, start + len(block)) for b in range(start, a + 1)]
            halves = [Z[:, :, a] @ Z[:, :, b].T * (0.5 if a == b else 1.0) for a, b in pairs]
            parts += [half + half.T for half in halves]
            start += len(block)
    parts.append(np.eye(n))
    units = [np.sqrt(np.trace(inverse @ own @ inverse @ own)) for own in parts]
    sides = [P @ own / unit for own, unit in zip(parts, units, strict=True)]
    return np.array([[np.sum(a * b.T) for b in sides] for a in sides])


def scaled(found) -> np.ndarray:
    return found.matrix / np.sqrt(np.outer(found.units, found.units))


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + (1 | g)",
        "y ~ x + (x || g)",
        "y ~ x + (x || g) + (1 | pair)",
        "y ~ x + (1 | pair/g) + (0 + x | f)",
    ],
)
def test_information_before_a_fit_is_that_of_dense_matrices(formula):
    # Blocks of one column, x centred: the library's columns are then multiples of the data's.
    frame = table()
    frame["x"] -= frame["x"].mean()
    # sums of 60 products, in another order
    np.testing.assert_allclose(scaled(found_in(formula, frame)), dense(formula, frame), atol=1e-12)


REFUSED = {
    "two rows per group, intercept and slope": (two_rows(), "y ~ t + (t | id)", "(t | id)", "(1 | id)"),
    "one row per cell, a factor's effects": (table(), "y ~ f + (0 + f | g)", "(0 + f | g)", "(1 | g)"),
    "the same with an intercept": (table(), "y ~ f + (f | g)", "(f | g)", "(1 | g)"),
    "a treatment of groups": (
        table(),
        "y ~ arm + (arm | g)",
        "arm does not vary within groups of 'g'",
        "(1 | g)",
    ),
    "every row its own group": (table(), "y ~ x + (1 | g) + (1 | obs)", "(1 | obs)", "(1 | g)"),
    "the same factor twice": (table(), "y ~ x + (1 | g) + (1 | h)", "(1 | g) + (1 | h)", "(1 | h)"),
    "effects of a factor and of its cells": (
        table(),
        "y ~ f + (f | pair) + (1 | pair:f)",
        "(f | pair) + (1 | pair:f)",
        "(1 | pair) + (1 | pair:f)",
    ),
    "groups that are fixed effects": (
        table(),
        "y ~ h + (1 | g)",
        "the fixed effects take up all",
        "fixed effects",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_parameters_that_no_data_can_tell_apart_are_refused(kind):
    frame, formula, named, advice = REFUSED[kind]
    moments, design = moments_of(formula, frame)
    values = np.linalg.eigvalsh(dense(formula, frame))
    assert values[0] < 1e-12 < 1e-3 < values[1], "one direction, and no other, is empty"
    with pytest.raises(StudyError) as error:
        estimable.check(moments, [design], "d.csv")
    said = str(error.value)
    assert said.startswith("d.csv: formula ")
    what, _, rest = said.partition("; expected ")
    assert named in what
    assert advice in rest


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + (x | g)", "y ~ f + (f || g)", "y ~ level + (level | g)", "y ~ x + (1 | pair/g)",
        "y ~ x + (x | g) + (1 | f)", "y ~ f + (f | pair)", "y ~ x + I(x**2) + (x + I(x**2) | pair)",
        "y ~ 1 + (1 | g)",
    ],
)  # fmt: skip
def test_identified_models_are_not_refused(formula):
    moments, design = moments_of(formula, table())
    estimable.check(moments, [design], "d.csv")


def test_few_groups_with_more_than_one_row_are_enough():
    rng = np.random.default_rng(3)
    codes = np.r_[np.arange(2000), [0, 1, 2]]
    frame = pd.DataFrame(
        {"g": codes.astype(str), "x": rng.normal(size=2003) + 2000, "y": rng.normal(size=2003)}
    )
    estimable.check(*_with_list(moments_of("y ~ x + (1 | g)", frame)), "d.csv")
    small = frame.assign(g=(codes % 700).astype(str))
    formula = "y ~ x + I(x**2) + (x + I(x**2) | g)"  # columns far from 0, correlated to 1 - 1e-6
    estimable.check(*_with_list(moments_of(formula, small)), "d.csv")


def _with_list(pair):
    moments, design = pair
    return moments, [design]


def test_information_at_estimates_is_that_of_dense_matrices():
    frame = table(4)
    frame["x"] -= frame["x"].mean()
    formula = "y ~ x + (x || g)"
    moments, design = moments_of(formula, frame)
    problem = problem_of(moments, design.terms.fixed, design.terms.blocks)
    best = optimum(problem)
    Z = model_of(frame, formula).Z[0]
    V = best.sigma**2 * np.eye(60) + np.einsum("nja,ab,mjb->nm", Z, best.covariance, Z)
    found = at_estimates(by_group(problem, best), [problem.structure])
    np.testing.assert_allclose(scaled(found), dense(formula, frame, V), atol=1e-10)  # V's condition is 1e2


def test_columns_that_are_correlated_are_told_apart_at_the_estimates():
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(60), 6)
    x = 2000 + 10 * rng.random(360)
    y = rng.normal(size=60)[g] + (x - 2005) * rng.normal(size=60)[g] + rng.normal(size=360)
    frame = pd.DataFrame({"g": g.astype(str), "x": x, "y": y})
    moments, design = moments_of("y ~ x + I(x**2) + (x + I(x**2) | g)", frame)
    problem = problem_of(moments, design.terms.fixed, design.terms.blocks)
    assert unidentified(by_group(problem, optimum(problem)), [problem.structure]) == []


def test_reml_and_mixedlm_have_a_status_of_their_own():
    frame = two_rows()
    moments, design = moments_of("y ~ t + (t | id)", frame)
    terms = design.terms
    exact, best = reml.fit(moments, terms.fixed, terms.blocks)
    names = ["sd__Intercept", "sd__t", "cor__Intercept.t", "sd__Observation"]
    assert exact.diagnostics.status == "unidentified"
    assert exact.diagnostics.unidentified == names
    assert "do not determine sd__Intercept" in exact.diagnostics.message
    spread = exact.parameters[exact.parameters["effect"] == "ran_pars"]
    assert spread[["std_error", "conf_low", "conf_high"]].isna().all(axis=None)
    y, W = design.matrix(frame)
    codes, levels = pd.factorize(frame["id"], sort=True)
    own = mixedlm.fit(terms, y, W, codes, np.asarray(levels), reml=exact)
    assert own.diagnostics.status == "unidentified"
    found = verdict({"mixedlm": own, "reml": exact}, None, 0.95)
    assert [one["n_judged"] for one in found["engines"].values()] == [0, 0]
    # a posterior that priors alone make proper, wherever it is
    problem = problem_of(moments, terms.fixed, terms.blocks)
    values = variance_values(best.root, best.sigma, problem.structure.correlations)
    for factor in (1.0, 0.3):
        lost = unidentified_at(problem, values * [factor, factor, 1.0, 1.0])
        assert lost == names
        assert (
            status_of([{"name": "R-hat", "value": 1.0, "limit": 1.01, "passed": True}], lost)[0]
            == "unidentified"
        )


def test_several_factors_have_it_too():
    frame = table()
    for formula, lost in (
        ("y ~ f + (f | pair) + (1 | pair:f)", ["sd__Intercept of pair", "sd__Intercept of pair:f"]),
        ("y ~ x + (1 | pair/g)", []),
    ):
        model = model_of(frame, formula)
        problem = model.problem()
        found = unidentified(
            by_factors(problem, several_optimum(problem)), problem.structures, problem.groups
        )
        assert [name for name in found if "Intercept of" in name and "cor" not in name] == lost
    fit, _, _ = several_reml.fit(*(lambda m: (m.moments, m.terms.fixed, m.blocks))(model_of(frame, formula)))
    assert fit.diagnostics.status in ("ok", "singular")


def test_a_simulated_design_is_looked_at_once():
    """A design that is never identified is refused, one whose first replicate is not is kept."""

    class Source:
        def __init__(self, frames):
            self.frames, self.drawn = frames, []

        def draw(self, replicate):
            self.drawn.append(replicate)
            moments, _ = moments_of("y ~ t + (t | id)", self.frames[min(replicate, len(self.frames) - 1)])
            return type("Data", (), {"moments": moments})

    bad, good = two_rows(), two_rows().assign(t=np.random.default_rng(1).normal(size=80))
    models = [build(parse("y ~ t + (t | id)"), bad)]
    source = Source([good])
    job.check(source, models)
    assert source.drawn == [0]
    job.check(Source([bad, good]), models)
    with pytest.raises(StudyError, match="simulate: formula"):
        job.check(Source([bad]), models)


def test_few_groups_and_slopes_of_groups_are_remarked():
    frame = table().query("g < 'g02'")
    moments, design = moments_of("y ~ x + (1 | g)", frame)
    (said,) = estimable.remarks(moments, design.terms)
    assert said.startswith(
        "2 groups of 'g', fewer than 5: the data hardly determine a variance between so few"
    )
    moments, design = moments_of("y ~ level + (level | g)", table())
    (said,) = estimable.remarks(moments, design.terms)
    assert said.startswith("level: constant within groups of 'g'")
    moments, design = moments_of("y ~ x + (x | g) + (1 | f)", table())
    said = estimable.remarks(moments, design.terms)[0]
    assert said.startswith("3 groups of 'f'")


@pytest.mark.parametrize(
    ("labels", "remarked"),
    [
        ("in all", True),  # every batch has casks a, b and c
        ("in most", True),  # batches have two or three
        ("long", False),  # items of an experiment: i01, i02, i03
        ("nested", False),  # a label occurs in one batch
    ],
)
def test_labels_that_begin_anew_are_remarked(labels, remarked):
    batch, cask = (part.ravel() for part in np.meshgrid(np.arange(10), np.arange(3)))
    if labels == "in most":
        kept = (cask < 2) | (batch % 2 == 0)
        batch, cask = batch[kept], cask[kept]
    batch, cask = np.repeat(batch, 2), np.repeat(cask, 2)
    name = {"long": "i0{}", "nested": "{}x{}"}.get(labels, "{}")
    frame = pd.DataFrame(
        {
            "y": np.random.default_rng(1).normal(size=len(batch)),
            "batch": [f"b{k}" for k in batch],
            "cask": [name.format("abc"[k], b) for k, b in zip(cask, batch, strict=True)],
        }
    )
    moments, design = moments_of("y ~ 1 + (1 | batch) + (1 | cask)", frame)
    said = [one for one in estimable.remarks(moments, design.terms) if "labels in" in one]
    assert bool(said) == remarked
    if remarked:
        assert said[0].startswith("cask has 3 labels in 10 levels of batch: is it (1 | batch/cask)?")


def crossed(kind: str) -> pd.DataFrame:
    """Two halves of an experiment, each with subjects and items of its own unless something connects them."""
    half, subject, item = (part.ravel() for part in np.meshgrid(np.arange(2), np.arange(6), np.arange(5)))
    frame = pd.DataFrame({"half": half, "s": half * 6 + subject, "i": half * 5 + item})
    if kind == "one row":  # a subject of the first half sees an item of the second
        frame = pd.concat([frame, pd.DataFrame({"half": [0], "s": [0], "i": [9]})])
    if kind == "nested":
        frame["i"] = frame["s"] % 6 + 6 * frame["half"]
        frame["s"] = frame["half"] * 30 + frame["i"] * 5 + item
    frame = pd.concat([frame] * 2, ignore_index=True).astype(str)
    return frame.assign(y=np.random.default_rng(1).normal(size=len(frame)))


@pytest.mark.parametrize(
    ("kind", "formula", "remarked"),
    [
        ("two sets", "y ~ 1 + (1 | s) + (1 | i)", True),
        ("one row", "y ~ 1 + (1 | s) + (1 | i)", False),
        ("two sets", "y ~ 1 + (1 | half) + (1 | s) + (1 | i)", False),  # both are nested in the halves
        ("nested", "y ~ 1 + (1 | i/s)", False),
        ("nested", "y ~ 1 + (1 | s) + (1 | i)", False),  # nested by the labels
    ],
)
def test_crossed_factors_that_no_row_connects_are_remarked(kind, formula, remarked):
    moments, design = moments_of(formula, crossed(kind))
    said = [one for one in estimable.remarks(moments, design.terms) if "no row connects" in one]
    assert [one[:58] for one in said] == [
        "the levels of s and i fall into 2 sets that no row connect"
    ] * remarked


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (
            "y ~ x + level + (x | g) + (0 + level | g) + (x || pair)",
            [("x", "g", (("Intercept", "x"),)), ("0 + level", "g", (("level",),)),
             ("x", "pair", (("Intercept",), ("x",)))],
        ),
        (
            "y ~ x + (x + level || g) + (1 | pair)",
            [("x + level", "g", (("Intercept",), ("x",), ("level",))), ("1", "pair", (("Intercept",),))],
        ),
        (
            "y ~ f + (f || g) + (0 + x | g) + (1 | pair)",
            [("f", "g", (("Intercept",), ("f[T.b]",), ("f[T.c]",))), ("0 + x", "g", (("x",),)),
             ("1", "pair", (("Intercept",),))],
        ),
    ],
)  # fmt: skip
def test_random_terms_have_their_own_blocks(formula, expected):
    """One block of correlated effects, or one per effect; several terms of a factor, and what follows them."""
    found = estimable.random_terms(build(parse(formula), table()))
    assert [(term.effects, term.group, term.blocks) for term in found] == expected
