"""The fused kernel for many features in contiguous columns: a block of rows at a time.

A block is as many rows of every column as stay in cache. Its residuals are summed column by
column in a scratch vector; the columns are then read again, from cache, for the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import cgutils

from fastgd.backends.numba._fused.residuals import Residuals
from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# Columns that are read side by side. With AVX-512, 96 to 180 columns of float32 come 1.1 to 1.4
# times as fast by four in one thread, and 192 to 256 level; in two threads all are level. So read,
# 100 columns in single precision took 1.15 times as long by 16 rows as by 8: most vectors of a
# whole line are in two. Of 64 columns, eight are 1.05 times as fast.
COLUMNS_ABREAST, FEWER_ABREAST = 8, 4
FEWER_LANES = 8
# Rows of a block: so many that it takes half of the second cache, but not too short runs of each
# column. (With AVX-512, rows as long as `_choice.LEAST_SWEPT_BYTES`, or as LEAST_FETCHED_BYTES if
# they are not converted, are swept instead, in groups of LEAST_RUN_ROWS and more.) Two threads,
# double: 1900 columns come 1.3 times as fast as in blocks of 1024 rows and 400 KB, 1000 columns
# 1.05 times as fast as in blocks of 256; 24 to 300 are level.
# With AVX-512, 64 are 1.05 to 1.08 times as fast in blocks of 300 KB, and 80 and more level.
LEAST_BLOCK_ROWS, BLOCK_BYTES = 512, (300 if emit.REGISTER_BYTES == 64 else 200) << 10
# Of more columns no cache holds a block, and both reads are from memory, in long runs of each: 5000
# columns, one thread: 0.40 of the limit in blocks of 1024 rows, 0.53 of 4096. Groups of rows are
# made of up to twice as many as the least, and are one block: in blocks of 4096 and a rest, 2100
# columns took 1.4 times as long.
MOST_BLOCKED_COLUMNS, LEAST_RUN_ROWS = 2000, 4096
# Columns by which fetching is ahead of reading where they are closest; while some are read, it
# fetches for half as many. It makes 24 to 1900 columns 1.05 to 1.2 times as fast.
COLUMNS_AHEAD = 8
# Gradients in float32 are kept this short, then added to float64: 32 terms in a lane.
VECTORS_A_CHUNK = 32


def block_rows(d: int, itemsize: int) -> int:
    """Rows of a block, and numbers of float64 that they need room for."""
    if d > MOST_BLOCKED_COLUMNS:
        return 2 * LEAST_RUN_ROWS
    fitting = BLOCK_BYTES // (itemsize * d) // LEAST_BLOCK_ROWS * LEAST_BLOCK_ROWS
    return max(LEAST_BLOCK_ROWS, fitting)


def turn_rows(context: Any, signature: Any) -> tuple[int, int]:
    """Rows that a turn of the loops takes, a register as stored or half of one, and of its vectors.

    Where float32 is converted, registers of 64 bytes are left half empty: 24 to 80 columns come 1.1
    to 1.2 times as fast so in one thread, and level in two. Float32 that is not, 0.9 times.
    """
    stored, scalar = (context.get_value_type(signature.args[i].dtype) for i in (0, 4))
    turn, count = emit.register_lanes(stored), emit.register_lanes(scalar)
    if stored != scalar and emit.REGISTER_BYTES == 64:
        return turn // 2, count // 2
    return turn, count


def add_column_blocks(
    context: Any,
    b: Builder,
    signature: Any,
    args: Any,
    start: Value,
    n_turns: Value,
    cached: bool,
    abreast: int,
) -> None:
    """Add the sums of `n_turns` times `turn_rows` rows from row `start` on.

    Columns are read `abreast` at a time. `cached` where a block stays in cache. As each column is
    read twice, but once from memory, half a column is fetched meanwhile: during the products of a
    block its second half, during its gradients the first half of the next. So memory is never at
    rest.
    """
    arrays = emit.arrays(context, b, signature, args)
    X, w, out, room = (arrays[i] for i in (0, 4, 6, 9))

    stored = context.get_value_type(signature.args[0].dtype)
    scalar = context.get_value_type(signature.args[4].dtype)
    turn, count = turn_rows(context, signature)
    if abreast == FEWER_ABREAST:
        count = min(count, FEWER_LANES)
    d = cgutils.unpack_tuple(b, X.shape, 2)[1]
    stride = b.sdiv(cgutils.unpack_tuple(b, X.strides, 2)[1], const(emit.size(stored)))
    grouped = b.sub(d, b.srem(d, const(abreast)))
    chunk = const(VECTORS_A_CHUNK * count)
    residuals = Residuals(context, b, signature, args, scalar, count)
    scratch = b.bitcast(room.data, scalar.as_pointer())
    block = room.nitems

    @contextmanager
    def in_chunks(length: Value) -> Iterator[tuple[Value, Value]]:
        with emit.loop(b, const(0), length, VECTORS_A_CHUNK * count) as begin:
            yield begin, emit.smaller(b, b.add(begin, chunk), length)

    def place(j: Value, row: Value) -> Value:
        return b.add(b.mul(j, stride), row)

    def feature(j: Value, row: Value) -> Value:
        return emit.convert(b, emit.load(b, X.data, place(j, row), count, stored), scalar)

    def for_vectors(begin: Value, end: Value, later: Value | None, work: Any) -> None:
        """``work(i)`` for each vector of rows; the same rows of columns at `later` are fetched."""
        with emit.loop(b, begin, end, turn) as i:
            if later is not None:
                # The last row of the turn: where columns start within a line, the first is in a
                # line that has been fetched.
                row = b.add(i, const(turn - 1))
                for k in range(abreast // 2):
                    emit.prefetch_at(b, later, place(const(k), row))
            for first in range(0, turn, count):
                work(b.add(i, const(first)))

    def to_fetch(n_read: Value, number: int, first_row: Value) -> Value | None:
        """Columns to fetch after reading `n_read` columns of a block, products and gradients."""
        if not cached or number < abreast:
            return None
        half = b.sdiv(b.add(grouped, n_read), const(2))
        column = b.add(half, const(COLUMNS_AHEAD))
        beyond = b.icmp_signed(">=", column, d)
        row = b.select(beyond, b.add(first_row, block), first_row)
        return b.gep(X.data, [place(b.select(beyond, b.sub(column, d), column), row)])

    def add_products(j: Value, number: int, first_row: Value, length: Value) -> None:
        columns = [b.add(j, const(k)) for k in range(number)]
        factors = [emit.splat(b, b.load(b.gep(w.data, [k])), count) for k in columns]

        def add(i: Value) -> None:
            # First of these columns alone: in float32 the error of a sum grows with its terms.
            row = b.add(first_row, i)
            product = b.fmul(factors[0], feature(columns[0], row))
            for factor, k in zip(factors[1:], columns[1:], strict=True):
                product = emit.multiply_add(b, factor, feature(k, row), product)
            before = emit.load(b, scratch, i, count, scalar)
            emit.store(b, b.fadd(before, product), scratch, i)

        for_vectors(const(0), length, to_fetch(j, number, first_row), add)

    def add_gradients(j: Value, number: int, first_row: Value, length: Value) -> None:
        columns = [b.add(j, const(k)) for k in range(number)]
        gradients = emit.Accumulators(b, emit.DOUBLE, count, number)
        sums = emit.Accumulators(b, scalar, count, number)
        later = to_fetch(b.add(grouped, j), number, first_row)

        def add(i: Value) -> None:
            sr = emit.load(b, scratch, i, count, scalar)
            for index, k in enumerate(columns):
                sums.multiply_add(b, index, sr, feature(k, b.add(first_row, i)))

        with in_chunks(length) as (begin, end):
            for_vectors(begin, end, later, add)
            sums.move_to(b, gradients)
        for k, value in zip(columns, gradients.get(b), strict=True):
            emit.add_to_memory(b, exchange.total(b, value), out.data, k)

    def weigh_residuals(first_row: Value, length: Value) -> None:
        def weigh(i: Value) -> None:
            product = emit.load(b, scratch, i, count, scalar)
            sr = residuals.of_products(product, b.add(first_row, i))
            emit.store(b, sr, scratch, i)

        with in_chunks(length) as (begin, end):
            for_vectors(begin, end, None, weigh)
            residuals.end_run()

    def for_columns(work: Any, first_row: Value, length: Value) -> None:
        with emit.loop(b, const(0), grouped, abreast) as j:
            work(j, abreast, first_row, length)
        with emit.loop(b, grouped, d) as j:
            work(j, 1, first_row, length)

    stop = b.mul(n_turns, const(turn))
    with emit.loop_by(b, const(0), stop, block) as first:
        length = emit.smaller(b, b.sub(stop, first), block)
        first_row = b.add(start, first)
        with emit.loop(b, const(0), length, count) as i:
            emit.store(b, emit.zero(scalar, count), scratch, i)
        for_columns(add_products, first_row, length)
        weigh_residuals(first_row, length)
        for_columns(add_gradients, first_row, length)
    residuals.add_to(out.data, d)
