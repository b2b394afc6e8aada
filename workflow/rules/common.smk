"""What all rules share: the plan, targets, the library as inputs, settings, resources, the closing lines."""

import os
import sys
from pathlib import Path

SCRIPTS = Path(
    workflow.current_basedir.join("../scripts").get_path_or_uri(secret_free=True)
).resolve()
sys.path.insert(0, str(SCRIPTS))
# Jobs read this project's library too, where the environment's is another copy's.
os.environ["PYTHONPATH"] = os.pathsep.join(
    dict.fromkeys([str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])])
)

from lmm.core import engines
from lmm.core.errors import StudyError
from planning import configuration, plan, wiring
from running import frame, integrity, verdicts

# Relative where it can be, so that a project that was moved is not a project that was changed.
LIBRARY = (
    os.path.relpath(SCRIPTS) if SCRIPTS.is_relative_to(Path.cwd()) else str(SCRIPTS)
)

# The engines that stages of their own follow: influence, and criticism of the posterior.
EXACT, BAYES = (
    engines.first(engines.ENGINES, family) for family in (engines.EXACT, engines.BAYES)
)

# `make report`: pages of the studies that are finished, made again, and nothing else.
ONLY_RENDER = "LMM_RECOVERY_RENDER" in os.environ
PAGE = {"page": "report.html", "summary": "summary.json"}

frame.say_whether_logs_are_shown(workflow.output_settings.show_failed_logs)

# Half an artifact is no artifact: found before planning, it is made anew. Jobs look at their inputs themselves.
if workflow.is_main_process:
    for line in integrity.mark(Path("results")):
        print(line, file=sys.stderr)


def stop_if_unreadable(file):
    """One line about a configuration file that Snakemake would answer with a traceback."""
    try:
        configuration.check(file)
    except StudyError as error:
        raise SystemExit(str(error)) from None


def validated(config):
    """The plan of all studies; a bad configuration ends here, as one line and before any job."""
    try:
        planned = plan.make(config, Path.cwd())
    except StudyError as error:
        raise SystemExit(str(error)) from None
    for name, study in planned["studies"].items() if workflow.is_main_process else ():
        for note in study["notes"]:
            print(f"studies.{name}.{note}", file=sys.stderr)
    return planned


def targets():
    """What a run makes: the report, its verdicts, and an error where a study wants one of a failed gate."""
    strict = any(study["strict"] for study in reported().values())
    pages = [f"results/{name}" for name in reported()] + ["results"] * bool(reported())
    wanted = [f"{place}/{file}" for place in pages for file in PAGE.values()]
    if ONLY_RENDER:
        return wanted
    wanted += [
        f"results/{name}/{engine}/{file}"
        for name in studies.keys() - reported().keys()
        for engine in studies[name]["engines"]
        for file in engines.row(engine).files.values()
    ]
    wanted += [
        f"results/{name}/predictions/predictions.parquet"
        for name, study in studies.items()
        if study["predicted"]
    ]
    for name, study in studies.items():
        base = f"results/{name}"
        wanted += [f"{base}/effects/effects.csv"] * (study["recovery"] is None)
        wanted += [
            f"{base}/models/{table}.csv" for table in ("models", "tests")
        ] * bool(study["models"])
    return wanted + ["results/verdict.txt"] * strict


def reported():
    """Studies that the report is about; of several grouping factors there are tables only."""
    return {
        name: study
        for name, study in studies.items()
        if not study["several"] and (not ONLY_RENDER or finished(name))
    }


def finished(name):
    """Is there all that a study's page is made from?"""
    paths = shown(SimpleNamespace(study=name)).values()
    return all(os.path.exists(path) for path in paths)


def lib(script, *loaded):
    """The library's modules that a script uses, as inputs: an edit of one is an edit of what it makes."""
    return [local(f"{LIBRARY}/{module}") for module in wiring.modules(script, *loaded)]


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


def short():
    """Do the stages after the fits take seconds? Then they run beside Snakemake, not as jobs of a cluster."""
    return not any(study["large"] for study in studies.values())


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
