"""The page on a study or on all of them, and its verdicts for machines: report.html, summary.json."""

from pathlib import Path

from running.frame import run


def main(job) -> None:
    from lmm.report import provenance as report_provenance
    from lmm.report import report

    studies, results = job.params.studies, Path("results")
    # Read now and not given as a parameter: a commit is no reason to run anything again.
    provenance = report_provenance.collect(Path(__file__).parents[2], results, studies)
    page = report.render(studies, dict(job.input.items()), job.params.settings, provenance)
    report.write(page, job.output.page, job.output.summary, job.output.get("tables"))


run(main, snakemake)  # noqa: F821
