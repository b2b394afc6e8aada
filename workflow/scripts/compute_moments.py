"""Sufficient statistics by group, and every formula's design: moments.parquet, moments.json, design.json."""

from script_io import run


def main(job) -> None:
    from lmm import accumulate, ingest, pilot
    from lmm.design import build
    from lmm.formula import parse
    from lmm.rows import together, write_designs
    from lmm.store import read_json, read_table

    data = read_json(job.input.data)
    texts = job.params.settings["formulas"]
    rows = read_table(job.input.rows) if job.input.get("rows") else None
    levels = {name: column["levels"] for name, column in data["columns"].items() if "levels" in column}
    schema = data["columns"] if rows is None else rows
    design = build(together(texts), schema, levels)
    whole = accumulate.keeps_whole(data["groups"], len(design.terms.columns))
    if rows is None:
        source = ingest.reopen(data)
        basis = pilot.basis_of(source, design, data["columns"])
        memory = job.resources.mem_mb // 2
        found = accumulate.accumulate(source, design, basis, whole, job.threads, memory)
    else:
        codes, groups = accumulate.encode(rows[data["group"]])
        found = accumulate.compute(design.terms, *pilot.finite_matrix(design, rows), codes, groups, whole)
    found.write(job.output.table, job.output.details)
    write_designs(job.output.design, [build(parse(text), schema, levels) for text in texts])


run(main, snakemake)  # noqa: F821
