"""Models of the same rows: models.csv, tests.csv, models.json."""

from running.frame import run


def main(job) -> None:
    from lmm.comparison.models import Comparison
    from lmm.core.store import read_json, write_json, write_table
    from lmm.data.rows import read_terms
    from lmm.moments.several import read_any

    settings, data = job.params.settings, read_json(job.input.data)
    moments = read_any(job.input.moments, job.input.moments_details, job.input.get("cells"))
    formulas = settings["models"]
    terms = {name: read_terms(job.input.design, formula) for name, formula in formulas.items()}
    compared = Comparison(moments, formulas, terms)
    elpd, said = None, []
    if settings["bayes"]:
        from lmm.engines.pymc.models import sampled

        elpd, said = sampled(moments, terms, settings["bayes"], job.threads)
    write_table(job.output.models, compared.criteria(elpd))
    write_table(job.output.tests, compared.tests(settings["bootstrap"], settings["seed"]))
    about = {"rows": moments.n_rows, "dropped": data["dropped"]["rows"], "notes": [*compared.notes(), *said]}
    write_json(job.output.details, about)


run(main, snakemake)  # noqa: F821
