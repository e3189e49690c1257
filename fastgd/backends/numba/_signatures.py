"""The types that kernels are compiled for.

Arrays of X have layout "A" and are read-only: one compilation serves C and F order, slices, and
arrays that may not be written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import from_dtype, types


def fused_signature(
    X: np.dtype[Any],
    y: np.dtype[Any],
    weighted: bool,
    predicting: bool,
    coef: np.dtype[Any],
    n_features: int | None,
) -> Any:
    """Types of a fused kernel's arguments; `n_features` is given where `coef` is a tuple."""
    element, scalar = from_dtype(X), from_dtype(coef)
    return types.void(
        types.Array(element, 2, "A", readonly=True),
        types.Array(from_dtype(y), 1, "C", readonly=True),
        types.Array(element, 1, "C", readonly=True) if weighted else types.none,
        types.Array(element, 1, "C") if predicting else types.none,
        types.Array(scalar, 1, "C") if n_features is None else types.UniTuple(scalar, n_features),
        types.float64,
        types.Array(types.float64, 2, "C"),
        types.int64,
        types.int64,
        types.int64,
        types.Array(types.float64, 1, "C") if n_features is None else types.none,
    )


def moments_signature(
    X: np.dtype[Any],
    y: np.dtype[Any],
    weighted: bool,
    products: np.dtype[Any],
    fixed_X: int,
    fixed_y: int,
) -> Any:
    """Types of a moments kernel's arguments."""
    element = from_dtype(X)
    double, index = types.float64, types.int64
    return types.void(
        types.Array(element, 2, "A", readonly=True),
        types.Array(from_dtype(y), 2, "A", readonly=True),
        types.Array(element, 1, "C", readonly=True) if weighted else types.none,
        types.Array(double, 1, "C"),
        types.UniTuple(double, fixed_X),
        types.UniTuple(double, fixed_y),
        types.Array(from_dtype(products), 2, "C"),
        types.Array(double, 2, "C"),
        index,
        index,
        index,
        index,
    )


def exact_signature(
    X: np.dtype[Any], y: np.dtype[Any], weighted: bool, fixed_X: int, fixed_y: int
) -> Any:
    """Types of the arguments of a kernel for exact moments."""
    plain = moments_signature(X, y, weighted, np.dtype(np.float64), fixed_X, fixed_y)
    out, start, stop = plain.args[7:10]
    return types.void(*plain.args[:7], out, out, start, stop)


def statistics_signature(X: np.dtype[Any], weighted: bool) -> Any:
    """Types of a statistics kernel's arguments."""
    element = from_dtype(X)
    return types.void(
        types.Array(element, 2, "A", readonly=True),
        types.Array(element, 1, "C", readonly=True) if weighted else types.none,
        *(types.Array(types.float64, 1, "C"),) * 3,
        types.int64,
        types.int64,
    )
