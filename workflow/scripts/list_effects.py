"""Means, slopes and contrasts that are asked for, as functions of the fixed effects: functions.json."""

from running.frame import run, warn


def main(job) -> None:
    from lmm.comparison.effects import prepared
    from lmm.core.store import read_json, write_json
    from lmm.model.syntax import spaced

    settings = job.params.settings
    state = read_json(job.input.design)[spaced(settings["formula"])]["state"]
    found = prepared(state, read_json(job.input.data), settings["effects"])
    for warning in found["warnings"]:
        warn(job, warning)
    write_json(job.output.functions, found)


run(main, snakemake)  # noqa: F821
