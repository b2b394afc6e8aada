"""The coffee study: the whole workflow, the PyMC fit against Stan, reml against lme4."""

import json
import statistics
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import rivals_found
import stan_fits
import yaml
from harness import HERE, ROOT, Options, Row, Worker, own_worker, ratio_of, row_of, skipped, start, take_turns
from watched import Watched, clone, empty, watch

TITLE = "The coffee study: 1000 rows, 100 groups"
REFERENCE = ROOT / "tests" / "reference"
# .venv is finished and must not be touched: `-o` keeps make from making its stamp
MAKE = ("make", "-o", ".venv/stamp")
ONE_RULE = 'rule all:\n    output: "done"\n    log: "log"\n    shell: "echo > {output}"\n'
SMOKE = {
    "formula": "y ~ x + (x | group)",
    "simulate": {"seed": 1, "rows": 60, "groups": 12, "fixed": {"Intercept": 3, "x": 0.5},
                 "sd": {"Intercept": 2, "x": 1}, "sigma": 1},
    "engines": {"reml": {}, "pymc": {"formula": "y ~ x + (x || group)", "chains": 2, "tune": 100, "draws": 100}},
}  # fmt: skip


def measure(options: Options) -> Iterator[Row]:
    """All rows of this part."""
    project = clone(options.scratch / "project")
    if options.smoke:
        (project / "config" / "config.yaml").write_text(yaml.safe_dump({"studies": {"coffee": SMOKE}}))
    yield from whole_run(options, project)
    fits = yield from pymc_fit(options, project)
    if not options.smoke:
        yield from against_stan(options, fits)
    yield from against_lme4(options)


def whole_run(options: Options, project: Path) -> Iterator[Row]:
    """From empty results to the report, and the run after it that does nothing."""
    flags = {"PYTENSOR_FLAGS": f"base_compiledir={options.scratch / 'caches'}"}
    run = lambda: watch(MAKE, project, **flags)  # noqa: E731
    installing = watch([sys.executable, "workflow/scripts/compile_kernels.py"], project, **flags)
    yield Row("compiling kernels, once, a part of the installation", installing.seconds, "s")
    yield Row("make, the first after the installation", run().seconds, "s", at_most=25)
    again: list[Watched] = []
    for _ in range(options.rounds(5)):
        empty(project)
        again.append(run())
    note = f"peak memory of all processes {max(one.peak_mb for one in again):.0f} MB; {options.cores} cores"
    yield row_of(
        "make, from empty results to the report", [one.seconds for one in again], at_most=25, note=note
    )

    other = options.scratch / "one-rule"
    other.mkdir()
    (other / "Snakefile").write_text(ONE_RULE)
    snakemake = [str(Path(sys.executable).with_name("snakemake")), "--cores", "1"]
    watch(snakemake, other)
    turns = {"ours": lambda: [run().seconds], "one rule": lambda: [watch(snakemake, other).seconds]}
    found = take_turns(turns, options.rounds(7))
    seconds = {name: [answer[0] for answer in answers] for name, answers in found.items()}
    yield row_of("make again, nothing to do", seconds["ours"])
    yield row_of("a finished one-rule workflow's snakemake, nothing to do", seconds["one rule"])
    yield ratio_of("nothing to do: ours / one rule", seconds["ours"], seconds["one rule"], at_most=2)


def pymc_fit(options: Options, project: Path) -> Iterator[Row]:
    """The PyMC fit as a whole process; returns what each run said."""
    from planning import plan

    config = yaml.safe_load((project / "config" / "config.yaml").read_text())
    settings = plan.make(config, project)["studies"]["coffee"]["stages"]["pymc"]
    (options.scratch / "settings.json").write_text(json.dumps(settings))
    to = options.scratch / "pymc"
    to.mkdir()
    base = project / "results" / "coffee" / "moments"
    files = [base / "moments.parquet", base / "moments.json", base / "design.json"]
    command = [sys.executable, HERE / "fit_pymc.py", *files, options.scratch / "settings.json", to]
    runs = [watch([*map(str, command)], options.scratch) for _ in range(options.rounds(5) + 1)][1:]
    fits = [json.loads(run.output.splitlines()[-1]) for run in runs]
    for run, fit in zip(runs, fits, strict=True):
        fit["seconds"]["imports and files"] = run.seconds - sum(fit["seconds"].values())
    phases = {name: statistics.median(fit["seconds"][name] for fit in fits) for name in fits[0]["seconds"]}
    note = ", ".join(f"{name} {seconds:.2f}" for name, seconds in phases.items())
    yield row_of("PyMC, the whole process", [run.seconds for run in runs], at_most=9, note=note)
    note = f"of {fits[0]['quantities']} quantities ({fits[0]['whose']}); gates passed: {fits[0]['passed']}"
    yield Row("PyMC, smallest bulk ESS", fits[0]["ess"], at_least=None if options.smoke else 4000, note=note)
    yield row_of("PyMC, sampling, gates included, one core", [fit["seconds"]["sample"] for fit in fits])
    return fits


def against_stan(options: Options, fits: list[dict]) -> Iterator[Row]:
    """Smallest ESS a second of sampling, ours over Stan's, for each Stan that is here."""
    ours = [fit["ess"] / fit["seconds"]["sample"] for fit in fits]
    whole = [fit["ess"] / (fit["seconds"]["sample"] + fit["seconds"]["summarise"]) for fit in fits]
    yield row_of("PyMC, smallest ESS a second of sampling", ours, "/s")
    yield row_of("PyMC, the same with exact draws and summaries of random effects", whole, "/s")
    data, setting = REFERENCE / "coffee.csv", stan_fits.Setting(4, 1000, 2000)
    for engine in ("rstan", "pystan"):
        for model in ("vectorised", "post"):
            name = f"{engine}, {'the post’s model, word for word' if model == 'post' else 'the same, vectorised'}"
            if not rivals_found.has(options, engine):
                yield skipped(name, "not installed")
                continue
            try:
                stan = stan_fits.sample(options, engine, model, [data], setting)
            except (RuntimeError, OSError, IndexError) as problem:
                yield skipped(name, stan_fits.why(problem))
                continue
            rate = stan.ess / stan.sample[0]
            note = f"compile {stan.compile:.0f} s; smallest bulk ESS {stan.ess:.0f}; {options.cores} cores"
            yield Row(f"{name}: sampling", stan.sample[0], "s", note=note)
            yield Row(f"{name}: smallest ESS a second", rate, "/s")
            yield row_of(f"PyMC / {name}", [one / rate for one in ours], "×", at_least=1000)


def against_lme4(options: Options) -> Iterator[Row]:
    """reml from a data frame beside lmer, and both against the exact optimum."""
    data = options.scratch / "coffee.csv"
    pd.read_csv(REFERENCE / "coffee.csv", float_precision="round_trip")[["y", "x", "group"]].to_csv(
        data, index=False
    )
    exact = json.loads((REFERENCE / "coffee.json").read_text())["reml_exact"]
    with ExitStack() as stack:
        found: dict[str, Worker | None] = {"reml": own_worker(), "lme4": rivals_found.lme4(options)}
        workers = start(stack, found)
        ask = lambda name, how: lambda: workers[name].ask(how, data)  # noqa: E731
        fits = take_turns({name: ask(name, "reml") for name in workers}, options.rounds(21))
        ways = {name: ask(name, "reml-profile" if name == "reml" else "profile") for name in workers}
        profiles = take_turns(ways, options.rounds(5))
    seconds = {name: [answer[0] for answer in answers] for name, answers in fits.items()}
    profiled = {name: [answer[0] for answer in answers] for name, answers in profiles.items()}
    yield row_of("reml from a data frame, moments and random effects included", seconds["reml"])
    yield row_of("reml, profile intervals too", profiled["reml"])
    if "lme4" in workers:
        yield row_of("lme4's lmer", seconds["lme4"])
        yield ratio_of("reml / lmer", seconds["reml"], seconds["lme4"], at_most=1)
        yield row_of("lme4's lmer with confint of the variance parameters", profiled["lme4"])
        yield ratio_of("profile intervals: reml / lme4", profiled["reml"], profiled["lme4"])
    else:
        yield skipped("lme4's lmer", "not installed")
    truth = [*(exact["sd"][term] for term in ("Intercept", "x")), exact["sigma"]]
    for name, answers in fits.items():
        sds = [answers[0][at] for at in (2, 3, 5)]
        off = max(abs(a / b - 1) for a, b in zip(sds, truth, strict=True))
        limit = 1e-8 if name == "reml" else None
        yield Row(f"{name}: sd's off the exact optimum by", off, "relative", at_most=limit)
