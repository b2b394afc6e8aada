"""Every figure of a study: <name>.svg, and figures.json with their titles, captions and alternative texts."""

from running.frame import run


def main(job) -> None:
    from lmm.report import figures

    drawn = figures.draw(job.wildcards.study, job.params.settings, dict(job.input.items()), job.threads)
    figures.write(drawn, job.output.figures)


run(main, snakemake)  # noqa: F821
