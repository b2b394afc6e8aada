"""`make compare A=old/results B=results`: what changed between two folders of results, as one page.

    python workflow/scripts/compare_runs.py A B [--out FILE]

Status 1 and one line where a folder is not that of a finished run.
"""

import argparse

from lmm.errors import StudyError
from lmm.runs_page import compare
from lmm.store import write_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("a", help="folder of results")
    parser.add_argument("b", help="the folder to hold against it")
    parser.add_argument("--out", default="results/comparison-of-runs.html")
    asked = parser.parse_args()
    try:
        if not asked.a or not asked.b:
            raise StudyError("compare", "two folders are needed: make compare A=old/results B=results")
        write_text(asked.out, compare(asked.a, asked.b))
    except StudyError as error:
        raise SystemExit(str(error)) from None
    print(f"The comparison: {asked.out}")


if __name__ == "__main__":
    main()
