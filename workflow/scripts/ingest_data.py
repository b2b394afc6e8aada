"""Check a user's rows, and copy them where they are few enough: data.json, data.parquet."""

from running.frame import run


def main(job) -> None:
    from lmm.core.store import write_json
    from lmm.data import ingest
    from lmm.data.dialect import Reading
    from lmm.model.formula import together

    formula = together(job.params.settings["formulas"])
    drop, stated = job.params.settings["missing"] == "drop", Reading.of(job.params.settings)
    files, columns = list(job.input.sources), formula.variables
    source = ingest.inspect(files, columns, formula.keys, drop, formula.predictors, stated, formula.dates)
    print(*source.notes, sep="\n")
    source, details = ingest.scan(source, formula, job.threads, job.resources.mem_mb // 2)
    copied = bool(job.output.get("rows"))
    if copied:
        ingest.copy(source, job.output.rows, job.resources.mem_mb // 2)
    write_json(job.output.details, details | {"copied": copied})


run(main, snakemake)  # noqa: F821
