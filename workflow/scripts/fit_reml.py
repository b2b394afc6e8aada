"""REML from moments: parameters.csv, tests.csv, ranef.parquet, diagnostics.json."""

from running.frame import run, truth_of


def main(job) -> None:
    from lmm.core.store import read_json, write_table
    from lmm.data.rows import read_terms
    from lmm.engines import reml
    from lmm.likelihood.problem import problem_of
    from lmm.model.design import rebuild
    from lmm.moments.moments import Moments

    settings = job.params.settings
    terms = read_terms(job.input.design, settings["formula"])
    moments = Moments.read(job.input.moments, job.input.moments_details)
    model, ml = (terms.fixed, terms.blocks), settings["method"] == "ml"
    fit, best = reml.fit(
        moments, *model, settings["conf_level"], truth_of(job), settings["profile"], df=settings["df"], ml=ml
    )
    fit.write(job.output.parameters, job.output.diagnostics, job.output.ranef)
    design = rebuild(read_json(job.input.design)[" ".join(settings["formula"].split())]["state"])
    write_table(job.output.tests, reml.f_tests(problem_of(moments, *model, ml), best, design, settings["df"]))


run(main, snakemake)  # noqa: F821
