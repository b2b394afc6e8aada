"""reml with several grouping factors beside lme4: a registry of lectures, an experiment, schools and classes."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import rivals_found
from harness import (
    HERE,
    Options,
    Row,
    Worker,
    WorkerError,
    environment,
    ratio_of,
    row_of,
    skipped,
    start,
    take_turns,
)

from lmm.frames import simulate

# Certified optima differ from lme4's stops by less than its tolerance of 1e-8 times a criterion of 1e5.
CRITERION = 1e-2
EXPERIMENT = {
    "groups": {"a": 80, "b": 60},
    "predictors": {"x": {"latin_square": 2}},
    "fixed": {"Intercept": 600, "x": 30},
    "sd": {"a": {"Intercept": 90, "x": 25}, "b": {"Intercept": 40, "x": 15}},
    "sigma": 120,
}
SCHOOLS = {
    "rows_per_group": 3,
    "fixed": {"Intercept": 50, "x": 3},
    "sd": {"school": {"Intercept": 4, "x": 1}, "class:school": {"Intercept": 3}},
    "sigma": 8,
}


def several(options: Options) -> Iterator[Row]:
    """Rows of three designs, CPU seconds of one thread each."""
    with ExitStack() as stack:
        lme4 = Worker("lme4", ["Rscript", "--vanilla", str(HERE / "rivals" / "fit_lme4_several.R")])
        there = rivals_found.has(options, "lme4")
        own = Worker("lmm-recovery", [sys.executable, str(HERE / "fit_several.py")])
        script = str(HERE / "rivals" / "fit_python_several.py")
        others = {
            name: Worker(name, [options.rivals, script, name]) if rivals_found.has(options, name) else None
            for name in ("glmm", "mixedlm")
        }
        workers = start(stack, {"reml": own, "lme4": lme4 if there else None, **others})
        yield skipped("mixedlm-rs, several grouping factors", "it fits one grouping factor")
        blas = rivals_found.blas() if there else ""
        for name, formula, data, most, rounds in designs(options):
            if data is None:
                yield skipped(f"reml, {name}", "lme4, which has these data, is not installed")
                continue
            limits = {} if options.smoke else {"lme4": most} | ({"glmm": 1.0} if "InstEval" in name else {})
            yield from against(workers, name, formula, data, limits, options.rounds(rounds), blas)


def designs(options: Options) -> Iterator[tuple[str, str, Path | None, float, int]]:
    """Name, formula, data, the most that reml may take of lme4's time, rounds."""
    folder = options.scratch
    levels, schools = (EXPERIMENT["groups"], 10_000) if not options.smoke else ({"a": 8, "b": 6}, 20)
    frame, _ = simulate("y ~ x + (x | a) + (x | b)", **EXPERIMENT | {"groups": levels})
    frame.to_csv(folder / "experiment.csv", index=False)
    name = f"{levels['a']} x {levels['b']} crossed, slopes in both"
    yield name, "y ~ x + (x | a) + (x | b)", folder / "experiment.csv", 0.15, 7
    nested = {"school": schools, "class": {"per": "school", "count": 10}}
    frame, _ = simulate("y ~ x + (x | school) + (1 | class:school)", **SCHOOLS, groups=nested)
    frame.to_csv(folder / "schools.csv", index=False)
    name = f"{schools:,} schools x 10 classes, slopes of schools"
    yield name, "y ~ x + (x | school) + (1 | class:school)", folder / "schools.csv", 0.1, 3
    if not options.smoke:
        formula = "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)"
        data = insteval(folder / "insteval.csv") if rivals_found.has(options, "lme4") else None
        yield "InstEval with service (73,421 rows)", formula, data, 0.4, 3


def insteval(path: Path) -> Path:
    """lme4's InstEval as a file."""
    code = f"library(lme4); d <- InstEval[c('s','d','dept','service','y')]; write.csv(d, '{path}', row.names = FALSE)"
    subprocess.run([shutil.which("Rscript"), "-e", code], check=True, capture_output=True, env=environment())
    return path


def against(
    workers: dict[str, Worker], name: str, formula: str, data: Path, limits: dict, rounds: int, blas: str
) -> Iterator[Row]:
    """reml beside lme4 on one data set."""
    able: dict = {}
    missing = [
        skipped(f"{engine}, {name}", "not installed")
        for engine in ("lme4", "glmm", "mixedlm")
        if engine not in workers
    ]
    for engine, worker in workers.items():
        try:
            worker.ask(formula, data)
            able[engine] = lambda worker=worker: worker.ask(formula, data)
        except WorkerError as problem:
            missing.append(skipped(f"{engine}, {name}", str(problem)))
    yield from missing
    found = take_turns(able, rounds)
    seconds = {engine: [answer[0] for answer in answers] for engine, answers in found.items()}
    if "reml" not in found:
        return
    share = found["reml"][0][2] / found["reml"][0][0]
    yield row_of(f"reml, {name}", seconds["reml"], note=f"CPU, one thread; {share:.0%} of it moments")
    for engine in ("glmm", "mixedlm"):
        if engine in found:
            yield row_of(f"{engine}, {name}", seconds[engine], note="CPU, one thread")
            most = limits.get(engine)
            yield ratio_of(f"reml / {engine}, {name}", seconds["reml"], seconds[engine], at_most=most)
    if "lme4" not in found:
        return
    yield row_of(f"lme4, {name}", seconds["lme4"], note=f"CPU, one thread; BLAS: {blas}")
    yield ratio_of(f"reml / lme4, {name}", seconds["reml"], seconds["lme4"], at_most=limits.get("lme4"))
    off = found["lme4"][0][1] - found["reml"][0][1]
    note = "lme4's criterion less reml's: not below 0"
    yield Row(f"criteria, {name}", off, "", at_least=-CRITERION, at_most=None, note=note)
