"""Influence of each group on reml's estimates: influence.parquet, influence.json."""

from running.frame import run


def main(job) -> None:
    from lmm.core.store import write_json, write_table
    from lmm.criticism import several_influence
    from lmm.criticism.influence import influence
    from lmm.data.rows import read_rows, read_terms
    from lmm.moments.several import narrowed, read_any

    formula = job.params.settings["formula"]
    terms = read_terms(job.input.design, formula)
    if terms.several:
        table, about = several_influence.influence(read_rows(job.input, job.input.design, formula))
    else:
        moments = narrowed(
            read_any(job.input.moments, job.input.moments_details, job.input.get("cells")), [terms.group]
        )
        table, about = influence(moments, terms.fixed, terms.blocks)
    write_table(job.output.table, table)
    write_json(job.output.about, about)


run(main, snakemake)  # noqa: F821
