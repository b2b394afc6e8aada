"""Models with reference numbers of lme4, lmerTest, pbkrtest and emmeans; helpers of the tests of inference."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from lmm.inference.degrees_of_freedom import fixed_effects
from lmm.inference.derivatives import by_group
from lmm.inference.optimum import optimum
from lmm.likelihood.problem import problem_of
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.moments.accumulate import compute

HERE = Path(__file__).parent
DATA = HERE.parent / "config" / "data"
EXACT = json.loads((HERE / "reference" / "multifactor.json").read_text())
R = json.loads((HERE / "reference" / "inference.json").read_text())
ROWS = pd.read_csv(HERE / "reference" / "inference_rows.csv")
FILES = {
    "sleepstudy": DATA / "sleepstudy.csv",
    "orthodont": DATA / "orthodont.csv",
    "machines": HERE / "reference" / "machines.csv",
    "dyestuff2": DATA / "dyestuff2.csv",
}
ONE_FACTOR = [
    "sleepstudy", "sleepstudy_plain", "sleepstudy_intercept", "orthodont", "orthodont_intercept",
    "machines_slopes",
]  # fmt: skip


class Model:
    """A formula's design, moments, problem and optimum on a table of rows."""

    def __init__(self, formula: str, rows: pd.DataFrame, ml: bool = False, weights=None, offset=0.0):
        self.rows = rows
        self.design = build(parse(formula), rows)
        self.terms = self.design.terms
        y, W = self.design.matrix(rows)
        codes, levels = pd.factorize(rows[self.terms.group], sort=True)
        names = np.array([str(level) for level in levels], dtype=object)
        self.moments = compute(self.terms, y - offset, W, codes, names, weights=weights)
        self.problem = problem_of(self.moments, self.terms.fixed, self.terms.blocks, ml)
        self.best = optimum(self.problem)

    def fixed(self, method: str):
        """Fixed effects with degrees of freedom."""
        return fixed_effects(method, self.best.beta, by_group(self.problem, self.best), self.problem.ml)


def exact(name: str, ml: bool = False) -> Model:
    """A model of multifactor.json."""
    return Model(EXACT[name]["formula"], pd.read_csv(FILES[name.split("_")[0]]), ml)


def in_r(name: str) -> Model:
    """A model of inference.json."""
    formula = R["fits"][name]["formula"].replace("x^2", "x**2")
    rows = pd.read_csv(FILES[name]) if name in FILES else ROWS
    return Model(formula, rows, name == "ml")


def columns(rows: pd.DataFrame) -> dict:
    """What data.json says of columns."""
    out = {}
    for name in rows:
        own = rows[name]
        if pd.api.types.is_numeric_dtype(own.dtype):
            out[name] = {"min": own.min(), "max": own.max(), "mean": own.mean(), "sd": own.std()}
        else:
            out[name] = {"levels": sorted(own.unique())}
    return out
