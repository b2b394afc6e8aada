"""Replicates: the same data sets and fits for any chunks, failures kept as results, sources with the right law."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from lmm.config.load import load
from lmm.core.engines import ENGINES
from lmm.core.store import read_table
from lmm.core.streams import seed_sequence
from lmm.data.levels import encode
from lmm.engines import ols, reml
from lmm.engines.pymc import model as bayes
from lmm.likelihood.problem import layout
from lmm.model.design import build, numeric_design
from lmm.model.formula import parse
from lmm.moments.accumulate import compute
from lmm.recovery import chunks, job, replicate, times
from lmm.recovery import plan as chunk_plan
from lmm.recovery.calibration.ranks import log_likelihood
from lmm.recovery.data import Bootstrap, Simulated, estimates_of, root_of
from lmm.recovery.plan import Chunk
from lmm.simulation.rows import simulate

# The chance that a right implementation fails a test of a distribution (seeds are fixed, so it fails for good or
# never), all comparisons of that test together.
LEVEL = 1e-4
FORMULA = "y ~ x + (x | group)"
SMALL = {"groups": [6, 9], "rows_per_group": 5, "seed": 4, "sd": {"Intercept": 2, "x": 0.5}}
PYMC = {"chains": 2, "tune": 100, "draws": 100}


def settings(engines=None, simulate=None, **study):
    """Settings of a study's replicates and its designs, as the plan has them."""
    from planning import plan

    base = {"formula": FORMULA, "simulate": simulate or SMALL, "replicates": 4}
    study = base | {"engines": engines or {"ols": {}, "reml": {}}} | study
    planned = plan.study_plan(load({"studies": {"a": study}}).studies["a"])
    return planned["stages"]["replicates"], list(planned["recovery"]["designs"].values())


def run(first, stop, designs=None, **study):
    own, points = settings(**study)
    sources, engines = job.simulated(own, designs or points)
    return chunks.run(sources, engines, own["engines"].get("pymc", {}).get("seed", 0), first, stop)


@pytest.fixture(scope="module")
def whole():
    return run(0, 4, engines={"ols": {}, "reml": {}, "mixedlm": {}, "pymc": PYMC})[0]


CHEAP = {"ols": {}, "reml": {}}
EVERY = CHEAP | {"mixedlm": {}, "pymc": PYMC}


# each run compiles PyMC's model anew: one part of the replicates is enough there
@pytest.mark.parametrize("engines, parts", [(EVERY, [(2, 4, [1, 0])]),
                                            (CHEAP, [(3, 4, [1, 0]), (0, 3, [1]), (0, 3, [0])])])  # fmt: skip
def test_results_do_not_depend_on_chunks_or_order(whole, tmp_path, engines, parts):
    _, points = settings(engines)
    keys = [point["key"] for point in points]
    files = []
    for at, (first, stop, designs) in enumerate(parts):
        files.append(tmp_path / f"{at}.parquet")
        chunks.write(files[-1], run(first, stop, [points[k] for k in designs], engines=engines)[0])
    found = chunks.merge(files, keys).to_pandas()
    chunks.write(tmp_path / "whole.parquet", whole)
    together = chunks.merge([tmp_path / "whole.parquet"], keys).to_pandas()
    asked = together["engine"].isin(list(engines)) & together["replicate"].isin(found["replicate"])
    together = together[asked].reset_index(drop=True)
    assert together.equals(found)  # NaN equal to NaN, and every other number to the bit
    assert list(together["design"].unique()) == keys
    assert together.groupby("design")["groups"].first().to_dict() == dict(zip(keys, [6, 9], strict=True))


def test_a_replicate_is_what_the_engines_say_of_its_data(whole):
    _, (point, _) = settings()
    study = load({"studies": {"a": {"formula": FORMULA, "simulate": SMALL, "replicates": 4}}}).studies["a"]
    rows, truth = simulate(study.designs[0].settings, study.formula, seed_sequence(4, point["key"], 2))
    design = numeric_design(study.formula)
    y, W = design.matrix(rows)
    moments = compute(design.terms, y, W, *encode(rows["group"]))
    found = whole.to_pandas().query("design == @point['key'] and replicate == 2").set_index("term")
    for fit in (
        ols.fit(design.terms.fixed, y, W, moments=moments),
        reml.fit(moments, design.terms.fixed, design.terms.blocks)[0],
    ):
        mine = found[found["engine"] == fit.engine]
        for row in fit.parameters.itertuples():
            assert mine.loc[row.term, "estimate"] == row.estimate
            assert mine.loc[row.term, "conf_high"] == row.conf_high or np.isnan(row.conf_high)
    assert found.query("engine == 'reml'").loc["sd__x", "truth"] == 0.5
    errors = [truth["ranef"]["x"][level] for level in moments.levels]
    blups = reml.fit(moments, design.terms.fixed, design.terms.blocks)[0].ranef.query("term == 'x'")[
        "estimate"
    ]
    rmse = np.sqrt(np.mean((blups.to_numpy() - errors) ** 2))
    assert found.query("engine == 'reml'").loc["x: rmse", "estimate"] == pytest.approx(rmse, rel=1e-12)


def test_an_engine_that_raises_is_a_result_and_the_others_go_on(monkeypatch):
    right, calls = reml.fit, []

    def sometimes(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise FloatingPointError("went\nwrong")
        return right(*arguments, **options)

    monkeypatch.setattr(reml, "fit", sometimes)
    table = run(0, 2)[0].to_pandas()
    fits = table.drop_duplicates(["design", "replicate", "engine"])
    bad = fits[fits["status"] == "error"]
    assert bad[["engine", "replicate", "message"]].to_numpy().tolist() == [
        ["reml", 1, "FloatingPointError: went wrong"]
    ]
    assert len(fits) == 8
    lost = table[table["status"] == "error"]
    assert lost["estimate"].isna().all()
    assert lost.query("effect == 'ran_pars'")["truth"].notna().all()
    sizes = table.groupby(["engine", "design", "replicate"]).size()
    assert sizes.groupby("engine").nunique().max() == 1, "every replicate has the same rows"


def test_data_that_cannot_be_drawn_are_every_engines_error(monkeypatch):
    monkeypatch.setattr(Simulated, "draw", lambda self, k: 1 / 0)
    table = run(0, 1)[0].to_pandas()
    assert set(table["status"]) == {"error"}
    assert set(table["engine"]) == {"ols", "reml"}
    assert table["message"].str.contains("division by zero").all()


def test_a_model_that_does_not_compile_is_tried_once_and_told_of_every_replicate(monkeypatch):
    calls = []

    def broken(*arguments):
        calls.append(arguments)
        raise RuntimeError("no\ncompiler")

    monkeypatch.setattr(bayes, "Sampler", broken)
    engines = {"reml": {}, "pymc": PYMC}
    table = run(0, 3, engines=engines)[0].to_pandas()
    fits = table.drop_duplicates(["design", "replicate", "engine"])
    sampled = fits[fits["engine"] == "pymc"]
    assert len(calls) == 1, "two designs of three replicates"
    assert len(sampled) == 6
    assert set(sampled["status"]) == {"error"}
    assert set(sampled["message"]) == {"RuntimeError: no compiler"}
    assert set(fits[fits["engine"] == "reml"]["status"]) <= {"ok", "singular"}


def test_seconds_and_versions_are_told_beside_the_tables(tmp_path, monkeypatch):
    _, points = settings()
    keys = [point["key"] for point in points]
    clock = SimpleNamespace(perf_counter=iter(np.arange(64.0) ** 2 / 2).__next__)
    monkeypatch.setattr(replicate, "time", clock)  # the engines have their own
    for at, (first, stop) in enumerate([(0, 3), (3, 4)]):
        if at:
            monkeypatch.setattr(times, "versions_of", lambda *names: {"numpy": "0.1"})
        chunks.write(tmp_path / f"{at}.parquet", run(first, stop)[0])
    files = [tmp_path / "1.parquet", tmp_path / "0.parquet"]
    told = times.diagnostics(files, keys)
    named = [(one["design"], one["engine"]) for one in told["seconds"]]
    assert named == [(key, engine) for key in keys for engine in ("ols", "reml")]
    # by the clock above the k-th fit takes 2 k + 1/2: ols has k = 0, 2, 4 of the first chunk's first design ...
    first = told["seconds"][0]
    took = [0.5, 4.5, 8.5, 24.5]  # ... and k = 12, the first of the second chunk
    assert first["total"] == sum(took)
    assert (first["mean"], first["median"]) == (np.mean(took), np.median(took))
    assert (first["low"], first["high"]) == tuple(np.quantile(took, [0.05, 0.95]))
    assert (first["number"], first["usable"]) == (4, 4)
    assert set(told["versions"]) == {"numpy", "numba", "python", "scipy", "statsmodels"}
    assert told["versions"]["numpy"] == f"0.1, {np.__version__}"
    merged = chunks.merge(files, keys)
    assert not {"seconds", "versions"} & {*merged.column_names, *(merged.schema.metadata or {})}


def test_singular_fits_are_kept_as_such(whole):
    simulate = SMALL | {"groups": 5, "sd": {"Intercept": 2, "x": 0}}
    table = run(0, 30, simulate=simulate, engines={"reml": {"intervals": "wald"}})[0].to_pandas()
    fits = table.drop_duplicates("replicate")
    assert set(fits["status"]) == {"ok", "singular"}
    singular = table[table["status"] == "singular"]
    assert singular.query("term == 'sd__Observation'")["estimate"].notna().all()


def sums(data):
    least = data.moments.ols(("Intercept", "x"))
    return [*least.beta, least.rss, data.moments.y_sd, len(data.moments.levels)]


def test_rows_and_moments_have_the_same_distribution():
    own, (point, _) = settings(simulate=SMALL | {"rows_per_group": {"poisson": 4}, "corr": 0.5})
    found = []
    for moments in (False, True):
        source = job.simulated(own | {"simulate_from": "moments" if moments else "rows"}, [point])[0]
        # different replicates: the two ways share predictors and random effects where the address is the same
        found.append([sums(source[point["key"]].draw(k + 1000 * moments)) for k in range(800)])
    a, b = np.array(found[0]), np.array(found[1])
    p = [stats.ks_2samp(a[:, k], b[:, k]).pvalue for k in range(4)]
    assert min(p) > LEVEL / 4, p
    assert set(a[:, 4]) == set(b[:, 4]) == {6}


@pytest.fixture(scope="module")
def sleepstudy():
    from conftest import ROOT

    table = read_table(ROOT / "config/data/sleepstudy.csv")
    design = build(parse("Reaction ~ Days + (Days | Subject)"), table)
    y, W = design.matrix(table)
    return compute(design.terms, y, W, *encode(table["Subject"])), design.terms


def test_a_bootstrap_has_the_law_of_the_fit(sleepstudy):
    moments, terms = sleepstudy
    _, best = reml.fit(moments, terms.fixed, terms.blocks, profile=False, ranef=False)
    source = Bootstrap(moments, terms, "0" * 12, 1, estimates_of(best, layout(terms.blocks)))
    # every subject has the same days: OLS is GLS, whose covariance is that of the fit
    draws = np.array([source.draw(k).moments.ols(terms.fixed).beta for k in range(2000)])
    for k in range(2):
        law = stats.norm(best.beta[k], np.sqrt(best.cov_beta[k, k]))
        assert stats.kstest(draws[:, k], law.cdf).pvalue > LEVEL / 2
    one = source.draw(3)
    assert one.truth["sd"]["Days"] == pytest.approx(5.92, abs=0.01)  # lme4's estimate
    assert set(one.truth["ranef"]["Days"]) == set(moments.levels)
    # lme4's estimates, in the columns of replicates.parquet; of several sets of estimates there is no one value
    columns = source.columns()
    assert (columns.pop("groups"), columns.pop("rows")) == (18, 180)
    assert columns == pytest.approx({
        "fixed__Intercept": 251.405, "fixed__Days": 10.467, "sd__Intercept": 24.741, "sd__Days": 5.922,
        "corr": 0.0656, "sigma": 25.592,
    }, abs=1e-3)  # fmt: skip
    drawn = Bootstrap(moments, terms, "0" * 12, 1, np.repeat(source.estimates, 2, axis=0))
    assert drawn.columns() == {"groups": 18, "rows": 180}


def test_correlations_at_the_edge_and_without_a_value_have_a_root():
    structure = layout((("Intercept", "x"),))
    for r, expected in ((1.0, 6.0), (-1.0, -6.0), (np.nan, 0.0)):
        root = root_of(structure, np.array([2.0, 3.0, r, 1.0]))
        np.testing.assert_allclose(root @ root.T, [[4.0, expected], [expected, 9.0]], atol=1e-12)


def test_the_log_likelihood_from_moments_is_that_of_the_rows():
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(4), [3, 5, 2, 6])
    x, y = rng.normal(50, 2, 16), rng.normal(1e3, 4, 16)
    W = np.column_stack([np.ones(16), x])
    terms = numeric_design(parse(FORMULA)).terms
    for wholly in (True, False):
        moments = compute(terms, y, W, codes, np.arange(4).astype(str).astype(object), wholly)
        beta, u, sigma = rng.normal(size=(5, 2)), rng.normal(size=(5, 4, 2)), rng.uniform(1, 2, 5)
        beta[:, 0] += 1e3
        mean = beta @ W.T + u[:, codes, 0] + u[:, codes, 1] * x
        expected = stats.norm.logpdf(y, mean, sigma[:, None]).sum(axis=1)
        found = log_likelihood(moments, ("Intercept", "x"), ("Intercept", "x"), beta, u, sigma)
        np.testing.assert_allclose(found, expected, rtol=1e-9)  # squares of 1e3 of differences of 1e1


KEYS = [f"{k:012x}" for k in range(30)]


def test_the_cost_of_a_replicate_grows_with_rows_groups_and_draws():
    assert chunk_plan.seconds({}, 1000, 100_000) == pytest.approx(0.005 + 0.1 + 0.01)
    assert chunk_plan.seconds({}, 1000, 100_000, compiled=True) == pytest.approx(1e-4 + 5e-3 + 2e-3)
    constant, per_group, per_draw, both = ENGINES["pymc"].cost
    own = {"pymc": {"chains": 2, "tune": 100, "draws": 300}}
    expected = 0.005 + 1e-4 + constant + 10 * per_group + 800 * (per_draw + 10 * both)
    assert chunk_plan.seconds(own, 10, None) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("size", "count", "found"), [(1, 5000, 1000), (1000, 5000, 1000), (1001, 5000, 2000), (1500, 1200, 1200)]
)
def test_chunks_of_sums_are_of_whole_blocks(size, count, found):
    assert chunk_plan.aligned(size, count) == found


def test_more_replicates_leave_what_is_there():
    plan = {"count": 1000, "per_job": "auto", "summed": False, "keys": KEYS[:1], "seconds": [0.1]}
    assert chunk_plan.tiles(1000, 400) == [(0, 400), (400, 800), (800, 1000)]
    there = chunk_plan.tiles(1000, 400)
    more = chunk_plan.tiles(2000, 400, there)
    assert set(there) < set(more)
    assert chunk_plan.tiles(2000, 50, there)[:3] == there, "another size keeps them too"
    assert chunk_plan.tiles(1000, 400, more) == there
    assert chunk_plan.tiles(900, 400, there) == [(0, 400), (400, 800), (800, 900)]
    assert chunk_plan.tiles(10, 4, [(2, 5), (0, 99)]) == [(0, 2), (2, 5), (5, 8), (8, 10)]
    assert len(chunk_plan.chunks(plan, chunk_plan.Path("nowhere"))) == 2, "one for each of two cores"


def ranges(found):
    """First and stop of chunks."""
    return [(chunk.first, chunk.stop) for chunk in found]


def test_work_of_one_job_is_halved_where_that_pays(tmp_path):
    """300 replicates of 0.1 s are less than a job's 75 s: two jobs, for two cores; 4 s of work are one."""
    plan = {"count": 300, "per_job": "auto", "summed": False, "keys": KEYS[:1], "seconds": [0.1]}
    assert ranges(chunk_plan.chunks(plan, tmp_path)) == [(0, 150), (150, 300)]
    assert ranges(chunk_plan.chunks(plan, tmp_path, start=100)) == [(100, 200), (200, 300)]
    assert ranges(chunk_plan.chunks(plan | {"count": 7, "seconds": [1.0]}, tmp_path)) == [(0, 4), (4, 7)]
    assert ranges(chunk_plan.chunks(plan | {"count": 40}, tmp_path)) == [(0, 40)]
    assert ranges(chunk_plan.chunks(plan | {"count": 300}, tmp_path, start=270)) == [(270, 300)]


def test_sums_keep_the_chunks_that_end_with_blocks(tmp_path):
    """Of what is there: 0 to 2,000 and the last, not what begins or ends within a block."""
    plan = {"count": 5500, "per_job": 1000, "summed": True, "keys": KEYS[:1], "seconds": [1e-4]}
    (tmp_path / KEYS[0]).mkdir()
    for first, stop in ((0, 2000), (2000, 2500), (2500, 4000), (5000, 5500)):
        (tmp_path / KEYS[0] / f"{first}-{stop}.parquet").touch()
    expected = [(0, 2000), (2000, 3000), (3000, 4000), (4000, 5000), (5000, 5500)]
    assert ranges(chunk_plan.chunks(plan, tmp_path)) == expected
    kept = chunk_plan.chunks(plan | {"summed": False}, tmp_path)
    assert ranges(kept) == [(0, 2000), (2000, 2500), (2500, 4000), (4000, 5000), (5000, 5500)]


@pytest.mark.parametrize("seed", range(20))
def test_tiles_cover_each_replicate_once_and_stay_when_made(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 60))
    there = [tuple(sorted(rng.integers(0, 80, 2).tolist())) for _ in range(int(rng.integers(0, 8)))]
    size = int(rng.integers(1, 20))
    found = chunk_plan.tiles(count, size, there)
    assert [k for first, stop in found for k in range(first, stop)] == list(range(count))
    # a job of the run itself reads the plan again, when some of the others are done
    made = [tile for tile in found if rng.random() < 0.5]
    assert chunk_plan.tiles(count, size, [*there, *made]) == found
    assert chunk_plan.tiles(count, 7, [*there, *found]) == found


def test_more_designs_leave_the_bundles_that_are_there(tmp_path):
    plan = {"count": 10, "per_job": 5, "summed": False, "keys": KEYS[:2], "seconds": [0.1, 0.1]}
    first = chunk_plan.chunks(plan, tmp_path)
    assert first == [Chunk("-".join(KEYS[:2]), 0, 5), Chunk("-".join(KEYS[:2]), 5, 10)]
    for chunk in first:
        (tmp_path / chunk.bundle).mkdir(exist_ok=True)
        (tmp_path / chunk.bundle / f"{chunk.name}.parquet").touch()
    wider = plan | {"keys": [KEYS[5], KEYS[0], KEYS[1], KEYS[7]], "seconds": [0.1] * 4}
    found = chunk_plan.chunks(wider, tmp_path)
    assert set(first) < set(found)
    assert {chunk.bundle for chunk in found} == {"-".join(KEYS[:2]), f"{KEYS[5]}-{KEYS[7]}"}
    many = plan | {"keys": KEYS, "seconds": [0.1] * 30}
    names = {chunk.bundle for chunk in chunk_plan.chunks(many, tmp_path / "none")}
    assert sorted(key for name in names for key in name.split("-")) == KEYS
    assert max(map(len, names)) < 200  # file names end at 255


@pytest.mark.parametrize("decimals", [None, 1], ids=["distinct", "ties"])
def test_rank_correlation_of_group_effects_is_spearmans(decimals):
    rng = np.random.default_rng(9)
    true = rng.standard_normal(60)
    estimate = true + rng.standard_normal(60)
    if decimals is not None:
        true, estimate = true.round(decimals), estimate.round(decimals)
    columns = {"estimate": estimate, "conf_low": estimate - 1, "conf_high": estimate + 1, "truth": true}
    found = replicate.ranef_measures(columns)["rank_correlation"]
    assert found == pytest.approx(stats.spearmanr(estimate, true)[0], abs=1e-12)
