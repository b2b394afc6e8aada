"""statsmodels' MixedLM: parameters.csv, ranef.parquet, coef.parquet, diagnostics.json."""

from running.frame import run, truth_of


def main(job) -> None:
    from lmm import mixedlm, reml
    from lmm.moments import Moments
    from lmm.ranef import coef
    from lmm.rows import read_rows, read_terms, unread
    from lmm.store import write_table
    from lmm.tidy import Fit

    settings = job.params.settings
    terms = read_terms(job.input.design, settings["formula"])
    moments = Moments.read(job.input.moments, job.input.moments_details)
    limits = {name: settings[name] for name in ("max_rows", "max_groups")}
    if moments.n_rows > limits["max_rows"] or moments.n_groups > limits["max_groups"]:
        rows, start = unread(terms, moments), None
    else:
        rows = read_rows(job.input, job.input.design, settings["formula"])
        if job.input.get("reml_parameters"):
            start = Fit.read(job.input.reml_parameters, job.input.reml_diagnostics, job.input.reml_ranef)
        else:
            start, _ = reml.fit(moments, terms.fixed, terms.blocks, settings["conf_level"])
    fit = mixedlm.fit(
        terms, rows.y, rows.W, rows.codes, rows.levels, reml=start,
        conf_level=settings["conf_level"], truth=truth_of(job), **limits,
    )  # fmt: skip
    fit = fit.noting(terms.dropped)
    fit.write(job.output.parameters, job.output.diagnostics, job.output.ranef)
    write_table(job.output.coef, coef(fit.parameters, fit.ranef))


run(main, snakemake)  # noqa: F821
