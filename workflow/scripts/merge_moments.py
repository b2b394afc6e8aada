"""Moments of all of a study's parts: moments.parquet, moments.json, design.json."""

from running.frame import moment_files, run


def main(job) -> None:
    from lmm.core.store import read_json
    from lmm.core.tidy import rank_deficient
    from lmm.data.rows import write_designs
    from lmm.inference import estimable
    from lmm.moments import stage

    data, settings = read_json(job.input.data), job.params.settings
    _, own = stage.designs(settings["formulas"], data, None)
    names = ("tables", "cells", "details") if job.input.get("cells") else ("tables", "details")
    parts = list(zip(*(job.input[name] for name in names), strict=True))
    found, own = stage.merged(parts, own, data, settings["rank_deficient"])
    estimable.check(found, own, stage.place(data))
    for said in estimable.remarks(found, own[0].terms):
        print(f"warning: {said}")
    if dropped := own[0].terms.dropped:
        print(rank_deficient(dropped))
    found.write(*moment_files(job.output))
    write_designs(job.output.design, own)


run(main, snakemake)  # noqa: F821
