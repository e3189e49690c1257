"""Moments of very few features: all sums in registers from the first row to the last.

A tile is as many rows as a register has elements. Each feature of a tile is a vector: read as it
lies where columns are contiguous, transposed in registers where rows are. Rows with no gaps between
them are read as they lie, and transposed as float64: that takes the fewest instructions.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from numba.core import cgutils

from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# Features whose sums fit in registers, beside what is added to them.
MOST_FEATURES = 4 if emit.REGISTER_BYTES == 64 else 3

# Rows are read as two streams far apart, and fetched so far ahead: float32 in main memory comes
# 1.05 to 1.13 times as fast as in one stream, fetched 1024 bytes ahead, in one thread and in two.
# (With AVX-512, see `emit.BYTES_IN_FLIGHT`.)
STREAMS, BYTES_AHEAD = 2, 768

# Tiles of a run of sums: a single run over a hundred million equal terms would be off by 1e-11.
TILES_A_RUN = 512


def rows_at_once(stored: Any) -> int:
    """Rows of a tile of each stream, where features are stored as this floating type."""
    return STREAMS * emit.register_lanes(stored)


def _row_order(d: int, count: int) -> list[int]:
    """The row that each element of a column of `count` is of: see `_as_columns`."""
    if d & (d - 1):
        return list(range(count))
    return [i % d * (count // d) + i // d for i in range(count)]


def _as_columns(b: Builder, parts: list[Value]) -> list[Value]:
    """The columns of rows that lie end to end in `parts`, in as many vectors as there are columns.

    Where their number is a power of two, the rows change their order, for fewer exchanges.
    """
    d, count = len(parts), parts[0].type.count
    if not d & (d - 1):
        return exchange.exchanged(b, parts)
    rest = emit.zero(parts[0].type.element, count)
    whole = exchange.end_to_end(b, parts + [rest] * ((1 << d.bit_length()) - d))
    return [emit.pick(b, whole, whole, range(j, d * count, d)) for j in range(d)]


def _emit_tiles(context: Any, b: Builder, signature: Any, args: Any, by_columns: bool) -> Value:
    arrays = emit.arrays(context, b, signature, args)
    X, y, weight, pivot, out = (arrays[i] for i in (0, 1, 2, 3, 5))
    d = signature.args[4].count
    start, n_tiles = args[6], args[7]  # tiles of each stream
    stored, y_stored = (context.get_value_type(signature.args[i].dtype) for i in (0, 1))
    count = emit.register_lanes(stored)
    half = emit.register_lanes(emit.DOUBLE)
    order = list(range(half)) if by_columns else _row_order(d, half)
    strides = cgutils.unpack_tuple(b, X.strides, 2)
    stride = b.sdiv(strides[1 if by_columns else 0], const(emit.size(stored)))

    def read(array: Any, element: Any, place: Value) -> Value:
        return emit.convert(b, emit.load(b, array.data, place, half, element), emit.DOUBLE)

    def read_ordered(array: Any, element: Any, row: Value) -> Value:
        values = emit.load(b, array.data, row, half, element)
        return emit.convert(b, emit.pick(b, values, values, order), emit.DOUBLE)

    def read_features(row: Value, gaps: bool) -> list[Value]:
        if by_columns:
            return [read(X, stored, b.add(row, b.mul(stride, const(j)))) for j in range(d)]
        if not gaps:
            begin = b.mul(row, const(d))
            return _as_columns(
                b, [read(X, stored, b.add(begin, const(half * j))) for j in range(d)]
            )
        # A row is read to the next power of two: into the next row, which n_tiles leaves.
        width = 1 << (d - 1).bit_length()
        offsets = [b.mul(stride, b.add(row, const(i))) for i in order]
        rows = [emit.load(b, X.data, offset, width, stored) for offset in offsets]
        return [emit.convert(b, each, emit.DOUBLE) for each in exchange.transposed(b, rows)[:d]]

    # Of each stream, rows of several features are almost all; a column is as much as y.
    n_streams = STREAMS * (d + 1 if by_columns or d == 1 else 1)
    bytes_ahead = emit.bytes_ahead(n_streams, BYTES_AHEAD)

    def fetch(array: Any, element: Any, width: int, begin: Value) -> None:
        ahead = bytes_ahead // emit.size(element)
        for at in range(0, width * count, emit.LINE_BYTES // emit.size(element)):
            emit.prefetch_at(b, array.data, b.add(begin, const(ahead + at)))

    n_columns = d + 1
    shifts = [emit.splat(b, b.load(b.gep(pivot.data, [const(j)])), half) for j in range(n_columns)]
    pairs = [(i, j) for i in range(n_columns) for j in range(i, n_columns)]
    places = [*pairs, *((j, n_columns) for j in range(n_columns)), (n_columns, n_columns)]
    # Two sets of sums where there is room: each would else wait for its last addition.
    sets = 2 if d == 1 else 1
    totals = emit.Accumulators(b, emit.DOUBLE, half, sets * len(places))
    sums = emit.Accumulators(b, emit.DOUBLE, half, sets * len(places))

    def add_part(columns: list[Value], s: Value | None, place: int) -> None:
        z = [b.fsub(column, shift) for column, shift in zip(columns, shifts, strict=True)]
        sz = z if s is None else [emit.multiply(b, s, column) for column in z]
        for index, (i, j) in enumerate(pairs):
            sums.add(b, place + index, emit.multiply(b, sz[i], z[j]))
        for j in range(n_columns):
            sums.add(b, place + len(pairs) + j, sz[j])
        if s is not None:
            sums.add(b, place + len(places) - 1, s)

    def tile(row: Value, gaps: bool) -> None:
        if by_columns:
            for j in range(d):
                fetch(X, stored, 1, b.add(row, b.mul(stride, const(j))))
        elif not gaps:
            fetch(X, stored, d, b.mul(row, const(d)))
        fetch(y, y_stored, 1, row)
        for part in range(count // half):
            first = b.add(row, const(half * part))
            columns = [*read_features(first, gaps), read_ordered(y, y_stored, first)]
            s = None if weight is None else read_ordered(weight, stored, first)
            add_part(columns, s, part % sets * len(places))

    def add_tiles(gaps: bool) -> None:
        with emit.loop(b, const(0), n_tiles, TILES_A_RUN) as first:
            stop = emit.smaller(b, b.add(first, const(TILES_A_RUN)), n_tiles)
            with emit.loop(b, first, stop) as index:
                row = b.add(start, b.mul(index, const(count)))
                for each in emit.rows_apart(b, row, b.mul(n_tiles, const(count)), STREAMS):
                    tile(each, gaps)
            sums.move_to(b, totals)

    if by_columns or d == 1:
        add_tiles(gaps=not by_columns)
    else:
        with b.if_else(b.icmp_signed("==", stride, const(d))) as (then, otherwise):
            with then:
                add_tiles(gaps=False)
            with otherwise:
                add_tiles(gaps=True)
    for (i, j), value in zip(places * sets, totals.get(b), strict=True):
        # In the order of rows: slices and columns are added up so, too, with the same bits.
        ordered = emit.pick(b, value, value, [order.index(lane) for lane in range(half)])
        emit.add_to_memory(b, exchange.total(b, ordered), out.data, const(i * (n_columns + 1) + j))
    return context.get_dummy_value()


# Each adds the moments of rows from `start` on, `n_tiles` tiles in each of STREAMS streams, to
# `out`, laid out as the products of the features, the target and a column of ones. Arguments: X, y,
# weight, pivot, fixed, out, start, n_tiles. The length of the tuple `fixed` is the number of
# features, and y is a single column. A row must follow the last tile in memory where rows are read.
TILES = {
    "few": partial(_emit_tiles, by_columns=False),
    "columns": partial(_emit_tiles, by_columns=True),
}
