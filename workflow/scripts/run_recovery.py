"""A chunk of replicates: data sets drawn and fitted by every engine, one row per term; ranks for calibration."""

from running.frame import run


def main(job) -> None:
    import gc

    from lmm.recovery import blocks, chunks
    from lmm.recovery import job as recovery_job

    settings, key = job.params.settings, job.wildcards
    if settings["bootstrap"] is None:
        sources, engines = recovery_job.simulated(settings, job.params.designs)
    else:
        sources, engines = recovery_job.bootstrapped(settings, job.params.designs, dict(job.input.items()))
    level, span = settings["conf_level"], (int(key.first), int(key.stop))
    if settings["record"] != "full":
        summed = settings["record"] == "sums"
        replicates, sums = blocks.run(sources, engines, level, *span, summed)
        chunks.write(job.output.replicates, replicates)
        if summed:
            chunks.write(job.output.sums, sums)
        return
    gc.freeze()  # the modules' objects: else each collection among replicates looks at half a million of them
    seed = max((own.get("seed", 0) for own in settings["engines"].values()), default=0)
    replicates, ranks = chunks.run(sources, engines, seed, *span)
    chunks.write(job.output.replicates, replicates)
    if job.output.get("ranks"):
        chunks.write(job.output.ranks, ranks)


run(main, snakemake)  # noqa: F821
