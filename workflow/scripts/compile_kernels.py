"""Compile every kernel once, when the project is installed: by fitting a small data set with each engine."""

import time
from multiprocessing import get_context

from running.sample_fits import exact, several_factors_and_bayes


def main() -> None:
    """Fit 40 rows in 8 groups by reml, and in a process beside this one 40 rows of two crossed factors and by PyMC.

    Half of the time each: what both need, the first compiles while the second is at the factors' own kernels. It
    stays in the caches of numba and PyTensor.
    """
    start = time.perf_counter()
    beside = get_context("spawn").Process(target=several_factors_and_bayes)
    beside.start()
    exact()
    beside.join()
    if beside.exitcode:
        raise SystemExit(beside.exitcode)
    print(f"Kernels compiled in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
