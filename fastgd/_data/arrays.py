"""Single arrays of the caller's: their dtype, their shape, where they lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd import _check
from fastgd.sources import Table, as_array, as_matrix, as_table

Floats = NDArray[np.floating[Any]]  # float32 or float64

LINE_BYTES = 64

# What to do with columns of a table that hold no numbers.
CHOOSE = "choose columns of numbers, in fastgd.scan by features="

# Squares of float64 numbers below this have few digits, or none.
SMALL = 1e-140


def aligned_empty(size: int) -> NDArray[np.float64]:
    """Room that begins where a line of the cache does."""
    room = np.empty(size + LINE_BYTES // 8)
    first = -room.ctypes.data % LINE_BYTES // 8
    return room[first : first + size]


def all_finite(*parts: float | Floats) -> bool:
    """Whether all numbers are finite."""
    return all(
        math.isfinite(part)
        if isinstance(part, float)
        else np.count_nonzero(np.isfinite(part)) == part.size  # twice as fast as .all()
        for part in parts
    )


def as_features(X: ArrayLike | Table) -> Floats:
    """X as an array of one axis or two, with samples and features."""
    features = as_float_array("X", X, f"; {CHOOSE}")
    if features.ndim not in (1, 2):
        raise ValueError(
            "X must be 1-D or 2-D (n_samples, n_features); "
            f"got {features.ndim}-D with shape {features.shape}"
        )
    if features.size == 0:
        raise ValueError(
            f"X must have at least one sample and one feature; got shape {features.shape}"
        )
    return features


def is_in_place(X: Floats) -> bool:
    """Whether every row, or every column, of `X` is contiguous and lies after the one before."""
    rows, columns = X.strides
    item, (n_samples, n_features) = X.itemsize, X.shape
    if n_features == 1 or columns == item:
        return rows % item == 0 and rows >= n_features * item
    if rows == item:
        return columns % item == 0 and columns >= n_samples * item
    return False


def as_float_array(name: str, value: ArrayLike | Table, hint: str = "") -> Floats:
    """`value` as a float32 or float64 ndarray, native and aligned; itself if it is one.

    The hint is for who gives a table with columns of anything else.
    """
    table = value if isinstance(value, Table) else as_table(value)
    if table is not None:
        return as_matrix(name, table, hint)
    array = as_real_array(name, value)
    half_or_single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    wanted = np.dtype(np.float32 if half_or_single else np.float64)
    if array.dtype != wanted or not array.flags.aligned:
        array = array.astype(wanted)
    return array


def as_real_array(name: str, value: object) -> NDArray[Any]:
    """`value`, no table, as an ndarray of real numbers, whatever their dtype."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, whose mask would be ignored; "
            f"leave the masked rows out and pass a plain array"
        )
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(f"{name} is a sparse matrix; only dense arrays are taken: {name}.toarray()")
    try:
        array = as_array(name, value)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as an array of numbers: {error}") from None
    if array.dtype.kind not in "fiub":
        given = "" if isinstance(value, np.ndarray) else f", from {_check.describe(value)}"
        raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}{given}")
    return array


def as_column(name: str, value: ArrayLike, n_samples: int) -> Floats:
    """A value for each sample."""
    array = as_float_array(name, value)
    if array.ndim != 1:
        hint = _ravel(name) if array.shape[1:] == (1,) else ""
        raise ValueError(f"{name} must be 1-D (n_samples,); got shape {array.shape}{hint}")
    if len(array) != n_samples:
        raise ValueError(f"{name} has {len(array)} entries where X has {n_samples} samples")
    return array


def as_targets(value: ArrayLike, n_samples: int) -> Floats:
    """Y of one axis or two."""
    array = as_float_array("y", value)
    if array.ndim == 1:
        return as_column("y", array, n_samples)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(
            f"y must be 1-D (n_samples,) or 2-D (n_samples, n_targets); got shape {array.shape}"
        )
    if len(array) != n_samples:
        raise ValueError(f"y has {len(array)} rows where X has {n_samples} samples")
    return array


def check_one_target(what: str, targets: tuple[int, ...]) -> None:
    """Raise unless y was 1-D; `what` is to be so."""
    if targets == (1,):
        raise ValueError(f"{what}; got y of shape (n_samples, 1){_ravel('y')}")
    if targets:
        raise ValueError(f"{what}; got {targets[0]} targets")


def _ravel(name: str) -> str:
    return f": give {name}.ravel(), or of a table the column itself"


def check_weights(weight: Floats) -> None:
    """Raise unless `weight` are finite and not negative, with a positive sum."""
    with np.errstate(invalid="ignore"):  # infinities of both signs
        total = float(weight.sum(dtype=np.float64))
    if not np.isfinite(total):
        raise ValueError(
            f"sample_weight must be finite in {weight.dtype}, and so must its sum; "
            "got NaN or infinity"
        )
    if weight.min() < 0:
        raise ValueError(f"sample_weight must not be negative; got {weight.min()}")
    if total == 0:
        raise ValueError("sample_weight must have a positive sum; all weights are 0")
    if total < SMALL**2 * len(weight):
        raise ValueError(
            "sample_weight is so small that its products underflow: multiply it by a power of two, "
            "such as 2.0**600"
        )
