"""Means, slopes and contrasts of every engine: effects.csv."""

from running.frame import run


def main(job) -> None:
    from lmm.comparison import effects
    from lmm.core import engines
    from lmm.core.store import read_json, write_table
    from lmm.core.tidy import Fit
    from lmm.data.rows import read_terms
    from lmm.engines.pymc.draws import fixed_draws
    from lmm.inference.fixed_effects import FixedEffects
    from lmm.inference.functions import Functions
    from lmm.moments.several import read_any

    settings = job.params.settings
    groups = [Functions.from_plain(value) for value in read_json(job.input.functions)["functions"]]
    moments = read_any(job.input.moments, job.input.moments_details, job.input.get("cells"))
    fitted = {}
    for name, own in settings["engines"].items():
        terms, family = read_terms(job.input.design, own["formula"]), engines.row(name).family
        if family == engines.POOLED:
            found = effects.of_pooled(moments, terms)
        elif family == engines.EXACT:
            found = FixedEffects.from_plain(read_json(job.input[f"{name}_effects"]))
        elif family == engines.BAYES:
            found = fixed_draws(job.input[f"{name}_posterior"], terms.fixed)
        else:
            fit = Fit.read(job.input[f"{name}_parameters"], job.input[f"{name}_diagnostics"])
            exact = None
            if own["exact"]:
                exact = FixedEffects.from_plain(read_json(job.input[f"{own['exact']}_effects"]))
            found = effects.of_likelihood(fit, exact, moments, terms)
        if found is not None:
            fitted[name] = found
    write_table(job.output.table, effects.table(groups, fitted, settings["conf_level"]))


run(main, snakemake)  # noqa: F821
