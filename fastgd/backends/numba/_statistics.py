"""Mean and deviation of each column in one read: sums about a typical row, and their squares.

For many columns: where they are few, all second moments cost no more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from fastgd._problem import Problem
from fastgd._threads import ordered_sum
from fastgd.backends import ColumnStatistics
from fastgd.backends.numba import _emit as emit
from fastgd.backends.numba._choice import group_rows
from fastgd.backends.numba._compile import compiled
from fastgd.backends.numba._emit import Builder, Value, const
from fastgd.backends.numba._moments import FAR, typical_row
from fastgd.backends.numba._signatures import statistics_signature

# Rows whose sums are in registers at once, in runs of vectors over the columns: a line from each.
ROWS_ABREAST = 8
# Rows of a run of sums: a single run over a hundred million equal terms would be off by 1e-11.
ROWS_A_RUN = 4096
# Below this a read stays in the caller's thread, as a pass does.
THREADING_BYTES = 5 << 20


def _emit_statistics(context: Any, b: Builder, signature: Any, args: Any, layout: str) -> Value:
    arrays = emit.arrays(context, b, signature, args)
    X, weight, pivot, out = (arrays[i] for i in (0, 1, 2, 3))
    start, stop, first_column, last_column = args[4:]
    stored = context.get_value_type(signature.args[0].dtype)
    count = emit.register_lanes(emit.DOUBLE)
    d = cgutils.unpack_tuple(b, X.shape, 2)[1]
    strides = cgutils.unpack_tuple(b, X.strides, 2)
    stride = b.sdiv(strides[1 if layout == "columns" else 0], const(emit.size(stored)))

    def load(offset: Value) -> Value:
        return emit.convert(b, emit.load(b, X.data, offset, count, stored), emit.DOUBLE)

    def weight_of(row: Value) -> Value:
        return emit.convert(b, b.load(b.gep(weight.data, [row])), emit.DOUBLE)

    def by_rows() -> None:
        with emit.loop(b, start, stop, ROWS_ABREAST) as row:
            rows = [b.add(row, const(k)) for k in range(ROWS_ABREAST)]
            bases = [b.mul(one, stride) for one in rows]
            splats = [] if weight is None else [emit.splat(b, weight_of(r), count) for r in rows]
            with emit.loop(b, first_column, last_column, count) as j:
                shift = emit.load(b, pivot.data, j, count, emit.DOUBLE)
                sum_at, square_at = j, b.add(d, j)
                total = emit.load(b, out.data, sum_at, count, emit.DOUBLE)
                squares = emit.load(b, out.data, square_at, count, emit.DOUBLE)
                for k, base in enumerate(bases):
                    z = b.fsub(load(b.add(base, j)), shift)
                    sz = z if weight is None else emit.multiply(b, splats[k], z)
                    total = emit.add(b, total, sz)
                    squares = emit.add(b, squares, emit.multiply(b, sz, z))
                emit.store(b, total, out.data, sum_at)
                emit.store(b, squares, out.data, square_at)

    def by_columns() -> None:
        sums = emit.Accumulators(b, emit.DOUBLE, count, 4)
        with emit.loop(b, first_column, last_column) as j:
            shift = emit.splat(b, b.load(b.gep(pivot.data, [j])), count)
            base = b.mul(stride, j)
            sums.clear(b)
            with emit.loop(b, start, stop, 2 * count) as i:
                for half in range(2):
                    row = b.add(i, const(half * count))
                    z = b.fsub(load(b.add(base, row)), shift)
                    sz = z
                    if weight is not None:
                        s = emit.load(b, weight.data, row, count, stored)
                        sz = emit.multiply(b, emit.convert(b, s, emit.DOUBLE), z)
                    sums.add(b, half, sz)
                    sums.add(b, 2 + half, emit.multiply(b, sz, z))
            values = sums.get(b)
            total, squares = (emit.add(b, values[k], values[k + 1]) for k in (0, 2))
            emit.add_to_memory(b, emit.total(b, total), out.data, j)
            emit.add_to_memory(b, emit.total(b, squares), out.data, b.add(d, j))

    (by_columns if layout == "columns" else by_rows)()
    return context.get_dummy_value()


def _make(layout: str) -> Any:
    @intrinsic
    def add(typingctx, X, weight, pivot, out, start, stop, first_column, last_column):
        signature = types.void(X, weight, pivot, out, *(types.int64,) * 4)
        return signature, lambda context, b, s, args: _emit_statistics(context, b, s, args, layout)

    return add


_ADD = {layout: _make(layout) for layout in ("rows", "columns")}


@njit(nogil=True)
def _add_remaining(X, weight, pivot, out, start, stop, first_column, last_column):
    d = X.shape[1]
    for i in range(start, stop):
        s = 1.0 if weight is None else np.float64(weight[i])
        for j in range(first_column, last_column):
            z = np.float64(X[i, j]) - pivot[j]
            out[j] += s * z
            out[d + j] += s * z * z


@njit(nogil=True)
def _sum_of(weight, start, stop):
    total = 0.0
    for i in range(start, stop):
        total += np.float64(weight[i])
    return total


@cache
def statistics_kernel(layout: str) -> Callable[..., None]:
    """The kernel for contiguous rows, or columns: sums, squares, and the sum of weights last."""
    add = _ADD[layout]

    def kernel(X, weight, pivot, out, start, stop):
        d = X.shape[1]
        step = 2 * emit.REGISTER_BYTES // 8
        whole = d if layout == "columns" else d // step * step
        run = np.empty(2 * d)
        for first in range(start, stop, ROWS_A_RUN):
            last = min(first + ROWS_A_RUN, stop)
            done = last - (last - first) % step
            run[:] = 0.0
            add(X, weight, pivot, run, first, done, 0, whole)
            _add_remaining(X, weight, pivot, run, first, done, whole, d)
            _add_remaining(X, weight, pivot, run, done, last, 0, d)
            for j in range(2 * d):
                out[j] += run[j]
            if weight is not None:
                out[2 * d] += _sum_of(weight, first, last)

    kernel.__name__ = kernel.__qualname__ = f"statistics_of_{layout}"
    return kernel


def read_statistics(problem: Problem, n_threads: int | None) -> ColumnStatistics:
    """Weighted mean and deviation of each column, from one read; two where a pivot was bad."""
    pivot = typical_row(problem.X)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        mean, spread, weights = _read_about(problem, pivot, n_threads)
        far = weights * (mean - pivot) ** 2 > FAR * spread
        if far.any() and np.isfinite(mean).all():
            mean, spread, weights = _read_about(problem, mean, n_threads)
        return ColumnStatistics(mean, np.sqrt(np.maximum(spread, 0.0) / weights))


def _read_about(
    problem: Problem, pivot: NDArray[np.float64], n_threads: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Means, sums of squares about them, and the sum of weights."""
    X, weight = problem.X, problem.sample_weight
    n, d = X.shape
    layout = "columns" if X.strides[0] == X.itemsize else "rows"
    add_rows = compiled(
        statistics_kernel(layout), (X.dtype, weight is not None), statistics_signature
    )
    length = group_rows(problem)
    n_groups = -(-n // length)

    def add_group(group: int) -> NDArray[np.float64]:
        out = np.zeros(2 * d + 1)
        add_rows(X, weight, pivot, out, group * length, min((group + 1) * length, n))
        return out

    threaded = n_groups > 1 and X.nbytes >= THREADING_BYTES
    sums = ordered_sum(add_group, n_groups, n_threads if threaded else 1)
    weights = float(n) if weight is None else float(sums[2 * d])
    shift = sums[:d] / weights
    return pivot + shift, sums[d : 2 * d] - shift**2 * weights, weights
