"""Sufficient statistics by group (of some of the files where a study has parts) and every formula's design."""

from running.frame import moment_files, run


def main(job) -> None:
    from lmm.core.store import read_json, read_table
    from lmm.core.tidy import rank_deficient
    from lmm.data.rows import write_designs
    from lmm.inference import estimable
    from lmm.moments import stage

    data, settings = read_json(job.input.data), job.params.settings
    rows = read_table(job.input.rows) if job.input.get("rows") else None
    design, own = stage.designs(settings["formulas"], data, rows)
    if rows is not None:
        found = stage.of_rows(design, rows, data)
    else:
        memory, span = job.resources.mem_mb // 2, job.params.get("files")
        found = stage.of_sources(design, data, span, job.threads, memory)
    if job.output.get("design"):
        own = stage.checked(found, own, data, settings["rank_deficient"])
        estimable.check(found, own, stage.place(data))
        for said in estimable.remarks(found, own[0].terms):
            print(f"warning: {said}")
        if dropped := own[0].terms.dropped:
            print(rank_deficient(dropped))
        write_designs(job.output.design, own)
    found.write(*moment_files(job.output))


run(main, snakemake)  # noqa: F821
