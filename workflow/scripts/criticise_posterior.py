"""Criticism of the Bayesian fit: loo.parquet, predictive.csv, replicates.parquet, sensitivity.csv, criticism.json."""

from running.frame import run


def main(job) -> None:
    import xarray

    from lmm.criticism.stage import criticise, unchecked
    from lmm.data.rows import read_terms
    from lmm.moments.moments import Moments

    settings = job.params.settings
    terms = read_terms(job.input.design, settings["formula"])
    found = unchecked("it is for one grouping factor")
    if not terms.several:
        moments = Moments.read(job.input.moments, job.input.moments_details)
        with xarray.open_datatree(job.input.posterior) as tree:
            found = criticise(moments, terms.fixed, terms.blocks, tree, settings)
    found.write(**dict(job.output.items()))


run(main, snakemake)  # noqa: F821
