"""Missing values: which rows are without."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CHOICES = ("error", "drop")

# Rows looked through at a time: a mask of the whole array could not be afforded.
BLOCK = 65536


class NoRowsError(ValueError):
    """Every row has a missing value."""


def complete_rows(*arrays: NDArray[np.floating[Any]] | None) -> slice | NDArray[np.bool_]:
    """What to index with for the rows in which no array has a NaN; a slice if that is all rows.

    Raises
    ------
    NoRowsError
        If there are none.
    """
    given = [array for array in arrays if array is not None]
    keep = np.ones(len(given[0]), bool)
    for start in range(0, len(keep), BLOCK):
        rows = slice(start, start + BLOCK)
        for array in given:
            gaps = np.isnan(array[rows])
            keep[rows] &= ~gaps.any(axis=tuple(range(1, gaps.ndim)))
    if keep.all():
        return slice(None)
    if not keep.any():
        raise NoRowsError('missing="drop" leaves no rows: each one has a missing value')
    return keep
