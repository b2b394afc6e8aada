"""docs/new-engine.md, followed to the letter: a module and a row are all that a new engine needs."""

import re

import pandas as pd
import pytest

from conftest import ROOT, copy_project

STUDIES = {
    "batches": {
        "formula": "Yield ~ 1 + (1 | Batch)",
        "data": "config/data/dyestuff.csv",
        "engines": {"reml": {}, "anova": {}},
    },
    "design": {
        "formula": "y ~ 1 + (1 | g)",
        "simulate": {
            "groups": 8,
            "rows_per_group": 5,
            "fixed": {"Intercept": 1},
            "sd": {"Intercept": 1},
            "sigma": 1,
        },
        "replicates": 5,
        "engines": {"reml": {}, "anova": {}},
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with the page's engine, and its results."""
    page = (ROOT / "docs/new-engine.md").read_text()
    project = copy_project(tmp_path_factory.mktemp("engine"))
    library = project.root / "workflow/scripts/lmm"
    module, row = (re.search(rf"```{kind}\n(.*?)```", page, re.S)[1] for kind in ("python", "row"))
    (library / "engines/anova.py").write_text(module)
    catalogue = library / "core/engines.py"
    before, mark, after = catalogue.read_text().partition('        Engine(\n            name="pymc"')
    assert mark
    catalogue.write_text(before + row + mark + after)
    project.configure(STUDIES)
    run = project.snakemake("--cores", "2")
    assert run.returncode == 0, run.stdout + run.stderr
    return project.root / "results"


def test_its_fit_is_remls_in_a_balanced_design(made):
    mine, exact = (pd.read_csv(made / f"batches/{name}/parameters.csv") for name in ("anova", "reml"))
    # closed form against an optimum that is certified to a gradient of 0
    assert (mine["estimate"] - exact["estimate"]).abs().max() < 1e-6
    compared = pd.read_csv(made / "batches/comparison/ranef_differences.csv")
    assert compared["anova"].notna().all()


def test_it_predicts_recovers_and_is_in_the_report(made):
    assert set(pd.read_parquet(made / "batches/predictions/predictions.parquet")["engine"]) == {
        "reml",
        "anova",
    }
    measures = pd.read_csv(made / "design/recovery/performance.csv")
    assert {"bias", "coverage", "failure_rate"} <= set(measures.loc[measures["engine"] == "anova", "measure"])
    page = (made / "report.html").read_text()
    assert "ANOVA" in page
    assert '"anova":{"label":"ANOVA","colour":"var(--anova)","dash":""}' in page
    assert '[stroke="#56b4e9"] { stroke: var(--anova); }' in page
