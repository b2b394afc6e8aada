"""What rules about replicates share: which studies have them, their chunks, what is read of them."""

from lmm.recovery import plan as chunk_plan


def replicated(chosen=lambda recovery: True):
    """A constraint on the study's name: studies with replicates for which `chosen` holds."""
    return those(lambda study: study["recovery"] and chosen(study["recovery"]))


def chunk_files(wildcards):
    """Every chunk of a study: those that exist where they fit, others around them."""
    base = f"results/{wildcards.study}/recovery"
    recovery = studies[wildcards.study]["recovery"]
    found = chunk_plan.chunks(recovery, Path(f"{base}/chunks"))
    inputs = {
        "chunks": [
            f"{base}/chunks/{chunk.bundle}/{chunk.name}.parquet" for chunk in found
        ]
    }
    if recovery["ranked"]:
        inputs["rank_chunks"] = [
            f"{base}/ranks/{chunk.bundle}/{chunk.name}.parquet" for chunk in found
        ]
    return inputs


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
