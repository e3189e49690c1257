"""The fused kernel for few features: tiles of rows, one vector a feature.

A tile is as many rows as a vector has elements. Each feature of a tile is a vector: read as it
lies where columns are contiguous, transposed in registers where rows are. Coefficients, sums and
predictions then stay in registers from the first row to the last.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils

from fastgd.backends.numba import _emit as emit
from fastgd.backends.numba._emit import Builder, Value, const
from fastgd.backends.numba._residuals import Residuals

# Runs of sums: at most 32 terms in a lane of float32, then float64; and so many of float64, for a
# single run over a hundred million equal terms would be off by 1e-11.
TILES_A_RUN = {emit.SINGLE: 16, emit.DOUBLE: 1024}


# X, y and weights are fetched so far ahead: float32 in main memory, 2 to 6 features. Rows are read
# as two streams far apart, too; that and their distance made them 1.02 to 1.15 times as fast in one
# thread and 1.06 to 1.29 in two as one stream, fetched 2048 bytes ahead; four streams are level. 2
# to 4 columns gain a tenth, while 12 or 16 are no faster or slower. A single column is read in four
# runs far apart instead (0.94 of the limit; fetched ahead 0.90).
ROW_STREAMS, ROW_BYTES_AHEAD, COLUMN_BYTES_AHEAD = 2, 768, 1024
MOST_FETCHED_COLUMNS = 4


def tile_rows(context: Any, coef: Any, by_columns: bool) -> int:
    """Rows that are read at a time, for the type of the coefficients, a tuple."""
    lanes = emit.register_lanes(context.get_value_type(coef.dtype))
    return lanes * tiles_abreast(coef.count, by_columns)


def tiles_abreast(d: int, by_columns: bool) -> int:
    """Tiles that are read at a time."""
    return tiles_apart(d) if by_columns else max(tiles_apart(d), ROW_STREAMS)


def tiles_apart(d: int) -> int:
    """Tiles with sums of their own, so that no addition waits for the one before."""
    return max(1, 4 >> (d.bit_length() - 1))


def add_tiles(
    context: Any,
    b: Builder,
    signature: Any,
    args: Any,
    start: Value,
    n_tiles: Value,
    by_columns: bool,
) -> None:
    """Add the sums of `n_tiles` tiles from row `start` on.

    `by_columns` where columns of X are contiguous; else a row must follow the last tile in memory.
    """
    arrays = emit.arrays(context, b, signature, args)
    X, out = arrays[0], arrays[6]
    coef_type = signature.args[4]

    stored = context.get_value_type(signature.args[0].dtype)
    scalar = context.get_value_type(coef_type.dtype)
    count = emit.register_lanes(scalar)
    d = coef_type.count
    abreast, n_sums = tiles_abreast(d, by_columns), tiles_apart(d)
    strides = cgutils.unpack_tuple(b, X.strides, 2)
    stride = b.sdiv(strides[1 if by_columns else 0], const(emit.size(stored)))

    w = [emit.splat(b, c, count) for c in cgutils.unpack_tuple(b, args[4], d)]
    residuals = [Residuals(context, b, signature, args, scalar, count) for _ in range(n_sums)]
    totals = [emit.Accumulators(b, emit.DOUBLE, count, d) for _ in range(n_sums)]
    sums = [emit.Accumulators(b, scalar, count, d) for _ in range(n_sums)]

    def features(offset: Value, width: int) -> Value:
        # Converted as they are loaded: two instructions in one, and faster than from a register.
        return emit.convert(b, emit.load(b, X.data, offset, width, stored), scalar)

    def read_columns(row: Value) -> list[Value]:
        if by_columns:
            return [features(b.add(row, b.mul(stride, const(j))), count) for j in range(d)]
        offsets = [b.mul(b.add(row, const(i)), stride) for i in range(count)]
        columns: list[Value] = []
        while len(columns) < d:
            # A row is read to the next power of two: into the next row, which n_tiles leaves.
            width = min(1 << (d - len(columns) - 1).bit_length(), 4)
            rows = [features(b.add(offset, const(len(columns))), width) for offset in offsets]
            columns += emit.transposed(b, rows)
        return columns[:d]

    width = emit.size(stored) * (1 if by_columns else d)
    bytes_ahead = COLUMN_BYTES_AHEAD if by_columns else ROW_BYTES_AHEAD
    if by_columns:
        later = b.gep(X.data, [const(bytes_ahead // width)])
    else:
        later = emit.ahead_of_rows(b, X.data, stride, const(d), bytes_ahead // width * d)

    def prefetch(row: Value, n_rows: int) -> None:
        for i in range(0, n_rows, max(1, emit.LINE_BYTES // width)):
            at = b.add(row, const(i))
            if by_columns:
                for j in range(d):
                    emit.prefetch_at(b, later, b.add(at, b.mul(stride, const(j))))
            else:
                emit.prefetch_at(b, later, b.mul(at, stride))
        residuals[0].prefetch(row, n_rows, bytes_ahead)

    def tile(k: int, row: Value) -> None:
        x = read_columns(row)
        sr = residuals[k].of_terms(w, x, row)
        for j in range(d):
            sums[k].multiply_add(b, j, sr, x[j])

    run = TILES_A_RUN[scalar]
    with emit.loop(b, const(0), n_tiles, run) as first:
        with emit.loop(b, first, emit.smaller(b, b.add(first, const(run)), n_tiles)) as index:
            if d == 1 or not by_columns:
                first_row = b.add(start, b.mul(index, const(count)))
                rows = emit.rows_apart(b, first_row, b.mul(n_tiles, const(count)), abreast)
            else:
                first_row = b.add(start, b.mul(index, const(abreast * count)))
                rows = emit.rows_apart(b, first_row, const(count), abreast)
            if not by_columns and d > 1:
                for row in rows:
                    prefetch(row, count)
            elif 1 < d <= MOST_FETCHED_COLUMNS:
                prefetch(first_row, abreast * count)
            for k, row in enumerate(rows):
                tile(k % n_sums, row)
        for k in range(n_sums):
            sums[k].move_to(b, totals[k])
            residuals[k].end_run()
    for j, parts in enumerate(zip(*(each.get(b) for each in totals), strict=True)):
        emit.add_to_memory(b, emit.total(b, emit.tree_sum(b, parts)), out.data, const(j))
    for each in residuals:
        each.add_to(out.data, const(d))
