"""What a run makes, what its pages are made from, and how it ends."""

from types import SimpleNamespace

from running import verdicts

# `make report`: pages of the studies that are finished, made again, and nothing else.
ONLY_RENDER = "LMM_RECOVERY_RENDER" in os.environ
PAGE = {"page": "report.html", "summary": "summary.json"}


def targets():
    """What a run makes: the report, its verdicts, and an error where a study wants one of a failed gate."""
    strict = any(study["strict"] for study in reported().values())
    pages = [f"results/{name}" for name in reported()] + ["results"] * bool(reported())
    wanted = [f"{place}/{file}" for place in pages for file in PAGE.values()]
    if ONLY_RENDER:
        return wanted
    wanted += [
        f"results/{name}/predictions/predictions.parquet"
        for name, study in studies.items()
        if study["predicted"]
    ]
    for name, study in studies.items():
        base = f"results/{name}"
        wanted += [f"{base}/effects/effects.csv"] * fitted_once(study)
        wanted += [
            f"{base}/models/{table}.csv" for table in ("models", "tests")
        ] * bool(study["models"])
    return wanted + ["results/verdict.txt"] * strict


def fitted_once(study):
    """Is it about one data set, and not about replicates?"""
    return study["recovery"] is None and study["search"] is None


def reported():
    """Studies that the report is about: of a report that is only rendered, those that are finished."""
    return {
        name: study
        for name, study in studies.items()
        if not ONLY_RENDER or finished(name)
    }


def finished(name):
    """Is there all that a study's page is made from?"""
    paths = shown(SimpleNamespace(study=name)).values()
    return all(os.path.exists(path) for path in paths)


def shown(wildcards):
    """All that a study's page is made from, its name in front: its tables and figures."""
    name, study = wildcards.study, studies[wildcards.study]
    kind = (
        recovered if study["recovery"] else searched if study["search"] else everything
    )
    inputs = kind(wildcards)
    if study["recovery"]:
        inputs["plan"] = f"results/{name}/recovery/plan.json"
    if study["predicted"] and study["predict"]:
        inputs["predictions"] = f"results/{name}/predictions/predictions.json"
    inputs["figures"] = f"results/{name}/figures"
    return {f"{name}/{key}": path for key, path in inputs.items()}


def all_studies(wildcards):
    """What the page of all studies is made from; of a single study, the page that it has already."""
    names = list(reported())
    if len(names) == 1:
        return {file: f"results/{names[0]}/{name}" for file, name in PAGE.items()}
    return {
        key: path
        for name in names
        for key, path in shown(SimpleNamespace(study=name)).items()
    }


def stop_if_unwritable():
    """Before the first job: places where nothing can be written, in one line each."""
    if found := integrity.unwritable(Path("results"), studies):
        raise SystemExit("\n".join(found))


def judged(wildcards):
    """How the fits of the studies ended for which a bad one is an error."""
    return {
        key: path
        for name, study in studies.items()
        if study["strict"]
        for key, path in endings(name, study).items()
    }


def endings(name, study):
    """How a study's fits ended: every engine's diagnostics, or the table of replicates that failed."""
    if study["recovery"]:
        return {f"{name}/replicates": f"results/{name}/recovery/failures.csv"}
    if study["search"]:
        return {f"{name}/search": f"results/{name}/search/answer.json"}
    return {
        f"{name}/{engine}": f"results/{name}/{engine}/diagnostics.json"
        for engine in study["engines"]
    }


def closing_lines():
    """What a run ends with: the answers, fits that did not end well, and where the pages are."""
    ends = {}
    for name, study in studies.items():
        ends |= endings(name, study)
    return "\n".join(verdicts.closing(studies, ends))
