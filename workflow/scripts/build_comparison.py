"""Engines against the truth and each other: variance_recovery, variance_explained, ranef_differences."""

from running.frame import run, truth_of


def main(job) -> None:
    from lmm import comparison, lines, variance
    from lmm.moments import Moments
    from lmm.rows import read_terms
    from lmm.store import write_table
    from lmm.tidy import Fit

    settings, truth = job.params.settings, truth_of(job)
    terms = read_terms(job.input.design, settings["formula"])
    moments = Moments.read(job.input.moments, job.input.moments_details)
    fits = {}
    for engine in settings["engines"]:
        kinds = ("parameters", "diagnostics", "ranef")
        fits[engine] = Fit.read(*(job.input.get(f"{engine}_{kind}") for kind in kinds))
    mean_zz, cov_fixed = moments.mean_zz(terms.random), moments.cov_fixed(terms.fixed)
    explained = variance.table(fits, truth, terms.fixed, terms.random, mean_zz, cov_fixed)
    own_lines = lines.group_lines_from_moments(terms.random, moments)
    write_table(job.output.variance_explained, explained)
    write_table(job.output.variance_recovery, comparison.variance_recovery(fits, truth, explained))
    write_table(job.output.ranef_differences, comparison.ranef_differences(fits, own_lines))


run(main, snakemake)  # noqa: F821
