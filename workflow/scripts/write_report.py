"""The page on all studies and its verdicts for machines: report.html, summary.json."""

from script_io import run


def main(job) -> None:
    from lmm import report


run(main, snakemake)  # noqa: F821
