"""Studies of several grouping factors from their configuration to the report."""

import json
import shutil

import numpy as np
import pandas as pd

from several import EXACT, REFERENCE

FORMULA = "rt ~ cond + (cond | subj) + (cond | item)"


def test_own_data_and_replicates_end_in_a_report(project):
    shutil.copy(REFERENCE / "words.csv", project.root / "words.csv")
    new = pd.DataFrame({"subj": ["s01", "new", "new"], "item": ["other", "i01", "other"], "cond": 0.5})
    new.to_csv(project.root / "new.csv", index=False)
    engines = {"ols": {}, "reml": {}}
    bayes = engines | {"pymc": {"chains": 2, "draws": 400}}
    own = {"formula": FORMULA, "data": "words.csv", "predict": "new.csv", "engines": bayes, "loo": "item"}
    simulate = {"groups": {"subj": [8, 10], "item": 6}, "predictors": {"cond": {"latin_square": 2}}}
    replicated = {"formula": FORMULA, "simulate": simulate, "replicates": 4, "engines": engines}
    project.configure({"words": own, "recovery": replicated})
    run = project.snakemake("--cores", "2")
    assert run.returncode == 0, run.stdout + run.stderr
    results = project.root / "results"
    table = pd.read_csv(results / "words/reml/parameters.csv").set_index(["group", "term"])["estimate"]
    # certified optima against the reference's, which is right to 1e-8
    for group, terms in EXACT["words"]["reml"]["sd"].items():
        for term, truth in terms.items():
            assert abs(table[group, f"sd__{term}"] / truth - 1) < 1e-6
    predictions = pd.read_parquet(results / "words/predictions/predictions.parquet").set_index("source")
    asked = predictions.loc["predict"]
    assert asked["level__subj"].tolist() == 2 * new["subj"].tolist()
    both = asked.pivot_table("std_error", "row", "engine")
    # the posterior's errors have the variances' uncertainty in them
    assert (both["pymc"] / both["reml"]).between(0.9, 1.6).all()
    errors = both["reml"].to_numpy()
    assert (np.diff(errors) > 0).all(), (
        "a known subject, a known item, neither: the fewer are known the less is known"
    )
    effects = pd.read_csv(results / "words/effects/effects.csv").set_index("engine")
    assert {"reml", "pymc"} <= set(effects.index)
    # a posterior mean under priors that say little lies within a fifth of a standard error of REML's
    apart = effects.loc["pymc", "estimate"] - effects.loc["reml", "estimate"]
    assert (np.abs(apart) < 0.2 * effects.loc["reml", "std_error"]).all()
    influence = pd.read_parquet(results / "words/reml/influence.parquet")
    assert influence.groupby("group")["level"].nunique().to_dict() == {"item": 24, "subj": 40}
    loo = pd.read_parquet(results / "words/pymc/loo.parquet")
    assert loo["level"].tolist() == [f"i{k:02d}" for k in range(1, 25)]
    about = json.loads((results / "words/pymc/criticism.json").read_text())
    assert about["left_out"] == {} and about["loo"]["group"] == "item"
    checked = pd.read_csv(results / "words/pymc/predictive.csv")["statistic"]
    assert {"sd_means|subj", "sd_means|item", "sd_slopes:cond|item"} <= set(checked)
    replicates = pd.read_parquet(results / "recovery/recovery/replicates.parquet")
    assert sorted(replicates["groups__subj"].unique()) == [8, 10]
    zipped = (results / "recovery/figures/zip.svg").read_text()
    assert (
        "SD of Intercept, subj" in zipped and "SD of cond, item" not in zipped
    )  # the first two sd's, and a slope
    assert {("subj", "sd__cond"), ("item", "sd__cond")} <= set(
        zip(replicates["group"], replicates["term"], strict=True)
    )
    summary = json.loads((results / "summary.json").read_text())
    assert summary["studies"]["words"]["groups"] == {"subj": 40, "item": 24}
    page = (results / "report.html").read_text()
    assert "Random effects by group (item)" in page
    assert "Predicting every level of item from all others" in page
    assert "half_normal" in page and "Improper (flat) priors" not in page, "each factor's priors are found"
    assert "no other to compare it with" not in page
    assert project.planned() == {}
