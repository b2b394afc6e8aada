"""Which artifacts each stage reads of a study: named inputs, made of its plan."""

from types import SimpleNamespace


def new_rows(wildcards):
    """The file of rows to predict, where there is one."""
    file = studies[wildcards.study]["predict"]
    return {"predict": local(file)} if file else {}


def predicted(wildcards):
    """What predictions take: engines' tables, the rows that were fitted, those of the user's file."""
    base, study = f"results/{wildcards.study}", studies[wildcards.study]
    found = {
        name: path
        for name, path in fits(wildcards).items()
        if not name.startswith("ols_")
    }
    found |= new_rows(wildcards) | {"data": f"{base}/data/data.json"}
    if study["copied"]:
        found["rows"] = f"{base}/data/data.parquet"
    if "pymc" in study["engines"]:
        found["posterior"] = f"{base}/pymc/posterior.nc"
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


def rows_of_full_model(wildcards):
    """The rows, where PyMC samples the full model; the marginal one needs their moments only."""
    stage = studies[wildcards.study]["stages"]["pymc"]
    return rows(wildcards) if stage["model"] == "full" else {}


def moments(wildcards):
    """Moments, the columns of the model matrices, and the truth of a simulated study."""
    base = f"results/{wildcards.study}"
    found = {
        "moments": f"{base}/moments/moments.parquet",
        "moments_details": f"{base}/moments/moments.json",
        "design": f"{base}/moments/design.json",
    }
    return found | truth(wildcards)


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
    return {
        "tables": [f"{name}.parquet" for name in names],
        "details": [f"{name}.json" for name in names],
    }


def part_files(wildcards):
    """The files of one part: the number of the first, and of the one after the last."""
    return studies[wildcards.study]["parts"][int(wildcards.part)]


def optimum(wildcards):
    """reml's fit, where it is of the model that MixedLM fits."""
    base = f"results/{wildcards.study}/reml"
    if not studies[wildcards.study]["reml_is_start"]:
        return {}
    return {
        "reml_parameters": f"{base}/parameters.csv",
        "reml_ranef": f"{base}/ranef.parquet",
        "reml_diagnostics": f"{base}/diagnostics.json",
    }


def fits(wildcards):
    """Tables of all engines of a study."""
    found = {}
    for engine in studies[wildcards.study]["engines"]:
        base = f"results/{wildcards.study}/{engine}"
        found[f"{engine}_parameters"] = f"{base}/parameters.csv"
        found[f"{engine}_diagnostics"] = f"{base}/diagnostics.json"
        if engine != "ols":
            found[f"{engine}_ranef"] = f"{base}/ranef.parquet"
    return found


def everything(wildcards):
    """All that figures and report read of a study, under the names of `lmm.results.read`."""
    study, base = studies[wildcards.study], f"results/{wildcards.study}"
    found = {"data_json": f"{base}/data/data.json"} | fits(wildcards)
    if study["copied"]:
        found["data"] = f"{base}/data/data.parquet"
    found |= truth(wildcards)
    if "mixedlm" in study["engines"]:
        found["mixedlm_coef"] = f"{base}/mixedlm/coef.parquet"
    if "reml" in study["engines"]:
        found["influence"] = f"{base}/reml/influence.parquet"
        found["influence_about"] = f"{base}/reml/influence.json"
    if "pymc" in study["engines"]:
        found["posterior"] = f"{base}/pymc/posterior.nc"
        found["criticism"] = f"{base}/pymc/criticism.json"
        for table in ("loo", "replicates"):
            found[table] = f"{base}/pymc/{table}.parquet"
        for table in ("predictive", "sensitivity"):
            found[table] = f"{base}/pymc/{table}.csv"
    for table in ("variance_recovery", "variance_explained", "ranef_differences"):
        found[table] = f"{base}/comparison/{table}.csv"
    return found


def all_studies(wildcards):
    """`everything` and the figures of every study, its name in front."""
    found = {}
    for name, study in studies.items():
        read = recovered if study["recovery"] else everything
        inputs = read(SimpleNamespace(study=name))
        if study["predicted"] and study["predict"]:
            inputs["predictions"] = f"results/{name}/predictions/predictions.json"
        found |= {f"{name}/{key}": path for key, path in inputs.items()}
        found[f"{name}/figures"] = f"results/{name}/figures"
    return found
