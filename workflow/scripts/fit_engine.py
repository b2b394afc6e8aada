"""One engine's fit of a study: parameters.csv, diagnostics.json, ranef.parquet and what else its row lists."""

from running.frame import run, truth_of


def main(job) -> None:
    from functools import partial

    from lmm.core import engines
    from lmm.core.tidy import Fit
    from lmm.data.rows import read_design, read_rows, read_terms
    from lmm.engines.base import Task
    from lmm.inference.estimable import remarks
    from lmm.moments.several import read_any

    settings, engine = job.params.settings, engines.row(job.params.engine)
    terms = read_terms(job.input.design, settings["formula"])
    start = None
    if job.input.get("start_parameters"):
        start = Fit.read(job.input.start_parameters, job.input.start_diagnostics, job.input.start_ranef)
    task = Task(
        moments=read_any(job.input.moments, job.input.moments_details, job.input.get("cells")),
        design=partial(read_design, job.input.design, settings["formula"]),
        rows=partial(read_rows, job.input, job.input.design, settings["formula"]),
        truth=truth_of(job),
        start=start,
        cores=job.threads,
    )
    found = engine.load().Fitter(settings, terms).fit(task)
    said = remarks(task.moments, terms) if "ranef" in engine.yields else []
    found.fit.noting(terms.dropped, said).write(
        job.output.parameters, job.output.diagnostics, job.output.get("ranef")
    )
    for name, write in found.artifacts.items():
        write(job.output[name])


run(main, snakemake)  # noqa: F821
