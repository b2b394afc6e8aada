"""Every figure of a study with replicates: <name>.svg, and figures.json with titles, captions, alternative texts."""

from running.frame import run


def main(job) -> None:
    from lmm.report import figures
    from lmm.report.figures import replicated

    drawn = replicated.draw(job.wildcards.study, job.params.settings, dict(job.input.items()))
    figures.write(drawn, job.output.figures)


run(main, snakemake)  # noqa: F821
