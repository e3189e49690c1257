"""The fused kernel for few features: tiles of rows, one vector a feature.

A tile is as many rows as a vector has elements. Each feature of a tile is a vector: read as it
lies where columns are contiguous, transposed in registers where rows are. Coefficients, sums and
predictions then stay in registers from the first row to the last.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils

from fastgd.backends.numba._fused.residuals import Residuals
from fastgd.backends.numba._fused.turned import read_close_columns, read_columns
from fastgd.backends.numba._vectors import emit, exchange
from fastgd.backends.numba._vectors.emit import Builder, Value, const

# Runs of sums: at most 32 terms in a lane of float32, then float64; and so many of float64, for a
# single run over a hundred million equal terms would be off by 1e-11.
TERMS_A_RUN = {emit.SINGLE: 32, emit.DOUBLE: 2048}

# Rows are read as two streams far apart; that, and to fetch X, y and weights so far ahead, made 2
# to 6 features, float32 in main memory, 1.02 to 1.15 times as fast in one thread and 1.06 to 1.29
# in two as one stream, fetched 2048 bytes ahead; four streams are level. 2 to 4 columns gain a
# tenth; of more, this kernel has only the rows that remain. (With AVX-512, see
# `emit.BYTES_IN_FLIGHT`.)
ROW_STREAMS, ROW_BYTES_AHEAD, COLUMN_BYTES_AHEAD = 2, 768, 1024
MOST_FETCHED_COLUMNS = 4
# Rows with gaps between them are fetched one by one, so many ahead: 1.05 to 1.2 times as fast where
# gaps are as long as rows, 0.9 to 1.15 times where they are longer. (Longer rows: see
# `rows.place_to_fetch`.)
GAP_ROWS_AHEAD = 64

# Rows of so many features are multiplied in two sums: 1.03 to 1.06 times as fast in cache.
LEAST_SPLIT = 5


def tile_rows(context: Any, coef: Any, by_columns: bool) -> int:
    """Rows that are read at a time, for the type of the coefficients, a tuple."""
    lanes = emit.register_lanes(context.get_value_type(coef.dtype))
    return lanes * tiles_abreast(coef.count, by_columns)


def tiles_abreast(d: int, by_columns: bool) -> int:
    """Tiles that are read at a time."""
    if d == 1:
        return 4
    if by_columns:
        return 2 if d <= 3 else 1
    return ROW_STREAMS


def tiles_apart(d: int) -> int:
    """Tiles with sums of their own, so that fewer additions wait for the one before.

    Only as many as registers hold: a sum in memory waits longer. Four of one column were read at
    0.6 to 0.8 of the speed of two, two of three columns at 0.75 to 0.85 of the speed of one (in
    cache).
    """
    return 2 if d <= 2 else 1


def add_tiles(
    context: Any,
    b: Builder,
    signature: Any,
    args: Any,
    start: Value,
    n_tiles: Value,
    by_columns: bool,
    near: bool = False,
) -> None:
    """Add the sums of `n_tiles` tiles from row `start` on.

    `by_columns` where columns of X are contiguous; else a row must follow the last tile in memory.
    `near` where rows are in cache. (From main memory, 2 to 4 features of float32 in double
    precision, read by whole registers, which are in two lines each, came at 0.90 to 0.94 of the
    speed in one thread.)
    """
    arrays = emit.arrays(context, b, signature, args)
    X, out = arrays[0], arrays[6]
    coef_type = signature.args[4]

    stored = context.get_value_type(signature.args[0].dtype)
    scalar = context.get_value_type(coef_type.dtype)
    count, size = emit.register_lanes(scalar), emit.size(stored)
    d = coef_type.count
    abreast, n_sums = tiles_abreast(d, by_columns), tiles_apart(d)
    strides = cgutils.unpack_tuple(b, X.strides, 2)
    stride = b.sdiv(strides[1 if by_columns else 0], const(size))

    w = [emit.splat(b, c, count) for c in cgutils.unpack_tuple(b, args[4], d)]
    residuals = [Residuals(context, b, signature, args, scalar, count) for _ in range(n_sums)]
    totals = [emit.Accumulators(b, emit.DOUBLE, count, d) for _ in range(n_sums)]
    sums = [emit.Accumulators(b, scalar, count, d) for _ in range(n_sums)]

    def features(offset: Value, width: int) -> Value:
        # Converted as they are loaded: two instructions in one, and faster than from a register.
        return emit.convert(b, emit.load(b, X.data, offset, width, stored), scalar)

    close = near and (stored != scalar or d % 2 == 1 or d == 2)

    def columns(row: Value, stride: Value, gaps: bool) -> list[Value]:
        if by_columns:
            return [features(b.add(row, b.mul(stride, const(j))), count) for j in range(d)]
        if not gaps and close:
            base = b.mul(row, stride)

            def load_close(first: int, number: int) -> Value:
                return emit.load(b, X.data, b.add(base, const(first)), number, stored)

            return read_close_columns(b, load_close, stored, scalar, d, count)
        offsets = [b.mul(b.add(row, const(i)), stride) for i in range(count)]

        def load(i: int, j: int, width: int) -> Value:
            loaded = features(b.add(offsets[i], const(j)), width)
            return loaded if stored == scalar else emit.as_converted(b, loaded)

        return read_columns(b, load, scalar, d, count)

    bytes_ahead = emit.bytes_ahead(ROW_STREAMS, ROW_BYTES_AHEAD)
    if by_columns:
        n_streams = d + 1 if arrays[2] is None else d + 2
        bytes_ahead = emit.bytes_ahead(n_streams, COLUMN_BYTES_AHEAD)
    across_gaps = b.gep(X.data, [b.mul(stride, const(GAP_ROWS_AHEAD))])

    def fetch(place: Value, number: int) -> None:
        ahead = bytes_ahead // size
        for i in range(0, number, emit.LINE_BYTES // size):
            emit.prefetch_at(b, X.data, b.add(place, const(ahead + i)))

    def prefetch(row: Value, n_rows: int, gaps: bool) -> None:
        if by_columns:
            for j in range(d):
                fetch(b.add(row, b.mul(stride, const(j))), n_rows)
        elif not gaps:
            fetch(b.mul(row, const(d)), n_rows * d)
        else:
            for i in range(n_rows):
                emit.prefetch_at(b, across_gaps, b.mul(b.add(row, const(i)), stride))
        residuals[0].prefetch(row, n_rows, bytes_ahead)

    def tile(k: int, row: Value, stride: Value, gaps: bool) -> None:
        x = columns(row, stride, gaps)
        sr = residuals[k].of_terms(w, x, row, apart=not by_columns and d >= LEAST_SPLIT)
        for j in range(d):
            sums[k].multiply_add(b, j, sr, x[j])

    run = TERMS_A_RUN[scalar] * n_sums // abreast
    # A single column in runs far apart, without AVX-512: 0.94 of the limit, and fetched ahead 0.90;
    # with it, 0.81, and 0.98 fetched ahead in one run.
    apart = not by_columns or (d == 1 and emit.REGISTER_BYTES == 32)
    fetched = d > 1 if apart else d <= MOST_FETCHED_COLUMNS

    def add_rows(stride: Value, gaps: bool) -> None:
        with emit.loop(b, const(0), n_tiles, run) as first:
            with emit.loop(b, first, emit.smaller(b, b.add(first, const(run)), n_tiles)) as index:
                if apart:
                    first_row = b.add(start, b.mul(index, const(count)))
                    rows = emit.rows_apart(b, first_row, b.mul(n_tiles, const(count)), abreast)
                else:
                    first_row = b.add(start, b.mul(index, const(abreast * count)))
                    rows = emit.rows_apart(b, first_row, const(count), abreast)
                if fetched and apart:
                    for row in rows:
                        prefetch(row, count, gaps)
                elif fetched:
                    prefetch(first_row, abreast * count, gaps)
                for k, row in enumerate(rows):
                    tile(k % n_sums, row, stride, gaps)
            for k in range(n_sums):
                sums[k].move_to(b, totals[k])
                residuals[k].end_run()

    if by_columns or d == 1:
        add_rows(stride, gaps=True)
    else:
        with b.if_else(b.icmp_signed("==", stride, const(d))) as (then, otherwise):
            with then:
                add_rows(const(d), gaps=False)
            with otherwise:
                add_rows(stride, gaps=True)
    for j, parts in enumerate(zip(*(each.get(b) for each in totals), strict=True)):
        emit.add_to_memory(b, exchange.total(b, emit.tree_sum(b, parts)), out.data, const(j))
    for each in residuals:
        each.add_to(out.data, const(d))
