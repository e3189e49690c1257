"""PyArrow: tables, record batches and arrays."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fastgd.sources._table import DOUBLE, SINGLE, Column, Table


def as_table(value: object) -> Table | None:
    """A table, batch or array as a table; None for anything else of PyArrow."""
    if isinstance(value, (pa.Array, pa.ChunkedArray)):
        return _table(pa.table({"": value}))._replace(one_dimensional=True)
    if isinstance(value, pa.RecordBatchReader):
        value = value.read_all()
    return _table(value) if isinstance(value, (pa.Table, pa.RecordBatch)) else None


def index_names(schema: pa.Schema) -> frozenset[str]:
    """The columns that were the index of a frame of pandas, by what it wrote to the schema.

    But no column where some were chosen from the frame since: those were named.
    """
    try:
        frame = json.loads((schema.metadata or {})[b"pandas"])
        index = {name for name in frame["index_columns"] if isinstance(name, str)}  # or a range
        written = {column["field_name"] for column in frame["columns"]}
    except (KeyError, TypeError, ValueError):
        return frozenset()
    names = set(schema.names)
    return frozenset(index) if names == written and names != index else frozenset()


def _table(table: pa.Table | pa.RecordBatch) -> Table:
    index = index_names(table.schema)
    columns = [
        _column(field, values) for field, values in zip(table.schema, table.columns, strict=True)
    ]
    return Table(
        columns=tuple(column for column in columns if column.name not in index),
        n_rows=table.num_rows,
        one_dimensional=False,
        rows=lambda start, stop: _table(table.slice(start, stop - start)),
        hidden=tuple(column for column in columns if column.name in index),
    )


def _column(field: pa.Field, values: pa.Array | pa.ChunkedArray) -> Column:
    return Column(field.name, str(field.type), _dtype(field.type), partial(_read, values))


def _dtype(kind: pa.DataType) -> np.dtype[Any] | None:
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        return SINGLE
    is_number = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    return DOUBLE if is_number or pa.types.is_boolean(kind) else None


def _read(values: pa.Array | pa.ChunkedArray, dtype: np.dtype[Any]) -> NDArray[Any]:
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    # An array, unlike one of chunks, must be told that it may copy.
    options = {} if isinstance(values, pa.ChunkedArray) else {"zero_copy_only": False}
    numbers: NDArray[Any] = values.to_numpy(**options)
    return numbers.astype(dtype, copy=False)
