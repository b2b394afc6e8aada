"""Which designs have not met the study's Monte Carlo errors after a batch of replicates: they get another one."""

from running.frame import run


def main(job) -> None:
    import pandas as pd
    import pyarrow as pa

    from lmm.core.store import write_json
    from lmm.recovery import blocks, chunks, performance, until

    keys = job.params.designs
    if job.input.get("sums"):
        measured, _ = blocks.merge(job.input.sums, keys)
    else:
        tables = [chunks.read(file) for file in job.input.chunks]
        measured = performance.performance(pa.concat_tables(tables).to_pandas())
    found = until.judged(measured, job.params.until)
    met = found.groupby("design")["met"].all()
    left = [key for key in keys if key in met.index and not met[key]]
    records = found.astype(object).where(pd.notna(found), None).to_dict("records")
    write_json(job.output.judged, {"left": left, "judged": records})


run(main, snakemake)  # noqa: F821
