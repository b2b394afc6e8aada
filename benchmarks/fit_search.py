"""Power of the designs around a search's answer, from replicates of their own.

    python benchmarks/fit_search.py PROJECT STUDY REPLICATES

PROJECT has finished the search. Prints JSON: the answer and its interval, and the power of designs a step above and
two steps below it, by the same compiled path with other seeds than the search had.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import yaml

from lmm.config.search import Search
from lmm.recovery import searches
from planning import plan

OTHER_SEED = 1_000_000


def main(project: str, study: str, count: int) -> None:
    """Measure and print."""
    os.chdir(project)
    configuration = yaml.safe_load(Path("config/config.yaml").read_text())
    settings = plan.make(configuration, Path.cwd())["studies"][study]["stages"]["search"]
    settings["seed"] += OTHER_SEED
    base = Path("results") / study
    answer = json.loads((base / "search" / "answer.json").read_text())
    found, wanted = answer["scenarios"][0], Search.from_plain(settings["search"])
    if settings["simulate"]:
        sources = searches.of_simulation(settings)
    else:
        names = {"moments": "moments.parquet", "moments_details": "moments.json", "design": "design.json"}
        sources = searches.of_data(
            settings, {key: str(base / "moments" / name) for key, name in names.items()}
        )
    evaluate = searches.Evaluator(sources, wanted.truths[0], wanted, "power")
    best = [found["groups"], found["rows_per_group"] or 1]
    varied = 0 if wanted.varied == ["groups"] else 1
    powers = []
    for step in (1, -2):
        at = list(best)
        at[varied] += step
        powers.append(evaluate((at[0], at[1]), count))
    above, below = powers
    said = {
        "answer": best[varied],
        "low": found["low"],
        "high": found["high"],
        "replicates": found["replicates"],
    }
    print(json.dumps(said | {"above": above.estimate, "below": below.estimate, "mcse": above.mcse}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
