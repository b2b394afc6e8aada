"""`make new`: look at a user's file, propose a model for it, write a commented configuration, and check it.

    python workflow/scripts/new_study.py STUDY DATA [--out FILE] [--response COLUMN] [--group COLUMN]

Status 1 and one line where the file cannot be read, or it cannot be told what is what.
"""

import argparse
from pathlib import Path

from lmm.config.load import check_name
from lmm.core.errors import StudyError
from lmm.core.store import write_text
from lmm.proposal.configuration import checked, configuration
from lmm.proposal.model import propose


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study")
    parser.add_argument("data", help="CSV, TSV or Parquet file, or a glob of them")
    parser.add_argument("--out", default="")
    parser.add_argument("--response", default="")
    parser.add_argument("--group", default="")
    asked = parser.parse_args()
    try:
        print("\n".join(write(asked.study, asked.data, asked.out, asked.response, asked.group)))
    except StudyError as error:
        raise SystemExit(str(error)) from None


def write(name: str, data: str, out: str, response: str, group: str) -> list[str]:
    """Write the configuration; what there is to say of it."""
    if not name or not data:
        raise StudyError("new", "expected a name and a file: make new STUDY=name DATA=file.csv")
    check_name(name)
    path = out or f"config/{name}.yaml"
    try:
        if Path(path).exists():
            raise StudyError(path, "exists already, expected a new file; name another one by OUT=")
        proposal = propose(data, response, group)
    except StudyError as error:
        raise error.within(name) from None
    write_text(path, checked(name, configuration(name, data, proposal, path), odd=proposal.odd(marks=False)))
    return [
        f"Wrote {path}: {proposal.formula}",
        *(f"Note: {note}" for note in proposal.notes),
        "Check it (what each column was taken for stands at its top), then run:",
        f'  make ARGS="--configfile {path}"',
    ]


if __name__ == "__main__":
    main()
