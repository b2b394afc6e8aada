"""Means, slopes and contrasts of every engine: effects.csv."""

from running.frame import run


def main(job) -> None:
    from lmm.comparison import effects
    from lmm.core.store import read_json, write_table
    from lmm.core.tidy import Fit
    from lmm.data.rows import read_terms
    from lmm.engines.pymc.draws import fixed_draws
    from lmm.inference.effects import Functions
    from lmm.moments.moments import Moments

    settings = job.params.settings
    groups = [Functions.from_plain(value) for value in read_json(job.input.functions)["functions"]]
    moments = Moments.read(job.input.moments, job.input.moments_details)
    fitted = {}
    for engine, own in settings["engines"].items():
        terms = read_terms(job.input.design, own["formula"])
        if engine == "ols":
            fitted[engine] = effects.of_ols(moments, terms)
        elif engine == "reml":
            fitted[engine] = effects.of_reml(moments, terms, own)
        elif engine == "mixedlm":
            fit = Fit.read(job.input.mixedlm_parameters, job.input.mixedlm_diagnostics)
            found = effects.of_mixedlm(fit, own["df"], moments, terms)
            fitted |= {} if found is None else {engine: found}
        else:
            fitted[engine] = fixed_draws(job.input.posterior, terms.fixed)
    write_table(job.output.table, effects.table(groups, fitted, settings["conf_level"]))


run(main, snakemake)  # noqa: F821
