"""Compile every kernel once, when the project is installed: by fitting a small data set with each engine."""

import time

import numpy as np

from lmm.config.engines import Pymc
from lmm.criticism import stage
from lmm.engines import reml
from lmm.engines.pymc import fit
from lmm.model.terms import Terms
from lmm.moments.accumulate import compute


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
    settings = Pymc(tune=100, draws=100, priors={"fixed": "flat", "sd": "uniform(0, 100)", "sigma": "flat"})
    options = settings.plain() | {"conf_level": 0.95}
    _, tree = fit.fit(moments, names, terms.blocks, options)
    stage.criticise(moments, names, terms.blocks, tree["posterior"], options)
    print(f"Kernels compiled in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
