"""reml and MixedLM from a data frame, against lme4, mixedlm-rs and statsmodels, and how reml's cost grows."""

from collections.abc import Iterator
from contextlib import ExitStack

import rivals_found
from curves import draw
from datasets import generate
from harness import HERE, Options, Row, WorkerError, own_worker, ratio_of, row_of, skipped, start, take_turns
from several_sizes import several

TITLE = "From 10,000 to a million rows: reml and MixedLM"
# rows, groups, rounds
SIZES = ((10_000, 500, 11), (100_000, 20_000, 5), (500_000, 125_000, 3))
ONE_SECOND_AT = 500_000
FIXED_GROUPS, ROWS = 1_000, (10_000, 30_000, 100_000, 300_000, 1_000_000)
ROWS_A_GROUP, GROUPS = 10, (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)


def measure(options: Options) -> Iterator[Row]:
    """All rows of this part."""
    sizes = ((600, 30, 2),) if options.smoke else SIZES
    with ExitStack() as stack:
        fits = {"lme4": rivals_found.lme4(options), "mixedlm-rs": rivals_found.mixedlm_rs(options)}
        workers = start(stack, {"reml": own_worker(), **fits})
        for rows, groups, rounds in sizes:
            yield from against(options, workers, rows, groups, options.rounds(rounds))
        rows, groups, _ = sizes[0]
        yield from warm_start(options, workers, rows, groups, options.rounds(3))
        if options.large:
            rows, groups, _ = SIZES[1]
            yield from warm_start(options, workers, rows, groups, 1)
        yield from growth(options, workers)
    yield from several(options)


def against(options: Options, workers: dict, rows: int, groups: int, rounds: int) -> Iterator[Row]:
    """reml beside lme4 and mixedlm-rs at one size."""
    data = generate(options.scratch / f"{rows}.csv", rows, groups, seed=rows)
    at = f"{rows:,} rows, {groups:,} groups"
    able, missing = {}, []
    for name, worker in workers.items():
        try:
            worker.ask("reml", data)
            able[name] = lambda worker=worker: worker.ask("reml", data)
        except WorkerError as problem:
            missing.append(skipped(f"{name}, {at}", str(problem)))
    missing += [
        skipped(f"{name}, {at}", "not installed") for name in ("lme4", "mixedlm-rs") if name not in workers
    ]
    yield from missing
    found = take_turns(able, rounds)
    seconds = {name: [answer[0] for answer in answers] for name, answers in found.items()}
    limit = 1.0 if rows >= ONE_SECOND_AT else None
    yield row_of(f"reml, {at}", seconds["reml"], at_most=limit, note="moments included")
    for name, most in (("lme4", 0.2), ("mixedlm-rs", 2.0)):
        if name in found:
            yield row_of(f"{name}, {at}", seconds[name])
            held = None if rows >= ONE_SECOND_AT else most
            yield ratio_of(f"reml / {name}, {at}", seconds["reml"], seconds[name], at_most=held)
            yield apart(f"{name}, {at}", found[name][0], found["reml"][0])


def apart(name: str, other: list[float], exact: list[float]) -> Row:
    """How far another fit is from reml's certified optimum: the larger relative difference of its two sd's."""
    off = max(abs(a / b - 1) for a, b in zip(other[2:4], exact[2:4], strict=True))
    note = f"its criterion less reml's: {other[1] - exact[1]:.1e}"
    return Row(f"{name}: sd's off by", off, "relative", note=note)


def warm_start(options: Options, workers: dict, rows: int, groups: int, rounds: int) -> Iterator[Row]:
    """statsmodels' MixedLM as it starts itself, and as the mixedlm engine starts it."""
    data, own = options.scratch / f"{rows}.csv", workers["reml"]
    at = f"{rows:,} rows, {groups:,} groups"
    ways = {how: lambda how=how: own.ask(how, data) for how in ("mixedlm-default", "mixedlm-warm")}
    found = take_turns(ways, rounds)
    exact = own.ask("reml", data)
    default, warm = found["mixedlm-default"], found["mixedlm-warm"]
    yield row_of(f"statsmodels MixedLM, its default, {at}", [answer[0] for answer in default])
    note = "moments, reml, the fit and all tables of the mixedlm engine"
    yield row_of(f"mixedlm engine, warm start, {at}", [answer[0] for answer in warm], note=note)
    yield ratio_of(
        f"warm start / default, {at}", [a[0] for a in warm], [a[0] for a in default], at_most=1 / 3
    )
    yield apart(f"statsmodels' default, {at}", default[0], exact)
    yield apart(f"warm start, {at}", warm[0], exact)


def growth(options: Options, workers: dict) -> Iterator[Row]:
    """Cost against rows at fixed groups, and against groups at fixed rows per group: table and figure."""
    own, rounds = workers["reml"], options.rounds(5)
    by_rows = [(rows, FIXED_GROUPS) for rows in ROWS]
    by_groups = [(groups * ROWS_A_GROUP, groups) for groups in GROUPS]
    if options.smoke:
        by_rows, by_groups = [(300, 30), (600, 30)], [(100, 10), (200, 20)]
    curves = {}
    for kind, sizes in (("rows", by_rows), ("groups", by_groups)):
        curves[kind] = []
        for rows, groups in sizes:
            data = generate(options.scratch / f"by-{kind}-{rows}.csv", rows, groups, seed=rows + groups)
            answers = take_turns({"reml": lambda data=data: own.ask("reml", data)}, rounds)["reml"]
            total, moments = ([answer[at] for answer in answers] for at in (0, -1))
            curves[kind].append((rows, groups, sorted(total)[rounds // 2], sorted(moments)[rounds // 2]))
            share = curves[kind][-1][3] / curves[kind][-1][2]
            what = f"growth with {kind}: {rows:,} rows, {groups:,} groups"
            yield row_of(what, total, note=f"{share:.0%} of it moments")
    where = options.scratch if options.smoke else HERE
    draw(curves, where / "growth.svg")
