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


def sizes(study, formulas: list[str]) -> list[int]:
    """Bytes of each file of own data; the files' headers are checked on the way, that of `predict` too."""
    from lmm.core.errors import StudyError
    from lmm.data import ingest
    from lmm.model.formula import together

    formula, settings = together(formulas), study.settings
    source = None
    try:
        if study.data:
            drop = settings.missing == "drop"
            source = ingest.inspect(study.data, formula.variables, formula.keys, drop, formula.predictors)
        if settings.predict is not None:
            if not Path(settings.predict).is_file():
                what = f"'{settings.predict}': no such file; expected new rows as CSV, TSV or Parquet"
                raise StudyError("predict", what)
            keys = [name for columns in formula.keys for name in columns]
            names = list(dict.fromkeys([*formula.predictors, *keys]))
            ingest.inspect([settings.predict], names, formula.keys, predictors=formula.predictors)
    except StudyError as error:
        raise error.within(study.name) from None
    return [os.path.getsize(file) for file in source.files] if source else []
