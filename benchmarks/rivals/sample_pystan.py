"""pystan: one compile, then a fit for each data file; arguments and output as sample_rstan.R.

Its seconds are wall time of `sample`, which runs the chains side by side.
"""

import sys
import time

import numpy as np
import pandas as pd
import stan

path, (chains, warmup, draws, _, seed), out = sys.argv[1], map(int, sys.argv[2:7]), sys.argv[7]
with open(path, encoding="utf-8") as file:
    code = file.read()
for data in sys.argv[8:]:
    frame = pd.read_csv(data, float_precision="round_trip")
    values = {name: frame[name].tolist() for name in ("x", "y", "group")}
    began = time.perf_counter()
    model = stan.build(code, data=values | {"N": len(frame), "g": max(values["group"])}, random_seed=seed)
    print("compile", time.perf_counter() - began, flush=True)
    began = time.perf_counter()
    fit = model.sample(num_chains=chains, num_warmup=warmup, num_samples=draws)
    seconds = time.perf_counter() - began
    found = np.concatenate([np.atleast_2d(fit[name]) for name in fit.param_names])
    found.reshape(len(found), draws, chains).swapaxes(1, 2).astype(float).tofile(out)
    print("sample", seconds, len(found), flush=True)
