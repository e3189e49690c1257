"""The kernels: one signature, one for each shape and layout of X.

Each adds the sums of rows ``start`` to ``stop`` to ``out``, a float64 vector of (products,
squares, residuals, weights). X is (n_samples, n_features) of any layout whose rows, or columns,
are contiguous; `weight` and `prediction` may be None, which is settled at compile time. The dtype
of `coef` is the precision to compute in.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.extending import overload

from fastgd.backends.numba import _columns, _rows, _short_rows, _tile
from fastgd.backends.numba._emit import REGISTER_BYTES

FASTMATH = {"reassoc", "contract"}

# Rows of a block of columns: as long runs as possible of each column while the block stays in the
# second cache, but not below a page of each column; and where no cache holds a block, long runs.
# One thread, 1000 columns: 0.62 of the limit in blocks of 1024 rows, 0.51 of 4096; 5000 columns:
# 0.40 and 0.53. From 24 to 300 columns they differ by less than a twelfth.
LEAST_BLOCK_ROWS, MOST_BLOCK_ROWS = 1024, 4096
BLOCK_BYTES = 400 << 10
MOST_BLOCKED_COLUMNS = 2000


def _tile_rows(coef):
    """Rows that the tile kernels take at a time: a constant of the type of `coef`."""
    raise NotImplementedError


@overload(_tile_rows, inline="always")
def _overload_tile_rows(coef):
    rows = REGISTER_BYTES * 8 // coef.dtype.bitwidth * _tile.tiles_abreast(coef.count)
    return lambda coef: rows


@njit(nogil=True, fastmath=FASTMATH)
def remaining_rows(X, y, weight, prediction, coef, intercept, out, start, stop):
    """Rows that fill no vector, one by one in float64."""
    d = X.shape[1]
    for i in range(start, stop):
        product = 0.0
        for j in range(d):
            product += np.float64(X[i, j]) * coef[j]
        if prediction is not None:
            prediction[i] = product + intercept
        r = product + (intercept - np.float64(y[i]))
        sr = r
        if weight is not None:
            sr = r * weight[i]
            out[d + 2] += weight[i]
        for j in range(d):
            out[j] += sr * X[i, j]
        out[d] += sr * r
        out[d + 1] += sr


def row_tiles(X, y, weight, prediction, coef, intercept, out, start, stop):
    """Contiguous rows of few features; `coef` is a tuple."""
    rows = _tile_rows(coef)
    n_tiles = (min(stop, X.shape[0] - 1) - start) // rows
    _tile.add_row_tiles(X, y, weight, prediction, coef, intercept, out, start, n_tiles)
    done = start + n_tiles * rows
    remaining_rows(X, y, weight, prediction, coef, intercept, out, done, stop)


def column_tiles(X, y, weight, prediction, coef, intercept, out, start, stop):
    """Contiguous columns, few of them; `coef` is a tuple."""
    rows = _tile_rows(coef)
    n_tiles = (stop - start) // rows
    _tile.add_column_tiles(X, y, weight, prediction, coef, intercept, out, start, n_tiles)
    done = start + n_tiles * rows
    remaining_rows(X, y, weight, prediction, coef, intercept, out, done, stop)


def short_rows(X, y, weight, prediction, coef, intercept, out, start, stop):
    """Contiguous rows of a vector to a few; `coef` is a tuple."""
    n_blocks = (stop - start) // _short_rows.BLOCK_ROWS
    _short_rows.add_short_rows(X, y, weight, prediction, coef, intercept, out, start, n_blocks)
    done = start + n_blocks * _short_rows.BLOCK_ROWS
    remaining_rows(X, y, weight, prediction, coef, intercept, out, done, stop)


@njit(nogil=True)
def _padded(coef):
    """Whole vectors of `coef`, and the last vector again with what it repeats set to 0."""
    d = coef.shape[0]
    lanes = REGISTER_BYTES // coef.itemsize
    whole = d // lanes * lanes
    padded = np.zeros(whole if whole == d else whole + lanes, coef.dtype)
    # Loops, for an assignment of slices takes four seconds to compile.
    for j in range(whole):
        padded[j] = coef[j]
    for j in range(whole, d):
        padded[j + lanes - (d - whole)] = coef[j]
    return padded, whole


@njit(nogil=True)
def _add_lanes(lane_sums, whole, out, d):
    """From the lanes of the row kernels to features, and the sums behind them."""
    extra = d - whole
    n_lanes = lane_sums.shape[0] - 3
    for j in range(whole):
        out[j] += lane_sums[j]
    for j in range(extra):
        out[whole + j] += lane_sums[n_lanes - extra + j]
    for k in range(3):
        out[d + k] += lane_sums[n_lanes + k]


def row_blocks(X, y, weight, prediction, coef, intercept, out, start, stop):
    """Contiguous rows, of more features than `short_rows` is for."""
    w, whole = _padded(coef)
    gradient, lane_sums = np.zeros_like(w), np.zeros(w.shape[0] + 3)
    n_blocks = (stop - start) // _rows.BLOCK_ROWS
    _rows.add_row_blocks(
        X, y, weight, prediction, w, intercept, gradient, lane_sums, start, n_blocks
    )
    _add_lanes(lane_sums, whole, out, X.shape[1])
    done = start + n_blocks * _rows.BLOCK_ROWS
    remaining_rows(X, y, weight, prediction, coef, intercept, out, done, stop)


def column_blocks(X, y, weight, prediction, coef, intercept, out, start, stop):
    """Contiguous columns, many of them."""
    lanes = REGISTER_BYTES // coef.itemsize
    fitting = BLOCK_BYTES // (X.itemsize * X.shape[1])
    if X.shape[1] > MOST_BLOCKED_COLUMNS:
        fitting = MOST_BLOCK_ROWS
    block = max(LEAST_BLOCK_ROWS, min(MOST_BLOCK_ROWS, fitting)) // lanes
    n_vectors = (stop - start) // lanes
    scratch = np.empty(block * lanes, coef.dtype)
    _columns.add_column_blocks(
        X, y, weight, prediction, coef, intercept, scratch, out, start, n_vectors, block
    )
    done = start + n_vectors * lanes
    remaining_rows(X, y, weight, prediction, coef, intercept, out, done, stop)
