"""Chunks put together and summed up: replicates.parquet, performance.csv, failures.csv, ranks and calibration.

diagnostics.json has what is not the same in another run of the same study: seconds and versions.
"""

from running.frame import run


def main(job) -> None:
    import numpy as np
    import pandas as pd

    from lmm.core.store import write_json, write_table
    from lmm.recovery import chunks, performance, times

    chunks.write(job.output.replicates, chunks.merge(job.input.chunks, job.params.designs))
    write_json(job.output.diagnostics, times.diagnostics(job.input.chunks, job.params.designs))
    if job.input.get("sums"):
        from lmm.recovery import blocks  # with the kernels, a second

        measured, ended = blocks.merge(job.input.sums, job.params.designs)
    else:
        replicates = pd.read_parquet(job.output.replicates)
        measured, ended = performance.performance(replicates), performance.failures(replicates)
    write_table(job.output.performance, measured)
    write_table(job.output.failures, ended)
    if job.output.get("ranks"):
        from lmm.recovery.calibration import verdicts as calibration

        ranks = chunks.merge(job.input.rank_chunks, job.params.designs)
        chunks.write(job.output.ranks, ranks)
        # the generator is for ties in tables whose numbers of ranks differ; its seed is part of the verdict
        verdicts = calibration.calibrate(ranks.to_pandas(), np.random.default_rng(1))
        write_table(job.output.calibration, verdicts)


run(main, snakemake)  # noqa: F821
