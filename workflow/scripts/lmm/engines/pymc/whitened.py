"""A compiled model in coordinates z in which its posterior is about standard normal: x = mode + root z.

root root' is the inverse of the curvature at the mode of the density that NUTS samples. In z the sampler's metric and
step size are about right from the start, so that warm-up is short. The density is the same up to its constant; two C
functions stand before nutpie's own two, which they call by address.
"""

import ctypes
from dataclasses import replace
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

from lmm.core.addresses import call, pointer
from lmm.core.compiled import c_function, kernel
from lmm.engines.pymc.compile import DENSITY, EXPANSION
from lmm.engines.pymc.importance import laplace

SPREAD = 2.0  # of the chains' starts, in posterior sd's: wider than the posterior, for R-hat's sake
# by nutpie's dual averaging the step size would be too small after a short warm-up, and the trees a third larger
STEPS = {"step_size_adapt_method": "adam", "initial_step": 1.2}
FIELDS = 4  # of the record: addresses of density, expansion, nutpie's record, and the mode beside the root

_word = types.uint64


@kernel
def placed(linear, z):
    """The point x = mode + root z.

    Parameters
    ----------
    linear : (n, n + 1) array
        The mode, and beside it the lower triangular root.
    z : (n,) array
        Coordinates.

    Returns
    -------
    (n,) array
    """
    x = linear[:, 0].copy()
    for a in range(len(z)):
        for b in range(a + 1):
            x[a] += linear[a, 1 + b] * z[b]
    return x


@c_function(DENSITY)
def _density(size, z, gradient, value, record):
    """Log density and its gradient in z; the C function of `nutpie.compile_pymc._make_c_logp_func`."""
    words = numba.carray(record, (FIELDS,))
    linear = numba.carray(pointer(words[3]), (size, size + 1), np.float64)
    x, slopes = placed(linear, numba.carray(z, (size,))), np.empty(size)
    found = numba.carray(value, (1,))
    code = call(
        words[0], (size, _word(x.ctypes.data), _word(slopes.ctypes.data), _word(found.ctypes.data), words[2])
    )
    for b in range(size):
        gradient[b] = 0.0
        for a in range(b, size):
            gradient[b] += linear[a, 1 + b] * slopes[a]
    return code


@c_function(EXPANSION)
def _expansion(size, kept, z, values, record):
    """What is kept at z; the C function of `nutpie.compile_pymc._make_c_expand_func`."""
    words = numba.carray(record, (FIELDS,))
    linear = numba.carray(pointer(words[3]), (size, size + 1), np.float64)
    x, out = placed(linear, numba.carray(z, (size,))), numba.carray(values, (kept,))
    return call(words[1], (size, kept, _word(x.ctypes.data), _word(out.ctypes.data), words[2]))


_CALL = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_uint64, *[ctypes.c_void_p] * 4)


class Density:
    """The log density of a compiled model, as `importance.laplace` takes it.

    Parameters
    ----------
    compiled : CompiledPyMCModel
        nutpie's, with its data.
    """

    def __init__(self, compiled: Any):
        self.compiled, self.call = compiled, _CALL(compiled.compiled_logp_func.address)

    def slopes(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log density and its gradient.

        Parameters
        ----------
        points : (N, n) array
            Unconstrained values of the free variables.

        Returns
        -------
        (N,), (N, n) arrays
            Minus infinity where it cannot be evaluated.
        """
        points = np.array(points, dtype=float)
        gradients, values, record = np.zeros_like(points), np.zeros(len(points)), self.compiled.user_data
        for at, x in enumerate(points):
            parts = x, gradients[at], values[at : at + 1], record
            if self.call(len(x), *(array.ctypes.data for array in parts)) != 0:
                values[at] = -np.inf
        return values, gradients


class Whitened(NamedTuple):
    """A compiled model in the coordinates z.

    Attributes
    ----------
    compiled : CompiledPyMCModel
    alive : tuple
        What it points to: to be kept as long as it is sampled.
    """

    compiled: Any
    alive: tuple[Any, ...]


def whitened(compiled: Any, start: np.ndarray) -> Whitened:
    """A compiled model in coordinates in which its posterior is about standard normal.

    Parameters
    ----------
    compiled : CompiledPyMCModel
        nutpie's, with its data.
    start : (n,) array
        Unconstrained values of the free variables where the search for the mode starts.

    Returns
    -------
    Whitened

    Raises
    ------
    LinAlgError
        Where the density has no finite curvature.
    """
    mode, root, _ = laplace(Density(compiled), start)
    linear = np.column_stack([mode, root])
    addresses = (
        compiled.compiled_logp_func.address, compiled.compiled_expand_func.address,
        compiled.user_data.ctypes.data, linear.ctypes.data,
    )  # fmt: skip

    def around(chain_seed: Any) -> np.ndarray:
        return np.random.default_rng(chain_seed).uniform(-SPREAD, SPREAD, len(mode))

    own = replace(
        compiled,
        compiled_logp_func=_density,
        compiled_expand_func=_expansion,
        user_data=np.array(addresses, dtype=np.uint64),
        initial_point_func=around,
    )
    return Whitened(own, (compiled, linear))
