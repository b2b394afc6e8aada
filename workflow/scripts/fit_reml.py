"""REML from moments: parameters.csv, ranef.parquet, diagnostics.json."""

from running.frame import run, truth_of


def main(job) -> None:
    from lmm import reml
    from lmm.moments import Moments
    from lmm.rows import read_terms

    settings = job.params.settings
    terms = read_terms(job.input.design, settings["formula"])
    moments = Moments.read(job.input.moments, job.input.moments_details)
    level, profile = settings["conf_level"], settings["profile"]
    fit, _ = reml.fit(moments, terms.fixed, terms.blocks, level, truth_of(job), profile)
    fit.noting(terms.dropped).write(job.output.parameters, job.output.diagnostics, job.output.ranef)


run(main, snakemake)  # noqa: F821
