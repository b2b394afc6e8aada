"""Draw a study's data from its settings: data.parquet, data.json, truth.json."""

from running.frame import run


def main(job) -> None:
    from lmm.config.simulation import Simulation
    from lmm.core.store import write_json, write_table
    from lmm.core.streams import seed_sequence
    from lmm.data import ingest
    from lmm.model.formula import parse
    from lmm.simulation.rows import simulate

    settings = job.params.settings
    formula, simulation = parse(settings["formula"]), Simulation.from_plain(settings["simulate"])
    # generator r is R's set.seed(seed) and nothing else, as in a colleague's R session
    address = None
    if simulation.address is not None:
        address = seed_sequence(simulation.seed, simulation.address.design, simulation.address.replicate)
    elif simulation.generator == "numpy":
        address = seed_sequence(simulation.seed, settings["design"])
    rows, truth = simulate(simulation, formula, address)
    write_table(job.output.rows, rows)
    write_json(job.output.truth, truth)
    # What is said of a user's rows is said of simulated ones, by the same code.
    source = ingest.inspect(job.output.rows, formula.variables, formula.keys)
    _, details = ingest.scan(source, formula)
    write_json(job.output.details, details | {"sources": ["simulated"]})


run(main, snakemake)  # noqa: F821
