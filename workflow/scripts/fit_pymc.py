"""The posterior by PyMC: parameters.csv, ranef.parquet, diagnostics.json, posterior.nc."""

from running.frame import run, truth_of


def main(job) -> None:
    from lmm import bayes
    from lmm.moments import Moments
    from lmm.rows import read_rows, read_terms

    settings = job.params.settings
    terms = read_terms(job.input.design, settings["formula"])
    moments = Moments.read(job.input.moments, job.input.moments_details)
    if settings["model"] == "full":
        from lmm.bayes_full import fit_full

        rows = read_rows(job.input, job.input.design, settings["formula"])
        fit, posterior = fit_full(rows, moments, settings, truth_of(job), job.threads)
    else:
        fit, posterior = bayes.fit(moments, terms.fixed, terms.blocks, settings, truth_of(job), job.threads)
    fit.noting(terms.dropped).write(job.output.parameters, job.output.diagnostics, job.output.ranef)
    bayes.write(job.output.posterior, posterior)


run(main, snakemake)  # noqa: F821
