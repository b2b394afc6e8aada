"""A recovery study of the coffee design: a thousand replicates with three engines, from nothing to the report."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import evidence
import rivals_found
import stan_fits
import yaml
from datasets import COFFEE, generate
from harness import HERE, Options, Row, environment, row_of, skipped
from watched import Watched, clone, empty, watch

TITLE = "Recovery: 1000 replicates of the coffee design, OLS, reml with profile intervals and PyMC"
SETTING = stan_fits.Setting(chains=2, warmup=500, draws=1000)
LONGEST, GB_2 = 30, 2000
# milliseconds a replicate; of PyMC by sampler, CPU time
LIMITS = {"reml": 8}
SAMPLERS = {"importance": 15, "nuts": 60}
AGREE = 4  # Monte Carlo errors
# data sets of each that simulates and tests the coffee design
RIVALS = {"mcpower": 2000, "simr": 20}
STAN_REPLICATES = 5
SNAKEMAKE = str(Path(sys.executable).with_name("snakemake"))


def study(replicates: int, setting: stan_fits.Setting) -> dict:
    """The configuration, as a user would write it."""
    (intercept, slope), (sd, sd_slope) = COFFEE["fixed"], COFFEE["sd"]
    return {
        "title": "Would the coffee design recover its variances?",
        "formula": "y ~ x + (x | group)",
        "simulate": {
            "seed": 1,
            "rows": 1000,
            "groups": 100,
            "fixed": {"Intercept": intercept, "x": slope},
            "sd": {"Intercept": sd, "x": sd_slope},
            "corr": COFFEE["corr"],
            "sigma": COFFEE["sigma"],
        },
        "replicates": replicates,
        "engines": {
            "ols": {},
            "reml": {},
            "pymc": {
                "formula": "y ~ x + (x || group)",
                "priors": {"fixed": "flat", "sd": "uniform(0, 100)", "sigma": "flat"},
                "chains": setting.chains,
                "tune": setting.warmup,
                "draws": setting.draws,
                "seed": 123,
            },
        },
    }


def measure(options: Options) -> Iterator[Row]:
    """All rows of this part."""
    project = clone(options.scratch / "project")
    few, some = (4, 20) if options.smoke else (20, 1000)
    run_study(options, project, few)  # compiles kernels, as the first run after an installation does
    runs = [run_study(options, project, some) for _ in range(1 if options.smoke else 3)]
    seconds = [run.seconds for run in runs]
    yield row_of(f"{some:,} replicates, from empty results to the report", seconds, at_most=LONGEST)
    peaks = [run.peak_mb for run in runs]
    yield row_of("peak memory of all processes together", peaks, "MB", at_most=GB_2)
    shares = [100 * run.alone / run.seconds for run in runs]
    note = "time during which no job runs; reading and planning included"
    limit = None if options.smoke else 15
    yield row_of("Snakemake's own share", shares, "%", at_most=limit, note=note)
    yield from by_engine(project)
    yield from by_sampler(options)
    yield from against_power(options)
    if not options.smoke:
        yield from against_stan(options, some, row_of("", seconds).value)
    if options.large:
        many = run_study(options, project, 10 * some)
        yield Row(
            f"{10 * some:,} replicates", many.seconds, note=f"peak memory {many.peak_mb:.0f} MB", unit="s"
        )
        ratio = many.seconds / row_of("", seconds).value
        yield Row(f"{10 * some:,} replicates / {some:,}", ratio, "×", at_most=10.5)
        if not options.smoke:
            evidence.keep(project, "coffee", project / "config" / "config.yaml", "coffee-10000")


def run_study(options: Options, project: Path, replicates: int) -> Watched:
    """One run from nothing; Snakemake itself is the watched process, so that its children are the jobs."""
    setting = stan_fits.Setting(2, 100, 200) if options.smoke else SETTING
    (project / "config" / "config.yaml").write_text(
        yaml.safe_dump({"studies": {"coffee": study(replicates, setting)}})
    )
    empty(project)
    return watch([SNAKEMAKE, "--cores", str(options.cores)], project)


def by_engine(project: Path) -> Iterator[Row]:
    """Each engine's time a replicate, of the run just done."""
    told = (project / "results" / "coffee" / "recovery" / "diagnostics.json").read_text(encoding="utf-8")
    for own in json.loads(told)["seconds"]:  # one design: one entry per engine
        engine, number = own["engine"], own["number"]
        median, low, high, mean = (1e3 * own[name] for name in ("median", "low", "high", "mean"))
        usable = own["usable"] / number
        note = f"range: 5 to 95 %; mean with compilation {mean:.1f} ms; {usable:.1%} usable"
        limit = LIMITS.get(engine)
        yield Row(f"{engine}, a replicate", median, "ms", low, high, number, at_most=limit, note=note)


def measured(script: str, *counts: int) -> dict:
    """What a script of this folder printed."""
    command = [sys.executable, str(HERE / script), *map(str, counts)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    return json.loads(done.stdout)


def by_sampler(options: Options) -> Iterator[Row]:
    """PyMC by importance sampling and by NUTS on the same data sets."""
    number = 3 if options.smoke else 200
    found = measured("fit_samplers.py", number)
    for sampler, limit in SAMPLERS.items():
        own = found[sampler]
        note = (
            f"smallest bulk ESS {own['ess']:.0f}; not ok: {own['not_ok']}; by NUTS instead: {own['replaced']}"
        )
        what = f"pymc by {sampler}, a replicate, CPU time"
        yield Row(
            what, own["milliseconds"], "ms", n=number, at_most=None if options.smoke else limit, note=note
        )
    note = f"of {found['compared']:,} pairs of posterior means"
    yield Row("largest difference of the two in Monte Carlo errors", found["apart"], at_most=AGREE, note=note)


def against_power(options: Options) -> Iterator[Row]:
    """The compiled path beside programs that simulate and test the same design for its power."""
    for source, own in measured("fit_replicates.py", 100 if options.smoke else 5000, 2).items():
        yield Row(
            f"simulated as {source}, ols and reml, compiled: a replicate, CPU", own["milliseconds"], "ms"
        )
    for name, number in RIVALS.items():
        what = f"{name}, a replicate, CPU"
        took = rivals_found.per_data_set(options, name, 10 if options.smoke else number)
        note = (
            "intraclass correlation 0.9, its largest, instead of 0.99; one fit" if name == "mcpower" else ""
        )
        yield skipped(what, "not installed") if took is None else Row(what, took, "ms", n=number, note=note)
    yield skipped("mixpower, a replicate, CPU", "neither on PyPI nor in Debian")


def against_stan(options: Options, replicates: int, ours: float) -> Iterator[Row]:
    """The same study with one compilation of Stan and refits, from a few replicates."""
    engine = next((name for name in ("rstan", "pystan") if rivals_found.has(options, name)), None)
    name = f"Stan, {replicates:,} replicates, scaled from {STAN_REPLICATES}"
    if engine is None:
        yield skipped(name, "neither rstan nor pystan is installed")
        return
    made = [options.scratch / f"replicate-{at}.csv" for at in range(STAN_REPLICATES)]
    data = [generate(path, 1000, 100, at, COFFEE) for at, path in enumerate(made)]
    try:
        stan = stan_fits.sample(options, engine, "vectorised", data, SETTING)
    except (RuntimeError, IndexError) as problem:
        yield skipped(name, stan_fits.why(problem))
        return
    note = (
        f"{engine}, the vectorised model, {options.cores} cores; smallest bulk ESS of the last {stan.ess:.0f}"
    )
    each = row_of("Stan, a replicate", stan.sample, note=note)
    yield each
    scaled = stan.compile + each.value * replicates
    yield Row(name, scaled / 3600, "h", note=f"compilation, once, {stan.compile:.0f} s")
    yield Row("Stan / our whole run, report included", scaled / ours, "×")
