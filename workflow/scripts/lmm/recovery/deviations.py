"""Where a later plan of a study differs from its first one (`protocol`)."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

# What each key of a plan belongs to, in ADEMP's order.
PARTS = {
    "title": "Aims", "aims": "Aims", "data": "Data-generating mechanisms", "estimands": "Estimands",
    "methods": "Methods", "measures": "Performance measures", "replicates": "Number of replicates",
    "seeds": "Seeds", "failures": "Handling of failures", "rationale": "Rationale",
}  # fmt: skip


def digest(plan: Mapping[str, Any]) -> str:
    """SHA-256 of a plan's canonical JSON, in hexadecimal digits."""
    text = json.dumps(plan, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def deviations(first: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str, Any, Any]]:
    """Where a plan differs from the first one.

    Parameters
    ----------
    first, now : mappings
        Of `protocol`.

    Returns
    -------
    list of (part, what, planned, now)
        ADEMP's part, the key's path in it, and both values; None where there is none. A design is one value.
    """
    before, after = dict(leaves(first)), dict(leaves(now))
    paths = list(dict.fromkeys([*before, *after]))
    order = list(PARTS)
    return [
        (PARTS[path[0]], ".".join(path[1:]) or path[0], before.get(path), after.get(path))
        for path in sorted(paths, key=lambda path: order.index(path[0]))
        if before.get(path) != after.get(path)
    ]


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Key paths and values of a plan; a design is one value, a list too, and an empty mapping is none."""
    whole = len(path) > 1 and path[-2] == "designs"
    if isinstance(value, Mapping) and not whole:
        for key, inner in value.items():
            yield from leaves(inner, (*path, str(key)))
    else:
        yield path, value
