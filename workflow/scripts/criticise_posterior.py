"""Criticism of the Bayesian fit: loo.parquet, predictive.csv, replicates.parquet, sensitivity.csv, criticism.json."""

from functools import partial

from running.frame import run


def main(job) -> None:
    import xarray

    from lmm.criticism import several, stage
    from lmm.data.rows import read_rows, read_terms
    from lmm.moments.several import narrowed, read_any

    settings = job.params.settings
    terms = read_terms(job.input.design, settings["formula"])
    every = read_any(job.input.moments, job.input.moments_details, job.input.get("cells"))
    moments = narrowed(every, [grouping.group for grouping in terms.groupings])
    with xarray.open_datatree(job.input.posterior) as tree:
        read = partial(read_rows, job.input, job.input.design, settings["formula"])
        if terms.several:
            found = several.criticise(moments, terms, tree, settings, read)
        else:
            found = stage.criticise(moments, terms.fixed, terms.blocks, tree, settings, read)
    found.write(**dict(job.output.items()))


run(main, snakemake)  # noqa: F821
