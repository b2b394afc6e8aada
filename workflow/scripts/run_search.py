"""The smallest design that reaches a target: what was simulated, the fitted curve, the Type I error, the answer."""

from running.frame import run


def main(job) -> None:
    from lmm.core.store import write_json, write_table
    from lmm.recovery import searches

    designs, curve, null, answer = searches.run(job.params.settings, dict(job.input.items()))
    write_table(job.output.designs, designs)
    write_table(job.output.curve, curve)
    write_table(job.output.null, null)
    write_json(job.output.answer, answer)


run(main, snakemake)  # noqa: F821
