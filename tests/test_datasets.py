"""config/data/ against exact REML fits of the same data sets, by a dense evaluation that shares no code."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lmm.model.design import build
from lmm.model.formula import parse

ROOT = Path(__file__).parents[1]
FITS = json.loads((ROOT / "tests" / "reference" / "datasets.json").read_text())["fits"]
FORMULAS = {
    "sleepstudy": ("sleepstudy.csv", "Reaction ~ Days + (Days | Subject)"),
    "sleepstudy_indep": ("sleepstudy.csv", "Reaction ~ Days + (Days || Subject)"),
    "dyestuff": ("dyestuff.csv", "Yield ~ 1 + (1 | Batch)"),
    "dyestuff2": ("dyestuff2.csv", "Yield ~ 1 + (1 | Batch)"),
    "orthodont": ("orthodont.csv", "distance ~ age + (age | Subject)"),
}


def dense_reml(y, x, z, groups, d, sigma):
    """GLS, -2 log L_REML and BLUPs from the full covariance matrix V of all rows (Harville 1977)."""
    v = sigma**2 * np.eye(len(y)) + (groups[:, None] == groups) * (z @ d @ z.T)
    vx, vy = np.linalg.solve(v, x), np.linalg.solve(v, y)
    information = x.T @ vx
    beta = np.linalg.solve(information, x.T @ vy)
    r = y - x @ beta
    logdets = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1]
    criterion = (len(y) - x.shape[1]) * np.log(2 * np.pi) + logdets + r @ np.linalg.solve(v, r)
    ranef = {g: (d @ z.T * (groups == g)) @ np.linalg.solve(v, r) for g in np.unique(groups)}
    return criterion, beta, np.sqrt(np.diag(np.linalg.inv(information))), ranef


@pytest.mark.parametrize("name", FORMULAS)
def test_data_are_those_of_the_reference(name):
    file, text = FORMULAS[name]
    reference = FITS[name]
    formula = parse(text)
    df = pd.read_csv(ROOT / "config" / "data" / file)
    design = build(formula, df)
    y, w = design.matrix(df)
    at = [design.terms.columns.index(term) for term in design.terms.fixed]
    zt = [design.terms.columns.index(term) for term in design.terms.random]
    groups = df[formula.group].astype(str).to_numpy()
    assert (len(y), len(np.unique(groups))) == (reference["nobs"], reference["ngroups"])
    sd = np.array([reference["sd"][term] for term in design.terms.random])
    corr = np.eye(len(sd))
    if reference["corr"]:
        corr[0, 1] = corr[1, 0] = reference["corr"][0]
    criterion, beta, se, ranef = dense_reml(
        y, w[:, at], w[:, zt], groups, corr * np.outer(sd, sd), reference["sigma"]
    )
    # the reference's digits are exact; a dense solve of condition number below 1e4 loses at most 1e-10
    assert criterion == pytest.approx(reference["criterion"], abs=1e-8)
    np.testing.assert_allclose(beta, list(reference["fixed"].values()), rtol=1e-9)
    np.testing.assert_allclose(se, list(reference["se"].values()), rtol=1e-9)
    scale = 1e-3 * reference["sigma"]
    for level, values in reference["ranef"].items():
        np.testing.assert_allclose(ranef[level], values, rtol=1e-8, atol=1e-8 * scale)
