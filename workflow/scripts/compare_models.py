"""Models of the same rows: models.csv, tests.csv, models.json."""

from running.frame import run


def main(job) -> None:
    from lmm.comparison.models import Comparison
    from lmm.core.store import read_json, write_json, write_table
    from lmm.data.rows import read_terms
    from lmm.moments.moments import Moments

    settings, data = job.params.settings, read_json(job.input.data)
    moments = Moments.read(job.input.moments, job.input.moments_details)
    formulas = settings["models"]
    terms = {name: read_terms(job.input.design, formula) for name, formula in formulas.items()}
    compared = Comparison(moments, formulas, terms)
    write_table(job.output.models, compared.criteria())
    write_table(job.output.tests, compared.tests(settings["bootstrap"], settings["seed"]))
    about = {"rows": moments.n_rows, "dropped": data["dropped"]["rows"], "notes": compared.notes()}
    write_json(job.output.details, about)


run(main, snakemake)  # noqa: F821
