"""What the report says of categorical predictors."""

import re

from lmm.results import Results
from lmm.words import listed


def contrasts(results: Results) -> list[str]:
    """Which level of each categorical predictor the others are compared with."""
    terms = {term for fit in results.fits.values() for term in fit.parameters["term"]}
    said = []
    for name, column in results.data["columns"].items():
        if "levels" not in column:
            continue
        named = rf"(?:{re.escape(name)}|C\(`?{re.escape(name)}(?!\w).*\))\[T\.(.*)\]"
        compared = {found[1] for term in terms if (found := re.fullmatch(named, term))}
        left = [str(level) for level in column["levels"] if str(level) not in compared]
        if compared and len(left) == 1:
            said.append(f"levels of {name} with {left[0]}")
    return [f"Treatment contrasts compare {listed(said)}."] if said else []
