"""What the plan says of a study's files: their sizes, and the parts that jobs of their own read."""

import os
from pathlib import Path

# Several files above the limit: their moments are computed in jobs of their own, each of files of at least a part.
SCATTER_BYTES, PART_BYTES = 4 * 1024**3, 1024**3


def parts(sizes: list[int]) -> list[list[int]]:
    """Spans of files whose moments are computed in jobs of their own; none where one job reads them all.

    Parameters
    ----------
    sizes : list of int
        Bytes of each file.

    Returns
    -------
    list of [first, one after the last]
    """
    if len(sizes) < 2 or sum(sizes) <= SCATTER_BYTES:
        return []
    spans, start, filled = [], 0, 0
    for at, size in enumerate(sizes):
        filled += size
        if filled >= PART_BYTES:
            spans.append([start, at + 1])
            start, filled = at + 1, 0
    if start < len(sizes):  # what is left is too little for a job of its own
        spans[-1][1] = len(sizes)
    return spans


def look(study, formulas: list[str]) -> tuple[list[int], list[str]]:
    """Look at the headers and the first rows of a study's files, that of `predict` among them.

    Returns
    -------
    sizes : list of int
        Bytes of each file of own data.
    notes : list of str
        How files are written that are not plain CSV, for the user.

    Raises
    ------
    StudyError
        A file cannot be used.
    """
    from lmm.core.errors import StudyError
    from lmm.data import ingest
    from lmm.data.dialect import Reading
    from lmm.model.formula import together

    formula, settings = together(formulas), study.settings
    stated, sources = Reading.of(settings.plain()), []
    try:
        if study.data:
            drop = settings.missing == "drop"
            columns, dates = formula.variables, formula.dates
            keys, predictors = formula.keys, formula.predictors
            sources.append(ingest.inspect(study.data, columns, keys, drop, predictors, stated, dates))
            ingest.head(sources[0], formula)
        if settings.predict is not None:
            if not Path(settings.predict).is_file():
                what = f"'{settings.predict}': no such file; expected new rows as CSV, TSV or Parquet"
                raise StudyError("predict", what)
            names = [name for columns in formula.keys for name in columns]
            names = list(dict.fromkeys([*formula.predictors, *names]))
            keys, predictors, files = formula.keys, formula.predictors, [settings.predict]
            sources.append(ingest.inspect(files, names, keys, False, predictors, stated, formula.dates))
    except StudyError as error:
        raise error.within(study.name) from None
    sizes = [os.path.getsize(file) for file in sources[0].files] if study.data else []
    return sizes, list(dict.fromkeys(note for source in sources for note in source.notes))
