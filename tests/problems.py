"""Data sets as moments, and dense evaluations that share no code with the kernel; helpers of the tests."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from lmm.model.terms import Terms
from lmm.moments.accumulate import compute
from lmm.moments.moments import Moments

HERE = Path(__file__).parent
COFFEE = json.loads((HERE / "reference" / "coffee.json").read_text())
EXACT = json.loads((HERE / "reference" / "datasets.json").read_text())["fits"] | {
    "coffee": COFFEE["reml_exact"]
}
DATA = HERE.parent / "config" / "data"
# file, response, predictor, group, independent random effects
STUDIES = {
    "coffee": (HERE / "reference" / "coffee.csv", "y", "x", "group", False),
    "sleepstudy": (DATA / "sleepstudy.csv", "Reaction", "Days", "Subject", False),
    "sleepstudy_indep": (DATA / "sleepstudy.csv", "Reaction", "Days", "Subject", True),
    "dyestuff": (DATA / "dyestuff.csv", "Yield", None, "Batch", False),
    "dyestuff2": (DATA / "dyestuff2.csv", "Yield", None, "Batch", False),
    "orthodont": (DATA / "orthodont.csv", "distance", "age", "Subject", False),
}


def rows_of(name: str, y_shift: float = 0.0, x_scale: float = 1.0):
    """Terms, y, W, codes, levels of a study; optionally with y shifted and the predictor scaled."""
    path, response, predictor, group, independent = STUDIES[name]
    table = pd.read_csv(path)
    names = ("Intercept", predictor) if predictor else ("Intercept",)
    blocks = tuple((term,) for term in names) if independent else (names,)
    columns = [np.ones(len(table)), *(table[term].to_numpy(float) * x_scale for term in names[1:])]
    codes, levels = pd.factorize(table[group], sort=True)
    y = table[response].to_numpy(float) + y_shift
    terms = Terms.one(names, blocks, group, names)
    return terms, y, np.column_stack(columns), codes, levels.astype(str).to_numpy()


def moments_of(name: str, **changes) -> tuple[Moments, Terms]:
    """Moments and terms of a study."""
    data = rows_of(name, **changes)
    return compute(*data), data[0]


def simulated(rng: np.random.Generator, sizes, fixed, random, D, sigma, beta, blocks=None):
    """Terms, y, W, codes, levels of a model with normal predictors; groups of the given sizes.

    `fixed` and `random` name columns; every name but Intercept is a standard normal predictor.
    """
    codes = np.repeat(np.arange(len(sizes)), sizes)
    names = tuple(dict.fromkeys([*random, *fixed]))
    if "Intercept" in names:
        names = ("Intercept", *(name for name in names if name != "Intercept"))
    W = np.column_stack(
        [np.ones(len(codes)) if name == "Intercept" else rng.standard_normal(len(codes)) for name in names]
    )
    X, Z = (W[:, [names.index(name) for name in part]] for part in (fixed, random))
    u = rng.multivariate_normal(np.zeros(len(random)), D, size=len(sizes))
    y = X @ beta + (Z * u[codes]).sum(axis=1) + sigma * rng.standard_normal(len(codes))
    terms = Terms.one(tuple(fixed), blocks or (tuple(random),), "g", names)
    return terms, y, W, codes, np.array([f"{j:05d}" for j in range(len(sizes))])


def dense(terms: Terms, y, W, codes, D, sigma, prior=None):
    """-2 log likelihood with beta integrated out, GLS and BLUPs, from the full covariance of all rows.

    `prior` = (mean, precision) of beta; None: flat, the REML criterion (Harville 1977).
    """
    X = W[:, [terms.columns.index(name) for name in terms.fixed]]
    Z = W[:, [terms.columns.index(name) for name in terms.random]]
    V = sigma**2 * np.eye(len(y)) + (codes[:, None] == codes) * (Z @ D @ Z.T)
    if prior is not None:
        mean, precision = prior
        V_all = V + X @ np.linalg.solve(precision, X.T)
        r = y - X @ mean
        return len(y) * np.log(2 * np.pi) + np.linalg.slogdet(V_all)[1] + r @ np.linalg.solve(V_all, r)
    Vx, Vy = np.linalg.solve(V, X), np.linalg.solve(V, y)
    information = X.T @ Vx
    cov = np.linalg.inv(information)
    beta = cov @ (X.T @ Vy)
    r = y - X @ beta
    criterion = (len(y) - X.shape[1]) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1]
    criterion += np.linalg.slogdet(information)[1] + r @ np.linalg.solve(V, r)
    # joint prediction error variance (Henderson): D - D Z'P Z D per group
    P = np.linalg.inv(V) - Vx @ cov @ Vx.T
    blups, errors = [], []
    for j in range(codes.max() + 1):
        ZD = Z * (codes == j)[:, None] @ D
        blups.append(ZD.T @ np.linalg.solve(V, r))
        errors.append(np.diag(D - ZD.T @ P @ ZD))
    return criterion, beta, cov, np.array(blups), np.sqrt(np.maximum(errors, 0.0))
