"""Ordinary least squares: parameters.csv, diagnostics.json."""

from running.frame import run, truth_of

# Beyond this many rows the sums say the same as the rows do, and only the residuals' quantiles are lost.
ROWS_LIMIT = 1_000_000


def main(job) -> None:
    from lmm import ols
    from lmm.moments import Moments
    from lmm.rows import read_rows, read_terms

    settings = job.params.settings
    moments = Moments.read(job.input.moments, job.input.moments_details)
    common = {"moments": moments, "conf_level": settings["conf_level"], "truth": truth_of(job)}
    terms = read_terms(job.input.design, settings["formula"])
    fixed = terms.fixed
    if moments.n_rows <= ROWS_LIMIT:
        rows = read_rows(job.input, job.input.design, settings["formula"])
        fit = ols.fit(fixed, rows.y, rows.columns(fixed), **common)
    else:
        fit = ols.fit(fixed, **common)
    fit.noting(terms.dropped).write(job.output.parameters, job.output.diagnostics)


run(main, snakemake)  # noqa: F821
