"""Which versions made an artifact."""

import platform
from functools import cache
from importlib.metadata import version


@cache
def versions_of(*packages: str) -> dict[str, str]:
    """Version of Python and of each installed package named."""
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
