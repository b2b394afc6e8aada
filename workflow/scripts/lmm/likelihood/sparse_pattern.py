"""Order and pattern of a sparse Cholesky factor of the remainder.

The order is of approximate minimum degree (Amestoy, Davis & Duff 1996, SIAM J. Matrix Anal. Appl. 17(4)) on a
quotient graph. Levels of the leading factor enter it as elements that are there from the start: eliminating one of
them joins all levels that it meets, and the graph of all those joins is never formed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmm.core.compiled import kernel

FILL = 0.2  # of a dense factor's elements; beyond it LAPACK is faster
SMALL = 64  # columns up to which a remainder is dense whatever its pattern
MOST = 150_000_000  # elements of a factor; three arrays of it take 3.6 GB


@dataclass(frozen=True)
class Pattern:
    """A Cholesky factor's pattern by columns: the diagonal first, rows ascending.

    Attributes
    ----------
    start_of : (n,) int array
        First column of each level of the remainder, in the order in which the levels were given.
    indptr : (R + 1,), rows : (places,) int arrays
    """

    start_of: np.ndarray
    indptr: np.ndarray
    rows: np.ndarray

    def find(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Places of elements (row >= column) that are in the pattern.

        Parameters
        ----------
        rows : (n,) int array
            Rows of the elements.
        cols : (n,) int array
            Their columns.

        Returns
        -------
        (n,) int array
        """
        return _find(self.indptr, self.rows, rows.astype(np.int64), cols.astype(np.int64))

    def pairs(self, ptr: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Places of all pairs of columns that each level of the leading factor meets (see `Leading`).

        Parameters
        ----------
        ptr : (J + 1,) int array
            See `Leading`.
        cols : (c,) int array
            See `Leading`.

        Returns
        -------
        int array
        """
        met = np.diff(ptr)
        return _pairs(self.indptr, self.rows, ptr, cols, int((met * (met + 1) // 2).sum()))


def pattern_of(
    n_levels: int,
    widths: np.ndarray,
    n_lead: int,
    meetings: Sequence[tuple[np.ndarray, np.ndarray]],
    edges: Sequence[tuple[np.ndarray, np.ndarray]],
    always: bool = False,
) -> Pattern | None:
    """The pattern of the remainder's factor, None where it is better treated as dense.

    Parameters
    ----------
    n_levels : int
        Levels of all factors of the remainder.
    widths : (n_levels,) int array
        Random effects of each.
    n_lead : int
        Levels of the leading factor.
    meetings : sequence of (lead, level) arrays
        Which levels of the leading factor meet which of the remainder.
    edges : sequence of (level, level) arrays
        Which levels of the remainder meet.
    always : bool
        Whether to go on however full the factor becomes.

    Returns
    -------
    Pattern or None
    """
    columns = int(widths.sum())
    if columns <= SMALL and not always:
        return None
    most = float("inf") if always else min(FILL * columns * (columns + 1) / 2, MOST)
    lead = np.concatenate([i for i, _ in meetings]).astype(np.int64)
    level = np.concatenate([j for _, j in meetings]).astype(np.int64)
    used = _distinct(lead, level, n_levels, n_lead)[lead]
    lead, level = lead[used], level[used]
    order = np.argsort(lead, kind="stable")
    element_ptr = np.concatenate([[0], np.cumsum(np.bincount(lead, minlength=n_lead))])
    none = np.empty(0, dtype=np.int64)
    one = np.concatenate([none, *(i for i, _ in edges)]).astype(np.int64)
    other = np.concatenate([none, *(j for _, j in edges)]).astype(np.int64)
    ends = np.concatenate([one, other])
    by_end = np.argsort(ends, kind="stable")
    variable_ptr = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=n_levels))])
    neighbours = np.concatenate([other, one])[by_end]
    done, pivots, first, length, members = _minimum_degree(
        n_levels, widths, element_ptr, level[order], variable_ptr, neighbours, float(most)
    )
    if not done:
        return None
    start = np.empty(n_levels, dtype=np.int64)
    start[pivots] = np.cumsum(widths[pivots]) - widths[pivots]
    indptr, rows = _expand(pivots, widths, start, first, length, members)
    return Pattern(start, indptr, rows)


def _distinct(lead: np.ndarray, level: np.ndarray, n_levels: int, n_lead: int) -> np.ndarray:
    """Whether no earlier level of the leading factor meets the same levels, (n_lead,): twice the same says nothing.

    Sets are compared by two sums of random numbers, one per level: different sets have equal sums with a probability
    of 2^-128 per pair.
    """
    marks = np.random.default_rng(0).integers(0, 2**64, (2, n_levels), dtype=np.uint64)
    sums = np.zeros((2, n_lead), dtype=np.uint64)
    for own, mark in zip(sums, marks, strict=True):
        np.add.at(own, lead, mark[level])  # modulo 2^64
    _, first = np.unique(sums, axis=1, return_index=True)
    out = np.zeros(n_lead, dtype=bool)
    out[first] = True
    return out


@kernel
def _minimum_degree(n, widths, element_ptr, element_members, variable_ptr, neighbours, most):
    """Pivots in order, and the levels that each of them is joined to when it is eliminated.

    Level i holds in lists[begin[i]:] the elements that it belongs to, then its remaining neighbours. Eliminating i
    removes at least one entry of every list that gets the new element, so lists never grow.

    Returns
    -------
    done : bool
        False where the factor gets more than `most` elements.
    pivots : (n,) array
    first, length : (n,) arrays
        members[first[i]:first[i] + length[i]] are what level i is joined to.
    members : array
    """
    n_lead = len(element_ptr) - 1
    e_first, e_length = np.zeros(n_lead + n, np.int64), np.zeros(n_lead + n, np.int64)
    e_size = np.zeros(n_lead + n, np.int64)  # columns of the members; -1 for an absorbed element
    members = element_members.copy()
    used = len(members)
    n_elements = np.zeros(n, np.int64)
    for e in range(n_lead):
        e_first[e], e_length[e] = element_ptr[e], element_ptr[e + 1] - element_ptr[e]
        for at in range(element_ptr[e], element_ptr[e + 1]):
            e_size[e] += widths[members[at]]
            if e_length[e] > 1:
                n_elements[members[at]] += 1
    begin = np.zeros(n + 1, np.int64)
    for i in range(n):
        begin[i + 1] = begin[i] + n_elements[i] + variable_ptr[i + 1] - variable_ptr[i]
    lists, n_variables = np.empty(begin[n], np.int64), np.zeros(n, np.int64)
    n_elements[:] = 0
    for e in range(n_lead):
        if e_length[e] > 1:
            for at in range(element_ptr[e], element_ptr[e + 1]):
                i = members[at]
                lists[begin[i] + n_elements[i]] = e
                n_elements[i] += 1
    columns, eliminated = 0, 0
    degree = np.zeros(n, np.int64)
    for i in range(n):
        columns += widths[i]
    for i in range(n):
        for at in range(variable_ptr[i], variable_ptr[i + 1]):
            lists[begin[i] + n_elements[i] + n_variables[i]] = neighbours[at]
            n_variables[i] += 1
            degree[i] += widths[neighbours[at]]
        for at in range(begin[i], begin[i] + n_elements[i]):
            degree[i] += e_size[lists[at]] - widths[i]
        degree[i] = min(degree[i], columns - widths[i])
    # levels by degree, in doubly linked lists
    head, after, before = np.full(columns + 1, -1), np.full(n, -1), np.full(n, -1)
    for i in range(n - 1, -1, -1):
        _link(i, degree[i], head, after, before)
    lowest = 0
    pivots, mark, outside = np.empty(n, np.int64), np.full(n, -1), np.full(n_lead + n, -1)
    seen = np.full(n_lead + n, -1)
    first, length = np.zeros(n, np.int64), np.zeros(n, np.int64)
    total = 0.0
    for step in range(n):
        while head[lowest] < 0:
            lowest += 1
        p = head[lowest]
        _unlink(p, degree[p], head, after, before)
        pivots[step] = p
        eliminated += widths[p]
        # the new element: all that p's elements and neighbours have
        bound = n_variables[p]
        for at in range(begin[p], begin[p] + n_elements[p]):
            bound += e_length[lists[at]]
        if used + bound > len(members):
            more = np.empty(max(2 * len(members), used + bound), np.int64)
            more[:used] = members[:used]
            members = more
        new, size = n_lead + p, 0
        e_first[new] = used
        mark[p] = step
        for at in range(begin[p], begin[p] + n_elements[p] + n_variables[p]):
            item = lists[at]
            is_element = at < begin[p] + n_elements[p]
            start, count = (e_first[item], e_length[item]) if is_element else (0, 1)
            for k in range(start, start + count):
                i = members[k] if is_element else item
                if mark[i] != step:
                    mark[i] = step
                    members[used] = i
                    used += 1
                    size += widths[i]
            if is_element:
                e_size[item] = -1
        e_length[new], e_size[new] = used - e_first[new], size
        first[p], length[p] = e_first[new], e_length[new]
        total += widths[p] * (size + 0.5 * (widths[p] + 1))
        if total > most:
            return False, pivots, first, length, members
        # |L_e \ L_p| of all elements that the new one overlaps
        for k in range(e_first[new], used):
            i = members[k]
            for at in range(begin[i], begin[i] + n_elements[i]):
                e = lists[at]
                if e_size[e] >= 0:
                    if seen[e] != step:
                        seen[e] = step
                        outside[e] = e_size[e]
                    outside[e] -= widths[i]
        for k in range(e_first[new], used):
            i = members[k]
            _unlink(i, degree[i], head, after, before)
            to, found = begin[i], size - widths[i]
            end_elements = begin[i] + n_elements[i]
            end = end_elements + n_variables[i]
            count = 0
            for at in range(begin[i], end_elements):
                e = lists[at]
                if e_size[e] < 0 or outside[e] == 0:  # absorbed, or within the new element
                    continue
                lists[to] = e
                to += 1
                count += 1
                found += outside[e]
            kept_elements = count
            # neighbours that the new element does not cover move behind; one place is left for it
            held = 0
            for at in range(end_elements, end):
                v = lists[at]
                if mark[v] == step:
                    continue
                lists[end_elements + held] = v
                held += 1
                found += widths[v]
            if to == end_elements:
                for h in range(held - 1, -1, -1):
                    lists[to + 1 + h] = lists[end_elements + h]
            else:
                for h in range(held):
                    lists[to + 1 + h] = lists[end_elements + h]
            lists[to] = new
            n_elements[i], n_variables[i] = kept_elements + 1, held
            degree[i] = min(min(degree[i] + size - widths[i], found), columns - eliminated - widths[i])
            _link(i, degree[i], head, after, before)
            lowest = min(lowest, degree[i])
    return True, pivots, first, length, members


@kernel
def _link(i, degree, head, after, before):
    old = head[degree]
    after[i], before[i] = old, -1
    if old >= 0:
        before[old] = i
    head[degree] = i


@kernel
def _unlink(i, degree, head, after, before):
    if before[i] >= 0:
        after[before[i]] = after[i]
    else:
        head[degree] = after[i]
    if after[i] >= 0:
        before[after[i]] = before[i]


@kernel
def _expand(pivots, widths, start, first, length, members):
    """The pattern by columns from that by levels."""
    columns, places = 0, 0
    for p in pivots:
        below = 0
        for k in range(first[p], first[p] + length[p]):
            below += widths[members[k]]
        columns += widths[p]
        places += widths[p] * below + widths[p] * (widths[p] + 1) // 2
    indptr, rows = np.zeros(columns + 1, np.int64), np.empty(places, np.int64)
    at, column = 0, 0
    width_at = np.empty(columns, np.int64)
    for p in pivots:
        width_at[start[p]] = widths[p]
    for p in pivots:
        starts = np.empty(length[p], np.int64)
        for k in range(length[p]):
            starts[k] = start[members[first[p] + k]]
        starts.sort()
        for a in range(widths[p]):
            for b in range(a, widths[p]):
                rows[at] = column - a + b
                at += 1
            for s in starts:
                for b in range(width_at[s]):
                    rows[at] = s + b
                    at += 1
            column += 1
            indptr[column] = at
    return indptr, rows


@kernel
def _place(indptr, rows, row, col):
    low, high = indptr[col], indptr[col + 1] - 1
    while low < high:
        middle = (low + high) >> 1
        if rows[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _find(indptr, rows, of_rows, of_cols):
    out = np.empty(len(of_rows), np.int64)
    for k in range(len(of_rows)):
        out[k] = _place(indptr, rows, of_rows[k], of_cols[k])
    return out


@kernel
def _pairs(indptr, rows, ptr, cols, count):
    out = np.empty(count, np.int64)
    at = 0
    for j in range(len(ptr) - 1):
        for c in range(ptr[j], ptr[j + 1]):
            for d in range(ptr[j], c + 1):
                out[at] = _place(indptr, rows, cols[c], cols[d])
                at += 1
    return out
