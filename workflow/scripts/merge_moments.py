"""Moments of all of a study's parts: moments.parquet, moments.json, design.json."""

from running.frame import run


def main(job) -> None:
    from lmm import gather
    from lmm.rows import write_designs
    from lmm.store import read_json
    from lmm.tidy import rank_deficient

    data = read_json(job.input.data)
    settings = job.params.settings
    _, own = gather.designs(settings["formulas"], data, None)
    parts = list(zip(job.input.tables, job.input.details, strict=True))
    found, own = gather.merged(parts, own, data, settings["rank_deficient"])
    if dropped := own[0].terms.dropped:
        print(rank_deficient(dropped))
    found.write(job.output.table, job.output.details)
    write_designs(job.output.design, own)


run(main, snakemake)  # noqa: F821
