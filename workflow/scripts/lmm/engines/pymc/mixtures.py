"""Quantiles of mixtures of normals: what a posterior is whose conditionals are normal."""

import math

import numpy as np

from lmm.core.compiled import kernel


@kernel
def mixture_quantile(means, sds, prob, low, high, x):
    """Quantile of an equal mixture of normals, by bisection safeguarded Newton steps from x.

    A Newton step's own error is of the order of its square, so the last one is as small as half of the digits
    wanted: 1e-4 sd (the bracket is 24 sd wide) leaves 1e-8 sd.
    """
    small = 1e-4 / 24.0 * (high - low)
    for _ in range(60):
        cdf, pdf = 0.0, 0.0
        for s in range(len(means)):
            if sds[s] > 0.0:
                z = (x - means[s]) / sds[s]
                cdf += 0.5 * math.erfc(-z / math.sqrt(2.0))
                pdf += math.exp(-0.5 * z * z) / (sds[s] * math.sqrt(2.0 * math.pi))
            elif x >= means[s]:
                cdf += 1.0
        error = cdf / len(means) - prob
        if error > 0.0:
            high = x
        else:
            low = x
        step = error * len(means) / pdf if pdf > 0.0 else np.inf
        following = x - step
        if not low < following < high:
            following = 0.5 * (low + high)
        elif abs(step) <= small:
            return following
        if high - low <= 1e-12 * abs(x):
            return following
        x = following
    return x
