"""MCPower's power of x in the coffee design: milliseconds of CPU per simulated data set, and the power.

    python fit_mcpower.py DATA_SETS

Its intraclass correlation is at most 0.9 where that of the design is 0.99. Runs in an environment of its own
(README.md).
"""

import sys
import time

from mcpower import MCPower

number, quiet = int(sys.argv[1]), {"verbose": False, "progress_callback": False}
model = MCPower("y = x + (1 + x|g)", family="lme")
model.set_effects("x=0.5")
model.set_cluster("g", ICC=0.9, n_clusters=100, random_slopes=["x"], slope_variance=1.0)
model.find_power(1000, target_test="x", n_sims=100, seed=1, **quiet)
began = time.process_time()
model.find_power(1000, target_test="x", n_sims=number, seed=1, **quiet)
print(1e3 * (time.process_time() - began) / number)
