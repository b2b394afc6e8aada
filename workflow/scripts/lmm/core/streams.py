"""Random streams that are addressed, not sequenced.

A stream's address is (study seed; design, replicate, purpose, name). Whatever the order, the chunks or the
machine, the same address gives the same numbers, and a grid can grow without reshuffling what it had.
"""

import hashlib
import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lmm.core.seeds import Stream

# The numbers are part of every address: a purpose keeps its own.
PURPOSES = {
    "groups": 0, "predictors": 1, "ranef": 2, "errors": 3, "parameters": 4, "moments": 5, "mcmc": 6, "rows": 9,
}  # fmt: skip


def design_key(design: Any) -> str:
    """Stable key of a design: 12 hexadecimal digits of the SHA-256 of its canonical JSON."""
    text = json.dumps(design, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def seed_sequence(seed: int, design: str, replicate: int = 0) -> np.random.SeedSequence:
    """The seed sequence of one replicate of a design.

    Parameters
    ----------
    seed : int
        The study's seed, at least 0.
    design : str
        Its key, from `design_key`.
    replicate : int
        From 0; a study without replicates is its replicate 0.

    Returns
    -------
    SeedSequence
    """
    return np.random.SeedSequence(seed, spawn_key=(int(design, 16), replicate))


def address(sequence: np.random.SeedSequence, purpose: str, name: str = "") -> np.random.SeedSequence:
    """The seed sequence for one purpose (a key of `PURPOSES`) within a replicate.

    Parameters
    ----------
    sequence : SeedSequence
        Of the replicate, from `seed_sequence`.
    purpose : str
        A key of `PURPOSES`.
    name : str
        Separates streams of one purpose, say of two predictors.

    Returns
    -------
    SeedSequence
    """
    return np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, *_tail(purpose, name)))


def _tail(purpose: str, name: str) -> tuple[int, ...]:
    return (PURPOSES[purpose], zlib.crc32(name.encode())) if name else (PURPOSES[purpose],)


def stream(sequence: np.random.SeedSequence, purpose: str, name: str = "") -> np.random.Generator:
    """A PCG64 generator for one purpose within a replicate; `name` separates, say, two predictors.

    Parameters
    ----------
    sequence : SeedSequence
        Of the replicate, from `seed_sequence`.
    purpose : str
        A key of `PURPOSES`.
    name : str
        Separates streams of one purpose, say of two predictors.

    Returns
    -------
    Generator
        PCG64.
    """
    return np.random.Generator(np.random.PCG64(address(sequence, purpose, name)))


def repeated(seed: int, design: str, purpose: str, name: str = "") -> "Stream":
    """`stream` of every replicate of a design, where there are many of them.

    Parameters
    ----------
    seed : int
        The study's seed, at least 0.
    design : str
        Its key, from `design_key`.
    purpose : str
        A key of `PURPOSES`.
    name : str
        Separates streams of one purpose, say of two predictors.

    Returns
    -------
    Stream
    """
    from lmm.core.seeds import Stream  # numba, which takes a quarter of a second to import

    return Stream(seed, int(design, 16), _tail(purpose, name))
