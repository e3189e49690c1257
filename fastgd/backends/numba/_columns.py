"""The fused kernel for many features in contiguous columns: a block of rows at a time.

A block is as many rows of every column as stay in cache. Its residuals are summed column by
column in a scratch vector that never leaves the nearest cache; the columns are then read again,
from cache, for the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import cgutils

from fastgd.backends.numba import _emit as emit
from fastgd.backends.numba._emit import Builder, Value, const
from fastgd.backends.numba._residuals import Residuals

COLUMNS_ABREAST = 8
# Rows of a block: as long runs as possible of each column while the block stays in the second
# cache, but not below a page of each column; and where no cache holds a block, long runs. One
# thread, 1000 columns: 0.62 of the limit in blocks of 1024 rows, 0.51 of 4096; 5000 columns: 0.40
# and 0.53. From 24 to 300 columns they differ by less than a twelfth.
LEAST_BLOCK_ROWS, MOST_BLOCK_ROWS = 1024, 4096
BLOCK_BYTES = 400 << 10
MOST_BLOCKED_COLUMNS = 2000
# Gradients in float32 are kept this short, then added to float64: 32 terms in a lane.
VECTORS_A_CHUNK = 32


def block_rows(d: int, itemsize: int) -> int:
    """Rows of a block, and numbers of float64 that they need room for."""
    fitting = MOST_BLOCK_ROWS if d > MOST_BLOCKED_COLUMNS else BLOCK_BYTES // (itemsize * d)
    return max(LEAST_BLOCK_ROWS, min(MOST_BLOCK_ROWS, fitting))


def add_column_blocks(
    context: Any, b: Builder, signature: Any, args: Any, start: Value, n_vectors: Value
) -> None:
    """Add the sums of `n_vectors` vectors of rows from row `start` on."""
    arrays = emit.arrays(context, b, signature, args)
    X, w, out, room = (arrays[i] for i in (0, 4, 6, 9))

    stored = context.get_value_type(signature.args[0].dtype)
    scalar = context.get_value_type(signature.args[4].dtype)
    count = emit.register_lanes(scalar)
    d = cgutils.unpack_tuple(b, X.shape, 2)[1]
    stride = b.sdiv(cgutils.unpack_tuple(b, X.strides, 2)[1], const(emit.size(stored)))
    grouped = b.sub(d, b.srem(d, const(COLUMNS_ABREAST)))
    chunk = const(VECTORS_A_CHUNK * count)
    residuals = Residuals(context, b, signature, args, scalar, count)
    scratch = b.bitcast(room.data, scalar.as_pointer())
    block_vectors = b.sdiv(room.nitems, const(count))

    @contextmanager
    def in_chunks(length: Value) -> Iterator[tuple[Value, Value]]:
        with emit.loop(b, const(0), length, VECTORS_A_CHUNK * count) as begin:
            yield begin, emit.smaller(b, b.add(begin, chunk), length)

    def feature(j: Value, row: Value) -> Value:
        offset = b.add(b.mul(j, stride), row)
        return emit.convert(b, emit.load(b, X.data, offset, count, stored), scalar)

    def add_products(j: Value, number: int, first_row: Value, length: Value) -> None:
        columns = [b.add(j, const(k)) for k in range(number)]
        factors = [emit.splat(b, b.load(b.gep(w.data, [k])), count) for k in columns]
        with emit.loop(b, const(0), length, count) as i:
            partial = emit.load(b, scratch, i, count, scalar)
            for factor, k in zip(factors, columns, strict=True):
                partial = emit.multiply_add(b, factor, feature(k, b.add(first_row, i)), partial)
            emit.store(b, partial, scratch, i)

    def add_gradients(j: Value, number: int, first_row: Value, length: Value) -> None:
        columns = [b.add(j, const(k)) for k in range(number)]
        gradients = emit.Accumulators(b, emit.DOUBLE, count, number)
        sums = emit.Accumulators(b, scalar, count, number)
        with in_chunks(length) as (begin, end):
            with emit.loop(b, begin, end, count) as i:
                sr = emit.load(b, scratch, i, count, scalar)
                for index, k in enumerate(columns):
                    sums.multiply_add(b, index, sr, feature(k, b.add(first_row, i)))
            sums.move_to(b, gradients)
        for k, value in zip(columns, gradients.get(b), strict=True):
            emit.add_to_memory(b, emit.total(b, value), out.data, k)

    def weigh_residuals(first_row: Value, length: Value) -> None:
        with in_chunks(length) as (begin, end):
            with emit.loop(b, begin, end, count) as i:
                product = emit.load(b, scratch, i, count, scalar)
                sr = residuals.of_products(product, b.add(first_row, i))
                emit.store(b, sr, scratch, i)
            residuals.end_run()

    def each_group(work: Any, first_row: Value, length: Value) -> None:
        with emit.loop(b, const(0), grouped, COLUMNS_ABREAST) as j:
            work(j, COLUMNS_ABREAST, first_row, length)
        with emit.loop(b, grouped, d) as j:
            work(j, 1, first_row, length)

    stop = b.mul(n_vectors, const(count))
    block = b.mul(block_vectors, const(count))
    with cgutils.for_range_slice(b, const(0), stop, block, intp=emit.I64) as (first, _):
        length = emit.smaller(b, b.sub(stop, first), block)
        first_row = b.add(start, first)
        with emit.loop(b, const(0), length, count) as i:
            emit.store(b, emit.zero(scalar, count), scratch, i)
        each_group(add_products, first_row, length)
        weigh_residuals(first_row, length)
        each_group(add_gradients, first_row, length)
    residuals.add_to(out.data, d)
