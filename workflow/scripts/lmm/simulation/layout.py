"""Which level of each grouping factor a simulated row has: crossed, nested, at random, in a Latin square."""

from collections.abc import Sequence

import numpy as np

from lmm.config.simulation import Nested, Poisson, Simulation, Sizes


def sizes(settings: Simulation, rng: np.random.Generator, count: int) -> np.ndarray:
    """Rows of each of `count` groups, or of each combination of levels, (count,).

    Parameters
    ----------
    settings : Simulation
        Its `group_rows` are given.
    rng : Generator
        For those that are drawn.
    count : int
        Number of groups.

    Returns
    -------
    (count,) int array
    """
    each = settings.group_rows
    if isinstance(each, Sizes):
        return np.resize(each.sizes, count)
    if isinstance(each, Poisson):
        from scipy import stats  # half a second of every start: the workflow imports this module to plan

        # without its zero: quantiles of uniforms above P(0), so that every group has at least one row
        u = rng.uniform(np.exp(-each.poisson), 1.0, size=count)
        return np.maximum(stats.poisson.ppf(u, each.poisson), 1).astype(np.int64)
    return np.full(count, each)


def codes(settings: Simulation, columns: Sequence[str], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Level of each row, by column: (N,) int arrays from 0.

    A column that is nested in another counts through: its level k of the other's level j has the number j count + k.

    Parameters
    ----------
    settings : Simulation
        `groups` is a mapping.
    columns : sequence of str
        Its columns in the formula's order, which rows follow: a mapping has none.
    rng : Generator
        For rows at random combinations of levels, and for random numbers of rows.

    Returns
    -------
    dict of (N,) int arrays
    """
    tables = [_table(settings, columns, name) for name in columns if isinstance(settings.groups[name], int)]
    counts = [len(next(iter(table.values()))) for table in tables]
    if settings.group_rows is None:
        at = [rng.integers(count, size=settings.rows) for count in counts]
    else:
        cells = np.indices(counts).reshape(len(counts), -1)
        each = sizes(settings, rng, cells.shape[1])
        at = [np.repeat(own, each) for own in cells]
    found = {name: own[rows] for table, rows in zip(tables, at, strict=True) for name, own in table.items()}
    return {name: found[name] for name in columns}


def _table(settings: Simulation, columns: Sequence[str], top: str) -> dict[str, np.ndarray]:
    """The levels of a column together with those of all columns that are nested in it, each combination once."""
    table = {top: np.arange(settings.groups[top])}
    todo = [top]
    while todo:
        parent = todo.pop(0)
        for name in columns:
            how = settings.groups[name]
            if isinstance(how, Nested) and how.per == parent:
                size = len(table[parent])
                table = {other: np.repeat(own, how.count) for other, own in table.items()}
                table[name] = table[parent] * how.count + np.tile(np.arange(how.count), size)
                todo.append(name)
    return table


def latin_square(settings: Simulation, groups: dict[str, np.ndarray], conditions: int) -> np.ndarray:
    """The condition of each row: the sum of its levels of the crossed columns and of the count of earlier rows there.

    Each level of a factor meets the conditions equally often where their number divides that of the other factor.

    Parameters
    ----------
    settings : Simulation
        Its columns that are nested in no other are crossed.
    groups : dict of (N,) int arrays
        By column each row's level.
    conditions : int
        Their number.

    Returns
    -------
    (N,) float array
        Whole steps around 0.
    """
    crossed = [name for name, how in settings.groups.items() if isinstance(how, int)]
    key = np.zeros(len(groups[crossed[0]]), dtype=np.int64)
    shift = np.zeros_like(key)
    for name in crossed:
        key = key * settings.levels[name] + groups[name]
        shift += groups[name]
    order = np.argsort(key, kind="stable")
    first = np.flatnonzero(np.append(True, key[order][1:] != key[order][:-1]))
    earlier = np.empty_like(key)
    earlier[order] = np.arange(len(key)) - np.repeat(first, np.diff(np.append(first, len(key))))
    return (shift + earlier) % conditions - (conditions - 1) / 2
