"""Data as callers have them, brought to NumPy arrays: one file a kind of table.

A kind is a module with ``as_table(value)``, which returns a `Table`, or None where NumPy can read
the value itself. A new kind is one module here and one line in `KINDS`. None of them is imported
before an object of its library, which is then loaded anyhow, is met.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.sources._table import Table, as_matrix, select

__all__ = ["KINDS", "Table", "as_array", "as_matrix", "as_table", "select"]

# By the top-level package of the object's class, or of a class that it inherits from.
KINDS = {
    "pandas": "fastgd.sources.pandas",
    "polars": "fastgd.sources.polars",
    "pyarrow": "fastgd.sources.arrow",
}

# Objects of other libraries that say of themselves that they are tables, and who reads them.
_TELLS = ("__arrow_c_stream__", "__dataframe__")
_FOREIGN = "fastgd.sources.foreign"


def as_table(value: object) -> Table | None:
    """`value` as a table, or None if it is none.

    Raises
    ------
    TypeError
        If it is one that cannot be read as it is, such as a lazy frame.
    """
    if isinstance(value, (np.ndarray, list, tuple, int, float)):
        return None
    if _package(type(value)) == "narwhals":
        value = value.to_native()  # type: ignore[attr-defined]
    kind = _kind(type(value))
    if kind is None:
        return None
    table: Table | None = import_module(kind).as_table(value)
    return table


def as_array(name: str, value: object) -> NDArray[Any]:
    """What is no table as an ndarray, through DLPack where there is that: without a copy."""
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack__"):
        return np.asarray(value)
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        try:
            return np.asarray(value)  # JAX, from another device, and for types NumPy lacks
        except (RuntimeError, TypeError, ValueError):
            raise TypeError(f"{name} cannot be read as an array of numbers: {error}") from None


def _kind(cls: type) -> str | None:
    for base in cls.__mro__:
        if _package(base) in KINDS:
            return KINDS[_package(base)]
    return _FOREIGN if any(hasattr(cls, tell) for tell in _TELLS) else None


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]
