"""LAPACK and BLAS for numba kernels: the routines that SciPy brings along, called as symbols.

numba can call them without the interpreter, so kernels stay cacheable and release the GIL. Matrices are in C
order; Fortran reads them transposed, so a lower triangle here is an upper one there.
"""

from typing import Any

import llvmlite.binding
import numpy as np
from numba import types
from numba.extending import get_cython_function_address

from lmm.core.compiled import kernel

_int, _double, _char = (types.CPointer(t) for t in (types.int32, types.double, types.uint8))
# Characters that the routines read: U(pper), N(o), T(ranspose), L(eft).
UPPER, NO, TRANSPOSE, LEFT = (np.array([ord(letter)], dtype=np.uint8) for letter in "UNTL")


def _routine(module: str, name: str, *arguments: Any) -> Any:
    symbol = f"lmm_{name}"
    address = get_cython_function_address(f"scipy.linalg.cython_{module}", name)
    llvmlite.binding.add_symbol(symbol, address)
    return types.ExternalFunction(symbol, types.void(*arguments))


_potrf: Any = _routine("lapack", "dpotrf", _char, _int, _double, _int, _int)
_potri: Any = _routine("lapack", "dpotri", _char, _int, _double, _int, _int)
_syrk: Any = _routine(
    "blas", "dsyrk", _char, _char, _int, _int, _double, _double, _int, _double, _double, _int
)
_trsm: Any = _routine(
    "blas", "dtrsm", _char, _char, _char, _char, _int, _int, _double, _double, _int, _double, _int
)  # fmt: skip


@kernel
def _sizes(a, b, c, d):
    out = np.empty(4, dtype=np.int32)
    out[0], out[1], out[2], out[3] = a, b, c, d
    return out


@kernel
def factorise(a):
    """Replace the lower triangle of a, (n, n), by its Cholesky factor; whether a is positive definite.

    Parameters
    ----------
    a : (n, n) array
        Symmetric; its lower triangle is read and written.

    Returns
    -------
    bool
        Whether it is positive definite.
    """
    n = _sizes(a.shape[0], 0, 0, 0)
    if a.shape[0] == 0:
        return True
    _potrf(UPPER.ctypes, n.ctypes, a.ctypes, n.ctypes, n[1:].ctypes)
    return n[1] == 0


@kernel
def invert(a):
    """Replace the Cholesky factor in the lower triangle of a, (n, n), by the lower triangle of the inverse.

    Parameters
    ----------
    a : (n, n) array
        Its lower triangle is read and written.
    """
    n = _sizes(a.shape[0], 0, 0, 0)
    if a.shape[0] > 0:
        _potri(UPPER.ctypes, n.ctypes, a.ctypes, n.ctypes, n[1:].ctypes)


@kernel
def subtract_gram(w, s):
    """Subtract w'w, w (k, n), from the lower triangle of s, (n, n).

    Parameters
    ----------
    w : (k, n) array
        Factor of what is subtracted.
    s : (n, n) array
        Its lower triangle is written.
    """
    n = _sizes(w.shape[1], w.shape[0], 0, 0)
    if w.size > 0:
        scale = np.array([-1.0, 1.0])
        _syrk(
            UPPER.ctypes, NO.ctypes, n.ctypes, n[1:].ctypes, scale.ctypes, w.ctypes, n.ctypes, scale[1:].ctypes,
            s.ctypes, n.ctypes,
        )  # fmt: skip


@kernel
def solve_rows(root, rows, transposed):
    """Replace each row x of `rows`, (m, n), by root^-1 x, or by root^-T x if `transposed`; root (n, n) lower.

    Parameters
    ----------
    root : (n, n) array
        Lower triangle.
    rows : (m, n) array
        Read and written.
    transposed : bool
        Whether by root^-T.
    """
    n = _sizes(rows.shape[1], rows.shape[0], 0, 0)
    if rows.size > 0:
        one = np.ones(1)
        which = NO if transposed else TRANSPOSE
        _trsm(
            LEFT.ctypes, UPPER.ctypes, which.ctypes, NO.ctypes, n.ctypes, n[1:].ctypes, one.ctypes, root.ctypes,
            n.ctypes, rows.ctypes, n.ctypes,
        )  # fmt: skip


@kernel
def symmetrise(a):
    """Copy the lower triangle of a, (n, n), onto the upper one, in tiles that fit the processor's cache.

    Parameters
    ----------
    a : (n, n) array
        Read and written.
    """
    n, tile = a.shape[0], 32
    for r0 in range(0, n, tile):
        for c0 in range(0, r0 + 1, tile):
            for r in range(r0, min(r0 + tile, n)):
                for c in range(c0, min(c0 + tile, r)):
                    a[c, r] = a[r, c]
