"""This project's engines and statsmodels, kept warm: a line `how<TAB>data file` in; numbers out.

how: reml, reml-profile, mixedlm-default, mixedlm-warm, moments. Numbers: seconds, criterion, sd's, correlation,
sigma, and the seconds of the moments alone. Everything is timed from a data frame in memory.
"""

import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from statsmodels.formula.api import mixedlm as statsmodels_mixedlm

from lmm.data.levels import encode
from lmm.engines import mixedlm, reml
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.moments import accumulate
from lmm.moments.pilot import finite_matrix

FORMULA = "y ~ x + (x | group)"


def numbers_of(fit) -> list[float]:
    """Criterion, sd's, correlation, sigma of a tidy fit."""
    found = fit.parameters.set_index("term")["estimate"]
    terms = ("sd__Intercept", "sd__x", "cor__Intercept.x", "sd__Observation")
    return [fit.diagnostics.criterion, *(found[term] for term in terms)]


def from_frame(how: str, frame: pd.DataFrame) -> list[float]:
    """One fit of one of our engines, moments included."""
    began = time.perf_counter()
    design = build(parse(FORMULA), frame)
    codes, levels = encode(frame["group"])
    y, W = finite_matrix(design, frame)
    terms = design.terms
    moments = accumulate.compute(
        terms, y, W, codes, levels, accumulate.keeps_whole(len(levels), len(terms.columns))
    )
    seconds = time.perf_counter() - began
    profile = how == "reml-profile"
    fit, _ = reml.fit(moments, terms.fixed, terms.blocks, profile=profile)
    if how == "mixedlm-warm":
        fit = mixedlm.fit(terms, y, W, codes, levels, reml=fit)
    return [time.perf_counter() - began, *numbers_of(fit), seconds]


def default(frame: pd.DataFrame) -> list[float]:
    """statsmodels as its users call it."""
    began = time.perf_counter()
    result = statsmodels_mixedlm("y ~ x", frame, groups="group", re_formula="~x").fit()
    seconds = time.perf_counter() - began
    covariance = np.asarray(result.cov_re)
    sds = np.sqrt(np.diag(covariance))
    return [
        seconds, -2 * result.llf, *sds, covariance[0, 1] / sds.prod(), np.sqrt(result.scale), 0.0,
    ]  # fmt: skip


def main() -> None:
    """Answer until there are no more questions."""
    warnings.simplefilter("ignore")
    known, frame = None, None
    for line in sys.stdin:
        how, path = line.rstrip("\n").split("\t")
        if path != known:
            known, frame = path, pd.read_csv(path, float_precision="round_trip")
        try:
            found = default(frame) if how == "mixedlm-default" else from_frame(how, frame)
            print(*(repr(float(number)) for number in found), flush=True)
        except Exception as problem:
            print("error", type(problem).__name__, str(problem).replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
