"""Moments of all of a study's parts: moments.parquet, moments.json, design.json."""

from running.frame import moment_files, run


def main(job) -> None:
    from lmm.core.store import read_json
    from lmm.data.rows import write_designs
    from lmm.moments import stage

    data = read_json(job.input.data)
    _, own = stage.designs(job.params.settings["formulas"], data, None)
    names = ("tables", "cells", "details") if job.input.get("cells") else ("tables", "details")
    parts = list(zip(*(job.input[name] for name in names), strict=True))
    stage.merged(parts, own, data).write(*moment_files(job.output))
    write_designs(job.output.design, own)


run(main, snakemake)  # noqa: F821
