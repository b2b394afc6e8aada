"""A proposal as a configuration file: commented, and valid before it is written."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from lmm.config.load import load
from lmm.core.engines import ENGINES
from lmm.core.errors import StudyError
from lmm.data import ingest
from lmm.data.dialect import Reading
from lmm.model.formula import parse
from lmm.proposal.columns import describe
from lmm.proposal.model import Proposal

TEMPLATE = """\
# Proposed by `make new`: check the formula, then run: make ARGS="--configfile {path}"
# Every key: config/README.md. Looked at: {rows}.
{columns}
{notes}studies:
  {name}:
    title: {title}
    formula: {formula} # {effects}
{others}    data: {data}
{reading}    missing: {missing}
    engines: # leave out what you do not want
{engines}report:
  title: {report}
"""


ABOUT = {"pymc": " # weakly informative priors, scaled by the data; the report lists their numbers"}


def configuration(name: str, data: str, proposal: Proposal, path: str) -> str:
    """The text of a configuration file.

    Parameters
    ----------
    name : str
        The study's.
    data : str
        Path or glob of its files, as the configuration shall have it.
    proposal : Proposal
    path : str
        Where the text is going to be.
    """
    quoted = json.dumps  # a JSON string is a YAML string
    slope = next((column for column in proposal.columns if column.role == "slope"), None)
    effects = (
        f"groups differ in intercept and in the slope of {slope.term}" if slope else "groups differ in level"
    )
    rows = f"all {proposal.rows:,} rows" if proposal.whole else f"a sample of {proposal.rows:,} rows"
    many = proposal.missing
    if proposal.interaction:
        effects += f"; {proposal.interaction}: arms differ in their course, the treatment's effect"
    several = parse(proposal.formula).several
    listed = "".join(
        f"      {name}: {{}}{ABOUT.get(name, '')}\n"
        for name, engine in ENGINES.items()
        if engine.several or not several
    )
    marks = proposal.odd(marks=True)
    reading = (
        f"    missing_values: {quoted(marks, ensure_ascii=False)} # these mean missing\n" if marks else ""
    )
    if proposal.csv:
        reading += f"    csv: {quoted(proposal.csv, ensure_ascii=False)} # as found in the file\n"
    return TEMPLATE.format(
        path=path,
        rows=f"{rows}, {proposal.groups:,} groups",
        columns="\n".join(f"#   {column.name}: {describe(column)}" for column in proposal.columns),
        notes="".join(f"# Note: {note}\n" for note in proposal.notes),
        reading=reading,
        name=name,
        title=quoted(name.replace("-", " ").replace("_", " ").capitalize(), ensure_ascii=False),
        formula=quoted(proposal.formula, ensure_ascii=False),
        effects=effects,
        engines=listed,
        others="".join(f"    # or: {quoted(text, ensure_ascii=False)}\n" for text in proposal.others),
        data=quoted(data, ensure_ascii=False),
        missing=f"drop # a column used lacks values ({many} rows of the sample); `error` stops instead"
        if many
        else "error # or drop: leave out rows with missing values",
        report=quoted(f"Mixed models of {name}", ensure_ascii=False),
    )


def checked(name: str, text: str, root: str | Path = ".", odd: Sequence[str] = ()) -> str:
    """`text`, once it has passed what a run checks before its first fit.

    Parameters
    ----------
    name : str
        The study's.
    text : str
    root : str or Path
    odd : sequence of str
        Values that are not numbers and that the user has yet to decide about: everything else is checked.

    Raises
    ------
    StudyError
        The study's name, or the data: headers, and the rows too where they are few enough to be copied.
    """
    study = load(yaml.safe_load(text), root).studies[name]
    formula, settings = study.formula, study.settings
    stated = Reading.of(settings.plain())
    stated = replace(stated, missing=(*stated.missing, *odd))
    drop = settings.missing == "drop" or bool(odd)
    try:
        keys, predictors = formula.keys, formula.predictors
        source = ingest.inspect(study.data, formula.variables, keys, drop, predictors, stated, formula.dates)
        if source.size <= ingest.COPY_LIMIT:
            ingest.scan(source, formula)
    except StudyError as error:
        raise error.within(name) from None
    return text
