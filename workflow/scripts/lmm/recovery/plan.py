"""How replicates are divided into jobs. Results do not depend on it; what is already there is kept.

A chunk is a range of replicates of a bundle of designs, and its file is named by both. Designs share a job, because
PyMC's compilation is paid once a job, and what exists on disk is built around: more replicates, more designs or
another chunk size compute what is new and nothing else. This is read when the workflow starts: no heavy imports.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lmm.core.engines import row

JOB_SECONDS = 75.0  # of work in a job, beside the 10 s of its imports and PyMC's compilation
SPLIT_SECONDS = 5.0  # less work than this is not worth a second job
BLOCK = 1000  # replicates whose sums are kept together: chunks of sums end at its multiples
KEPT = 1000  # replicates of each design that are kept in full where the others are only summed up
MOST_DESIGNS = 12  # of a bundle: its name, their keys, must remain a file name


class Chunk(NamedTuple):
    """Replicates first ... stop - 1 of a bundle of designs."""

    bundle: str
    first: int
    stop: int

    @property
    def name(self) -> str:
        """File name without suffix."""
        return f"{self.first}-{self.stop}"


def seconds(
    engines: Mapping[str, Mapping[str, Any]], groups: int, rows: int | None, compiled: bool = False
) -> float:
    """Rough cost of one replicate on one core; only the size of jobs depends on it."""
    rows = rows or 0
    if compiled:
        return 1e-4 + 5e-8 * rows + 2e-6 * groups
    total = 0.005 + 1e-6 * rows + 1e-5 * groups
    for name, own in engines.items():
        draws = own.get("chains", 0) * (own.get("tune", 0) + own.get("draws", 0))
        constant, per_group, per_draw, per_draw_and_group = row(name).cost
        total += constant + per_group * groups + draws * (per_draw + per_draw_and_group * groups)
    return total


def rounded(count: float) -> int:
    """The largest 1, 2, 5, 10, 20, 50, ... that is not above `count`; at least 1."""
    size = 1
    for factor in (2, 2.5, 2) * 8:
        following = round(size * factor)
        if following > count:
            break
        size = following
    return size


def bundles(keys: Sequence[str], existing: Iterable[str] = ()) -> list[str]:
    """Bundles of designs, in the designs' order; a bundle is called by its designs' keys.

    Bundles that exist are kept where all of their designs are still wanted; the others are filled in order.
    """
    left, found = list(keys), []
    for name in sorted(existing):
        mine = name.split("-")
        if all(key in left for key in mine):
            found.append(name)
            left = [key for key in left if key not in mine]
    found += ["-".join(left[at : at + MOST_DESIGNS]) for at in range(0, len(left), MOST_DESIGNS)]
    return sorted(found, key=lambda name: keys.index(name.split("-")[0]))


def tiles(
    count: int, size: int, existing: Iterable[tuple[int, int]] = (), start: int = 0
) -> list[tuple[int, int]]:
    """Ranges that cover start ... count - 1: those that exist where they fit, others of `size` at its multiples."""
    there = sorted({(first, stop) for first, stop in existing if start <= first < stop <= count})
    found, at = [], start
    while at < count:
        longest = max((stop for first, stop in there if first == at), default=None)
        if longest is None:
            following = min((first for first, _ in there if first > at), default=count)
            longest = min((at // size + 1) * size, following, count)
        found.append((at, longest))
        at = longest
    return found


def aligned(size: int, count: int) -> int:
    """A chunk's size as a multiple of `BLOCK`; the count where it is smaller."""
    return min(-(-size // BLOCK) * BLOCK, count)


def batches(
    plan: Mapping[str, Any], directory: Path, left: Callable[[int], Sequence[str]], rounds: int
) -> list[Chunk]:
    """Chunks of the first rounds of a study whose replicates end at Monte Carlo errors.

    Parameters
    ----------
    plan : mapping
        As for `chunks`, and ends of the rounds.
    directory : Path
        Of the study's chunks.
    left : callable
        Round to the designs that it has replicates of.
    rounds : int
        How many.

    Returns
    -------
    list of Chunk
    """
    found, cost = [], dict(zip(plan["keys"], plan["seconds"], strict=True))
    for number in range(rounds):
        keys = list(left(number))
        if not keys:
            break
        own = plan | {"keys": keys, "seconds": [cost[key] for key in keys], "count": plan["ends"][number]}
        found += chunks(own, directory, plan["ends"][number - 1] if number else 0)
    return found


def chunks(plan: Mapping[str, Any], directory: Path, start: int = 0) -> list[Chunk]:
    """All chunks of a study, of replicates from `start`.

    Parameters
    ----------
    plan : mapping
        count, per_job (`auto` or a number), keys (of designs), seconds (one replicate of each design), summed
        (whether chunks end at multiples of `BLOCK`).
    directory : Path
        Of the study's chunks: <bundle>/<first>-<stop>.parquet.
    start : int
        Replicates before it are left out.
    """
    cost = dict(zip(plan["keys"], plan["seconds"], strict=True))
    folders = {path.name: path for path in directory.iterdir()} if directory.is_dir() else {}
    work = (plan["count"] - start) * sum(plan["seconds"])
    ranges = {
        name: [_range(file.stem) for file in path.glob("*-*.parquet")] for name, path in folders.items()
    }
    there = {
        name: [r for r in found if r and start <= r[0] < r[1] <= plan["count"]]
        for name, found in ranges.items()
    }
    out = []
    names = bundles(plan["keys"], (name for name, found in there.items() if found))
    for name in names:
        size = plan["per_job"]
        if size == "auto":
            size = min(rounded(JOB_SECONDS / sum(cost[key] for key in name.split("-"))), plan["count"])
            if len(names) == 1 and size >= plan["count"] - start and work > SPLIT_SECONDS:
                size = max(-(-(plan["count"] - start) // 2), 1)  # two cores are the least that anyone has
        existing = there.get(name, [])
        if plan["summed"]:
            size = aligned(size, plan["count"])
            existing = [
                r for r in existing if not r[0] % BLOCK and (not r[1] % BLOCK or r[1] == plan["count"])
            ]
        out += [Chunk(name, *tile) for tile in tiles(plan["count"], size, existing, start)]
    return out


def _range(name: str) -> tuple[int, int] | None:
    """(first, stop) of a file's name; None for another file."""
    first, _, stop = name.partition("-")
    return (int(first), int(stop)) if first.isdigit() and stop.isdigit() else None
