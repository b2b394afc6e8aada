"""Moments of all of a study's parts: moments.parquet, moments.json, design.json."""

from running.frame import run


def main(job) -> None:
    from lmm.core.store import read_json
    from lmm.data.rows import write_designs
    from lmm.moments import stage

    data = read_json(job.input.data)
    _, own = stage.designs(job.params.settings["formulas"], data, None)
    parts = list(zip(job.input.tables, job.input.details, strict=True))
    stage.merged(parts, own, data).write(job.output.table, job.output.details)
    write_designs(job.output.design, own)


run(main, snakemake)  # noqa: F821
