"""Predictions of a linear model, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd import _check
from fastgd._data.arrays import Floats, as_float_array, as_real_array
from fastgd._data.blocks import lazy_prediction
from fastgd.sources import Table, as_matrix, as_table, select

# Numbers read at a time, and converted where X cannot be used as it is. NumPy's product of X as a
# whole takes 0.7 to 1.0 of the time of blocks of these, and 0.5 to 0.7 of blocks of a quarter.
BLOCK = 2**20


def predict(
    X: ArrayLike,
    coef: float | NDArray[np.float64],
    intercept: float | NDArray[np.float64],
    feature_names: tuple[str, ...] | None,
    out: Floats | None,
) -> float | Floats:
    """``X @ coef + intercept``; see `FitResult.predict`.

    `coef` has no axis of features where the fit's X was 1-D.
    """
    later = lazy_prediction(X)
    if later is not None:
        if out is not None:
            raise TypeError(f"out cannot be given where X is lazy; X is {type(X).__name__}")
        apply = partial(
            predict, coef=coef, intercept=intercept, feature_names=feature_names, out=None
        )
        predicted: Floats = later(X, apply, np.shape(intercept))
        return predicted
    table = as_table(X)
    weights = np.asarray(coef, np.float64)
    single = np.ndim(coef) == np.ndim(intercept)
    if single:
        weights = weights[np.newaxis]
    if table is None:
        array = _as_array(X)
        if single and array.ndim == 0 and out is None:
            array = as_float_array("X", array)
            line = array * weights[0].astype(array.dtype) + np.asarray(intercept, array.dtype)
            return float(line) if np.ndim(line) == 0 else line
        _check_shape(array.shape, len(weights), single)
        read = _blocks_of_array(array)
    else:
        table = _match(table, feature_names)
        _check_shape(_shape(table, single and feature_names is not None), len(weights), single)
        read = _blocks_of_table(table)
    n_samples = table.n_rows if table is not None else len(array)
    shape = (n_samples, *weights.shape[1:])
    if out is None:
        out = np.empty(shape, read(0, 0).dtype)
    else:
        _check_out(out, shape, X)
    step = max(1, BLOCK // len(weights))
    for start in range(0, n_samples, step):
        stop = min(start + step, n_samples)
        _fill(out[start:stop], read(start, stop).reshape(-1, len(weights)), weights, intercept)
    return out


def _fill(
    rows: Floats, block: Floats, weights: Floats, intercept: float | NDArray[np.float64]
) -> None:
    """Predictions of a block into `rows`; a function, so that the block goes before the next."""
    dtype = block.dtype
    line = _product(block, weights.astype(dtype), rows if rows.dtype == dtype else None)
    np.add(line, np.asarray(intercept, dtype), out=rows, casting="same_kind")


def _as_array(X: ArrayLike) -> NDArray[Any]:
    try:
        return as_real_array("X", X)
    except (TypeError, ValueError):
        if not _yields_batches(X):
            raise
        raise TypeError(
            "X must be an array or a table: give predict() batches of rows one by one, and files "
            f"to the command fastgd predict; got {_check.describe(X)}"
        ) from None


def _yields_batches(X: object) -> bool:
    """Whether this is what `fastgd.fit` reads in batches."""
    if isinstance(X, (list, tuple)):
        return len(X) > 0 and isinstance(X[0], tuple) and hasattr(X[0][0], "shape")
    return (
        isinstance(X, Iterator)
        or callable(X)
        or hasattr(X, "is_foreign")
        or hasattr(X, "to_batches")
    )


def _blocks_of_array(array: NDArray[Any]) -> Callable[[int, int], Floats]:
    return lambda start, stop: as_float_array("X", array[start:stop])


def _product(block: Floats, weights: Floats, out: Floats | None) -> Floats:
    """``block @ weights``; of a single feature by elements, a fifth of the product's time."""
    if len(weights) > 1:
        product: Floats = np.matmul(block, weights, out=out)
        return product
    return np.multiply(block if weights.ndim == 2 else block[:, 0], weights, out=out)


def _blocks_of_table(table: Table) -> Callable[[int, int], Floats]:
    return lambda start, stop: as_matrix("X", table.rows(start, stop))


def _match(table: Table, feature_names: tuple[str, ...] | None) -> Table:
    """The columns that the model was fitted on, if it knows and the table says."""
    if feature_names is None or table.names is None or table.one_dimensional:
        return table
    return select("X", table, feature_names)


def _shape(table: Table, matched: bool) -> tuple[int, ...]:
    if table.one_dimensional or (matched and len(table.columns) == 1):
        return (table.n_rows,)
    return (table.n_rows, len(table.columns))


def _check_shape(shape: tuple[int, ...], n_features: int, single: bool) -> None:
    if single and len(shape) != 1:
        raise ValueError(f"X must be a scalar or 1-D, as in fit; got shape {shape}")
    if not single and (len(shape) != 2 or shape[1] != n_features):
        raise ValueError(f"X must be of shape (n_samples, {n_features}), as in fit; got {shape}")


def _check_out(out: object, shape: tuple[int, ...], X: object) -> None:
    wanted = f"out must be a writable array of floats of shape {shape}"
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{wanted}; got {type(out).__name__}")
    if out.dtype.kind != "f" or out.shape != shape:
        raise ValueError(f"{wanted}; got dtype {out.dtype}, shape {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{wanted}; it is read-only")
    if isinstance(X, np.ndarray) and np.may_share_memory(out, X):
        raise ValueError("out must not share memory with X")
