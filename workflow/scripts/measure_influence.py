"""Influence of each group on reml's estimates: influence.parquet, influence.json."""

from running.frame import run


def main(job) -> None:
    from lmm.core.store import write_json, write_table
    from lmm.criticism.influence import influence
    from lmm.data.rows import read_terms
    from lmm.moments.moments import Moments

    terms = read_terms(job.input.design, job.params.settings["formula"])
    moments = Moments.read(job.input.moments, job.input.moments_details)
    table, about = influence(moments, terms.fixed, terms.blocks)
    write_table(job.output.table, table)
    write_json(job.output.about, about)


run(main, snakemake)  # noqa: F821
