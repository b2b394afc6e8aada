"""Groups side by side, in lanes, and sums over lanes.

Each scalar operation of a kernel's algebra is a loop over lanes that the compiler turns into vector instructions.
Sums over groups are kept by lane and added up at the end, or are `summed`. A loop of so few lanes costs about as much
to start as to run, which is why sums begin with their first term and not with a loop that fills in zeros.
"""

import numpy as np

from lmm.core.compiled import kernel, summed

LANES = 64  # at most; a multiple of VECTOR
VECTOR = 4
WIDE = 16  # columns of [X y]: with more, sums by lane of all their pairs are larger than a processor's fast memory
LARGE = 1e75  # the product of four numbers up to here is finite


def pack(gram: np.ndarray) -> np.ndarray:
    """Groups side by side for the kernel: (J, q, c) to (blocks, q, c, lanes), as few blocks as LANES allows.

    The last block is filled up with groups of no rows, which add nothing to any term.

    Parameters
    ----------
    gram : (J, q, c) array
        One matrix per group.

    Returns
    -------
    (blocks, q, c, lanes) array
    """
    n_groups, q, width = gram.shape
    blocks = -(-n_groups // LANES)
    lanes = VECTOR * -(-n_groups // (blocks * VECTOR))
    padded = np.zeros((blocks * lanes, q, width))
    padded[:n_groups] = gram
    return np.ascontiguousarray(padded.reshape(blocks, lanes, q, width).transpose(0, 2, 3, 1))


def unpack(packed: np.ndarray, n_groups: int) -> np.ndarray:
    """The (J, q, c) array that `pack` packed.

    Parameters
    ----------
    packed : (blocks, q, c, lanes) array
        From `pack`.
    n_groups : int
        J.

    Returns
    -------
    (J, q, c) array
    """
    _, q, width, _ = packed.shape
    return packed.transpose(0, 3, 1, 2).reshape(-1, q, width)[:n_groups]


@kernel
def add_up(lanes):
    """The sum of the lanes: four sums abreast, since each addition waits for the last; always in one order.

    Parameters
    ----------
    lanes : (n,) array
        n a multiple of VECTOR.

    Returns
    -------
    float
    """
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    for j in range(0, len(lanes), VECTOR):
        s0 += lanes[j]
        s1 += lanes[j + 1]
        s2 += lanes[j + 2]
        s3 += lanes[j + 3]
    return (s0 + s1) + (s2 + s3)


@kernel
def subtract_products(half, first, schur):
    """Subtract from schur[a, b], a >= b, the sum over k and lanes of half[k, first + a] * half[k, first + b].

    Row after row, VECTOR lanes at a time: rows of `schur` are in fast memory, and loops run along them.

    Parameters
    ----------
    half : (q, width, n) array
        Rows of the solved factor, lanes abreast.
    first : int
        First row of the factor that is used.
    schur : (w, w) array
        Lower triangle from which products are subtracted.
    """
    q, _, n = half.shape
    w = len(schur)
    turned = np.empty((q * n, w))
    for k in range(q):
        for a in range(w):
            for j in range(n):
                turned[k * n + j, a] = half[k, first + a, j]
    for i in range(0, q * n, VECTOR):
        x0, x1, x2, x3 = turned[i], turned[i + 1], turned[i + 2], turned[i + 3]
        for a in range(w):
            row, f0, f1, f2, f3 = schur[a], x0[a], x1[a], x2[a], x3[a]
            for b in range(a + 1):
                row[b] -= (f0 * x0[b] + f1 * x1[b]) + (f2 * x2[b] + f3 * x3[b])


@kernel
def subtract_before(rows, at, weights, scale, n):
    """Subtract from rows[at, :n] the rows before it, weighted by weights * scale, VECTOR of them at a time.

    Parameters
    ----------
    rows : (k, n) array
        Rows of the factor, lanes abreast.
    at : int
        Row that is eliminated.
    weights : array
        Multipliers of the rows before.
    scale : array
        Factor of each lane.
    n : int
        Lanes in use.
    """
    target, whole = rows[at], at - at % VECTOR
    for k in range(0, whole, VECTOR):
        f0, f1, f2, f3 = (
            weights[k] * scale, weights[k + 1] * scale, weights[k + 2] * scale, weights[k + 3] * scale
        )  # fmt: skip
        x0, x1, x2, x3 = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
        for j in range(n):
            target[j] -= (f0 * x0[j] + f1 * x1[j]) + (f2 * x2[j] + f3 * x3[j])
    for k in range(whole, at):
        f, x = weights[k] * scale, rows[k]
        for j in range(n):
            target[j] -= x[j] * f


@summed
def _number_of_large(product):
    """How many numbers are above LARGE."""
    count = 0
    for j in range(len(product)):
        count += product[j] > LARGE
    return count


@kernel
def logs_of_large(product):
    """The sum of the logarithms, and ones in their place, if any number is large; else 0.

    Parameters
    ----------
    product : (n,) array
        Positive; set to ones if any is large.

    Returns
    -------
    float
    """
    logs = 0.0
    if _number_of_large(product) > 0:
        for j in range(len(product)):
            logs += np.log(product[j])
            product[j] = 1.0
    return logs


@kernel
def sum_of_logs(product):
    """The sum of the logarithms of numbers up to LARGE: one logarithm for four.

    Parameters
    ----------
    product : (n,) array
        Positive, up to LARGE; n a multiple of VECTOR.

    Returns
    -------
    float
    """
    logs = 0.0
    for j in range(0, len(product), VECTOR):
        logs += np.log((product[j] * product[j + 1]) * (product[j + 2] * product[j + 3]))
    return logs
