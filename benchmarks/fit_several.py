"""reml with several grouping factors, kept warm: a line `formula<TAB>data file` in; CPU seconds, criterion out.

From a data frame in memory to the certified optimum, moments included.
"""

import sys
import time
import warnings
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from lmm.inference.several_optimum import optimum
from lmm.likelihood.several_problem import build
from lmm.model import design
from lmm.model.formula import parse
from lmm.moments.stage import of_rows


def fitted(formula: str, frame: pd.DataFrame) -> list[float]:
    """CPU seconds, REML criterion, and the seconds of the moments alone."""
    began = time.process_time()
    made = design.build(parse(formula), frame)
    moments = of_rows(made, frame)
    counted = time.process_time()
    terms = made.terms
    best = optimum(build(moments, terms.fixed, [grouping.blocks for grouping in terms.groupings]))
    if not best.certified:
        raise RuntimeError("the optimum is not certified")
    return [time.process_time() - began, best.criterion, counted - began]


def main() -> None:
    """Answer until there are no more questions."""
    warnings.simplefilter("ignore")
    known, frame = None, None
    for line in sys.stdin:
        formula, path = line.rstrip("\n").split("\t")
        if path != known:
            known, frame = path, pd.read_csv(path)
        try:
            print(*(repr(float(number)) for number in fitted(formula, frame)), flush=True)
        except Exception as problem:
            print("error", type(problem).__name__, str(problem).replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
