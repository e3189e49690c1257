"""Mean and deviation of each column in one read: sums about a typical row, and their squares.

For many columns: where they are few, all second moments cost no more.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from numba.core import cgutils
from numpy.typing import NDArray

from fastgd._data.problem import Problem
from fastgd._threads import Team, ordered_sum
from fastgd.backends import ColumnStatistics
from fastgd.backends.numba import _choice
from fastgd.backends.numba._choice import group_rows
from fastgd.backends.numba._compile import compiled
from fastgd.backends.numba._moments.centre import FAR
from fastgd.backends.numba._moments.moments import typical_row
from fastgd.backends.numba._signatures import statistics_signature
from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.assemble import Kernel
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# Rows added up in registers before a vector of sums goes back to memory.
ROWS_ABREAST = 8
# Rows of a run of sums: a single run over a hundred million equal terms would be off by 1e-11.
ROWS_A_RUN = 4096


def row_step() -> int:
    """Rows, of which both layouts take a multiple."""
    return 2 * emit.register_lanes(emit.DOUBLE)


def _add_steps(
    context: Any,
    b: Builder,
    signature: Any,
    args: Any,
    out: Value,
    start: Value,
    stop: Value,
    layout: str,
) -> None:
    """Add sums and squares of rows that are a multiple of `row_step()` to `out`."""
    arrays = emit.arrays(context, b, signature, args)
    X, weight, pivot = (arrays[i] for i in (0, 1, 2))
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
            total = emit.load(b, out, j, width, emit.DOUBLE)
            squares = emit.load(b, out, square_at, width, emit.DOUBLE)
            for k in range(ROWS_ABREAST):
                at = b.add(row, const(k))
                z = b.fsub(load(b.add(b.mul(at, stride), j), width), shift)
                sz = z
                if weight is not None:
                    s = emit.convert(b, b.load(b.gep(weight.data, [at])), emit.DOUBLE)
                    sz = emit.multiply(b, emit.splat(b, s, width), z)
                total = emit.add(b, total, sz)
                squares = emit.add(b, squares, emit.multiply(b, sz, z))
            emit.store(b, total, out, j)
            emit.store(b, squares, out, square_at)

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
            emit.add_to_memory(b, exchange.total(b, total), out, j)
            emit.add_to_memory(b, exchange.total(b, squares), out, b.add(d, j))

    (by_columns if layout == "columns" else by_rows)()


def _add_remaining(
    context: Any, b: Builder, signature: Any, args: Any, out: Value, start: Value, stop: Value
) -> None:
    """Rows that fill no step, one by one."""
    arrays = emit.arrays(context, b, signature, args)
    X, weight, pivot = (arrays[i] for i in (0, 1, 2))
    d = cgutils.unpack_tuple(b, X.shape, 2)[1]
    with emit.loop(b, start, stop) as i, emit.loop(b, const(0), d) as j:
        x = cgutils.get_item_pointer(context, b, signature.args[0], X, [i, j])
        shift = b.load(b.gep(pivot.data, [j]))
        z = b.fsub(emit.convert(b, b.load(x), emit.DOUBLE), shift)
        sz = z
        if weight is not None:
            s = emit.convert(b, b.load(b.gep(weight.data, [i])), emit.DOUBLE)
            sz = b.fmul(s, z)
        emit.add_to_memory(b, sz, out, j)
        emit.add_to_memory(b, b.fmul(sz, z), out, b.add(d, j))


def _sum_of(b: Builder, weight: Any, start: Value, stop: Value) -> Value:
    total = cgutils.alloca_once(b, emit.DOUBLE)
    b.store(emit.DOUBLE(0.0), total)
    with emit.loop(b, start, stop) as i:
        s = emit.convert(b, b.load(b.gep(weight.data, [i])), emit.DOUBLE)
        b.store(b.fadd(b.load(total), s), total)
    return b.load(total)


def _write(context: Any, b: Builder, signature: Any, args: Any, layout: str) -> None:
    """Add sums, squares, and the sum of weights behind them to `out`, run by run of rows."""
    arrays = emit.arrays(context, b, signature, args)
    X, weight, out, run = (arrays[i] for i in (0, 1, 3, 4))
    start, stop = args[5:]
    size = b.mul(cgutils.unpack_tuple(b, X.shape, 2)[1], const(2))
    with emit.loop(b, start, stop, ROWS_A_RUN) as first:
        last = emit.smaller(b, b.add(first, const(ROWS_A_RUN)), stop)
        done = b.sub(last, b.srem(b.sub(last, first), const(row_step())))
        with emit.loop(b, const(0), size) as j:
            b.store(emit.DOUBLE(0.0), b.gep(run.data, [j]))
        _add_steps(context, b, signature, args, run.data, first, done, layout)
        _add_remaining(context, b, signature, args, run.data, done, last)
        with emit.loop(b, const(0), size) as j:
            emit.add_to_memory(b, b.load(b.gep(run.data, [j])), out.data, j)
        if weight is not None:
            emit.add_to_memory(b, _sum_of(b, weight, first, last), out.data, size)


# For contiguous rows, and columns.
KERNELS = {
    layout: Kernel(f"statistics_of_{layout}", partial(_write, layout=layout))
    for layout in ("rows", "columns")
}


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
    key = (X.dtype, weight is not None)
    add_rows = compiled(KERNELS[layout], key, statistics_signature)
    length = group_rows(problem)
    n_groups = -(-n // length)

    def add_group(group: int) -> NDArray[np.float64]:
        out, run = np.zeros(2 * d + 1), np.empty(2 * d)
        add_rows(X, weight, pivot, out, run, group * length, min((group + 1) * length, n))
        return out

    threaded = n_groups > 1 and X.nbytes >= _choice.STARTING_BYTES
    with closing(Team(n_threads if threaded else 1)) as team:
        sums = ordered_sum(add_group, n_groups, team, n_groups)
    weights = float(n) if weight is None else float(sums[2 * d])
    shift = sums[:d] / weights
    return pivot + shift, sums[d : 2 * d] - shift**2 * weights, weights
