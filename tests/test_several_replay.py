"""A replicate of several grouping factors, replayed: the same data set, simulated again or written as rows."""

import numpy as np
import pandas as pd
import yaml

from lmm.config.load import load
from lmm.core.store import read_json, write_json
from lmm.core.streams import seed_sequence
from lmm.data import ingest
from lmm.data.rows import write_designs
from lmm.model.formula import parse
from lmm.moments import stage
from lmm.recovery import job, replay, replay_rows
from lmm.simulation.rows import simulate
from planning import plan
from several import REFERENCE

FORMULA = "rt ~ cond + (cond | subj) + (1 | item)"


def test_a_simulated_replicate_is_simulated_again():
    config = {
        "formula": FORMULA,
        "simulate": {"groups": {"subj": [6, 8], "item": 5}, "predictors": {"cond": {"latin_square": 2}}},
        "replicates": 4,
    }
    studies = load({"studies": {"s": config}})
    key = studies.studies["s"].designs[1].key
    study, point, moments = replay.find(studies, "s", 2, key)
    assert not moments
    again = load(yaml.safe_load(yaml.safe_dump(replay.simulation(study, point, 2)))).studies["s"]
    address = again.simulate.address
    frame, truth = simulate(
        again.simulate, again.formula, seed_sequence(again.simulate.seed, address.design, address.replicate)
    )
    settings = plan.study_plan(study)["stages"]["replicates"]
    sources, _ = job.simulated(settings, [point.plain()])
    drawn = sources[point.key].draw(2)
    np.testing.assert_array_equal(frame["rt"], drawn.rows.y)
    assert truth["ranef"] == drawn.truth["ranef"]


def test_a_replicate_of_own_data_is_written_as_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "words.csv"
    file.write_bytes((REFERENCE / "words.csv").read_bytes())
    config = {"formula": FORMULA, "data": "words.csv", "replicates": 3, "engines": {"ols": {}, "reml": {}}}
    study = load({"studies": {"s": config}}).studies["s"]
    planned = plan.study_plan(study)
    formula = parse(FORMULA)
    source, data = ingest.scan(ingest.inspect(str(file), formula.variables, formula.keys), formula)
    ingest.copy(source, "rows.parquet")
    write_json("data.json", data)
    frame = pd.read_parquet("rows.parquet")
    whole, own = stage.designs([FORMULA], data, frame)
    write_designs("design.json", own)
    paths = {"design": "design.json", "data": "data.json", "rows": "rows.parquet"}
    settings, design = planned["stages"]["replicates"], study.designs[0].plain()
    sources, engines = job.bootstrapped(settings, [design], paths)
    assert list(engines) == ["ols", "reml"]
    made = replay_rows.bootstrapped(sources[design["key"]], 1, whole, frame)
    drawn = sources[design["key"]].draw(1)
    assert made.frame.columns.tolist() == ["rt", "cond", "subj", "item"]
    np.testing.assert_array_equal(made.frame["rt"], drawn.rows.y)
    assert made.truth["sd"] == drawn.truth["sd"]
    assert set(made.truth["realised"]["sd"]) == {"subj", "item"}
    write_json("truth.json", made.truth)
    made.frame.to_parquet(replay.ROWS)
    found = replay.analysis(study, study.designs[0], 1, made.response)
    again = load(yaml.safe_load(yaml.safe_dump(found))).studies["s"]
    assert again.settings.truth == replay.TRUTH
    assert read_json("truth.json")["fixed"].keys() == {"Intercept", "cond"}
