"""glmm or mixedlm with any formula, kept warm: a line `formula<TAB>data file` in; CPU seconds, criterion out.

The package's name is the argument. Runs in an environment of its own (README.md).
"""

import sys
import time
import warnings

import pandas as pd

LABELS = ("s", "d", "dept", "a", "b", "school", "class")
warnings.simplefilter("ignore")
package = sys.argv[1]
if package == "glmm":
    import glmm
else:
    import mixedlm


def criterion(formula: str, data: pd.DataFrame) -> float:
    """Fit by REML; -2 log likelihood where the package has it, else NaN."""
    if package == "glmm":
        found = glmm.fit(data, formula, reml=True, satterthwaite=False)
        value = getattr(found, "loglik", None)
        return float("nan") if value is None else -2.0 * float(value)
    return float(mixedlm.lmer(formula, data).deviance)


known, frame = None, None
for line in sys.stdin:
    formula, path = line.rstrip("\n").split("\t")
    if path != known:
        known, frame = path, pd.read_csv(path)
        for name in set(LABELS) & set(frame.columns):
            frame[name] = "l" + frame[name].astype(str)
    try:
        began = time.process_time()
        value = criterion(formula, frame)
        print(repr(time.process_time() - began), repr(value), flush=True)
    except Exception as problem:
        print("error", type(problem).__name__, str(problem).replace("\n", " "), flush=True)
