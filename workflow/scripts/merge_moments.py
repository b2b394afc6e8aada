"""Moments of all of a study's parts: moments.parquet, moments.json, design.json."""

from running.frame import moment_files, run


def main(job) -> None:
    from lmm import gather
    from lmm.rows import write_designs
    from lmm.store import read_json

    data = read_json(job.input.data)
    _, own = gather.designs(job.params.settings["formulas"], data, None)
    names = ("tables", "cells", "details") if job.input.get("cells") else ("tables", "details")
    parts = list(zip(*(job.input[name] for name in names), strict=True))
    gather.merged(parts, own, data).write(*moment_files(job.output))
    write_designs(job.output.design, own)


run(main, snakemake)  # noqa: F821
