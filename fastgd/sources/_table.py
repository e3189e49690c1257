"""A table of any library, as far as it matters here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Column(NamedTuple):
    """One column.

    Attributes
    ----------
    name : object
        A str nearly always; pandas has others.
    kind : str
        Its type, as its library calls it.
    dtype : dtype or None
        What its values become, float32 or float64; None if they are not numbers.
    read : callable
        The values in the dtype that it is given, NaN where one is missing.
    """

    name: object
    kind: str
    dtype: np.dtype[Any] | None
    read: Callable[[np.dtype[Any]], NDArray[Any]]


class Table(NamedTuple):
    """Columns of equal length.

    Attributes
    ----------
    columns : tuple of Column
    n_rows : int
    one_dimensional : bool
        It was a single series of values, not a frame of one column.
    rows : callable
        The table of the rows from the first number to before the second.
    whole : callable or None
        All columns as one array, where their library has them so, or makes it as well as we.
    hidden : tuple of Column
        Those that were the index of a frame of pandas: none of the columns, unless by name.
    """

    columns: tuple[Column, ...]
    n_rows: int
    one_dimensional: bool
    rows: Callable[[int, int], Table]
    whole: Callable[[], NDArray[Any]] | None = None
    hidden: tuple[Column, ...] = ()

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the columns if all are strings."""
        names = tuple(column.name for column in self.columns)
        return names if all(isinstance(name, str) for name in names) else None  # type: ignore[return-value]


SINGLE: np.dtype[Any] = np.dtype(np.float32)
DOUBLE: np.dtype[Any] = np.dtype(np.float64)


def float_dtype(dtype: np.dtype[Any] | None) -> np.dtype[Any] | None:
    """What numbers of a NumPy dtype become; None if it is not one of real numbers."""
    if dtype is None or dtype.kind not in "fiub":
        return None
    return SINGLE if dtype.kind == "f" and dtype.itemsize <= SINGLE.itemsize else DOUBLE


def as_matrix(name: str, table: Table, hint: str = "") -> NDArray[Any]:
    """The table as an array: float32 if all of its columns are, else float64.

    Columns stay contiguous. A single series gives a 1-D array.

    Raises
    ------
    TypeError
        If a column does not hold real numbers.
    """
    dtypes = []
    for column in table.columns:
        if column.dtype is None:
            which = f"its values are of type {column.kind}"
            if not table.one_dimensional:
                which = f"column {column.name!r} is of type {column.kind}{hint}"
            raise TypeError(f"{name} must hold real numbers; {which}")
        dtypes.append(column.dtype)
    if table.one_dimensional:
        return table.columns[0].read(dtypes[0])
    if table.whole is not None and len(set(dtypes)) == 1:
        return table.whole()
    dtype = SINGLE if set(dtypes) == {SINGLE} else DOUBLE
    matrix = np.empty((table.n_rows, len(dtypes)), dtype, order="F")
    for j, column in enumerate(table.columns):
        matrix[:, j] = column.read(dtype)
    return matrix


def select(name: str, table: Table, names: Sequence[str]) -> Table:
    """The table of the columns of these names, in their order.

    Raises
    ------
    ValueError
        If one is missing or is there twice, or a name is.
    """
    if tuple(column.name for column in table.columns) == tuple(names):
        return table
    columns = (*table.columns, *table.hidden)
    found = [column.name for column in columns]
    missing = [wanted for wanted in names if wanted not in found]
    if missing:
        listed = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise ValueError(f"{name} lacks the column{'s' * (len(missing) > 1)} {listed}")
    for wanted, number in Counter(names).items():
        if number > 1:
            raise ValueError(
                f"{name} must have the same columns as in fit, in their order: {number} of them "
                f"are called {wanted!r}"
            )
        if found.count(wanted) > 1:
            raise ValueError(f"{name} has more than one column {wanted!r}")
    rows = table.rows
    return table._replace(
        columns=tuple(columns[found.index(wanted)] for wanted in names),
        rows=lambda start, stop: select(name, rows(start, stop), names),
        whole=None,
        hidden=(),
    )
