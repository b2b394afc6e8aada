"""Compile every kernel once, when the project is installed: by fitting a small data set with each engine."""

import time

import numpy as np

from lmm.config.engines import Pymc
from lmm.criticism import stage
from lmm.engines import reml
from lmm.engines.pymc import fit
from lmm.inference.several_optimum import optimum
from lmm.likelihood.several_problem import build
from lmm.model.terms import Grouping, Terms
from lmm.moments.accumulate import compute
from lmm.moments.several_accumulate import compute_several


def main() -> None:
    """Fit 40 rows in 8 groups; what is compiled on the way stays in the caches of numba and PyTensor."""
    start = time.perf_counter()
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(8), 5)
    W = np.column_stack([np.ones(40), rng.standard_normal(40)])
    y = W.sum(axis=1) + rng.standard_normal(8)[codes] + rng.standard_normal(40)
    names = ("Intercept", "x")
    terms = Terms.one(names, (("Intercept",), ("x",)), "g", names)
    moments = compute(terms, y, W, codes, np.array([f"{j}" for j in range(8)]))
    reml.fit(moments, names, (names,))
    again = [np.arange(40) % 5, np.arange(40) // 10]
    several = Terms(names, tuple(Grouping((g,), (names,)) for g in "gh"), names)
    levels = [np.array([f"{j}" for j in range(own.max() + 1)]) for own in again]
    crossed = compute_several(several, y, W, again, levels, moments.basis)
    for sparse in (False, True):
        optimum(build(crossed, names, [grouping.blocks for grouping in several.groupings], sparse))
    settings = Pymc(tune=100, draws=100, priors={"fixed": "flat", "sd": "uniform(0, 100)", "sigma": "flat"})
    options = settings.plain() | {"conf_level": 0.95}
    _, tree = fit.fit(moments, names, terms.blocks, options)
    stage.criticise(moments, names, terms.blocks, tree["posterior"], options)
    print(f"Kernels compiled in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
