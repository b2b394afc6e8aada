"""Engines against the truth and each other: variance_recovery, variance_explained, ranef_differences."""

from running.frame import run, truth_of


def main(job) -> None:
    from lmm.comparison import engines, no_pooling
    from lmm.core.store import write_table
    from lmm.core.tidy import Fit
    from lmm.data.rows import read_terms
    from lmm.inference import variance_explained
    from lmm.moments.several import by_factor, read_any

    settings, truth = job.params.settings, truth_of(job)
    terms = read_terms(job.input.design, settings["formula"])
    moments = read_any(job.input.moments, job.input.moments_details, job.input.get("cells"))
    fits = {}
    for engine in settings["engines"]:
        kinds = ("parameters", "diagnostics", "ranef")
        fits[engine] = Fit.read(*(job.input.get(f"{engine}_{kind}") for kind in kinds))
    factors, cov_fixed = variance_explained.components(terms, moments), moments.cov_fixed(terms.fixed)
    explained = variance_explained.table(fits, truth, terms.fixed, factors, cov_fixed)
    main = engines.lead(fits)
    own = {
        grouping.group: no_pooling.own_effects(
            by_factor(moments)[grouping.group], grouping.random, fits[main].fixed
        )
        for grouping in terms.groupings
        if main is not None
    }
    write_table(job.output.variance_explained, explained)
    write_table(job.output.variance_recovery, engines.variance_recovery(fits, truth, explained))
    write_table(job.output.ranef_differences, engines.ranef_differences(fits, own))


run(main, snakemake)  # noqa: F821
