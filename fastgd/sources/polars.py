"""polars: DataFrame and Series."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fastgd.sources._table import DOUBLE, SINGLE, Column, Table


def as_table(value: object) -> Table | None:
    """A frame or a series as a table; None for anything else of polars."""
    if isinstance(value, pl.LazyFrame):
        raise TypeError("a polars LazyFrame must be collected first: frame.collect()")
    if isinstance(value, pl.Series):
        return _table(value.to_frame())._replace(one_dimensional=True)
    return _table(value) if isinstance(value, pl.DataFrame) else None


def _table(frame: pl.DataFrame) -> Table:
    alike = len(set(frame.dtypes)) == 1 and frame.dtypes[0] in (pl.Float32, pl.Float64)
    return Table(
        columns=tuple(map(_column, frame.get_columns())),
        n_rows=len(frame),
        one_dimensional=False,
        rows=lambda start, stop: _table(frame[start:stop]),
        whole=frame.to_numpy if alike else None,
    )


def _column(series: pl.Series) -> Column:
    kind = series.dtype
    dtype = None
    if kind.is_float():
        dtype = DOUBLE if kind == pl.Float64 else SINGLE
    elif kind.is_integer() or kind == pl.Boolean:
        dtype = DOUBLE
    return Column(series.name, str(kind), dtype, partial(_read, series))


def _read(series: pl.Series, dtype: np.dtype[Any]) -> NDArray[Any]:
    return series.cast(pl.Float32 if dtype == SINGLE else pl.Float64).to_numpy()
