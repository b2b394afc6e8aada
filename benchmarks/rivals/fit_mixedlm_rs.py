"""mixedlm-rs, kept warm: a line `how<TAB>data file` in; seconds, criterion, sd's, correlation, sigma out.

Runs in an environment of its own (README.md).
"""

import sys
import time
import warnings

import mixedlm_rs
import numpy as np
import pandas as pd

warnings.simplefilter("ignore")
known, data = None, None
for line in sys.stdin:
    _, path = line.rstrip("\n").split("\t")
    if path != known:
        known, data = path, pd.read_csv(path, float_precision="round_trip")
    try:
        began = time.perf_counter()
        result = mixedlm_rs.mixedlm("y ~ x", data, groups="group", re_formula="~x").fit()
        seconds = time.perf_counter() - began
        covariance = np.asarray(result.cov_re)
        sds = np.sqrt(np.diag(covariance))
        numbers = [seconds, -2 * result.llf, *sds, covariance[0, 1] / sds.prod(), np.sqrt(result.scale)]
        print(*(repr(float(number)) for number in numbers), flush=True)
    except Exception as problem:
        print("error", type(problem).__name__, str(problem).replace("\n", " "), flush=True)
