"""nutpie's compilation of a `pm.Model` without the slow half of its wrapper.

nutpie compiles, anew in every process, two C functions around PyTensor's (density with gradient, values to keep).
Its own wrappers unroll a loop over the shared data and assign whole arrays, whose error message numba compiles with
all of its string formatting: half of the compilation of a small model. The two wrappers here do the same by a read
of each address and a loop. Everything else is nutpie's, and with its own wrappers the draws are the same.

The wrappers take the place of two private functions of nutpie. Where a version of nutpie has other names, parameters,
C signatures or another record of the shared data, its own wrappers are compiled: slower, with the same draws.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import nutpie
import nutpie.compile_pymc
import pymc as pm
from numba import types
from numba.np.unsafe.ndarray import to_fixed_tuple

from lmm.core.addresses import pointer

WORD = 8  # bytes of each of the record's fields: addresses, sizes and lengths of the shared arrays
_doubles, _words = types.CPointer(types.double), types.CPointer(types.uint64)
DENSITY = types.int64(types.uint64, _doubles, _doubles, _doubles, _words)
EXPANSION = types.int64(types.uint64, types.uint64, _doubles, _doubles, _words)
SIZE, NOT_FINITE, NOT_FINITE_VALUE, RAISED, RAISED_IN_EXPANSION = -1, 3, 4, 1, -2  # nutpie's return codes


def compile_model(model: pm.Model, names: Iterable[str]) -> Any:
    """`nutpie.compile_pymc_model` of a model, keeping the variables `names`."""
    with lean_wrappers(nutpie.compile_pymc):
        return nutpie.compile_pymc_model(model, var_names=list(names))


@dataclass(frozen=True)
class Lean:
    """A wrapper's factory, with what it takes for granted of nutpie's.

    Attributes
    ----------
    make : callable
        Takes nutpie's arguments; returns the function to compile and its C signature.
    parameters : tuple of str
        Names of the arguments of nutpie's factory.
    signature : numba signature
        Of the C function that nutpie's factory returns.
    """

    make: Callable
    parameters: tuple[str, ...]
    signature: Any

    def fits(self, own: Any) -> bool:
        """Whether nutpie's factory takes the arguments that `make` takes."""
        return callable(own) and tuple(inspect.signature(own).parameters) == self.parameters

    def instead_of(self, own: Callable) -> Callable:
        """`make`, or nutpie's factory where its C function or its record of the shared data is another one."""

        def factory(*arguments: Any) -> tuple[Callable, Any]:
            theirs = own(*arguments)
            record = arguments[self.parameters.index("user_data")].dtype
            known = record.names == ("shared",) and record["shared"].names == ("data", "size", "shape")
            return self.make(*arguments) if known and theirs[1] == self.signature else theirs

        return factory


@contextmanager
def lean_wrappers(module: Any) -> Iterator[bool]:
    """Let the wrappers below stand in `module` meanwhile; False where it has not the functions that they replace."""
    found: dict[str, Any] = {name: getattr(module, name, None) for name in LEAN}
    fits = all(lean.fits(found[name]) for name, lean in LEAN.items())
    try:
        for name, lean in LEAN.items() if fits else ():
            setattr(module, name, lean.instead_of(found[name]))
        yield fits
    finally:
        for name in LEAN if fits else ():
            setattr(module, name, found[name])


fixed_tuple: Any = to_fixed_tuple


def with_shared(function: Callable, record: np.ndarray, keys: Sequence[str], shared: dict) -> Callable:
    """`function(x, *shared arrays)` as a function of x and of the record that says where the arrays are.

    Parameters
    ----------
    function : callable
        PyTensor's compiled function.
    record : record array
        nutpie's: address, size and shape of each shared array.
    keys : sequence of str
        Names of the shared arrays, in the function's order.
    shared : dict of array
        The arrays by name: their types and numbers of dimensions are compiled in.

    Returns
    -------
    callable
        Compiled function of (x, words).
    """
    fields: Any = record.dtype["shared"].fields

    def word(part: str, key: str) -> int:
        names, start = fields[part]
        return (start + names.fields[key][1]) // WORD

    @numba.njit
    def none(words: Any) -> tuple:
        return ()

    def read_before(key: str, others: Callable) -> Callable:
        array, address, shape = shared[key], word("data", key), word("shape", key)
        dtype, ndim = array.dtype, array.ndim

        @numba.njit
        def read(words):
            lengths = fixed_tuple(words[shape : shape + ndim], ndim)
            return (numba.carray(pointer(words[address]), lengths, dtype), *others(words))

        return read

    arrays: Callable = none
    for key in reversed(keys):
        arrays = read_before(key, arrays)

    @numba.njit
    def call(x, words):
        return function(x, *arrays(words))

    return call


def density_wrapper(
    n: int, density: Callable, record: np.ndarray, keys: Sequence[str], shared: dict
) -> tuple[Callable, Any]:
    """The C function of log density and gradient, and its signature (`nutpie.compile_pymc._make_c_logp_func`).

    Parameters
    ----------
    n : int
        Number of unconstrained parameters.
    density : callable
        PyTensor's log density and gradient.
    record : record array
        See `with_shared`.
    keys : sequence of str
        See `with_shared`.
    shared : dict of array
        See `with_shared`.

    Returns
    -------
    function, signature
        What numba compiles to C.
    """
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
    """The C function of the values to keep, and its signature (`nutpie.compile_pymc._make_c_expand_func`).

    Parameters
    ----------
    n : int
        Number of unconstrained parameters.
    n_kept : int
        Number of values to keep.
    expansion : callable
        PyTensor's function of these values.
    record : record array
        See `with_shared`.
    keys : sequence of str
        See `with_shared`.
    shared : dict of array
        See `with_shared`.

    Returns
    -------
    function, signature
        What numba compiles to C.
    """
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


LEAN = {
    "_make_c_logp_func": Lean(
        density_wrapper,
        ("n_dim", "logp_fn", "user_data", "shared_keys", "shared_data"),
        types.int64(types.uint64, _doubles, _doubles, _doubles, types.voidptr),
    ),
    "_make_c_expand_func": Lean(
        expansion_wrapper,
        ("n_dim", "n_expanded", "expand_fn", "user_data", "shared_var_keys", "shared_data"),
        types.int64(types.uint64, types.uint64, _doubles, _doubles, types.voidptr),
    ),
}
