"""CPU time of a replicate of the coffee design by the compiled path, and its optima beside the full path's.

    python benchmarks/fit_replicates.py TIMED COMPARED

Prints JSON: for replicates drawn as moments and as rows, milliseconds of CPU each for OLS, reml and the drawing; of
`COMPARED` replicates the largest difference of an estimated sd from the full path's, and the number of other
statuses.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import numpy as np

from lmm.config.load import load
from lmm.core.tidy import RESIDUAL
from lmm.engines import reml
from lmm.recovery import compact, job
from planning import plan

SIMULATE = {
    "rows": 1000, "groups": 100, "fixed": {"Intercept": 3, "x": 0.5}, "sd": {"Intercept": 10, "x": 1}, "sigma": 1,
}  # fmt: skip
SDS = ("sd__Intercept", "sd__x", RESIDUAL)


def main(timed: int, compared: int) -> None:
    """Measure and print."""
    print(json.dumps({source: of(source, timed, compared) for source in ("moments", "rows")}))


def of(source: str, timed: int, compared: int) -> dict[str, float]:
    """One way of drawing."""
    study = {
        "formula": "y ~ x + (x | group)", "simulate": SIMULATE, "simulate_from": source, "replicates": timed,
        "record": "parameters", "engines": {"ols": {}, "reml": {}},
    }  # fmt: skip
    planned = plan.study_plan(load({"studies": {"coffee": study}}).studies["coffee"])
    designs = list(planned["recovery"]["designs"].values())
    sources, engines = job.simulated(planned["stages"]["replicates"], designs)
    (drawn,) = sources.values()
    design = compact.Design(drawn, engines, 0.95)
    design.block(0, 2)  # what was compiled is loaded
    began = time.process_time()
    for _ in design.blocks(0, timed):
        pass
    seconds = time.process_time() - began
    worst, others = 0.0, 0
    for block in design.blocks(0, compared):
        fits = block["reml"]
        at = [k for k, key in enumerate(fits.keys) if key[2] in SDS]
        for row in range(len(fits.status)):
            moments = drawn.draw(fits.first + row).moments
            terms = design.engines["reml"].terms
            full, _ = reml.fit(moments, terms.fixed, terms.blocks, profile=False, ranef=False)
            sds = full.parameters.set_index("term")["estimate"][list(SDS)].to_numpy()
            worst = max(worst, float(np.abs(fits.values["estimate"][row, at] - sds).max()))
            others += compact.STATUSES[fits.status[row]] != full.diagnostics.status
    return {"milliseconds": 1e3 * seconds / timed, "difference": worst, "other_statuses": others}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
