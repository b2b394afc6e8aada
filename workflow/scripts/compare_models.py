"""Models of the same rows: models.csv, tests.csv, models.json."""

from running.frame import run


def main(job) -> None:
    from lmm.comparison.models import Comparison, criteria, tests
    from lmm.comparison.responses import by_response, transformed
    from lmm.core.store import read_json, read_table, write_json, write_table
    from lmm.data.rows import from_sources, read_rows, read_terms
    from lmm.moments.several import read_any

    settings, data = job.params.settings, read_json(job.input.data)
    moments = read_any(job.input.moments, job.input.moments_details, job.input.get("cells"))
    own, others = by_response(settings["models"], settings["response"])
    terms = {name: read_terms(job.input.design, formula) for name, formula in own.items()}
    compared = Comparison(moments, own, terms)
    elpd, said = None, []
    if settings["bayes"] and own:
        from lmm.criticism.elpd import sampled

        def read(name: str):
            return read_rows(job.input, job.input.design, own[name])

        elpd, said = sampled(moments, terms, settings["bayes"], read, job.threads)
    every = [compared]
    if others:
        rows = read_table(job.input.rows) if job.input.get("rows") else from_sources(job.input.data)
        every += [transformed(formulas, data, rows, settings["rank_deficient"]) for formulas in others]
    table = criteria(every, elpd)
    table["formula"] = table["model"].map(settings["written"]).fillna(table["formula"])
    write_table(job.output.models, table.set_index("model").loc[list(settings["models"])].reset_index())
    write_table(job.output.tests, tests(every, settings["bootstrap"], settings["seed"]))
    said += [note for one in every for note in one.notes()]
    about = {"rows": moments.n_rows, "dropped": data["dropped"]["rows"], "notes": said}
    write_json(job.output.details, about)


run(main, snakemake)  # noqa: F821
