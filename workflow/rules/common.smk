"""What all rules share: the plan, targets, inputs that depend on the study, settings, resources."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

SCRIPTS = Path(
    workflow.current_basedir.join("../scripts").get_path_or_uri(secret_free=True)
).resolve()
sys.path.insert(0, str(SCRIPTS))

import integrity
import plan
import verdicts
import wiring
from lmm.errors import StudyError

# Relative where it can be, so that a project that was moved is not a project that was changed.
LIBRARY = (
    os.path.relpath(SCRIPTS) if SCRIPTS.is_relative_to(Path.cwd()) else str(SCRIPTS)
)

# Half an artifact is no artifact: found before planning, it is made anew. Jobs look at their inputs themselves.
if workflow.is_main_process:
    for line in integrity.mark(Path("results")):
        print(line, file=sys.stderr)


def validated(config):
    """The plan of all studies; a bad configuration ends here, as one line and before any job."""
    try:
        return plan.make(config, Path.cwd())
    except StudyError as error:
        raise SystemExit(str(error)) from None


def targets():
    """What a run makes: the report, its verdicts, and an error where a study wants one of a failed gate."""
    strict = any(study["strict"] for study in studies.values())
    wanted = ["results/report.html", "results/summary.json"]
    wanted += [
        f"results/{name}/predictions/predictions.parquet"
        for name, study in studies.items()
        if study["predicted"]
    ]
    return wanted + ["results/verdict.txt"] * strict


def lib(script):
    """The library's modules that a script uses, as inputs: an edit of one is an edit of what it makes."""
    return [local(f"{LIBRARY}/{module}") for module in wiring.modules(script)]


def templates():
    """What the page is made from: HTML, style sheet, script."""
    return [
        local(os.path.normpath(f"{LIBRARY}/../report/templates/{file.name}"))
        for file in wiring.templates()
    ]


def those(chosen):
    """A constraint on the study's name: those for which `chosen` holds."""
    return "|".join(name for name, study in studies.items() if chosen(study)) or "(?!)"


def settings(stage):
    """A stage's settings, and no others: a change of them reruns it."""
    return lambda wildcards: studies[wildcards.study]["stages"][stage]


def growing(amount):
    """A resource that grows with every attempt."""
    return lambda wildcards, attempt: attempt * amount


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
    return found | (
        {"truth": f"{base}/data/truth.json"}
        if studies[wildcards.study]["simulated"]
        else {}
    )


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
    if study["simulated"]:
        found["truth"] = f"{base}/data/truth.json"
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
        found |= {f"{name}/{key}": path for key, path in inputs.items()}
        found[f"{name}/figures"] = f"results/{name}/figures"
    return found


def judged(wildcards):
    """Diagnostics of every engine of the studies for which a bad fit is an error."""
    return {
        f"{name}/{engine}": f"results/{name}/{engine}/diagnostics.json"
        for name, study in studies.items()
        for engine in study["engines"]
        if study["strict"]
    }


def stop_if_unwritable():
    """Before the first job: places where nothing can be written, in one line each."""
    if found := integrity.unwritable(Path("results"), studies):
        raise SystemExit("\n".join(found))


def closing_lines():
    """The last words of a run: fits that did not end well, and where the report is."""
    fits = [
        (name, engine, f"results/{name}/{engine}/diagnostics.json")
        for name, study in studies.items()
        for engine in study["engines"]
    ]
    made = [fit for fit in fits if Path(fit[2]).exists()]
    lines = [
        f"{study} {engine}: {what}" for study, engine, what in verdicts.problems(made)
    ]
    page = Path("results/report.html")
    return "\n".join(lines + [f"Report: {page}"] * page.exists())
