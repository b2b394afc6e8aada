"""R's random numbers, bit for bit: set.seed, rnorm, runif, sample (R >= 3.6, default kinds).

Mersenne-Twister with R's scrambling of the seed, normals by inversion, `sample` by rejection: R's
src/main/RNG.c and src/nmath/{snorm,qnorm}.c (docs/statistics.md, section 8).
"""

import numpy as np

_MASK = 0xFFFFFFFF
_TO_UNIT = 2.3283064365386963e-10  # R's, slightly above 2^-32
_SMALLEST = 2.328306437080797e-10
_BIG = 134217728.0  # 2^27


class RRandom:
    """R's generator after `set.seed(seed)`.

    Parameters
    ----------
    seed : int
        As for R's `set.seed`, -2^31 < seed < 2^31.
    """

    def __init__(self, seed: int):
        state = seed & _MASK
        for _ in range(50):
            state = (69069 * state + 1) & _MASK
        words = []
        for _ in range(625):
            state = (69069 * state + 1) & _MASK
            words.append(state)
        # the first word is the position in the state, which R resets to "used up"
        self._start(np.array(words[1:], dtype=np.uint32))

    @classmethod
    def from_sequence(cls, sequence: np.random.SeedSequence) -> "RRandom":
        """R's distributions on a Mersenne-Twister whose key is a seed sequence's, not a `set.seed`."""
        new = cls.__new__(cls)
        new._start(sequence.generate_state(624, np.uint32))
        return new

    def _start(self, key: np.ndarray) -> None:
        self._bits = np.random.MT19937()
        self._bits.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": 624}}

    def unif(self, n: int) -> np.ndarray:
        """`runif(n)`: (n,) uniforms, kept off 0 and 1."""
        u = self._bits.random_raw(n).astype(np.float64) * _TO_UNIT
        return np.clip(u, 0.5 * _SMALLEST, 1.0 - 0.5 * _SMALLEST)

    def norm(self, n: int, mean: float = 0.0, sd: float = 1.0) -> np.ndarray:
        """`rnorm(n, mean, sd)`: (n,) normals by inversion, two uniforms each.

        Parameters
        ----------
        n : int
            How many.
        mean : float
            Their mean.
        sd : float
            Their standard deviation.

        Returns
        -------
        (n,) array
        """
        u = self.unif(2 * n).reshape(n, 2)
        return mean + sd * qnorm((np.floor(_BIG * u[:, 0]) + u[:, 1]) / _BIG)

    def sample(self, k: int, n: int) -> np.ndarray:
        """`sample(1:k, n, replace = TRUE)`: (n,) integers from 1 to k by rejection."""
        if k < 1:
            raise ValueError(f"k = {k}: expected at least 1")
        bits = (k - 1).bit_length()
        words = bits // 16 + 1
        chosen: list[np.ndarray] = []
        missing = n
        while missing:
            # as many candidates as are missing never draws one that R would not have drawn
            value = np.zeros(missing, dtype=np.uint64)
            for word in (
                np.floor(65536 * self.unif(missing * words)).astype(np.uint64).reshape(missing, words).T
            ):
                value = (value << np.uint64(16)) + word
            value &= np.uint64((1 << bits) - 1)
            chosen.append(value[value < k])
            missing -= len(chosen[-1])
        return np.concatenate(chosen).astype(np.int64) + 1 if chosen else np.empty(0, dtype=np.int64)


# Wichura 1988, Algorithm AS 241 (PPND16), as in R's qnorm.c; highest power first
_CENTRE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_MIDDLE = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)  # fmt: skip
_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)  # fmt: skip


def _ratio(r: np.ndarray, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> np.ndarray:
    above, below = (np.polyval(c, r) for c in coefficients)
    return above / below


def qnorm(p: np.ndarray) -> np.ndarray:
    """Standard normal quantiles of probabilities 0 < p < 1, shape as p, as R computes them (AS 241).

    Parameters
    ----------
    p : array of any shape
        Probabilities.

    Returns
    -------
    array of the same shape
    """
    p = np.asarray(p, dtype=np.float64)
    q = p - 0.5
    value = np.empty_like(p)
    centre = np.abs(q) <= 0.425
    value[centre] = q[centre] * _ratio(0.180625 - q[centre] ** 2, _CENTRE)
    far = ~centre
    r = np.sqrt(-np.log(np.where(q[far] < 0, p[far], 1.0 - p[far])))
    value[far] = np.sign(q[far]) * np.where(r <= 5.0, _ratio(r - 1.6, _MIDDLE), _ratio(r - 5.0, _TAIL))
    return value
