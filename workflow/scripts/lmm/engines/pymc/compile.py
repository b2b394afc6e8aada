"""nutpie's compilation of a `pm.Model` without the slow half of its wrapper.

nutpie compiles, anew in every process, two C functions around PyTensor's (density with gradient, values to keep).
Its own wrappers unroll a loop over the shared data and assign whole arrays, whose error message numba compiles with
all of its string formatting: half of the compilation of a small model. The two wrappers here do the same by a read
of each address and a loop. Everything else is nutpie's, and with its own wrappers the draws are the same.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from unittest.mock import patch

import numba
import numpy as np
import nutpie
import nutpie.compile_pymc
import pymc as pm
from numba import types
from numba.np.unsafe.ndarray import to_fixed_tuple
from nutpie.compile_pymc import address_as_void_pointer

WORD = 8  # bytes of each of the record's fields: addresses, sizes and lengths of the shared arrays
_doubles, _words = types.CPointer(types.double), types.CPointer(types.uint64)
DENSITY = types.int64(types.uint64, _doubles, _doubles, _doubles, _words)
EXPANSION = types.int64(types.uint64, types.uint64, _doubles, _doubles, _words)
SIZE, NOT_FINITE, NOT_FINITE_VALUE, RAISED, RAISED_IN_EXPANSION = -1, 3, 4, 1, -2  # nutpie's return codes


def compile_model(model: pm.Model, names: Iterable[str]) -> Any:
    """`nutpie.compile_pymc_model` of a model, keeping the variables `names`."""
    wrappers = {"_make_c_logp_func": density_wrapper, "_make_c_expand_func": expansion_wrapper}
    with patch.multiple(nutpie.compile_pymc, **wrappers):
        return nutpie.compile_pymc_model(model, var_names=list(names))


def with_shared(function: Callable, record: np.ndarray, keys: Sequence[str], shared: dict) -> Callable:
    """`function(x, *shared arrays)` as a function of x and of the record that says where the arrays are."""
    fields = record.dtype["shared"]

    def word(part: str, key: str) -> int:
        names, start = fields.fields[part]
        return (start + names.fields[key][1]) // WORD

    @numba.njit
    def none(words):
        return ()

    def read_before(key: str, others: Callable) -> Callable:
        array, address, shape = shared[key], word("data", key), word("shape", key)
        dtype, ndim = array.dtype, array.ndim

        @numba.njit
        def read(words):
            lengths = to_fixed_tuple(words[shape : shape + ndim], ndim)
            return (numba.carray(address_as_void_pointer(words[address]), lengths, dtype), *others(words))

        return read

    arrays = none
    for key in reversed(keys):
        arrays = read_before(key, arrays)

    @numba.njit
    def call(x, words):
        return function(x, *arrays(words))

    return call


def density_wrapper(
    n: int, density: Callable, record: np.ndarray, keys: Sequence[str], shared: dict
) -> tuple[Callable, Any]:
    """The C function of log density and gradient, and its signature (`nutpie.compile_pymc._make_c_logp_func`)."""
    call, words = with_shared(density, record, keys, shared), record.nbytes // WORD

    def wrapped(size, x, gradient, value, user_data):
        if size != n:
            return SIZE
        try:
            logp, slopes = call(numba.carray(x, (n,)), numba.carray(user_data, (words,)))
            for i in range(n):
                gradient[i] = slopes[i]
                if not np.isfinite(slopes[i]):
                    return NOT_FINITE
            value[0] = logp[()]
            if not np.isfinite(value[0]):
                return NOT_FINITE_VALUE
        except Exception:  # numba knows no other kind
            return RAISED
        return 0

    return wrapped, DENSITY


def expansion_wrapper(
    n: int, n_kept: int, expansion: Callable, record: np.ndarray, keys: Sequence[str], shared: dict
) -> tuple[Callable, Any]:
    """The C function of the values to keep, and its signature (`nutpie.compile_pymc._make_c_expand_func`)."""
    call, words = with_shared(expansion, record, keys, shared), record.nbytes // WORD

    def wrapped(size, size_kept, x, kept, user_data):
        if size != n or size_kept != n_kept:
            return SIZE
        try:
            (values,) = call(numba.carray(x, (n,)), numba.carray(user_data, (words,)))
            for i in range(n_kept):
                kept[i] = values[i]
        except Exception:
            return RAISED_IN_EXPANSION
        return 0

    return wrapped, EXPANSION
