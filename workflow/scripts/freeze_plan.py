"""The plan of a study with replicates, written once: plan.json and its page."""

from running.frame import run


def main(job) -> None:
    from running import plans

    plans.freeze(job.params.plan, job.output.plan, job.output.page)


run(main, snakemake)  # noqa: F821
