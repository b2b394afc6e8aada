"""`kernel`: numba's njit with a disk cache that follows the content of the kernels.

numba's own cache looks at path and time of change of the compiled function's file: a fresh checkout compiles
everything anew, and an edit of a function that a kernel *calls* in another module leaves stale machine code
behind. Here the cache is named after the content of all modules that hold kernels.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config as _config
from numba.core.caching import InTreeCacheLocator

_library = Path(__file__).parents[1]
_digest = hashlib.sha256()
for _module in sorted(_library.rglob("*.py")):
    _text = _module.read_bytes()
    if b"@kernel" in _text or b"@c_function" in _text:
        _digest.update(_text)
DIGEST = _digest.hexdigest()[:16]
CACHE = _library / "__pycache__" / f"kernels-{DIGEST}"


class KernelLocator(InTreeCacheLocator):
    """Places the cache of this library's kernels in lmm/__pycache__/kernels-<digest of their sources>."""

    def __init__(self, py_func, py_file):
        super().__init__(py_func, py_file)
        module = ".".join(Path(py_file).relative_to(_library).with_suffix("").parts)
        self._place = f"{module}-{py_func.__code__.co_firstlineno}"

    def get_cache_path(self):
        """The directory."""
        return str(CACHE)

    def get_source_stamp(self):
        """The directory's name already identifies the sources."""
        return DIGEST

    def get_disambiguator(self):
        """Functions of one name are told apart by module and line."""
        return self._place

    @classmethod
    def from_function(cls, py_func, py_file):
        """For this library's functions, where the directory can be written."""
        if _library not in Path(py_file).parents or not os.access(_library, os.W_OK):
            return None
        return cls(py_func, py_file)


config: Any = _config  # numba's, whose settings are set at its import

# PyTensor and others have locators of their own: the setting holds while a function of ours is decorated, no longer
_LOCATORS = f"{__name__}.{KernelLocator.__name__},InTreeCacheLocator,UserWideCacheLocator,IPythonCacheLocator"


def _cached(decorator: Callable) -> Callable:
    """The decorator, with this library's cache for what it compiles."""

    def decorate(function: Callable) -> Any:
        before = config.CACHE_LOCATOR_CLASSES
        config.CACHE_LOCATOR_CLASSES = _LOCATORS
        try:
            return decorator(function)
        finally:
            config.CACHE_LOCATOR_CLASSES = before

    return decorate


# error_model numpy: a division by zero gives inf or nan, which callers test for; nogil: chains run in threads
kernel = _cached(numba.njit(cache=True, nogil=True, error_model="numpy"))


def c_function(signature: Any) -> Callable:
    """A kernel behind a C signature, reached by its address or through a symbol of LLVM."""
    return _cached(numba.cfunc(signature, cache=True, error_model="numpy"))
