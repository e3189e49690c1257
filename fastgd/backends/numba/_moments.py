"""The moments pass: second moments of X and y in one read, as sums over groups of rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fastgd._problem import Floats, Problem
from fastgd._threads import ordered_sum
from fastgd.backends import RawMoments
from fastgd.backends.numba import _gram
from fastgd.backends.numba._choice import group_rows
from fastgd.backends.numba._compile import compiled
from fastgd.backends.numba._signatures import moments_signature

# Rows of a chunk: its columns, of float64, and two blocks of sums stay in the nearest caches.
CHUNK_ROWS = 256
# A chunk of many columns is kept shorter, to stay in the second cache.
CHUNK_BYTES = 512 << 10
PACKED_ROWS = 16
# Groups of many columns are kept long: a sum of squares of columns is added for each.
FEW_COLUMNS = 64
LEAST_GROUP_ROWS, MOST_GROUP_ROWS = 256, 4096
# But no longer than an interrupt may wait: a tenth of a second or so.
GROUP_PRODUCTS = 2_000_000_000
# Below this a pass stays in the caller's thread: about half a millisecond.
THREADING_PRODUCTS = 20_000_000
# A pivot this many squared deviations from the mean has cost too many digits.
FAR = 1e4


@njit(nogil=True)
def _pack_remaining(X, weight, pivot, scratch, start, done, n_rows, first_column):
    for i in range(done, n_rows):
        root = 1.0 if weight is None else np.sqrt(np.float64(weight[start + i]))
        for j in range(X.shape[1]):
            shifted = np.float64(X[start + i, j]) - pivot[first_column + j]
            scratch[first_column + j, i] = shifted * root


@njit(nogil=True)
def _pack_roots(weight, scratch, start, n_rows, column):
    roots = scratch[column]
    for i in range(n_rows):
        roots[i] = np.sqrt(np.float64(weight[start + i]))


@cache
def moments_kernel(layout_X: str, layout_y: str) -> Callable[..., None]:
    """The kernel for two layouts, of the features and of the targets."""
    pack_X, pack_y = _gram.PACKS[layout_X], _gram.PACKS[layout_y]

    def kernel(X, y, weight, pivot, fixed_X, fixed_y, like, out, start, stop):
        n, d = X.shape
        ones = d + y.shape[1]
        n_columns = out.shape[0]
        fitting = CHUNK_BYTES // (n_columns * like.itemsize) // PACKED_ROWS * PACKED_ROWS
        length = max(2 * PACKED_ROWS, min(CHUNK_ROWS, fitting))
        scratch = np.zeros((n_columns, length), like.dtype)
        scratch[ones] = 1.0
        for first in range(start, stop, length):
            n_rows = min(length, stop - first)
            whole = min(n_rows, n - 1 - first) // PACKED_ROWS * PACKED_ROWS
            pack_X(X, weight, pivot, scratch, first, whole, 0, fixed_X)
            pack_y(y, weight, pivot, scratch, first, whole, d, fixed_y)
            if weight is not None:
                _pack_roots(weight, scratch, first, n_rows, ones)
            padded = -(-n_rows // PACKED_ROWS) * PACKED_ROWS
            if whole < padded:
                _pack_remaining(X, weight, pivot, scratch, first, whole, n_rows, 0)
                _pack_remaining(y, weight, pivot, scratch, first, whole, n_rows, d)
                for j in range(ones + 1):
                    scratch[j, n_rows:padded] = 0.0
            _gram.add_products(scratch, out, padded)

    kernel.__name__ = kernel.__qualname__ = f"moments_{layout_X}_{layout_y}"
    return kernel


def read_moments(problem: Problem, n_threads: int | None, precision: str) -> RawMoments:
    """The moments of `problem`, from one read; from two where the first found a bad pivot."""
    y = problem.y.reshape(problem.n_samples, -1)
    pivot = np.concatenate([_typical_row(problem.X), _typical_row(y)])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        raw = _read_about(problem, y, pivot, n_threads, precision)
        far = raw.weights * (raw.mean - pivot) ** 2 > FAR * np.diagonal(raw.scatter)
        if far.any() and np.isfinite(raw.mean).all():
            raw = _read_about(problem, y, raw.mean, n_threads, precision)
    return raw


def _read_about(
    problem: Problem, y: Floats, pivot: NDArray[np.float64], n_threads: int | None, precision: str
) -> RawMoments:
    """Sums about `pivot`, group by group of rows, added in the order of the groups."""
    X, weight = problem.X, problem.sample_weight
    n, d = X.shape
    n_columns = d + y.shape[1]
    dtype = X.dtype if precision == "single" else np.dtype(np.float64)
    layout_X, fixed_X = _choose_pack(X)
    layout_y, fixed_y = _choose_pack(y)
    key = (X.dtype, y.dtype, weight is not None, dtype, len(fixed_X), len(fixed_y))
    add_rows = compiled(moments_kernel(layout_X, layout_y), key, moments_signature)

    padded = -(-(n_columns + 1) // _gram.BLOCK) * _gram.BLOCK
    length = group_rows(problem)
    if n_columns > FEW_COLUMNS:
        swift = GROUP_PRODUCTS // n_columns**2
        length = max(LEAST_GROUP_ROWS, min(max(length, MOST_GROUP_ROWS), swift))
    n_groups = -(-n // length)
    like = np.empty(0, dtype)

    def add_group(group: int) -> NDArray[np.float64]:
        out = np.zeros((padded, padded))
        first = group * length
        stop = min(first + length, n)
        add_rows(X, y, weight, pivot, fixed_X, fixed_y, like, out, first, stop)
        return out

    threaded = n_groups > 1 and n * padded * padded >= THREADING_PRODUCTS
    sums = ordered_sum(add_group, n_groups, n_threads if threaded else 1)
    weights = float(n) if weight is None else float(sums[n_columns, n_columns])
    shift = sums[:n_columns, n_columns] / weights
    upper = np.triu(sums[:n_columns, :n_columns])
    scatter = upper + np.triu(upper, 1).T - np.outer(shift, shift) * weights
    return RawMoments(weights, pivot + shift, scatter)


def _choose_pack(columns: Floats) -> tuple[str, tuple[float, ...]]:
    """How to read `columns`, and a tuple whose length fixes their number where that counts."""
    if columns.strides[0] == columns.itemsize:
        return "columns", (0.0,)
    if columns.shape[1] < _gram.GROUP:
        return "few", (0.0,) * columns.shape[1]
    return "rows", (0.0,)


def _typical_row(columns: Floats) -> NDArray[np.float64]:
    """The median of five rows of each column.

    Any pivot is right; one within some deviations of the mean keeps the sums free of cancellation,
    and a median is, even where two of the five are outliers.
    """
    rows = (len(columns) - 1) * np.arange(1, 6) // 6
    sample = columns[rows].astype(np.float64)
    sample.sort(axis=0)
    typical = sample[2]
    return np.where(np.isfinite(typical), typical, 0.0)
