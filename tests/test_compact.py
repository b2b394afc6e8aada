"""The compiled path of replicates: the full path's data sets, optima and tests; sums that can be added up."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

import problems
from conftest import ROOT
from lmm.config.load import load
from lmm.core.store import read_table
from lmm.core.streams import repeated, seed_sequence, stream
from lmm.data.levels import encode
from lmm.engines import reml
from lmm.inference.intervals import wald_intervals
from lmm.inference.newton import criterion
from lmm.likelihood.problem import layout, problem_of
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.moments.accumulate import compute
from lmm.recovery import blocks, chunks, compact, full, job, performance, sums
from lmm.recovery.data import Bootstrap, estimates_of
from lmm.recovery.grid import design_columns
from lmm.recovery.plan import KEPT
from planning import plan

KEYS = ["design", "replicate", "engine", "effect", "group", "term", "df"]
HARD = {
    "groups": [6, 12],
    "rows_per_group": {"poisson": 7},
    "fixed": {"Intercept": 3, "x": 0},
    "sd": {"Intercept": 1, "x": 0.4},
}
METHODS = {"df": ["satterthwaite", "normal"]}


def study(record="parameters", **keys):
    given = {"formula": "y ~ x + (x | group)", "simulate": HARD, "replicates": 4000, "record": record}
    given |= {"engines": {"ols": {}, "reml": METHODS}} | keys
    planned = plan.study_plan(load({"studies": {"s": given}}).studies["s"])
    return planned["stages"]["replicates"], list(planned["recovery"]["designs"].values())


def compiled(settings, designs, first, stop, summed=False):
    return blocks.run(*job.simulated(settings, designs), 0.95, first, stop, summed)


@pytest.mark.parametrize("model", ["q1", "pairs", "independent", "triple"])
@pytest.mark.parametrize("ml", [False, True])
def test_the_hessian_is_that_of_differences_of_the_gradient(model, ml):
    names = ("Intercept", "x", "z")
    blocks_, q = {
        "q1": ((("x",),), 1), "pairs": ((("Intercept", "x"),), 2),
        "independent": ((("Intercept",), ("x", "z")), 3), "triple": ((names,), 3),
    }[model]  # fmt: skip
    rng = np.random.default_rng(4)
    data = problems.simulated(rng, [3, 7, 1, 5, 4, 2, 6], names, names, np.eye(3), 1.0, np.ones(3))
    problem = problem_of(compute(*data), names, blocks_, ml)
    given = problem.model(np.eye(q) + 0.1 * rng.normal(size=(q, q)))
    phi = rng.normal(size=len(problem.structure.rows) + 1)
    step = 1e-5 * np.eye(len(phi))  # error of order 1e-10
    for pair in (-1, 1) if model in ("pairs", "triple") else (-1,):
        if pair >= 0:
            phi[:3] = 0.8, 0.4, 0.6
        value, gradient, _, hessian = criterion(phi, pair, *given)
        ends = [[criterion(phi + sign * own, pair, *given) for sign in (1, -1)] for own in step]
        assert np.isfinite(value)
        np.testing.assert_allclose(
            gradient, [(up[0] - down[0]) / 2e-5 for up, down in ends], atol=1e-7 * np.abs(gradient).max()
        )
        np.testing.assert_allclose(
            hessian, [(up[1] - down[1]) / 2e-5 for up, down in ends], atol=1e-7 * np.abs(hessian).max()
        )


@pytest.mark.parametrize("r", [1.0, -1.0])
def test_a_correlation_at_its_limit_has_no_curvature_and_leaves_that_of_the_others(r):
    rng = np.random.default_rng(4)
    names = ("Intercept", "x")
    data = problems.simulated(rng, [3, 7, 1, 5, 4, 2, 6], names, names, np.eye(2), 1.0, np.ones(2))
    problem = problem_of(compute(*data), names, (names,), False)
    given, pair = problem.model(np.eye(2)), 1
    phi = np.array([0.8, r, 0.6, 0.1])
    _, _, _, hessian = criterion(phi, pair, *given)
    assert not hessian[pair].any() and not hessian[:, pair].any()
    for e in (0, 2, 3):
        step = 1e-5 * np.eye(4)[e]  # error of order 1e-10
        ends = [criterion(phi + sign * step, pair, *given)[1] for sign in (1, -1)]
        expected = np.delete((ends[0] - ends[1]) / 2e-5, pair)
        np.testing.assert_allclose(np.delete(hessian[e], pair), expected, atol=1e-7 * np.abs(hessian).max())


def test_repeated_streams_are_numpys():
    for seed in (0, 1, 2**31 - 1, 2**40 + 3):
        for key in ("0123456789ab", "000000000001"):
            for address in (("predictors", "x"), ("moments",)):
                mine = repeated(seed, key, *address)
                for replicate in (7, 0, 10**7):
                    theirs = stream(seed_sequence(seed, key, replicate), *address)
                    assert (
                        mine.at(replicate).integers(2**63, size=3) == theirs.integers(2**63, size=3)
                    ).all()


def test_wald_intervals_are_normal_on_their_scales():
    low, high = wald_intervals(
        np.array([2.0, 0.5, np.nan]), np.array([0.3, 0.2, 0.1]), ["sd__a", "cor__a.b", "sd__b"], 0.9
    )
    z = stats.norm.ppf(0.95)
    assert np.log(np.array([low[0], high[0]]) / 2.0) == pytest.approx([-z * 0.15, z * 0.15])
    ends = np.arctanh(0.5) + np.array([-1, 1]) * z * 0.2 / 0.75
    assert np.arctanh([low[1], high[1]]) == pytest.approx(ends)
    assert np.isnan([low[2], high[2]]).all()


@pytest.mark.parametrize("source", ["moments", "rows"])
def test_the_compiled_path_is_the_full_path(source):
    """50 replicates of two small designs each: many fits are singular."""
    settings, designs = study(simulate_from=source)
    engines = {"ols": {}, "reml": METHODS | {"intervals": "wald"}}
    full, _ = study("full", simulate_from=source, engines=engines)
    table = compiled(settings, designs, 0, 50)[0].to_pandas()
    whole = chunks.run(*job.simulated(full, designs), 1, 0, 50)[0].to_pandas()
    whole = whole[whole["effect"].isin(["fixed", "ran_pars"])]
    fits = table[["design", "replicate", "engine"]].drop_duplicates()
    for _, part in fits.groupby("design"):
        in_order = [(replicate, engine) for replicate in range(50) for engine in ("ols", "reml")]
        assert list(zip(part["replicate"], part["engine"], strict=True)) == in_order
    both = whole.merge(table, on=KEYS, suffixes=("", "_compiled"))
    assert len(both) == len(whole) == len(table)
    assert (both["status"] == both["status_compiled"]).all()
    assert 0.1 < (both["status"] == "singular").mean() < 0.8
    assert (both["truth"] == both["truth_compiled"])[both["truth"].notna()].all()
    # sd's of about 1: two certified optima agree to the square root of the criterion's rounding error, and better
    for column, tolerance in (
        ("estimate", 1e-8),
        ("std_error", 1e-6),
        ("conf_low", 1e-5),
        ("conf_high", 1e-5),
    ):
        mine, theirs = (both[name].to_numpy() for name in (f"{column}_compiled", column))
        near = np.abs(theirs) < 1e4  # a normal limit of a log sd can be any number
        assert (np.isnan(mine) == np.isnan(theirs)).all()
        np.testing.assert_allclose(mine[near], theirs[near], rtol=tolerance, atol=tolerance, err_msg=column)


@pytest.mark.parametrize("source", ["moments", "rows"])
@pytest.mark.parametrize(
    ("keys", "statuses"),
    [
        ({"groups": 4, "rows_per_group": {"poisson": 2.5}}, {"ok", "singular", "unidentified"}),
        ({"groups": 12, "sd": {"Intercept": 1e7, "x": 0.4}}, {"ok", "singular"}),
    ],
)
def test_few_rows_and_lost_digits_are_told_as_by_the_full_path(source, keys, statuses):
    settings, designs = study(simulate_from=source, simulate=HARD | keys)
    engines = {"ols": {}, "reml": METHODS | {"intervals": "wald"}}
    full, _ = study("full", simulate_from=source, simulate=HARD | keys, engines=engines)
    table = compiled(settings, designs, 0, 60)[0].to_pandas()
    whole = chunks.run(*job.simulated(full, designs), 1, 0, 60)[0].to_pandas()
    both = whole.merge(table, on=KEYS, suffixes=("", "_compiled"))
    assert len(both) == len(table)
    assert (both["status"] == both["status_compiled"]).all()
    assert (both["message"] == both["message_compiled"]).all()
    assert set(both["status"]) == statuses
    known = both["estimate"].notna()
    np.testing.assert_allclose(
        both["estimate_compiled"][known], both["estimate"][known], rtol=1e-6, atol=1e-6
    )


def test_own_data_are_drawn_alike():
    table = read_table(ROOT / "config/data/sleepstudy.csv")
    design = build(parse("Reaction ~ Days + (Days | Subject)"), table)
    terms, (y, W) = design.terms, design.matrix(table)
    moments = compute(terms, y, W, *encode(table["Subject"]))
    _, best = reml.fit(moments, terms.fixed, terms.blocks, profile=False, ranef=False)
    source = Bootstrap(moments, terms, "0" * 12, 1, estimates_of(best, layout(terms.blocks)))
    engines = job.engines(
        {
            "engines": {"reml": {"conf_level": 0.95, "formula": "f", "df": "satterthwaite"}},
            "calibration": False,
        },
        {"f": terms},
    )
    fits = compact.Design(source, engines, 0.95).block(3, 8)["reml"]
    for at, replicate in enumerate(range(3, 8)):
        found = reml.fit(source.draw(replicate).moments, terms.fixed, terms.blocks, ranef=False)[0].parameters
        np.testing.assert_allclose(fits.values["estimate"][at], found["estimate"], rtol=1e-8)
        np.testing.assert_allclose(fits.values["std_error"][at], found["std_error"], rtol=1e-6)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """1,100 replicates of two designs: as rows, and as sums in two ways of dividing them."""
    folder = tmp_path_factory.mktemp("sums")
    settings, designs = study("sums", simulate=HARD | {"rows_per_group": 4})
    rows = [compiled(settings, designs, 0, 1100)[0]]
    files = []
    for name, spans in (("one", [(0, 1100)]), ("two", [(1000, 1100), (0, 1000)])):
        files.append([])
        for first, stop in spans:
            kept, sums = compiled(settings, designs, first, stop, summed=True)
            files[-1].append(folder / f"{name}-{first}.parquet")
            chunks.write(files[-1][-1], sums)
            assert kept["replicate"].to_pandas().max() < KEPT or (first >= KEPT and not len(kept))
    keys = [design["key"] for design in designs]
    chunks.write(folder / "rows.parquet", pa.concat_tables(rows))
    return chunks.merge([folder / "rows.parquet"], keys).to_pandas(), files, keys


def test_sums_have_the_measures_of_the_replicates(many):
    replicates, files, keys = many
    mine, ended = blocks.merge(files[0], keys)
    whole = performance.performance(replicates)
    on = ["design", "engine", "effect", "group", "term", "df", "subset", "measure"]
    whole = whole[whole["measure"] != "bias_eliminated_coverage"]
    both = whole.merge(mine, on=on, suffixes=("", "_sums"))
    assert len(both) == len(whole) == len(mine)
    assert mine.columns.tolist() == whole.columns.tolist()
    jackknife = both["measure"].isin(["rmse", "empirical_se", "model_se_error"])
    for column in ("truth", "estimate", "n_used", "n_missing", "n_failed", "n_replicates"):
        # sums of powers cancel to a part in 1e10 at the most
        np.testing.assert_allclose(
            both[f"{column}_sums"], both[column], rtol=1e-9, atol=1e-10, err_msg=column
        )
    for column, share in (("mcse", 1.0), ("n_needed", 2.0)):
        np.testing.assert_allclose(both[f"{column}_sums"][~jackknife], both[column][~jackknife], rtol=1e-8)
        # the delta method and the jackknife differ by a share of the order of 1 / n; squared, by twice that
        np.testing.assert_allclose(
            both[f"{column}_sums"][jackknife], both[column][jackknife], rtol=share * 0.01
        )
    expected = performance.failures(replicates)
    assert design_columns(replicates)
    pd.testing.assert_frame_equal(ended, expected, check_dtype=False)


def test_sums_do_not_depend_on_chunks(many):
    _, (one, two), keys = many
    for mine, theirs in zip(blocks.merge(one, keys), blocks.merge(two, keys), strict=True):
        assert mine.equals(theirs)


def test_what_is_recorded_by_itself():
    def record(replicates, **keys):
        return study("auto", replicates=replicates, **keys)[0]["record"]

    assert record(10_000) == "full"
    assert record(10_001) == "parameters"
    assert record(60_000) == "sums"  # of two designs each
    assert record(60_000, engines={"reml": {"df": "kenward-roger"}}) == "full"
    assert record(60_000, engines={"reml": {"intervals": "profile"}}) == "full"
    assert record(60_000, engines={"reml": {}, "pymc": {}}) == "full"


def test_sums_beside_the_reference_are_of_errors():
    """Of estimates near 1e8 their squares would keep no digit of errors near 1."""
    rng, keys = np.random.default_rng(5), [("fixed", "", "x", "normal")]
    truth, off = np.array([1e8]), rng.normal(size=(2, 9, 1))
    usable = np.arange(9) != 3
    ours, theirs = (
        SimpleNamespace(keys=keys, values={"estimate": truth + own}, truth=truth, usable=usable)
        for own in off
    )
    found = sums._beside(ours, theirs, np.arange(9) != 5)
    a, b = (own[(np.arange(9) != 3) & (np.arange(9) != 5), 0] for own in off)
    expected = {"np": 7, "o1": a.sum(), "o2": a @ a, "r1": b.sum(), "r2": b @ b, "or": a @ b}
    for name, value in expected.items():  # an estimate near 1e8 has 8 digits behind the point
        assert found[name][0] == pytest.approx(value, abs=1e-6), name


def test_the_full_path_keeps_the_truth_where_no_estimate_is_known():
    """The first replicate could not be drawn, and an sd was estimated in none."""
    nan = np.nan
    keys = [("fixed", "", "x", "t"), ("ran_pars", "group", "sd__x", "t")]
    drawn = [
        [(nan, nan, nan, nan, nan), (nan, nan, nan, nan, nan)],
        [(0.5, 0.6, 0.1, 0.4, 0.8), (2.0, nan, nan, nan, nan)],
        [(0.5, 0.7, 0.2, 0.3, 1.1), (2.0, nan, nan, nan, nan)],
    ]
    rows = [[key + row for key, row in zip(keys, own, strict=True)] for own in drawn]
    ends = [("error", "no rows", nan), ("ok", "", 0.25), ("singular", "", 0.5)]
    found = full._fits(40, rows, ends)
    assert (found.first, found.keys) == (40, keys)
    assert found.truth.tolist() == [0.5, 2.0]
    np.testing.assert_array_equal(found.values["estimate"], [[nan, nan], [0.6, nan], [0.7, nan]])
    np.testing.assert_array_equal(found.values["conf_high"], [[nan, nan], [0.8, nan], [1.1, nan]])
    assert [compact.STATUSES[k] for k in found.status] == ["error", "ok", "singular"]
    np.testing.assert_array_equal(found.seconds, [nan, 0.25, 0.5])
    assert found.messages == {0: "no rows"}
