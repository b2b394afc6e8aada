"""An error where a study that asks for one has a singular fit or a failed gate; else verdict.txt."""

from running.frame import run


def main(job) -> None:
    from lmm.errors import StudyError
    from lmm.store import write_text
    from running.verdicts import problems

    fits = [(*name.split("/"), path) for name, path in job.input.items() if name not in ("lib", "page")]
    found = [problem for problem in problems(fits) if not problem[2].startswith("skipped")]
    for study, engine, what in found:
        print(f"studies.{study}.engines.{engine}: {what}")
    if found:
        study, engine, what = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise StudyError(f"engines.{engine}", f"{what}{more}; on_failed_gate is 'error'", study)
    write_text(job.output.verdict, "every fit passed\n")


run(main, snakemake)  # noqa: F821
