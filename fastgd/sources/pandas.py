"""pandas: DataFrame and Series, also of nullable and of Arrow types."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastgd.sources._table import Column, Table, float_dtype


def as_table(value: object) -> Table | None:
    """A frame or a series as a table; None for anything else of pandas."""
    if isinstance(value, pd.Series):
        return _table(value.to_frame())._replace(one_dimensional=True)
    return _table(value) if isinstance(value, pd.DataFrame) else None


def _table(frame: pd.DataFrame) -> Table:
    kinds = list(frame.dtypes)
    # Of one NumPy type, a frame is often one array already.
    alike = len(set(kinds)) == 1 and isinstance(kinds[0], np.dtype) and kinds[0].kind == "f"
    return Table(
        columns=tuple(
            _column(frame.iloc[:, j], frame.columns[j], kind) for j, kind in enumerate(kinds)
        ),
        n_rows=len(frame),
        one_dimensional=False,
        rows=lambda start, stop: _table(frame.iloc[start:stop]),
        whole=frame.to_numpy if alike else None,
    )


def _column(series: pd.Series[Any], name: object, kind: Any) -> Column:
    return Column(name, str(kind), float_dtype(_numpy_dtype(kind)), partial(_read, series))


def _numpy_dtype(kind: Any) -> np.dtype[Any] | None:
    if isinstance(kind, pd.SparseDtype):
        kind = kind.subtype
    # Categories have no such attribute; decimals and dates of Arrow have one of another kind.
    dtype: np.dtype[Any] | None = getattr(kind, "numpy_dtype", None)
    return kind if isinstance(kind, np.dtype) else dtype


def _read(series: pd.Series[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    is_plain = isinstance(series.dtype, np.dtype)
    values: NDArray[Any] = series.to_numpy(dtype, **({} if is_plain else {"na_value": np.nan}))
    return values
