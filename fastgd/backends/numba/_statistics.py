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

# Rows added up in registers before a vector of sums goes back to memory.
ROWS_ABREAST = 8
# Rows of a run of sums: a single run over a hundred million equal terms would be off by 1e-11.
ROWS_A_RUN = 4096
# Below this a read stays in the caller's thread, as a pass does.
THREADING_BYTES = 5 << 20


def _emit_statistics(context: Any, b: Builder, signature: Any, args: Any, layout: str) -> Value:
    arrays = emit.arrays(context, b, signature, args)
    X, weight, pivot, out = (arrays[i] for i in (0, 1, 2, 3))
    start, stop = args[4:]
    stored = context.get_value_type(signature.args[0].dtype)
    count = emit.register_lanes(emit.DOUBLE)
    d = cgutils.unpack_tuple(b, X.shape, 2)[1]
    strides = cgutils.unpack_tuple(b, X.strides, 2)
    stride = b.sdiv(strides[1 if layout == "columns" else 0], const(emit.size(stored)))

    def load(offset: Value, width: int) -> Value:
        return emit.convert(b, emit.load(b, X.data, offset, width, stored), emit.DOUBLE)

    def by_rows() -> None:
        # The next rows are fetched line by line meanwhile: the hardware loses track of several
        # rows in one page, and a read of 64 to 300 columns took twice as long.
        lines = ROWS_ABREAST * count * emit.size(stored) // 64
        cursor = cgutils.alloca_once(b, emit.I64)

        def add_columns(j: Value, width: int, row: Value) -> None:
            shift = emit.load(b, pivot.data, j, width, emit.DOUBLE)
            square_at = b.add(d, j)
            total = emit.load(b, out.data, j, width, emit.DOUBLE)
            squares = emit.load(b, out.data, square_at, width, emit.DOUBLE)
            for k in range(ROWS_ABREAST):
                at = b.add(row, const(k))
                z = b.fsub(load(b.add(b.mul(at, stride), j), width), shift)
                sz = z
                if weight is not None:
                    s = emit.convert(b, b.load(b.gep(weight.data, [at])), emit.DOUBLE)
                    sz = emit.multiply(b, emit.splat(b, s, width), z)
                total = emit.add(b, total, sz)
                squares = emit.add(b, squares, emit.multiply(b, sz, z))
            emit.store(b, total, out.data, j)
            emit.store(b, squares, out.data, square_at)

        extra = b.srem(d, const(count))
        whole = b.sub(d, extra)
        with emit.loop(b, start, stop, ROWS_ABREAST) as row:
            following = b.mul(b.add(row, const(ROWS_ABREAST)), stride)
            b.store(b.ptrtoint(b.gep(X.data, [following]), emit.I64), cursor)
            with emit.loop(b, const(0), whole, count) as j:
                for _ in range(lines):
                    emit.prefetch(b, cursor, const(64))
                add_columns(j, count, row)
            width, j = count // 2, whole
            while width:
                there = b.and_(extra, const(width))
                with b.if_then(b.icmp_signed("!=", there, const(0))):
                    add_columns(j, width, row)
                width, j = width // 2, b.add(j, there)

    def by_columns() -> None:
        sums = emit.Accumulators(b, emit.DOUBLE, count, 4)
        with emit.loop(b, const(0), d) as j:
            shift = emit.splat(b, b.load(b.gep(pivot.data, [j])), count)
            base = b.mul(stride, j)
            sums.clear(b)
            with emit.loop(b, start, stop, 2 * count) as i:
                for half in range(2):
                    row = b.add(i, const(half * count))
                    z = b.fsub(load(b.add(base, row), count), shift)
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
    def add(typingctx, X, weight, pivot, out, start, stop):
        signature = types.void(X, weight, pivot, out, types.int64, types.int64)
        return signature, lambda context, b, s, args: _emit_statistics(context, b, s, args, layout)

    return add


_ADD = {layout: _make(layout) for layout in ("rows", "columns")}


@njit(nogil=True)
def _add_remaining(X, weight, pivot, out, start, stop):
    d = X.shape[1]
    for i in range(start, stop):
        s = 1.0 if weight is None else np.float64(weight[i])
        for j in range(d):
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
        run = np.empty(2 * d)
        for first in range(start, stop, ROWS_A_RUN):
            last = min(first + ROWS_A_RUN, stop)
            done = last - (last - first) % step
            run[:] = 0.0
            add(X, weight, pivot, run, first, done)
            _add_remaining(X, weight, pivot, run, done, last)
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
    sums = ordered_sum(add_group, n_groups, n_threads if threaded else 1, n_groups)
    weights = float(n) if weight is None else float(sums[2 * d])
    shift = sums[:d] / weights
    return pivot + shift, sums[d : 2 * d] - shift**2 * weights, weights
