"""An error where a study that wants one has a singular fit, a failed gate or failed replicates; else verdict.txt."""

from running.frame import run


def main(job) -> None:
    from lmm.core.errors import StudyError
    from lmm.core.store import write_text
    from running.verdicts import problems

    endings = {name: path for name, path in job.input.items() if "/" in name}  # neither lib nor the page
    found = [
        (study, engine if engine in ("replicates", "search") else f"engines.{engine}", what)
        for study, engine, what in problems(endings)
        if not what.startswith("skipped")
    ]
    for study, where, what in found[1:]:  # the first one's line comes below
        print(f"studies.{study}.{where}: {what}")
    if found:
        study, where, what = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise StudyError(where, f"{what}{more}; on_failed_gate is 'error'", study)
    write_text(job.output.verdict, "every fit passed\n")


run(main, snakemake)  # noqa: F821
