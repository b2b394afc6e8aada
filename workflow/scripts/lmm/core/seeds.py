"""The seeds of many random streams at once: NumPy's SeedSequence and PCG64, compiled.

`SeedSequence` takes 30 microseconds of Python per stream, which is as long as a small model's fit. This is the same
hash (M. O'Neill's seed_seq_fe, as documented in numpy.random.SeedSequence and PCG64), held by a test to the same
numbers, with generators that are reset instead of made.
"""

import numpy as np

from lmm.core.compiled import kernel

POOL = 4
MASK = 0xFFFFFFFF
WIDE = (1 << 128) - 1
STEP = 0x2360ED051FC65DA44385DF649FCCF645  # of PCG64


def words_of(value: int) -> list[int]:
    """A non-negative integer as words of 32 bits, the lowest first; at least one."""
    found = [value & MASK]
    while value := value >> 32:
        found.append(value & MASK)
    return found


@kernel
def _state(words, out):
    """Hash an address's words to the four 64-bit words that seed PCG64."""
    mask = np.uint64(0xFFFFFFFF)
    shift = np.uint64(16)
    pool = np.zeros(4, np.uint64)
    constant = np.uint64(0x43B0D7E5)
    for k in range(4):
        value = (words[k] ^ constant) & mask
        constant = (constant * np.uint64(0x931E8875)) & mask
        value = (value * constant) & mask
        pool[k] = value ^ (value >> shift)
    for k in range(len(words)):
        for to in range(4):
            if k == to:
                continue
            value = ((pool[k] if k < 4 else words[k]) ^ constant) & mask
            constant = (constant * np.uint64(0x931E8875)) & mask
            value = (value * constant) & mask
            value = value ^ (value >> shift)
            mixed = (np.uint64(0xCA01F9DD) * pool[to] - np.uint64(0x4973F715) * value) & mask
            pool[to] = mixed ^ (mixed >> shift)
    constant = np.uint64(0x8B51F9DD)
    for k in range(8):
        value = (pool[k % 4] ^ constant) & mask
        constant = (constant * np.uint64(0x58F38DED)) & mask
        value = (value * constant) & mask
        value = value ^ (value >> shift)
        if k % 2 == 0:
            out[k // 2] = value
        else:
            out[k // 2] |= value << np.uint64(32)


class Stream:
    """One purpose's stream in every replicate of a design: `streams.stream`'s numbers, one generator for all.

    Parameters
    ----------
    seed : int
        The study's seed, at least 0.
    design : int
        The design's key as a number.
    tail : tuple of int
        What stands behind the replicate's number in the address.
    """

    def __init__(self, seed: int, design: int, tail: tuple[int, ...]):
        entropy = words_of(seed)
        entropy += [0] * (POOL - len(entropy)) + words_of(design)
        self._at = len(entropy)
        words = [*entropy, 0, *(word for value in tail for word in words_of(value))]
        self._words, self._out = np.array(words, dtype=np.uint64), np.zeros(4, dtype=np.uint64)
        self._bits = np.random.PCG64(0)
        self._generator = np.random.Generator(self._bits)

    def at(self, replicate: int) -> np.random.Generator:
        """The generator at the beginning of a replicate's stream; valid until the next call."""
        self._words[self._at] = replicate
        _state(self._words, self._out)
        a, b, c, d = self._out.tolist()
        inc = ((c << 64 | d) << 1 | 1) & WIDE
        state = ((inc + (a << 64 | b)) * STEP + inc) & WIDE
        self._bits.state = {
            "bit_generator": "PCG64", "state": {"state": state, "inc": inc}, "has_uint32": 0, "uinteger": 0,
        }  # fmt: skip
        return self._generator
