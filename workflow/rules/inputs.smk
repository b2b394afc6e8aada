"""Which artifacts each stage reads of a study: named inputs, made of its plan."""


def predicted(wildcards):
    """What predictions take: engines' tables, the rows that were fitted, those of the user's file."""
    base, study = f"results/{wildcards.study}", studies[wildcards.study]
    mixed = {f"{name}_ranef" for name in engines.mixed(study["engines"])}
    found = {
        name: path
        for name, path in fits(wildcards).items()
        if f"{name.rpartition('_')[0]}_ranef" in mixed
    }
    found["data"] = f"{base}/data/data.json"
    if study["predict"]:
        found["predict"] = f"{base}/predictions/new_rows.parquet"
    if study["copied"]:
        found["rows"] = f"{base}/data/data.parquet"
    if bayes := engines.first(study["engines"], engines.BAYES):
        found["posterior"] = f"{base}/{bayes}/posterior.nc"
    return found


def sources(wildcards):
    """The user's files."""
    return [local(file) for file in studies[wildcards.study]["files"]]


def rows(wildcards):
    """What is said of the rows, and the rows: the study's copy, or the user's files where these are large."""
    base = f"results/{wildcards.study}/data"
    found = {"data": f"{base}/data.json"}
    if studies[wildcards.study]["copied"]:
        return found | {"rows": f"{base}/data.parquet"}
    return found | {"sources": sources(wildcards)}


def moments(wildcards):
    """Moments, the columns of the model matrices, and the truth of a simulated study."""
    base = f"results/{wildcards.study}"
    found = {
        "moments": f"{base}/moments/moments.parquet",
        "moments_details": f"{base}/moments/moments.json",
        "design": f"{base}/moments/design.json",
    }
    if studies[wildcards.study]["several"]:
        found["cells"] = f"{base}/moments/cells.parquet"
    return found | truth(wildcards)


def criticised(wildcards):
    """What influence and criticism of a posterior need: moments, and rows of several factors or with weights."""
    study = studies[wildcards.study]
    by_rows = study["several"] or study["weighted"]
    return moments(wildcards) | (rows(wildcards) if by_rows else {})


def model_moments(wildcards):
    """Moments with the columns of all models that are compared, and the number of rows left out."""
    base = f"results/{wildcards.study}"
    found = {
        "data": f"{base}/data/data.json",
        "moments": f"{base}/models/moments.parquet",
        "moments_details": f"{base}/models/moments.json",
        "design": f"{base}/models/design.json",
    }
    several = studies[wildcards.study]["models"] == "several"
    if several:
        found["cells"] = f"{base}/models/cells.parquet"
    # elpd of several factors or with weights is from rows; each response has moments of its own
    sampled = studies[wildcards.study]["stages"]["models"]["bayes"]
    by_rows = several or studies[wildcards.study]["weighted"]
    if (by_rows and sampled) or studies[wildcards.study]["responses"] > 1:
        found |= rows(wildcards)
    return found


def truth(wildcards):
    """What the data were simulated from, where that is known."""
    study = studies[wildcards.study]
    if study["simulated"]:
        return {"truth": f"results/{wildcards.study}/data/truth.json"}
    return {"truth": local(study["truth"])} if study["truth"] else {}


def moments_parts(wildcards):
    """Moments of each part of a study's files."""
    names = [
        f"results/{wildcards.study}/moments/part-{part}"
        for part in range(len(studies[wildcards.study]["parts"]))
    ]
    found = {
        "tables": [f"{name}.parquet" for name in names],
        "details": [f"{name}.json" for name in names],
    }
    if studies[wildcards.study]["several"]:
        found["cells"] = [f"{name}-cells.parquet" for name in names]
    return found


def part_files(wildcards):
    """The files of one part: the number of the first, and of the one after the last."""
    return studies[wildcards.study]["parts"][int(wildcards.part)]


def fits(wildcards):
    """Tables of all engines of a study."""
    found = {}
    for name in studies[wildcards.study]["engines"]:
        files = engines.row(name).files
        for kind in ("parameters", "diagnostics", "ranef"):
            if kind in files:
                found[f"{name}_{kind}"] = (
                    f"results/{wildcards.study}/{name}/{files[kind]}"
                )
    return found


def everything(wildcards):
    """All that figures and report read of a study, under the names of `lmm.results.study.read`."""
    study, base = studies[wildcards.study], f"results/{wildcards.study}"
    found = {"data_json": f"{base}/data/data.json"} | fits(wildcards)
    if study["copied"]:
        found["data"] = f"{base}/data/data.parquet"
    found |= truth(wildcards)
    for name in study["engines"]:
        if "coef" in engines.row(name).artifacts:
            found["coef"] = f"{base}/{name}/coef.parquet"
    if exact := engines.first(study["engines"], engines.EXACT):
        found["tests"] = f"{base}/{exact}/{engines.row(exact).files['tests']}"
        found["fixed_effects"] = f"{base}/{exact}/{engines.row(exact).files['effects']}"
        found["influence"] = f"{base}/{exact}/influence.parquet"
        found["influence_about"] = f"{base}/{exact}/influence.json"
    if bayes := engines.first(study["engines"], engines.BAYES):
        found["posterior"] = f"{base}/{bayes}/posterior.nc"
        found["criticism"] = f"{base}/{bayes}/criticism.json"
        for table in ("loo", "replicates"):
            found[table] = f"{base}/{bayes}/{table}.parquet"
        for table in ("predictive", "sensitivity"):
            found[table] = f"{base}/{bayes}/{table}.csv"
    for table in ("variance_recovery", "variance_explained", "ranef_differences"):
        found[table] = f"{base}/comparison/{table}.csv"
    found["effects"] = f"{base}/effects/effects.csv"
    if study["models"]:
        found["models"] = f"{base}/models/models.csv"
        found["model_tests"] = f"{base}/models/tests.csv"
        found["models_about"] = f"{base}/models/models.json"
    return found
