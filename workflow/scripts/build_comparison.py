"""Engines against the truth and each other: variance_recovery, variance_explained, ranef_differences."""

from running.frame import run, truth_of


def main(job) -> None:
    from lmm.comparison import engines, no_pooling
    from lmm.core.store import write_table
    from lmm.core.tidy import Fit
    from lmm.data.rows import read_terms
    from lmm.inference import variance_explained
    from lmm.moments.moments import Moments

    settings, truth = job.params.settings, truth_of(job)
    terms = read_terms(job.input.design, settings["formula"])
    moments = Moments.read(job.input.moments, job.input.moments_details)
    fits = {}
    for engine in settings["engines"]:
        kinds = ("parameters", "diagnostics", "ranef")
        fits[engine] = Fit.read(*(job.input.get(f"{engine}_{kind}") for kind in kinds))
    mean_zz, cov_fixed = moments.mean_zz(terms.random), moments.cov_fixed(terms.fixed)
    explained = variance_explained.table(
        fits, truth, terms.fixed, terms.random, mean_zz, cov_fixed, terms.group
    )
    own_lines = no_pooling.group_lines_from_moments(terms.random, moments)
    write_table(job.output.variance_explained, explained)
    write_table(job.output.variance_recovery, engines.variance_recovery(fits, truth, explained))
    write_table(job.output.ranef_differences, engines.ranef_differences(fits, own_lines))


run(main, snakemake)  # noqa: F821
