"""The moments pass: second moments of X and y in one read, as sums over groups of rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fastgd._arrays import Floats
from fastgd._problem import Problem
from fastgd._threads import ordered_sum
from fastgd.backends import RawMoments
from fastgd.backends.numba import _emit, _few, _gram, _pack
from fastgd.backends.numba._choice import group_rows
from fastgd.backends.numba._compile import compiled
from fastgd.backends.numba._signatures import moments_signature

# Rows of a chunk: a panel of its columns, of float64, stays in the nearest cache.
CHUNK_ROWS = 192
# A chunk of many columns is kept shorter, to stay in the second cache.
CHUNK_BYTES = 512 << 10
PACKED_ROWS = 16
# Groups of many columns are kept long: as many numbers as there are products are added for each.
FEW_COLUMNS = 64
LEAST_GROUP_ROWS, MOST_GROUP_ROWS = 256, 4096
# But no longer than an interrupt may wait: a tenth of a second or so.
GROUP_PRODUCTS = 2_000_000_000
# Sums of groups that are kept at once: of many columns, few.
WAITING_BYTES = 48 << 20
# Below this a pass stays in the caller's thread: about half a millisecond.
THREADING_PRODUCTS = 20_000_000
# A pivot this many squared deviations from the mean has cost too many digits.
FAR = 1e4


@njit(nogil=True)
def _pack_roots(weight, roots, start, n_rows):
    for i in range(n_rows):
        roots[i] = np.sqrt(np.float64(weight[start + i]))


@njit(nogil=True)
def _pack_remaining(X, weighted, pivot, scratch, start, done, n_rows, first_column):
    for i in range(done, n_rows):
        root = scratch[-1, i] if weighted else 1.0
        for j in range(X.shape[1]):
            shifted = np.float64(X[start + i, j]) - pivot[first_column + j]
            scratch[first_column + j, i] = shifted * root


@njit(nogil=True)
def _scratch(n_columns, length, like):
    """Room for columns that begin where cache lines do."""
    lanes = 64 // like.itemsize
    room = np.zeros(n_columns * length + lanes, like.dtype)
    first = -room.ctypes.data // like.itemsize % lanes
    return room[first : first + n_columns * length].reshape(n_columns, length)


@cache
def moments_kernel(layout_X: str, layout_y: str) -> Callable[..., None]:
    """The kernel for two layouts, of the features and of the targets."""
    pack_X, pack_y = _pack.PACKS[layout_X], _pack.PACKS[layout_y]

    def kernel(X, y, weight, pivot, fixed_X, fixed_y, like, out, start, stop):
        n, d = X.shape
        n_columns = out.shape[0]
        fitting = CHUNK_BYTES // (n_columns * like.itemsize) // PACKED_ROWS * PACKED_ROWS
        length = max(2 * PACKED_ROWS, min(CHUNK_ROWS, fitting))
        panel = max(1, _gram.PANEL_BYTES // (_gram.PANEL * length * like.itemsize)) * _gram.PANEL
        scratch = _scratch(n_columns, length, like)
        scratch[-1] = 1.0
        row_bytes = X.strides[0]
        # Spread over the products, the next chunk is fetched meanwhile.
        turns = max(1, n_columns * n_columns // (2 * _gram.LEFT * _gram.RIGHT)) * length
        step = min(64, -(-length * row_bytes * _gram.LANES // turns))
        for first in range(start, stop, length):
            n_rows = min(length, stop - first)
            whole = min(n_rows, n - 1 - first) // PACKED_ROWS * PACKED_ROWS
            if weight is not None:
                _pack_roots(weight, scratch[-1], first, n_rows)
            pack_X(X, weight, pivot, scratch, first, whole, 0, fixed_X)
            pack_y(y, weight, pivot, scratch, first, whole, d, fixed_y)
            padded = -(-n_rows // PACKED_ROWS) * PACKED_ROWS
            if whole < padded:
                _pack_remaining(X, weight is not None, pivot, scratch, first, whole, n_rows, 0)
                _pack_remaining(y, weight is not None, pivot, scratch, first, whole, n_rows, d)
                scratch[:, n_rows:padded] = 0.0
            address = X.ctypes.data + (first + length) * row_bytes
            _gram.add_products(scratch, out, padded, panel, address, step)

    kernel.__name__ = kernel.__qualname__ = f"moments_{layout_X}_{layout_y}"
    return kernel


@njit(nogil=True)
def _add_remaining(X, y, weight, pivot, out, start, stop):
    d = X.shape[1]
    z = np.ones(d + 2)
    for i in range(start, stop):
        s = 1.0 if weight is None else np.float64(weight[i])
        for j in range(d):
            z[j] = np.float64(X[i, j]) - pivot[j]
        z[d] = np.float64(y[i, 0]) - pivot[d]
        for j in range(d + 2):
            for k in range(j, d + 2):
                out[j, k] += s * z[j] * z[k]


@cache
def few_moments_kernel(layout: str) -> Callable[..., None]:
    """The kernel for very few features and one target."""
    add_tiles = _few.TILES[layout]
    rows_follow = 1 if layout == "few" else 0

    def kernel(X, y, weight, pivot, fixed_X, fixed_y, like, out, start, stop):
        lanes = _emit.REGISTER_BYTES // X.itemsize
        n_tiles = (min(stop, X.shape[0] - rows_follow) - start) // lanes
        add_tiles(X, y, weight, pivot, fixed_X, out, start, n_tiles)
        _add_remaining(X, y, weight, pivot, out, start + n_tiles * lanes, stop)

    kernel.__name__ = kernel.__qualname__ = f"moments_of_{layout}"
    return kernel


def read_moments(problem: Problem, n_threads: int | None, precision: str) -> RawMoments:
    """The moments of `problem`, from one read; from two where the first found a bad pivot."""
    y = problem.y.reshape(problem.n_samples, -1)
    pivot = np.concatenate([typical_row(problem.X), typical_row(y)])
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
    layout_X, fixed_X = choose_pack(X)
    layout_y, fixed_y = choose_pack(y)
    key = (X.dtype, y.dtype, weight is not None, dtype, len(fixed_X), len(fixed_y))
    kernel = moments_kernel(layout_X, layout_y)
    if d <= _few.MOST_FEATURES and y.shape[1] == 1 and layout_y == "columns":
        fixed_X = (0.0,) * d
        key = (X.dtype, y.dtype, weight is not None, dtype, d, len(fixed_y))
        kernel = few_moments_kernel(layout_X)
    add_rows = compiled(kernel, key, moments_signature)

    length = moments_rows(problem, n_columns)
    n_groups = -(-n // length)
    like = np.empty(0, dtype)

    def add_group(group: int) -> NDArray[np.float64]:
        out = np.zeros((n_columns + 1, n_columns + 1))
        first = group * length
        stop = min(first + length, n)
        add_rows(X, y, weight, pivot, fixed_X, fixed_y, like, out, first, stop)
        return out

    at_once = max(2, WAITING_BYTES // (8 * (n_columns + 1) ** 2))
    threaded = n_groups > 1 and n * (n_columns + 1) ** 2 >= THREADING_PRODUCTS
    sums = ordered_sum(add_group, n_groups, n_threads if threaded else 1, at_once)
    weights = float(n) if weight is None else float(sums[n_columns, n_columns])
    shift = sums[:n_columns, n_columns] / weights
    scatter = sums[:n_columns, :n_columns]
    for j in range(n_columns):  # in place: a few matrices of many columns are much memory
        scatter[j, j:] -= shift[j] * shift[j:] * weights
        scatter[j + 1 :, j] = scatter[j, j + 1 :]
    return RawMoments(weights, pivot + shift, scatter.copy())


def moments_rows(problem: Problem, n_columns: int) -> int:
    """Rows of each group but the last."""
    length = group_rows(problem)
    if n_columns > FEW_COLUMNS:
        swift = GROUP_PRODUCTS // n_columns**2
        length = max(LEAST_GROUP_ROWS, min(max(length, MOST_GROUP_ROWS), swift))
    return length


def choose_pack(columns: Floats) -> tuple[str, tuple[float, ...]]:
    """How to read `columns`, and a tuple whose length fixes their number where that counts."""
    if columns.strides[0] == columns.itemsize:
        return "columns", (0.0,)
    if columns.shape[1] < _pack.at_once(columns.itemsize):
        return "few", (0.0,) * columns.shape[1]
    return "rows", (0.0,)


def typical_row(columns: Floats) -> NDArray[np.float64]:
    """The median of five rows of each column.

    Any pivot is right; one within some deviations of the mean keeps the sums free of cancellation,
    and a median is, even where two of the five are outliers.
    """
    rows = (len(columns) - 1) * np.arange(1, 6) // 6
    sample = columns[rows].astype(np.float64)
    sample.sort(axis=0)
    typical = sample[2]
    return np.where(np.isfinite(typical), typical, 0.0)
