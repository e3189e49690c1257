"""Products of columns: the triangle of a chunk's second moments, in blocks of registers."""

from __future__ import annotations

from typing import Any

from numba.core import cgutils

from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# A block is of LEFT by RIGHT columns: its sums, the left columns and one right one fill the
# registers, 32 where vectors are long and else 16.
LEFT, RIGHT = (4, 6) if emit.REGISTER_BYTES == 64 else (3, 4)
# Columns of a panel are a multiple of both. It stays in the second cache (of 512 KB here), beside
# a band of columns to the left of it, all of which are multiplied with it; so a chunk may be longer
# than that cache.
# Float32, two threads: 1000 columns in chunks of 64 rows, which fit it whole, took 1.1 (rows) and
# 1.2 times as long (columns), 3000 in chunks of 32 rows 1.3 times. In panels of 20 KB, which stay
# in the nearest cache, 300 columns and more took 1.06 times as long, 100 and 170 were level.
PANEL = 12
PANEL_BYTES, BAND = 110 << 10, 3  # a band is of so many panels
# Lines of cache that are fetched in a turn of the loops. Where registers are long, turns are few:
# of 8 to 32 features, one line a turn was a third to a half of the next chunk.
FETCHES = 4 if emit.REGISTER_BYTES == 64 else 1
# Rows of a chunk are a multiple of this: two vectors of up to 8 lanes, which a turn of the loop
# takes at once (one a turn took 1.1 times as long), or one of 16.
PACKED_ROWS = 16


def plan_products(n_columns: int, length: int, itemsize: int, row_bytes: int) -> tuple[int, int]:
    """Columns of a panel, and how much of the next chunk to fetch in a turn of the loops."""
    panel = max(1, PANEL_BYTES // (PANEL * length * itemsize)) * PANEL
    turns = max(1, n_columns * n_columns // (2 * LEFT * RIGHT)) * (length // rows_a_turn(itemsize))
    return panel, min(FETCHES * emit.LINE_BYTES, -(-length * row_bytes // turns))


def rows_a_turn(itemsize: int) -> int:
    """Rows that a turn of a loop takes: two vectors of a column, if that many are sure to come."""
    lanes = emit.REGISTER_BYTES // itemsize
    return min(2 * lanes, max(lanes, PACKED_ROWS))


def add_products(context: Any, b: Builder, signature: Any, args: Any) -> Value:
    """Add the upper triangle of ``scratch[:, :n_rows] @ scratch[:, :n_rows].T`` to `out`.

    The arguments are scratch, out, n_rows, panel, address, step, run, gap and last: `n_rows` is a
    multiple of PACKED_ROWS, and `panel` of PANEL. Meanwhile memory from `address` on is fetched,
    `step` bytes in each turn of a loop, in runs of so many bytes with gaps between them, but not
    beyond the address `last`: turns are more than are counted on, and memory that is not there
    is looked for at length (100 and 1000 columns: 1.02 to 1.1 times as long).
    """
    arrays = emit.arrays(context, b, signature, args)
    scratch, out = arrays[0], arrays[1]
    n_rows, panel = args[2], args[3]
    scalar = context.get_value_type(signature.args[0].dtype)
    count = emit.register_lanes(scalar)
    n_columns, length = cgutils.unpack_tuple(b, scratch.shape, 2)
    turn = rows_a_turn(emit.size(scalar))
    cursor = cgutils.alloca_once_value(b, args[4])
    step, run, gap, last = args[5:]
    end = cgutils.alloca_once_value(b, b.add(args[4], run))
    parts = [b.sdiv(b.mul(step, const(k)), const(FETCHES)) for k in range(FETCHES)]

    def fetch() -> None:
        address, run_end = b.load(cursor), b.load(end)
        for k in range(FETCHES):
            emit.prefetch_address(b, emit.smaller(b, b.add(address, parts[k]), last))
        address = b.add(address, step)
        past = b.icmp_signed(">=", address, run_end)
        b.store(b.add(address, b.select(past, gap, const(0))), cursor)
        b.store(b.add(run_end, b.select(past, b.add(run, gap), const(0))), end)

    def column(first: Value, k: int, i: Value) -> Value:
        offset = b.add(b.mul(b.add(first, const(k)), length), i)
        return emit.load(b, scratch.data, offset, count, scalar)

    def block(left: Value, right: Value, n_left: int, n_right: int, diagonal: bool) -> None:
        sums = emit.Accumulators(b, scalar, count, n_left * n_right)

        def add_vectors(i: Value) -> None:
            lefts = [column(left, k, i) for k in range(n_left)]
            for m in range(n_right):
                inside = diagonal and m < n_left
                right_column = lefts[m] if inside else column(right, m, i)
                for k in range(m + 1 if inside else n_left):
                    sums.add(b, k * n_right + m, emit.multiply(b, lefts[k], right_column))

        with emit.loop(b, const(0), n_rows, turn) as i:
            fetch()
            for first in range(0, turn, count):
                add_vectors(b.add(i, const(first)))
        values = sums.get(b)
        for k in range(n_left):
            first = k if diagonal else 0
            place = b.add(b.mul(b.add(left, const(k)), n_columns), right)
            while first < n_right:  # as many at once as come from whole vectors
                number = 1 << (n_right - first).bit_length() - 1
                totals = exchange.row_sums(b, values[k * n_right + first :][:number])
                totals = emit.convert(b, totals, emit.DOUBLE)
                offset = b.add(place, const(first))
                before = emit.load(b, out.data, offset, number, emit.DOUBLE)
                emit.store(b, b.fadd(before, totals), out.data, offset)
                first += number

    def strip(left: Value, begin: Value, stop: Value) -> None:
        """Products of the left columns and those from `begin` to `stop`."""
        extra = b.srem(b.sub(stop, begin), const(RIGHT))
        whole = b.sub(stop, extra)
        with emit.loop(b, begin, whole, RIGHT) as right:
            block(left, right, LEFT, RIGHT, diagonal=False)
        for number in range(1, RIGHT):
            with b.if_then(b.icmp_signed("==", extra, const(number))):
                block(left, whole, LEFT, number, diagonal=False)

    def corner(left: Value, stop: Value) -> Value:
        """Products of the left columns among themselves, and with what follows in their block."""
        there = b.sub(stop, left)
        for number in range(1, RIGHT + 1):
            compare = ">=" if number == RIGHT else "=="
            with b.if_then(b.icmp_signed(compare, there, const(number))):
                block(left, left, min(LEFT, number), number, diagonal=True)
        return emit.smaller(b, b.add(left, const(RIGHT)), stop)

    band = b.mul(panel, const(BAND))
    begin = cgutils.alloca_once(b, emit.I64)
    with (
        emit.loop_by(b, const(0), n_columns, band) as low,
        emit.loop_by(b, low, n_columns, panel) as first,
    ):
        stop = emit.smaller(b, b.add(first, panel), n_columns)
        high = emit.smaller(b, b.add(low, band), stop)
        with emit.loop(b, low, high, LEFT) as left:
            b.store(first, begin)
            with b.if_then(b.icmp_signed(">=", left, first)):
                b.store(corner(left, stop), begin)
            with b.if_then(b.icmp_signed("<", b.load(begin), stop)):
                strip(left, b.load(begin), stop)
    return context.get_dummy_value()
