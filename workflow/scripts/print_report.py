"""The report on paper: report.pdf, through a headless Chromium."""

from script_io import run


def main(job) -> None:
    from lmm import printing

    printing.pdf(job.input.page, job.output.pdf)


run(main, snakemake)  # noqa: F821
