"""One whole PyMC fit as a process: imports, moments from files, compilation, sampling, summaries, artifacts.

python fit_pymc.py moments.parquet moments.json design.json settings.json folder; settings.json as the pymc stage
of the workflow's plan has it. Prints one line of JSON: seconds by phase, smallest bulk ESS and whose it is.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from lmm.core.store import read_json
from lmm.data.rows import read_terms
from lmm.engines.pymc import fit as bayes
from lmm.moments.moments import Moments


def main(table: str, details: str, design: str, settings: str, folder: str) -> None:
    """Fit and write, as workflow/scripts/fit_pymc.py does."""
    chosen = read_json(settings)
    terms = read_terms(design, chosen["formula"])
    moments = Moments.read(table, details)
    fit, posterior = bayes.fit(moments, terms.fixed, terms.blocks, chosen, None, 1)
    to = Path(folder)
    fit.write(to / "parameters.csv", to / "diagnostics.json", to / "ranef.parquet")
    bayes.write(to / "posterior.nc", posterior)
    named = [(row.ess_bulk, row.term) for row in fit.parameters.itertuples()]
    named += [(row.ess_bulk, f"{row.term} of group {row.level}") for row in fit.ranef.itertuples()]
    ess, whose = min(named)
    passed = fit.diagnostics.status == "ok"
    print(
        json.dumps(
            {
                "seconds": fit.diagnostics.seconds,
                "ess": ess,
                "whose": whose,
                "quantities": len(named),
                "passed": passed,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
