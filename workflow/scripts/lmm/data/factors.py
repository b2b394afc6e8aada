"""The order of a factor's levels: the one that Parquet files bring along, else the sorted one.

pandas and R (arrow) write a categorical column of text as an Arrow dictionary, whose values are the categories in
the factor's own order; the first is the reference of treatment contrasts. DuckDB reads the text alone, so the
order is read here, from the dictionary page of every row group.
"""

import json
from collections.abc import Sequence

from lmm.core.errors import StudyError
from lmm.data.source import Source


def in_order(source: Source, name: str, found: Sequence) -> list:
    """The levels that occur, in the factor's own order where the files have one, else as they come.

    Parameters
    ----------
    source : Source
    name : str
        A categorical predictor.
    found : sequence
        Its distinct values, sorted.

    Raises
    ------
    StudyError
        Files, or row groups of one, have categories in different orders.
    """
    orders = _orders(source, name) if source.format == "parquet" else []
    if all(order is None or order == sorted(order) for _, order in orders):
        return list(found)
    file, first = next((file, order) for file, order in orders if order is not None)
    for other, order in orders:
        if order != first:
            met = "text without an order of its own" if order is None else f"categories {_shown(order)}"
            what = f"column {name!r}: {met}, expected {_shown(first)} as in {file}, in one order throughout"
            raise StudyError(other, f"{what}: the first is the reference level")
    # Text that is not in the dictionary was written past it: then it is no list of all levels.
    return [level for level in first if level in set(found)] if set(found) <= set(first) else list(found)


def _shown(order: Sequence[str]) -> str:
    return ", ".join(repr(level) for level in order[:5]) + (", ..." if len(order) > 5 else "")


def _orders(source: Source, name: str) -> list[tuple[str, list[str] | None]]:
    """The categories in every row group that has some, by file; None for a file whose column has no such list."""
    from pyarrow import parquet, types  # here, because a study of CSV files does without

    orders: list[tuple[str, list[str] | None]] = []
    for path in source.files:
        with parquet.ParquetFile(path) as file:
            if not types.is_dictionary(file.schema_arrow.field(name).type):
                orders.append((path, None))
                continue
            for at in range(file.num_row_groups):
                batch = next(file.iter_batches(batch_size=1, row_groups=[at], columns=[name]), None)
                if batch is None:  # a row group without rows
                    continue
                order = batch.column(0).dictionary.to_pylist()
                orders.append((path, order if _is_listed(file.metadata.row_group(at), name) else None))
    return orders


def _is_listed(row_group, name: str) -> bool:
    """Whether the column's categories stand in a dictionary page."""
    columns = [row_group.column(k) for k in range(row_group.num_columns)]
    return any(column.path_in_schema == name and column.has_dictionary_page for column in columns)


def of_numbers(schema) -> set[str]:
    """Columns of numbers that pandas wrote as categorical: Arrow's schema forgets it, pandas' metadata has it.

    Parameters
    ----------
    schema : pyarrow.Schema
    """
    from pyarrow import types

    about = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    categorical = {
        str(c.get("name")) for c in about.get("columns", ()) if c.get("pandas_type") == "categorical"
    }
    return {
        field.name for field in schema if field.name in categorical and not types.is_dictionary(field.type)
    }
