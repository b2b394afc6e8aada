"""Which of several factors leads, and where the random effects of all others stand: before anything is fitted."""

from collections.abc import Sequence

import numpy as np

from lmm.core.errors import StudyError
from lmm.likelihood.sparse_pattern import Pattern, pattern_of
from lmm.moments.several import SeveralMoments

LARGEST = 10_000  # columns of a dense remainder: three square matrices of it take 2.4 GB


def levels_met(moments: SeveralMoments, k: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Levels of factors k and m that meet.

    Parameters
    ----------
    moments : SeveralMoments
        Holds their cells.
    k, m : int
        The factors, by their place in `moments`.

    Returns
    -------
    (c,), (c,) int arrays
    """
    found = moments.cells[min(k, m), max(k, m)]
    return (found.i, found.j) if k < m else (found.j, found.i)


def check_size(moments: SeveralMoments, blocks: Sequence[tuple[tuple[str, ...], ...]]) -> None:
    """Reject a remainder that `build` would find too large, before anything is fitted.

    Parameters
    ----------
    moments : SeveralMoments
        Of the model's factors.
    blocks : sequence
        As for `build`.

    Raises
    ------
    StudyError
        The remainder is too large for memory.
    """
    sizes = [(f.n_groups, sum(map(len, own))) for f, own in zip(moments.factors, blocks, strict=True)]
    order = order_of(sizes)
    if sum(levels * q for levels, q in (sizes[k] for k in order[1:])) > LARGEST:
        remainder(moments, sizes, order, None)


def order_of(sizes: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """The factors by their number of random effects, largest first.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Levels and random effects per level of each factor.

    Returns
    -------
    tuple of int
        The first one leads.
    """
    return tuple(sorted(range(len(sizes)), key=lambda k: (-sizes[k][0] * sizes[k][1], k)))


def remainder(
    moments: SeveralMoments, sizes: Sequence[tuple[int, int]], order: tuple[int, ...], sparse: bool | None
) -> tuple[list[np.ndarray], Pattern | None]:
    """Where each factor's random effects stand in the remainder, and the pattern of a sparse one.

    Parameters
    ----------
    moments : SeveralMoments
        Of the model's factors.
    sizes : sequence of (int, int)
        Levels and random effects per level of each factor.
    order : tuple of int
        From `order_of`.
    sparse : bool or None
        As for `several_problem.build`.

    Returns
    -------
    list of (J_k, q_k) int arrays
        The columns of each factor; empty for the leading one.
    Pattern or None
        None for a dense remainder.

    Raises
    ------
    StudyError
        A dense remainder is too large for memory.
    """
    sizes = [sizes[k] for k in order]
    starts = np.cumsum([0, *(levels for levels, _ in sizes[1:])])
    n_levels, n_columns = int(starts[-1]), sum(levels * q for levels, q in sizes[1:])
    widths = np.repeat([q for _, q in sizes[1:]], [levels for levels, _ in sizes[1:]]).astype(np.int64)
    pattern = None
    if sparse is not False:
        lead = [levels_met(moments, order[0], m) for m in order[1:]]
        meetings = [(i, starts[at] + j) for at, (i, j) in enumerate(lead)]
        edges = [
            (starts[a] + i, starts[b] + j)
            for a in range(len(order) - 1)
            for b in range(a + 1, len(order) - 1)
            for i, j in (levels_met(moments, order[a + 1], order[b + 1]),)
        ]
        pattern = pattern_of(n_levels, widths, sizes[0][0], meetings, edges, always=bool(sparse))
    if pattern is None and n_columns > LARGEST:
        names = ", ".join(moments.groups[k] for k in order[1:])
        what = (
            f"{n_columns} random effects of {names} are crossed with {moments.groups[order[0]]}, expected at most "
            f"{LARGEST}; leave out random slopes or a factor, or fit part of the data"
        )
        raise StudyError("formula", what)
    where = np.cumsum(np.append(0, widths)) if pattern is None else pattern.start_of
    place = [np.empty((0, 0), dtype=np.int64)] * len(order)
    for at, k in enumerate(order[1:]):
        levels, q = sizes[at + 1]
        place[k] = where[starts[at] : starts[at] + levels, None] + np.arange(q)
    return place, pattern
