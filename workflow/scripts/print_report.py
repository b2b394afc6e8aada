"""The report on paper: report.pdf, through a headless Chromium."""

from running.frame import run


def main(job) -> None:
    from lmm.report import printing

    printing.pdf(job.input.page, job.output.pdf)


run(main, snakemake)  # noqa: F821
