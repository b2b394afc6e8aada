"""`make compare A=old/results B=results`: what changed between two folders of results, as one page.

    python workflow/scripts/compare_runs.py A B [--out FILE]

Status 1 and one line where a folder is not that of a finished run.
"""

import argparse

from lmm.core.errors import StudyError
from lmm.core.store import write_text
from lmm.report.runs import compare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("a", help="folder of results")
    parser.add_argument("b", help="the folder to compare it with")
    parser.add_argument("--out", default="results/comparison-of-runs.html")
    asked = parser.parse_args()
    try:
        write(asked.a, asked.b, asked.out)
    except StudyError as error:
        raise SystemExit(str(error)) from None
    print(f"The comparison: {asked.out}")


def write(a: str, b: str, out: str) -> None:
    """Write the page on two folders."""
    if not a or not b:
        raise StudyError("compare", "expected two folders: make compare A=old/results B=results")
    write_text(out, compare(a, b))


if __name__ == "__main__":
    main()
