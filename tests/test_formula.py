"""lme4's grammar for one grouping factor, and model matrices against hand-made ones."""

import json

import numpy as np
import pandas as pd
import pytest

from lmm.core.errors import StudyError
from lmm.model import syntax
from lmm.model.design import build, rebuild
from lmm.model.formula import parse, regrouped, unweighted
from lmm.model.syntax import names_in, plain_sum


@pytest.mark.parametrize(
    ("text", "fixed", "blocks"),
    [
        ("y ~ x + (x | g)", "1 + x", ("1 + x",)),
        ("y ~ x + (1 | g)", "1 + x", ("1",)),
        ("y ~ (1 | g)", "1", ("1",)),
        ("y ~ x + (x || g)", "1 + x", ("1", "0 + x")),
        ("y ~ x + (1 | g) + (0 + x | g)", "1 + x", ("1", "0 + x")),
        ("y ~ x + (0 + x | g)", "1 + x", ("0 + x",)),
        ("y ~ x + (-1 + x | g)", "1 + x", ("0 + x",)),
        ("y ~ x + (x - 1 | g)", "1 + x", ("0 + x",)),
        ("y ~ 0 + x + (1 | g)", "0 + x", ("1",)),
        ("y ~ x - 1 + ((1 | g))", "0 + x", ("1",)),
        ("y ~ x * z + (x + z | g)", "1 + x + z + x:z", ("1 + x + z",)),
        ("y ~ (x + z)**2 + (x:z | g)", "1 + x + z + x:z", ("1 + x:z",)),
        ("y ~ np.log(x) + (np.log(x) | g)", "1 + np.log(x)", ("1 + np.log(x)",)),
        ("y ~ C(f) + (C(f) || g)", "1 + C(f)", ("1", "0 + C(f)")),
        ("y ~ x * f + (x * f || g)", "1 + x + f + x:f", ("1", "0 + x", "0 + f", "0 + x:f")),
        ("y ~ I(x + z) + (I(x + z) || g)", "1 + I(x + z)", ("1", "0 + I(x + z)")),
        ("y ~ `a b` + (`a b` | `the group`)", "1 + `a b`", ("1 + `a b`",)),
    ],
)
def test_taken_apart(text, fixed, blocks):
    formula = parse(text)
    assert formula.response == "y"
    assert formula.fixed == fixed
    assert formula.blocks == blocks


@pytest.mark.parametrize(
    ("text", "factors"),
    [
        ("y ~ (1 | a) + (1 | b)", {"a": ("1",), "b": ("1",)}),
        ("y ~ x + (x | a) + (z | b)", {"a": ("1 + x",), "b": ("1 + z",)}),
        ("y ~ x + (x || a) + (1 | b)", {"a": ("1", "0 + x"), "b": ("1",)}),
        ("y ~ x + (1 | a) + (1 | b) + (0 + x | a)", {"a": ("1", "0 + x"), "b": ("1",)}),
        ("y ~ (1 | batch/cask)", {"cask:batch": ("1",), "batch": ("1",)}),
        ("y ~ x + (x | a/b/c)", {"c:b:a": ("1 + x",), "b:a": ("1 + x",), "a": ("1 + x",)}),
        ("y ~ (1 | a:b)", {"a:b": ("1",)}),
        ("y ~ a + (1 | b/a)", {"a:b": ("1",), "b": ("1",)}),
        ("y ~ (1 | (a:b)/c) + (1 | `the d`)", {"c:a:b": ("1",), "a:b": ("1",), "the d": ("1",)}),
    ],
)
def test_several_factors(text, factors):
    """Names and order of lme4's VarCorr: of a/b the inner factor first."""
    formula = parse(text)
    found = {f.group: tuple(b for term in f.terms for b in term.blocks) for f in formula.factors}
    assert found == factors
    assert list(found) == list(factors)
    assert formula.several == (len(factors) > 1)


@pytest.mark.parametrize("left", ["log(y) | weights(w) ~", "log(y)|weights(`a b`)~", "log(y) ~"])
def test_a_formula_without_its_weights_is_lme4s(left):
    assert unweighted(f"{left} x + (x | g)") == "log(y) ~ x + (x | g)"


def test_columns_of_several_factors():
    formula = parse("y ~ x + (z | a:b) + (1 | c)")
    assert formula.keys == (("a", "b"), ("c",))
    assert formula.variables == ("y", "x", "z", "a", "b", "c")
    assert formula.predictors == ("x", "z")


def test_columns():
    formula = parse("np.log(y) ~ x*z + C(f) + poly(w, 2) + (`odd x` | `a group`)")
    assert formula.variables == ("y", "x", "z", "f", "w", "odd x", "a group")
    assert formula.predictors == ("x", "z", "f", "w", "odd x")
    assert formula.group == "a group"
    assert formula.categorical == ("f",)
    assert formula.stateful == ("poly(w, 2)",)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "expected a formula"),
        (3, "expected a formula"),
        ("y", "one '~'"),
        ("y ~ x ~ z + (1|g)", "one '~'"),
        ("y ~", "nothing follows '~'"),
        ("~ x + (1|g)", "response is missing"),
        ("y ~ x", "no random effects"),
        ("y ~ x | g", "need brackets"),
        ("y ~ x + (x | g", "never closed"),
        ("y ~ x + (x | g))", "closes nothing"),
        ("y ~ x + + (1|g)", "followed by '+'"),
        ("y ~ x + (1|g) +", "nothing follows '+'"),
        ("y ~ x ^ + (1|g)", "does not parse"),
        ("y ~ x - (1|g)", "subtracted"),
        ("y ~ x * (1|g)", "stands alone"),
        ("y ~ x + (1 ||| g)", "one '|' or '||'"),
        ("y ~ x + ( | g)", "nothing stands left"),
        ("y ~ x + (0 | g)", "no random effect is left"),
        ("y ~ 0 + (1 | g)", "no fixed effect is left"),
        ("y ~ x + (1 | a + b)", "write (1 | a) + (1 | b)"),
        ("y ~ x + (1 | a * b)", "is no grouping factor"),
        ("y ~ x + (1 | )", "nothing stands right"),
        ("y ~ x + (1 | a/a)", "'a' is nested in itself"),
        ("y ~ x + (1 | a:b:a)", "'a' is nested in itself"),
        ("y ~ x + (1 | a/)", "grouping factor ''"),
        ("y ~ x + (1 | a:b) + (1 | b:a)", "the same grouping factor"),
        ("y ~ x + (1 | x) + (1 | b)", "'x' is also a predictor"),
        ("y ~ x + (1 | a) + (x | b) + (1 | b)", "random intercept of 'b' appears twice"),
        ("y ~ x + (1 | C(g))", "name of a column"),
        ("y ~ x + (1 | g) + (x | g)", "random intercept of 'g' appears twice; write (1 | g) + (0 + x | g)"),
        ("y ~ x + (x | g) + (0 + x | g)", "random effect of 'x' of 'g' appears twice"),
        ("y ~ weights(z) + (1 | g)", "weights stand left"),
        ("y | w ~ x + (1 | g)", "expected y | weights"),
        ("y + z ~ x + (1 | g)", "expected one column"),
        ("y:z ~ x + (1 | g)", "one number for each row"),
        ("C(y) ~ x + (1 | g)", "one number for each row"),
        ("y / 100 ~ x + (1 | g)", "I(y / 2)"),
        ("y ~ y + (1 | g)", "also on the right-hand side"),
        ("y ~ x + (1 | y)", "also on the right-hand side"),
        ("y ~ foo(x) + (1 | g)", "unknown function 'foo'"),
        ("y ~ np.mean(x) + (1 | g)", "unknown function 'np.mean'"),
        ("y ~ I(open('x')) + (1 | g)", "unknown function 'open'"),
        ("y ~ I([a for a in x]) + (1 | g)", "expected arithmetic"),
        ("y ~ I(x.__class__) + (1 | g)", "expected the name of a column"),
        ("y ~ s(x) + (1 | g)", "smooth terms"),
        ("y ~ 2 + x + (1 | g)", "does not parse"),
    ],
)
def test_refused(text, word):
    with pytest.raises(StudyError) as caught:
        parse(text, "engines.pymc.formula")
    assert word in str(caught.value)
    assert str(caught.value).startswith("engines.pymc.formula: ")
    assert "\n" not in str(caught.value)


@pytest.fixture
def frame():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "y": rng.random(20) + 1,
            "x": rng.random(20),
            "z": rng.random(20),
            "f": list("abcab") * 4,
            "t": [10, 2, 3, 2] * 5,
            "g": list("pqrst") * 4,
        }
    )


def test_plain_matrix(frame):
    design = build(parse("y ~ x + z + (z | g)"), frame)
    assert design.terms.columns == ("Intercept", "z", "x")
    assert design.terms.fixed == ("Intercept", "x", "z")
    assert design.terms.blocks == (("Intercept", "z"),)
    assert design.plain == {"x": "x", "z": "z"}
    y, w = design.matrix(frame)
    assert (y == frame.y).all()
    assert (w == np.column_stack([np.ones(20), frame.z, frame.x])).all()
    assert w.dtype == np.float64
    assert w.flags.c_contiguous


def test_treatment_contrasts_by_hand(frame):
    """Dummies of all but the first level; C() of numbers sorts them as numbers.

    (f || g) has one block per column of (f | g): with all dummies beside it, the intercept's variance would not be
    identified.
    """
    design = build(parse("np.log(y) ~ x * f + C(t) + (f || g)"), frame)
    assert design.terms.fixed == (
        "Intercept", "x", "f[T.b]", "f[T.c]", "C(t)[T.3]", "C(t)[T.10]", "x:f[T.b]", "x:f[T.c]",
    )  # fmt: skip
    assert design.terms.blocks == (("Intercept",), ("f[T.b]",), ("f[T.c]",))
    assert design.plain is None
    y, w = design.matrix(frame)
    found = dict(zip(design.terms.columns, w.T, strict=True))
    assert (y == np.log(frame.y)).all()
    assert (found["f[T.b]"] == (frame.f == "b")).all()
    assert (found["f[T.c]"] == (frame.f == "c")).all()
    assert (found["C(t)[T.10]"] == (frame.t == 10)).all()
    assert (found["x:f[T.b]"] == frame.x * (frame.f == "b")).all()


@pytest.mark.parametrize(
    "text",
    [
        "y ~ x + (x | g)",
        "y ~ x * f + (f || g)",
        "y ~ C(t) + np.log(x) + (np.log(x) | g)",
        "y ~ C(t) + (t | g)",
        "y ~ C(t) * x + bs(x, df=4) + (C(t) || g)",
        "y ~ poly(x, 2) + (1 | g)",
        "y ~ bs(x, df=4) + (center(z) | g)",
        "y ~ C(f, contr.treatment('b')) + (1 | g)",
        "I(y / 2) ~ {x + 1} + I(x**2) + (1 | g)",
    ],
)
def test_batches_in_another_process_see_the_same_columns(frame, text):
    """A batch may lack levels and have another range: bit for bit the rows of the whole."""
    design = build(parse(text), frame)
    again = rebuild(json.loads(json.dumps(design.state())))
    assert again.terms == design.terms
    y, w = design.matrix(frame)
    for rows in (slice(0, 1), slice(3, 7), slice(7, 20)):
        y_batch, w_batch = again.matrix(frame.iloc[rows])
        assert (y_batch == y[rows]).all()
        assert (w_batch == w[rows]).all()


def test_numbers_as_categories_and_as_numbers(frame):
    """C(t) beside a slope of t: the slope is of the numbers; levels may be known that no row has."""
    design = build(parse("y ~ C(t) + (t | g)"), frame, {"t": [10, 2, 3, 5]})
    assert design.terms.fixed == ("Intercept", "C(t)[T.3]", "C(t)[T.5]", "C(t)[T.10]")
    assert design.terms.blocks == (("Intercept", "t"),)
    found = dict(zip(design.terms.columns, design.predictors(frame).T, strict=True))
    assert (found["t"] == frame.t).all()
    assert (found["C(t)[T.3]"] == (frame.t == 3)).all()
    assert not found["C(t)[T.5]"].any()
    with pytest.raises(StudyError, match="column 't': value"):
        design.predictors(pd.DataFrame({"t": [2, 4]}))


def test_from_types_alone(frame):
    columns = {"x": {"type": "DOUBLE"}, "f": {"type": "categorical", "levels": ["a", "b", "c"]}}
    design = build(parse("y ~ x + f + (1 | g)"), columns)
    assert design.terms == build(parse("y ~ x + f + (1 | g)"), frame).terms


@pytest.mark.parametrize(
    ("text", "schema", "word"),
    [
        ("y ~ q + (1 | g)", {"x": "numeric"}, "'q' is not there; expected one of: x"),
        ("y ~ f + (1 | g)", {"f": "categorical"}, "unknown levels"),
        ("y ~ f + (1 | g)", {"f": {"type": "categorical", "levels": ["a"]}}, "at least two"),
        ("y ~ poly(x, 2) + (1 | g)", {"x": "numeric"}, "depends on all rows"),
    ],
)
def test_design_refused(text, schema, word):
    with pytest.raises(StudyError, match="formula: ") as caught:
        build(parse(text), schema)
    assert word in str(caught.value)


def test_unknown_level_is_named(frame):
    design = build(parse("y ~ f + (1 | g)"), frame)
    with pytest.raises(
        StudyError, match="column 'f': value 'zz' is not among its levels; expected one of: a, b, c"
    ):
        design.predictors(pd.DataFrame({"f": ["a", "zz"]}))


def test_a_grouping_factor_may_have_dots_as_in_r():
    formula = parse("y ~ x + (x | site.id)")
    assert formula.group == "site.id"
    assert formula.variables == parse("y ~ x + (x | `site.id`)").variables


def centred(values):
    return values - values.mean()


def odd_frame():
    """Columns called as functions, modules, contrasts and keywords are."""
    rng = np.random.default_rng(4)
    numbers = ("y", "x", "C", "I", "np", "log", "scale", "poly", "contr", "as_date", "lambda")
    frame = pd.DataFrame({name: rng.uniform(1, 2, 24) for name in numbers})
    return frame.assign(Sum=list("uvw") * 8, **{"class": list("ab") * 12}, g=np.repeat(list("pqrs"), 6))


@pytest.mark.parametrize(
    ("text", "term", "value"),
    [
        ("y ~ C + C(Sum) + (1 | g)", "C(Sum)[T.v]", lambda d: d["Sum"] == "v"),
        ("y ~ C + C(Sum) + (1 | g)", "C", lambda d: d["C"]),
        ("y ~ np + np.log(np) + (1 | g)", "np.log(np)", lambda d: np.log(d["np"])),
        ("y ~ log + log(log) + (1 | g)", "log(log)", lambda d: np.log(d["log"])),
        ("y ~ I + I(I * x) + (1 | g)", "I(I * x)", lambda d: d["I"] * d["x"]),
        ("y ~ {np + x} + np.exp(x) + (1 | g)", "np + x", lambda d: d["np"] + d["x"]),
        ("y ~ scale(scale) + scale + (1 | g)", "scale(scale)", lambda d: centred(d["scale"]) / d["scale"].std()),
        ("y ~ poly(poly, 2) + (poly | g)", "poly(poly, 2)[1]",
         lambda d: centred(d["poly"]) / np.linalg.norm(centred(d["poly"]))),
        ("y ~ C(Sum, Sum) + C(`class`, Sum) + (1 | g)", "C(`class`, Sum)[S.a]",
         lambda d: np.where(d["class"] == "a", 1, -1)),
        ("y ~ contr + C(Sum, contr.treatment('v')) + (1 | g)", "C(Sum, contr.treatment('v'))[T.u]",
         lambda d: d["Sum"] == "u"),
        ("y ~ as_date(as_date) + (1 | g)", "as_date(as_date)", lambda d: d["as_date"]),
        ("y ~ C(`class`) + (1 | g)", "C(`class`)[T.b]", lambda d: d["class"] == "b"),
        ("y ~ `class` * x + (C(`class`) | g)", "class[T.b]:x", lambda d: (d["class"] == "b") * d["x"]),
        ("y ~ np.log(`lambda`) + `lambda` + (1 | g)", "np.log(`lambda`)", lambda d: np.log(d["lambda"])),
        ("y ~ I(`lambda` ** 2) + (1 | g)", "I(`lambda` ** 2)", lambda d: d["lambda"] ** 2),
    ],
)  # fmt: skip
def test_functions_win_where_they_are_called_and_columns_elsewhere(text, term, value):
    """A function is one in call position whatever the columns' names; keywords in backticks are columns anywhere."""
    frame = odd_frame()
    design = build(parse(text), frame)
    found = design.predictors(frame)[:, design.terms.columns.index(term)]
    np.testing.assert_allclose(found, np.asarray(value(frame), float), rtol=1e-12)
    again = rebuild(json.loads(json.dumps(design.state())))
    assert again.terms == design.terms
    np.testing.assert_array_equal(again.predictors(frame), design.predictors(frame))


def test_odd_responses():
    frame = odd_frame()
    for text, value in [
        ("np.log(np) ~ np.exp(x) + (1 | g)", np.log(frame["np"])),
        ("np.log(`lambda`) ~ x + (1 | g)", np.log(frame["lambda"])),
        ("`lambda` ~ C(`class`) + (1 | g)", frame["lambda"]),
        ("log ~ log(x) + (1 | g)", frame["log"]),
    ]:
        np.testing.assert_array_equal(build(parse(text), frame).response(frame), value)


def test_names_that_look_like_marked_ones_stay():
    frame = odd_frame().assign(x_lmm_y=1.5)
    design = build(parse("y ~ x_lmm_y + I(x_lmm_y * 2) + C + C(Sum) + (1 | g)"), frame)
    assert {"x_lmm_y", "I(x_lmm_y * 2)", "C", "C(Sum)[T.v]"} <= set(design.terms.fixed)


def test_dates():
    formula = parse("y ~ as_date(when) * x + (1 | g)")
    assert formula.dates == ("when",) and formula.variables == ("y", "when", "x", "g")
    assert parse("as_date(y) ~ x + (1 | g)").response == "as_date(y)"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("y ~ x + (1 | batch:cask)", "y ~ x + (1 | cask:batch)"),
        ("y ~ x + (1 | batch:cask) + (x || batch)", "y ~ x + (1 | cask:batch) + (x || batch)"),
        ("y ~ (x || cask/batch)", "y ~ (x || cask:batch) + (x || cask)"),
        ("y ~ x + (1 | batch/cask)", "y ~ x + (1 | batch/cask)"),
        ("y ~ x + (1 | batch:other)", "y ~ x + (1 | batch:other)"),
        ("y ~ `a b` + (`a b` | batch:cask)", "y ~ `a b` + (`a b` | cask:batch)"),
    ],
)
def test_a_grouping_in_another_order_is_the_known_one(text, written):
    keys = (("cask", "batch"), ("batch",))
    assert regrouped(text, keys) == written
    assert {frozenset(own) for own in parse(written).keys} == {frozenset(own) for own in parse(text).keys}


def test_odd_names_in_a_grouping_stay_in_backticks():
    assert regrouped("y ~ 1 + (1 | a:`b c`)", [("b c", "a")]) == "y ~ 1 + (1 | `b c`:a)"


def test_every_odd_name_of_an_expression_is_found():
    found = names_in("np.log(`a b` * `c d`) + `e f`", ValueError)
    assert found.columns == ["a b", "c d", "e f"]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("1 + x + z", ("", "x", "z")),
        ("0 + x", ("x",)),
        ("1", ("",)),
        ("1 + x + x", ("", "x")),
        ("x + z", None),  # the constant is not said
        ("1 + x:z", None),
        ("1 + np.log(x)", None),
        ("1 + x - z", None),
        ("1 + x + 1", None),
        ("1 + p.dot", None),
        ("1 + lambda", None),
        ("1 + `a b`", None),
        ("10 + x", None),
    ],
)
def test_sums_of_columns_are_read_without_formulaic(text, columns):
    assert plain_sum(text) == columns


def test_sums_of_columns_are_what_formulaic_makes_of_them():
    """The same columns as a design whose parts formulaic reads: a product in the second formula is the difference."""
    frame = pd.DataFrame(np.random.default_rng(3).normal(size=(8, 4)), columns=["y", "x", "C", "g"])
    plain = build(parse("y ~ C + x + (0 + x | g)"), frame)
    read = build(parse("y ~ C + x + C:x + (0 + x | g)"), frame)
    assert plain.names == (read.names[0][:3], read.names[1])
    assert np.array_equal(plain.predictors(frame), read.predictors(frame)[:, :3])
    assert plain.plain == {"x": "x", "C": "C"} and plain.by_sql and not read.by_sql
    assert [spec.column_names for spec in plain.specs] == [("Intercept", "C", "x"), ("x",)]


@pytest.mark.parametrize("level", ["__", "__a", "___b_", "_c", "d__", ""])
def test_a_level_that_formulaic_would_leave_out_comes_back_as_it_was(level):
    hidden = syntax.hide_level(level)
    assert syntax.shown(hidden) == level
    assert not hidden.startswith("__")
    assert (hidden == level) is not level.startswith("__")


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("(a)", "a"), (" ( (a + b) ) ", "a + b"), ("(a) + (b)", "(a) + (b)"), ("((a) + (b))", "(a) + (b)"),
        ("f(a)", "f(a)"), ("()", ""), ("(a", "(a"),
    ],
)  # fmt: skip
def test_brackets_are_taken_away_where_they_enclose_everything(text, inner):
    assert syntax.strip(text) == inner


def test_terms_in_brackets_of_their_own_are_a_sum():
    assert parse("y ~ (x) + (z) + (1 | g)").fixed == parse("y ~ x + z + (1 | g)").fixed
