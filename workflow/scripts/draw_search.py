"""The figures of a study with a search: <name>.svg, and figures.json with titles, captions, alternative texts."""

from running.frame import run


def main(job) -> None:
    from lmm.report import figures
    from lmm.report.figures import searched

    drawn = searched.draw(job.wildcards.study, job.params.settings, dict(job.input.items()))
    figures.write(drawn, job.output.figures)


run(main, snakemake)  # noqa: F821
