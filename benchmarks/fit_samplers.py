"""PyMC's two samplers on the same replicates of the coffee design: CPU time, effective draws, and whether they agree.

    python benchmarks/fit_samplers.py REPLICATES

Prints JSON: for importance sampling and NUTS milliseconds of CPU (median over replicates), the median of the smallest
bulk ESS and fits that are not ok; fits in which NUTS took the place of importance sampling; the largest difference of
two posterior means in units of its Monte Carlo error.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import numpy as np
from fit_replicates import SIMULATE

from lmm.config.load import load
from lmm.recovery import job
from lmm.recovery.data import sampler_seed
from planning import plan

PYMC = {
    "formula": "y ~ x + (x || group)", "priors": {"fixed": "flat", "sd": "uniform(0, 100)", "sigma": "flat"},
    "chains": 2, "tune": 500, "seed": 123,
}  # fmt: skip
SAMPLERS = {"importance": {"draws": 500}, "nuts": {"draws": 1000}}


def main(replicates: int) -> None:
    """Measure and print."""
    found, means, errors = {}, {}, {}
    for sampler, own in SAMPLERS.items():
        study = {
            "formula": "y ~ x + (x | group)", "simulate": SIMULATE, "replicates": replicates,
            "engines": {"pymc": PYMC | own | {"sampler": sampler}},
        }  # fmt: skip
        planned = plan.study_plan(load({"studies": {"coffee": study}}).studies["coffee"])
        designs = list(planned["recovery"]["designs"].values())
        sources, engines = job.simulated(planned["stages"]["replicates"], designs)
        ((key, source),), (engine,) = sources.items(), engines.values()
        engine.outcome(source.draw(0), 1, None)  # what is compiled is loaded or compiled
        took, fits = [], []
        for replicate in range(replicates):
            data, seed = source.draw(replicate), sampler_seed(123, key, replicate)
            began = time.process_time()
            fits.append(engine.outcome(data, seed, None).fit)
            took.append(time.process_time() - began)
        means[sampler] = np.array([fit.parameters["estimate"] for fit in fits])
        errors[sampler] = np.array([fit.parameters["mcse_mean"] for fit in fits])
        found[sampler] = {
            "milliseconds": 1e3 * float(np.median(took)),
            "ess": float(np.median([fit.parameters["ess_bulk"].min() for fit in fits])),
            "not_ok": sum(fit.diagnostics.status != "ok" for fit in fits),
            "replaced": sum(fit.diagnostics.summary["sampler"] != sampler for fit in fits),
        }
    away = np.abs(means["importance"] - means["nuts"]) / np.hypot(errors["importance"], errors["nuts"])
    print(json.dumps(found | {"apart": float(away.max()), "compared": away.size}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
