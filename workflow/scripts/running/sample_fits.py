"""Small fits that run every kernel of the library, for the installation to compile."""

import numpy as np

from lmm.config.engines import Pymc
from lmm.criticism import stage
from lmm.engines import reml
from lmm.engines.pymc import fit
from lmm.engines.pymc.attempts import Setting
from lmm.engines.pymc.several_fit import several_of
from lmm.inference import compact
from lmm.inference.several_optimum import optimum
from lmm.likelihood.problem import layout
from lmm.likelihood.several_problem import build
from lmm.model.terms import Grouping, Terms
from lmm.moments.accumulate import compute
from lmm.moments.moments import Moments
from lmm.moments.several_accumulate import compute_several

NAMES = ("Intercept", "x")


def grouped(apart: float = 1.0) -> tuple[np.ndarray, np.ndarray, Terms, Moments]:
    """Response, model matrix, terms and moments of 8 groups that differ by so many residual sd's."""
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(8), 5)
    W = np.column_stack([np.ones(40), rng.standard_normal(40)])
    y = W.sum(axis=1) + apart * rng.standard_normal(8)[codes] + rng.standard_normal(40)
    terms = Terms.one(NAMES, (("Intercept",), ("x",)), "g", NAMES)
    return y, W, terms, compute(terms, y, W, codes, np.array([f"{j}" for j in range(8)]))


def exact() -> None:
    """By reml, also where groups are far apart and as a replicate."""
    _, _, terms, moments = grouped()
    reml.fit(moments, NAMES, (NAMES,))
    reml.fit(grouped(1e7)[-1], NAMES, terms.blocks)
    replicate(moments)


def bayes() -> None:
    """By PyMC, with the checks of the posterior."""
    _, _, terms, moments = grouped()
    settings = Pymc(tune=100, draws=100, priors={"fixed": "flat", "sd": "uniform(0, 100)", "sigma": "flat"})
    options = settings.plain() | {"conf_level": 0.95}
    _, tree = fit.fit(moments, NAMES, terms.blocks, options)
    stage.criticise(moments, NAMES, terms.blocks, tree, options)


def replicate(moments: Moments) -> None:
    """By the loop over replicates."""
    structure = layout((NAMES,))
    model = compact.Model.of(moments.basis, NAMES, structure, False)
    lanes, pairs = compact.lanes_for(8, 2, 2), np.array(structure.correlations)
    rows = int(moments.n.sum())
    total = compact.packed(moments.gram, moments.total, model.combine_x, model.combine_z, lanes)
    compact.least_squares(total, rows, model.x_map, np.empty(5))
    compact.reml(
        np.array(structure.blocks), structure.rows, structure.cols, pairs, np.eye(2), lanes, total, rows,
        model.x_map, model.z_map, model.y_scale, model.ml, np.empty(14),
    )  # fmt: skip


def several_factors_and_bayes() -> None:
    """By both ways to eliminate what is left of the factors and by importance sampling, then by PyMC."""
    y, W, _, moments = grouped()
    again = [np.arange(40) % 5, np.arange(40) // 10]
    several = Terms(NAMES, tuple(Grouping((g,), (NAMES,)) for g in "gh"), NAMES)
    levels = [np.array([f"{j}" for j in range(own.max() + 1)]) for own in again]
    crossed = compute_several(several, y, W, again, levels, moments.basis)
    for sparse in (False, True):
        optimum(build(crossed, NAMES, [grouping.blocks for grouping in several.groupings], sparse))
    options = Pymc(draws=100).plain()
    several_of(crossed, several, options["priors"]).by_importance(Setting.of(options)).draw_ranef()
    bayes()
