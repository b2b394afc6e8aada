"""`make bench`: runs the parts that are asked for, prints their tables, and keeps them in results.*.

    python benchmarks/run.py [part ...] [--smoke] [--large] [--rivals PYTHON] [--output FOLDER]

Without a part: all that have no size beyond minutes (README.md). A part is a module bench_<part>.py with a
`TITLE` and a `measure(options)` that yields rows.
"""

import argparse
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

import machine
import rivals_found
import tables
from harness import HERE, ROOT, SCRIPTS, Options

USUAL = ("coffee", "sizes", "recovery")


def parts() -> list[str]:
    """Every part that there is."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(parts())}; default {USUAL}")
    parser.add_argument("--smoke", action="store_true", help="tiny versions, in seconds; for tests")
    parser.add_argument("--large", action="store_true", help="also what takes many minutes")
    parser.add_argument(
        "--rivals",
        default=os.environ.get("LMM_BENCH_RIVALS"),
        metavar="PYTHON",
        help="interpreter that has mixedlm-rs, glmm, mixedlm and pystan (default: $LMM_BENCH_RIVALS)",
    )
    parser.add_argument(
        "--output", type=Path, help="folder of results.* (default: benchmarks/; none with --smoke)"
    )
    found = parser.parse_args(words)
    unknown = sorted(set(found.parts) - set(parts()))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(parts())}")
    return found


def main(words: list[str] | None = None) -> int:
    """Run; 1 where a target was missed, so that a machine can tell."""
    asked = arguments(words)
    output = asked.output or (None if asked.smoke else HERE)
    missed = 0
    with tempfile.TemporaryDirectory(prefix="lmm-bench-") as scratch:
        for part in asked.parts or USUAL:
            folder = Path(scratch) / part
            folder.mkdir()
            options = Options(folder, asked.smoke, asked.large, asked.rivals, machine.usable_cores())
            module = importlib.import_module(f"bench_{part}")
            here = machine.describe(ROOT, rivals_found.versions(options))
            print(f"\n{module.TITLE}\n{machine.sentence(here)}\n", flush=True)
            began, rows = time.monotonic(), []
            for row in module.measure(options):
                rows.append(row)
                print(tables.said(row), flush=True)
                if output:  # after each row: a run that is broken off keeps what it has
                    tables.write(output, part, module.TITLE, here, rows)
            print(f"  [{time.monotonic() - began:.0f} s]", flush=True)
            missed += sum(row.met is False for row in rows)
    if output:
        print(f"\nIn {output / 'results.md'}; targets missed: {missed}")
    return 1 if missed and not asked.smoke else 0


if __name__ == "__main__":
    sys.path.insert(0, str(SCRIPTS))
    sys.exit(main())
