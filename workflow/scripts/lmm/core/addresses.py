"""Addresses in compiled code: an address as a pointer, and a call of the C function that is there."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ARGUMENTS = 5  # of a C function that is called

_word = types.uint64


def _pointer(_, address):
    """Numba's code for an address as a pointer."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


def _called(_, address, arguments):
    """Numba's code for a call of the C function at an address, its five arguments addresses or sizes."""

    def generate(context, builder, signature, values):
        word = ir.IntType(64)
        function = builder.inttoptr(values[0], ir.FunctionType(word, [word] * ARGUMENTS).as_pointer())
        return builder.call(function, [builder.extract_value(values[1], k) for k in range(ARGUMENTS)])

    return types.int64(_word, types.UniTuple(_word, ARGUMENTS)), generate


pointer: Any = intrinsic(_pointer)
call: Any = intrinsic(_called)
