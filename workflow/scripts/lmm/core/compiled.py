"""`kernel`: numba's njit with a disk cache that follows the content of the kernels.

numba's own cache looks at path and time of change of the compiled function's file: a fresh checkout compiles
everything anew, and an edit of a function that a kernel *calls* in another module leaves stale machine code
behind. Here the cache is named after the content of all modules that hold kernels.
"""

import hashlib
import os
from pathlib import Path

import numba
from numba.core.caching import CacheImpl, _CacheLocator

_here = Path(__file__).parent
_digest = hashlib.sha256()
for _module in sorted(_here.glob("*.py")):
    _text = _module.read_bytes()
    if b"@kernel" in _text or b"@numba.cfunc" in _text:
        _digest.update(_text)
DIGEST = _digest.hexdigest()[:16]


class KernelLocator(_CacheLocator):
    """Places the cache of this package's kernels in __pycache__/kernels-<digest of their sources>."""

    def __init__(self, line: int):
        self._line = line

    def get_cache_path(self):
        """The directory."""
        return str(_here / "__pycache__" / f"kernels-{DIGEST}")

    def get_source_stamp(self):
        """The directory's name says it all."""
        return DIGEST

    def get_disambiguator(self):
        """Functions of one name in one file are told apart by their line."""
        return str(self._line)

    @classmethod
    def from_function(cls, py_func, py_file):
        """For this package's functions, where the directory can be written."""
        if Path(py_file).parent != _here or not os.access(_here, os.W_OK):
            return None
        return cls(py_func.__code__.co_firstlineno)


CacheImpl._locator_classes.insert(0, KernelLocator)

# error_model numpy: a division by zero gives inf or nan, which callers test for; nogil: chains run in threads
kernel = numba.njit(cache=True, nogil=True, error_model="numpy")
