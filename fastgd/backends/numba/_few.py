"""Moments of very few features: all sums in registers from the first row to the last.

A tile is as many rows as a register has elements. Each feature of a tile is a vector: read as it
lies where columns are contiguous, transposed in registers where rows are.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from numba.core import cgutils

from fastgd.backends.numba import _emit as emit
from fastgd.backends.numba._emit import Builder, Value, const

# Features whose sums fit in registers, beside what is added to them.

MOST_FEATURES = 4 if emit.REGISTER_BYTES == 64 else 3
# Fetched so far ahead, X and y together come as fast as one array alone.
BYTES_AHEAD = 1024

# Tiles of a run of sums: a single run over a hundred million equal terms would be off by 1e-11.
TILES_A_RUN = 512


def _emit_tiles(context: Any, b: Builder, signature: Any, args: Any, by_columns: bool) -> Value:
    arrays = emit.arrays(context, b, signature, args)
    X, y, weight, pivot, out = (arrays[i] for i in (0, 1, 2, 3, 5))
    d = signature.args[4].count
    start, n_tiles = args[6], args[7]
    stored, y_stored = (context.get_value_type(signature.args[i].dtype) for i in (0, 1))
    count = emit.register_lanes(stored)
    half = emit.register_lanes(emit.DOUBLE)
    strides = cgutils.unpack_tuple(b, X.strides, 2)
    stride = b.sdiv(strides[1 if by_columns else 0], const(emit.size(stored)))

    def read_features(row: Value) -> list[Value]:
        if by_columns:
            offsets = [b.add(row, b.mul(stride, const(j))) for j in range(d)]
            return [emit.load(b, X.data, offset, count, stored) for offset in offsets]
        # A row is read to the next power of two: into the next row, which n_tiles leaves.
        width = 1 << (d - 1).bit_length()
        base = b.mul(row, stride)
        offsets = [b.add(base, b.mul(stride, const(i))) for i in range(count)]
        rows = [emit.load(b, X.data, offset, width, stored) for offset in offsets]
        return emit.transposed(b, rows)[:d]

    cursor = cgutils.alloca_once(b, emit.I64)

    def fetch(array: Any, row_bytes: int, row: Value) -> None:
        begin = b.ptrtoint(array.data, emit.I64)
        b.store(b.add(b.add(begin, b.mul(row, const(row_bytes))), const(BYTES_AHEAD)), cursor)
        for _ in range(max(1, row_bytes * count // 64)):
            emit.prefetch(b, cursor, const(64))

    n_columns = d + 1
    shifts = [emit.splat(b, b.load(b.gep(pivot.data, [const(j)])), half) for j in range(n_columns)]
    pairs = [(i, j) for i in range(n_columns) for j in range(i, n_columns)]
    places = [*pairs, *((j, n_columns) for j in range(n_columns)), (n_columns, n_columns)]
    # Two sets of sums where there is room: each would else wait for its last addition.
    sets = 2 if d == 1 else 1
    totals = emit.Accumulators(b, emit.DOUBLE, half, sets * len(places))
    sums = emit.Accumulators(b, emit.DOUBLE, half, sets * len(places))

    def add_part(columns: list[Value], s: Value | None, place: int) -> None:
        z = [
            b.fsub(emit.convert(b, column, emit.DOUBLE), shift)
            for column, shift in zip(columns, shifts, strict=True)
        ]
        sz = z if s is None else [emit.multiply(b, s, column) for column in z]
        for index, (i, j) in enumerate(pairs):
            sums.add(b, place + index, emit.multiply(b, sz[i], z[j]))
        for j in range(n_columns):
            sums.add(b, place + len(pairs) + j, sz[j])
        if s is not None:
            sums.add(b, place + len(places) - 1, s)

    def tile(index: Value) -> None:
        row = b.add(start, b.mul(index, const(count)))
        width = 1 if by_columns else d
        fetch(X, emit.size(stored) * width, row)
        fetch(y, emit.size(y_stored), row)
        columns = [*read_features(row), emit.load(b, y.data, row, count, y_stored)]
        s = None if weight is None else emit.load(b, weight.data, row, count, stored)
        for first in range(0, count, half):
            lanes = range(first, first + half)
            s_part = None
            if s is not None:
                s_part = emit.convert(b, emit.pick(b, s, s, lanes), emit.DOUBLE)
            parts = [emit.pick(b, column, column, lanes) for column in columns]
            add_part(parts, s_part, first // half % sets * len(places))

    with emit.loop(b, const(0), n_tiles, TILES_A_RUN) as first:
        stop = emit.smaller(b, b.add(first, const(TILES_A_RUN)), n_tiles)
        with emit.loop(b, first, stop) as index:
            tile(index)
        sums.move_to(b, totals)
    for (i, j), value in zip(places * sets, totals.get(b), strict=True):
        emit.add_to_memory(b, emit.total(b, value), out.data, const(i * (n_columns + 1) + j))
    return context.get_dummy_value()


# Each adds the moments of `n_tiles` tiles from row `start` on to `out`, laid out as the products
# of the features, the target and a column of ones. Arguments: X, y, weight, pivot, fixed, out,
# start, n_tiles. The length of the tuple `fixed` is the number of features, and y is a single
# column. A row must follow the last tile in memory where rows are read.
TILES = {
    "few": partial(_emit_tiles, by_columns=False),
    "columns": partial(_emit_tiles, by_columns=True),
}
