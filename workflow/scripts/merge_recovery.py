"""Chunks put together and summed up: replicates.parquet, performance.csv, failures.csv, ranks and calibration.

diagnostics.json has what is not the same in another run of the same study: seconds and versions.
"""

from running.frame import run


def main(job) -> None:
    import numpy as np
    import pandas as pd

    from lmm import calibration, chunks, fit_times, recovery
    from lmm.store import write_json, write_table

    chunks.write(job.output.replicates, chunks.merge(job.input.chunks, job.params.designs))
    write_json(job.output.diagnostics, fit_times.diagnostics(job.input.chunks, job.params.designs))
    replicates = pd.read_parquet(job.output.replicates)
    write_table(job.output.performance, recovery.performance(replicates))
    write_table(job.output.failures, recovery.failures(replicates))
    if job.output.get("ranks"):
        ranks = chunks.merge(job.input.rank_chunks, job.params.designs)
        chunks.write(job.output.ranks, ranks)
        # the generator is for ties in tables whose numbers of ranks differ; its seed is part of the verdict
        verdicts = calibration.calibrate(ranks.to_pandas(), np.random.default_rng(1))
        write_table(job.output.calibration, verdicts)


run(main, snakemake)  # noqa: F821
