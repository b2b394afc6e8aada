"""Influence of each group on reml's estimates: influence.parquet, influence.json."""

from running.frame import run


def main(job) -> None:
    from lmm.influence import influence
    from lmm.moments import Moments
    from lmm.rows import read_terms
    from lmm.store import write_json, write_table

    terms = read_terms(job.input.design, job.params.settings["formula"])
    moments = Moments.read(job.input.moments, job.input.moments_details)
    table, about = influence(moments, terms.fixed, terms.blocks)
    write_table(job.output.table, table)
    write_json(job.output.about, about)


run(main, snakemake)  # noqa: F821
