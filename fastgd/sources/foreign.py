"""Frames of libraries that have no file here, through narwhals."""

from __future__ import annotations

from typing import Any

from fastgd.sources._table import Table


def as_table(value: Any) -> Table | None:
    """The frame in Arrow's format.

    Raises
    ------
    ImportError
        If narwhals or PyArrow are missing.
    TypeError
        If narwhals does not know such frames, or it is a lazy one.
    """
    try:
        import narwhals as nw
        import pyarrow as pa

        from fastgd.sources import arrow
    except ImportError as error:
        raise ImportError(
            f"reading {type(value).__name__} needs {error.name}: "
            "python -m pip install 'fastgd[dataframe]'"
        ) from None
    known = nw.from_native(value, allow_series=True, pass_through=True)
    if isinstance(known, nw.LazyFrame):
        raise TypeError(f"a lazy frame must be collected first; got {type(value).__name__}")
    if isinstance(known, (nw.DataFrame, nw.Series)):
        return arrow.as_table(known.to_arrow())
    if hasattr(value, "__arrow_c_stream__"):
        return arrow.as_table(pa.table(value))
    raise TypeError(f"narwhals knows no frames of type {type(value).__name__}")
