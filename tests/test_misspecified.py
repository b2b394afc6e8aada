"""Designs that are not normal beside their normal twins: the same streams, paired differences, the report."""

import json

import numpy as np
import pandas as pd
import pytest

import made_replicates
from lmm.config.load import load
from lmm.core.store import read_table, write_table
from lmm.core.streams import seed_sequence
from lmm.model.formula import parse
from lmm.recovery import job, misspecified, replay
from lmm.recovery.performance import failures, performance
from lmm.report.tables import recovery as tables
from lmm.report.text import shapes
from lmm.results import replicated
from lmm.simulation.rows import simulate
from planning import plan as planning

STUDY = {
    "formula": "y ~ x + (x | group)",
    "simulate": {
        "groups": 12,
        "rows_per_group": {"poisson": 6},
        "random_effects": ["normal", {"student": 3}],
        "errors": ["normal", {"skewed": 2}],
    },
    "replicates": 5,
    "engines": {"ols": {}, "reml": {}},
}


def study():
    return load({"studies": {"s": STUDY}}).studies["s"]


def draws():
    """Replicate 3 of every design, by the shapes of its effects and errors."""
    planned = json.loads(json.dumps(planning.study_plan(study())))
    designs = list(planned["recovery"]["designs"].values())
    sources, _ = job.simulated(planned["stages"]["replicates"], designs)
    shape = {point.key: (point.settings.random_effects, point.settings.errors) for point in study().designs}
    return {tuple(one.distribution for one in shape[key]): source.draw(3) for key, source in sources.items()}


def test_twins_have_the_same_groups_predictors_and_normal_parts():
    found = draws()
    normal = found["normal", "normal"]
    for data in found.values():
        np.testing.assert_array_equal(data.rows.W, normal.rows.W)
        np.testing.assert_array_equal(data.rows.codes, normal.rows.codes)
    skewed, student = found["normal", "skewed"], found["student", "normal"]
    assert skewed.truth["ranef"] == normal.truth["ranef"] != student.truth["ranef"]
    assert not np.array_equal(skewed.rows.y, normal.rows.y)
    # effects of another shape, the same errors: what is left when the random effects are taken away
    both = found["student", "skewed"]
    np.testing.assert_allclose(both.rows.y - student.rows.y, skewed.rows.y - normal.rows.y, atol=1e-12)


def test_a_replay_draws_the_same_rows():
    own, point = study(), next(p for p in study().designs if p.settings.errors.distribution == "skewed")
    made = replay.simulation(own, point, 3)["studies"]["s"]["simulate"]
    settings = type(point.settings).model_validate(made)
    sequence = seed_sequence(settings.seed, settings.address.design, settings.address.replicate)
    frame, _ = simulate(settings, parse(own.settings.formula), sequence)
    expected = draws()[point.settings.random_effects.distribution, "skewed"]
    np.testing.assert_array_equal(frame["y"].to_numpy(), expected.rows.y)


def grid(change=None, alone=False):
    """Made replicates of two normal designs, and of the same with heavier tails: their own errors differ."""
    normal = made_replicates.table(np.random.default_rng(1), rows=(5,), replicates=120, failed=0.1)
    other = change(normal.copy()) if change else normal.copy()
    other = other.assign(design="f" + other["design"].str[1:], random_effects="student(3)")
    parts = [other] if alone else [normal.assign(random_effects="normal"), other]
    return pd.concat(parts, ignore_index=True).assign(errors="normal")


def noisier(table):
    rng = np.random.default_rng(2)
    add = rng.normal(0, 0.3, len(table))
    for name in ("estimate", "conf_low", "conf_high"):
        table[name] += add
    failed = (table["replicate"] < 7) & (table["engine"] == "reml")
    return table.assign(status=np.where(failed, "error", table["status"]))


def about(root, table, **settings):
    files = {name: root / f"{name}.csv" for name in ("performance", "failures")}
    write_table(files["performance"], performance(table))
    write_table(files["failures"], failures(table))
    write_table(root / "replicates.parquet", table)
    files["replicates"] = root / "replicates.parquet"
    return replicated.read("s", {"conf_level": 0.95} | settings, files)


def test_differences_are_paired_replicate_by_replicate(tmp_path):
    table = grid(noisier)
    found = shapes.compared(about(tmp_path, table))
    assert len(found) == 2 * (2 + 1 + 3 * (2 + 3)), "designs x terms of OLS and of three engines"
    for row in found.itertuples():
        of = table[(table["engine"] == row.engine) & (table["term"] == row.term)]
        of = of[of["status"].isin(["ok", "singular"])]
        here = of[of["design"] == row.design].set_index("replicate")
        there = of[of["design"] == "0" + row.design[1:]].set_index("replicate")
        both = sorted(set(here.index) & set(there.index))
        inside = [
            ((side["conf_low"] <= side["truth"]) & (side["truth"] <= side["conf_high"]))[both].to_numpy(float)
            for side in (here, there)
        ]
        errors = [
            ((side["estimate"] - side["truth"]) / side["truth"])[both].to_numpy() for side in (here, there)
        ]
        assert row.n_used == len(both)
        for (one, other), measure in ((inside, "coverage"), (errors, "relative_bias")):
            difference = one - other
            assert getattr(row, measure) == pytest.approx(one.mean(), abs=1e-12)
            assert getattr(row, f"{measure}_normal") == pytest.approx(other.mean(), abs=1e-12)
            assert getattr(row, f"{measure}_difference") == pytest.approx(difference.mean(), abs=1e-12)
            error = difference.std(ddof=1) / np.sqrt(len(both))
            assert getattr(row, f"{measure}_difference_mcse") == pytest.approx(error, abs=1e-12)
        gain = 100 * (np.var(errors[1]) / np.var(errors[0]) - 1)
        assert row.precision == pytest.approx(gain, rel=1e-9)


def test_equal_data_have_no_difference_and_no_error(tmp_path):
    found = shapes.compared(about(tmp_path, grid()))
    assert (found["coverage_difference"].dropna() == 0).all()
    assert (found["coverage_difference_mcse"].dropna() == 0).all()
    said = shapes.said(about(tmp_path, grid()))
    assert len(said) == 4 and all("in none of" in sentence for sentence in said)


def test_from_sums_differences_have_the_errors_of_independent_data(tmp_path):
    table = grid(noisier)
    found = shapes.compared(about(tmp_path, table, record="sums")).set_index(["design", "engine", "term"])
    measured = read_table(tmp_path / "performance.csv", text=["df"])
    rows = measured[(measured["subset"] == "usable") & (measured["measure"] == "coverage")]
    rows = rows[rows["effect"] != "explained"].set_index(["design", "engine", "term"])
    assert len(found) == len(rows) / 2
    for (design, engine, term), row in found.iterrows():
        own, normal = rows.loc[(design, engine, term)], rows.loc[("0" + design[1:], engine, term)]
        assert row["coverage_difference"] == pytest.approx(own["estimate"] - normal["estimate"], abs=1e-12)
        assert row["coverage_difference_mcse"] == pytest.approx(
            np.hypot(own["mcse"], normal["mcse"]), abs=1e-12
        )
    assert found["precision"].isna().all()


def test_sentences_and_table_say_what_was_compared(tmp_path):
    recovered = about(tmp_path, grid(noisier))
    found = shapes.compared(recovered).dropna(subset="coverage_difference")
    clear = found["coverage_difference"].abs() > 3 * found["coverage_difference_mcse"]
    said = shapes.said(recovered)
    for sentence, engine in zip(said, recovered.engines, strict=True):
        mine = found["engine"] == engine
        assert f"in {clear[mine].sum() or 'none'} of {mine.sum()} combinations" in sentence
        largest = found[mine & (clear if clear[mine].any() else True)]
        largest = largest.loc[largest["coverage_difference"].abs().idxmax()]
        assert f"(difference {100 * largest['coverage_difference']:.1f}".replace("-", "−") in sentence
    shown = tables.misspecified(recovered)
    assert len(shown.rows) == len(shapes.compared(recovered))


def test_a_design_without_a_normal_twin_is_named_and_normal_studies_say_nothing(tmp_path):
    recovered = about(tmp_path, grid(alone=True))
    assert shapes.said(recovered) == [
        "2 designs with effects or errors that are not normal have no normal design beside them: add normal to the "
        "list to see what the shape does."
    ]
    assert tables.misspecified(recovered) is None
    normal = made_replicates.table(np.random.default_rng(1), rows=(5,), replicates=20)
    recovered = about(tmp_path, normal.assign(random_effects="normal", errors="normal"))
    assert shapes.said(recovered) == [] and tables.misspecified(recovered) is None
    assert misspecified.twins(recovered.designs) == {}
