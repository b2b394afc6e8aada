"""Predictions of the fitted rows and of rows that the user wants predicted: predictions.parquet, predictions.json."""

from running.frame import run


def main(job) -> None:
    import pandas as pd

    from lmm.core.store import read_json, read_table, write_json, write_table
    from lmm.core.tidy import OWN_ROWS
    from lmm.moments.several import read_any
    from lmm.prediction import stage

    data, designs = read_json(job.input.data), read_json(job.input.design)
    frames = {}
    if job.input.get("rows") and data["rows"] <= OWN_ROWS:
        frames["data"] = read_table(job.input.rows)
    if job.input.get("predict"):
        frames["predict"] = read_table(job.input.predict)
    rows = pd.concat(frames, names=["source", "row"]) if frames else None
    moments = read_any(job.input.moments, job.input.moments_details, job.input.get("cells"))
    table, details = stage.by_all(dict(job.input.items()), designs, moments, rows, job.params.settings)
    if lost := details["not_estimable"]:
        print(
            f"{lost} rows have a combination of predictors whose mean these data cannot tell (estimable is false)"
        )
    write_table(job.output.table, table)
    write_json(job.output.details, details)


run(main, snakemake)  # noqa: F821
