"""What an engine's fit reads and writes, and what is read of it: named files, made of the catalogue."""


def estimated(wildcards):
    """What effects take beside moments: what every engine's fit says of the fixed effects."""
    base = f"results/{wildcards.study}"
    found = {"functions": f"{base}/effects/functions.json"}
    for name in studies[wildcards.study]["engines"]:
        files = engines.row(name).files
        wanted = {
            engines.EXACT: ("effects",),
            engines.LIKELIHOOD: ("parameters", "diagnostics"),
            engines.BAYES: ("posterior",),
        }
        for kind in wanted.get(engines.row(name).family, ()):
            found[f"{name}_{kind}"] = f"{base}/{name}/{files[kind]}"
    return found


def fitted_from(engine):
    """What an engine's fit reads: moments, the rows where it needs them, and where it starts."""

    def inputs(wildcards):
        study = studies[wildcards.study]
        found = moments(wildcards)
        # what is to be estimated of a fit is looked at before any fit, which does not depend on it
        found["asked"] = ancient(f"results/{wildcards.study}/effects/functions.json")
        if engine.name in study["reads_rows"]:
            found |= rows(wildcards)
        if engine.name in study["starts"]:
            exact = engines.first(study["engines"], engines.EXACT)
            base = f"results/{wildcards.study}/{exact}"
            found |= {
                f"start_{name}": f"{base}/{file}"
                for name, file in engines.row(exact).files.items()
            }
        return found

    return inputs


def written_by(engine):
    """What an engine's fit writes: tables and posterior are never empty."""
    found = {
        name: f"results/{{study}}/{engine.name}/{file}"
        for name, file in engine.files.items()
    }
    full = {name for name in ("parameters", "posterior") if name in found}
    return found | {name: ensure(found[name], non_empty=True) for name in full}


def cores_of(engine):
    """Chains sampled at a time, of an engine that has chains."""
    if "draws" not in engine.yields:
        return 1
    return lambda wildcards: studies[wildcards.study]["chains_at_a_time"]
