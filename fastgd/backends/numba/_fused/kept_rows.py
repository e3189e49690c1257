"""The fused kernel for rows of one vector to a few, where registers are of 64 bytes.

A block of rows is read and converted once: it is kept in registers until its residuals are known.
These are put into cache while the next block is read; then each, which a load puts into all
elements, multiplies its row. So the gradient waits for nothing. The number of features is a
constant here.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastgd.backends.numba._fused.residuals import Residuals
from fastgd.backends.numba._fused.rows import ROWS_A_RUN, place_to_fetch
from fastgd.backends.numba._vectors import emit, exchange, masked
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# Rows are read as two streams far apart. One thread, float32 in main memory: 7 to 13 features were
# read at 0.84 to 0.94 of the limit in one stream, and at 0.90 to 0.99 so. But rows longer than two
# lines come faster in one, 1.03 to 1.1 times (24 to 32 features of float64, one thread and two), as
# do rows of just one line with gaps, where float64 is computed in: 16 features of float32 1.1 times
# in one thread and 1.05 to 1.3 times in two, 8 of float64 1.09 and 1.08 times. With no gaps, whose
# order of sums is the same, these come 0.98 and 1.05 times as fast in one thread.
MOST_STREAMS = 2
# How far ahead rows with gaps between them are fetched, in bytes of their own: by 4096 and 8192
# they took up to 1.15 times as long. But 512 for float32 rows of just one line: in two threads
# X[::2] of 16 features is 1.17 times as fast so (single precision 1.07), and level in one; others,
# 12 to 32 features, are 0.8 to 1.0 times as fast.
GAP_BYTES_AHEAD, GAP_BYTES_AHEAD_OF_ONE_LINE = 2048, 512
# Rows of a block of each stream: two blocks of eight rows of 16 numbers each fill the registers.
# 17 to 32 features of float32, and 9 to 16 of float64, were 1.05 to 1.15 times as fast in blocks of
# four rows: so, where rows are longer than a line.
MOST_ROWS, LEAST_ROWS = 8, 4
# Sums of their own for rows beside each other, so that no addition waits for the one before.
SUMS_APART = 4


def _streams(context: Any, signature: Any) -> int:
    stored, scalar = (context.get_value_type(signature.args[i].dtype) for i in (0, 4))
    row_bytes = signature.args[4].count * emit.size(stored)
    alone = row_bytes == emit.LINE_BYTES and scalar == emit.DOUBLE
    return 1 if alone or row_bytes > 2 * emit.LINE_BYTES else MOST_STREAMS


def block_rows(context: Any, signature: Any) -> int:
    """Rows of a block of each stream."""
    size = emit.size(context.get_value_type(signature.args[0].dtype))
    return MOST_ROWS if signature.args[4].count * size <= emit.LINE_BYTES else LEAST_ROWS


def rows_at_once(context: Any, signature: Any) -> int:
    """Rows that a turn of the loop takes."""
    return _streams(context, signature) * block_rows(context, signature)


def add_rows(
    context: Any, b: Builder, signature: Any, args: Any, start: Value, n_turns: Value
) -> None:
    """Add the sums of `n_turns` times `rows_at_once` rows from row `start` on."""
    arrays = emit.arrays(context, b, signature, args)
    X, out = arrays[0], arrays[6]
    coef_type = signature.args[4]

    stored = context.get_value_type(signature.args[0].dtype)
    scalar = context.get_value_type(coef_type.dtype)
    d = coef_type.count
    # Vectors are no longer than a row, rounded up; what the last has beyond the row is zero.
    count = min(emit.register_lanes(scalar), 1 << (d - 1).bit_length())
    firsts = range(0, d, count)
    n_rows, n_vectors = block_rows(context, signature), len(firsts)
    n_streams = _streams(context, signature)
    stride = b.sdiv(cgutils.unpack_tuple(b, X.strides, 2)[0], const(emit.size(stored)))

    coefs = cgutils.unpack_tuple(b, args[4], d)
    coefs += [ir.Constant(scalar, 0.0)] * (count * n_vectors - d)
    w = [emit.from_scalars(b, coefs[first : first + count]) for first in firsts]

    residuals = Residuals(context, b, signature, args, scalar, n_rows)
    apart = max(1, SUMS_APART // n_vectors)
    totals = emit.Accumulators(b, emit.DOUBLE, count, n_vectors)
    sums = [emit.Accumulators(b, scalar, count, n_vectors) for _ in range(apart)]
    # The block that was read last, of each stream, and its residuals in one of two places each.
    kept = [emit.Accumulators(b, scalar, count, n_rows * n_vectors) for _ in range(n_streams)]
    room = cgutils.alloca_once(b, scalar, size=2 * n_streams * n_rows)
    room.align = emit.LINE_BYTES
    for place in range(0, 2 * n_streams * n_rows, n_rows):
        emit.store(b, emit.zero(scalar, n_rows), room, const(place))
    size = emit.size(stored)
    ahead, gap_ahead = emit.BYTES_IN_FLIGHT // MOST_STREAMS, GAP_BYTES_AHEAD
    if stored == emit.SINGLE and d * size == emit.LINE_BYTES:
        gap_ahead = GAP_BYTES_AHEAD_OF_ONE_LINE
    later = place_to_fetch(b, X, stride, const(d), size, ahead, gap_ahead)

    def read(row: Value) -> list[list[Value]]:
        """A block of rows from `row` on."""
        rows = []
        for i in range(n_rows):
            offset = b.mul(b.add(row, const(i)), stride)
            for j in sorted({*range(0, d, emit.LINE_BYTES // size), d - 1}):
                emit.prefetch_at(b, later, b.add(offset, const(j)))
            vectors = [
                masked.load_first(b, X.data, b.add(offset, const(j)), count, d - j, stored)
                for j in firsts
            ]
            rows.append([emit.convert(b, vector, scalar) for vector in vectors])
        return rows

    def residuals_of(stream: int, turn: Value) -> Value:
        """Where the residuals are that a turn of the loop puts into cache."""
        odd = b.and_(turn, const(1))
        return b.gep(room, [b.mul(b.add(odd, const(2 * stream)), const(n_rows))])

    def add_gradient(stream: int, turn: Value) -> None:
        """Add the gradient of the block that this turn of the loop has read."""
        place = residuals_of(stream, turn)
        for i in range(n_rows):
            factor = emit.splat(b, b.load(b.gep(place, [const(i)])), count)
            for v in range(n_vectors):
                x = kept[stream].value(b, i * n_vectors + v)
                sums[i % apart].multiply_add(b, v, factor, x)

    def add_block(stream: int, turn: Value) -> None:
        add_gradient(stream, b.sub(turn, const(1)))
        row = b.add(b.add(start, b.mul(turn, const(n_rows))), stream_rows[stream])
        rows = read(row)
        for index, x in enumerate(vector for vectors in rows for vector in vectors):
            kept[stream].put(b, index, x)
        sr = residuals.of_products(exchange.row_products(b, rows, w), row)
        emit.store(b, sr, residuals_of(stream, turn), const(0))

    stream_rows = [b.mul(n_turns, const(n_rows * stream)) for stream in range(n_streams)]
    run = ROWS_A_RUN[scalar] // (n_streams * n_rows)
    with emit.loop(b, const(0), n_turns, run) as first:
        stop = emit.smaller(b, b.add(first, const(run)), n_turns)
        with emit.loop(b, first, stop) as turn:
            for stream in range(n_streams):
                add_block(stream, turn)
        for each in sums:
            each.move_to(b, totals)
        residuals.end_run()
    for stream in range(n_streams):
        add_gradient(stream, b.sub(n_turns, const(1)))
    for each in sums:
        each.move_to(b, totals)
    for first, value in zip(firsts, totals.get(b), strict=True):
        for lane in range(min(count, d - first)):
            one = b.extract_element(value, ir.Constant(emit.I32, lane))
            emit.add_to_memory(b, one, out.data, const(first + lane))
    residuals.add_to(out.data, const(d))
