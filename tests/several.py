"""Data sets with several grouping factors, and dense evaluations that share no code with the kernels."""

import json
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lmm.data.levels import encode, level_names
from lmm.likelihood.several_problem import SeveralProblem, build
from lmm.model.design import build as build_design
from lmm.model.formula import parse
from lmm.model.terms import Terms
from lmm.moments import stage
from lmm.moments.several import SeveralMoments

REFERENCE = Path(__file__).parent / "reference"
EXACT = json.loads((REFERENCE / "multifactor.json").read_text())
# Entries of the reference with several factors, and their files
FILES = {
    "penicillin": "penicillin",
    "pastes": "pastes",
    "machines": "machines",
    "words": "words",
    "words_plain": "words",
}


class Model(NamedTuple):
    """A model over moments, with the rows that they were made from."""

    moments: SeveralMoments
    terms: Terms
    y: np.ndarray
    X: np.ndarray
    Z: list[np.ndarray]  # (N, J_k, q_k)

    @property
    def blocks(self) -> list[tuple[tuple[str, ...], ...]]:
        return [grouping.blocks for grouping in self.terms.groupings]

    def problem(self, sparse: bool | None = None) -> SeveralProblem:
        return build(self.moments, self.terms.fixed, self.blocks, sparse)


def model_of(frame: pd.DataFrame, formula: str) -> Model:
    """A model for rows in memory."""
    design = build_design(parse(formula), frame)
    terms = design.terms
    y, W = design.matrix(frame)
    at = {name: k for k, name in enumerate(terms.columns)}
    Z = []
    for grouping in terms.groupings:
        codes, levels = encode(level_names(frame, grouping.columns))
        own = W[:, [at[name] for name in grouping.random]]
        full = np.zeros((len(y), len(levels), own.shape[1]))
        full[np.arange(len(y)), codes] = own
        Z.append(full)
    return Model(stage.of_rows(design, frame), terms, y, W[:, [at[name] for name in terms.fixed]], Z)


def reference(name: str) -> Model:
    """A model of the reference."""
    return model_of(pd.read_csv(REFERENCE / f"{FILES[name]}.csv"), EXACT[name]["formula"])


def simulated(seed: int, rows: int, levels: tuple[int, ...], formula: str, kind: str = "crossed") -> Model:
    """Rows of a crossed, nested or locally crossed design with factors a, b, c and predictors x, z."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(3.0, 1.0, rows), "z": rng.uniform(size=rows)})
    codes = [rng.integers(0, count, rows) for count in levels]
    if kind == "nested":  # levels of the first in those of the second, and so on
        codes = [np.arange(rows) % levels[0]]
        for inner, outer in pairwise(levels):
            codes.append(codes[-1] * outer // inner)
    if kind == "local":  # neighbouring levels meet
        codes[1] = (codes[0] * levels[1] // levels[0] + rng.integers(0, 2, rows)) % levels[1]
    y = 5.0 + 2.0 * frame["x"] + rng.normal(size=rows)
    for name, own, count in zip("abc", codes, levels, strict=False):
        frame[name] = [f"{name}{code}" for code in own]
        y += rng.normal(0.0, 0.8, count)[own] + rng.normal(0.0, 0.3, count)[own] * frame["x"]
    return model_of(frame.assign(y=y), formula)


def marginal(model: Model, covariances: list[np.ndarray], sigma: float) -> np.ndarray:
    """V, (N, N), in original units."""
    V = sigma**2 * np.eye(len(model.y))
    for Z, D in zip(model.Z, covariances, strict=True):
        V += np.einsum("naj,jk,mak->nm", Z, D, Z, optimize=True)
    return V


def criterion(model: Model, covariances: list[np.ndarray], sigma: float, reml: bool) -> float:
    """-2 log L by dense matrices, with lme4's constants."""
    V, X, y = marginal(model, covariances, sigma), model.X, model.y
    VX = np.linalg.solve(V, X)
    precision = X.T @ VX
    left = y - X @ np.linalg.solve(precision, VX.T @ y)
    value = np.linalg.slogdet(V)[1] + left @ np.linalg.solve(V, left)
    if not reml:
        return value + len(y) * np.log(2 * np.pi)
    return value + np.linalg.slogdet(precision)[1] + (len(y) - X.shape[1]) * np.log(2 * np.pi)


def random_factors(problem: SeveralProblem, seed: int) -> list[np.ndarray]:
    """Any relative factors."""
    rng, out = np.random.default_rng(seed), []
    for structure in problem.structures:
        factor = np.zeros((len(structure.random),) * 2)
        factor[structure.rows, structure.cols] = rng.normal(size=len(structure.rows))
        out.append(factor)
    return out


def covariances_of(problem: SeveralProblem, factors: list[np.ndarray], sigma: float) -> list[np.ndarray]:
    """D_k in original units, from relative factors and sigma in the kernel's units."""
    roots = [z_map @ factor * sigma for z_map, factor in zip(problem.z_maps, factors, strict=True)]
    return [root @ root.T for root in roots]
