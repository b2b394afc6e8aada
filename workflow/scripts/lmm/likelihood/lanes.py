"""Groups side by side, in lanes, and sums over lanes.

Each scalar operation of a kernel's algebra is a loop over lanes that the compiler turns into vector instructions.
Sums over groups are kept by lane and added up at the end in a fixed order: the same bits whatever the processor's
vector width. A loop of so few lanes costs about as much to start as to run, which is why sums begin with their first
term and not with a loop that fills in zeros.
"""

import numpy as np

from lmm.core.compiled import kernel

LANES = 64  # at most; a multiple of VECTOR
VECTOR = 4
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
    large, logs = 0.0, 0.0
    for j in range(len(product)):
        large = max(large, product[j])
    if large > LARGE:
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
