"""What rules about replicates and searches share: which studies have them, their chunks, what is read of them."""

import json
from functools import partial

from lmm.recovery import plan as chunk_plan


def replicated(chosen=lambda recovery: True):
    """A constraint on the study's name: studies with replicates for which `chosen` holds."""
    return those(lambda study: study["recovery"] and chosen(study["recovery"]))


def chunk_files(wildcards):
    """Every chunk of a study: those that exist where they fit, others around them.

    Where replicates end at Monte Carlo errors: those of the rounds up to the wildcard, or of all that are needed.
    """
    base = f"results/{wildcards.study}/recovery"
    recovery = studies[wildcards.study]["recovery"]
    directory = Path(f"{base}/chunks")
    if recovery["until"]:
        last = getattr(wildcards, "round", None)
        rounds = len(recovery["ends"]) if last is None else int(last) + 1
        left = partial(designs_left, wildcards.study)
        found = chunk_plan.batches(recovery, directory, left, rounds)
    else:
        found = chunk_plan.chunks(recovery, directory)
    folders = {"chunks": "chunks"}
    if recovery["ranked"]:
        folders["rank_chunks"] = "ranks"
    if recovery["summed"]:
        folders["sums"] = "sums"
    return {
        kind: [
            f"{base}/{folder}/{chunk.bundle}/{chunk.name}.parquet" for chunk in found
        ]
        for kind, folder in folders.items()
    }


def designs_left(study, number):
    """The designs that have replicates in a round: those that did not meet the Monte Carlo errors before."""
    if number == 0:
        return studies[study]["recovery"]["keys"]
    judged = checkpoints.batch_judged.get(study=study, round=number - 1).output.judged
    return json.loads(Path(judged).read_text())["left"]


def replicates_from(wildcards):
    """What replicates of own data are drawn from."""
    recovery, base = studies[wildcards.study]["recovery"], f"results/{wildcards.study}"
    found = moments(wildcards) if recovery["own"] else {}
    if recovery["own"] and studies[wildcards.study]["several"]:
        found |= rows(wildcards)
    return found | (
        {"posterior": f"{base}/{BAYES}/posterior.nc"}
        if recovery["from_posterior"]
        else {}
    )


def fitting(wildcards):
    """The modules that replicates use, those of the study's engines among them."""
    fitted = studies[wildcards.study]["engines"]
    return lib("run_recovery", *(engines.row(name).module for name in fitted))


def recovered(wildcards):
    """All that figures and report read of a study with replicates, under the names of `lmm.results.replicated.read`."""
    base = f"results/{wildcards.study}/recovery"
    names = ["performance.csv", "failures.csv", "replicates.parquet"]
    if studies[wildcards.study]["recovery"]["ranked"]:
        names += ["calibration.csv", "ranks.parquet"]
    return {name.partition(".")[0]: f"{base}/{name}" for name in names}


def searched_from(wildcards):
    """What a search of own data resizes: their moments, or rows with several grouping factors."""
    study = studies[wildcards.study]
    if not study["search"]["own"]:
        return {}
    return moments(wildcards) | (rows(wildcards) if study["several"] else {})


def searching(wildcards):
    """The modules that a search uses, its engine's among them."""
    fitted = studies[wildcards.study]["engines"]
    return lib("run_search", *(engines.row(name).module for name in fitted))


def searched(wildcards):
    """All that figures and report read of a study with a search, under the names of `lmm.results.searched.read`."""
    base = f"results/{wildcards.study}/search"
    tables = {name: f"{base}/{name}.csv" for name in ("search", "curve", "null")}
    return tables | {"answer": f"{base}/answer.json"}
