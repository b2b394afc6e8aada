"""`kernel`: numba's njit with a disk cache that notices edits.

numba's own cache looks at the file of the compiled function only; an edit of a function that it *calls* in
another module would leave stale machine code behind. Here the cache's directory is named after the content of
all modules that hold kernels.
"""

import hashlib
from pathlib import Path

import numba

_here = Path(__file__).parent
_digest = hashlib.sha256()
for _module in sorted(_here.glob("*.py")):
    _text = _module.read_bytes()
    if b"from lmm.compiled import kernel" in _text:
        _digest.update(_text)
DIGEST = _digest.hexdigest()[:16]
numba.config.CACHE_DIR = str(_here / "__pycache__" / f"kernels-{DIGEST}")

# error_model numpy: a division by zero gives inf or nan, which callers test for; nogil: chains run in threads
kernel = numba.njit(cache=True, nogil=True, error_model="numpy")
