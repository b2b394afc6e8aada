"""What all rules share: the plan, the library as inputs, settings, resources."""

import os
import sys
from pathlib import Path

SCRIPTS = Path(
    workflow.current_basedir.join("../scripts").get_path_or_uri(secret_free=True)
).resolve()
sys.path.insert(0, str(SCRIPTS))

from lmm.core import engines
from lmm.core.errors import StudyError
from planning import configuration, plan, wiring
from running import frame, integrity

# Relative where it can be, so that a project that was moved is not a project that was changed.
LIBRARY = (
    os.path.relpath(SCRIPTS) if SCRIPTS.is_relative_to(Path.cwd()) else str(SCRIPTS)
)

# The engines that stages of their own follow: influence, and criticism of the posterior.
EXACT, BAYES = (
    engines.first(engines.ENGINES, family) for family in (engines.EXACT, engines.BAYES)
)

frame.read_library_from(SCRIPTS)
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
