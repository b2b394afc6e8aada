"""Check the rows that a user wants predicted, before any fit, and copy them: new_rows.parquet."""

from running.frame import run


def main(job) -> None:
    from lmm.core.store import read_json, write_table
    from lmm.prediction import new_rows

    data, formulas = read_json(job.input.data), job.params.settings["formulas"]
    write_table(job.output.rows, new_rows.checked(job.input.predict, formulas, data, job.input.get("rows")))


run(main, snakemake)  # noqa: F821
