"""`kernel`: numba's njit with a disk cache that follows the content of the kernels.

numba's own cache looks at path and time of change of the compiled function's file: a fresh checkout compiles
everything anew, and an edit of a function that a kernel *calls* in another module leaves stale machine code
behind. Here a module's compiled functions are kept under the digest of its text and of the text of every module
with kernels that it imports: an edit compiles anew what it can have changed, and nothing else.
"""

import hashlib
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import config as _config
from numba.core.caching import InTreeCacheLocator

_library = Path(__file__).parents[1]
CACHE = _library / "__pycache__" / "kernels"
_COMPILED = re.compile(rb"^@(kernel|summed|c_function)|= intrinsic\(", re.M)  # what makes machine code


@cache
def _source(module: Path) -> tuple[bytes, frozenset[Path]]:
    """A module's text, and the modules with kernels that it imports."""
    text = module.read_bytes()
    names = re.findall(rb"^(?:from|import) (lmm[\w.]*)", text, re.M)
    paths = (_library.parent / f"{name.decode().replace('.', '/')}.py" for name in names)
    return text, frozenset(path for path in paths if path.is_file() and _has_kernels(path))


def _has_kernels(module: Path) -> bool:
    """Whether machine code is made of its text; this module's is part of all, by its decorators' settings."""
    return module == Path(__file__) or _COMPILED.search(module.read_bytes()) is not None


@cache
def digest_of(module: str) -> str:
    """What a module's machine code depends on: its text and that of the modules with kernels it imports.

    Parameters
    ----------
    module : str
        The module's file, absolute.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    met: dict[Path, bytes] = {}
    left = [Path(module)]
    while left:
        path = left.pop()
        if path not in met:
            met[path], imported = _source(path)
            left.extend(imported)
    digest = hashlib.sha256()
    for path in sorted(met):
        digest.update(path.relative_to(_library).as_posix().encode() + b"\n" + met[path])
    return digest.hexdigest()[:16]


class KernelLocator(InTreeCacheLocator):
    """Places the cache of a module's kernels in lmm/__pycache__/kernels/<module>-<digest of what it depends on>."""

    def __init__(self, py_func, py_file):
        super().__init__(py_func, py_file)
        self._digest = digest_of(py_file)
        self._module = ".".join(Path(py_file).relative_to(_library).with_suffix("").parts)

    def get_cache_path(self):
        """The directory."""
        return str(CACHE / f"{self._module}-{self._digest}")

    def get_source_stamp(self):
        """The directory's name already identifies the sources."""
        return self._digest

    def get_disambiguator(self):
        """A module's functions have names of their own."""
        return ""

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
_SETTINGS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
kernel = _cached(numba.njit(**_SETTINGS))
# A kernel whose sums may be added in any order, and products added without being rounded first: as many terms at a
# time as the processor takes. The same numbers on processors of the same kind; NaN and infinity stay what they are.
# A loop that stores to no array is the fastest.
summed = _cached(numba.njit(fastmath={"reassoc", "contract"}, **_SETTINGS))


def c_function(signature: Any) -> Callable:
    """A kernel behind a C signature, reached by its address or through a symbol of LLVM."""
    return _cached(numba.cfunc(signature, cache=True, error_model="numpy"))
